"""Between first and second: what the rating store's outbox holds is brought to the event log.

At least once and in any order; versions decide later. A shard of the outbox is followed as its
rows appear, and each of its buckets is *swept* once more after it closed, by which a rating that
was cut in half is completed. Any number of relays share the shards by leases. One that was taken
for dead, and wakes, says again what was said: no harm.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

from .errors import StoreAway
from .model import RatingChanged, Traced
from .ports import EventLog, Intent, Outbox, Topic, TotalsStore
from .tracing import UNTRACED, Tracer
from .troubles import Trouble

SECOND, MINUTE = 1_000_000, 60_000_000
"""In microseconds; a bucket is a minute."""

LEASE_SECONDS = 6.0
ATTEND_SECONDS = 1.5
"""Between two looks at who lives: in the time of both, what a dead relay had is another's."""

GLANCE, WINDOW = SECOND, 33 * SECOND
"""What each poll, and one now and then, reads again: a row takes its time to appear, and its
sender's clock may be behind. What takes more than 30 s is sent anew."""

WHOLE_EVERY = 5 * SECOND
"""Between two polls of all that."""

AHEAD = SECOND
"""By so much a sender's clock may be ahead."""

SWEEP_AFTER = 2 * MINUTE
"""After a bucket closed: long after the last moment at which an intent in it counts."""

CHUNK = 100
"""Intents that are swept at a time: few, so that the ratings beside it hardly notice."""

POLL_SECONDS, IDLE_SECONDS, LEAST_SECONDS = 0.05, 0.25, 0.01
"""From one poll of a shard to the next: where there was something, and where there was nothing for
long; and between them."""

POLLS = 16
"""Shards that are polled at once."""

PATIENCE = 300
"""Seconds without progress after which it is no use to wait."""

HELD_SECONDS = 30
"""By then whoever took events from a log without positions has folded them, or lost them again."""

Pause = Callable[[float], Awaitable[None]]
T = TypeVar("T")

log = logging.getLogger(__name__)


class Shard:
    """A shard that we hold, until ``until`` by our clock. All that was sent before ``since`` is
    relayed; of what was sent later, ``seen`` is. ``read_at``: when it was last read from there, by
    the store's time; ``near``: from where it is read meanwhile."""

    def __init__(self, number: int, swept: int, until: float) -> None:
        self.number = number
        self.swept = swept
        self.until = until
        self.since = self.near = (swept + 1) * MINUTE
        self.seen: set[Intent] = set()
        self.read_at = 0


