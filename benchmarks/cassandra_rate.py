"""A rating kept on Cassandra, 64 at a time in one process, against its three statements from a bare
loop of the driver's. Needs ``make engine``."""

import asyncio
import random
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from itertools import count
from typing import Any

import uvloop
from cassandra.cluster import Session

from marquee import garbage
from marquee.adapters import cassandra
from marquee.adapters.cassandra import driver
from marquee.adapters.cassandra.address import parse
from marquee.adapters.cassandra.ratings import HIGHEST, PUT, SEND
from tests.support import cassandra as keyspaces

from .measuring import Row, Size, by_turns, medians
from .servers import needed

USERS, MOVIES = 500, 2000
WRITES = 5000
IN_FLIGHT = 64
SHARDS = 16
GOAL = 0.6


def rows(size: Size) -> Iterator[Row]:
    url = keyspaces.new(needed("cassandra")["MARQUEE_RATINGS_URL"])
    try:
        cassandra.migrate(url, SHARDS)
        with driver.connected(parse(url)) as session:
            session.set_keyspace(parse(url).keyspace)
            bare = Bare(session)
            garbage.settle()  # as `marquee serve` does
            measures = partial(kept, url), bare.rate
            ours, hand = medians(by_turns(size.rounds, *measures))
    finally:
        keyspaces.drop(url)
    yield Row(
        f"a rating on Cassandra, {IN_FLIGHT} at a time",
        f"{ours:,.0f}/s",
        f"{hand:,.0f}/s the driver's bare loop",
        ours / hand,
        f"≥ {GOAL}",
        ours / hand >= GOAL,
        {"marquee": ours, "bare": hand},
    )


def pair() -> tuple[str, str, int]:
    user, movie = random.randrange(USERS), random.randrange(MOVIES)
    return f"user-{user}", f"m{movie:07}", random.randint(1, 20)


def kept(url: str) -> float:
    """Ratings a second that ``CassandraRatings`` keeps."""

    async def main() -> float:
        async with keyspaces.connected(url) as keyspace:
            ratings = cassandra.CassandraRatings(keyspace)
            await ratings.write(*pair())  # prepares the statements
            left = iter(range(WRITES))
            start = time.perf_counter()
            await asyncio.gather(*(rate(ratings.write, left) for _ in range(IN_FLIGHT)))
            return WRITES / (time.perf_counter() - start)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


async def rate(write: Callable[..., Awaitable[Any]], left: Iterator[int]) -> None:
    for _ in left:
        await write(*pair())


class Bare:
    """The same statements, from one answer to the next, in the driver's own thread."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._send, self._highest, self._put = map(session.prepare, (SEND, HIGHEST, PUT))
        for statement in (self._send, self._highest, self._put):
            statement.is_idempotent = True

    def rate(self) -> float:
        left, ended, done = iter(range(WRITES)), count(1), threading.Event()

        def begin(_: object = None) -> None:
            if next(left, None) is None:
                return
            user, movie, value = pair()
            now = time.time_ns() // 1000
            halves = count(1)

            def half(_: object) -> None:
                if next(halves) == 2:
                    self._ask(self._put, (now, value, user, movie), end)

            bucket = now % SHARDS, now // 60_000_000
            self._ask(self._highest, (user, movie), half)
            self._ask(self._send, (*bucket, now, now, user, movie, value, now), half)

        def end(_: object) -> None:
            if next(ended) == WRITES:
                done.set()
            begin()

        start = time.perf_counter()
        for _ in range(IN_FLIGHT):
            begin()
        assert done.wait(60)
        return WRITES / (time.perf_counter() - start)

    def _ask(self, statement: Any, values: tuple[Any, ...], then: Callable[[Any], None]) -> None:
        self._session.execute_async(statement.bind(values)).add_callback(then)
