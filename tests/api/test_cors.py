"""Pages of other origins: shut out by default, let in where an operator names them."""

import pytest

from tests.api.asking import Stage, assert_problem
from tests.support.server import serve

PAGE, OTHER = "https://app.example", "https://other.example"
PATHS = ["/movies/top10", "/movies", "/health/live", "/nope", "/users/me/ratings"]


def preflight(client, origin, path="/movies/m/users/rate", method="POST", **headers):
    asked = {"Origin": origin, "Access-Control-Request-Method": method} | headers
    return client.options(path, headers=asked)


def cors_headers(answer):
    return {name for name in answer.headers if name.startswith("access-control-")}


class TestByDefault:
    @pytest.mark.parametrize("path", PATHS)
    def test_no_origin_may(self, anyone, path):
        answer = anyone.get(path, headers={"Origin": PAGE})
        assert not cors_headers(answer)
        assert "vary" not in answer.headers

    def test_a_preflight_is_a_method_like_others(self, anyone):
        answer = preflight(anyone, PAGE)
        assert_problem(answer, 405)
        assert not cors_headers(answer)


@pytest.fixture(scope="module")
def open_to(tmp_path_factory):
    """A server that lets in two origins."""
    folder = tmp_path_factory.mktemp("open")
    with (
        serve(folder, cors_origins=f"{PAGE} https://second.example") as server,
        Stage(server) as stage,
    ):
        stage.movie("m")
        yield stage.anyone


class TestNamed:
    @pytest.mark.parametrize("path", PATHS)
    def test_these_may(self, open_to, path):
        for origin in (PAGE, "https://second.example"):
            answer = open_to.get(path, headers={"Origin": origin})
            assert answer.headers["access-control-allow-origin"] == origin
            assert answer.headers["vary"] == "Origin"
            exposed = answer.headers["access-control-expose-headers"].lower().split(", ")
            assert {"etag", "age", "location", "retry-after", "ratelimit"} <= set(exposed)
            assert "access-control-allow-credentials" not in answer.headers

    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize(
        "origin", [OTHER, "null", PAGE + ".evil.example", "http://app.example"]
    )
    def test_others_may_not(self, open_to, path, origin):
        open_to.get(path, headers={"Origin": PAGE})
        answer = open_to.get(path, headers={"Origin": origin})
        assert "access-control-allow-origin" not in answer.headers

    @pytest.mark.parametrize("path", PATHS)
    def test_what_is_precomputed_stays_as_it_was(self, open_to, path):
        """One origin's headers are not the next one's, and none are added up."""
        for origin in (PAGE, OTHER, PAGE, None, PAGE):
            headers = {} if origin is None else {"Origin": origin}
            answer = open_to.get(path, headers=headers)
            assert answer.headers["vary"] == "Origin"
            allowed = answer.headers.get("access-control-allow-origin")
            assert allowed == (PAGE if origin == PAGE else None)

    def test_a_304_too(self, open_to):
        etag = open_to.get("/movies/top10").headers["etag"]
        headers = {"Origin": PAGE, "If-None-Match": etag}
        answer = open_to.get("/movies/top10", headers=headers)
        assert answer.status_code == 304
        assert answer.headers["access-control-allow-origin"] == PAGE

    @pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE"])
    def test_a_preflight(self, open_to, method):
        asked = {"Access-Control-Request-Headers": "authorization,content-type,if-none-match"}
        answer = preflight(open_to, PAGE, method=method, **asked)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert method in answer.headers["access-control-allow-methods"]
        allowed = answer.headers["access-control-allow-headers"].lower()
        assert {"authorization", "content-type"} <= set(allowed.split(", "))
        assert int(answer.headers["access-control-max-age"]) > 0

    def test_a_preflight_of_another_is_refused(self, open_to):
        answer = preflight(open_to, OTHER)
        assert_problem(answer, 400, "")
        assert "access-control-allow-origin" not in answer.headers

    def test_options_that_is_no_preflight_is_405(self, open_to):
        assert_problem(open_to.options("/movies", headers={"Origin": PAGE}), 405)


def test_any_origin(tmp_path):
    with serve(tmp_path, cors_origins="*") as server, server.client() as client:
        for origin in (PAGE, OTHER):
            answer = client.get("/movies/top10", headers={"Origin": origin})
            assert answer.headers["access-control-allow-origin"] == "*"
            assert preflight(client, origin).headers["access-control-allow-origin"] == "*"
