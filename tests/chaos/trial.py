"""A whole system under a modest load, something that happens to it, and what that cost.

Raters keep to a ledger. Readers of the ten must never meet an error. *Canaries* tell how late
totals are: each rates a movie of its own, as one user after another, and waits until it counts.
"""

import asyncio
import http.client
import json
import os
import secrets
import signal
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from random import Random
from typing import Any, NamedTuple, Protocol

import jwt
import pytest

from marquee import config, wiring
from marquee.adapters.keys import OwnKeys
from marquee.wiring import Stores
from tests.api.asking import eventually
from tests.chaos import ledger
from tests.chaos.costs import Cost
from tests.chaos.ledger import ROUNDS, Ledger, Operation, operations, stock, totals
from tests.support.clock import shifted
from tests.support.server import Server, environment
from tests.support.system import System

RATERS, USERS, MOVIES, CANARIES, READERS = 10, 100, 40, 4, 2
PER_SECOND = 100 if ROUNDS else 40
"""Operations of all raters together: fewer where other tests run beside them."""

PATIENT, BRIEF = 60.0, 5.0
"""Seconds for which a rater waits for an answer, and a reader before it asks another process."""

REGRET = 3.0
"""Seconds after which a user who got no answer acts again. What was cut off may still come to be: a
rating as of when it was sent, an erasure as of two seconds later."""

AFTERWARDS = 2 * PER_SECOND
"""Operations that must still be acknowledged after a fault."""

STUCK = 5 * PATIENT
"""Seconds after which whoever should have come to an end never will."""

CLEAN = "all totals are what the ratings say\n"


