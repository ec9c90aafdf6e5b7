"""The manifests: rendered, held against the schemas of the oldest and the newest Kubernetes,
kube-score and our own rules, each of which catches a fault that is planted."""

import copy
import importlib
import json
import re
import tomllib

import httpx
import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

from marquee import __version__, config
from marquee.adapters.cassandra import address as cassandra
from marquee.adapters.kafka import client as kafka
from marquee.adapters.redis import address as redis
from tests.deploy import flows, rules
from tests.deploy.faults import FAULTS, pod
from tests.deploy.manifests import (
    KUBERNETES,
    OVERLAYS,
    ROOT,
    Manifests,
    definition,
    example,
    gateway_api,
    go,
    guided,
    module,
    of,
    rendered,
)
from tests.support import prometheus
from tests.support.server import serve

pytestmark = [
    pytest.mark.servers,
    pytest.mark.timeout(1200),  # the first time Kustomize and kube-score are built
]

VERSIONS = ("1.32", "1.37")
"""The oldest Kubernetes that is supported, and the newest."""

ALL = (*OVERLAYS, "own", "ingress")
"""Those, and what the guide makes of the last of them."""

GATEWAY_API = {"HTTPRoute", "Gateway"}

RULES = {
    rule.__name__: rule
    for rule in (*rules.RULES, flows.network_is_right, flows.passwords_are_of_stores_in_reach)
}

EXCEPTIONS = {
    ("", "container-image-pull-policy"): "a version never moves: who has it needs no registry",
    ("demo gateway", "pod-probes-identical"): "it is ready while it lives, whoever is behind it",
    ("demo (cassandra|kafka|postgres|redis)", "container-security-context-user-group-id"): (
        "the ids are those that the images were made for"
    ),
    ("demo (cassandra|kafka|postgres|redis)", "pod-probes"): (
        "nothing that is slow for a while is killed, least of all a store"
    ),
    ("demo", "deployment-replicas"): "there is one of each to look at",
}
"""What kube-score says of which overlay and object, and why it is so all the same."""


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    """The names of the figures that a process exports, asked of one that runs."""
    with serve(tmp_path_factory.mktemp("server")) as server:
        text = httpx.get(f"{server.url}/metrics").text
    return frozenset(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))


@pytest.fixture
def manifests(figures, owns):
    """An overlay's, to be changed at will."""
    return lambda overlay: copy.deepcopy(owns.get(overlay) or of(overlay, figures))


@pytest.fixture(scope="module")
def owns(tmp_path_factory, figures):
    """Overlays of one's own, as the guide has them made."""
    made = {
        "own": guided(tmp_path_factory.mktemp("own"), ingress=False),
        "ingress": guided(tmp_path_factory.mktemp("ingress"), ingress=True),
    }
    return {
        name: Manifests("production", rendered(folder), figures) for name, folder in made.items()
    }


@pytest.fixture(scope="module")
def jsonschema():
    """Loaded late: the parsers that it makes take as long as to collect half of all tests."""
    return importlib.import_module("jsonschema")


@pytest.fixture(scope="module")
def kubernetes_validate():
    """It loads the other."""
    return importlib.import_module("kubernetes_validate")


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", ALL)
def test_an_overlay_is_of_the_schemas(kubernetes_validate, manifests, overlay, version):
    for o in manifests(overlay).objects:
        if o["kind"] not in GATEWAY_API:
            kubernetes_validate.validate(o, version, strict=True)


def test_a_schema_finds_what_it_does_not_know(kubernetes_validate):
    o = copy.deepcopy(of("production").get("Deployment", "relay"))
    o["spec"]["template"]["spec"]["hostNetworks"] = True
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(o, VERSIONS[0], strict=True)


def test_routes_are_of_the_gateway_apis_schemas(jsonschema):
    routes = [*of("production").all("HTTPRoute"), *example("gateway")[1:]]
    assert {o["kind"] for o in routes} == GATEWAY_API
    for o in routes:
        jsonschema.validate(o, definition(o, gateway_api()))
    # Clusters with an older Gateway API do not know of rules with names.
    assert not any("name" in rule for o in routes for rule in o["spec"].get("rules", ()))
    routes[0]["spec"]["rules"][0]["matches"][0]["pth"] = {}
    with pytest.raises(jsonschema.ValidationError, match="pth"):
        jsonschema.validate(routes[0], definition(routes[0], gateway_api()))


@pytest.mark.parametrize("overlay", ALL)
@pytest.mark.parametrize("rule", RULES)
def test_an_overlay_keeps_our_rules(manifests, overlay, rule):
    assert list(RULES[rule](manifests(overlay))) == []


