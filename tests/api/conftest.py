"""One server for all tests of the wire. Who needs it to be alone starts one of their own."""

from collections.abc import Iterator

import pytest

from tests.support.server import Server, serve


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("server")) as server:
        yield server
