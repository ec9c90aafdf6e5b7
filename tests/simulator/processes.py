"""The processes of a simulation: the real stages, what they stand on, and how they die."""

import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypeGuard

from marquee.aggregation import Aggregator
from marquee.errors import StoreAway
from marquee.model import Applied, Rating, RatingChanged
from marquee.ports import Batch
from marquee.promises import Promises
from marquee.ratings import Ratings
from marquee.relay import Relay, arrive
from marquee.toprated import Refresher, TopRated
from tests.simulator.ledger import Operation
from tests.simulator.outbox import MemoryOutbox, MemoryTopic, TwoStepRatings
from tests.simulator.stores import (
    MemoryCache,
    MemoryCharts,
    MemoryLog,
    MemoryRatings,
    MemoryTotals,
)

POISON = b"a poison"
"""How the rater of an event begins that nobody can fold."""


class Crash(BaseException):
    """kill -9: nothing that the process still does has an effect."""


@types.coroutine
def point(name: str) -> Generator[str, None, None]:
    yield name


class UnrulyLog(MemoryLog):
    """Delivers in small batches, disordered, with records of elsewhere in between, and at times
    from an earlier position than it should. ``calm``: only in small batches."""

    random: Random
    calm = False

    def _poll(self, limit: int) -> Batch | None:
        if self._at and not self.calm and self.random.random() < 0.05:
            partition = self.random.choice(list(self._at))
            self._at[partition] = self.random.randint(0, self._at[partition])
        return super()._poll(min(limit, 1 + int(self.random.random() * 6)))

    def _batch(self, partition: int, start: int, end: int) -> Batch:
        batch = super()._batch(partition, start, end)
        if not self.calm and self.random.random() < 0.4:
            strays = self.random.choices(self._log.partitions[partition], k=3)
            events = [*batch.events, *(e for e in strays if is_sound(e))]
            self.random.shuffle(events)
            return Batch(events, batch.poison, partition, start, end)
        return batch


def is_sound(record: object) -> TypeGuard[RatingChanged]:
    return isinstance(record, RatingChanged) and not record.rater.startswith(POISON)


class UnrulyRatings(TwoStepRatings):
    """What goes out at once may come to be in either order."""

    random: Random

    async def _intend_and_look(self, rating: Rating) -> tuple[int, Applied | None]:
        if self.random.random() < 0.5:
            return await super()._intend_and_look(rating)
        stands = await self._stands(rating)
        await self._intend([rating])
        return stands


class UnrulyTopic(MemoryTopic):
    """May be away, and may keep some of the events before the others."""

    random: Random
    is_away: Callable[[], bool]

    async def publish(self, events: Sequence[RatingChanged]) -> None:
        if self.is_away():
            raise StoreAway("the log is away")
        if self.random.random() < 0.2:
            cut = self.random.randint(0, len(events))
            await super().publish(events[:cut])
            events = events[cut:]
        await super().publish(events)


@dataclass(frozen=True)
class Parts:
    """What is simulated; a test breaks one part on purpose to see the simulator find it."""

    ratings: type[Ratings] = Ratings
    aggregator: type[Aggregator] = Aggregator
    refresher: type[Refresher] = Refresher
    reader: type[TopRated] = TopRated
    promises: type[Promises] = Promises
    rating_store: type[MemoryRatings] = MemoryRatings
    two_step_store: type[UnrulyRatings] = UnrulyRatings
    outbox: type[MemoryOutbox] = MemoryOutbox
    topic: type[UnrulyTopic] = UnrulyTopic
    relay: type[Relay] = Relay
    arrive: Callable[..., Awaitable[None]] = arrive
    log: type[UnrulyLog] = UnrulyLog
    totals: type[MemoryTotals] = MemoryTotals
    charts: type[MemoryCharts] = MemoryCharts
    cache: type[MemoryCache] = MemoryCache


WHOLE = Parts()


class Process:
    """A stage that can die and start again. ``skew``: how far its clock is off."""

    def __init__(self, name: str, build: Callable[["Process"], Any]) -> None:
        self.name = name
        self.skew = 0
        self.build = build
        self.seen = 0
        self.tasks: list[Task] = []
        self.stage = build(self)

    def restart(self) -> None:
        self.seen = 0
        self.stage = self.build(self)


class Task:
    __slots__ = ("at", "coroutine", "label", "operation", "process", "result")

    def __init__(
        self,
        process: Process,
        label: str,
        coroutine: Coroutine[Any, Any, Any],
        operation: Operation | None,
    ) -> None:
        self.process = process
        self.label = label
        self.coroutine = coroutine
        self.operation = operation
        self.at = "the start"
        self.result: Any = None


def kill(task: Task) -> None:
    """Ends a task where it stands; a handler that would still call a store dies at its point."""
    while True:
        try:
            task.coroutine.throw(Crash())
        except (Crash, StopIteration):
            return
