"""What a schema doesn't know: our own rules for manifests. Each tells what breaks it."""

import re
import tomllib
from base64 import b64decode
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

from marquee import __version__, config
from marquee.errors import Unusable
from marquee.http.docs import Docs
from marquee.http.operations import LIVE, READY
from marquee.serving import STOP_SECONDS
from marquee.wiring import ROLES, contract
from marquee.wiring.stores import ALL
from tests.deploy.manifests import ROOT, Manifests, Object, Pod, example, selects, title
from tests.support.both import role_of

Complaints = Iterator[str]
Rule = Callable[[Manifests], Complaints]

MADE_ELSEWHERE = {
    "production": {("Secret", f"marquee-{store}"): {f"{store}.toml"} for store in ALL}
    | {("Secret", "marquee-ratings-migrate"): {"ratings.toml"}}
}
"""What an overlay expects that somebody else has made, with its keys."""

HASHED = re.compile(r".+-[0-9a-z]{10}")
COMMANDS = {"serve", "migrate", "verify", "demo"}


def selectors_select(m: Manifests) -> Complaints:
    """Every selector has something to select."""
    for o in m.all("Service", "PodDisruptionBudget", "NetworkPolicy"):
        if not m.selected(selector_of(o)):
            yield f"{title(o)} selects no pod"
    for o in m.all("Deployment", "StatefulSet"):
        labels = o["spec"]["template"]["metadata"]["labels"]
        if not o["spec"]["selector"]["matchLabels"].items() <= labels.items():
            yield f"{title(o)} does not select its own pods"
    for pod in m.pods():
        for selector in near(pod.spec):
            if not m.selected(selector):
                yield f"{pod.owner} wants to be near to, or far from, no pod"


def selector_of(o: Object) -> Object:
    """Which pods an object is about."""
    if o["kind"] == "NetworkPolicy":
        return dict(o["spec"]["podSelector"])
    selector = o["spec"]["selector"]
    return {"matchLabels": selector} if o["kind"] == "Service" else dict(selector)


def near(spec: Object) -> Iterator[Object]:
    """The label selectors that decide where a pod goes."""
    for constraint in spec.get("topologySpreadConstraints", []):
        yield constraint["labelSelector"]
    for kind in ("podAffinity", "podAntiAffinity"):
        rules = spec.get("affinity", {}).get(kind, {})
        for term in rules.get("requiredDuringSchedulingIgnoredDuringExecution", []):
            yield term["labelSelector"]
        for term in rules.get("preferredDuringSchedulingIgnoredDuringExecution", []):
            yield term["podAffinityTerm"]["labelSelector"]


def selectors_do_not_overlap(m: Manifests) -> Complaints:
    """No two workloads, nor two budgets, count the same pods as theirs."""
    for kind in ("PodDisruptionBudget", "Deployment", "StatefulSet"):
        for pod in m.pods():
            owners = [o for o in m.all(kind) if pod in m.selected(o["spec"]["selector"])]
            if len(owners) > 1:
                yield f"{pod.owner} is selected by {' and '.join(map(title, owners))}"


def ports_are_open(m: Manifests) -> Complaints:
    """What is led to a port finds a container that listens there."""
    for o in m.all("Service"):
        ports = {port.get("targetPort", port["port"]) for port in o["spec"]["ports"]}
        for pod in m.selected(selector_of(o)):
            if ports - opened(pod):
                yield f"{title(o)} leads to a port that {pod.owner} does not open"
    for o in m.all("NetworkPolicy"):
        ports = {p["port"] for rule in o["spec"].get("ingress", []) for p in rule["ports"]}
        for pod in m.selected(selector_of(o)):
            if opened(pod) and (closed := ports - opened(pod)):
                yield f"{title(o)} lets in at {closed}, which {pod.owner} does not open"


def probed_ports_are_open(m: Manifests) -> Complaints:
    """A probe asks where a container listens."""
    for pod in m.pods():
        for container in pod.containers:
            for probe in probes(container).values():
                port = (probe.get("httpGet") or probe.get("tcpSocket") or {}).get("port")
                if port is not None and port not in opened(pod):
                    yield f"{pod.owner} is probed at {port}, which it does not open"


def opened(pod: Pod) -> set[int | str]:
    ports = [port for container in pod.containers for port in container.get("ports", [])]
    return {p["containerPort"] for p in ports} | {p["name"] for p in ports}


