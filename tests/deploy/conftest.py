import pytest

from marquee import __version__
from tests.support.docker import REVISION, ROOT, built


@pytest.fixture(scope="session")
def image() -> str:
    """What the Dockerfile makes, as it stands."""
    labels = (f"--build-arg=VERSION={__version__}", f"--build-arg=REVISION={REVISION}")
    return built("marquee:test", ROOT / "Dockerfile", *labels)
