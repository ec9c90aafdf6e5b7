"""That a real API server refuses what is wrong, and nothing else."""

import copy
import json

import pytest

from tests.cluster.control_plane import TRY
from tests.cluster.faults import BEYOND, FAULTS
from tests.deploy.manifests import KUBERNETES

pytestmark = pytest.mark.long


@pytest.fixture
def pod(production):
    """One as a Deployment of ours makes them."""
    template = copy.deepcopy(production.get("Deployment", "ratings")["spec"]["template"])
    metadata = {"name": "planted", "namespace": "marquee", "labels": template["metadata"]["labels"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def test_the_overlay_as_it_is_is_accepted(cluster, production):
    cluster.kubectl(*TRY, given=production.text)


def test_the_example_of_a_gateway_is_accepted(cluster):
    cluster.apply((KUBERNETES / "examples/gateway.yaml").read_text())


@pytest.mark.parametrize(
    ("kind", "name", "plant", "said"),
    FAULTS,
    ids=[f"{kind}: {said}" for kind, _, _, said in FAULTS],
)
def test_a_fault_is_refused(cluster, production, kind, name, plant, said):
    o = copy.deepcopy(production.get(kind, name))
    plant(o)
    assert said in cluster.refusal(*TRY, given=json.dumps(o))


def test_a_pod_of_ours_is_within_the_restricted_level(cluster, pod):
    cluster.kubectl(*TRY, given=json.dumps(pod))


@pytest.mark.parametrize(("plant", "said"), BEYOND, ids=[said for _, said in BEYOND])
def test_a_pod_beyond_the_restricted_level_is_refused(cluster, pod, plant, said):
    plant(pod)
    refusal = cluster.refusal(*TRY, given=json.dumps(pod))
    assert 'violates PodSecurity "restricted:latest"' in refusal
    assert said in refusal