def backends_exist(m: Manifests) -> Complaints:
    """Routes lead to a port of a Service that there is."""
    services = {
        (o["metadata"]["name"], port[key])
        for o in m.all("Service")
        for port in o["spec"]["ports"]
        for key in ("port", "name")
    }
    for o in m.all("HTTPRoute"):
        for backend in (b for rule in o["spec"]["rules"] for b in rule["backendRefs"]):
            if (backend["name"], backend["port"]) not in services:
                yield f"{title(o)} leads to {backend['name']}, which is no Service"
    for o in m.all("Ingress"):
        for path in (p for rule in o["spec"]["rules"] for p in rule["http"]["paths"]):
            service = path["backend"]["service"]
            if (service["name"], *service["port"].values()) not in services:
                yield f"{title(o)} leads to {service['name']}, which is no Service"


def calls_reach_their_roles(m: Manifests) -> Complaints:
    """Each call of the contract is led to its role, whether a gateway has expressions before
    prefixes or after them; figures are led nowhere."""
    matches = [
        (match, rule["backendRefs"][0]["name"])
        for o in m.all("HTTPRoute")
        for rule in o["spec"]["rules"]
        for match in rule["matches"]
    ]
    for order in ORDERS if matches else ():
        for endpoint in (*contract(), *Docs(()).pages):
            path = endpoint.path.replace("{movieId}", "tt0111161")
            wanted = set() if path == "/metrics" else {role_of(endpoint.method, path)}
            found = led(matches, order, endpoint.method, path)
            if found != wanted:
                where = " and ".join(sorted(found)) or "nobody"
                yield f"{endpoint.method} {path} goes to {where}, with {' > '.join(order)}"


ORDERS = (
    ("Exact", "RegularExpression", "PathPrefix"),  # Envoy Gateway
    ("Exact", "PathPrefix", "RegularExpression"),  # Istio
)
"""In which order gateways try the kinds of matches."""


def led(
    matches: list[tuple[Object, str]], order: tuple[str, ...], method: str, path: str
) -> set[str]:
    """The Services that a request may go to, by those of the matches that are the most exact."""
    ways: dict[tuple[int, int, bool], set[str]] = {}
    for match, service in matches:
        kind, value = match["path"]["type"], match["path"]["value"]
        if matched(kind, value, path) and match.get("method", method) == method:
            long = len(value) if kind == "PathPrefix" else 0
            ways.setdefault((-order.index(kind), long, "method" in match), set()).add(service)
    return ways[max(ways)] if ways else set()


def matched(kind: str, value: str, path: str) -> bool:
    """Expressions count wherever they are found in a path: some gateways have it so."""
    if kind == "RegularExpression":
        return re.search(value, path) is not None
    return path == value or (kind == "PathPrefix" and path.startswith(value.rstrip("/") + "/"))


def references_exist(m: Manifests) -> Complaints:
    """What a pod names is made by somebody."""
    for pod in m.pods():
        volumes = {v["name"] for v in pod.spec.get("volumes", [])} | claims_of(m, pod)
        for container in pod.containers:
            for mount in container.get("volumeMounts", []):
                if mount["name"] not in volumes:
                    yield f"{pod.owner} mounts {mount['name']}, which is no volume of it"
        yield from (f"{pod.owner} reads {path}, where no Secret is" for path in astray(pod))
        for kind, name, key in references(pod.spec):
            keys = made(m, kind, name)
            if keys is None:
                yield f"{pod.owner} needs {kind} {name}, which nobody makes"
            elif key is not None and key not in keys:
                yield f"{pod.owner} needs {key} of {kind} {name}, a key that nobody makes"


def claims_of(m: Manifests, pod: Pod) -> set[str]:
    templates = chain.from_iterable(
        o["spec"].get("volumeClaimTemplates", [])
        for o in m.all("StatefulSet")
        if title(o) == pod.owner
    )
    return {t["metadata"]["name"] for t in templates}


def references(spec: Object) -> Iterator[tuple[str, str, str | None]]:
    """Kind, name and key of what a pod names."""
    yield "ServiceAccount", spec.get("serviceAccountName", "default"), None
    if "priorityClassName" in spec:
        yield "PriorityClass", spec["priorityClassName"], None
    for volume in spec.get("volumes", []):
        for kind, (source, name) in SOURCES.items():
            if source in volume:
                yield kind, volume[source][name], None
        for source in volume.get("projected", {}).get("sources", []):
            name = source["secret"]["name"]
            yield "Secret", name, f"{store_of(name)}.toml"
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        yield from variables(container)