@pytest.mark.parametrize("rule", RULES)
def test_a_rule_catches_its_faults(manifests, rule):
    faults = [fault for fault in FAULTS if fault[0] == rule]
    assert faults
    for _, kind, name, plant, said in faults:
        found = manifests("ingress" if kind == "Ingress" else "production")
        plant(found.get(kind, name))
        assert said in "\n".join(RULES[rule](found))


def test_a_settings_file_has_only_settings(manifests):
    found = manifests("demo")
    secret = found.get("Secret", "marquee-events")
    secret["data"] = {"events.toml": "ZXZlbnRfdXJsID0gIngiCg=="}  # event_url = "x"
    assert "events.toml: event_url is no setting" in "\n".join(rules.settings_are_known(found))


@pytest.fixture
def settings(tmp_path):
    """Those that External Secrets puts together, and the folder where a pod has them."""
    urls = {}
    for secret in example("settings"):
        store = rules.store_of(secret["metadata"]["name"])
        files = secret["spec"]["target"]["template"]["data"]
        # All that a pod has of them is in one folder.
        assert all(name.startswith(store) for name in files)
        for name in files:
            (tmp_path / name).touch()
        text = files[f"{store}.toml"].replace("/etc/marquee", str(tmp_path))
        told = tomllib.loads(re.sub(r"{{ .(\w+).*?}}", r"\1", text))
        assert all(name.startswith(store) for name in told)
        assert urls.items() >= told.items() or not urls.keys() & told.keys()
        urls |= told
    assert config.load(urls, {}).texts.items() >= urls.items()
    return urls


def test_the_examples_lead_to_stores_that_the_network_lets_through(settings):
    """Their URLs name the ports that policies open."""
    urls = settings
    at = {
        "ratings": {port for _, port in cassandra.parse(urls["ratings_url"]).hosts},
        "events": ports(kafka.Address.of(urls["events_url"]).settings["bootstrap.servers"]),
        "movies": {int(conninfo_to_dict(urls["movies_url"]).get("port", 5432))},
        "cache": {port for _, port in redis.parse(urls["cache_url"]).nodes},
    }
    for store, (_, port) in flows.STORES["production"].items():
        assert at[store] == {port}
        (egress,) = of("production").get("NetworkPolicy", f"to-{store}")["spec"]["egress"]
        assert [p["port"] for p in egress["ports"]] == [port]


EXAMPLES = sorted(file.stem for file in (KUBERNETES / "examples").glob("*.yaml"))
STORES_NAMESPACE = {"kubernetes.io/metadata.name": "marquee-stores"}


def test_each_example_is_of_objects_in_a_namespace_that_is_meant():
    table = (KUBERNETES / "examples/README.md").read_text()
    assert sorted(re.findall(r"^\| \[`(\S+)\.yaml`\]\(\1\.yaml\)", table, re.MULTILINE)) == EXAMPLES
    seen = set()
    for name in EXAMPLES:
        for o in example(name):
            if name == "prometheus-adapter":  # values of a chart
                continue
            assert re.fullmatch(r"([a-z0-9.-]+/)?v\d\w*", o["apiVersion"])
            where = o["metadata"].get("namespace", o["kind"])
            assert where in {"marquee-stores", "marquee", "gateway", "Namespace"}
            seen.add((o["kind"], where, o["metadata"]["name"]))
    assert len(seen) == sum(len(example(name)) for name in EXAMPLES) - 1


OPERATORS = {
    "barmancloud.cnpg.io": ("cloudnative-pg/plugin-barman-cloud@v0.15.0", "config/crd/bases"),
    "cert-manager.io": ("cert-manager/cert-manager@v1.15.0", "deploy/crds"),
    "external-secrets.io": ("external-secrets/external-secrets@v0.16.2", "config/crds/bases"),
    "k8ssandra.io": ("k8ssandra/k8ssandra-operator@v1.20.0", "config/crd/bases"),
    "medusa.k8ssandra.io": ("k8ssandra/k8ssandra-operator@v1.20.0", "config/crd/bases"),
    "monitoring.coreos.com": (
        "prometheus-operator/prometheus-operator@v0.85.0",
        "example/prometheus-operator-crd",
    ),
    "postgresql.cnpg.io": ("cloudnative-pg/cloudnative-pg@v1.26.0", "config/crd/bases"),
}
"""By its API group the module that has an operator's definitions, in the oldest version to be had
of those that the examples are for; and where in it."""

UNSEEN = {"kafka.strimzi.io", "redis.redis.opstreelabs.in"}
"""Those of which no module can be had."""


