"""From Cassandra's outbox to Kafka: how long a rating takes at 200 a second; and intents a second,
beside a bare loop that pages the same buckets and produces the same bytes. Needs ``make engine``.
"""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from functools import lru_cache, partial
from multiprocessing import get_context
from typing import Any, TypeVar

import uvloop
from cassandra.query import BatchStatement, BatchType
from confluent_kafka import Consumer, Producer

from marquee import garbage
from marquee.adapters import cassandra, kafka
from marquee.adapters.cassandra import driver
from marquee.adapters.cassandra.address import parse
from marquee.adapters.cassandra.outbox import BUCKET
from marquee.adapters.cassandra.ratings import SEND
from marquee.adapters.kafka.client import Address
from marquee.adapters.kafka.records import key_of
from marquee.adapters.kafka.topic import SETTINGS
from marquee.events import decode, encode
from marquee.model import RatingChanged, rater_of, slot_of
from marquee.relay import MINUTE, Relay, Shard
from tests.support import cassandra as keyspaces
from tests.support import logs

from .measuring import Row, Size, by_turns, medians
from .servers import needed

SHARDS, SLOTS = 16, 16
RATE = 200
GOAL_P50, GOAL_P99, GOAL = 0.1, 0.5, 0.6
BATCH, PAGE = 100, 1000

Urls = tuple[str, str]


def rows(size: Size) -> Iterator[Row]:
    servers = needed("cassandra", "kafka")
    ratings = keyspaces.new(servers["MARQUEE_RATINGS_URL"])
    try:
        cassandra.migrate(ratings, SHARDS)
        with logs.kafka_topic(SLOTS, servers["MARQUEE_EVENTS_URL"]) as events:
            yield lag((ratings, events), 10 if size.quick else 60)
            yield many((ratings, events), 20_000 if size.quick else 200_000, size.rounds)
    finally:
        keyspaces.drop(ratings)


async def slots() -> int:
    return SLOTS


@asynccontextmanager
async def relay_on(urls: Urls) -> AsyncIterator[Relay]:
    topic = kafka.KafkaTopic(urls[1], slots)
    async with keyspaces.connected(urls[0]) as keyspace:
        ratings = cassandra.CassandraRatings(keyspace)
        yield Relay(cassandra.CassandraOutbox(keyspace, ratings), topic)
        await topic.close()


# ---- how long ----------------------------------------------------------------------------------


def lag(urls: Urls, seconds: int) -> Row:
    """Of ratings at a steady rate; the relay is a process of its own."""
    process = get_context("spawn").Process(target=relay, args=(urls,), daemon=True)
    process.start()
    try:
        times = sorted(run(partial(measure, urls, seconds)))
    finally:
        process.terminate()
        process.join()
    p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
    return Row(
        f"a rating until Kafka has its event, {RATE}/s",
        f"p50 {p50 * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms",
        "",
        None,
        f"p50 ≤ {GOAL_P50 * 1e3:.0f} ms, p99 ≤ {GOAL_P99 * 1e3:.0f} ms",
        p50 <= GOAL_P50 and p99 <= GOAL_P99,
        {"p50": p50, "p99": p99},
    )


def relay(urls: Urls) -> None:
    async def main() -> None:
        async with relay_on(urls) as relay:
            garbage.settle()  # as `marquee serve` does
            await relay.run()

    run(main)


async def measure(urls: Urls, seconds: int) -> list[float]:
    """Seconds from each answer until a consumer has its event."""
    ratings, events = urls
    told: dict[int, float] = {}
    heard: dict[int, float] = {}
    async with keyspaces.connected(ratings) as keyspace:
        store = cassandra.CassandraRatings(keyspace)

        async def rate(number: int) -> None:
            rating = await store.write(f"user-{number}", f"m{number % 500}", number % 20 + 1)
            told[rating.version] = time.monotonic()

        with hearing(events, heard):
            await rate(0)
            while not heard:  # noqa: ASYNC110 - until the relay is there
                await asyncio.sleep(0.1)
            begun = time.monotonic()
            async with asyncio.TaskGroup() as group:
                for number in range(1, seconds * RATE):
                    group.create_task(rate(number))
                    await asyncio.sleep(begun + number / RATE - time.monotonic())
            while not told.keys() <= heard.keys():  # noqa: ASYNC110
                await asyncio.sleep(0.1)
    first = min(told)
    return [max(0.0, heard[version] - at) for version, at in told.items() if version != first]


