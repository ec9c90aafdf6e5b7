"""Traces, as a collector sees them: a rating's way, from its call to every reader's ten."""

import json
import subprocess
import sys

import pytest

from marquee import __version__
from tests.api.asking import Stage, eventually
from tests.support.collector import collector
from tests.support.server import Server, environment, serve
from tests.support.system import apart

RELAYS = {
    "marquee_events_relayed_total",
    "marquee_outbox_unswept_seconds",
    "marquee_shards_held",
}
"""What the relay alone exports."""

RATE = "/movies/{movieId}/users/rate"
TRACED = {"traces_share": 1, "rate_limit": "off"}
HERE = "127.0.0.1"
BEGUN = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{BEGUN}-b7ad6b7169203331-01"


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    """Spans are sent each 200 ms, and not each 5 s."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")


@pytest.fixture
def told():
    with collector() as found:
        yield found


def rated(client, movie, **headers):
    """The id of the request."""
    answer = client.post(f"/movies/{movie}/users/rate", json={"rate": 9}, headers=headers)
    assert answer.status_code == 200
    return answer.headers["x-request-id"]


def trace_of(told, span_name):
    """The one trace in which there is such a span."""

    def found():
        return {span.trace for span in told.spans if span.name == span_name}

    (trace,) = eventually(found, lambda traces: len(traces) == 1, within=20)
    return trace


def chain(spans, name):
    """A span's ancestors by their names, itself first."""
    names, by_id = [], {span.id: span for span in spans.values()}
    span = spans.get(name)
    while span is not None:
        names.append(span.name)
        span = by_id.get(span.parent)
    return names


def whole(told, trace, way):
    """The spans of a trace, once they have come from every process and lead this way back."""
    return eventually(
        lambda: told.of(trace), lambda spans: chain(spans, "take the ten") == way, within=30
    )


class TestEmbedded:
    def test_one_trace_from_the_call_to_the_ten(self, tmp_path, told):
        with serve(tmp_path, traces_url=told.url, **TRACED) as server, Stage(server) as stage:
            movie = stage.movie()
            with server.client("a-user-of-ours") as client:
                id = rated(client, movie)
            trace = trace_of(told, "take the ten")
            way = ["take the ten", "refresh the ten", "fold", "ratings write", f"POST {RATE}"]
            spans = whole(told, trace, way)
            about = spans[f"POST {RATE}"].about
            assert about["http.response.status_code"] == "200"
            assert about["http.route"] == RATE
            log = eventually(lambda: server.log, lambda log: id in log)
            (line,) = (json.loads(line) for line in log.splitlines() if f'"{id}"' in line)
            assert line["trace_id"] == trace
            shown = {
                line.partition("_bucket")[0]
                for line in client_metrics(server).splitlines()
                if f'# {{trace_id="{trace}"}}' in line
            }
            assert shown == {
                "marquee_request_seconds",
                "marquee_acknowledged_to_total_seconds",
                "marquee_acknowledged_to_visible_seconds",
            }
        assert not any(b"a-user-of-ours" in raw or b"eyJ" in raw for raw in told.raw)

    def test_who_begins_a_trace_is_believed_only_if_trusted(self, tmp_path, told):
        for trusted, number in (("", 1), (HERE, 2)):
            settings = {"traces_url": told.url, "traces_share": 0, "trusted_proxies": trusted}
            folder = tmp_path / str(number)
            folder.mkdir()
            with serve(folder, **settings) as server, Stage(server) as stage:
                movie = stage.movie()
                with server.client("u") as client:
                    rated(client, movie, traceparent=PARENT)
                if trusted:
                    eventually(lambda: told.of(BEGUN), lambda spans: "take the ten" in spans)
            assert bool(told.spans) == bool(trusted)  # a stop tells what is not told yet

    def test_a_collector_that_is_away_is_told_of_once(self, tmp_path):
        url = "http://someone:secret@127.0.0.1:9/v1/traces"
        with serve(tmp_path, traces_url=url, **TRACED) as server, Stage(server) as stage:
            movie = stage.movie()
            with server.client("u") as client:
                eventually(lambda: rated(client, movie), lambda _: "dropped" in server.log)
                ids = [rated(client, movie) for _ in range(20)]
                eventually(lambda: server.log, lambda log: ids[-1] in log)
        told = [line for line in server.log.splitlines() if "request_id" not in line]
        (line,) = (line for line in told if "trace" in line or "export" in line)
        assert "traces are dropped: the collector at 127.0.0.1:9 does not take them" in line
        assert "secret" not in server.log


def names_in(server):
    with server.client() as client:
        return {line.partition(" ")[0] for line in client.get("/metrics").text.splitlines()}


def client_metrics(server: Server) -> str:
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    with server.client() as client:
        return client.get("/metrics", headers=accept).text


@pytest.mark.servers
@pytest.mark.parametrize("events", ["kafka", pytest.param("rabbitmq", marks=pytest.mark.long)])
def test_one_trace_across_all_processes(tmp_path, told, events):
    settings = {"traces_url": told.url, "events": events, **TRACED}
    with apart(tmp_path, **settings) as server, Stage(server) as stage:
        movie = stage.movie()
        with server.client("u") as client:
            rated(client, movie, traceparent=PARENT)  # the gateway is trusted, its clients are not
        trace = trace_of(told, "take the ten")
        assert trace != BEGUN
        way = ["take the ten", "refresh the ten", "fold", "relay", "ratings write", f"POST {RATE}"]
        spans = whole(told, trace, way)
        services = [spans[name].service for name in way[1:]]
        assert services == ["refresher", "aggregator", "relay", "ratings", "ratings"]
        (relay,) = server.system.of("relay")
        assert names_in(relay) >= RELAYS
        readers = {s.service for s in told.spans if s.trace == trace and s.name == way[0]}
        assert readers <= {"top-rated", "movies"}


def test_without_the_extra_it_is_said_what_to_install(tmp_path):
    code = "import sys; sys.modules['opentelemetry'] = None\nfrom marquee import cli\ncli.main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "serve", "--port", "0", "--data", tmp_path / "data"],
        env=environment(traces_url="http://127.0.0.1:9/v1/traces"),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert f"pip install 'marquee-{__version__}-py3-none-any.whl[traces]'" in done.stderr


def test_where_nothing_is_traced_nothing_of_it_is_imported(tmp_path):
    code = """
import sys, threading, urllib.request
from marquee import cli
def look():
    import re, time
    for _ in range(600):
        time.sleep(0.1)
        found = re.search(r"http://[0-9.:]+", open(sys.argv[2]).read())
        if found:
            break
    urllib.request.urlopen(found[0] + "/movies/top10").read()
    urllib.request.urlopen(found[0] + "/metrics").read()
    print("imported:", sorted(name for name in sys.modules if "opentelemetry" in name), flush=True)
    import os, signal
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=look, daemon=True).start()
sys.argv[1:] = ["serve", "--no-demo", "--data", sys.argv[1], "--port", "0"]
cli.main()
"""
    log = tmp_path / "log"
    code = code.replace("sys.argv[2]", repr(str(log))).replace(
        "sys.argv[1],", f"{str(tmp_path / 'data')!r},"
    )
    with log.open("w") as out:
        subprocess.run(
            [sys.executable, "-c", code], stdout=out, stderr=out, check=True, timeout=100
        )
    assert "imported: []" in log.read_text()
