"""Generated bad requests, as bytes: the server answers each well or closes, and lives on.

``make fuzz`` sends MARQUEE_FUZZ_EXAMPLES of them; every test run a share.
"""

import json
import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.support.server import Server, serve

pytestmark = [
    pytest.mark.no_cover,
    pytest.mark.filterwarnings("ignore:Generating overly large repr"),
]

EXAMPLES = int(os.environ.get("MARQUEE_FUZZ_EXAMPLES", "3000")) * 4 // 5
"""The others are schemathesis's."""

LAST = b"GET /health/live HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
"""Ends each conversation: either it is answered and closed, or it was in the middle of nonsense."""

PATIENCE = 30
"""Seconds: the server waits for 20 at most for what is promised and does not come."""

many = settings(
    max_examples=EXAMPLES,
    phases=[Phase.explicit, Phase.generate],  # to shrink a hang would take an hour
    suppress_health_check=list(HealthCheck),
    database=None,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("fuzz")) as server:
        with server.client("editor", "movies:write") as client:
            movie = {"id": "tt0041959", "title": "The Third Man", "genres": ["Film-Noir"]}
            assert client.post("/movies", json=movie).status_code == 201
        yield server


# ---- requests ----------------------------------------------------------------------------------

junk = st.binary(max_size=40)
long = st.integers(1, 80_000).map(lambda size: b"x" * size)
TOKEN = b"@token@"
"""Becomes a good one, which is not known before the server runs."""

METHODS = b"GET HEAD POST PUT DELETE".split()
ODD_METHODS = b"OPTIONS PATCH TRACE CONNECT PRI M-SEARCH get G@T".split()
PATHS = b"""/movies /movies/top10 /movies/top-rated /movies/bestpictures /movies/tt0041959
    /movies/tt0041959/ratings /movies/tt0041959/users/rate /users/me/ratings /health/live
    /health/ready /metrics /openapi.json /docs / // /movies/ /movies/top10/ * h:80 http://h/movies
    /movies/%2e%2e/users /movies/tt0041959%0a /movies/%00 /movies/%ff%fe /movies/%zz /movies/%
    /MOVIES /movies/top10;x /movies/../docs /movies/\xc3\xa9 //evil/movies""".split()
NAMES = b"""query genre year cursor limit title won yearFrom yearTo minRatings bestPicture ranking
    movieIds x %00 %ff [] __proto__""".split()
VALUES = b"""1 0 -1 250 251 1e3 1.0 +1 01 NaN null true 99999999999999999999999 won mean %00 %ff
    %zz % + %F0%9F%8E%AC a,b tt0041959 %E2%80%AE '"<> %ED%A0%80""".split()

values = st.sampled_from([*VALUES, b""]) | junk | long
query = st.lists(st.tuples(st.sampled_from(NAMES) | junk, values).map(b"=".join), max_size=4).map(
    lambda pairs: b"?" + b"&".join(pairs) if pairs else b""
)
paths = st.sampled_from(PATHS) | junk.map(b"/".__add__) | long.map(b"/movies/".__add__)
targets = st.builds(bytes.__add__, paths, st.just(b"") | query)
methods = st.sampled_from(METHODS) | st.sampled_from(METHODS + ODD_METHODS) | junk
versions = st.sampled_from([b"HTTP/1.1"] * 12 + [b"HTTP/1.0", b"HTTP/2.0", b"HTTP/9", b"", b"\0"])

