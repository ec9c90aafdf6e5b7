"""The driver's consumer, in a thread of its own: it blocks, and the event loop must not.

It tells what happens by ``arrivals``, in order: records, and which partitions the group gives and
takes. Which of those are read, and from where, it is told: no offset is kept in Kafka.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from .client import Address
from .records import Content, content, traced_content

SETTINGS = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "partition.assignment.strategy": "cooperative-sticky",  # what stays with us goes on
    "session.timeout.ms": 6000,
    "heartbeat.interval.ms": 1500,
    "isolation.level": "read_uncommitted",  # a stranger's open transaction holds nobody up
    "fetch.wait.max.ms": 100,  # a partition that is begun waits so long for the request before it
    "fetch.error.backoff.ms": 100,
    "fetch.queue.backoff.ms": 10,  # by default a full queue is looked at a second later
    "queued.min.messages": 20_000,
    "queued.max.messages.kbytes": 16 * 1024,
}
SLICE = 0.05
"""Seconds after which a wait looks whether the group gave or took anything."""

T = TypeVar("T")


class Given(NamedTuple):
    partitions: list[int]


class Taken(NamedTuple):
    partitions: list[int]


class Failed(NamedTuple):
    partition: int
    error: KafkaError


class Run(NamedTuple):
    """Records of one partition, each behind the one before, from the offset ``first`` on."""

    partition: int
    first: int
    contents: list[Content]


Arrival = Given | Taken | Failed | Run


class Source:
    def __init__(self, address: Address, group: str, slots: int, *, traced: bool) -> None:
        self.arrivals: deque[Arrival] = deque()
        self._address = address
        self._settings = address.settings | SETTINGS | {"group.id": group}
        self._slots = slots
        self._content = traced_content if traced else content
        self._thread = ThreadPoolExecutor(1, "kafka-log")
        self._ours: set[int] = set()
        self._read: set[int] = set()
        self._consumer: Any = None
        self._leaving = False
        self.broken = False
        """Whether another consumer alone can go on: the driver has failed, or the topic is new."""

    async def fetch(self, most: int, seconds: float) -> None:
        """Wait so long for what arrives, and take at most so many records of it."""
        await self._run(partial(self._fetch, most, seconds))

    async def read_from(self, offsets: Mapping[int, int]) -> None:
        """Read these partitions from these offsets on, as long as they are ours."""
        await self._run(partial(self._read_from, offsets))

    async def leave_out(self, partitions: Iterable[int]) -> None:
        await self._run(partial(self._leave_out, set(partitions)))

    async def close(self) -> None:
        self._leaving = True
        await self._run(self._close)
        self._thread.shutdown(wait=False)

    async def _run(self, job: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, job)
        except KafkaException as failed:
            self.broken = True
            raise self._address.away(failed.args[0]) from failed

    # ---- in the thread

    def _fetch(self, most: int, seconds: float) -> None:
        if self._consumer is None:
            self._consumer = Consumer(self._settings)
            self._consumer.subscribe(
                [self._address.topic], on_assign=self._given, on_revoke=self._taken
            )
        until = time.monotonic() + seconds
        while True:
            left = max(0.0, until - time.monotonic())
            message = self._consumer.poll(min(SLICE, left))
            if message is not None:
                # `consume` alone would wait for all of them, or for all of its time.
                self._sort([message, *self._consumer.consume(most, 0)])
            if self.arrivals or self._leaving or not left:
                return

    def _sort(self, messages: list[Any]) -> None:
        slots, at, behind = self._slots, -1, -1
        contents: list[Content] = []
        for message in messages:
            error, partition, offset = message.error(), message.partition(), message.offset()
            if error is not None:
                self.arrivals.append(Failed(partition, error))
                continue
            if partition != at or offset != behind:
                contents = []
                self.arrivals.append(Run(partition, offset, contents))
            contents.append(self._content(message, partition, slots))
            at, behind = partition, offset + 1

    def _read_from(self, offsets: Mapping[int, int]) -> None:
        self._leave_out(self._read & offsets.keys())
        ours = self._ours & offsets.keys()
        self._consumer.incremental_assign(
            [
                TopicPartition(self._address.topic, partition, offsets[partition])
                for partition in ours
            ]
        )
        self._read |= ours

    def _leave_out(self, partitions: set[int]) -> None:
        left = self._read & partitions
        self._consumer.incremental_unassign(
            [TopicPartition(self._address.topic, partition) for partition in left]
        )
        self._read -= left

    def _given(self, consumer: Any, places: list[Any]) -> None:
        consumer.incremental_assign([])  # a place to read from is not known yet
        partitions = [place.partition for place in places]
        self._ours.update(partitions)
        self.arrivals.append(Given(partitions))

    def _taken(self, _: Any, places: list[Any]) -> None:
        partitions = [place.partition for place in places]
        self._leave_out(set(partitions))
        self._ours.difference_update(partitions)
        self.arrivals.append(Taken(partitions))

    def _close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