SOURCES = {
    "Secret": ("secret", "secretName"),
    "ConfigMap": ("configMap", "name"),
    "PersistentVolumeClaim": ("persistentVolumeClaim", "claimName"),
}
"""By kind, what a volume of it is called, and where its name stands."""


def variables(container: Object) -> Iterator[tuple[str, str, str | None]]:
    """What the environment of a container comes from."""
    for source in container.get("envFrom", []):
        for kind, ref in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
            if ref in source:
                yield kind, source[ref]["name"], None
    for variable in container.get("env", []):
        told = variable.get("valueFrom", {})
        for kind, ref in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
            if ref in told:
                yield kind, told[ref]["name"], told[ref]["key"]


def store_of(secret: str) -> str:
    """The store that a Secret is of, by its name, at the end of which a hash may be."""
    return secret.removeprefix("marquee-").partition("-")[0]


def astray(pod: Pod) -> Iterator[str]:
    """Where containers read their settings, and no Secrets are mounted."""
    volumes = {v["name"] for v in pod.spec.get("volumes", []) if "projected" in v}
    for container in pod.containers:
        mounts = {v["mountPath"] for v in container.get("volumeMounts", []) if v["name"] in volumes}
        for variable in container.get("env", []):
            if variable["name"] == "MARQUEE_CONFIG" and variable["value"] not in mounts:
                yield variable["value"]


def made(m: Manifests, kind: str, name: str) -> set[str] | None:
    """The keys of what is made under that name; None where nothing is."""
    elsewhere = MADE_ELSEWHERE.get(m.name, {})
    if (kind, name) in elsewhere:
        return elsewhere[kind, name]
    if kind == "PersistentVolumeClaim" and name in claimed(m):
        return set()
    for o in m.all(kind):
        if o["metadata"]["name"] == name:
            return {*o.get("data", {}), *o.get("stringData", {})}
    return None


def claimed(m: Manifests) -> set[str]:
    """The claims that come of StatefulSets, by their pods."""
    return {
        f"{t['metadata']['name']}-{o['metadata']['name']}-{number}"
        for o in m.all("StatefulSet")
        for t in o["spec"].get("volumeClaimTemplates", [])
        for number in range(o["spec"]["replicas"])
    }


def probes(container: Object) -> dict[str, Object]:
    kinds = ("startupProbe", "livenessProbe", "readinessProbe")
    return {kind: container[kind] for kind in kinds if kind in container}


def probed_paths_are_served(m: Manifests) -> Complaints:
    """What is probed answers; and no pod is killed because something that it needs is away."""
    served = {endpoint.path for endpoint in contract() if endpoint.method == "GET"}
    wanted = {"startupProbe": LIVE, "livenessProbe": LIVE, "readinessProbe": READY}
    for pod in m.pods():
        if pod.owner.startswith(("Job", "CronJob")):
            continue
        for container in pod.containers:
            found = {
                kind: probe["httpGet"]["path"]
                for kind, probe in probes(container).items()
                if "httpGet" in probe
            }
            if container in pod.ours and found != wanted:
                yield f"{pod.owner} is probed at {found}, and should be at {wanted}"
            known = served if container in pod.ours else gateways(m, pod)
            for path in found.values():
                if path not in known:
                    yield f"{pod.owner} is probed at {path}, which it does not serve"


def gateways(m: Manifests, pod: Pod) -> set[str]:
    """The paths that a gateway answers by itself."""
    maps = [v["configMap"]["name"] for v in pod.spec.get("volumes", []) if "configMap" in v]
    texts = [
        text
        for o in m.all("ConfigMap")
        if o["metadata"]["name"] in maps
        for text in o["data"].values()
    ]
    return set(re.findall(r"location = (\S+) \{\s+return 2", "".join(texts)))


