"""One server for all tests of the wire, of either kind. Who needs it to be alone starts one."""

from collections.abc import Iterator

import httpx
import pytest

from tests.api.asking import Stage
from tests.support import system
from tests.support.server import Served, serve


@pytest.fixture(scope="session")
def together(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The embedded default."""
    with serve(tmp_path_factory.mktemp("together")) as server:
        yield server


@pytest.fixture(scope="session")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Each role a process of its own, on servers, behind the gateway."""
    with system.apart(tmp_path_factory.mktemp("apart")) as server:
        yield server


@pytest.fixture(
    scope="session", params=["together", pytest.param("apart", marks=pytest.mark.servers)]
)
def server(request: pytest.FixtureRequest) -> Served:
    """Either. What has parameters is made anew whenever they change; these two last."""
    server: Served = request.getfixturevalue(request.param)
    return server


@pytest.fixture(scope="session")
def stage(server: Served) -> Iterator[Stage]:
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
