"""What those who watch go by: rules, runbooks, dashboards and their page say what there is."""

import importlib.util
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from marquee.wiring import ROLES, contract
from marquee.wiring.stores import ALL
from marquee.wiring.watched import PORTS
from tests.api.asking import Stage, eventually
from tests.e2e.test_traces import RELAYS
from tests.support.prometheus import DEPLOY, RULES, prometheus, promtool
from tests.support.server import marquee, serve

pytestmark = pytest.mark.servers

ROOT = Path(__file__).resolve().parents[2]
GRAFANA = ROOT / "deploy/grafana"
RUNBOOKS = ROOT / "docs/runbooks"
WATCHING = ROOT / "docs/watching.md"

METRIC = re.compile(r"\bmarquee_[a-z0-9_]+")
MATCHED = re.compile(r'\b(marquee_\w+|up|ALERTS)\{((?:[^}"]|"[^"]*")+)\}')
MATCHER = re.compile(r'(\w+)(?:=~|!~|!=|=)"([^"]*)"')
SUFFIXES = re.compile(r"_(bucket|count|sum)$")
HEADINGS = ["What it means", "How to look", "What to do", "When to wake whom"]


def rules():
    for file in RULES:
        for group in yaml.safe_load(file.read_text())["groups"]:
            yield from group["rules"]


ALERTS = [rule for rule in rules() if "alert" in rule]


def id_of(alert):
    return f"{alert['alert']}-{alert['labels']['severity']}"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("watched")) as found:
        with Stage(found) as stage:
            movie = stage.rated([9])
            eventually(lambda: stage.anyone.get("/movies/top10").json()["result"], bool)
            stage.anyone.get(f"/movies/{movie}")
        yield found


@pytest.fixture(scope="module")
def families(server):
    return list(text_string_to_metric_families(told_by(server)))


@pytest.fixture(scope="module")
def exported(families):
    """Every name that can be asked for."""
    names = {name_of(family) for family in families}
    histograms = {name_of(family) for family in families if family.type == "histogram"}
    parts = {f"{name}_{part}" for name in histograms for part in ("bucket", "count", "sum")}
    return names | parts | RELAYS


@pytest.fixture(scope="module")
def values(families, tmp_path_factory):
    """What a label may be, by its name; how a bucket is called, by the histogram's."""
    with serve(tmp_path_factory.mktemp("away"), jwks="http://127.0.0.1:9/") as alone:
        of_the_issuer = set(re.findall(r'dependency="(\w+)"', told_by(alone)))
    names = {name for port, _ in PORTS.values() for name in vars(port)}
    buckets = {
        f"{family.name}_bucket": {s.labels["le"] for s in family.samples if "le" in s.labels}
        for family in families
        if family.type == "histogram"
    }
    return buckets | {
        "alertname": {alert["alert"] for alert in ALERTS},
        "alertstate": {"firing"},
        "call": names,
        "dependency": of_the_issuer | set(ALL),
        "error": {"away", "cut", "failed"},
        "job": {"marquee"},
        "method": {endpoint.method for endpoint in contract()},
        "role": set(ROLES),
        "route": {endpoint.path for endpoint in contract()},
        "status": {str(number) for number in range(100, 600)},
        "store": set(ALL),
    }


def told_by(server):
    with server.client() as client:
        return client.get("/metrics").text


def out_of_reach(text, values):
    """What is asked of a label that it never is: of each alternative one is to be found."""
    for metric, matchers in MATCHED.findall(text.replace('\\"', '"')):
        for label, value in MATCHER.findall(matchers):
            known = values[metric if label == "le" else label]
            if sum(bool(re.fullmatch(value, each)) for each in known) <= value.count("|"):
                yield f'{metric}{{{label}="{value}"}}'


def name_of(family):
    return f"{family.name}_total" if family.type == "counter" else family.name


