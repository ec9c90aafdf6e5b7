"""The event logs by themselves: events a second to Kafka and back, each beside a bare loop over the
same bytes with the same settings; and to RabbitMQ and back. Needs ``make engine``.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import uvloop
from confluent_kafka import Consumer, Producer, TopicPartition

from marquee.adapters import kafka, rabbitmq
from marquee.adapters.kafka.client import Address
from marquee.adapters.kafka.records import key_of
from marquee.adapters.kafka.source import SETTINGS as CONSUMER
from marquee.adapters.kafka.topic import SETTINGS as PRODUCER
from marquee.events import decode, encode
from marquee.model import RatingChanged, slot_of
from marquee.ports import EventLog, Topic
from tests.simulator.stores import MemoryTotals, MovieDisk
from tests.support import logs

from .measuring import Row, Size, by_turns, medians
from .servers import needed

SLOTS = 16
PAGE, AT_ONCE = 1000, 4
"""Events of one call, and calls under way: as of a relay."""

GOAL = 10_000
"""Events a second, of either: what one aggregator is to fold."""

Events = Sequence[RatingChanged]


def rows(size: Size) -> Iterator[Row]:
    servers = needed("kafka", "rabbitmq")
    events = made(30_000 if size.quick else 100_000)
    with logs.kafka_topic(SLOTS, servers["MARQUEE_EVENTS_URL"]) as url:
        turns = by_turns(size.rounds, partial(to_kafka, url, events), partial(bare_to, url, events))
        yield beside(f"{len(events):,} events to Kafka", *medians(turns))
    with logs.kafka_topic(SLOTS, servers["MARQUEE_EVENTS_URL"]) as url:
        to_kafka(url, events)
        number = len(events)
        turns = by_turns(
            size.rounds, partial(from_kafka, url, number), partial(bare_from, url, number)
        )
        yield beside("… and back, decoded", *medians(turns))
    with logs.rabbitmq_queue(servers["MARQUEE_TEST_RABBITMQ_URL"]) as url:
        turns = by_turns(
            size.rounds, partial(to_rabbitmq, url, events), partial(from_rabbitmq, url, len(events))
        )
        there, back = medians(turns)
        yield by_itself(f"{len(events):,} events to RabbitMQ", there)
        yield by_itself("… and back, decoded and acknowledged", back)


def made(number: int) -> Events:
    now = time.time_ns() // 1000
    return [
        RatingChanged(f"m{n % 2000:07}", n.to_bytes(16), now + n, n % 20 + 1) for n in range(number)
    ]


def beside(what: str, ours: float, bare: float) -> Row:
    return Row(
        what,
        f"{ours:,.0f}/s",
        f"{bare:,.0f}/s a bare loop",
        ours / bare,
        f"≥ {GOAL:,}/s",
        ours >= GOAL,
        {"marquee": ours, "bare": bare},
    )


def by_itself(what: str, rate: float) -> Row:
    return Row(what, f"{rate:,.0f}/s", "", None, f"≥ {GOAL:,}/s", rate >= GOAL, {"events/s": rate})


def run(main: Callable[[], Coroutine[Any, Any, float]]) -> float:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


async def slots() -> int:
    return SLOTS


# ---- through the ports -------------------------------------------------------------------------


def to_kafka(url: str, events: Events) -> float:
    return run(lambda: publish(kafka.KafkaTopic(url, slots), events))


def to_rabbitmq(url: str, events: Events) -> float:
    return run(lambda: publish(rabbitmq.RabbitTopic(url, slots), events))


async def publish(topic: Topic, events: Events) -> float:
    """Events a second, once it is connected."""
    await topic.publish(events[:1])
    pages = iter([events[at : at + PAGE] for at in range(1, len(events), PAGE)])

    async def relay() -> None:
        for page in pages:
            await topic.publish(page)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(relay())
    seconds = time.perf_counter() - began
    await topic.close()
    return len(events) / seconds


def from_kafka(url: str, number: int) -> float:
    async def main() -> float:
        totals = MemoryTotals(MovieDisk(), lambda: 0)
        return await read(kafka.KafkaLog(url, totals, logs.unique("group"), gather=0), number)

    return run(main)


def from_rabbitmq(url: str, number: int) -> float:
    async def main() -> float:
        return await read(rabbitmq.RabbitLog(url, gather=0), number)

    return run(main)


async def read(log: EventLog, number: int) -> float:
    """Events a second, from the first batch on."""
    first = None
    while first is None:
        first = await log.poll(PAGE)
    began, left = time.perf_counter(), number - len(first.events)
    await log.done(first)
    while left:
        if batch := await log.poll(10 * PAGE):
            left -= len(batch.events)
            await log.done(batch)
    seconds = time.perf_counter() - began
    await log.close()
    return (number - len(first.events)) / seconds


# ---- by hand -----------------------------------------------------------------------------------


def bare_to(url: str, events: Events) -> float:
    address = Address.of(url)
    records = [(encode(e), key_of(e), slot_of(e.movie_id, SLOTS)) for e in events]
    producer = Producer(address.settings | PRODUCER)
    producer.produce(address.topic, *records[0])
    producer.flush()
    began = time.perf_counter()
    for number, record in enumerate(records):
        producer.produce(address.topic, *record)
        if number % PAGE == 0:
            producer.poll(0)
    assert producer.flush() == 0
    return len(events) / (time.perf_counter() - began)


def bare_from(url: str, number: int) -> float:
    address = Address.of(url)
    settings = address.settings | CONSUMER | {"group.id": logs.unique("group")}
    with closing(Consumer(settings)) as consumer:
        consumer.assign([TopicPartition(address.topic, slot, 0) for slot in range(SLOTS)])
        while (message := consumer.poll(0.1)) is None:
            pass
        began, left = time.perf_counter(), number - 1
        while left:
            for message in consumer.consume(PAGE, 0.01):
                decode(message.value())
                left -= 1
        return number / (time.perf_counter() - began)
