"""Every role on servers of its own: Cassandra, Kafka or RabbitMQ, PostgreSQL, Redis.

A store that is away is no reason not to start: its calls say so, and it comes back by itself.
"""

import asyncio
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from typing import Any, Protocol

from .. import ending
from ..adapters.memory import MemoryRateLimiter
from ..config import Settings
from ..errors import Finding, LogLost, MarqueeError, NotMade, StoreAway, Unusable
from ..http.operations import Probe
from ..relay import arrive, settle
from ..schemas import Tell
from ..tracing import UNTRACED, Tracer
from .agreement import Agreement
from .extras import to_install
from .stores import ALL, MIGRATED, Run, Stores, Unneeded, nothing_to_do

ANSWER_SECONDS = 30.0
"""Within which a command finds its stores, or gives up."""

AGREE_SECONDS = 5.0
"""Within which stores that answer can say whether they agree."""

INNER = ("shards", "slots")
"""Parts that other parts stand on, and nobody else uses."""

PAUSE = 0.2
"""Seconds between two looks whether a store answers."""

DRIVERS = {
    "cassandra": "cassandra",
    "kafka": "confluent_kafka",
    "rabbitmq": "pika",
    "postgres": "psycopg",
    "redis": "redis",
}
"""By the extra that installs it, the package that is imported."""


class Closing(Protocol):
    async def close(self) -> None: ...


@dataclass
class Opened:
    """What was opened so far."""

    closing: AsyncExitStack
    probes: dict[str, Probe] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    agreement: Agreement = field(default_factory=Agreement)

    def add(self, name: str, store: Closing, probe: Probe, *runs: Run) -> None:
        self.closing.push_async_callback(self.close, f"the connections to {name}", store)
        self.probes[name] = probe
        self.runs |= {f"{name} {number}": run for number, run in enumerate(runs, 1)}

    async def close(self, what: str, store: Closing) -> None:
        with ending.step(what):
            await store.close()


def check_drivers(settings: Settings, needs: Collection[str] = ALL) -> None:
    """Raises ``Unusable`` where a driver is not installed: each is an extra."""
    events = "kafka" if settings["events_url"].startswith("kafka:") else "rabbitmq"
    extras = {"ratings": "cassandra", "events": events, "movies": "postgres", "cache": "redis"}
    missing = [
        extra
        for store, extra in extras.items()
        if store in needs and find_spec(DRIVERS[extra]) is None
    ]
    if missing:
        raise Unusable(f"Stores on servers need their drivers: {to_install(missing)}")


@asynccontextmanager
async def opened(
    settings: Settings, needs: Collection[str], tracer: Tracer = UNTRACED
) -> AsyncIterator[Stores]:
    """The stores that are needed; nothing is asked of them yet. Raises ``Unusable``."""
    check_drivers(settings, needs)
    async with AsyncExitStack() as closing:
        there = Opened(closing)
        parts = unneeded()
        if "movies" in needs:
            parts |= open_movies(settings, there)
        if "ratings" in needs:
            parts |= open_ratings(settings, there, parts, tracer)
        if "events" in needs:
            parts |= open_events(settings, there, parts, tracer)
        if "cache" in needs:
            parts |= open_cache(settings, there)
        yield Stores(
            **{name: part for name, part in parts.items() if name not in INNER},
            probes=there.probes,
            runs=there.runs | {"agreement": there.agreement.run},
            agree=there.agreement.step,
            drain=partial(arrive, parts["outbox"], parts["events"], parts["totals"]),
            settle=partial(settle, parts["outbox"]),
            catch_up=nothing_to_do,
            on_commit=lambda _: None,
            tracer=tracer,
            embedded=False,
        )


def unneeded() -> dict[str, Any]:
    ports = ("ratings", "outbox", "topic", "events", "totals", "catalogue", "charts", "cache")
    others = ("notices", "limiter", "recall", "remember", "on_applied", "stopped")
    return {name: Unneeded(f"the store of the {name}") for name in ports + others}


