"""The outbox as event log: one partition, whose positions are the outbox's ids.

A single writer commits ids in their order, so that a reader behind one id has seen all below it.
"""

import asyncio
import sqlite3
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from ...events import encode, fault, faultless
from ...model import RatingChanged, Traced
from ...ports import Batch, Poison
from .database import Database, read_position

PRUNE_EVERY = 5000
"""Folded rows that may stand in the outbox: pruning them one by one would cost a commit each."""

LEAST_GATHER, MOST_GATHER = 0.1, 1.0
"""Seconds in which events gather after a batch that took all there were: a fold costs the less for
each event the more there are, so that many are let become more."""

GATHER_EACH = 1 / 4000
"""Seconds for each event of that batch."""

LOOK_EVERY = 0.2
"""Seconds after which a reader looks by itself: another process may have written."""

UP_TO = """
    SELECT max(id), count(trace)
    FROM (SELECT id, trace FROM outbox WHERE id > ? ORDER BY id LIMIT ?)"""
EVENTS = "SELECT movie_id, rater, version, value FROM outbox WHERE id > ? AND id <= ? ORDER BY id"
ONE_BY_ONE = """
    SELECT CAST(movie_id AS BLOB), rater, version, value, trace FROM outbox
    WHERE id > ? AND id <= ? ORDER BY id"""

event_of = partial(tuple.__new__, RatingChanged)  # a third of what its constructor takes


class SqliteOutbox:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._at: int | None = None
        self._pruned = 0
        self._next_look = 0.0
        self._written = asyncio.Event()
        database.on_commit(lambda _: self._written.set())

    async def poll(self, limit: int) -> Batch | None:
        await asyncio.sleep(self._next_look - time.monotonic())
        self._written.clear()
        batch = await self._look(limit)
        if batch is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY):
                    await self._written.wait()
                batch = await self._look(limit)
        if batch is not None and (taken := len(batch.events) + len(batch.poison)) < limit:
            gather = min(max(LEAST_GATHER, taken * GATHER_EACH), MOST_GATHER)
            self._next_look = time.monotonic() + gather
        return batch

    def seek(self, partition: int, position: int) -> None:
        self._at = position

    def again(self, batch: Batch) -> None:
        self._at = batch.start

    async def done(self, batch: Batch) -> None:
        if batch.end < self._pruned + PRUNE_EVERY:
            return
        await self._database.write(
            lambda connection: connection.execute("DELETE FROM outbox WHERE id <= ?", (batch.end,))
        )
        self._pruned = batch.end

    async def behind(self) -> int:
        return await self._database.read(
            lambda connection: max(0, last_id(connection) - read_position(connection, 0).offset)
        )

    async def ends(self) -> dict[int, int]:
        return {0: await self._database.read(last_id)}

    async def check(self) -> None:
        pass  # the outbox lives and dies with the totals

    async def bridges(self) -> Sequence[Batch]:
        return ()

    async def _look(self, limit: int) -> Batch | None:
        batch = await self._database.read(lambda connection: self._next(connection, limit))
        self._at = None if batch is None else batch.end
        return batch

    def _next(self, connection: sqlite3.Connection, limit: int) -> Batch | None:
        start = read_position(connection, 0).offset if self._at is None else self._at
        end, traced = connection.execute(UP_TO, (start, limit)).fetchone()
        if end is None:
            return None
        if not traced and (events := read_all(connection, start, end)) is not None:
            return Batch(events, start=start, end=end)
        events, poison = read_one_by_one(connection, start, end)
        return Batch(events, poison, start=start, end=end)


def read_all(connection: sqlite3.Connection, start: int, end: int) -> list[RatingChanged] | None:
    """The events in (start, end]; None where one of them is none."""
    try:
        rows = connection.execute(EVENTS, (start, end))
        events = [*map(event_of, rows)]
    except sqlite3.OperationalError:  # also of what is no UTF-8
        return None
    return events if faultless(events) else None


def read_one_by_one(
    connection: sqlite3.Connection, start: int, end: int
) -> tuple[list[RatingChanged], list[Poison]]:
    """The same with what is no event set aside, and with where each comes from in a trace."""
    events, poison = [], []
    for movie_id, *rest, trace in connection.execute(ONE_BY_ONE, (start, end)):
        event = RatingChanged(movie_id.decode(errors="replace"), *rest)
        if (error := fault(event)) is None:
            events.append(Traced.behind(event, trace or ""))
        else:
            poison.append(Poison(encode(event), error))
    return events, poison


def last_id(connection: sqlite3.Connection) -> int:
    """Of what is not pruned; 0 where all is."""
    (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM outbox").fetchone()
    return int(last)
