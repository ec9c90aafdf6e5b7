"""Users who rate, change, remove and erase against a real server, and a ledger of what they were
told: after whatever happened to the server, it must hold that, and nothing else.

What each user does follows from the seed, that is printed and that ``MARQUEE_TEST_SEED`` sets; how
far they come, and so when exactly a server dies, is up to the machine.
"""

import http.client
import json
import os
import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from random import Random, SystemRandom
from typing import Any, NamedTuple

import httpx

from tests.api.asking import eventually
from tests.support.server import Server

MOVIES = tuple(f"m{number}" for number in range(8))
USERS = tuple(f"user-{number}" for number in range(6))

ROUNDS = int(os.environ.get("MARQUEE_TEST_ROUNDS", "0"))
"""How often what takes its chances is tried; 0: as often as ``make test`` has time for."""


def seed() -> int:
    found = int(os.environ.get("MARQUEE_TEST_SEED") or SystemRandom().randrange(1 << 32))
    print(f"MARQUEE_TEST_SEED={found}")
    return found


class Operation(NamedTuple):
    """Rates ``movie_id``; removes the rating where ``rate`` is None, all of them where both are."""

    movie_id: str | None
    rate: float | None

    def request(self) -> tuple[str, str, str]:
        if self.movie_id is None:
            return "DELETE", "/users/me/ratings", ""
        path = f"/movies/{self.movie_id}/users/rate"
        if self.rate is None:
            return "DELETE", path, ""
        return "POST", path, json.dumps({"rate": self.rate})


def operations(dice: Random, movies: Sequence[str] = MOVIES) -> Iterator[Operation]:
    while True:
        chance = dice.random()
        if chance < 0.01:
            yield Operation(None, None)
        elif chance < 0.15:
            yield Operation(dice.choice(movies), None)
        else:
            yield Operation(dice.choice(movies), dice.randint(1, 20) / 2)


class Ledger:
    """By user and movie: which rates may be there now (None: no rating), and when the user was
    last told to have rated.

    An operation widens what may be there when it is sent; its answer, or what is read back, says
    which it is. Each user's operations come one after another.
    """

    def __init__(self, users: Sequence[str] = USERS, movies: Sequence[str] = MOVIES) -> None:
        self.users = tuple(users)
        self.movies = tuple(movies)
        self._may: dict[str, dict[str, list[float | None]]] = {
            user: {movie: [None] for movie in movies} for user in users
        }
        self._told: dict[tuple[str, str], str] = {}
        self.doubted: set[tuple[str, str]] = set()

    def send(self, user: str, operation: Operation) -> None:
        for movie in self._meant(operation):
            self._may[user][movie].append(operation.rate)

    def acknowledge(self, user: str, operation: Operation, rated_at: str) -> None:
        for movie in self._meant(operation):
            self._may[user][movie] = [operation.rate]
            if rated_at:
                self._newer(user, movie, rated_at)
        if operation.movie_id is not None:  # an erasure meets only what is there
            self.doubted.discard((user, operation.movie_id))

    def doubt(self, user: str, operation: Operation) -> None:
        """It may have been cut in half: counted, and not there, until it is swept or done again."""
        self.doubted.update((user, movie) for movie in self._meant(operation))

    def settle(self, server: Server) -> None:
        """Read back what every user has: it may be so. The totals follow from it."""
        self.read_back(server)
        self.count(server)

    def read_back(self, server: Server) -> None:
        with server.client() as client:
            for user, may in self._may.items():
                answer = client.get(
                    "/users/me/ratings",
                    params={"limit": 250},
                    headers=server.authorization(user),
                )
                found = {rating["movieId"]: rating for rating in answer.json()["result"]}
                for movie in may:
                    self._find(user, movie, found.get(movie, {}))

    def _find(self, user: str, movie: str, rating: dict[str, Any]) -> None:
        may = self._may[user][movie]
        rate, rated_at = rating.get("rate"), rating.get("ratedAt", "")
        assert rate in may, f"{user} has {rate} for {movie}, and was told {may}"
        if rate is not None and self._told.get((user, movie)) != rated_at:
            assert len(may) > 1, f"{user} was told of another time for {movie}"
            self._newer(user, movie, rated_at)
        self._may[user][movie] = [rate]

    def count(self, server: Server, within: float = 60) -> None:
        """Have the server's totals become those of the ledger, in which nothing may be open."""
        expected = {movie: self.counts(movie) for movie in self.movies}
        with server.client() as client:

            def wrong() -> dict[str, tuple[dict[float, int], dict[float, int]]]:
                found = {movie: (totals(client, movie), expected[movie]) for movie in expected}
                return {movie: both for movie, both in found.items() if both[0] != both[1]}

            eventually(wrong, lambda found: not found, within)

    def counts(self, movie: str) -> dict[float, int]:
        """How often each rate of a movie is there."""
        counts: dict[float, int] = defaultdict(int)
        for may in self._may.values():
            (rate,) = may[movie]
            if rate is not None:
                counts[rate] += 1
        return dict(counts)

    def _newer(self, user: str, movie: str, rated_at: str) -> None:
        told = self._told.get((user, movie), "")
        assert rated_at > told, f"{user}'s rating of {movie} went back from {told} to {rated_at}"
        self._told[user, movie] = rated_at

    def _meant(self, operation: Operation) -> tuple[str, ...]:
        return self.movies if operation.movie_id is None else (operation.movie_id,)


