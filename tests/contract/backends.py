"""The stores that the contracts are proven on. Add a class for each further one to ``BACKENDS``,
with the suites that say something about it.

A backend opens itself in a folder, empty, and closes; ``relay`` brings what was sent to its log.
"""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar, Self

from marquee.adapters import postgres, sqlite
from marquee.model import Prior
from marquee.ports import Catalogue, Charts, EventLog, RatingStore, TotalsStore
from tests.simulator import stores as memory
from tests.support import postgres as databases


class Backend:
    suites: ClassVar = {"catalogue", "charts", "event_log", "rating_store", "totals_store"}
    """What is proven on it."""

    ratings: RatingStore
    events: EventLog
    totals: TotalsStore
    catalogue: Catalogue
    charts: Charts


class Sqlite(Backend):
    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, prior: Prior | None = None) -> AsyncIterator[Self]:
        database = await sqlite.Database.open(folder / "marquee.db", lambda stands: prior or stands)
        try:
            backend = cls()
            backend.ratings = await sqlite.SqliteRatings.open(database)
            backend.events = sqlite.SqliteOutbox(database)
            backend.totals = sqlite.SqliteTotals(database)
            backend.catalogue = sqlite.SqliteCatalogue(database)
            backend.charts = sqlite.SqliteCharts(database)
            yield backend
        finally:
            await database.close()


class Memory(Backend):
    @classmethod
    @asynccontextmanager
    async def open(cls, _: Path, prior: Prior | None = None) -> AsyncIterator[Self]:
        clock = itertools.count(1_700_000_000_000_000)

        def now() -> int:
            return next(clock)

        ratings, log = memory.RatingDisk(), memory.LogDisk()
        movies = memory.MovieDisk(prior or Prior())
        backend = cls()
        backend.ratings = memory.MemoryRatings(ratings, now)
        backend.events = memory.MemoryLog(log, movies, feed=lambda: memory.relay(ratings, log))
        backend.totals = memory.MemoryTotals(movies, now)
        backend.catalogue = memory.MemoryCatalogue(movies)
        backend.charts = memory.MemoryCharts(movies, now)
        yield backend


class Postgres(Memory):
    """Movies on one shard; the rest, which is not PostgreSQL's, in memory."""

    suites: ClassVar = {"catalogue", "charts", "totals_store"}
    shards = 1

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, prior: Prior | None = None) -> AsyncIterator[Self]:
        async with super().open(folder, prior) as backend, databases_of(cls.shards, prior) as urls:
            stores = postgres.Postgres(urls)
            backend.totals = postgres.PostgresTotals(stores)
            backend.catalogue = postgres.PostgresCatalogue(stores)
            backend.charts = postgres.PostgresCharts(stores)
            yield backend
            await stores.close()


class TwoShards(Postgres):
    shards = 2


@asynccontextmanager
async def databases_of(shards: int, prior: Prior | None) -> AsyncIterator[list[str]]:
    if prior is None:
        yield databases.emptied(shards)
    else:
        with databases.databases(shards) as urls:
            postgres.migrate(urls, databases.SLOTS, lambda _: prior)
            yield urls


BACKENDS = [Sqlite, Memory, Postgres, TwoShards]


def proving(suite: str) -> list[type[Backend]]:
    """The backends that a suite is run on."""
    return [backend for backend in BACKENDS if suite in backend.suites]
