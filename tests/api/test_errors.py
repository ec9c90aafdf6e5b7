"""Errors: every one a problem document, with the status and the headers that the contract names."""

import json

import pytest

from tests.api.asking import assert_problem, eventually, only_together
from tests.api.raw import exchange, request, status_of

KIB_64 = 64 * 1024

ALLOWED = {
    "/movies/top10": "GET, HEAD",
    "/movies/top-rated": "GET, HEAD",
    "/movies/bestpictures": "GET, HEAD",
    "/movies": "GET, HEAD, POST",
    "/movies/tt0111161": "DELETE, GET, HEAD, PUT",
    "/movies/tt0111161/ratings": "GET, HEAD, POST",
    "/movies/tt0111161/users/rate": "DELETE, GET, HEAD, POST",
    "/users/me/ratings": "DELETE, GET, HEAD",
    "/health/live": "GET, HEAD",
    "/health/ready": "GET, HEAD",
    "/metrics": "GET, HEAD",
}
PROBES = ["/health/live", "/health/ready", "/metrics"]
METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "FOO"}

WITH_TOKEN = [
    ("POST", "/movies/tt0111161/users/rate"),
    ("GET", "/movies/tt0111161/users/rate"),
    ("DELETE", "/movies/tt0111161/users/rate"),
    ("POST", "/movies/tt0111161/ratings"),
    ("GET", "/users/me/ratings"),
    ("DELETE", "/users/me/ratings"),
    ("POST", "/movies"),
    ("PUT", "/movies/tt0111161"),
    ("DELETE", "/movies/tt0111161"),
]
WITH_BODY = [call for call in WITH_TOKEN if call[0] in {"POST", "PUT"}]


class TestUnknownPaths:
    @pytest.mark.parametrize(
        "path",
        [
            *("/", "/nope", "/movie", "/MOVIES", "/Movies/top10", "/movies/", "/movies//"),
            *("/movies/top10/", "//movies/top10", "/movies//top10", "/movies/top10/x"),
            *("/movies/tt0111161/", "/movies/tt0111161/ratings/", "/movies/tt0111161/nope"),
            *("/movies/tt0111161/users", "/movies/tt0111161/users/rate/", "/users", "/users/me"),
            *("/users/you/ratings", "/health", "/health/", "/health/dead", "/metrics/"),
            *("/movies/top10%0A", "/movies%0A", "/caf%C3%A9", "/%FF"),
            *("/.", "/" + "x" * 5000),
        ],
    )
    @pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
    def test_are_404(self, anyone, method, path):
        assert_problem_at(anyone.request(method, anyone.base_url.copy_with(raw_path=path.encode())))

    @only_together
    @pytest.mark.parametrize("path", ["/nope%00", "/%2e%2e/%2e%2e/etc/passwd"])
    @pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
    def test_are_404_also_where_a_gateway_lets_nothing_through(self, anyone, method, path):
        assert_problem_at(anyone.request(method, anyone.base_url.copy_with(raw_path=path.encode())))

    def test_tell_where_the_known_ones_are(self, anyone):
        assert "/docs" in anyone.get("/").json()["detail"]

    def test_a_percent_encoded_known_path_is_known(self, anyone):
        url = anyone.base_url.copy_with(raw_path=b"/movies/%74op10")
        assert anyone.get(url).status_code == 200


def assert_problem_at(answer):
    """Like ``assert_problem``, where ``instance`` is the path as we would write it."""
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "detail", "instance"}
    assert problem["instance"].isascii()
    assert problem["instance"].isprintable()
    assert problem["instance"].startswith("/")


class TestOtherMethods:
    @pytest.mark.parametrize("path", ALLOWED)
    def test_are_405_and_told_which_are_allowed(self, anyone, path):
        for method in METHODS - set(ALLOWED[path].split(", ")):
            answer = anyone.request(method, path)
            assert answer.headers["allow"] == ALLOWED[path], method
            assert_problem(answer, 405)

    def test_a_head_has_the_headers_of_a_get_and_no_body(self, anyone):
        for path, allowed in ALLOWED.items():
            if "HEAD" in allowed and path != "/metrics":  # its length changes
                got, head = eventually(  # others go on: it may change in between
                    lambda path=path: (anyone.get(path), anyone.head(path)),
                    lambda both: lasting(both[0]) == lasting(both[1]),
                )
                assert head.status_code == got.status_code, path
                assert head.content == b""


def lasting(answer):
    """Its headers, without those that differ from answer to answer."""
    volatile = {"date", "age", "x-request-id", "content-encoding"}
    return {name: value for name, value in answer.headers.items() if name not in volatile}


