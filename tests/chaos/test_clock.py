"""A clock that is set back between two starts: what is done later wins all the same."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from marquee.adapters.keys import OwnKeys
from tests.api.asking import eventually
from tests.support.server import Server, marquee

HOUR = timedelta(hours=1)
ROOM = timedelta(minutes=5)


@pytest.fixture
def in_an_hour() -> dict[str, str]:
    """The variables with which a process believes it is an hour later."""
    if shutil.which("faketime") is None:
        pytest.skip("faketime is not there: apt install faketime")
    told = subprocess.run(
        ["faketime", "-m", "-f", "+1h", "env"], check=True, capture_output=True, text=True
    )
    found = dict(line.split("=", 1) for line in told.stdout.splitlines() if "=" in line)
    return {
        "LD_PRELOAD": found["LD_PRELOAD"],
        "FAKETIME": "+1h",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }


@contextmanager
def started(
    server: Server, monkeypatch: pytest.MonkeyPatch, clock: dict[str, str]
) -> Iterator[Server]:
    with monkeypatch.context() as patched:
        for name, value in clock.items():
            patched.setenv(name, value)
        server.start()
    try:
        yield server
        server.stop()
    finally:
        server.kill()


def client(server: Server, user: str, *scopes: str) -> httpx.Client:
    """With a token that is good now, and also in an hour."""
    keys = OwnKeys(server.data / "keys")
    token = keys.sign(user, scopes, 3 * HOUR.total_seconds(), "marquee", "marquee")
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=server.url, headers=headers, timeout=30)


def rated(you: httpx.Client, rate: float) -> datetime:
    answer = you.post("/movies/m1/users/rate", json={"rate": rate})
    assert answer.status_code == 200, answer.text
    return datetime.fromisoformat(answer.json()["ratedAt"])


def total(you: httpx.Client) -> tuple[int, float]:
    answer = you.get("/movies/m1/ratings").json()
    return answer["numberOfRatings"], answer["totalRatingScore"]


def ten(you: httpx.Client) -> list[float]:
    return [entry["averageRating"] for entry in you.get("/movies/top10").json()["result"]]


@pytest.mark.parametrize("taken_back", ["/movies/m1/users/rate", "/users/me/ratings"])
def test_taken_back_then_rated_an_hour_earlier(
    taken_back: str, tmp_path: Path, in_an_hour: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    server = Server(tmp_path)
    with started(server, monkeypatch, in_an_hour):
        with client(server, "editor", "movies:write") as editor:
            assert editor.put("/movies/m1", json={"title": "Primer"}).status_code == 201
        with client(server, "you") as you, client(server, "other") as other:
            before = rated(you, 3)
            assert before - datetime.now(UTC) > HOUR - ROOM, "the clock is not an hour ahead"
            eventually(lambda: total(you), lambda found: found == (1, 3))
            assert you.delete(taken_back).is_success
            eventually(lambda: total(you), lambda found: found == (0, 0))
            others = rated(other, 8)
            eventually(lambda: total(you), lambda found: found == (1, 8))
    with (
        started(server, monkeypatch, {}),
        client(server, "you") as you,
        client(server, "other") as other,
    ):
        assert rated(you, 10) > before
        eventually(lambda: total(you), lambda found: found == (2, 18))
        assert you.get("/movies/m1/users/rate").json()["rate"] == 10
        assert rated(other, 1) > others
        eventually(lambda: total(you), lambda found: found == (2, 11))
        eventually(lambda: ten(you), lambda found: found == [5.5])
        assert you.delete("/movies/m1/users/rate").status_code == 204
        eventually(lambda: total(you), lambda found: found == (1, 1))
    done = marquee("verify", data=server.data)
    assert (done.returncode, done.stdout) == (0, "all totals are what the ratings say\n")
