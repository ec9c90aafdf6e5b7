"""The Compose file: what it promises, and its roles and gateway for real. Images of the stores
can't be had without a registry: the stores are the engine's, on this machine's own loopback."""

import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.ports import free_port
from tests.api.asking import eventually
from tests.support.docker import ROOT, built, docker
from tests.support.gateway import upstream
from tests.support.system import HTTP_ROLES, ROLES, USES, stores

pytestmark = pytest.mark.servers
UP_SECONDS = 300.0
ONCE = {"secrets", "redis-cluster", "migrate"}

LOCAL = """\
  {name}:
    network_mode: host
    networks: !reset []
    ports: !reset []
"""


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found = json.loads(docker("compose", "config", "--format", "json"))
    return dict(found["services"])


def test_it_fits_into_8_gb_and_says_by_how_much(services: dict[str, Any]) -> None:
    most = sum(
        int(each["mem_limit"]) * each.get("deploy", {}).get("replicas", 1)
        for each in services.values()
    )
    assert most <= 8e9
    said = re.search(r"all that it may: (\d+) MiB", (ROOT / "compose.yaml").read_text())
    assert said
    assert int(said[1]) * 2**20 == most


def test_every_role_is_apart(services: dict[str, Any]) -> None:
    assert {name for name, each in services.items() if each["command"] == ["serve", name]} == {
        *ROLES
    }


def test_versions_are_pinned(services: dict[str, Any]) -> None:
    for name, each in services.items():
        assert each["image"] == "marquee" or re.search(
            r":v?\d+\.\d+\.\d+$|:17\.\d+$", each["image"]
        ), name


def test_no_log_fills_the_disk(services: dict[str, Any]) -> None:
    """Docker's usual way of keeping them never throws one away."""
    assert {each.get("logging", {}).get("driver") for each in services.values()} == {"local"}


def test_start_is_ordered_by_health(services: dict[str, Any]) -> None:
    """Whoever waits for something waits until it is healthy, or has ended well."""
    for name, each in services.items():
        for other, how in each.get("depends_on", {}).items():
            wanted = "completed_successfully" if other in ONCE else "healthy"
            assert how["condition"] == f"service_{wanted}", (name, other)
            assert other in ONCE or "healthcheck" in services[other] or other in ROLES
        assert each.get("restart", "no") == ("no" if name in ONCE else "unless-stopped")


def test_a_store_has_time_to_start_beside_all_the_others(services: dict[str, Any]) -> None:
    """On two busy cores Cassandra took two minutes and Kafka one and a half: `up` gave up."""
    waited_for = {
        other
        for each in services.values()
        for other, how in each.get("depends_on", {}).items()
        if how["condition"] == "service_healthy" and "stores" in services[other]["networks"]
    } - {*ROLES}
    assert waited_for >= {"cassandra", "kafka", "postgres", "postgres-replica", "redis"}
    for name in waited_for:
        assert services[name]["healthcheck"]["start_period"] == "5m0s", name


def test_the_gateway_looks_up_anew_where_a_role_is() -> None:
    """Roles that start again may come back with each other's addresses."""
    told = (ROOT / "deploy/compose/upstreams.conf").read_text()
    assert re.search(r"^resolver 127\.0\.0\.11 valid=1s ", told, re.MULTILINE)  # Docker's own
    blocks = re.findall(r"^upstream (\w+) \{(.+?)^\}", told, re.MULTILINE | re.DOTALL)
    assert {name for name, _ in blocks} == {role.replace("-", "_") for role in HTTP_ROLES}
    for name, block in blocks:
        assert f"zone {name} " in block
        (server,) = re.findall(r"server (.+);", block)
        assert server.split()[:2] == [f"{name.replace('_', '-')}:8080", "resolve"]


def test_ours_have_no_rights_and_no_password_is_in_the_file(services: dict[str, Any]) -> None:
    for name in (*ROLES, "migrate", "verify", "secrets", "gateway"):
        ours = services[name]
        assert ours["read_only"]
        assert ours["cap_drop"] == ["ALL"]
        assert ours["security_opt"] == ["no-new-privileges:true"]
    for each in services.values():
        for variable, value in each.get("environment", {}).items():
            assert "PASSWORD" not in variable or value.startswith("/run/"), variable
            assert not re.search(r"://[^/]*:[^/@]*@", value), variable


def test_a_container_sees_its_own_passwords_alone(services: dict[str, Any]) -> None:
    """Who makes them sees all; a role those of movies where it asks for movies."""
    seen: dict[str, set[str]] = {}
    for name, each in services.items():
        for volume in each.get("volumes", ()):
            if volume["type"] == "volume" and re.match("for-|keys$", volume["source"]):
                seen.setdefault(volume["source"], set()).add(name)
                assert volume.get("read_only") or name == "secrets" or volume["source"] == "keys"
    assert seen == {
        "for-grafana": {"secrets", "grafana"},
        "for-postgres": {"secrets", "postgres"},
        "for-replica": {"secrets", "postgres-replica"},
        "for-roles": {"secrets", "migrate", "verify"}
        | {r for r in ROLES if "movies_url" in USES[r]},
        "keys": {"ratings", "movies"},
    }