def told():
    """The objects of the examples, and those that pages tell to make beside them."""
    for name in EXAMPLES:
        yield from (o for o in example(name) if "kind" in o)
    page = (ROOT / "docs/keeping.md").read_text()
    (job,) = re.findall(r"<<EOF\n(.+?)^EOF", page, re.DOTALL | re.MULTILINE)
    yield yaml.safe_load(job)
    (recovery,) = re.findall(r"^```yaml\n(  bootstrap:.+?)```", page, re.DOTALL | re.MULTILINE)
    cluster = only("postgres", "Cluster")
    yield cluster | {"spec": cluster["spec"] | yaml.safe_load(recovery)}
    for file in prometheus.RULES:
        kind = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule"}
        yield kind | {"metadata": {}, "spec": yaml.safe_load(file.read_text())}


def test_the_examples_are_of_their_operators_schemas(jsonschema, kubernetes_validate):
    groups = set()
    for o in told():
        group = o["apiVersion"].rpartition("/")[0]
        groups.add(group)
        if group in OPERATORS:
            name, folder = OPERATORS[group]
            schema = definition(o, module("crds", f"github.com/{name}") / folder)
            jsonschema.Draft202012Validator(schema).validate(o)  # whatever is wrong in it elsewhere
        elif group not in UNSEEN | {"gateway.networking.k8s.io"}:
            for version in VERSIONS:
                kubernetes_validate.validate(o, version, strict=True)
    assert groups >= OPERATORS.keys() | UNSEEN


def only(name, kind, of=None):
    """An example's one object of that kind, or the one of that name."""
    (found,) = [
        o for o in example(name) if o["kind"] == kind and of in {None, o["metadata"]["name"]}
    ]
    return found


def test_the_examples_name_what_they_make(settings):
    """Addresses, databases, logins and certificates are those of the operators' objects."""
    cassandras, postgres = only("cassandra", "K8ssandraCluster"), only("postgres", "Cluster")
    kafkas, user = only("kafka", "Kafka"), only("kafka", "KafkaUser")
    rediss, node = (
        only("redis", "RedisCluster"),
        only("certificates", "Certificate", "marquee-cassandra"),
    )
    names = [o["metadata"]["name"] for o in (cassandras, kafkas, postgres, rediss)]
    (dc,), (listener,) = (
        cassandras["spec"]["cassandra"]["datacenters"],
        kafkas["spec"]["kafka"]["listeners"],
    )
    place = cassandra.parse(settings["ratings_url"])
    assert place.hosts[0][0] == f"{names[0]}-{dc['metadata']['name']}-service.marquee-stores"
    assert f"{place.hosts[0][0]}.svc" in node["spec"]["dnsNames"]
    assert (place.datacenter, place.replication) == (dc["metadata"]["name"], dc["size"])
    log = kafka.Address.of(settings["events_url"])
    at = f"{names[1]}-kafka-bootstrap.marquee-stores:{listener['port']}"
    assert log.settings["bootstrap.servers"] == at
    assert log.settings["sasl.username"] == user["metadata"]["name"]
    assert log.settings["sasl.mechanism"].lower() == listener["authentication"]["type"]
    acls = {
        acl["resource"]["type"]: acl["resource"] for acl in user["spec"]["authorization"]["acls"]
    }
    assert acls["topic"]["name"] == log.topic
    first = postgres["spec"]["bootstrap"]["initdb"]
    for setting, service in (("movies_url", "rw"), ("movies_read_url", "ro")):
        told = conninfo_to_dict(settings[setting])
        assert told["host"] == f"{names[2]}-{service}.marquee-stores"
        assert (told["dbname"], told["user"]) == (first["database"], first["owner"])
    assert redis.parse(settings["cache_url"]).nodes[0][0] == f"{names[3]}-leader.marquee-stores"

    # Each is told of the others' Secrets and parts by their names.
    stores = cassandras["spec"]["cassandra"]["clientEncryptionStores"]
    jks = node["spec"]["keystores"]["jks"]["passwordSecretRef"]
    for kind in ("keystore", "truststore"):
        assert stores[f"{kind}SecretRef"]["name"] == node["spec"]["secretName"]
        assert stores[f"{kind}PasswordSecretRef"] == jks
    schedule = only("cassandra", "MedusaBackupSchedule")["spec"]["backupSpec"]
    assert schedule["cassandraDatacenter"] == dc["metadata"]["name"]
    (plugin,), nightly = postgres["spec"]["plugins"], only("postgres", "ScheduledBackup")["spec"]
    bucket = only("postgres", "ObjectStore")
    assert plugin["parameters"]["barmanObjectName"] == bucket["metadata"]["name"]
    assert nightly["pluginConfiguration"]["name"] == plugin["name"]
    assert nightly["cluster"]["name"] == names[2]
    labels = {
        o["metadata"]["labels"]["strimzi.io/cluster"]
        for o in example("kafka")
        if o is not kafkas and o["kind"] != "Kafka"
    }
    assert labels == {names[1]}