class TestTokens:
    @pytest.mark.parametrize(("method", "path"), WITH_TOKEN)
    def test_without_one_it_is_401(self, anyone, method, path):
        answer = anyone.request(method, path, json={"rate": 9})
        assert_problem(answer, 401)
        assert answer.headers["www-authenticate"] == "Bearer"

    @pytest.mark.parametrize(("method", "path"), WITH_TOKEN)
    @pytest.mark.parametrize(
        "authorization",
        ["", "Bearer", "Bearer x", "Bearer x y", "Basic YTpi", "Bearer a.b.c", "x" * 99],
    )
    def test_with_a_bad_one_it_is_401(self, anyone, method, path, authorization):
        answer = anyone.request(method, path, headers={"Authorization": authorization})
        assert_problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")

    @pytest.mark.parametrize(
        ("method", "path"), [call for call in WITH_TOKEN if "rat" not in call[1]]
    )
    def test_without_the_scope_it_is_403(self, stage, method, path):
        for scopes in [(), ("ratings:write:any",), ("movies:writes", "movies", "MOVIES:WRITE")]:
            with stage.user(*scopes) as client:
                assert_problem(client.request(method, path, json={"title": "x"}), 403)


class TestBodies:
    @pytest.mark.parametrize(("method", "path"), WITH_BODY)
    @pytest.mark.parametrize(
        "media",
        [
            *("text/plain", "application/x-www-form-urlencoded", "application/xml", "", "json"),
            *("multipart/form-data; boundary=x", "application/jsonx", "application/problem+json"),
            *("application/merge-patch+json", "*/*", "application/*"),
            *("application/json; charset=latin-1", 'application/json;a=b;charset="utf-16"'),
        ],
    )
    def test_that_are_no_json_are_415(self, stage, method, path, media):
        with stage.user("movies:write") as client:
            answer = client.request(
                method, path, content=b'{"rate": 9}', headers={"Content-Type": media}
            )
            assert_problem(answer, 415)

    @pytest.mark.parametrize(("method", "path"), WITH_BODY)
    def test_that_do_not_say_what_they_are_are_415(self, stage, method, path):
        with stage.user("movies:write") as client:
            assert_problem(client.request(method, path, content=b'{"rate": 9}'), 415)
            assert_problem(client.request(method, path), 415)

    @pytest.mark.parametrize("coding", ["gzip", "identity, gzip", "br", "x"])
    def test_that_are_compressed_are_415(self, user, coding):
        answer = user.post(
            "/movies/m/users/rate", json={"rate": 9}, headers={"Content-Encoding": coding}
        )
        assert_problem(answer, 415)
        assert answer.headers["accept-encoding"] == "identity"

    @pytest.mark.parametrize(
        "media",
        [
            *("application/json; charset=utf-8", "Application/JSON", "application/json;a=b"),
            'application/json ; Charset="UTF-8"',
        ],
    )
    def test_json_may_be_said_in_other_words(self, stage, user, media):
        movie = stage.movie()
        answer = user.post(
            f"/movies/{movie}/users/rate",
            content=b'{"rate": 9}',
            headers={"Content-Type": media},
        )
        assert answer.status_code == 200

    @pytest.mark.parametrize(("method", "path"), WITH_BODY)
    @pytest.mark.parametrize(
        "body",
        [
            *(b"", b" ", b"{", b"}", b"null", b"9", b'"x"', b"[]", b"[9]", b"true", b"{}{}"),
            *(b'{"rate": 9', b'{"rate": 9}x', b"{'rate': 9}", b'{"rate": 9,}', b"{rate: 9}"),
            *(b"\xef\xbb\xbf{}", b"\xff", b'{"\xff": 1}', b'{"title": "\xff"}', b"\x00"),
            *(b'{"title": "\xed\xa0\x80"}', b'{"title": "\\ud800"}', b'{"\\udfff": 1}'),
            *(b"[" * 60_000, b'{"title":' * 7_000, b'{"x":' + b"[" * 60_000),
            '{"rate": 9}'.encode("utf-16"),
        ],
        ids=lambda body: repr(body[:24]),
    )
    def test_that_are_malformed_are_400(self, stage, method, path, body):
        with stage.user("movies:write") as client:
            headers = {"Content-Type": "application/json"}
            assert_problem(client.request(method, path, content=body, headers=headers), 400)

    @pytest.mark.parametrize("body", [b"", b'{"rate": 9'])
    def test_that_break_off_are_said_to(self, user, body):
        headers = {"Content-Type": "application/json"}
        answer = user.post("/movies/tt0111161/users/rate", content=body, headers=headers)
        assert answer.json()["detail"] == "The body ends before its JSON does."

    def test_of_64_kib_are_read(self, stage, user):
        path = f"/movies/{stage.movie()}/users/rate"
        headers = {"Content-Type": "application/json"}
        whole = b'{"rate": 9}'.ljust(KIB_64)
        for content in (whole, pieces(whole)):
            assert user.post(path, content=content, headers=headers).status_code == 200

    @pytest.mark.parametrize(("length", "status"), [(KIB_64, 401), (KIB_64 + 1, 401)])
    def test_that_come_with_their_head_are_no_part_of_it(self, server, length, status):
        line, body = b"POST /movies/tt1/users/rate HTTP/1.1", b"9".rjust(length)
        answer = exchange(server, request(line, b"Content-Length: %d" % length, body=body))
        assert status_of(answer) == status

    def test_over_64_kib_are_413(self, stage, user):
        path = f"/movies/{stage.movie()}/users/rate"
        headers = {"Content-Type": "application/json"}
        for length in (KIB_64 + 1, 1_000_000):
            larger = b'{"rate": 9}'.ljust(length)
            for content in (larger, pieces(larger)):
                assert_problem(user.post(path, content=content, headers=headers), 413)
        assert_problem(user.get(path), 404)

    def test_one_that_only_claims_to_be_large_is_not_waited_for(self, server):
        token = server.token("somebody").encode()
        answer = exchange(
            server,
            request(
                b"POST /movies/tt1/users/rate HTTP/1.1",
                b"Authorization: Bearer " + token,
                b"Content-Type: application/json",
                b"Content-Length: 999999999999",
            ),
        )
        assert status_of(answer) == 413

    def test_every_field_in_error_has_its_pointer(self, stage, user):
        path = f"/movies/{stage.movie()}/users/rate"
        assert_problem(user.post(path, json={"rate": "9"}), 400, "/rate")
        assert_problem(user.post(path, json={}), 400, "/rate")
        assert_problem(user.post(path, json={"rate": 9, "a/b~c": 1}), 400, "/a~1b~0c")
        assert_problem(user.post(path, json=[9]), 400, "")
        assert_problem(user.get("/movies?limit=x"), 400, "/limit")
        assert_problem(user.get("/movies?nope=x"), 400, "/nope")
        genres = {"title": "x", "genres": ["", "y"]}
        with stage.user("movies:write") as editor:
            assert_problem(editor.post("/movies", json=genres), 400)


