"""What the gateway adds to Marquee: nothing while it answers; its last lists where it does not."""

import re
import signal
import ssl
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from marquee.wiring import contract
from tests.api.asking import Stage, assert_problem, eventually
from tests.support.both import role_of
from tests.support.gateway import CONFIGURATION, gateway
from tests.support.server import Server, serve

pytestmark = pytest.mark.servers

SETTINGS = {"trusted_proxies": "127.0.0.1"}
ROLES = ("ratings", "movies", "top_rated", "best_pictures")
LISTS = ("/movies/top10", "/movies/top-rated?limit=3", "/movies/bestpictures?won=true")
"""Public, and kept for when nobody answers."""


class Client(httpx.Client):
    folder: Path


@contextmanager
def asked_through(folder, server):
    """Somebody who asks one process that has all roles through the gateway."""
    upstreams = {role: [server.url] for role in ROLES}
    with gateway(folder / "gateway", upstreams) as url, Client(base_url=url, timeout=30) as client:
        client.folder = folder / "gateway"
        yield client


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("server"), demo=True, **SETTINGS) as server:
        yield server


@pytest.fixture(scope="module")
def through(tmp_path_factory, server):
    with asked_through(tmp_path_factory.mktemp("gateway"), server) as client:
        yield client


@pytest.fixture
def doomed(tmp_path):
    """A process that will not outlive its test."""
    server = Server(tmp_path, **SETTINGS)
    try:
        yield server.start()
    finally:
        server.kill()


@pytest.fixture
def through_to_doomed(tmp_path, doomed):
    with asked_through(tmp_path, doomed) as client:
        yield client


def telling(words):
    """Beside the gateway a server of each role, which says these words of nginx's to every call."""

    def told(folder, port):
        text = ""
        for number, role in enumerate(ROLES, 2):
            at = f"127.0.0.{number}:{port}"
            text += f"upstream {role} {{ server {at}; }}\n"
            text += f"server {{ listen {at}; return 200 {words.format(role=role)}; }}\n"
        (folder / "upstreams.conf").write_text(text)

    return told


def test_each_call_goes_to_its_role(tmp_path):
    told = telling("{role}")
    with gateway(tmp_path / "gateway", {}, told) as url, httpx.Client(base_url=url) as client:
        for endpoint in contract():
            path = endpoint.path.replace("{movieId}", "tt0111161")
            role = role_of(endpoint.method, path).replace("-", "_")
            assert client.request(endpoint.method, path).text == role, endpoint


def test_no_client_says_what_its_address_is(tmp_path):
    """Not one at a private address either, which Marquee may trust as it does the gateway."""
    told = telling("$http_x_forwarded_for")
    said = {"X-Forwarded-For": "192.0.2.1, 10.0.0.1"}
    with gateway(tmp_path / "gateway", {}, told) as url, httpx.Client(base_url=url) as client:
        for endpoint in contract():
            path = endpoint.path.replace("{movieId}", "tt0111161")
            assert client.request(endpoint.method, path, headers=said).text == "127.0.0.1", endpoint


def test_on_kubernetes_an_ingress_says_whom_it_sees(tmp_path):
    """What comes before that is what it was told by its client."""
    lines = (CONFIGURATION.parent / "kubernetes/components/gateway/listen.conf").read_text()
    lines = lines.replace("10.0.0.0/8", "127.0.0.0/8")  # where this test's Ingress is

    def told(folder, port):
        telling("$http_x_forwarded_for")(folder, port)
        (folder / "listen.conf").write_text(lines.replace("8080", f"127.0.0.1:{port}"))

    said = {"X-Forwarded-For": "192.0.2.1, 172.16.0.1"}
    with gateway(tmp_path / "gateway", {}, told) as url:
        assert httpx.get(f"{url}/movies", headers=said).text == "172.16.0.1"


def test_a_list_is_never_older_than_marquees_own(server, through):
    path = "/movies/top-rated?genre=Only this"
    with Stage(server) as stage:
        movie = stage.movie(genres=["Only this"])
        for rate in (1, 2, 3):
            stage.rate(movie, [rate])
            changed = eventually(
                lambda: stage.anyone.get(path).json(),
                lambda chart, rate=rate: [e["averageRating"] for e in chart["result"]] == [rate],
            )
            assert through.get(path).json() == changed


@pytest.mark.parametrize("path", LISTS)
def test_a_list_comes_as_marquee_gave_it(server, through, path):
    with server.client() as direct:
        for method in ("GET", "HEAD"):
            given, passed = direct.request(method, path), through.request(method, path)
            assert passed.status_code == given.status_code == 200
            assert passed.content == given.content
            for name in ("etag", "cache-control", "content-type", "content-length"):
                assert passed.headers.get(name) == given.headers.get(name)
    if "etag" in given.headers:
        assert int(passed.headers["age"]) <= 30
        unchanged = through.get(path, headers={"If-None-Match": given.headers["etag"]})
        assert (unchanged.status_code, unchanged.content) == (304, b"")


def freeze(server):
    server.process.send_signal(signal.SIGSTOP)


