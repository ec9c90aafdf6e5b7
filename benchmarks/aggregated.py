"""From Kafka into PostgreSQL: events a second through the whole stage, of many movies and of one;
and two aggregators beside one."""

import asyncio
import random
import secrets
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AsyncExitStack
from multiprocessing import get_context
from statistics import median

from marquee.adapters import kafka, postgres
from marquee.adapters.memory import MemoryNotices
from marquee.aggregation import Aggregator
from marquee.model import RatingChanged
from tests.support.system import stores

from .measuring import Row, Size
from .servers import needed

SLOTS = 16
MOVIES = 2000
GOAL, GOAL_SCALE = 10_000, 1.7

Urls = dict[str, str]


def rows(size: Size) -> Iterator[Row]:
    needed("cassandra", "kafka", "postgres", "redis")
    events = 50_000 if size.quick else 200_000
    spread, hot = (
        median(rate(events, movies, processes=1) for _ in range(3)) for movies in (MOVIES, 1)
    )
    yield Row(
        f"Kafka to PostgreSQL, {events:,} events",
        f"{spread:,.0f} events/s",
        "",
        None,
        f"≥ {GOAL:,}/s",
        spread >= GOAL,
        {"events/s": spread},
    )
    yield Row(
        "… all of one movie",
        f"{hot:,.0f} events/s",
        f"{spread:,.0f}/s of {MOVIES:,} movies",
        hot / spread,
        "≥ 1: no slower",
        hot >= spread,
        {"events/s": hot},
    )
    two = median(rate(events, MOVIES, processes=2) for _ in range(3))
    yield Row(
        "… by two aggregators",
        f"{two:,.0f} events/s",
        f"{spread:,.0f}/s by one",
        two / spread,
        f"≥ {GOAL_SCALE} where cores allow",
        two >= GOAL_SCALE * spread,
        {"events/s": two},
    )


def rate(events: int, movies: int, processes: int) -> float:
    """Events a second until all of them are in the totals."""
    with stores() as urls:
        shards = urls["movies_url"].split()
        postgres.migrate(shards, SLOTS)
        kafka.migrate(urls["events_url"], SLOTS)
        asyncio.run(publish(urls, events, movies))
        with ProcessPoolExecutor(processes, get_context("spawn")) as workers:
            spans = list(workers.map(aggregate, [urls] * processes))
        return events / (max(last for _, last in spans) - min(first for first, _ in spans))


async def agreed() -> int:
    return SLOTS


async def publish(urls: Urls, events: int, movies: int) -> None:
    dice = random.Random(events)
    topic = kafka.KafkaTopic(urls["events_url"], agreed)
    version = time.time_ns() // 1000
    for begin in range(0, events, 10_000):
        await topic.publish(
            [
                RatingChanged(
                    f"m{dice.randrange(movies):07}",
                    secrets.token_bytes(16),
                    version + number,
                    dice.randint(1, 20),
                )
                for number in range(begin, min(events, begin + 10_000))
            ]
        )
    await topic.close()


def aggregate(urls: Urls) -> tuple[float, float]:
    return asyncio.run(aggregate_all(urls["events_url"], urls["movies_url"].split()))


async def aggregate_all(events: str, shards: Sequence[str]) -> tuple[float, float]:
    """Fold until nothing waits, whoever has folded it: from the first batch's arrival to the end,
    by the clock of the machine. Until it is let into its group, an aggregator has nothing to do."""
    first = 0.0
    async with AsyncExitStack() as closing:
        movies = postgres.Postgres(shards)
        closing.push_async_callback(movies.close)
        totals = postgres.PostgresTotals(movies)
        log = kafka.KafkaLog(events, totals)
        closing.push_async_callback(log.close)
        stage = Aggregator(log, totals, MemoryNotices())
        last = time.monotonic()
        while True:
            began = time.monotonic()
            if await stage.step():
                first, last = first or began, time.monotonic()
            elif not await log.behind():
                return first or last, last