def pieces(body):
    """A body of a length that is not told before it: sent in chunks."""
    yield from (body[at : at + 10_000] for at in range(0, len(body), 10_000))


class TestQueries:
    def test_what_is_given_twice_is_named(self, anyone):
        assert_problem(anyone.get("/movies?genre=a&limit=1&limit=2"), 400, "/limit")

    @pytest.mark.parametrize("path", [path for path in ALLOWED if path != "/users/me/ratings"])
    @pytest.mark.parametrize("query", ["nope=1", "nope", "Limit=1", "limit[]=1", "%00=1", "=1"])
    def test_unknown_parameters_are_400(self, anyone, path, query):
        if path == "/movies/tt0111161/users/rate":
            assert_problem(anyone.get(f"{path}?{query}"), 401)
        else:
            assert_problem(anyone.get(f"{path}?{query}"), 400)

    @pytest.mark.parametrize(("method", "path"), WITH_TOKEN)
    def test_unknown_parameters_are_400_with_a_token_too(self, stage, method, path):
        with stage.user("movies:write") as client:
            answer = client.request(method, f"{path}?nope=1", json={"rate": 9, "title": "x"})
            assert_problem(answer, 400, "/nope")

    @pytest.mark.parametrize(
        "query", ["limit=1&limit=1", "query=%FF", "query=%ED%A0%80", "&".join(["a=1"] * 1000)]
    )
    def test_malformed_ones_are_400(self, anyone, query):
        assert_problem(anyone.get(f"/movies?{query}"), 400)

    @pytest.mark.parametrize(
        "path", ["/movies/top10", "/movies", "/docs", "/openapi.json", *PROBES]
    )
    @pytest.mark.parametrize("query", ["?", "?&", "?&&"])
    def test_an_empty_one_asks_nothing(self, anyone, path, query):
        assert anyone.get(path + query).status_code == 200


