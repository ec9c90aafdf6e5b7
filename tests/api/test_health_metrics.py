"""Health, metrics and logs: what those who run it go by."""

import json
import re
import sqlite3
from contextlib import closing

from prometheus_client.parser import text_string_to_metric_families

from tests.api.asking import Stage, assert_problem, eventually, only_together
from tests.support.server import serve
from tests.support.system import Apart


class TestHealth:
    def test_live(self, anyone):
        answer = anyone.get("/health/live")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.json() == {"status": "ok"}

    @only_together
    def test_ready_names_each_dependency_and_its_state(self, anyone):
        answer = anyone.get("/health/ready")
        assert answer.status_code == 200
        assert answer.json() == {
            "status": "ok",
            "dependencies": {
                name: {"state": "up"} for name in ("ratings", "movies", "ten", "nominations")
            },
        }

    def test_a_store_that_cannot_write(self, tmp_path):
        """Somebody holds the file: writes are 503, reads go on, and all is well afterwards."""
        with serve(tmp_path) as server, Stage(server) as stage, stage.user() as user:
            movie = stage.rated([9])
            eventually(lambda: user.get("/movies/top10").json()["result"], bool)
            path = f"/movies/{movie}/users/rate"
            with closing(sqlite3.connect(server.data / "marquee.db")) as other:
                other.execute("BEGIN IMMEDIATE")
                answer = user.post(path, json={"rate": 8})
                assert_problem(answer, 503)
                assert int(answer.headers["retry-after"]) > 0
                assert "locked" not in answer.text
                ready = eventually(
                    lambda: user.get("/health/ready"), lambda r: r.json()["status"] != "ok"
                )
                assert ready.status_code == 200
                assert ready.json()["status"] == "degraded"
                assert ready.json()["dependencies"]["ratings"]["state"] == "away"
                assert ready.json()["dependencies"]["ten"] == {"state": "up"}
                assert "locked" not in ready.text
                assert "database is locked" in server.log
                for path_of in ("/movies/top10", "/health/live", f"/movies/{movie}"):
                    assert user.get(path_of).status_code == 200
                assert_problem(user.get(path), 404)  # nothing was claimed that is not kept
                other.rollback()
            eventually(
                lambda: user.post(path, json={"rate": 8}).status_code,
                lambda status: status == 200,
            )
            eventually(
                lambda: user.get("/health/ready").json()["status"], lambda status: status == "ok"
            )


def figures(client):
    answer = client.get("/metrics")
    assert answer.status_code == 200
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def metrics_of_each(server):
    """Of each process, whichever it is that a call comes to."""
    processes = server.system.processes.values() if isinstance(server, Apart) else [server]
    for process in processes:
        with process.client() as client:
            yield client.get("/metrics").text


class TestMetrics:
    def test_are_text_for_prometheus(self, anyone):
        answer = anyone.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        families = list(text_string_to_metric_families(answer.text))
        assert families
        assert all(family.name.startswith("marquee_") for family in families)
        assert all(family.documentation for family in families)

    def test_are_open_metrics_for_who_asks(self, anyone):
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
        answer = anyone.get("/metrics", headers=accept)
        media = answer.headers["content-type"].partition(";")[0]
        assert media == "application/openmetrics-text"
        assert answer.text.endswith("# EOF\n")
        contract = anyone.get("/openapi.json").json()["paths"]["/metrics"]["get"]
        assert media in contract["responses"]["200"]["content"]

    @only_together
    def test_count(self, stage, anyone, user):
        movie = stage.movie()
        route = "/movies/{movieId}/users/rate"
        rated = (
            *("marquee_requests_total", ("method", "POST"), ("route", route)),
            ("status", "200"),
        )
        ten = (
            *("marquee_requests_total", ("method", "GET"), ("route", "/movies/top10")),
            ("status", "200"),
        )
        before = figures(anyone)
        for _ in range(3):
            user.post(f"/movies/{movie}/users/rate", json={"rate": 9})
            anyone.get("/movies/top10")
        anyone.get("/nope")
        after = figures(anyone)
        assert after[rated] - before.get(rated, 0) == 3
        assert after[ten] - before.get(ten, 0) == 3
        accepted = ("marquee_ratings_accepted_total",)
        assert after[accepted] - before[accepted] == 3
        assert after["marquee_dead_letters",] == 0
        assert 0 <= after["marquee_ten_age_seconds",] <= 30
        assert after["marquee_commit_group_size_count",] > 0
        eventually(lambda: figures(anyone)["marquee_events_behind",], lambda behind: behind == 0)

    def test_have_no_label_by_the_movie_or_the_caller(self, server, stage, anyone, user):
        movie = stage.movie()
        user.post(f"/movies/{movie}/users/rate", json={"rate": 9})
        anyone.get("/a-path-that-nobody-knows")
        stage.await_ratings(movie, 1)
        texts = list(metrics_of_each(server))
        assert any('status="200"' in text and "/users/rate" in text for text in texts)
        for text in texts:
            assert movie not in text
            assert user.user not in text
            assert "nobody-knows" not in text


class TestLogs:
    def test_one_line_a_request(self, server, stage, user):
        movie = stage.movie()
        answer = user.post(f"/movies/{movie}/users/rate", json={"rate": 9.5})
        id = answer.headers["x-request-id"]
        log = eventually(lambda: server.log, lambda log: id in log)
        (line,) = (json.loads(line) for line in log.splitlines() if f'"{id}"' in line)
        assert line["method"] == "POST"
        assert line["route"] == "/movies/{movieId}/users/rate"
        assert line["status"] == 200
        assert line["milliseconds"] > 0
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", line["timestamp"])

    def test_never_a_token_a_body_or_a_user(self, server, stage, user):
        movie = stage.movie(title="A title in a body")
        user.post(f"/movies/{movie}/users/rate", json={"rate": 9.5})
        user.get("/users/me/ratings", params={"movieIds": "asked-for"})
        end = user.get("/nope").headers["x-request-id"]
        log = eventually(lambda: server.log, lambda log: end in log)
        for secret in ("A title in a body", "asked-for", f'"{user.user}"', "eyJ", "9.5}"):
            assert secret not in log

    @only_together
    def test_precomputed_answers_are_not_logged_singly(self, server, anyone):
        before = len(server.log)
        anyone.get("/movies/top10")
        end = anyone.get("/nope").headers["x-request-id"]
        log = eventually(lambda: server.log, lambda log: end in log)
        assert '"/movies/top10"' not in log[before:]