@contextmanager
def hearing(url: str, heard: dict[int, float]) -> Iterator[None]:
    """Note when each event, by its version, was heard of first."""
    address = Address.of(url)
    settings = {"group.id": logs.unique("group"), "auto.offset.reset": "earliest"}
    stop = threading.Event()

    def listen() -> None:
        with closing(Consumer(address.settings | settings)) as consumer:
            consumer.subscribe([address.topic])
            while not stop.is_set():
                message = consumer.poll(0.1)
                if message is not None and not message.error():
                    heard.setdefault(decode(message.value()).version, time.monotonic())

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


# ---- how many ----------------------------------------------------------------------------------


def many(urls: Urls, intents: int, rounds: int) -> Row:
    minutes = fill(urls, intents)
    bare = Bare(urls, minutes, run(partial(rater_key, urls)))
    try:
        measures = lambda: intents / run(partial(followed, urls)), lambda: intents / bare.seconds()
        ours, hand = medians(by_turns(rounds, *measures))
    finally:
        bare.close()
    return Row(
        f"{intents:,} intents from the outbox to Kafka",
        f"{ours:,.0f}/s",
        f"{hand:,.0f}/s a bare loop",
        ours / hand,
        f"≥ {GOAL}",
        ours / hand >= GOAL,
        {"marquee": ours, "bare": hand},
    )


def fill(urls: Urls, intents: int) -> range:
    """Send so many intents, all in one minute that is over; the minutes of them."""
    minute = time.time_ns() // 1000 // MINUTE - 1
    with driver.connected(parse(urls[0])) as session:
        session.set_keyspace(parse(urls[0]).keyspace)
        send = session.prepare(SEND)
        sent = []
        for begin in range(0, intents, BATCH):
            batch = BatchStatement(BatchType.UNLOGGED)
            for n in range(begin, begin + BATCH):
                at = minute * MINUTE + n
                shard = begin // BATCH % SHARDS
                batch.add(send, (shard, minute, at, at, f"user-{n % 500}", f"m{n}", n % 20 + 1, at))
            sent.append(session.execute_async(batch))
            if len(sent) > 32:
                sent.pop(0).result()
        for answer in sent:
            answer.result()
    return range(minute, minute + 1)


async def rater_key(urls: Urls) -> bytes:
    async with keyspaces.connected(urls[0]) as keyspace:
        return keyspace.agreements.rater_key


async def followed(urls: Urls) -> float:
    """Seconds in which a new relay says all that is not swept."""
    async with relay_on(urls) as relay:
        while len(relay.shards) < SHARDS:  # until the one before is known to be dead
            await relay.attend()
        start = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for shard in relay.shards.values():
                group.create_task(follow(relay, shard))
        seconds = time.perf_counter() - start
        await relay.leave()
        return seconds


async def follow(relay: Relay, shard: Shard) -> None:
    while await relay.poll(shard):
        pass


class Bare:
    """The same statement and the same bytes, one bucket after the other, without a relay."""

    def __init__(self, urls: Urls, minutes: range, rater_key: bytes) -> None:
        ratings, events = urls
        address = Address.of(events)
        self._topic = address.topic
        self._minutes = minutes
        self._rater = lru_cache(10_000)(partial(rater_of, rater_key))
        self._producer = Producer(address.settings | SETTINGS)
        self._driver = driver.connected(parse(ratings))
        self._session = self._driver.__enter__()
        self._session.set_keyspace(parse(ratings).keyspace)
        self._bucket = self._session.prepare(BUCKET)
        self._bucket.fetch_size = PAGE

    def close(self) -> None:
        self._driver.__exit__(None, None, None)

    def seconds(self) -> float:
        start = time.perf_counter()
        for minute in self._minutes:
            for shard in range(SHARDS):
                for user_id, movie_id, value, version, *_ in self._session.execute(
                    self._bucket, (shard, minute, 0)
                ):
                    event = RatingChanged(movie_id, self._rater(user_id), version, value)
                    slot = slot_of(movie_id, SLOTS)
                    self._producer.produce(self._topic, encode(event), key_of(event), slot)
                self._producer.poll(0)
        assert self._producer.flush(60) == 0
        return time.perf_counter() - start


T = TypeVar("T")


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())
