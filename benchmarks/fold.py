"""The fold: events a second, against the very statements that it asks of SQLite, without a thought
between them; and what an event costs the more was applied before."""

import asyncio
import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from marquee import garbage
from marquee.adapters.memory import MemoryNotices
from marquee.adapters.sqlite import Database, SqliteOutbox, SqliteTotals
from marquee.adapters.sqlite.database import connect
from marquee.aggregation import Aggregator

from .measuring import Row, Size, by_turns, folder, medians
from .stores import fill

MOVIES = 2000
EVENTS = 20_000
GOAL, GOAL_GROWTH = 0.8, 2.0

Statement = tuple[str, str, Any]
"""The connection's method, the SQL, its parameters."""


def rows(size: Size) -> Iterator[Row]:
    applied = [10**4, 10**5] + [10**6] * (not size.quick) + [10**7] * size.large
    with folder() as here:
        files = [here / f"{number}.db" for number in applied]
        for file, number in zip(files, applied, strict=True):
            fill(file, MOVIES, applied=number)
            send(file, raters=number // MOVIES)
        by_hand = here / "by_hand.db"
        shutil.copy(files[1], by_hand)
        statements = asyncio.run(listed(by_hand))
        garbage.settle()  # as `marquee serve` does
        *costs, hand = medians(
            by_turns(
                size.rounds,
                *(partial(on_copy, file, fold) for file in files),
                partial(on_copy, files[1], partial(replay, statements)),
            )
        )
    ours = costs[1]
    yield Row(
        f"the fold, on {applied[1]:,} applied ratings",
        f"{EVENTS / ours:,.0f} events/s",
        f"{EVENTS / hand:,.0f}/s same SQL by hand",
        hand / ours,
        f"≥ {GOAL}",
        hand / ours >= GOAL,
        {"marquee": EVENTS / ours, "by hand": EVENTS / hand},
    )
    growth = max(costs) / costs[0]
    yield Row(
        f"… an event, from {applied[0]:,} to {applied[-1]:,}",
        ", ".join(f"{cost / EVENTS * 1e6:.1f}" for cost in costs) + " µs",
        "the cost at the fewest",
        growth,
        f"≤ {GOAL_GROWTH}",
        growth <= GOAL_GROWTH,
        {f"µs at {n}": cost / EVENTS * 1e6 for n, cost in zip(applied, costs, strict=True)},
    )


def send(file: Path, raters: int) -> None:
    """Events in the outbox: half of them of new ratings, half of changed ones."""
    dice = random.Random(raters)
    version = time.time_ns() // 1000
    with closing(connect(file)) as connection:
        connection.executemany(
            "INSERT INTO outbox (movie_id, rater, version, value) VALUES (?, ?, ?, ?)",
            [
                (
                    f"m{dice.randrange(MOVIES):07}",
                    b"%016d" % dice.randrange(2 * raters),
                    version + number,
                    dice.randint(1, 20),
                )
                for number in range(EVENTS)
            ],
        )


def on_copy(file: Path, measure: Callable[[Path], float]) -> float:
    copy = file.with_name("copy.db")
    shutil.copy(file, copy)
    try:
        return measure(copy)
    finally:
        for left in copy.parent.glob("copy.db*"):
            left.unlink()


def fold(file: Path) -> float:
    """Seconds in which the stage folds all events."""

    async def main() -> float:
        database = await Database.open(file)
        try:
            stage = Aggregator(SqliteOutbox(database), SqliteTotals(database), MemoryNotices())
            start = time.perf_counter()
            await stage.drain()
            return time.perf_counter() - start
        finally:
            await database.close()

    return asyncio.run(main())


class Listing:
    """In the place of a ``Database`` and of its connection: does all at once, and lists it."""

    def __init__(self, file: Path) -> None:
        self.connection = connect(file)
        self.statements: list[Statement] = []

    async def read(self, job: Callable[[Any], Any], begin: str = "BEGIN") -> Any:
        self.execute(begin)
        done = job(self)
        self.execute("COMMIT")
        return done

    async def write(self, job: Callable[[Any], Any]) -> Any:
        return await self.read(job, "BEGIN IMMEDIATE")

    def on_commit(self, _: object) -> None:
        pass

    def execute(self, sql: str, values: Any = ()) -> sqlite3.Cursor:
        self.statements.append(("execute", sql, values))
        return self.connection.execute(sql, values)

    def executemany(self, sql: str, values: Any) -> sqlite3.Cursor:
        self.statements.append(("executemany", sql, values))
        return self.connection.executemany(sql, values)


async def listed(file: Path) -> list[Statement]:
    """Every statement of the fold, with its parameters."""
    listing: Any = Listing(file)
    with closing(listing.connection):
        await Aggregator(SqliteOutbox(listing), SqliteTotals(listing), MemoryNotices()).drain()
    return listing.statements


def replay(statements: list[Statement], file: Path) -> float:
    with closing(connect(file)) as connection:
        start = time.perf_counter()
        for method, sql, values in statements:
            getattr(connection, method)(sql, values).fetchall()
        return time.perf_counter() - start