class Relay:
    """Brings its share of the shards to the log. Any number of them may run, each of a name.

    ``relayed``: events that it has had the log keep.
    """

    def __init__(
        self,
        outbox: Outbox,
        topic: Topic,
        name: str = "",
        *,
        clock: Callable[[], float] = time.monotonic,
        pause: Pause = asyncio.sleep,
        tracer: Tracer = UNTRACED,
    ) -> None:
        self._outbox = outbox
        self._topic = topic
        self._tracer = tracer
        self._name = name or secrets.token_hex(8)
        self._clock = clock
        self._pause = pause
        self._polls = asyncio.Semaphore(POLLS)
        self._trouble = Trouble(log, "the relay waits for a store")
        self.shards: dict[int, Shard] = {}
        self.relayed = 0
        self._closed_at = clock()

    async def run(self) -> None:
        """Relay for ever; while a store is away, try again every second. Raises ``Unusable``."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._sweep_all())
                followed: set[Shard] = set()
                while True:
                    await self._patiently(self.attend)
                    held = set(self.shards.values())
                    for shard in held - followed:
                        group.create_task(self._follow(shard))
                    followed = held
                    await asyncio.sleep(ATTEND_SECONDS)
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from failed
        finally:
            with suppress(StoreAway):
                await self.leave()

    @property
    def unswept(self) -> float:
        """Seconds since the oldest bucket closed that nobody has swept, of all shards: 60 to 120,
        where all is well."""
        return max(0.0, self._clock() - self._closed_at)

    # ---- sharing

    async def attend(self) -> None:
        """Say that we live, and hold our fair share of the shards: no more, and no less."""
        living = await self._outbox.attend(self._name, LEASE_SECONDS)
        swept = await self._outbox.swept_to()
        ago = await self._outbox.now() - (min(swept) + 2) * MINUTE
        self._closed_at = self._clock() - ago / SECOND
        share, first = share_of(len(swept), len(living), living.index(self._name))
        for number, shard in list(self.shards.items()):
            left = shard.until - self._clock()
            if left <= 0:
                self._drop(shard)
            elif left < LEASE_SECONDS / 2:
                await self._take(number)
        while len(self.shards) > share:
            await self._let_go()
        for number in (*range(first, len(swept)), *range(first)):
            if len(self.shards) < share and number not in self.shards:
                await self._take(number)

    async def leave(self) -> None:
        """Let others have our shards at once."""
        await self._outbox.attend(self._name, 0)
        while self.shards:
            await self._let_go()

    async def _take(self, number: int) -> None:
        """Take a shard, or keep it."""
        held = self.shards.get(number)
        until = self._clock() + LEASE_SECONDS
        lease = await self._outbox.lease(number, self._name, LEASE_SECONDS)
        if lease is not None and held is not None and self._holds(held):
            held.until = until
            return
        if held is not None:
            self._drop(held)
        if lease is not None:
            self.shards[number] = Shard(number, lease.swept, until)

    async def _let_go(self) -> None:
        number = next(reversed(self.shards))
        self._drop(self.shards[number])
        await self._outbox.release(number, self._name)

    def _drop(self, shard: Shard) -> None:
        shard.until = float("-inf")
        if self.shards.get(shard.number) is shard:
            del self.shards[shard.number]

    def _holds(self, shard: Shard) -> bool:
        return self._clock() < shard.until

    # ---- following

    async def poll(self, shard: Shard) -> int:
        """Relay what has appeared; how many intents. Of a backlog, a bucket at a time."""
        now = await self._outbox.now()
        since, after = shard.near, shard.since
        whole = now >= shard.read_at + WHOLE_EVERY
        if whole:
            since, after = shard.since, max(shard.since, now - WINDOW)
        relayed = 0
        for minute in range(since // MINUTE, (now + AHEAD) // MINUTE + 1):
            async for page in self._outbox.intents(shard.number, minute, since):
                if page:
                    relayed += await self._relay(shard, page, after)
            shard.since = max(shard.since, min((minute + 1) * MINUTE, after))
            if shard.since < after and (relayed or not self._holds(shard)):
                return relayed
        if whole:
            shard.read_at = now
            shard.seen = {intent for intent in shard.seen if intent.sent_at >= after}
        shard.near = max(shard.near, now - GLANCE)
        return relayed

    async def _relay(self, shard: Shard, page: Sequence[Intent], after: int) -> int:
        """What of a page is new; remembered is what is sent after ``after``, and read again."""
        fresh = [intent for intent in page if intent not in shard.seen]
        # What an erasure takes away, only the sweep can tell; each removal is sent, too.
        ratings = [intent for intent in fresh if intent.rating.movie_id]
        events = [self._outbox.event(intent.rating) for intent in ratings]
        places = [intent.trace for intent in ratings]
        if any(places):
            await self._publish_traced(events, places)
        else:
            await self._publish(events)
        shard.seen.update(intent for intent in page if intent.sent_at >= after)
        shard.since = max(shard.since, min(page[-1].sent_at, after))
        return len(fresh)

    async def _follow(self, shard: Shard) -> None:
        wait = POLL_SECONDS
        while self._holds(shard):
            began = self._clock()
            async with self._polls:
                relayed = await self._patiently(partial(self.poll, shard))
            wait = POLL_SECONDS if relayed else min(2 * wait, IDLE_SECONDS)
            await asyncio.sleep(max(LEAST_SECONDS, began + wait - self._clock()))

    # ---- sweeping

    async def sweep(self, shard: Shard) -> bool:
        """Sweep the next bucket in which there is something; whether any was due."""
        due = self._due(await self._outbox.now())
        if shard.swept > due + 1:  # the store's clocks were set back: what is sent now was swept
            await self._outbox.swept(shard.number, self._name, due)
            self._drop(shard)  # to begin with it anew
            return False
        minute, rows = shard.swept, 0
        while minute < due and not rows and self._holds(shard):
            minute += 1
            rows = await self._sweep(shard.number, minute, hurry=minute < due)
        if minute == shard.swept:
            return False
        if await self._outbox.swept(shard.number, self._name, minute):
            shard.swept = minute
        else:
            self._drop(shard)
        return True

    def _due(self, now: int) -> int:
        """The last bucket that closed long enough ago."""
        return (now - SWEEP_AFTER) // MINUTE - 1

    async def _sweep(self, number: int, minute: int, *, hurry: bool) -> int:
        """Settle a bucket and relay what the store holds; how many intents were in it."""
        rows = 0
        async for page in self._outbox.intents(number, minute):
            for at in range(0, len(page), CHUNK):
                began = self._clock()
                await self._publish(await self._outbox.settle(page[at : at + CHUNK]))
                if not hurry:  # it is the ratings' turn for as long
                    await self._pause(self._clock() - began)
            rows += len(page)
        return rows

    async def _sweep_all(self) -> None:
        while True:
            shards = list(self.shards.values())
            if not any([await self._patiently(partial(self.sweep, shard)) for shard in shards]):
                await asyncio.sleep(1)

    async def _publish(self, events: Sequence[RatingChanged]) -> None:
        if events:
            await self._topic.publish(events)
            self.relayed += len(events)

    async def _publish_traced(self, events: Sequence[RatingChanged], places: list[str]) -> None:
        with self._tracer.steps("relay", [place for place in places if place]) as shown:
            on = [shown.get(place, place) for place in places]
            await self._publish([*map(Traced.behind, events, on)])

    async def _patiently(self, step: Callable[[], Awaitable[T]]) -> T | None:
        with self._trouble:
            return await step()
        await asyncio.sleep(1)
        return None


def share_of(shards: int, relays: int, rank: int) -> tuple[int, int]:
    """How many of the shards are a relay's, and with which it begins to look for them."""
    return shards // relays + (rank < shards % relays), rank * shards // relays


