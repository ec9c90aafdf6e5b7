"""What the tests of commands share; other modules have servers of their own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.commands import RATINGS
from tests.support.server import Server, serve


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One with the demo, made by its first start."""
    with serve(tmp_path_factory.mktemp("commands"), demo=True) as server:
        yield server


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    file = tmp_path / "ratings.csv"
    file.write_text(RATINGS)
    return file
