"""The topic as its consumers see it: shared by a group, read from where the totals stand."""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from confluent_kafka import KafkaError
from confluent_kafka.admin import AdminClient, OffsetSpec

from ...errors import LogLost, StoreAway
from ...model import RatingChanged
from ...ports import Batch, Poison, Position, TotalsStore
from . import continuity
from .client import Address, Facts, check_slots, facts, partitions
from .records import Content, mark_of
from .source import Failed, Given, Run, Source, Taken

LOOK_SECONDS = 5.0
"""So often it is seen whether the topic is the same one still, and what was lost put right."""

AHEAD = 4
"""So many times what is asked for may wait here: the more, the larger the batches."""

T = TypeVar("T")


@dataclass(slots=True)
class Held:
    """A partition that the group gave us. ``at``: the offset to give next, None where that is to be
    asked; ``records`` follow from there. ``lost``: why it can't be read on from ``lost_at``.
    ``doubted``: where records seemed to be missing."""

    at: int | None = None
    records: deque[Content] = field(default_factory=deque)
    lost: str = ""
    lost_at: Position | None = None
    doubted: int = -1

    def begin(self, at: int | None) -> None:
        self.at = at
        self.records.clear()


class KafkaLog:
    """``ports.EventLog``. A position's offset is that of the next record to read.

    ``gather``: seconds in which records gather after all that there were was taken: each fold
    costs the less for each of them. ``patience``: seconds after which a poll gives up.
    """

    def __init__(
        self,
        url: str,
        totals: TotalsStore,
        group: str = "marquee-aggregators",
        *,
        gather: float = 0.2,
        patience: float = 1.0,
        traced: bool = False,
    ) -> None:
        self._address = Address.of(url)
        self._totals = totals
        self._group = group
        self._gather = gather
        self._gathered_at = 0.0
        self._patience = patience
        self._traced = traced
        self._asking = ThreadPoolExecutor(2, "kafka-asking")
        self._admin: AdminClient | None = None
        self._looking: asyncio.Task[None] | None = None
        self._seen = ""
        self._source: Source | None = None
        self._facts = Facts("", 0)
        self._slots = 0
        self._held: dict[int, Held] = {}
        self._seeks: dict[int, int] = {}
        self._moved: set[int] = set()  # by others: the totals may be another log's by now
        self._missing: dict[int, str] = {}
        self._idle = False
        self._look_at = 0.0

    # ---- ports.EventLog

    async def poll(self, limit: int) -> Batch | None:
        source = await self._look()
        if not self._waiting():
            await asyncio.sleep(self._gathered_at - time.monotonic())
        until = time.monotonic() + self._patience
        wait = 0.0
        while wait >= 0 and not source.broken:
            if self._waiting() < AHEAD * limit:
                await source.fetch(limit, wait)
            self._sort(source)
            await self._settle(source)
            if batch := self._take(limit):
                self._gathered_at = time.monotonic() + self._gather
                return batch
            wait = until - time.monotonic()
        self._idle = True
        return None

    def seek(self, partition: int, position: int) -> None:
        self._seeks[partition] = position
        self._moved.add(partition)

    def again(self, batch: Batch) -> None:
        if batch.start is not None:
            self._seeks[batch.partition] = batch.start

    async def done(self, batch: Batch) -> None:
        pass  # Kafka keeps it by time

    async def ends(self) -> dict[int, int]:
        every = range(await self._ask(partitions))
        return await self._ask(continuity.ends, every, OffsetSpec.latest())

    async def behind(self) -> int:
        ends = await self.ends()
        positions = await self._positions(ends)
        return sum(max(0, ends[p] - at.offset) for p, at in positions.items())

    async def check(self) -> None:
        found = await self._ask(facts)
        positions = await self._positions(range(found.partitions))
        if lost := await self._ask(continuity.losses, found, positions):
            raise self._lost(lost)

    async def bridges(self) -> Sequence[Batch]:
        found = await self._ask(facts)
        positions = await self._positions(range(found.partitions))
        return await self._ask(continuity.bridges, found, positions)

    # ---- beside the port

    async def agree(self, slots: int) -> None:
        """Raises ``Unusable`` where the topic was made with another number of slots, as does each
        poll from then on: it may be made anew, or get more partitions."""
        check_slots(self._address, await self._ask(partitions), slots)
        self._slots = slots

    def stopped(self) -> int:
        """How many partitions of ours stand still, until a rebuild."""
        return sum(bool(held.lost) for held in self._held.values())

    async def probe(self) -> None:
        """Raises ``StoreAway`` where Kafka is away, ``LogLost`` where a partition of ours stands
        still."""
        if lost := {partition: held.lost for partition, held in self._held.items() if held.lost}:
            raise self._lost(lost)
        await self._ask(partitions)

    async def close(self) -> None:
        """Leave the group: others need not wait for us to be missed."""
        source, self._source = self._source, None
        if self._looking is not None:
            self._looking.cancel()
        if source is not None:
            await source.close()
        self._asking.shutdown(wait=False)

    # ---- from where to where

    async def _look(self) -> Source:
        """See now and then whether the topic is the same one still, and whenever nothing came
        whether the totals stand where we do."""
        now, source = time.monotonic(), self._source
        if source is None or source.broken or self._seen != self._facts.id:
            source = await self._open()
        if now > self._look_at:
            self._look_at = now + LOOK_SECONDS
            self._looking = asyncio.create_task(self._look_at_topic())  # it holds nobody up
            await self._look_at_totals()
        elif self._idle:
            await self._look_at_totals()
        return source

    async def _look_at_topic(self) -> None:
        with suppress(StoreAway):  # told where it is read
            self._seen = (await self._ask(facts)).id

    async def _open(self) -> Source:
        found = await self._ask(facts)
        check_slots(self._address, found.partitions, self._slots or found.partitions)
        if self._source is not None:
            await self._source.close()
        self._facts = found
        self._seen = found.id
        self._held.clear()
        self._seeks.clear()
        self._source = Source(self._address, self._group, found.partitions, traced=self._traced)
        return self._source

    async def _look_at_totals(self) -> None:
        for partition, position in (await self._positions(self._held)).items():
            held = self._held[partition]
            if held.lost and position != held.lost_at:
                held.lost = ""
            elif (self._idle and held.at != position.offset) or continuity.is_of_another(
                position, self._facts
            ):
                held.begin(None)
        self._idle = False

    def _sort(self, source: Source) -> None:
        arrivals = source.arrivals
        while arrivals:
            arrival = arrivals.popleft()
            if isinstance(arrival, Run):
                self._put(arrival)
            elif isinstance(arrival, Given):
                for partition in arrival.partitions:
                    self._held[partition] = Held()
                    self._seeks.pop(partition, None)  # others may have read on meanwhile
            elif isinstance(arrival, Taken):
                for partition in arrival.partitions:
                    self._held.pop(partition, None)
            else:
                self._fail(arrival)

    def _fail(self, failed: Failed) -> None:
        code = failed.error.code()
        if code == KafkaError._AUTO_OFFSET_RESET:
            if held := self._held.get(failed.partition):
                held.begin(None)
        elif code != KafkaError._MAX_POLL_EXCEEDED:  # then the group takes us back by itself
            raise self._address.away(failed.error)

    def _put(self, run: Run) -> None:
        held = self._held.get(run.partition)
        if held is None or held.at is None:
            return
        expected = held.at + len(held.records)
        if run.first <= expected:  # what is below is there already
            held.records.extend(run.contents[expected - run.first :])
        elif held.doubted != expected:
            held.doubted = expected  # it may be from before a seek: read it once more
            self._seeks[run.partition] = held.at
            held.begin(None)
        else:
            held.begin(None)
            self._missing[run.partition] = f"records {expected}-{run.first - 1} are missing"

    async def _settle(self, source: Source) -> None:
        """Read on from where was sought, and begin what is new where the totals stand: in a log
        that is still the one that they were folded from."""
        seeks, self._seeks = self._seeks, {}
        held = self._held
        await self._begin(
            source, {p: at for p, at in seeks.items() if p in held and not held[p].lost}
        )
        lost, self._missing = self._missing, {}
        unsure = {p for p in held if held[p].at is None} | (self._moved & held.keys())
        unsure -= lost.keys() | {p for p in held if held[p].lost}
        positions = await self._positions(unsure)
        if positions:
            found, losses = await self._ask(weigh, positions)
            if found.id != self._facts.id:
                source.broken = True
                return
            lost |= losses
        self._moved.clear()
        new = {p: at.offset for p, at in positions.items() if p not in lost and held[p].at is None}
        await self._begin(source, new)
        if lost:
            await source.leave_out(lost)
            for partition, why in lost.items():
                held[partition].lost, held[partition].lost_at = why, positions.get(partition)
            raise self._lost(lost)

    async def _begin(self, source: Source, offsets: dict[int, int]) -> None:
        if offsets:
            await source.read_from(offsets)
            for partition, at in offsets.items():
                self._held[partition].begin(at)

    def _waiting(self) -> int:
        return sum(len(held.records) for held in self._held.values())

    def _take(self, limit: int) -> Batch | None:
        partition = next((p for p, held in self._held.items() if held.records), None)
        if partition is None:
            return None
        held = self._held[partition] = self._held.pop(partition)  # its next turn is the last
        contents = [held.records.popleft() for _ in range(min(limit, len(held.records)))]
        start, held.at = held.at, (held.at or 0) + len(contents)
        return Batch(
            [content for content in contents if isinstance(content, RatingChanged)],
            [content for content in contents if isinstance(content, Poison)],
            partition,
            start,
            held.at,
            mark_of(self._facts.id, contents[-1]),
        )

    # ---- asking

    async def _positions(self, partitions: Iterable[int]) -> dict[int, Position]:
        asked = list(partitions)
        found = await asyncio.gather(*map(self._totals.position, asked))
        return dict(zip(asked, found, strict=True))

    async def _ask(self, question: Callable[..., T], *about: Any) -> T:
        """What Kafka says to it, without holding anybody up. Raises ``StoreAway``."""
        admin = self._admin = self._admin or self._address.admin()
        asked = partial(question, self._address, admin, *about)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._asking, asked)
        except StoreAway:
            self._admin = None  # what it knows of the cluster may be long past
            raise

    def _lost(self, lost: dict[int, str]) -> LogLost:
        told = "; ".join(f"partition {partition}: {why}" for partition, why in sorted(lost.items()))
        return LogLost(f"{self._address.topic} can't be read on: run `marquee rebuild` ({told}).")


def weigh(
    address: Address, admin: AdminClient, positions: dict[int, Position]
) -> tuple[Facts, dict[int, str]]:
    """The topic as it is now, and what of it can't be read on from these positions."""
    found = facts(address, admin)
    return found, continuity.losses(address, admin, found, positions)