def scalers_scale(m: Manifests) -> Complaints:
    """Each HorizontalPodAutoscaler has a target of its own, room, and a metric that there is."""
    for o in m.all("HorizontalPodAutoscaler"):
        spec, target = o["spec"], o["spec"]["scaleTargetRef"]
        if target["name"] not in m.names(target["kind"]):
            yield f"{title(o)} scales {target['name']}, which there is not"
            continue
        if not 1 <= spec["minReplicas"] <= spec["maxReplicas"]:
            yield f"{title(o)} has more processes at least than at most"
        if "replicas" in m.get(target["kind"], target["name"])["spec"]:
            yield f"{title(o)} is overruled by the replicas of {target['name']} at each apply"
        for metric in spec["metrics"]:
            yield from metric_is_there(m, o, metric)


def metric_is_there(m: Manifests, scaler: Object, metric: Object) -> Complaints:
    if metric["type"] == "External":
        name = metric["external"]["metric"]["name"]
        if name not in m.figures:
            yield f"{title(scaler)} goes by {name}, which no process exports"
        if name not in adapted():
            yield f"{title(scaler)} goes by {name}, which the example's adapter does not make"
    elif metric["resource"]["name"] != "cpu":
        yield f"{title(scaler)} goes by {metric['resource']['name']}, which says nothing of load"


def adapted() -> set[str]:
    """The metrics that the example has prometheus-adapter make."""
    (values,) = example("prometheus-adapter")
    return {rule["name"]["as"] for rule in values["rules"]["external"]}


def settings_are_known(m: Manifests) -> Complaints:
    """Every MARQUEE_* variable and every name in a settings file is a setting, with a value that it
    can have."""
    for pod in m.pods():
        for container in pod.ours:
            environ = {v["name"]: v.get("value", "") for v in container.get("env", [])}
            for source in container.get("envFrom", []):
                environ |= m.get("ConfigMap", source["configMapRef"]["name"][:-11])["data"]
            environ.pop("MARQUEE_CONFIG", None)
            unknown: list[str] = []
            try:
                config.load({}, environ, warn=unknown.append)
            except Unusable as fault:
                unknown.append(str(fault))
            yield from (f"{pod.owner}: {fault}" for fault in unknown)
    for o in m.all("Secret"):
        for file, text in o["data"].items():
            told = tomllib.loads(b64decode(text).decode())
            try:
                config.load(told, {})
            except Unusable as fault:
                yield f"{file}: {fault}"
            for name in told.keys() - config.BY_NAME.keys():
                yield f"{file}: {name} is no setting"


def commands_are_known(m: Manifests) -> Complaints:
    """Every role has a Deployment on servers, and what containers are told to run, there is."""
    for pod in m.pods():
        for container in pod.ours:
            command, *arguments = container["args"]
            roles = [a for a in arguments if not a.startswith("-")]
            if command not in COMMANDS or not set(roles) <= set(ROLES):
                yield f"{pod.owner} runs {' '.join(container['args'])}, which there is not"
            if command == "serve" and pod.role not in {*roles, "all"}:
                yield f"{pod.owner} is called {pod.role} and serves {roles}"
    if m.name != "embedded":
        yield from (f"nobody is {role}" for role in ROLES if role not in m.names("Deployment"))


def pods_are_restricted(m: Manifests) -> Complaints:
    """As restricted Pod Security has it, and somewhat more: no token, no writable root."""
    for pod in m.pods():
        spec, security = pod.spec, pod.spec.get("securityContext", {})
        wanted = {
            "runs as root": security.get("runAsNonRoot") is True and security.get("runAsUser", 0),
            "has no seccomp": security.get("seccompProfile") == {"type": "RuntimeDefault"},
            "has a token": spec.get("automountServiceAccountToken") is False,
            "has links to Services": spec.get("enableServiceLinks") is False,
            "shares its node's": not spec.keys() & {"hostNetwork", "hostPID", "hostIPC"},
            "mounts its node's": not any("hostPath" in v for v in spec.get("volumes", [])),
        }
        yield from (f"{pod.owner} {fault}" for fault, fine in wanted.items() if not fine)
        for container in pod.containers:
            if container.get("securityContext") != HARD:
                yield f"{pod.owner}: the rights of {container['name']} are not {HARD}"
    (namespace,) = m.all("Namespace")
    if namespace["metadata"]["labels"].get("pod-security.kubernetes.io/enforce") != "restricted":
        yield "the namespace does not enforce restricted Pod Security"


