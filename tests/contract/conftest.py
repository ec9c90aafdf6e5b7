from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.contract.backends import Backend, proving


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "stores" in metafunc.fixturenames:
        suite = metafunc.definition.path.stem.removeprefix("test_")
        metafunc.parametrize("stores", proving(suite), indirect=True)


@pytest.fixture
async def stores(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    """Stores without anything in them."""
    async with request.param.open(tmp_path) as stores:
        yield stores
