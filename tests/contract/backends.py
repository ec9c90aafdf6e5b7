"""The stores that the contracts are proven on. Add a class for each further one to ``BACKENDS``,
with the suites that say something about it.

A backend opens itself in a folder, empty, and closes. ``deliver`` brings what was sent to its log,
``spoil`` some bytes that are no event; ``another`` is a further consumer, as of another process.
"""

import itertools
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import ClassVar, Self

import pytest

from marquee.adapters import cassandra, kafka, postgres, rabbitmq, sqlite
from marquee.adapters.sqlite.database import execute_for_all
from marquee.adapters.sqlite.ratings import SEND
from marquee.model import Prior
from marquee.ports import (
    Batch,
    Catalogue,
    Charts,
    EventLog,
    Intent,
    Outbox,
    Poison,
    RatingStore,
    Topic,
    TotalsStore,
)
from tests.simulator import outbox as two_step
from tests.simulator import stores as memory
from tests.support import cassandra as keyspaces
from tests.support import logs
from tests.support import postgres as databases

SLOTS = 3


async def agreed_slots() -> int:
    return SLOTS


class Backend:
    suites: ClassVar = {
        *("catalogue", "charts", "event_log", "event_log_positions", "rating_store"),
        "totals_store",
    }
    """What is proven on it."""

    on_servers = False

    ratings: RatingStore
    events: EventLog
    totals: TotalsStore
    catalogue: Catalogue
    charts: Charts

    async def deliver(self) -> None:
        """Nothing to do where the outbox is the log."""

    async def spoil(self, raw: bytes) -> None:
        raise NotImplementedError

    def another(self) -> AbstractAsyncContextManager[EventLog]:
        raise NotImplementedError


class Sqlite(Backend):
    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, prior: Prior | None = None) -> AsyncIterator[Self]:
        database = await sqlite.Database.open(folder / "marquee.db", lambda stands: prior or stands)
        try:
            backend = cls()
            backend.database = database
            backend.ratings = await sqlite.SqliteRatings.open(database)
            backend.events = sqlite.SqliteOutbox(database)
            backend.totals = sqlite.SqliteTotals(database)
            backend.catalogue = sqlite.SqliteCatalogue(database)
            backend.charts = sqlite.SqliteCharts(database)
            yield backend
        finally:
            await database.close()

    async def spoil(self, raw: bytes) -> None:
        """As far as a table lets anybody: by an id that is none."""
        row = (raw.decode(errors="replace"), bytes(16), 1, 1, None)
        await self.database.write(lambda connection: execute_for_all(connection, SEND, [row]))

    @asynccontextmanager
    async def another(self) -> AsyncIterator[EventLog]:
        yield sqlite.SqliteOutbox(self.database)


class Memory(Backend):
    @classmethod
    @asynccontextmanager
    async def open(cls, _: Path, prior: Prior | None = None) -> AsyncIterator[Self]:
        clock = itertools.count(1_700_000_000_000_000)

        def now() -> int:
            return next(clock)

        backend = cls()
        backend.sent, backend.log = memory.RatingDisk(), memory.LogDisk(SLOTS)
        backend.movies = movies = memory.MovieDisk(prior or Prior())
        backend.ratings = memory.MemoryRatings(backend.sent, now)
        backend.totals = memory.MemoryTotals(movies, now)
        backend.catalogue = memory.MemoryCatalogue(movies)
        backend.charts = memory.MemoryCharts(movies, now)
        backend.events = backend.consumer()
        yield backend

    def consumer(self) -> EventLog:
        sent, log = self.sent, self.log
        return memory.MemoryLog(log, self.movies, feed=lambda: memory.relay(sent, log))

    async def spoil(self, raw: bytes) -> None:
        self.log.append(0, Poison(raw, "made up"))

    @asynccontextmanager
    async def another(self) -> AsyncIterator[EventLog]:
        yield self.consumer()


class Postgres(Memory):
    """Movies on one shard; the rest, which is not PostgreSQL's, in memory."""

    suites: ClassVar = {"catalogue", "charts", "totals_store"}
    on_servers = True
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


class Logged(Memory):
    """The event log on a server; what is beside it is in memory."""

    on_servers = True
    topic: Topic

    async def deliver(self) -> None:
        await self.topic.publish(list(self.sent.outbox.values()))
        self.sent.outbox.clear()


