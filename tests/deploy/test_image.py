"""The image: built for real, run with no more rights than it needs, asked, stopped."""

import re
from collections.abc import Iterator

import httpx
import pytest

from tests.api.asking import eventually
from tests.support.docker import REVISION, container, docker, inspect

LOCKED_DOWN = (
    *("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges", "--memory", "256m", "--pids-limit", "64"),
    # Nor does it need a shell.
    *(f"--volume=/dev/null:/usr/bin/{shell}:ro" for shell in ("bash", "dash", "sh")),
)
PUBLISHED = ("--publish", "127.0.0.1::8080")
BUILT_WITH = re.compile(
    r"(^|/)(cc|gcc|g\+\+|c\+\+|ld|as|make|pip3?|cargo|git|curl|wget)(-[\d.]+)?$"
)


pytestmark = pytest.mark.servers


@pytest.fixture(scope="module")
def running(image: str) -> Iterator[str]:
    with container(image, options=(*LOCKED_DOWN, *PUBLISHED)) as name:
        yield name


def asking(name: str) -> httpx.Client:
    return httpx.Client(base_url=f"http://{docker('port', name, '8080/tcp')}", timeout=30)


def answers(name: str, path: str) -> httpx.Response:
    """Once it serves; before that nobody answers."""

    def get() -> httpx.Response | None:
        try:
            with asking(name) as client:
                return client.get(path)
        except httpx.TransportError:
            return None

    return eventually(get, lambda answer: answer is not None, within=60)


def test_it_serves_at_once_without_rights_and_without_a_shell(running: str) -> None:
    ten = answers(running, "/movies/top10")
    assert ten.status_code == 200
    assert len(ten.json()["result"]) == 10


def test_it_is_nobody(image: str, running: str) -> None:
    assert inspect(image)["Config"]["User"] == "10001:10001"
    answers(running, "/movies/top10")
    process = docker("top", running, "-o", "pid,uid,gid").splitlines()[1].split()
    assert process[1:] == ["10001", "10001"]


def test_it_tells_its_health(running: str) -> None:
    eventually(
        lambda: inspect(running)["State"]["Health"]["Status"],
        lambda status: status == "healthy",
        within=60,
    )
    last = inspect(running)["State"]["Health"]["Log"][-1]
    assert (last["ExitCode"], '"status":"ok"' in last["Output"]) == (0, True)


def test_a_stop_is_clean_and_what_was_acknowledged_is_there_again(image: str) -> None:
    path = "/movies/tt0068646/users/rate"
    with container(image, options=(*LOCKED_DOWN, *PUBLISHED)) as name:
        answers(name, "/movies/top10")
        token = docker("exec", name, "marquee", "token", "--user", "alice").split()[-1]
        alice = {"Authorization": f"Bearer {token}"}
        with asking(name) as client:
            assert client.post(path, json={"rate": 9.5}, headers=alice).status_code == 200
        docker("stop", name)
        assert inspect(name)["State"]["ExitCode"] == 0
        docker("start", name)
        answers(name, "/movies/top10")
        with asking(name) as client:
            assert client.get(path, headers=alice).json()["rate"] == 9.5


def test_a_backup_of_its_volume_comes_back(image: str) -> None:
    path, file = "/movies/tt0068646/users/rate", "/var/lib/marquee/marquee.zip"
    with container(image, options=(*LOCKED_DOWN, *PUBLISHED)) as name:
        answers(name, "/movies/top10")
        token = docker("exec", name, "marquee", "token", "--user", "alice").split()[-1]
        alice = {"Authorization": f"Bearer {token}"}
        with asking(name) as client:
            client.post(path, json={"rate": 9.5}, headers=alice).raise_for_status()
            docker("exec", name, "marquee", "backup", file)
            client.post(path, json={"rate": 1}, headers=alice).raise_for_status()
        docker("stop", name)
        docker("run", "--rm", "--volumes-from", name, image, "restore", file)
        docker("start", name)
        answers(name, "/movies/top10")
        with asking(name) as client:
            assert client.get(path, headers=alice).json()["rate"] == 9.5


def test_the_argument_picks_the_role(image: str) -> None:
    with container(image, "serve", "top-rated", options=(*LOCKED_DOWN, *PUBLISHED)) as name:
        assert answers(name, "/movies/top10").status_code == 200
        with asking(name) as client:
            assert client.get("/movies/tt0068646").status_code == 404
    said = docker("run", "--rm", image, "serve", "relay", status=2)
    assert "no relay by itself" in said


def test_it_says_what_it_is(image: str) -> None:
    labels = inspect(image)["Config"]["Labels"]
    prefix = "org.opencontainers.image."
    assert labels[f"{prefix}version"] == docker("run", "--rm", image, "--version").split()[-1]
    assert labels[f"{prefix}licenses"] == "Apache-2.0"
    assert labels[f"{prefix}revision"] == REVISION


def test_nothing_is_in_it_that_only_the_build_needs(image: str) -> None:
    files = contents(image)
    assert [file for file in files if BUILT_WITH.search(file)] == []
    ours = [file for file in files if file.startswith("/opt/marquee/lib/")]
    sources = {file for file in ours if file.endswith(".py")}
    compiled = {
        re.sub(r"__pycache__/(.+)\.cpython-\d+\.pyc$", r"\1.py", file)
        for file in ours
        if file.endswith(".pyc")
    }
    assert sources
    assert sources - compiled == set()


def contents(image: str) -> set[str]:
    every = ("/", "-xdev", "(", "-type", "f", "-o", "-type", "l", ")")
    return set(docker("run", "--rm", "--user=0", "--entrypoint=find", image, *every).splitlines())