def open_ratings(
    settings: Settings, there: Opened, parts: Mapping[str, Any], tracer: Tracer
) -> dict[str, Any]:
    from ..adapters import cassandra

    keyspace = cassandra.Cassandra(settings["ratings_url"])
    there.add("ratings", keyspace, keyspace.probe, keyspace.run)
    if shards := parts.get("shards"):

        async def agree() -> None:
            await keyspace.agree(await shards.identity(), len((await shards.read_map()).places))

        there.agreement.add(agree)
    ratings = cassandra.CassandraRatings(keyspace, tracer.here)
    outbox = cassandra.CassandraOutbox(keyspace, ratings)
    return {"ratings": ratings, "outbox": outbox, "slots": partial(told_slots, keyspace.recall)}


def open_movies(settings: Settings, there: Opened) -> dict[str, Any]:
    from ..adapters import postgres

    shards = postgres.Postgres(settings["movies_url"].split(), settings["movies_read_url"])
    there.add("movies", shards, shards.probe, shards.run)
    if settings["movies_read_url"]:
        there.probes["lists"] = shards.probe_lists
    there.agreement.add(partial(shards.agree, settings.prior))

    async def slots() -> int:
        return len((await shards.read_map()).places)

    totals = postgres.PostgresTotals(shards)
    return {
        "totals": totals,
        "on_applied": totals.on_applied,
        "catalogue": postgres.PostgresCatalogue(shards),
        "charts": postgres.PostgresCharts(shards),
        "recall": shards.recall,
        "remember": shards.remember,
        "shards": shards,
        "slots": slots,
    }


async def told_slots(recall: Callable[[str], Awaitable[str | None]]) -> int:
    """The number of slots, as the rating store was told: a relay asks no other."""
    slots = await recall("slots")
    if slots is None:
        raise NotMade("Nobody has agreed on slots yet: run `marquee migrate`.")
    return int(slots)


def open_events(
    settings: Settings, there: Opened, parts: Mapping[str, Any], tracer: Tracer
) -> dict[str, Any]:
    url: str = settings["events_url"]
    totals, slots = parts["totals"], parts["slots"]
    if url.startswith("kafka:"):
        from ..adapters.kafka import KafkaLog, KafkaTopic

        traced = tracer is not UNTRACED
        log, topic = KafkaLog(url, totals, traced=traced), KafkaTopic(url, slots)
        there.add("events", log, log.probe)

        async def agree() -> None:
            await log.agree(await slots())

        there.agreement.add(agree)
        there.closing.push_async_callback(there.close, "what goes to the topic", topic)
        return {"events": log, "topic": topic, "stopped": log.stopped}
    from ..adapters.rabbitmq import RabbitLog, RabbitTopic

    queue, exchange = RabbitLog(url), RabbitTopic(url, slots)
    there.add("events", queue, queue.probe)
    there.closing.push_async_callback(there.close, "what goes to the exchange", exchange)
    return {"events": queue, "topic": exchange, "stopped": lambda: 0}


def open_cache(settings: Settings, there: Opened) -> dict[str, Any]:
    from ..adapters import redis

    shared = redis.Redis(settings["cache_url"])
    notices = redis.RedisNotices(shared)
    there.add("cache", shared, shared.probe, shared.run, notices.run)
    limiter = redis.EachByItself(redis.RedisRateLimiter(shared), MemoryRateLimiter())
    return {"cache": redis.RedisCache(shared), "notices": notices, "limiter": limiter}


@asynccontextmanager
async def answering(stores: Stores) -> AsyncIterator[None]:
    """Go on as soon as all stores answer. Raises ``StoreAway``, saying which does not, and
    ``Unusable``."""
    runs = [asyncio.ensure_future(run()) for run in stores.runs.values()]
    waits = [
        asyncio.ensure_future(answered(name, probe, runs))
        for name, probe in {**stores.probes, "agreement": stores.agree}.items()
    ]
    try:
        await asyncio.gather(*waits)
        yield
    finally:
        for task in (*waits, *runs):
            task.cancel()
        await asyncio.gather(*waits, *runs, return_exceptions=True)


