"""Faults to plant in the production overlay, a line each: most of them are of the schemas."""

from collections.abc import Callable
from typing import Any

from tests.deploy.faults import container, pod
from tests.deploy.manifests import Object


def ports(o: Object) -> Any:
    return o["spec"]["egress"][0]["ports"]


def job(o: Object) -> Any:
    return o["spec"]["jobTemplate"]["spec"]


def elsewhere(o: Object) -> None:
    """Another selector, of other pods."""
    for labels in (
        o["spec"]["selector"]["matchLabels"],
        o["spec"]["template"]["metadata"]["labels"],
    ):
        labels["app.kubernetes.io/component"] = "relays"


FAULTS: list[tuple[str, str, Callable[[Object], object], str]] = [
    ("Deployment", "ratings", lambda o: pod(o).update(hostNetworks=True), "field not declared in schema"),
    ("Deployment", "ratings", lambda o: o["spec"]["strategy"]["rollingUpdate"].update(maxSurge=0), "may not be 0 when `maxSurge` is 0"),
    ("Deployment", "ratings", lambda o: o["spec"]["template"]["metadata"]["labels"].update({"app.kubernetes.io/component": "rating"}), "`selector` does not match template `labels`"),
    ("Deployment", "ratings", elsewhere, "field is immutable"),
    ("Deployment", "ratings", lambda o: container(o)["resources"]["limits"].update(memory="512MB"), "quantities must match"),
    ("Deployment", "ratings", lambda o: container(o)["resources"]["requests"].update(memory="1Gi"), "must be less than or equal to memory limit"),
    ("Deployment", "ratings", lambda o: container(o)["livenessProbe"].pop("httpGet"), "must specify a handler type"),
    ("Deployment", "ratings", lambda o: container(o)["livenessProbe"]["httpGet"].update(port="a-port-for-everybody"), "must be no more than 15 characters"),
    ("Deployment", "ratings", lambda o: container(o)["volumeMounts"].append({"name": "data", "mountPath": "/data"}), 'volumeMounts[1].name: Not found: "data"'),
    ("Deployment", "ratings", lambda o: pod(o).update(restartPolicy="OnFailure"), 'Unsupported value: "OnFailure"'),
    ("Deployment", "ratings", lambda o: pod(o)["topologySpreadConstraints"][0].update(maxSkew=0), "must be greater than zero"),
    ("Deployment", "ratings", lambda o: o["spec"].update(minReadySeconds=600), "must be greater than minReadySeconds"),
    ("Deployment", "ratings", lambda o: o["metadata"]["labels"].update(tier="calls first"), "a valid label must be"),
    ("Service", "ratings", lambda o: o["spec"]["ports"].append({"name": "http", "port": 8081}), 'Duplicate value: "http"'),
    ("Service", "ratings", lambda o: o["metadata"].update(name="Ratings"), 'Invalid value: "Ratings"'),
    ("ConfigMap", "marquee", lambda o: o["data"].update({"log format": "json"}), "a valid config key must consist of"),
    ("NetworkPolicy", "to-dns", lambda o: ports(o)[1].update(protocol="TPC"), 'Unsupported value: "TPC"'),
    ("NetworkPolicy", "to-movies", lambda o: ports(o)[0].update(port=70000), "must be between 1 and 65535"),
    ("NetworkPolicy", "to-issuer", lambda o: o["spec"]["egress"][0]["to"][0]["ipBlock"].update(cidr="10.0.0.0/8"), "must be a strict subset"),
    ("HorizontalPodAutoscaler", "ratings", lambda o: o["spec"].update(minReplicas=30), "must be greater than or equal to"),
    ("HorizontalPodAutoscaler", "ratings", lambda o: o["spec"]["metrics"][0]["resource"]["target"].update(averageUtilization=0), "must be greater than 0"),
    ("PodDisruptionBudget", "ratings", lambda o: o["spec"].update(minAvailable=1), "minAvailable and maxUnavailable cannot be both set"),
    ("PriorityClass", "marquee-calls", lambda o: o.update(value=1), "may not be changed in an update"),
    ("CronJob", "verify", lambda o: o["spec"].update(schedule="61 3 * * *"), "end of range (61) above maximum (59)"),
    ("CronJob", "verify", lambda o: o["spec"].update(timeZone="Mars/Olympus"), "unknown time zone Mars/Olympus"),
    ("CronJob", "verify", lambda o: job(o)["template"]["spec"].update(restartPolicy="Always"), 'valid values: "OnFailure", "Never"'),
    ("Job", "migrate", lambda o: container(o).update(args=["migrate", "--slots", "8"]), "field is immutable"),
    ("HTTPRoute", "marquee", lambda o: o["spec"]["rules"][0]["matches"][0]["path"].update(type="Regex"), 'Unsupported value: "Regex"'),
    ("HTTPRoute", "marquee", lambda o: o["spec"]["rules"][0]["matches"][0]["path"].update(value="movies"), "must be an absolute path"),
]  # fmt: skip
"""The object that the fault is planted in, the fault, and a part of what is said of it."""

BEYOND: list[tuple[Callable[[Object], object], str]] = [
    (lambda o: o["spec"]["containers"][0]["securityContext"].update(privileged=True, allowPrivilegeEscalation=True), "privileged"),
    (lambda o: o["spec"]["containers"][0]["securityContext"]["capabilities"].update(add=["NET_ADMIN"]), "unrestricted capabilities"),
    (lambda o: o["spec"]["volumes"].append({"name": "x", "hostPath": {"path": "/"}}), "restricted volume types"),
    (lambda o: o["spec"]["securityContext"].update(runAsUser=0), "runAsUser=0"),
    (lambda o: o["spec"]["securityContext"].pop("seccompProfile"), "seccompProfile"),
    (lambda o: o["spec"].update(hostNetwork=True), "host namespaces"),
]  # fmt: skip
"""What a pod of ours could want beyond the restricted level, and what it is then refused for."""