@pytest.mark.parametrize("path", ["/movies", "/movies/top-rated", "/users/me/ratings"])
class TestLimit:
    @pytest.mark.parametrize("limit", ["1", "250"])
    def test_is_1_to_250(self, user, path, limit):
        assert user.get(path, params={"limit": limit}).status_code == 200

    @pytest.mark.parametrize(
        "limit",
        [
            *("0", "251", "-1", "", "x", "1.5", "10.0", "1e1", "10 ", "+10", "1_0", "0x10", "null"),
            *("٥", "9" * 400),
        ],
    )
    def test_is_nothing_else(self, user, path, limit):
        assert_problem(user.get(path, params={"limit": limit}), 400, "/limit")

    def test_never_begins_with_a_nought(self, user, path):
        answer = user.get(path, params={"limit": "01"})
        assert answer.json()["detail"] == "Expected a whole number."


class TestNoHttp:
    """What is no request is answered too, and nobody is left hanging."""

    @pytest.mark.parametrize(
        "sent",
        [
            b"\r\n\r\nnonsense\r\n\r\n",
            b"GET\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
            b"GET /movies HTTP/1.1\r\nHost: h\r\nBroken header\r\n\r\n",
            b"GET /movies HTTP/1.1\r\nHost: h\r\nA: b\x00c\r\n\r\n",
            b"POST /movies HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n",
            b"POST /movies HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
            b"POST /movies HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"POST /movies HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            b"GET /mov ies HTTP/1.1\r\nHost: h\r\n\r\n",
        ],
        ids=lambda sent: repr(sent[-40:]),
    )
    def test_is_400_or_just_closed(self, server, sent):
        answer = exchange(server, sent)
        assert status_of(answer) in {400, 401}, answer
        assert b"application/problem+json" in answer
        assert b"\r\ndate: " in answer.lower()
        assert (b'"errors":[{"pointer":"",' in answer) == (status_of(answer) == 400)

    @pytest.mark.parametrize(
        "line",
        [
            *(b"GET /\xff\xfe HTTP/1.1", b"GET /movies?query=\xff HTTP/1.1", b"GET * HTTP/1.1"),
            *(b"GET /movies/\x7f HTTP/1.1", b"GET ?x HTTP/1.1", b"OPTIONS * HTTP/1.1"),
            *(b"GET http:// HTTP/1.1", b"GET //// HTTP/1.1", b"GET /#/../ HTTP/1.1"),
            *(b"CONNECT h:1 HTTP/1.1", b"BREW /movies HTTP/1.1", b"get /movies HTTP/1.1"),
            b"GET http://[/movies HTTP/1.1",
        ],
    )
    def test_strange_targets_never_break_it(self, server, line):
        answer = exchange(server, request(line))
        assert status_of(answer) in {400, 404, 405}, answer
        assert b"application/problem+json" in answer

    @pytest.mark.parametrize(
        "head",
        [
            b"GET /movies/top10 HTTP/1.1\r\n",
            b"GET /movies/top10 HTTP/1.1\r\nHost: h\r\nHost: h\r\n",
            b"GET /movies/top10 HTTP/1.0\r\nHost: h\r\nhost: i\r\n",
            b"POST /movies/tt1/users/rate HTTP/1.1\r\nContent-Length: 3\r\n",
        ],
    )
    @only_together
    def test_a_request_without_its_one_host_is_refused(self, server, head):
        answer = exchange(server, head + b"\r\n{}\n")
        assert status_of(answer) == 400, answer
        assert b"one header Host" in answer

    def test_who_speaks_http_1_0_needs_no_host(self, server):
        assert status_of(exchange(server, b"GET /movies/top10 HTTP/1.0\r\n\r\n")) == 200

    def test_letters_of_a_url_that_are_not_encoded_are_told_of(self, server):
        line = "GET /movies/bestpictures?title=Amélie HTTP/1.1".encode()
        answer = exchange(server, request(line))
        assert status_of(answer) == 400, answer
        assert b"percent-encoded" in answer

    @only_together
    def test_a_port_that_is_none_is_no_target(self, server):
        answer = exchange(server, request(b"GET http://h:99999999/movies HTTP/1.1"))
        assert status_of(answer) == 400, answer

    def test_an_absolute_target_is_a_path(self, server):
        answer = exchange(server, request(b"GET http://h/movies/top10 HTTP/1.1"))
        assert status_of(answer) == 200

    def test_a_head_over_64_kib_is_refused(self, server):
        answer = exchange(server, request(b"GET /movies HTTP/1.1", b"A: " + b"x" * 70_000))
        assert status_of(answer) == 431
        json.loads(answer.split(b"\r\n\r\n", 1)[1])

    def test_none_of_it_stops_the_server(self, anyone):
        assert anyone.get("/health/live").status_code == 200