class TestRules:
    def test_are_sound(self):
        done = promtool("check", "config", "prometheus.yml")
        assert done.returncode == 0, done.stdout + done.stderr

    @pytest.mark.parametrize("name", ["slo", "promises", "verified", "processes"])
    def test_fire_when_they_should_and_only_then(self, name):
        done = promtool("test", "rules", f"tests/{name}.yml")
        assert done.returncode == 0, done.stdout + done.stderr

    def test_each_alert_is_tried(self):
        tried = "".join(file.read_text() for file in (DEPLOY / "tests").glob("*.yml"))
        assert not [rule["alert"] for rule in ALERTS if rule["alert"] not in tried]

    def test_ask_for_what_there_is(self, exported):
        for rule in rules():
            assert set(METRIC.findall(rule["expr"])) <= exported, rule

    def test_have_someone_to_act(self):
        for alert in ALERTS:
            assert alert["labels"]["severity"] in {"page", "ticket"}
            assert alert["annotations"].keys() == {"summary", "description", "runbook"}


class TestRunbooks:
    @pytest.mark.parametrize("alert", ALERTS, ids=id_of)
    def test_each_alert_has_one_that_is_written_for_it(self, alert):
        page = (ROOT / alert["annotations"]["runbook"]).read_text()
        assert f"`{alert['alert']}`" in page
        assert re.findall("^## (.+)$", page, re.MULTILINE) == HEADINGS
        first = METRIC.findall(alert["expr"])
        if first:  # what it looks at first is what fired
            assert SUFFIXES.sub("", first[0]) in page
        parts = re.split("^## .+$", page, flags=re.MULTILINE)[1:]
        assert all(part.strip() for part in parts)
        assert alert["labels"]["severity"] in page

    def test_each_has_its_alert_and_its_line_in_the_list(self):
        wanted = {Path(alert["annotations"]["runbook"]).name for alert in ALERTS}
        assert {page.name for page in RUNBOOKS.glob("*.md")} == wanted | {"README.md"}
        listed = (RUNBOOKS / "README.md").read_text()
        for alert in ALERTS:
            assert f"`{alert['alert']}`" in listed

    def test_ask_for_what_there_is(self, exported):
        for page in RUNBOOKS.glob("*.md"):
            assert set(METRIC.findall(page.read_text())) <= exported, page

    def test_ask_each_line_in_a_way_that_prometheus_takes(self, tmp_path):
        blocks = [
            block
            for page in sorted(RUNBOOKS.glob("*.md"))
            for block in re.findall(
                "^```promql\n(.+?)^```$", page.read_text(), re.MULTILINE | re.DOTALL
            )
        ]
        asked = [line for block in blocks for line in block.splitlines()]
        recorded = [{"record": f"asked:{n}", "expr": expr} for n, expr in enumerate(asked)]
        file = tmp_path / "asked.yml"
        file.write_text(json.dumps({"groups": [{"name": "asked", "rules": recorded}]}))
        done = promtool("check", "rules", file)
        assert done.returncode == 0, done.stdout + done.stderr


