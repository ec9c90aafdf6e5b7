from collections.abc import Iterator

import pytest

from tests.cluster.control_plane import Cluster, control_plane
from tests.deploy.manifests import Manifests, of


@pytest.fixture(scope="session")
def cluster(tmp_path_factory) -> Iterator[Cluster]:
    with control_plane(tmp_path_factory.mktemp("cluster")) as found:
        yield found


@pytest.fixture(scope="module")
def production(cluster) -> Iterator[Manifests]:
    """The overlay, which the cluster has."""
    found = of("production")
    with cluster.has(found.text):
        yield found
