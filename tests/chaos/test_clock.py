"""A clock that is set back between two starts: what is done later wins all the same."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from marquee.adapters.keys import OwnKeys
from tests.api.asking import eventually
from tests.support.clock import shifted
from tests.support.server import Server, marquee

HOUR = timedelta(hours=1)
ROOM = timedelta(minutes=5)
USERS = ("removes", "erases", "stays")


@pytest.fixture
def in_an_hour() -> dict[str, str]:
    """The variables with which a process believes it is an hour later."""
    return shifted("+1h")


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


def rate(user: httpx.Client, rate: float) -> datetime:
    answer = user.post("/movies/m1/users/rate", json={"rate": rate})
    assert answer.status_code == 200, answer.text
    return datetime.fromisoformat(answer.json()["ratedAt"])


def await_total(number: int, total: float, user: httpx.Client) -> None:
    def look() -> tuple[int, float]:
        answer = user.get("/movies/m1/ratings").json()
        return answer["numberOfRatings"], answer["totalRatingScore"]

    eventually(look, lambda found: found == (number, total))


def ten(user: httpx.Client) -> list[float]:
    return [entry["averageRating"] for entry in user.get("/movies/top10").json()["result"]]


def test_what_is_done_an_hour_earlier_is_done_later(
    tmp_path: Path, in_an_hour: dict[str, str], monkeypatch: pytest.MonkeyPatch
):
    server = Server(tmp_path)
    with started(server, monkeypatch, in_an_hour), ExitStack() as stack:
        removes, erases, stays = (stack.enter_context(client(server, u)) for u in USERS)
        editor = stack.enter_context(client(server, "editor", "movies:write"))
        assert editor.put("/movies/m1", json={"title": "Primer"}).status_code == 201
        before = [rate(user, 3) for user in (removes, erases, stays)]
        assert before[0] - datetime.now(UTC) > HOUR - ROOM, "the clock is not an hour ahead"
        await_total(3, 9, stays)
        assert removes.delete("/movies/m1/users/rate").status_code == 204
        assert erases.delete("/users/me/ratings").status_code == 202
        await_total(1, 3, stays)
        eventually(lambda: ten(stays), lambda found: found == [3])
    with started(server, monkeypatch, {}), ExitStack() as stack:
        removes, erases, stays = (stack.enter_context(client(server, u)) for u in USERS)
        again = [rate(removes, 10), rate(erases, 9), rate(stays, 2)]
        assert all(later > earlier for earlier, later in zip(before, again, strict=True))
        await_total(3, 21, stays)
        eventually(lambda: ten(stays), lambda found: found == [7])
        assert removes.get("/movies/m1/users/rate").json()["rate"] == 10
        assert erases.delete("/movies/m1/users/rate").status_code == 204
        await_total(2, 12, stays)
    done = marquee("verify", data=server.data)
    assert (done.returncode, done.stdout) == (0, "all totals are what the ratings say\n")