class TestDashboards:
    @staticmethod
    def script():
        spec = importlib.util.spec_from_file_location("dashboards", GRAFANA / "dashboards.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def test_are_what_the_script_writes(self):
        written = self.script().written()
        assert set(written) == set((GRAFANA / "dashboards").glob("*.json"))
        for file, text in written.items():
            assert file.read_text() == text, "run: python deploy/grafana/dashboards.py"

    def test_ask_for_what_there_is(self, exported):
        recorded = {rule["record"] for rule in rules() if "record" in rule}
        for file in (GRAFANA / "dashboards").glob("*.json"):
            for panel in json.loads(file.read_text())["panels"]:
                for target in panel.get("targets", ()):
                    names = set(METRIC.findall(target["expr"]))
                    assert names <= exported, panel["title"]
                    records = set(re.findall(r"marquee:[a-z0-9_:]+", target["expr"]))
                    assert records <= recorded
                    assert names or records or "up" in target["expr"] or "ALERTS" in target["expr"]

    def test_each_question_is_one(self, server, tmp_path):
        """Prometheus itself understands each of them."""
        with prometheus(tmp_path / "prometheus", {"ratings": server.url}) as found:
            eventually(found.ready, bool, within=30)
            for file in (GRAFANA / "dashboards").glob("*.json"):
                for panel in json.loads(file.read_text())["panels"]:
                    for target in panel.get("targets", ()):
                        found.query(target["expr"].replace("$__rate_interval", "1m"))

    def test_a_share_of_nothing_is_not_red(self):
        """A share of no requests is no number, which would have the colour of the worst."""
        shares = [
            panel["fieldConfig"]["defaults"]
            for panel in json.loads((GRAFANA / "dashboards/overview.json").read_text())["panels"]
            if panel["type"] == "stat" and panel["fieldConfig"]["defaults"]["unit"] == "percentunit"
        ]
        assert shares
        for shown in shares:
            (quiet,) = shown["mappings"]
            assert quiet["options"]["match"] == "nan"
            assert quiet["options"]["result"]["color"] == "green"

    @pytest.mark.parametrize("role", ROLES)
    def test_one_process_that_is_ready_is_green(self, role):
        assert [colour(tile(role, "Up"), value) for value in (1, 0)] == ["green", "red"]
        ready = [colour(tile(role, "Ready"), value) for value in (1, 2 / 3, 0)]
        assert ready == ["green", "orange", "red"]

    def test_what_was_never_verified_is_said_to_be_so(self, server, tmp_path):
        shown = tile("overview", "Verified")
        with prometheus(tmp_path / "prometheus", {"refresher": server.url}) as found:
            eventually(found.ready, bool, within=30)
            told = eventually(lambda: found.query(expression(shown)), bool, within=30)
        (words,) = shown["fieldConfig"]["defaults"]["mappings"]
        assert words["options"][told[0]["value"][1]]["text"] == "never"

    def test_only_our_own_alerts_are_shown(self):
        (panel,) = [
            panel
            for panel in json.loads((GRAFANA / "dashboards/overview.json").read_text())["panels"]
            if panel["title"] == "Alerts"
        ]
        (ours,) = re.findall(r'alertname=~"(.+?)"', panel["targets"][0]["expr"])
        assert all(re.fullmatch(ours, alert["alert"]) for alert in ALERTS)
        assert not re.fullmatch(ours, "Watchdog")

    def test_there_is_one_for_each_role_and_one_for_all(self):
        names = {file.stem for file in (GRAFANA / "dashboards").glob("*.json")}
        assert names == {*ROLES, "overview"}

    def test_no_panel_lies_over_another(self):
        for file in (GRAFANA / "dashboards").glob("*.json"):
            taken = set()
            for panel in json.loads(file.read_text())["panels"]:
                place = panel["gridPos"]
                cells = {
                    (x, y)
                    for x in range(place["x"], place["x"] + place["w"])
                    for y in range(place["y"], place["y"] + place["h"])
                }
                assert not cells & taken
                assert place["x"] + place["w"] <= 24
                taken |= cells


def tile(dashboard, title):
    panels = json.loads((GRAFANA / f"dashboards/{dashboard}.json").read_text())["panels"]
    (found,) = (panel for panel in panels if panel["title"] == title)
    return found


def expression(panel):
    (target,) = panel["targets"]
    return target["expr"]


def colour(panel, value):
    steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
    return [s["color"] for s in steps if s["value"] is None or s["value"] <= value][-1]


class TestCompose:
    """What `compose.yaml` mounts and calls its services is what these files go by."""

    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]

    def mounts(self, name):
        pairs = (volume.split(":")[:2] for volume in self.services[name]["volumes"])
        return {inside: outside for outside, inside in pairs}

    def test_grafana_finds_its_dashboards(self):
        (provider,) = read(GRAFANA / "provisioning/dashboards/marquee.yml")["providers"]
        found = self.mounts("grafana")
        assert found[provider["options"]["path"]] == "./deploy/grafana/dashboards"
        assert found["/etc/grafana/provisioning"] == "./deploy/grafana/provisioning"

    def test_grafana_finds_prometheus(self):
        (source,) = read(GRAFANA / "provisioning/datasources/prometheus.yml")["datasources"]
        assert httpx.URL(source["url"]).host in self.services
        for file in (GRAFANA / "dashboards").glob("*.json"):
            dashboard = json.loads(file.read_text())
            (choice,) = dashboard["templating"]["list"]
            assert choice["current"] == {"text": source["name"], "value": source["uid"]}
            panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
            asked = [*panels, *(target for panel in panels for target in panel["targets"])]
            assert {place["datasource"]["uid"] for place in asked} == {f"${{{choice['name']}}}"}

    def test_prometheus_finds_every_role(self):
        (job,) = read(DEPLOY / "prometheus.yml")["scrape_configs"]
        assert job["job_name"] == "marquee"
        (found,) = job["dns_sd_configs"]
        assert set(found["names"]) == set(ROLES)
        assert set(found["names"]) <= self.services.keys()
        assert self.mounts("prometheus")["/etc/prometheus"] == "./deploy/prometheus"

    def test_prometheus_keeps_exemplars(self):
        assert "--enable-feature=exemplar-storage" in self.services["prometheus"]["command"]


