"""What only a cluster does with the production overlay: scale it, and drain its nodes."""

import json
from contextlib import contextmanager

import pytest

from tests.api.asking import eventually
from tests.cluster.control_plane import NODES, PATIENCE

pytestmark = pytest.mark.long

BEHIND = "marquee_events_behind"


@pytest.fixture
def figures(cluster, production):
    """Those of a Marquee that has nothing to do, which is there in twos."""
    cluster.figures.cpu = "1m"
    cluster.figures.external[BEHIND] = 0
    eventually(lambda: ready(cluster), in_twos, within=PATIENCE)
    yield cluster.figures
    cluster.figures.cpu = None
    cluster.figures.external.clear()


def test_the_aggregator_scales_by_the_events_that_are_behind(cluster, production, figures):
    """And who applies the overlay meanwhile takes none away."""
    figures.external[BEHIND] = 18_000
    eventually(lambda: ready(cluster)["aggregator"], lambda count: count == 4, within=PATIENCE)
    cluster.apply(production.text)
    assert replicas(cluster)["aggregator"] == 4
    figures.external[BEHIND] = 9_000
    eventually(lambda: ready(cluster), in_twos, within=PATIENCE)


def test_what_answers_calls_scales_by_cpu_and_to_a_bound(cluster, production, figures):
    bounds = {
        o["spec"]["scaleTargetRef"]["name"]: o["spec"]["maxReplicas"]
        for o in production.all("HorizontalPodAutoscaler")
        if o["spec"]["metrics"][0]["type"] == "Resource"
    }
    figures.cpu = "1"
    eventually(
        lambda: ready(cluster), lambda found: found.items() >= bounds.items(), within=PATIENCE
    )
    assert replicas(cluster).items() >= bounds.items()
    figures.cpu = "1m"
    eventually(lambda: ready(cluster), in_twos, within=PATIENCE)


def test_a_drain_takes_no_roles_last_pod(cluster, figures):
    """Not where there is no other node for another one: where there is, it succeeds."""
    with cordoned(cluster, *NODES):
        refusal = cluster.refusal(*drain(*NODES, seconds=15))
        assert "violate the pod's disruption budget" in refusal
        assert set(ready(cluster).values()) == {1}
        assert "TooManyRequests" in refused_eviction(cluster, "ratings")
    eventually(lambda: ready(cluster), in_twos, within=PATIENCE)
    with cordoned(cluster, NODES[0]):
        cluster.kubectl(*drain(NODES[0], seconds=PATIENCE))
        assert NODES[0] not in {o["spec"].get("nodeName") for o in cluster.objects("pods")}


@contextmanager
def cordoned(cluster, *nodes):
    cluster.kubectl("cordon", *nodes)
    try:
        yield
    finally:
        cluster.kubectl("uncordon", *nodes)


def in_twos(counts):
    return set(counts.values()) == {2}


def ready(cluster):
    """How many there are of each role."""
    return {
        o["metadata"]["name"]: o["status"].get("readyReplicas", 0)
        for o in cluster.objects("deployments")
    }


def replicas(cluster):
    """How many there should be."""
    return {o["metadata"]["name"]: o["spec"]["replicas"] for o in cluster.objects("deployments")}


def drain(*nodes, seconds):
    return ("drain", *nodes, "--delete-emptydir-data", "--force", f"--timeout={seconds:.0f}s")


def refused_eviction(cluster, role):
    """What is said of one of that role's last pod."""
    (pod,) = [
        o["metadata"]["name"]
        for o in cluster.objects("pods", "-l", f"app.kubernetes.io/component={role}")
        if o["spec"].get("nodeName")
    ]
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": "marquee"},
    }
    path = f"/api/v1/namespaces/marquee/pods/{pod}/eviction"
    return cluster.refusal("create", "--raw", path, "-f", "-", given=json.dumps(eviction))