# ---- the other end -----------------------------------------------------------------------------


NOBODY_FOLDS = "No aggregator folds the log."


async def arrive(
    outbox: Outbox, events: EventLog, totals: TotalsStore, pause: Pause = asyncio.sleep
) -> None:
    """Wait until what was acknowledged before is in the totals: relayed, swept, folded.

    Asks the stores alone, so that any process can; with all at work it takes two to four minutes.
    Raises ``StoreAway`` where nobody seems to be at work, ``LogLost`` where nobody can be.
    """
    await events.check()  # else it is no use to wait

    async def folded(partition: int) -> int:
        return (await totals.position(partition)).offset

    async def waiting() -> int:
        return -await events.behind()

    await settle(outbox, pause)
    await events.check()
    ends = await events.ends()
    for partition, end in ends.items():
        await reach(end, partial(folded, partition), NOBODY_FOLDS, pause)
    if not ends:  # a log that knows no positions, nor what others have taken
        await reach(0, waiting, NOBODY_FOLDS, pause)
        await pause(HELD_SECONDS)
        await reach(0, waiting, NOBODY_FOLDS, pause)


async def settle(outbox: Outbox, pause: Pause = asyncio.sleep) -> None:
    """Wait until nothing of what was begun before is half done any more: until it is swept. Raises
    ``StoreAway`` where nobody seems to be at work."""
    bucket = (await outbox.now() + AHEAD) // MINUTE

    async def swept() -> int:
        return min(await outbox.swept_to())

    await reach(bucket, swept, "No relay sweeps the outbox.", pause)


async def reach(
    goal: int, progress: Callable[[], Awaitable[int]], nobody: str, pause: Pause
) -> None:
    """Wait for a figure that grows. Raises ``StoreAway``, saying ``nobody``, where it does not."""
    reached, waited = await progress(), 0
    while reached < goal:
        if waited >= PATIENCE:
            raise StoreAway(nobody)
        await pause(1)
        waited += 1
        before, reached = reached, await progress()
        if reached > before:
            waited = 0
