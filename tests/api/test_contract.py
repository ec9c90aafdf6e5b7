"""The contract as we tell it: in one document for programs, on one page for people."""

import html
import json
import re
import shlex
from pathlib import Path

import httpx
import pytest

from marquee.http.problems import HttpError, problem
from tests.api.asking import only_together
from tests.support.server import Server, serve

ROOT = Path(__file__).resolve().parent.parent.parent
SCOPES = ("movies:write", "ratings:write:any")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory):
    with serve(tmp_path_factory.mktemp("demo"), demo=True) as server:
        yield server


@pytest.fixture
def page(server: Server) -> str:
    return httpx.get(f"{server.url}/docs").text


def curl_lines(page: str) -> list[str]:
    blocks = re.findall(r"<pre[^>]*><code>(.*?)</code></pre>", page, re.DOTALL)
    lines = html.unescape("\n".join(blocks)).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("curl")]


def run_curl(line: str, token: str) -> httpx.Response:
    """What curl would send, without needing one."""
    words = iter(shlex.split(line.replace("$TOKEN", token))[1:])
    method, url, headers, body = "GET", "", {}, None
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = next(words)
        else:
            url = word
    return httpx.request(method, url, headers=headers, content=body)


def test_the_copy_in_docs_is_fresh(server: Server) -> None:
    copy = (ROOT / "docs/openapi.json").read_text("utf-8")
    served = httpx.get(f"{server.url}/openapi.json").json()
    assert json.loads(copy) == served, "`make docs` writes it anew"


def test_every_call_has_a_name_and_a_body_has_an_example(server: Server) -> None:
    document = httpx.get(f"{server.url}/openapi.json").json()
    operations = [each for path in document["paths"].values() for each in path.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(set(names)) == len(names) == 20
    for operation in operations:
        for content in operation.get("requestBody", {}).get("content", {}).values():
            assert content["example"]


def test_an_example_of_a_problem_bears_the_title_that_is_sent(server: Server) -> None:
    document = httpx.get(f"{server.url}/openapi.json").json()
    for response in document["components"]["responses"].values():
        example = response["content"]["application/problem+json"]["example"]
        status, _, body = problem(HttpError(example["status"], "No."), b"/")
        assert (example["status"], example["title"]) == (status, json.loads(body)["title"])


def test_every_curl_line_works_as_it_stands(demo: Server) -> None:
    lines = curl_lines(httpx.get(f"{demo.url}/docs").text)
    assert len(lines) == 22
    token = demo.token("you", *SCOPES)
    for line in lines:
        answer = run_curl(line, token)
        assert answer.is_success, f"{line}\n{answer.status_code} {answer.text}"


def test_the_page_needs_nothing_from_elsewhere(server: Server, page: str) -> None:
    answer = httpx.get(f"{server.url}/docs")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "<script" not in page
    assert set(re.findall(r'(?:href|src)="(?!#)([^"]*)"', page)) == {"/openapi.json", "data:,"}
    assert set(re.findall(r"https?://[^/\s<\"']+", page)) == {server.url}


def test_the_page_tells_where_a_checkout_has_its_commands(page: str) -> None:
    assert ".venv/bin/marquee" in page


def test_every_link_of_the_page_leads_somewhere(page: str) -> None:
    names = re.findall(r' id="([^"]+)"', page)
    assert len(set(names)) == len(names)
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(names)


@only_together
@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("movies.example", "http://movies.example"),
        ("[::1]:8080", "http://[::1]:8080"),
        ('"><b>', None),
        ("", None),
    ],
)
def test_the_curl_lines_name_the_host_that_was_asked(server: Server, host, shown) -> None:
    answer = httpx.get(f"{server.url}/docs", headers={"Host": host})
    assert f"curl {shown or server.url}/movies/top10" in answer.text
    assert answer.headers["vary"] == "host"


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_head_and_an_unknown_parameter(server: Server, path: str) -> None:
    head, get = httpx.head(f"{server.url}{path}"), httpx.get(f"{server.url}{path}")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(get.content))
    assert httpx.get(f"{server.url}{path}?x=1").status_code == 400
    assert httpx.post(f"{server.url}{path}").headers["allow"] == "GET, HEAD"
