"""Who may speak with whom: what NetworkPolicies allow, and what flows in a Marquee."""

from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from types import MappingProxyType
from typing import NamedTuple

from marquee.wiring import HTTP_ROLES, ROLES, USES, contract
from marquee.wiring.stores import ALL
from tests.deploy.manifests import Labels, Manifests, Object, selects
from tests.deploy.rules import references, store_of
from tests.support.both import role_of

OWN = "marquee"
OWN_LABELS = {"kubernetes.io/metadata.name": OWN}

COMMANDS = {
    "migrate": ("ratings", "events", "movies"),
    "verify": ALL,
    "demo": ("ratings", "movies"),
}
"""The stores that commands use, beside USES of the roles: like `verify` any other is run."""

HTTP, DNS, TLS = 8080, 53, 443


class End(NamedTuple):
    """One end of a connection: a pod, by its labels and those of its namespace, or an address."""

    name: str
    labels: Labels = MappingProxyType({})
    namespace: Labels = OWN_LABELS
    address: str = ""

    @property
    def inside(self) -> bool:
        return not self.address and self.namespace == OWN_LABELS


def role(name: str) -> End:
    of = "marquee-gateway" if name == "gateway" else "marquee"
    labels = {"app.kubernetes.io/name": of, "app.kubernetes.io/component": name}
    return End(name, labels)


def elsewhere(name: str, namespace: str, labels: Labels, **more: str) -> End:
    return End(name, labels, {"kubernetes.io/metadata.name": namespace, **more})


GATEWAY = elsewhere("a gateway", "ingress", {"app": "envoy"}, **{"marquee-access": "gateway"})
PROMETHEUS = elsewhere("Prometheus", "monitoring", {}, **{"marquee-access": "monitoring"})
STRANGER = elsewhere("a stranger", "default", {"app.kubernetes.io/name": "marquee"})
NEIGHBOUR = End("a neighbour", {"app": "other"})
NAMES = elsewhere("DNS", "kube-system", {"k8s-app": "kube-dns"})
ISSUER = End("the issuer", address="203.0.113.9")
METADATA = End("the cloud's metadata", address="169.254.169.254")

STORES: dict[str, dict[str, tuple[End, int]]] = {
    "embedded": {},
    "demo": {
        store: (End(name, {"app.kubernetes.io/name": name}), port)
        for store, name, port in (
            ("ratings", "cassandra", 9042),
            ("events", "kafka", 9092),
            ("movies", "postgres", 5432),
            ("cache", "redis", 6379),
        )
    },
    "production": {
        store: (elsewhere(store, "marquee-stores", labels), port)
        for store, labels, port in (
            ("ratings", {"cassandra.datastax.com/cluster": "marquee"}, 9042),
            ("events", {"strimzi.io/cluster": "marquee"}, 9093),
            ("movies", {"cnpg.io/cluster": "marquee"}, 5432),
            ("cache", {"app": "marquee-follower"}, 6379),
        )
    },
}
"""Where each overlay has its stores, as its operators label them, and their ports."""

Flow = tuple[str, str, int]
"""From, to, at which port."""


def ends(m: Manifests) -> list[End]:
    roles = {"all"} if m.name == "embedded" else {*ROLES, "migrate"}
    roles |= {"verify"} | ({"demo"} & m.names("Job")) | ({"gateway"} & m.names("Deployment"))
    stores = [store for store, _ in STORES[m.name].values()]
    others = [GATEWAY, PROMETHEUS, STRANGER, NEIGHBOUR, NAMES, ISSUER, METADATA]
    return [*map(role, sorted(roles)), *stores, *others]


def wanted(m: Manifests) -> Iterator[Flow]:
    """What flows, by what the roles and commands are made of."""
    inside = [end.name for end in ends(m) if end.inside]
    for name in inside:
        yield name, NAMES.name, DNS
        for store in (USES | COMMANDS).get(name, ()) if STORES[m.name] else ():
            end, port = STORES[m.name][store]
            yield name, end.name, port
        if name in {"all", *ROLES}:
            yield PROMETHEUS.name, name, HTTP
    if m.name == "embedded":
        yield GATEWAY.name, "all", HTTP
        return
    for name in HTTP_ROLES:
        yield GATEWAY.name, name, HTTP
        if "gateway" in inside:
            yield "gateway", name, HTTP
    if "gateway" in inside:
        yield GATEWAY.name, "gateway", HTTP
    if m.name == "production":
        tokens = {role_of(call.method, call.path) for call in contract() if call.token}
        yield from ((name, ISSUER.name, TLS) for name in {*tokens, "verify"})


def allowed(m: Manifests) -> Iterator[Flow]:
    """What the policies let through, of all that there could be."""
    policies = [o["spec"] for o in m.all("NetworkPolicy")]
    ports = {HTTP, DNS, TLS} | {port for _, port in STORES[m.name].values()} | {9042, 22}
    for one in ends(m):
        for other in ends(m):
            if one != other and (one.inside or other.inside):
                for port in sorted(ports):
                    out = passes(policies, "Egress", one, other, port)
                    if out and passes(policies, "Ingress", other, one, port):
                        yield one.name, other.name, port


def passes(
    policies: list[Object], way: str, at: End, peer: End, port: int, home: Labels = OWN_LABELS
) -> bool:
    """Whether this end lets it out or in; what is not in the namespace, ``home``, is none of its
    policies'."""
    if at.address or at.namespace != home:
        return True
    here = [p for p in policies if way in p["policyTypes"] and selects(p["podSelector"], at.labels)]
    key, side = ("egress", "to") if way == "Egress" else ("ingress", "from")
    return not here or any(
        opens(rule, side, peer, port, home) for policy in here for rule in policy.get(key, [])
    )


def opens(rule: Object, side: str, peer: End, port: int, home: Labels) -> bool:
    at = "ports" not in rule or any(p["port"] == port for p in rule["ports"])
    return at and (side not in rule or any(is_meant(each, peer, home) for each in rule[side]))


def is_meant(meant: Object, peer: End, home: Labels) -> bool:
    if "ipBlock" in meant:
        block = meant["ipBlock"]
        address = ip_address(peer.address) if peer.address else None
        return (
            address is not None
            and address in ip_network(block["cidr"])
            and not any(address in ip_network(part) for part in block.get("except", []))
        )
    if peer.address:
        return False
    there = (
        selects(meant["namespaceSelector"], peer.namespace)
        if "namespaceSelector" in meant
        else peer.namespace == home
    )
    return there and selects(meant.get("podSelector", {}), peer.labels)


def network_is_right(m: Manifests) -> Iterator[str]:
    """What flows may flow, and nothing else may."""
    may, should = set(allowed(m)), set(wanted(m))
    for one, other, port in sorted(should - may):
        yield f"{one} may not speak with {other} at {port}"
    for one, other, port in sorted(may - should):
        yield f"{one} may speak with {other} at {port}, and need not"


def passwords_are_of_stores_in_reach(m: Manifests) -> Iterator[str]:
    """A pod has the Secret of each store that it may speak with, and of no other."""
    may = set(allowed(m))
    for pod in m.pods():
        has = {store_of(name) for kind, name, _ in references(pod.spec) if kind == "Secret"}
        near = {
            store
            for store, (end, port) in STORES[m.name].items()
            if (pod.role, end.name, port) in may
        }
        for store in sorted(has - near):
            yield f"{pod.owner} has the password of {store}, with which it may not speak"
        for store in sorted(near - has):
            yield f"{pod.owner} may speak with {store}, and has not its password"