def test_the_examples_pods_are_those_that_the_network_knows():
    """Marquee comes in where each store is, and so do operators; nobody else does."""
    policies = [o["spec"] for o in example("network")]
    operators = flows.elsewhere("operators", "operators", {}, **{"marquee-access": "operators"})
    made = {
        "ratings": ("cassandra.datastax.com/cluster", only("cassandra", "K8ssandraCluster"), ""),
        "events": ("strimzi.io/cluster", only("kafka", "Kafka"), ""),
        "movies": ("cnpg.io/cluster", only("postgres", "Cluster"), ""),
        "cache": ("app", only("redis", "RedisCluster"), "-follower"),
    }
    for store, (end, port) in flows.STORES["production"].items():
        label, o, more = made[store]
        assert end.labels == {label: o["metadata"]["name"] + more}

        def comes_in(peer, at, end=end):
            return flows.passes(policies, "Ingress", end, peer, at, STORES_NAMESPACE)

        assert comes_in(flows.role("ratings"), port)
        assert comes_in(operators, port)
        assert comes_in(end, 7000)
        assert not comes_in(flows.role("ratings"), 22)
        for stranger in (flows.STRANGER, flows.NEIGHBOUR, flows.GATEWAY, flows.METADATA):
            assert not comes_in(stranger, port)
    other = flows.End("another pod", {"app": "other"}, STORES_NAMESPACE)
    assert not flows.passes(policies, "Ingress", other, flows.STRANGER, 8080, STORES_NAMESPACE)
    (listener,) = only("kafka", "Kafka")["spec"]["kafka"]["listeners"]
    (let_in,) = only("network", "NetworkPolicy", "events")["spec"]["ingress"]
    assert listener["networkPolicyPeers"] == let_in["from"]


def test_a_redis_that_is_full_makes_room():
    """As `doctor` wants it, and before its container is ended for its memory."""
    (container,) = pod(of("demo").get("StatefulSet", "redis"))["containers"]
    told = " ".join(container["args"]).replace("--", "\n")
    cluster = only("redis", "RedisCluster")["spec"]
    names = {
        cluster[kind]["redisConfig"]["additionalRedisConfig"]
        for kind in ("redisLeader", "redisFollower")
    }
    (config,) = [
        only("redis", "ConfigMap", name)["data"]["redis-additional.conf"] for name in names
    ]
    for text, resources in (
        (told, container["resources"]),
        (config, cluster["kubernetesConfig"]["resources"]),
    ):
        assert "maxmemory-policy allkeys-lru" in text
        (most,) = re.findall(r"^maxmemory (\d+)mb", text, re.MULTILINE)
        assert int(most) <= 0.75 * int(resources["limits"]["memory"].removesuffix("Mi"))


def test_the_examples_speak_tls_where_they_can(settings):
    assert cassandra.parse(settings["ratings_url"]).tls.endswith("/ratings-ca.crt")
    assert kafka.Address.of(settings["events_url"]).settings["security.protocol"] == "SASL_SSL"
    for url in (settings["movies_url"], settings["movies_read_url"]):
        assert conninfo_to_dict(url)["sslmode"] == "verify-full"


def test_the_examples_roles_do_not_have_the_superuser():
    asked = {
        secret["metadata"]["name"]: {part["remoteRef"]["key"] for part in secret["spec"]["data"]}
        for secret in example("settings")
    }
    assert [name for name, keys in asked.items() if "marquee-superuser" in keys] == [
        "marquee-ratings-migrate"
    ]
    (owner,) = [
        each.owner
        for each in of("production").pods()
        if ("Secret", "marquee-ratings-migrate", "ratings.toml") in rules.references(each.spec)
    ]
    assert owner == "Job migrate"


