"""That every overlay is taken as it is, comes up, and gives way to a new version."""

import re

import pytest

from marquee import __version__
from tests.api.asking import eventually
from tests.cluster.control_plane import NODES, PATIENCE
from tests.deploy.manifests import OVERLAYS, ROOT, Manifests, guided, of, rendered, title

pytestmark = pytest.mark.long


@pytest.fixture(scope="module", params=[*OVERLAYS, "ingress"])
def overlay(cluster, request, tmp_path_factory):
    """One that the cluster has, and that is up."""
    if request.param == "ingress":
        folder = guided(tmp_path_factory.mktemp("ingress"), ingress=True)
        found = Manifests("ingress", rendered(folder))
    else:
        found = of(request.param)
    with cluster.has(found.text):
        eventually(lambda: unsettled(cluster, found), lambda left: not left, within=PATIENCE)
        yield found


def test_an_overlay_comes_up(cluster, overlay):
    """All of it on nodes, and what scales as many as it is at least, where nobody has figures."""
    assert {o["spec"]["nodeName"] for o in cluster.objects("pods")} <= set(NODES)
    at_least = {
        o["spec"]["scaleTargetRef"]["name"]: o["spec"]["minReplicas"]
        for o in overlay.all("HorizontalPodAutoscaler")
    }
    eventually(
        lambda: counts(cluster, "availableReplicas"),
        lambda found: found.items() >= at_least.items(),
        within=PATIENCE,
    )


def test_the_nightly_job_runs(cluster, overlay):
    cluster.kubectl("-n", "marquee", "create", "job", "tonight", "--from=cronjob/verify")
    assert done(cluster, "tonight") == ["verify"]


def test_any_command_runs_as_the_page_tells(cluster, overlay):
    page = (ROOT / "docs/kubernetes.md").read_text()
    (told,) = re.findall(
        r"^kubectl [^`]* create job doctor [^`]*? create -f -$", page, re.MULTILINE
    )
    cluster.shell(told)
    assert done(cluster, "doctor") == ["doctor"]


def done(cluster, job):
    """What a Job ran, which is taken away again."""
    wait = ("wait", f"job/{job}", "--for=condition=Complete", f"--timeout={PATIENCE:.0f}s")
    cluster.kubectl("-n", "marquee", *wait)
    (found,) = (o for o in cluster.objects("jobs") if o["metadata"]["name"] == job)
    cluster.kubectl("-n", "marquee", "delete", "job", job)
    return found["spec"]["template"]["spec"]["containers"][0]["args"]


def test_a_new_version_takes_over_and_nobody_is_missing_meanwhile(cluster, overlay):
    def look():
        found = counts(cluster, "availableReplicas")
        assert all(found.get(name, 0) >= count for name, count in before.items()), found
        return unsettled(cluster, newer)

    before = counts(cluster, "availableReplicas")
    newer = Manifests(overlay.name, overlay.text.replace(f"marquee:{__version__}", "marquee:next"))
    cluster.kubectl("-n", "marquee", "delete", "job", "migrate", "demo", "--ignore-not-found")
    cluster.apply(newer.text)
    eventually(look, lambda left: not left, within=PATIENCE)


def counts(cluster, which):
    """Of each Deployment."""
    return {
        o["metadata"]["name"]: o["status"].get(which, 0) for o in cluster.objects("deployments")
    }


def unsettled(cluster, overlay):
    """What is not yet as these manifests have it."""
    images = {c["image"] for pod in overlay.pods() for c in pod.containers}
    return [
        *(title(o) for o in cluster.objects("deployments,statefulsets") if not settled(o)),
        *(title(o) for o in cluster.objects("jobs") if not o["status"].get("succeeded")),
        *(
            f"{title(o)} of {c['image']}"
            for o in cluster.objects("pods")
            for c in o["spec"]["containers"]
            if c["image"] not in images
        ),
    ]


def settled(workload):
    """Whether all of it is there, ready for long enough and of its newest template."""
    status = workload["status"]
    return status.get("observedGeneration") == workload["metadata"]["generation"] and all(
        status.get(count, 0) == workload["spec"]["replicas"]
        for count in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")
    )