HARD = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def files_keep_their_rights(m: Manifests) -> Complaints:
    """What is on a lasting volume stays as its process wrote it: at each start of a pod that is not
    told otherwise, all of it is opened to the group, keys too."""
    for pod in m.pods():
        lasting = any("persistentVolumeClaim" in v for v in pod.spec.get("volumes", []))
        kept = pod.spec.get("securityContext", {}).get("fsGroupChangePolicy") == "OnRootMismatch"
        if (lasting or claims_of(m, pod)) and not kept:
            yield f"{pod.owner} opens the files of its volume to a group at each start"


def resources_are_told(m: Manifests) -> Complaints:
    """Every container says what it needs and may have, and every pod how much it matters."""
    for pod in m.pods():
        for container in pod.containers:
            resources = container.get("resources", {})
            for side in ("requests", "limits"):
                if (
                    missing := {"cpu", "memory", "ephemeral-storage"}
                    - resources.get(side, {}).keys()
                ):
                    yield f"{pod.owner}: {container['name']} has no {side} of {sorted(missing)}"
        if m.name != "embedded" and pod.ours and "priorityClassName" not in pod.spec:
            yield f"{pod.owner} has no priority"


def serving(m: Manifests) -> Iterator[Pod]:
    """The pods of Marquee's that go on until they are told to stop."""
    return (pod for pod in m.pods() if any("ports" in container for container in pod.ours))


def nobody_is_refused(m: Manifests) -> Complaints:
    """While pods are replaced as many as before are ready; one that goes has the time for it."""
    for o in m.all("Deployment"):
        rolling = o["spec"].get("strategy", {}).get("rollingUpdate", {})
        if rolling.get("maxUnavailable") != 0 or not rolling.get("maxSurge"):
            yield f"{title(o)} takes pods away before new ones are ready"
    for pod in serving(m):
        for container in pod.ours:
            hook = container.get("lifecycle", {}).get("preStop", {})
            pause = hook.get("sleep", {}).get("seconds", 0)
            if pause < 5:
                yield f"{pod.owner} stops while calls are still sent to it"
            if pod.spec.get("terminationGracePeriodSeconds", 30) < pause + STOP_SECONDS + 5:
                yield f"{pod.owner} is killed before it is done"


def drains_are_bounded(m: Manifests) -> Complaints:
    """Who drains nodes takes one pod of a kind at a time, and is never kept from it."""
    budgets = [o["spec"]["selector"] for o in m.all("PodDisruptionBudget")]
    for pod in serving(m):
        if not any(selects(selector, pod.labels) for selector in budgets):
            yield f"{pod.owner} has no budget: a drain takes all its pods at once"
    for o in m.all("PodDisruptionBudget"):
        if o["spec"].get("maxUnavailable") == 0 or "minAvailable" in o["spec"]:
            yield f"{title(o)} may keep a node from ever being drained"


def pods_are_apart(m: Manifests) -> Complaints:
    """What there is twice is neither on one node nor in one zone, if that can be."""
    for pod in m.pods():
        if pod.owner.startswith("Deployment"):
            keys = {c["topologyKey"] for c in pod.spec.get("topologySpreadConstraints", [])}
            anti = pod.spec.get("affinity", {}).get("podAntiAffinity")
            if "topology.kubernetes.io/zone" not in keys or not anti:
                yield f"{pod.owner} may have all its pods in one place"


def images_are_pinned(m: Manifests) -> Complaints:
    """Every image has a version; Marquee's is that of this source, others are as in Compose."""
    compose = (ROOT / "compose.yaml").read_text()
    others = dict(re.findall(r"image: (?:&\w+ )?([a-z/]+):(\S+)", compose))
    for pod in m.pods():
        for container in pod.containers:
            name, _, tag = container["image"].rpartition("/")[2].partition(":")
            if not re.search(r"[0-9]", tag):
                yield f"{pod.owner}: {container['image']} has no version"
            if name == "marquee" and tag != __version__:
                yield f"{pod.owner}: {container['image']} is not {__version__}"
            image = container["image"].partition(":")[0]
            if others.get(image, tag) != tag:
                yield f"{pod.owner}: Compose has {image} {others[image]}, and this {tag}"