def test_the_examples_secrets_are_made_by_somebody():
    """By an operator, by its own rule for names, or by people, as the page tells them."""
    page = (KUBERNETES / "examples/README.md").read_text()
    by_people = set(re.findall(r"^secret ([\w-]+)", page, re.MULTILINE))
    names = {
        kind: only(name, kind)["metadata"]["name"]
        for name, kind in {
            "cassandra": "K8ssandraCluster",
            "postgres": "Cluster",
            "kafka": "Kafka",
        }.items()
    }
    made = by_people | {
        f"{names['K8ssandraCluster']}-superuser",
        f"{names['Cluster']}-app",
        f"{names['Cluster']}-ca",
        f"{names['Kafka']}-cluster-ca-cert",
        only("kafka", "KafkaUser")["metadata"]["name"],
        only("certificates", "Certificate", "marquee-cassandra")["spec"]["secretName"],
    }
    asked = {part["remoteRef"]["key"] for o in example("settings") for part in o["spec"]["data"]}
    refers = re.compile(
        r"(?:SecretRef|redisSecret|accessKeyId|secretAccessKey):\s+{?name: ([\w-]+)"
    )
    for file in (KUBERNETES / "examples").glob("*.yaml"):
        asked |= set(refers.findall(file.read_text()))
    assert asked <= made
    assert by_people <= asked


def test_the_examples_secrets_may_be_read():
    """Those that External Secrets asks for, and no others."""
    secrets = [secret["spec"] for secret in example("settings")]
    asked = {part["remoteRef"]["key"] for secret in secrets for part in secret["data"]}
    account, role, binding, store = example("secret-store")
    ((rule,), (subject,)) = role["rules"], binding["subjects"]
    assert (set(rule["resourceNames"]), rule["verbs"]) == (asked, ["get"])
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert role["metadata"]["namespace"] == binding["metadata"]["namespace"]
    reads = store["spec"]["provider"]["kubernetes"]
    assert reads["remoteNamespace"] == role["metadata"]["namespace"]
    assert reads["auth"]["serviceAccount"]["name"] == subject["name"] == account["metadata"]["name"]
    assert {secret["secretStoreRef"]["name"] for secret in secrets} == {store["metadata"]["name"]}


def ports(hosts):
    return {int(host.rpartition(":")[2]) for host in hosts.split(",")}


def test_the_ingress_leads_to_the_gateway_that_is_tried_elsewhere(manifests):
    """To the very files of deploy/gateway, but for what differs from place to place."""
    m = manifests("ingress")
    (ingress,) = m.all("Ingress")
    (path,) = ingress["spec"]["rules"][0]["http"]["paths"]
    assert (path["path"], path["backend"]["service"]["name"]) == ("/", "gateway")
    told = m.get("ConfigMap", "gateway")["data"]
    for file in (ROOT / "deploy/gateway").glob("*.*"):
        if file.name not in {"kustomization.yaml", "modules.conf", "listen.conf", "upstreams.conf"}:
            assert told[file.name] == file.read_text()
    (nginx,) = pod(m.get("Deployment", "gateway"))["containers"]
    assert f"worker_processes {nginx['resources']['limits']['cpu']};" in told["modules.conf"]
    upstreams = re.findall(r"upstream (\w+) {\s+server ([\w-]+):8080", told["upstreams.conf"])
    assert {name: service.replace("-", "_") for name, service in upstreams} == {
        name: name for name in ("ratings", "movies", "top_rated", "best_pictures")
    }


def test_the_guide_is_of_this_version():
    page = (ROOT / "docs/kubernetes.md").read_text()
    assert set(re.findall(r"(?:marquee:|ref=v|newTag: )(\d[\d.]*\d)", page)) == {__version__}


def test_nothing_refers_to_what_kubectl_lacks():
    for file in KUBERNETES.rglob("kustomization.yaml"):
        assert not re.search(
            r"^(helm|generators:|transformers:|validators:)", file.read_text(), re.MULTILINE
        )


def test_kube_score_finds_nothing_that_has_no_reason():
    found = [finding for overlay in OVERLAYS for finding in scored(overlay)]
    assert [f for f in found if not any(is_excepted(f, *e) for e in EXCEPTIONS)] == []
    assert [e for e in EXCEPTIONS if not any(is_excepted(f, *e) for f in found)] == []


def is_excepted(finding, where, check):
    return re.match(where, finding[0]) is not None and finding[1] == check


def scored(overlay):
    """Overlay and object, check, and what it says, of all that kube-score does not like."""
    done = go(
        "kube-score", "tool", "kube-score", "score", "-", "--output-format", "json",
        "--kubernetes-version", f"v{VERSIONS[0]}",
        given=rendered(KUBERNETES / "overlays" / overlay),
    )  # fmt: skip
    for o in json.loads(done.stdout):
        for check in o["checks"] or ():
            if not check["skipped"] and check["grade"] < 10:
                said = [comment["summary"] for comment in check["comments"] or ()]
                yield f"{overlay} {o['object_meta']['name']}", check["check"]["id"], said