async def answered(name: str, probe: Probe, behind: Collection["asyncio.Future[None]"]) -> None:
    why = "It does not answer."
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            while True:
                for task in behind:
                    if task.done():
                        task.result()  # it says why no store of its kind will ever answer
                try:
                    return await probe()
                except NotMade:
                    raise
                except StoreAway as away:
                    why = str(away)
                await asyncio.sleep(PAUSE)
    except TimeoutError:
        raise StoreAway(f"{name}: {why}") from None


def migrate(settings: Settings, slots: int | None, shards: int | None, tell: Tell) -> list[str]:
    """``slots`` and ``shards``: how many of the movies and of the outbox, where they are new."""
    check_drivers(settings, MIGRATED)
    from ..adapters import cassandra, postgres

    movies = settings["movies_url"].split()
    done = postgres.migrate(movies, slots, settings.prior, settings["movies_read_url"], tell)
    agreed, identity = asyncio.run(agreed_at_home(movies))
    done += cassandra.migrate(settings["ratings_url"], shards, agreed, identity, tell)
    return done + migrate_events(settings["events_url"], agreed)


def move_slots(settings: Settings, slots: Sequence[int], to: int, tell: Tell) -> Iterator[str]:
    check_drivers(settings, ("movies",))
    from ..adapters import postgres

    return postgres.move_slots(settings["movies_url"].split(), slots, to, tell)


def migrate_events(url: str, slots: int) -> list[str]:
    if url.startswith("kafka:"):
        from ..adapters import kafka

        return kafka.migrate(url, slots)
    from ..adapters import rabbitmq

    return rabbitmq.migrate(url)


async def agreed_at_home(movies: Sequence[str]) -> tuple[int, str]:
    """The number of slots, and which movie store it is."""
    from ..adapters import postgres

    shards = postgres.Postgres(movies)
    try:
        return len((await shards.read_map()).places), await shards.identity()
    finally:
        await shards.close()


async def diagnose(settings: Settings) -> list[Finding]:
    check_drivers(settings)
    from ..adapters import cassandra, postgres, redis

    movies, replica = settings["movies_url"].split(), settings["movies_read_url"]
    found = await looked("ratings", partial(cassandra.diagnose, settings["ratings_url"]))
    found += await looked("movies", partial(postgres.diagnose, movies, replica))
    slots = None
    try:
        slots, _ = await agreed_at_home(movies)
    except MarqueeError as error:
        found.append(("events", f"what they must fit can't be had: {error}"))
    found += await looked("events", partial(diagnose_events, settings["events_url"], slots))
    found += await folded_log(settings)
    found += await disagreement(settings)
    cache = f"cache ({settings.shown('cache_url')})"
    try:
        faults: list[str | None] = [*await redis.diagnose(settings["cache_url"])]
    except MarqueeError as error:
        faults = [str(error)]
    return [*found, *((cache, fault) for fault in faults or [None])]


async def disagreement(settings: Settings) -> list[Finding]:
    """Why a process would not start with these stores; what is away has been told of by itself."""
    found: list[Finding] = []
    for needs in (("movies",), ("movies", "ratings", "events")):
        async with opened(settings, needs) as stores:
            try:
                async with asyncio.timeout(AGREE_SECONDS), answering(stores):
                    pass
            except Unusable as unusable:
                found.append(("agreement", str(unusable)))
            except (StoreAway, TimeoutError):
                pass
    return found[:1]


async def folded_log(settings: Settings) -> list[Finding]:
    """Whether the log is the one that was folded; what is away has been told of by itself."""
    try:
        async with opened(settings, ("movies", "events")) as stores:
            await stores.events.check()
    except LogLost as lost:
        return [("events", str(lost))]
    except (StoreAway, Unusable):
        pass
    return []


async def looked(name: str, look: Callable[[], Sequence[Finding]]) -> list[Finding]:
    try:
        return list(await asyncio.to_thread(look))
    except MarqueeError as error:
        return [(name, str(error))]


def diagnose_events(url: str, slots: int | None) -> Sequence[Finding]:
    if url.startswith("kafka:"):
        from ..adapters import kafka

        return kafka.diagnose(url, slots)
    from ..adapters import rabbitmq

    return rabbitmq.diagnose(url)