def totals(client: httpx.Client, movie: str) -> dict[float, int]:
    """A movie's distribution, once all that the answer says of it is found to agree."""
    answer = client.get(f"/movies/{movie}/ratings").json()
    counts = {step["score"]: step["count"] for step in answer["distribution"] if step["count"]}
    assert answer["numberOfRatings"] == sum(counts.values())
    assert answer["totalRatingScore"] == sum(score * count for score, count in counts.items())
    return counts


def stock(server: Server, movies: Sequence[str] = MOVIES) -> None:
    """Put the ledger's movies into the catalogue."""
    with server.client("editor", "movies:write") as client:
        for movie in movies:
            assert client.put(f"/movies/{movie}", json={"title": movie}).is_success


class Load:
    """All users at once, each on a connection of their own, until told to stop or cut off."""

    def __init__(self, server: Server, ledger: Ledger, seed: object) -> None:
        self._server = server
        self._ledger = ledger
        self._stopped = threading.Event()
        self._wrong: list[BaseException] = []
        self._answers = 0
        self.refusals: list[str] = []
        self._threads = [
            threading.Thread(target=self._act, args=(user, Random(f"{seed} {user}")), daemon=True)
            for user in ledger.users
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Returns when everyone has their answer, or none can come; fails where one was wrong."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(120)
            assert not thread.is_alive()
        for wrong in self._wrong:
            raise wrong

    def await_answers(self, number: int) -> None:
        """So many more operations were acknowledged."""
        number += self._answers
        eventually(lambda: self._answers, lambda answers: answers >= number or bool(self._wrong))

    def _act(self, user: str, dice: Random) -> None:
        try:
            self._converse(user, dice)
        except (OSError, http.client.HTTPException):
            pass  # cut off; what became of the last operation is read back
        except BaseException as error:  # noqa: BLE001 - the test raises it
            self._wrong.append(error)

    def _converse(self, user: str, dice: Random) -> None:
        headers = self._server.authorization(user) | {"Content-Type": "application/json"}
        with closing(http.client.HTTPConnection(*self._server.address, timeout=60)) as connection:
            self._ask(connection, user, headers, dice)

    def _ask(
        self,
        connection: http.client.HTTPConnection,
        user: str,
        headers: dict[str, str],
        dice: Random,
    ) -> None:
        for operation in operations(dice, self._ledger.movies):
            if self._stopped.is_set():
                return
            method, path, body = operation.request()
            self._ledger.send(user, operation)
            connection.request(method, path, body or None, headers)
            with connection.getresponse() as response:
                answer = response.read()
            if response.status == 503:
                assert response.headers["Retry-After"]
                self.refusals.append(json.loads(answer)["detail"])
                continue
            assert response.status in {200, 202, 204}, answer
            rated_at = json.loads(answer).get("ratedAt", "") if answer else ""
            self._ledger.acknowledge(user, operation, rated_at)
            self._answers += 1


@contextmanager
def load(server: Server, ledger: Ledger, seed: object) -> Iterator[Load]:
    under = Load(server, ledger, seed)
    under.start()
    try:
        under.await_answers(len(ledger.users))
        yield under
    finally:
        under.stop()