HEADERS = b"""Host:|Host: a b|Host: h:x|Content-Length: -1|Content-Length: 0x10|Content-Length: 5 5
    |Content-Length: 99999999999999999999|Content-Length: 3, 3
    |Transfer-Encoding: chunked|Transfer-Encoding: gzip|Transfer-Encoding: chunked, gzip
    |Transfer-Encoding:  chunked , chunked|Expect: 100-continue|Expect: x|Upgrade: h2c
    |Connection: upgrade|Connection: keep-alive|Connection: close|Content-Type:
    |Content-Type: application/json|Content-Type: text/plain|Content-Type: application/json; a=\xff
    |Content-Encoding: gzip|Accept: text/csv|Accept: text/csv;q=x|Accept: */*;q=0.1, text/csv;q=1e9
    |Accept: \xff|If-None-Match: *|If-None-Match: W/"a", "\xff|Authorization: Bearer
    |Authorization: Bearer a.b.c|Authorization: Bearer \xff|Authorization: Basic YTpi
    |X-Forwarded-For: 1.2.3.4, x|Origin: null|Range: bytes=0-1|Cookie: a=b
    |Access-Control-Request-Method: PUT|X:  |: x| folded: x|a b: c|X: a\0b|X: a\rb|X: a\nb"""
headers = st.lists(
    st.one_of(
        st.sampled_from(
            [line.strip(b"\n") for line in HEADERS.replace(b"\n    |", b"|").split(b"|")]
        ),
        st.just(b"Content-Type: application/json"),
        st.just(b"Authorization: Bearer " + TOKEN),
        st.builds(b"%b: %b".__mod__, st.tuples(junk, junk)),
        st.builds(b"%b: %b".__mod__, st.tuples(st.just(b"X"), long)),
    ),
    max_size=5,
)

SCORES = b"""9 9.5 9.25 0 10.5 1e400 -1 NaN true null "9" [] {} 9e0 0.5 1E-999 09 +9 .5
    99999999999999999999999999""".split()
FIELDS = b"rate ratingScore userId title year genres boxOffice imdbId tmdbId id x".split()
TEXTS = [b'"%b"' % text for text in b"a tt1 \\u0000 \\ud800 \\x \xff \xed\xa0\x80 \xf0\x9f".split()]
members = st.tuples(
    st.sampled_from(FIELDS), st.sampled_from(SCORES + TEXTS) | long.map(b'"%b"'.__mod__)
).map(lambda pair: b'"%b": %b' % pair)
objects = st.lists(members, max_size=5).map(lambda found: b"{%b}" % b", ".join(found))
bombs = st.builds(
    lambda opening, depth, closed: opening * depth + b"]}"[:closed] * depth,
    st.sampled_from([b"[", b'{"rate":', b'{"title":[', b'{"a":1,']),
    st.integers(1, 30_000),
    st.integers(0, 2),
)
good = st.sampled_from([b'{"rate": 9}', b'{"title": "M"}', b'{"userId": "you", "ratingScore": 9}'])
bodies = st.one_of(good, objects, bombs, junk, long)


def framed(body: bytes, how: str, off: int) -> tuple[list[bytes], bytes]:
    """A body and the headers that tell its length, or another."""
    match how:
        case "chunked":
            cut = len(body) // 2
            chunks = b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in (body[:cut], body[cut:]) if c)
            return [b"Transfer-Encoding: chunked"], chunks + b"0\r\n\r\n"
        case "bad chunks":
            return [b"Transfer-Encoding: chunked"], b"%x\r\n%b\r\n" % (len(body) + off, body)
        case "wrong length":
            return [b"Content-Length: %d" % max(0, len(body) + off)], body
        case "none":
            return [], body
    return [b"Content-Length: %d" % len(body)], body


frames = st.sampled_from(["right"] * 6 + ["chunked", "bad chunks", "wrong length", "none"])


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    line = b" ".join([draw(methods), draw(targets), draw(versions)])
    lines = [line, b"Host: h", *draw(headers)]
    body = b""
    if draw(st.booleans()):
        lengths, body = framed(draw(bodies), draw(frames), draw(st.integers(-20, 20)))
        lines += lengths
    end = draw(st.sampled_from([b"\r\n"] * 20 + [b"\n", b"\r"]))
    return end.join([*lines, b"", body])


