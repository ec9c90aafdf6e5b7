"""One server for all tests of the wire. Who needs it to be alone starts one of their own."""

from collections.abc import Iterator

import httpx
import pytest

from tests.api.asking import Stage
from tests.support.server import Server, serve


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("server")) as server:
        yield server


@pytest.fixture(scope="session")
def stage(server: Server) -> Iterator[Stage]:
    """Movies and users of one's own on the shared server."""
    with Stage(server) as stage:
        yield stage


@pytest.fixture(scope="session")
def anyone(stage: Stage) -> httpx.Client:
    """Somebody without a token."""
    return stage.anyone


@pytest.fixture(scope="session")
def editor(stage: Stage) -> httpx.Client:
    """Somebody who may write movies."""
    return stage.editor


@pytest.fixture
def user(stage: Stage) -> Iterator[httpx.Client]:
    """Somebody new with a token, without any scope; their id is ``client.user``."""
    with stage.user() as client:
        yield client