def pods_fit_the_image(m: Manifests) -> Complaints:
    """Users, ports and folders are those that the Dockerfile says."""
    text = (ROOT / "Dockerfile").read_text()
    ((user, group),) = re.findall(r"^USER (\d+):(\d+)$", text, re.MULTILINE)
    ports = {int(port) for port in re.findall(r"^EXPOSE (\d+)$", text, re.MULTILINE)}
    environ = dict(re.findall(r"(MARQUEE_\w+)=(\S+)", text))
    if environ.get("MARQUEE_HOST") != "0.0.0.0":
        yield "the image listens where no other pod can call"
    for pod in m.pods():
        security = pod.spec.get("securityContext", {})
        for container in pod.ours:
            if (security.get("runAsUser"), security.get("runAsGroup")) != (int(user), int(group)):
                yield f"{pod.owner} runs as somebody else than its image"
            if {port["containerPort"] for port in container.get("ports", [])} - ports:
                yield f"{pod.owner} opens a port that its image does not"
            for mount in container.get("volumeMounts", []):
                if mount["name"] == "data" and mount["mountPath"] != environ["MARQUEE_DATA"]:
                    yield f"{pod.owner} has its volume where its image keeps nothing"


def changes_roll_out(m: Manifests) -> Complaints:
    """A ConfigMap's name ends with a hash of what is in it."""
    for name in m.names("ConfigMap"):
        if not HASHED.fullmatch(name):
            yield f"a change of ConfigMap {name} reaches no process"


def namespaces_agree(m: Manifests) -> Complaints:
    """All that has a namespace has that of the overlay."""
    (namespace,) = m.names("Namespace")
    for o in m.objects:
        alone = o["kind"] in {"Namespace", "PriorityClass"}
        if not alone and o["metadata"].get("namespace") != namespace:
            yield f"{title(o)} is not in {namespace}"


def words_are_such(m: Manifests) -> Complaints:
    """What an API server looks at beside the schema: names, ports, protocols, quantities."""
    for o in m.objects:
        if not NAME.fullmatch(o["metadata"]["name"]):
            yield f"{title(o)} has a name that is none"
        for path, value in leaves(o):
            pattern = WORDS.get(path)
            if pattern and not pattern.fullmatch(str(value)):
                yield f"{title(o)}: {value} is no {' '.join(path)}"


NAME = re.compile(r"(?=.{1,63}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?")
PROTOCOL = re.compile(r"TCP|UDP|SCTP")
PORT_NAME = re.compile(r"(?=.{1,15}$)(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*")
QUANTITY = re.compile(r"[0-9]+(\.[0-9]+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
WORDS = {
    ("ports", "protocol"): PROTOCOL,
    ("ports", "name"): PORT_NAME,
    ("requests", "cpu"): QUANTITY,
    ("requests", "memory"): QUANTITY,
    ("requests", "storage"): QUANTITY,
    ("limits", "cpu"): QUANTITY,
    ("limits", "memory"): QUANTITY,
    ("target", "averageValue"): QUANTITY,
}
"""By where a word stands, what it is like."""


def leaves(at: Any, above: str = "", name: str = "") -> Iterator[tuple[tuple[str, str], Any]]:
    """Every plain value, with its own name and that of what it stands in; lists don't count."""
    if isinstance(at, dict):
        for key, value in at.items():
            yield from leaves(value, name, key)
    elif isinstance(at, list):
        for value in at:
            yield from leaves(value, above, name)
    else:
        yield (above, name), at


def jobs_end(m: Manifests) -> Complaints:
    """Whatever hangs, it is not for ever; and no check overlaps itself."""
    for o in m.all("Job", "CronJob"):
        spec = o["spec"] if o["kind"] == "Job" else o["spec"]["jobTemplate"]["spec"]
        if "activeDeadlineSeconds" not in spec:
            yield f"{title(o)} may run for ever"
        if o["kind"] == "CronJob" and o["spec"].get("concurrencyPolicy") != "Forbid":
            yield f"{title(o)} may run beside itself"
        if o["kind"] == "Job" and "ttlSecondsAfterFinished" not in spec:
            yield f"{title(o)} stays for ever"


RULES: tuple[Rule, ...] = (
    selectors_select,
    selectors_do_not_overlap,
    ports_are_open,
    probed_ports_are_open,
    backends_exist,
    calls_reach_their_roles,
    references_exist,
    probed_paths_are_served,
    scalers_scale,
    settings_are_known,
    commands_are_known,
    pods_are_restricted,
    files_keep_their_rights,
    resources_are_told,
    nobody_is_refused,
    drains_are_bounded,
    pods_are_apart,
    images_are_pinned,
    pods_fit_the_image,
    changes_roll_out,
    namespaces_agree,
    words_are_such,
    jobs_end,
)