rating = st.builds(
    lambda framing: b"\r\n".join(
        [
            b"POST /movies/tt0041959/users/rate HTTP/1.1",
            b"Host: h",
            b"Content-Type: application/json",
            b"Authorization: Bearer " + TOKEN,
            *framing[0],
            b"",
            framing[1],
        ]
    ),
    st.builds(framed, bodies, frames, st.integers(-20, 20)),
)
conversations = st.lists(requests() | rating, min_size=1, max_size=3).map(b"".join)


# ---- answers -----------------------------------------------------------------------------------


def converse(server: Server, sent: bytes) -> bytes:
    """All that is answered, until the server closes."""
    answered = b""
    with socket.create_connection(server.address, timeout=PATIENCE) as connection:
        try:
            connection.sendall(sent)
            while part := connection.recv(1 << 16):
                answered += part
        except (ConnectionResetError, BrokenPipeError):
            pass  # it had said what it had to say, and we went on
        except TimeoutError:
            pytest.fail(f"it hangs after {answered!r:.2000} to {sent!r:.5000}")
    return answered


def check(answered: bytes) -> list[int]:
    """The statuses of all answers; each has to be well-formed and none a fault of the server."""
    found = []
    while answered:
        head, separator, answered = answered.partition(b"\r\n\r\n")
        assert separator, f"half a head: {head!r}"
        start, *lines = head.split(b"\r\n")
        version, status, _ = start.split(b" ", 2)
        told = dict(line.lower().split(b": ", 1) for line in lines)
        assert version == b"HTTP/1.1"
        if status == b"100":
            continue
        assert status < b"500", head
        found.append(int(status))
        body, answered = split(answered, told, int(status))
        if status >= b"400":
            assert told[b"content-type"] == b"application/problem+json"
            if body:
                document = json.loads(body)
                assert document["status"] == int(status)
                assert document.keys() >= {"type", "title", "detail", "instance"}
    return found


def split(rest: bytes, told: dict[bytes, bytes], status: int) -> tuple[bytes, bytes]:
    """The body of an answer, and what follows it."""
    if status in (204, 304):
        return b"", rest
    if told.get(b"transfer-encoding") == b"chunked":
        body, _, rest = rest.partition(b"0\r\n\r\n")
        return body, rest
    length = int(told[b"content-length"])
    if length and (not rest or rest.startswith(b"HTTP/1.1 ")):  # to a HEAD
        return b"", rest
    assert len(rest) >= length
    return rest[:length], rest[length:]


def alive(server: Server) -> None:
    assert server.alive, server.log[-5000:]
    assert check(converse(server, LAST)) == [200]


@pytest.fixture(scope="module")
def token(server: Server) -> bytes:
    return server.token("you", "movies:write", "ratings:write:any").encode()


@pytest.fixture(scope="module", autouse=True)
def memory(server: Server, token: bytes) -> Iterator[None]:
    """Whatever was sent, the server is as large as before, and has nothing to complain of."""
    for _ in range(300):
        converse(server, b"POST /x HTTP/1.1\r\nContent-Length: 65536\r\n\r\n" + b"x" * 65536 + LAST)
    before = server.memory
    yield
    alive(server)
    assert server.memory < before + 16 * 2**20
    assert "a call failed" not in server.log
    assert "Traceback" not in server.log


@many
@given(sent=conversations)
def test_whole_requests_are_answered(server: Server, token: bytes, sent: bytes) -> None:
    answered = converse(server, sent.replace(TOKEN, token) + LAST)
    assert check(answered)


@settings(many, max_examples=max(1, EXAMPLES // 10))
@given(sent=conversations, cut=st.floats(0, 1), reset=st.booleans())
def test_who_goes_away_in_the_middle_does_no_harm(
    server: Server, token: bytes, sent: bytes, cut: float, reset: bool
) -> None:
    with socket.create_connection(server.address, timeout=8) as connection:
        if reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.sendall(sent.replace(TOKEN, token)[: int(cut * len(sent))])
    alive(server)
