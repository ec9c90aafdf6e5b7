"""The stores that the contracts are proven on. Add a class for each further one to ``BACKENDS``.

A backend opens itself in a folder, empty, and closes; ``relay`` brings what was sent to its log.
"""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from marquee.adapters import sqlite
from marquee.model import Prior
from marquee.ports import Catalogue, Charts, EventLog, RatingStore, TotalsStore
from tests.simulator import stores as memory


class Backend:
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


BACKENDS = [Sqlite, Memory]
