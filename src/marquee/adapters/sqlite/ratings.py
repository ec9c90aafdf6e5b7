"""The rating store: a rating and its event in one transaction."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from functools import lru_cache, partial

from ...model import REMOVED, Applied, Erasure, Merged, Rating, VersionClock, merge, rater_of
from ...tracing import UNTRACED
from .database import PAGE, Database, agreed, execute_for_all, now_us

LAST = """
    WITH asked (user_id, movie_id, rater) AS (VALUES {})
    SELECT user_id, movie_id, max(coalesce(rating.version, 0),
        (SELECT coalesce(max(version), 0) FROM erasure WHERE rater = asked.rater))
    FROM asked LEFT JOIN rating USING (user_id, movie_id)"""
KEEP = """
    INSERT INTO rating (user_id, movie_id, value, version) VALUES {}
    ON CONFLICT DO UPDATE SET value = excluded.value, version = excluded.version"""
SEND = "INSERT INTO outbox (movie_id, rater, version, value, trace) VALUES {}"
KEEP_RECEIPT = "INSERT INTO erasure (rater, version, count) VALUES (?, ?, ?)"
READ = "SELECT value, version FROM rating WHERE user_id = ? AND movie_id = ?"

RATERS_KEPT = 10_000
"""Raters that are remembered. What their hash costs is not its making, but that this lets another
thread take its turn."""


Asked = tuple[str, str, int, bytes, str | None]
"""A write: user, movie, value, rater, place in a trace."""


class SqliteRatings:
    """``here``: where a call is in a trace (``Tracer.here``)."""

    def __init__(self, database: Database, rater_key: bytes, here: Callable[[], str]) -> None:
        self._database = database
        self._here = here
        self.rater = lru_cache(RATERS_KEPT)(partial(rater_of, rater_key))
        self._clock = VersionClock(now_us)  # belongs to the writer's thread
        self._kept = 0
        database.around(self._read_clock, self._keep_clock)

    @classmethod
    async def open(
        cls, database: Database, here: Callable[[], str] = UNTRACED.here
    ) -> "SqliteRatings":
        return cls(database, await database.read(lambda c: agreed(c, "rater_key")), here)

    async def write(self, user_id: str, movie_id: str, value: int) -> Rating:
        asked = user_id, movie_id, value, self.rater(user_id), self._here() or None
        version = await self._database.write_together(self._keep_all, asked)
        return Rating(user_id, movie_id, value, version)

    # A commit's ratings cost two thirds of what they cost one by one: Python and its lock between
    # the threads are gone through once for all.
    def _keep_all(self, connection: sqlite3.Connection, asked: Sequence[Asked]) -> list[int]:
        pairs = [(user_id, movie_id, rater) for user_id, movie_id, _, rater, _ in asked]
        found = execute_for_all(connection, LAST, pairs)
        last = {(user_id, movie_id): version for user_id, movie_id, version in found}
        kept, sent = [], []
        for user_id, movie_id, value, rater, trace in asked:
            version = last[user_id, movie_id] = self._clock.next(last[user_id, movie_id])
            kept.append((user_id, movie_id, value, version))
            sent.append((movie_id, rater, version, value, trace))
        execute_for_all(connection, KEEP, kept)
        execute_for_all(connection, SEND, sent)
        return [version for *_, version in kept]

    async def merge(self, ratings: Sequence[Rating]) -> Merged:
        raters = {user_id: self.rater(user_id) for user_id in {r.user_id for r in ratings}}

        def job(connection: sqlite3.Connection) -> Merged:
            erased = {user: last_erasure(connection, rater) for user, rater in raters.items()}
            stored = {}
            for user_id, movie_id, *_ in ratings:
                if applied := applied_of(connection, user_id, movie_id):
                    stored[user_id, movie_id] = applied
            merged, kept = merge(ratings, stored, erased)
            execute_for_all(connection, KEEP, kept)
            events = [
                (movie, raters[user], version, value, None) for user, movie, value, version in kept
            ]
            execute_for_all(connection, SEND, events)
            return merged

        return await self._database.write(job)

    async def stored(
        self, user_id: str, movie_ids: Sequence[str]
    ) -> tuple[int, dict[str, Applied]]:
        rater = self.rater(user_id)

        def job(connection: sqlite3.Connection) -> tuple[int, dict[str, Applied]]:
            found = {}
            for movie_id in movie_ids:
                if applied := applied_of(connection, user_id, movie_id):
                    found[movie_id] = applied
            return last_erasure(connection, rater), found

        return await self._database.read(job)

    async def read(self, user_id: str, movie_id: str) -> Rating | None:
        row = await self._database.read(
            lambda connection: connection.execute(READ, (user_id, movie_id)).fetchone()
        )
        if row is None or row[0] == REMOVED:
            return None
        return Rating(user_id, movie_id, *row)

    async def page(self, user_id: str, after: str, limit: int) -> list[Rating]:
        return await self._select("user_id = ? AND movie_id > ?", (user_id, after), limit)

    async def pick(self, user_id: str, movie_ids: Sequence[str]) -> list[Rating]:
        marks = ", ".join("?" * len(movie_ids))
        where = f"user_id = ? AND movie_id IN ({marks})"
        return await self._select(where, (user_id, *movie_ids), len(movie_ids))

    async def scan(self, user_id: str | None = None) -> AsyncIterator[list[Rating]]:
        after = (user_id or "", "")
        while True:
            if user_id is None:
                page = await self._select("(user_id, movie_id) > (?, ?)", after, PAGE)
            else:
                page = await self._select("user_id = ? AND movie_id > ?", after, PAGE)
            if not page:
                return
            yield page
            after = page[-1][:2]

    async def erase(self, user_id: str) -> Erasure:
        rater = self.rater(user_id)
        clock = self._clock

        def job(connection: sqlite3.Connection) -> Erasure:
            rows = connection.execute(
                "SELECT movie_id, value, version FROM rating WHERE user_id = ?", (user_id,)
            ).fetchall()
            highest = max((row[2] for row in rows), default=0)
            version = clock.next(max(highest, last_erasure(connection, rater)))
            live = [
                (movie, rater, version, REMOVED, None)
                for movie, value, _ in rows
                if value != REMOVED
            ]
            execute_for_all(connection, SEND, live)
            connection.execute("DELETE FROM rating WHERE user_id = ?", (user_id,))
            receipt = Erasure(rater, version, len(live))
            connection.execute(KEEP_RECEIPT, receipt)
            return receipt

        return await self._database.write(job)

    async def _select(self, where: str, values: tuple[str, ...], limit: int) -> list[Rating]:
        query = f"""
            SELECT user_id, movie_id, value, version FROM rating
            WHERE {where} AND value <> {REMOVED} ORDER BY user_id, movie_id LIMIT ?"""
        return await self._database.read(
            lambda connection: [Rating(*row) for row in connection.execute(query, (*values, limit))]
        )

    # The highest version is kept beside what bears it, and read anew in each transaction: neither a
    # later start nor another process on the file goes below it, whatever their clocks say.

    def _read_clock(self, connection: sqlite3.Connection) -> None:
        (self._kept,) = connection.execute("SELECT last FROM clock").fetchone()
        self._clock.seen(self._kept)

    def _keep_clock(self, connection: sqlite3.Connection) -> None:
        if self._clock.last > self._kept:
            connection.execute("UPDATE clock SET last = ?", (self._clock.last,))


def applied_of(connection: sqlite3.Connection, user_id: str, movie_id: str) -> Applied | None:
    """What is kept of a pair, a removal too; None where nothing ever was."""
    row = connection.execute(READ, (user_id, movie_id)).fetchone()
    return Applied(version=row[1], value=row[0]) if row else None


def last_erasure(connection: sqlite3.Connection, rater: bytes) -> int:
    """The version of a rater's last erasure; 0 where there was none."""
    query = "SELECT coalesce(max(version), 0) FROM erasure WHERE rater = ?"
    version: int
    (version,) = connection.execute(query, (rater,)).fetchone()
    return version