def read(file):
    return yaml.safe_load(file.read_text())


class TestPage:
    def test_tells_of_each_figure(self, families):
        told = dict(
            re.findall(r"^\| `(marquee_[a-z_]+)` \| (\w+) \|", WATCHING.read_text(), re.MULTILINE)
        )
        told = {name: kind for name, kind in told.items() if name not in RELAYS}
        assert told == {name_of(family): family.type for family in families}

    def test_tells_of_their_labels(self, families):
        rows = re.findall(
            r"^\| `(marquee_[a-z_]+)` \| \w+ \| ([^|]*)\|", WATCHING.read_text(), re.MULTILINE
        )
        told = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}
        for family in families:
            found = {label for sample in family.samples for label in sample.labels} - {"le"}
            if family.samples:
                assert told[name_of(family)] == found


@pytest.mark.parametrize(
    "file",
    [*RULES, *RUNBOOKS.glob("*.md"), *(GRAFANA / "dashboards").glob("*.json")],
    ids=lambda file: file.name,
)
def test_only_values_that_there_are_are_asked_for(file, values):
    assert list(out_of_reach(file.read_text(), values)) == []


def test_a_value_that_there_is_not_is_found(values):
    asked = 'rate(marquee_store_seconds_bucket{call=~"fold|refold",le="5"}[5m]) or up{job="x"}'
    assert len(list(out_of_reach(asked, values))) == 3


def test_prometheus_scrapes_a_marquee_and_alerts_when_something_is_wrong(server, tmp_path):
    processes = {"ratings": server.url, "aggregator": "http://127.0.0.1:9"}
    with prometheus(tmp_path / "prometheus", processes) as found:
        eventually(found.ready, bool, within=30)
        up = eventually(lambda: found.query("up == 1"), bool, within=30)
        assert [sample["metric"]["role"] for sample in up] == ["ratings"]
        with closing(sqlite3.connect(server.data / "marquee.db")) as other:  # planted
            row = (b"not an event", "planted", 1)
            other.execute("INSERT INTO dead_letter (raw, error, died_at) VALUES (?, ?, ?)", row)
            other.commit()
        wanted = {"MarqueeDeadLetters", "MarqueeProcessDown", "MarqueeRoleMissing"}
        firing = eventually(
            lambda: {
                sample["metric"]["alertname"]
                for sample in found.query('ALERTS{alertstate="firing"}')
            },
            lambda names: wanted <= names,
            within=30,
        )
        assert not firing & {"MarqueeStoreAway", "MarqueeNotReady", "MarqueeNotVerified"}
        ready = {role: found.query(expression(tile(role, "Ready"))) for role in processes}
        assert [(role, each["value"][1]) for role, [each] in ready.items()] == [
            ("ratings", "1"),
            ("aggregator", "0"),
        ]
        groups = found.ask("rules")["groups"]
        states = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
        assert len(states) > 30
        assert set(states.values()) == {"ok"}


def test_what_verify_finds_is_told(tmp_path):
    with serve(tmp_path) as found:
        with Stage(found) as stage:
            movie = stage.rated([9])
        verified = marquee("verify", data=found.data)
        assert verified.returncode == 0, verified
        assert eventually(lambda: figures(found)["marquee_verified_timestamp_seconds"], bool) > 1e9
        assert figures(found)["marquee_drifted_movies"] == 0
        with closing(sqlite3.connect(found.data / "marquee.db")) as other:  # planted
            other.execute("UPDATE movie SET total = total + 1 WHERE id = ?", (movie,))
            other.commit()
        assert marquee("verify", data=found.data).returncode == 1
        eventually(
            lambda: figures(found)["marquee_drifted_movies"],
            lambda drifted: drifted == 1,
            within=30,
        )


def figures(server):
    with server.client() as client:
        families = text_string_to_metric_families(client.get("/metrics").text)
        return {s.name: s.value for family in families for s in family.samples}
