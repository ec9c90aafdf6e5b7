"""Faults to plant in the production overlay, a line each; those of an Ingress where it has one."""

from collections.abc import Callable
from typing import Any

from tests.deploy.manifests import Object


def pod(o: Object) -> Any:
    return o["spec"]["template"]["spec"]


def container(o: Object) -> Any:
    return pod(o)["containers"][0]


def secrets(o: Object) -> Any:
    return pod(o)["volumes"][0]["projected"]["sources"]


def path(o: Object, value: str) -> Any:
    """The match of that path in a route."""
    found = [match["path"] for rule in o["spec"]["rules"] for match in rule["matches"]]
    return next(path for path in found if path["value"] == value)


def env(o: Object, name: str, value: str) -> None:
    container(o)["env"].append({"name": name, "value": value})


def password(o: Object, secret: str) -> None:
    ref = {"name": secret, "key": "password"}
    container(o)["env"].append({"name": "PASSWORD", "valueFrom": {"secretKeyRef": ref}})


def service(o: Object) -> Any:
    """What an Ingress leads to."""
    return o["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]


FAULTS: list[tuple[str, str, str, Callable[[Object], object], str]] = [
    ("selectors_select", "Service", "ratings", lambda o: o["spec"]["selector"].update(x="y"), "Service ratings selects no pod"),
    ("selectors_select", "PodDisruptionBudget", "relay", lambda o: o["spec"]["selector"]["matchLabels"].update(x="y"), "relay selects no pod"),
    ("selectors_select", "NetworkPolicy", "from-gateway", lambda o: o["spec"]["podSelector"]["matchExpressions"][0].update(values=["rating"]), "from-gateway selects no pod"),
    ("selectors_select", "Deployment", "movies", lambda o: o["spec"]["template"]["metadata"]["labels"].pop("app.kubernetes.io/component"), "movies does not select its own pods"),
    ("selectors_select", "Deployment", "movies", lambda o: pod(o)["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"].update(x="y"), "near to, or far from, no pod"),
    ("selectors_do_not_overlap", "PodDisruptionBudget", "relay", lambda o: o["spec"]["selector"]["matchLabels"].pop("app.kubernetes.io/component"), "PodDisruptionBudget ratings and PodDisruptionBudget relay"),
    ("ports_are_open", "Service", "movies", lambda o: o["spec"]["ports"][0].update(targetPort="web"), "leads to a port that Deployment movies does not open"),
    ("probed_ports_are_open", "Deployment", "movies", lambda o: container(o)["livenessProbe"]["httpGet"].update(port=8081), "is probed at 8081"),
    ("ports_are_open", "NetworkPolicy", "from-monitoring", lambda o: o["spec"]["ingress"][0]["ports"][0].update(port=9100), "lets in at {9100}"),
    ("backends_exist", "HTTPRoute", "marquee", lambda o: o["spec"]["rules"][0]["backendRefs"][0].update(name="top"), "leads to top, which is no Service"),
    ("backends_exist", "HTTPRoute", "marquee", lambda o: o["spec"]["rules"][0]["backendRefs"][0].update(port=80), "leads to top-rated, which is no Service"),
    ("backends_exist", "Ingress", "marquee", lambda o: service(o).update(name="gate"), "Ingress marquee leads to gate, which is no Service"),
    ("backends_exist", "Ingress", "marquee", lambda o: service(o).update(port={"name": "web"}), "Ingress marquee leads to gateway, which is no Service"),
    ("calls_reach_their_roles", "HTTPRoute", "marquee", lambda o: path(o, "/movies").update(type="PathPrefix"), "POST /movies/tt0111161/users/rate goes to movies, with Exact > PathPrefix > RegularExpression"),
    ("calls_reach_their_roles", "HTTPRoute", "marquee", lambda o: path(o, "/movies/[^/]+$").update(value="/movies/[^/]+"), "POST /movies/tt0111161/users/rate goes to movies and ratings"),
    ("calls_reach_their_roles", "HTTPRoute", "marquee", lambda o: o["spec"]["rules"][2]["matches"][2].pop("method"), "GET /movies/tt0111161/ratings goes to movies and ratings"),
    ("calls_reach_their_roles", "HTTPRoute", "marquee", lambda o: path(o, "/openapi.json").update(value="/metrics"), "GET /metrics goes to movies"),
    ("references_exist", "Deployment", "relay", lambda o: secrets(o)[0]["secret"].update(name="settings"), "needs Secret settings, which nobody makes"),
    ("references_exist", "Deployment", "relay", lambda o: password(o, "marquee-ratings"), "needs password of Secret marquee-ratings, a key that nobody makes"),
    ("references_exist", "Deployment", "relay", lambda o: container(o)["env"][0].update(value="/etc/marquees"), "reads /etc/marquees, where no Secret is"),
    ("references_exist", "Deployment", "relay", lambda o: container(o)["envFrom"][0]["configMapRef"].update(name="other"), "needs ConfigMap other"),
    ("references_exist", "Deployment", "relay", lambda o: pod(o).update(priorityClassName="high"), "needs PriorityClass high"),
    ("references_exist", "Deployment", "relay", lambda o: pod(o).update(serviceAccountName="relay"), "needs ServiceAccount relay"),
    ("references_exist", "Deployment", "relay", lambda o: container(o)["volumeMounts"][0].update(name="data"), "mounts data, which is no volume"),
    ("probed_paths_are_served", "Deployment", "movies", lambda o: container(o)["livenessProbe"]["httpGet"].update(path="/healthz"), "probed at /healthz, which it does not serve"),
    ("probed_paths_are_served", "Deployment", "movies", lambda o: container(o)["livenessProbe"]["httpGet"].update(path="/health/ready"), "and should be at"),
    ("probed_paths_are_served", "Deployment", "movies", lambda o: container(o).pop("startupProbe"), "and should be at"),
    ("scalers_scale", "HorizontalPodAutoscaler", "aggregator", lambda o: o["spec"]["metrics"][0]["external"]["metric"].update(name="marquee_lag"), "goes by marquee_lag, which no process exports"),
    ("scalers_scale", "HorizontalPodAutoscaler", "aggregator", lambda o: o["spec"]["metrics"][0]["external"]["metric"].update(name="marquee_dead_letters"), "which the example's adapter does not make"),
    ("scalers_scale", "HorizontalPodAutoscaler", "ratings", lambda o: o["spec"].update(minReplicas=30), "more processes at least than at most"),
    ("scalers_scale", "HorizontalPodAutoscaler", "ratings", lambda o: o["spec"]["scaleTargetRef"].update(name="rating"), "scales rating, which there is not"),
    ("scalers_scale", "Deployment", "ratings", lambda o: o["spec"].update(replicas=3), "overruled by the replicas of ratings"),
    ("settings_are_known", "Deployment", "ratings", lambda o: env(o, "MARQUEE_JKWS", "x"), "MARQUEE_JKWS is no setting"),
    ("settings_are_known", "ConfigMap", "marquee", lambda o: o["data"].update(MARQUEE_RATE_LIMIT="60"), "rate_limit"),
    ("commands_are_known", "Deployment", "ratings", lambda o: container(o).update(args=["serve", "rating"]), "runs serve rating, which there is not"),
    ("commands_are_known", "Deployment", "ratings", lambda o: container(o).update(args=["serve", "movies"]), "is called ratings and serves"),
    ("commands_are_known", "Deployment", "relay", lambda o: o["metadata"].update(name="relays"), "nobody is relay"),
    ("pods_are_restricted", "Deployment", "ratings", lambda o: pod(o)["securityContext"].pop("seccompProfile"), "has no seccomp"),
    ("pods_are_restricted", "Deployment", "ratings", lambda o: pod(o)["securityContext"].update(runAsUser=0), "runs as root"),
    ("pods_are_restricted", "Deployment", "ratings", lambda o: pod(o).pop("automountServiceAccountToken"), "has a token"),
    ("pods_are_restricted", "Deployment", "ratings", lambda o: pod(o).update(enableServiceLinks=True), "has links to Services"),
    ("pods_are_restricted", "Deployment", "ratings", lambda o: container(o)["securityContext"].update(readOnlyRootFilesystem=False), "the rights of marquee"),
    ("pods_are_restricted", "Deployment", "ratings", lambda o: pod(o)["volumes"].append({"name": "x", "hostPath": {"path": "/"}}), "mounts its node's"),
    ("pods_are_restricted", "Namespace", "marquee", lambda o: o["metadata"]["labels"].pop("pod-security.kubernetes.io/enforce"), "does not enforce"),
    ("files_keep_their_rights", "Deployment", "ratings", lambda o: pod(o)["volumes"].append({"name": "x", "persistentVolumeClaim": {"claimName": "x"}}), "Deployment ratings opens the files of its volume"),
    ("resources_are_told", "Deployment", "ratings", lambda o: container(o)["resources"]["limits"].pop("memory"), "has no limits of ['memory']"),
    ("resources_are_told", "Deployment", "ratings", lambda o: pod(o).pop("priorityClassName"), "has no priority"),
    ("nobody_is_refused", "Deployment", "ratings", lambda o: o["spec"]["strategy"]["rollingUpdate"].update(maxUnavailable=1), "takes pods away"),
    ("nobody_is_refused", "Deployment", "ratings", lambda o: o["spec"]["strategy"]["rollingUpdate"].update(maxSurge=0), "takes pods away"),
    ("nobody_is_refused", "Deployment", "ratings", lambda o: container(o).pop("lifecycle"), "stops while calls are still sent"),
    ("nobody_is_refused", "Deployment", "ratings", lambda o: pod(o).update(terminationGracePeriodSeconds=15), "is killed before it is done"),
    ("drains_are_bounded", "PodDisruptionBudget", "ratings", lambda o: o["spec"].update(maxUnavailable=0), "may keep a node from ever being drained"),
    ("drains_are_bounded", "PodDisruptionBudget", "ratings", lambda o: o["spec"]["selector"]["matchLabels"].update(x="y"), "has no budget"),
    ("pods_are_apart", "Deployment", "ratings", lambda o: pod(o).pop("topologySpreadConstraints"), "may have all its pods in one place"),
    ("images_are_pinned", "Deployment", "ratings", lambda o: container(o).update(image="marquee:latest"), "has no version"),
    ("images_are_pinned", "Deployment", "ratings", lambda o: container(o).update(image="marquee:0.0.9"), "is not"),
    ("images_are_pinned", "Deployment", "ratings", lambda o: container(o).update(image="redis:7.0.0"), "Compose has redis"),
    ("pods_fit_the_image", "Deployment", "ratings", lambda o: pod(o)["securityContext"].update(runAsUser=10002), "runs as somebody else"),
    ("pods_fit_the_image", "Deployment", "ratings", lambda o: container(o)["ports"][0].update(containerPort=80), "opens a port that its image does not"),
    ("pods_fit_the_image", "Deployment", "ratings", lambda o: container(o)["volumeMounts"].append({"name": "data", "mountPath": "/data"}), "where its image keeps nothing"),
    ("changes_roll_out", "ConfigMap", "marquee", lambda o: o["metadata"].update(name="marquee"), "a change of ConfigMap marquee reaches no process"),
    ("namespaces_agree", "Service", "ratings", lambda o: o["metadata"].update(namespace="default"), "is not in marquee"),
    ("words_are_such", "NetworkPolicy", "to-dns", lambda o: o["spec"]["egress"][0]["ports"][0].update(protocol="TPC"), "TPC is no ports protocol"),
    ("words_are_such", "Service", "ratings", lambda o: o["spec"]["ports"][0].update(name="http-for-everybody"), "is no ports name"),
    ("words_are_such", "Service", "ratings", lambda o: o["metadata"].update(name="Ratings"), "has a name that is none"),
    ("words_are_such", "Deployment", "ratings", lambda o: container(o)["resources"]["limits"].update(memory="512MB"), "512MB is no limits memory"),
    ("words_are_such", "HorizontalPodAutoscaler", "aggregator", lambda o: o["spec"]["metrics"][0]["external"]["target"].update(averageValue="5000/s"), "is no target averageValue"),
    ("jobs_end", "Job", "migrate", lambda o: o["spec"].pop("activeDeadlineSeconds"), "may run for ever"),
    ("jobs_end", "Job", "migrate", lambda o: o["spec"].pop("ttlSecondsAfterFinished"), "stays for ever"),
    ("jobs_end", "CronJob", "verify", lambda o: o["spec"].update(concurrencyPolicy="Allow"), "may run beside itself"),
    ("network_is_right", "NetworkPolicy", "to-movies", lambda o: o["spec"]["podSelector"]["matchExpressions"][0]["values"].remove("refresher"), "refresher may not speak with movies at 5432"),
    ("network_is_right", "NetworkPolicy", "to-ratings", lambda o: o["spec"]["podSelector"]["matchExpressions"][0]["values"].append("movies"), "movies may speak with ratings at 9042, and need not"),
    ("network_is_right", "NetworkPolicy", "to-cache", lambda o: o["spec"]["egress"][0].pop("to"), "ratings may speak with the cloud's metadata at 6379"),
    ("network_is_right", "NetworkPolicy", "nothing", lambda o: o["spec"]["policyTypes"].remove("Ingress"), "a stranger may speak with a neighbour at 8080"),
    ("network_is_right", "NetworkPolicy", "to-dns", lambda o: o["spec"]["egress"][0]["ports"].clear(), "ratings may not speak with DNS at 53"),
    ("network_is_right", "NetworkPolicy", "to-issuer", lambda o: o["spec"]["podSelector"]["matchExpressions"][0]["values"].append("relay"), "relay may speak with the issuer at 443, and need not"),
    ("network_is_right", "NetworkPolicy", "to-issuer", lambda o: o["spec"]["egress"][0]["to"][0]["ipBlock"]["except"].pop(), "the cloud's metadata at 443"),
    ("passwords_are_of_stores_in_reach", "Deployment", "best-pictures", lambda o: secrets(o).append({"secret": {"name": "marquee-events"}}), "Deployment best-pictures has the password of events, with which it may not speak"),
    ("passwords_are_of_stores_in_reach", "Deployment", "relay", lambda o: container(o)["envFrom"].append({"secretRef": {"name": "marquee-movies"}}), "Deployment relay has the password of movies"),
    ("passwords_are_of_stores_in_reach", "Deployment", "relay", lambda o: secrets(o).pop(), "Deployment relay may speak with events, and has not its password"),
    ("passwords_are_of_stores_in_reach", "NetworkPolicy", "to-cache", lambda o: o["spec"]["podSelector"]["matchExpressions"][0]["values"].remove("verify"), "CronJob verify has the password of cache"),
]  # fmt: skip
"""The rule, the object that the fault is planted in, the fault, and a part of what is said of it."""