class Local:
    """The roles and the gateway of the file, on this machine's loopback instead of a network."""

    def __init__(self, folder: Path, image: str, urls: dict[str, str]) -> None:
        self.name = f"test-{secrets.token_hex(4)}"
        self.ports = {name: free_port(set()) for name in (*ROLES, "gateway")}
        self.url = f"http://127.0.0.1:{self.ports['gateway']}"
        self._image = image
        self._file = folder / "local.yaml"
        self._file.write_text("services:\n" + "".join(self._services(folder, urls)))

    def _services(self, folder: Path, urls: dict[str, str]) -> Iterator[str]:
        for name in ("migrate", *ROLES, "verify"):
            yield LOCAL.format(name=name)
            if name == "migrate":
                yield "    depends_on: !reset {}\n"
            settings = {
                **urls,
                "movies_read_url": urls["movies_url"].split()[0],
                "host": "127.0.0.1",
                "port": self.ports.get(name, 0),
            }
            settings |= {"trusted_proxies": "127.0.0.1", "rate_limit": "off"}
            yield "    environment:\n"
            yield from (
                f"      MARQUEE_{k.upper()}: {json.dumps(str(v))}\n" for k, v in settings.items()
            )
        yield LOCAL.format(name="gateway")
        (folder / "listen.conf").write_text(f"listen 127.0.0.1:{self.ports['gateway']};\n")
        (folder / "upstreams.conf").write_text(
            "".join(
                upstream(role.replace("-", "_"), [f"http://127.0.0.1:{self.ports[role]}"])
                for role in HTTP_ROLES
            )
        )
        yield "    volumes:\n"
        for file in ("listen.conf", "upstreams.conf"):
            yield f"      - {folder / file}:/etc/gateway/{file}:ro\n"
        health = ["CMD", "curl", "-sf", "-o", "/dev/null", f"{self.url}/health/live"]
        yield f"    healthcheck: {{test: {json.dumps(health)}}}\n"

    def compose(self, *words: str) -> str:
        files = ("--file", "compose.yaml", "--file", str(self._file))
        return docker(
            *("compose", "--project-name", self.name, "--project-directory", ROOT, *files, *words),
            within=UP_SECONDS,
            MARQUEE_IMAGE=self._image,
        )

    def up(self) -> None:
        try:
            self.compose("up", "--detach", "--no-build", "--wait", "gateway", *ROLES, "verify")
        except AssertionError as failed:
            raise AssertionError(f"{failed}\n{self.compose('logs', '--tail', '20')}") from failed


@pytest.fixture(scope="module")
def local(image: str, services: dict[str, Any], tmp_path_factory: Any) -> Iterator[Local]:
    built(services["gateway"]["image"], ROOT / "tests/deploy/nginx.Dockerfile")
    with stores() as urls:
        found = Local(tmp_path_factory.mktemp("compose"), image, urls)
        try:
            found.compose("run", "--rm", "secrets")
            found.up()
            yield found
        finally:
            found.compose("down", "--volumes", "--timeout", "10")


def test_a_rating_goes_its_whole_way_and_a_stop_is_clean(local: Local) -> None:
    token = local.compose("exec", "ratings", "marquee", "token", "--user=alice").split()[-1]
    editor = local.compose(
        *("exec", "ratings", "marquee", "token", "--user=editor", "--scope=movies:write")
    ).split()[-1]
    movie = "tt0000001"
    with httpx.Client(base_url=local.url, timeout=30) as client:
        made = client.put(
            f"/movies/{movie}",
            json={"title": "The Cameraman", "year": 1928},
            headers={"Authorization": f"Bearer {editor}"},
        )
        assert made.status_code in (200, 201), made.text
        rated = client.post(
            f"/movies/{movie}/users/rate",
            json={"rate": 9.5},
            headers={"Authorization": f"Bearer {token}"},
        )
        assert rated.status_code == 200, rated.text
        eventually(
            lambda: [each["id"] for each in client.get("/movies/top10").json()["result"]],
            lambda ids: movie in ids,
            within=60,
        )
    eventually(
        lambda: local.compose("logs", "verify"),
        lambda log: "all totals are what the ratings say" in log,
        within=60,
    )
    local.compose("stop")
    states = local.compose("ps", "--all", "--format", "{{.Service}} {{.ExitCode}}").splitlines()
    assert {f"{name} 0" for name in (*ROLES, "verify")} <= set(states)


def test_a_redis_cluster_comes_about_again_where_its_nodes_have_each_others_addresses(
    services: dict[str, Any],
) -> None:
    built(services["redis"]["image"], ROOT / "tests/deploy/redis.Dockerfile")
    project = f"test-{secrets.token_hex(4)}"

    def compose(*words: str) -> str:
        return docker("compose", "--project-name", project, *words, within=UP_SECONDS)

    nodes = [f"{project}-redis-{number}" for number in range(1, 7)]
    try:
        compose("up", "--detach", "--wait", "redis")
        slots = "cluster", "addslotsrange", "0", "5460"  # how far a start came that was cut short
        assert docker("exec", nodes[0], "redis-cli", *slots) == "OK"
        compose("run", "--rm", "redis-cluster")
        for order in (nodes[::-1], nodes[3:] + nodes[:3]):
            docker("stop", *nodes)
            for node in order:
                docker("start", node)
            compose("run", "--rm", "redis-cluster")
            for node in nodes:
                seen = docker("exec", node, "redis-cli", "cluster", "nodes")
                assert len(re.findall(r" connected\b", seen)) == len(nodes), seen
                assert not re.search("noaddr|fail", seen), seen
    finally:
        compose("down", "--volumes", "--timeout", "5")