@pytest.mark.parametrize("fault", [Server.kill, pytest.param(freeze, marks=pytest.mark.long)])
def test_where_nobody_answers_lists_are_the_last_ones_with_their_true_age(
    doomed, through_to_doomed, fault
):
    through = through_to_doomed
    lasts = [through.get(path) for path in LISTS]
    eventually(lambda: kept(through), lambda number: number == len(LISTS))
    fault(doomed)
    began = time.monotonic()
    first = [through.get(path) for path in LISTS]
    for last, answer in zip(lasts, first, strict=True):
        assert (answer.status_code, answer.content) == (200, last.content)
        assert answer.headers.get("etag") == last.headers.get("etag")
    age = int(first[0].headers["age"])
    eventually(lambda: int(through.get(LISTS[0]).headers["age"]), lambda a: a > age)
    assert through.head(LISTS[0]).status_code == 200
    etag = {"If-None-Match": lasts[0].headers["etag"]}
    assert through.get(LISTS[0], headers=etag).status_code == 304
    gone_by = int(time.monotonic() - began)
    assert int(through.get(LISTS[0]).headers["age"]) >= gone_by


def kept(through):
    """How many lists the gateway has by now: it keeps them beside their answers."""
    return len([file for file in through.folder.glob("kept/*") if file.is_file()])


def test_nobody_is_charged_for_what_is_kept(tmp_path):
    lists = [f"/movies/top-rated?limit={number}" for number in range(1, 61)]
    with (
        serve(tmp_path, rate_limit="6/minute", **SETTINGS) as server,
        asked_through(tmp_path, server) as client,
    ):
        assert {client.get(path).status_code for path in lists} == {200}


def test_titles_are_not_kept(tmp_path, server):
    with asked_through(tmp_path, server) as client:
        for title in ("parasite", "nomadland"):
            assert client.get("/movies/bestpictures", params={"title": title}).status_code == 200
        client.get(LISTS[0])  # what came before it would be kept before it
        eventually(lambda: kept(client), lambda number: number > 0)
        assert kept(client) == 1


def test_where_nobody_answers_all_else_is_503(doomed, through_to_doomed):
    doomed.kill()
    calls = [
        ("GET", "/movies"),
        ("GET", "/movies/tt0111161"),
        ("POST", "/movies/tt0111161/users/rate"),
        ("GET", "/movies/top-rated?limit=7"),
    ]
    for method, path in calls:
        answer = through_to_doomed.request(method, path)
        assert_problem(answer, 503)
        assert int(answer.headers["retry-after"]) >= 1


def test_a_second_process_answers_where_the_first_does_not(tmp_path, server):
    dead = "http://127.0.0.1:1"
    upstreams = {role: [dead, server.url] for role in ROLES}
    with gateway(tmp_path / "gateway", upstreams) as url, httpx.Client(base_url=url) as through:
        user = server.authorization("u")
        for _ in range(10):
            assert through.get("/movies/tt0111161").status_code == 200
            rating = through.post("/movies/tt0111161/users/rate", json={"rate": 9}, headers=user)
            assert rating.status_code == 200


def test_what_is_too_large_is_a_problem_of_marquees_form(server, through):
    user = server.authorization("u")
    for size in (65_537, 2_000_000):
        path = "/movies/tt0111161/users/rate"
        headers = {"Content-Type": "application/json"} | user
        assert_problem(through.post(path, content=b"1" * size, headers=headers), 413)
    for path in ("/movies/tt0111161", "/movies/top10"):
        assert_problem(through.get(path, headers={"X-Long": "x" * 100_000}), 431)


def test_a_flood_is_stopped_by_a_number_that_marquee_never_says(tmp_path, server):
    def narrow(folder, _):
        file = folder / "nginx.conf"
        narrowed = re.sub(r"rate=\d+r/s", "rate=1r/m", file.read_text())
        file.write_text(re.sub(r"burst=\d+", "burst=2", narrowed))

    upstreams = {role: [server.url] for role in ROLES}
    with gateway(tmp_path / "gateway", upstreams, narrow) as url, httpx.Client(base_url=url) as c:
        answers = [c.get(path) for path in ("/movies/top10", "/movies", "/movies", "/movies/top10")]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert_problem(answers[-1], 429)
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_it_speaks_tls_as_its_configuration_shows(tmp_path, server):
    certificate, key = tmp_path / "tls.crt", tmp_path / "tls.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )  # fmt: skip

    def shown(folder, port):
        lines = (CONFIGURATION / "listen.conf").read_text().partition("# With TLS:\n")[2]
        listen = re.sub(r"^# ", "", lines, flags=re.MULTILINE).replace("8443", f"127.0.0.1:{port}")
        (folder / "listen.conf").write_text(listen.replace("/etc/marquee/tls", str(tmp_path)))

    upstreams = {role: [server.url] for role in ROLES}
    trusted = ssl.create_default_context(cafile=certificate)
    with gateway(tmp_path / "gateway", upstreams, shown) as url:
        secure = url.replace("http:", "https:")
        with httpx.Client(base_url=secure, verify=trusted, http1=True) as client:
            assert client.get("/movies/top10").status_code == 200
        assert httpx.get(f"{url}/movies/top10").status_code == 400