class Kafka(Logged):
    suites: ClassVar = {"event_log", "event_log_positions"}

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, prior: Prior | None = None) -> AsyncIterator[Self]:
        with logs.kafka_topic(SLOTS) as url:
            async with super().open(folder, prior) as backend:
                backend.url, backend.group = url, logs.unique("group")
                backend.topic = kafka.KafkaTopic(url, agreed_slots)
                async with backend.another() as backend.events:
                    yield backend
                await backend.topic.close()

    async def spoil(self, raw: bytes) -> None:
        logs.produce(self.url, 0, raw)

    @asynccontextmanager
    async def another(self) -> AsyncIterator[EventLog]:
        log = kafka.KafkaLog(self.url, self.totals, self.group, gather=0.02)
        yield log
        await log.close()


class RabbitMQ(Logged):
    suites: ClassVar = {"event_log"}

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, prior: Prior | None = None) -> AsyncIterator[Self]:
        with logs.rabbitmq_queue() as url:
            async with super().open(folder, prior) as backend:
                backend.url = url
                backend.topic = rabbitmq.RabbitTopic(url, agreed_slots)
                async with backend.another() as backend.events:
                    yield backend
                await backend.topic.close()

    async def spoil(self, raw: bytes) -> None:
        logs.enqueue(self.url, raw)

    @asynccontextmanager
    async def another(self) -> AsyncIterator[EventLog]:
        log = rabbitmq.RabbitLog(self.url, gather=0.02)
        yield log
        await log.close()


@asynccontextmanager
async def databases_of(shards: int, prior: Prior | None) -> AsyncIterator[list[str]]:
    if prior is None:
        yield databases.emptied(shards)
    else:
        with databases.databases(shards) as urls:
            postgres.migrate(urls, databases.SLOTS, lambda _: prior)
            yield urls


class Cassandra(Memory):
    """Ratings and outbox; the rest, which is not Cassandra's, in memory."""

    suites: ClassVar = {"outbox", "rating_store"}
    on_servers = True

    outbox: Outbox

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, prior: Prior | None = None) -> AsyncIterator[Self]:
        log, movies = memory.LogDisk(), memory.MovieDisk(prior or Prior())
        async with super().open(folder, prior) as backend, keyspaces.emptied() as keyspace:
            backend.ratings = ratings = cassandra.CassandraRatings(keyspace)
            backend.outbox = cassandra.CassandraOutbox(keyspace, ratings)
            backend.events = RelayedLog(log, movies, backend.outbox)
            backend.totals = memory.MemoryTotals(movies, keyspace.now)
            yield backend


class TwoStepMemory(Memory):
    """Ratings and outbox as Cassandra keeps them, in memory."""

    suites: ClassVar = {"outbox", "rating_store"}

    outbox: Outbox

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, prior: Prior | None = None) -> AsyncIterator[Self]:
        since = itertools.count()

        def now() -> int:
            return time.time_ns() // 1000 + next(since)  # never twice the same

        async with super().open(folder, prior) as backend:
            disk = two_step.IntentDisk(now=now)
            backend.ratings = two_step.TwoStepRatings(disk, now)
            backend.outbox = two_step.MemoryOutbox(disk)
            backend.events = RelayedLog(backend.log, backend.movies, backend.outbox)
            yield backend


class RelayedLog(memory.MemoryLog):
    """A log to which each poll first brings what is new in an outbox, in the order of sending."""

    def __init__(self, log: memory.LogDisk, movies: memory.MovieDisk, outbox: Outbox) -> None:
        super().__init__(log, movies)
        self._outbox = outbox
        self._begun = time.time_ns() // 60_000_000_000 - 1
        self._relayed: set[Intent] = set()

    async def poll(self, limit: int) -> Batch | None:
        intents = [
            intent
            for shard in range(len(await self._outbox.swept_to()))
            for minute in range(self._begun, await self._outbox.now() // 60_000_000 + 1)
            async for page in self._outbox.intents(shard, minute)
            for intent in page
        ]
        for intent in sorted(set(intents) - self._relayed, key=lambda intent: intent.sent_at):
            if intent.rating.movie_id:
                self._log.publish(self._outbox.event(intent.rating))
        self._relayed |= set(intents)
        return await super().poll(limit)


BACKENDS = [Sqlite, Memory, TwoStepMemory, Postgres, TwoShards, Cassandra, Kafka, RabbitMQ]


def proving(suite: str) -> list[pytest.ParameterSet]:
    """The backends that a suite is run on."""
    return [
        pytest.param(backend, marks=[pytest.mark.servers] * backend.on_servers)
        for backend in BACKENDS
        if suite in backend.suites
    ]