class CutOff(Exception):
    """A request was sent, and nobody answered."""


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class Line:
    """Asks a process of a role; the next one where that can't be reached, as a gateway does."""

    def __init__(self, processes: Sequence[Server], first: int = 0, within: float = PATIENT):
        self._processes = processes
        self._turn = first
        self._within = within
        self._connection: http.client.HTTPConnection | None = None

    @property
    def server(self) -> Server:
        return self._processes[self._turn % len(self._processes)]

    def ask(
        self, method: str, path: str, body: str = "", headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = self._connect()
        try:
            connection.request(method, path, body or None, dict(headers or {}))
            with connection.getresponse() as response:
                return Answer(response.status, response.headers, response.read())
        except (OSError, http.client.HTTPException) as error:
            self._turn_away()
            raise CutOff from error

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _connect(self) -> http.client.HTTPConnection:
        patience = time.monotonic() + PATIENT
        while self._connection is None:
            connection = http.client.HTTPConnection(*self.server.address, timeout=self._within)
            try:
                connection.connect()
                self._connection = connection
            except OSError:
                self._turn_away()
                assert time.monotonic() < patience, "no process of this role takes connections"
                time.sleep(0.02)
        return self._connection

    def _turn_away(self) -> None:
        self.close()
        self._turn += 1


class Actor(Protocol):
    def act(self) -> None: ...
    def close(self) -> None: ...


class Crowd:
    """Each acts over and over, in a thread of its own, until told to stop."""

    def __init__(self, actors: Sequence[Actor], stopped: threading.Event) -> None:
        self._stopped = stopped
        self._wrong: list[BaseException] = []
        self._actors = actors
        self._threads = [
            threading.Thread(target=self._go_on, args=(actor,), daemon=True) for actor in actors
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        patience = time.monotonic() + STUCK
        for thread in self._threads:
            thread.join(max(0, patience - time.monotonic()))
            if thread.is_alive():
                self._wrong.append(AssertionError("somebody never came to an end"))
        for actor in self._actors:
            actor.close()

    def check(self) -> None:
        for wrong in self._wrong:
            raise wrong

    def _go_on(self, actor: Actor) -> None:
        try:
            while not self._stopped.is_set():
                actor.act()
        except BaseException as error:  # noqa: BLE001 - the test raises it
            self._wrong.append(error)


class Rater:
    """Acts for some users in turn, so often a second and never more."""

    def __init__(
        self,
        processes: Sequence[Server],
        number: int,
        users: Sequence[str],
        told: Ledger,
        seed: str,
        pause: float,
    ) -> None:
        self._line = Line(processes, number)
        self._told = told
        self.users = users
        self._dice = Random(f"{seed} {number}")
        self._operations = operations(self._dice, told.movies)
        self._pause = pause
        self._next = time.monotonic()
        self._headers = {user: headers(self._line.server, user) for user in users}
        self.answers = 0
        self.errors = Counter[str]()
        self.stall = 0.0

    def act(self) -> None:
        self._next = max(self._next + self._pause, time.monotonic())
        time.sleep(max(0, self._next - time.monotonic()))
        self.do(self._dice.choice(self.users), next(self._operations))

    def do(self, user: str, operation: Operation) -> None:
        self._told.send(user, operation)
        answer = self._ask(user, operation)
        if answer is None or answer.status == 503:
            assert answer is None or answer.headers["Retry-After"]
            self._told.doubt(user, operation)
            self.errors["503" if answer else "cut off"] += 1
            time.sleep(REGRET)
            return
        assert answer.status in {200, 202, 204}, answer
        rated_at = json.loads(answer.body).get("ratedAt", "") if answer.body else ""
        self._told.acknowledge(user, operation, rated_at)
        self.answers += 1

    def close(self) -> None:
        self._line.close()

    def _ask(self, user: str, operation: Operation) -> Answer | None:
        began = time.monotonic()
        try:
            return self._line.ask(*operation.request(), self._headers[user])
        except CutOff:
            return None
        finally:
            self.stall = max(self.stall, time.monotonic() - began)


class Reader:
    """Reads the ten. No answer is a failure; so is an older one than before from the same process,
    but where (``restored``) what it is made of was set back."""

    def __init__(self, processes: Sequence[Server], number: int, *, restored: bool) -> None:
        self._line = Line(processes, number, BRIEF)
        self._restored = restored
        self._tries = len(processes)
        self._updated: dict[str, str] = {}
        self.slowest = 0.0

    def act(self) -> None:
        time.sleep(0.05)
        began = time.monotonic()
        answer = self._read()
        self.slowest = max(self.slowest, time.monotonic() - began)
        assert answer.status == 200, answer
        url, updated = self._line.server.url, json.loads(answer.body)["updatedAt"]
        older = updated < self._updated.get(url, "")
        assert self._restored or not older, f"{url} gave an older ten again"
        self._updated[url] = updated

    def close(self) -> None:
        self._line.close()

    def _read(self) -> Answer:
        for _ in range(self._tries):
            with suppress(CutOff):
                return self._line.ask("GET", "/movies/top10")
        raise AssertionError("nobody gave the ten")


class Canary:
    """``late``: the longest from a rating's acknowledgement until its movie's totals had it.
    ``counted``: when the last one that they have was sent."""

    def __init__(self, system: System, movie: str, stopped: threading.Event) -> None:
        self._rating = Line(system.of("ratings"))
        self._totals = Line(system.of("movies"), within=BRIEF)
        self._headers = headers(system.of("ratings")[0], "service", "ratings:write:any")
        self._stopped = stopped
        self.movie = movie
        self.number = 0
        self.late = 0.0
        self.counted = 0.0

    def act(self) -> None:
        rated_at = time.monotonic()
        self._rate()
        acknowledged = time.monotonic()
        while (found := self._count()) < self.number and not self._stopped.wait(0.1):
            pass
        assert found <= self.number, f"{self.movie} was rated {self.number} times, not {found}"
        now = time.monotonic()
        self.late = max(self.late, now - acknowledged)
        if found == self.number:
            self.counted = rated_at

    def close(self) -> None:
        self._rating.close()
        self._totals.close()

    def _rate(self) -> None:
        path, body = f"/movies/{self.movie}/ratings", {"ratingScore": 7}
        body |= {"userId": f"{self.movie}-{self.number}"}
        self.number += 1
        patience = time.monotonic() + STUCK / 2
        while True:  # also where it is to stop: then its number is known
            with suppress(CutOff):
                answer = self._rating.ask("POST", path, json.dumps(body), self._headers)
                if answer.status == 201:
                    return
                assert answer.status == 503, answer
            assert time.monotonic() < patience, "no rating of a canary's was taken"
            time.sleep(0.2)

    def _count(self) -> int:
        with suppress(CutOff):
            answer = self._totals.ask("GET", f"/movies/{self.movie}/ratings")
            if answer.status == 200:
                return int(json.loads(answer.body)["numberOfRatings"])
            assert answer.status == 503, answer
        return 0


def headers(server: Server, user: str, *scopes: str) -> dict[str, str]:
    """With a token that is good for hours, and also where the clock is an hour ahead or behind."""
    keys = OwnKeys(server.data / "keys")
    claims = {"iss": "marquee", "aud": "marquee", "sub": user, "scope": " ".join(scopes)}
    claims["exp"] = int(time.time()) + 6 * 3600
    token = jwt.encode(claims, keys._private, "EdDSA", headers={"kid": keys.keys[0].key_id})
    return {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}


class Trial:
    """``over()`` when the fault is over, that is when all is there again or nothing more will be.

    ``swept``: what was cut in half is left to the sweep of the outbox, else whoever got no answer
    asks again in the end. ``restored``: the movie store goes back to what it was, and the ten may.
    """

    def __init__(
        self,
        system: System,
        fault: str,
        *,
        swept: bool = False,
        restored: bool = False,
        per_second: int = PER_SECOND,
    ) -> None:
        name = secrets.token_hex(3)
        seed = f"{ledger.seed()} {fault}"
        users = [f"{name}-{n}" for n in range(USERS)]
        movies = [f"{name}-m{n}" for n in range(MOVIES)]
        self.cost = Cost(fault, busy=round(os.getloadavg()[0], 1))
        self._system = system
        self._swept = swept
        self._over = 0.0
        self._logged = {name: len(process.log) for name, process in system.processes.items()}
        self._told = Ledger(users, movies)
        ratings, readers = system.of("ratings"), system.of("top-rated")
        pause = RATERS / per_second
        self._raters = [
            Rater(ratings, n, users[n::RATERS], self._told, seed, pause) for n in range(RATERS)
        ]
        self._readers = [Reader(readers, n, restored=restored) for n in range(READERS)]
        stopped = threading.Event()
        self.canaries = [Canary(system, f"{name}-c{n}", stopped) for n in range(CANARIES)]
        self._rating = Crowd(self._raters, threading.Event())
        self._reading = Crowd(self._readers, threading.Event())
        self._waiting = Crowd(self.canaries, stopped)
        self._crowds = [self._rating, self._reading, self._waiting]

    @property
    def answers(self) -> int:
        return sum(rater.answers for rater in self._raters)

    def start(self) -> None:
        stock(self._system.of("movies")[0], [*self._told.movies, *(c.movie for c in self.canaries)])
        for crowd in self._crowds:
            crowd.start()
        self.go_on()

    def go_on(self, within: float = 60) -> None:
        """Until so many more operations were acknowledged, and each canary has seen another."""
        answers = self.answers + AFTERWARDS
        numbers = {canary: canary.number + 2 for canary in self.canaries}
        self.until(lambda: self.answers >= answers, within)
        self.until(lambda: all(canary.number >= n for canary, n in numbers.items()), within)

    def until(self, holds: Callable[[], bool], within: float = 60) -> None:
        def look() -> bool:
            for crowd in self._crowds:
                crowd.check()
            return holds()

        eventually(look, bool, within)

    def last(self, seconds: float) -> None:
        """Let that much time go by under load."""
        end = time.monotonic() + seconds
        self.until(lambda: time.monotonic() > end, seconds + 10)

    def over(self) -> None:
        self._over = time.monotonic()

    def end(self, within: float) -> None:
        """All that was acknowledged stands, and counts."""
        if not self._over:
            self.over()
        self.until(lambda: all(canary.counted > self._over for canary in self.canaries), within)
        self.cost.true = time.monotonic() - self._over
        self.go_on(within)
        self._rating.stop()
        self._waiting.stop()
        self._make_sure()
        self._told.count(self._system.of("movies")[0], within)
        if self._swept:
            self.cost.true = time.monotonic() - self._over
        self._check_canaries()
        self._check_tens()
        self._reading.stop()
        for crowd in self._crowds:
            crowd.check()
        assert self._system.command("verify") == CLEAN
        self._check_processes()
        self._sum_up()

    def stop(self) -> None:
        for crowd in self._crowds:
            crowd.stop()

    def _make_sure(self) -> None:
        ratings = self._system.of("ratings")[-1]  # the first may have another time
        if self._swept:  # it waits for what was acknowledged, and so does whatever was not
            done = self._system.command("rebuild", "--movie", self.canaries[0].movie)
            assert done == "0 movies were put right\n"
        self._told.read_back(ratings)
        if not self._swept:
            for user, movie in sorted(self._told.doubted):
                rater = next(rater for rater in self._raters if user in rater.users)
                rater.do(user, Operation(movie, 5))
                rater.close()
            assert not self._told.doubted

    def _check_canaries(self) -> None:
        with self._system.of("movies")[0].client() as client:
            for canary in self.canaries:
                counts = lambda canary=canary: totals(client, canary.movie)  # noqa: E731
                eventually(counts, {7: canary.number}.__eq__)

    def _check_tens(self) -> None:
        """Every reader's ten follows to what the totals are."""
        with self._system.of("movies")[0].client() as movies:
            for server in self._system.of("top-rated"):
                with server.client() as reader:
                    ten = lambda: reader.get("/movies/top10").json()["result"]  # noqa: E731
                    eventually(ten, lambda found: found == [like(movies, e) for e in found])

    def _check_processes(self) -> None:
        for name, process in self._system.processes.items():
            assert process.alive, f"{name} has ended:\n{process.log[-3000:]}"
            log = process.log[self._logged[name] :]
            assert "Traceback" not in log, f"{name}:\n{log[log.index('Traceback') - 500 :][:5000]}"

    def _sum_up(self) -> None:
        cost = self.cost
        cost.answers = self.answers
        cost.errors = dict(sum((rater.errors for rater in self._raters), Counter[str]()))
        cost.stall = round(max(rater.stall for rater in self._raters), 3)
        cost.late = round(max(canary.late for canary in self.canaries), 2)
        cost.true = round(cost.true, 2)
        cost.read = round(max(reader.slowest for reader in self._readers), 4)


def like(movies, entry):
    """An entry of a chart, with the figures of the movie's totals."""
    found = movies.get(f"/movies/{entry['id']}/ratings").json()
    return entry | {name: found[name] for name in ("numberOfRatings", "totalRatingScore")}


@contextmanager
def trial(system: System, fault: str, *, within: float = 60, **options: Any) -> Iterator[Trial]:
    """The fault happens in the block. ``within``: seconds until totals must be true again."""
    found = Trial(system, fault, **options)
    try:
        found.start()
        yield found
        found.end(within)
    finally:
        found.stop()


# ---- what happens


class Victim(Protocol):
    """A process of ours, or a server of the engine."""

    def start(self) -> object: ...
    def kill(self) -> None: ...
    def signal(self, number: signal.Signals) -> None: ...


@contextmanager
def killed(*victims: Victim) -> Iterator[None]:
    """``kill -9``; back after the block."""
    for victim in victims:
        victim.kill()
    yield
    for victim in victims:
        victim.start()


@contextmanager
def frozen(*victims: Victim) -> Iterator[None]:
    for victim in victims:
        victim.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for victim in victims:
            victim.signal(signal.SIGCONT)


def come_and_go(third: Server, trial: Trial) -> None:
    """One more of a role joins every 3 s, and dies (kill -9) or leaves, eight times."""
    try:
        for number in range(8):
            third.start()
            trial.last(2)
            (third.kill if number % 2 else third.stop)()
            trial.last(1)
    finally:
        third.kill()


@contextmanager
def clock_off(victim: Server, offset: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process believes that it is so much earlier or later. It does not run afterwards."""
    victim.stop()
    with monkeypatch.context() as patched:
        for name, value in shifted(offset).items():
            patched.setenv(name, value)
        victim.start()
    try:
        yield
    finally:
        victim.kill()


def rated_by(process: Server, system: System) -> datetime:
    """When it says that a movie was rated, now."""
    movie = f"m-{secrets.token_hex(4)}"
    stock(system.of("movies")[0], [movie])
    with process.client() as client:
        asked = headers(process, "somebody")
        answer = client.post(f"/movies/{movie}/users/rate", json={"rate": 7}, headers=asked)
    assert answer.status_code == 200, answer
    return datetime.fromisoformat(answer.json()["ratedAt"])


@contextmanager
def beside(
    system: System, needs: tuple[str, ...], act: Callable[[Stores], Awaitable[None]]
) -> Iterator[None]:
    """Another process's part, on the same stores, in a thread."""
    failed: list[BaseException] = []
    loop = asyncio.new_event_loop()
    settings = config.load({}, environment(data=system.folder / "data", **system.settings))

    async def main() -> None:
        async with wiring.open_stores(settings, needs=needs) as stores:
            await act(stores)

    task = loop.create_task(main())

    def run() -> None:
        try:
            loop.run_until_complete(task)
        except asyncio.CancelledError:
            pass
        except BaseException as error:  # noqa: BLE001 - the test raises it
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join(60)  # a loop that still runs can not be closed
        loop.close()
    for error in failed:
        raise error
