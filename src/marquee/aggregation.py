"""Second: the events of the log are folded into each movie's totals, each exactly once.

The log may deliver late, twice or out of order, and an aggregator may die, freeze or fight with
another over the same batch: versions decide what counts, and the position is kept with the totals.
"""

import asyncio
import logging
from collections.abc import Collection
from dataclasses import replace

from .errors import PositionMoved, StoreAway
from .events import encode
from .ports import Batch, EventLog, Notices, Poison, TotalsStore
from .tracing import UNTRACED, Tracer
from .troubles import Trouble

BATCH = 10_000
"""Events in one fold, at most: the more of them share a movie, the less there is to write."""

log = logging.getLogger(__name__)


class Aggregator:
    """Folds batch after batch. Any number of them may run.

    ``folded``: records of the log that it has folded, or set aside. ``traced``: of the batch at
    hand, by version, where events come from in traces.
    """

    def __init__(
        self,
        events: EventLog,
        totals: TotalsStore,
        notices: Notices,
        tracer: Tracer = UNTRACED,
    ) -> None:
        self._events = events
        self._totals = totals
        self._notices = notices
        self._tracer = tracer
        self.folded = 0
        self.traced: dict[int, str] = {}

    async def step(self, most: int = BATCH) -> int:
        """Fold the next batch, if there is one, of ``most`` records; how many it held."""
        batch = await self._events.poll(most)
        if batch is None:
            return 0
        try:
            with self._tracer.steps("fold", self._places(batch)) as folded:
                changed = await self._fold(batch)
        except PositionMoved as moved:
            self._events.seek(batch.partition, moved.position)
            return 0
        except BaseException:
            self._events.again(batch)  # whatever became of it, also where it was cut off
            raise
        if changed:
            self._notices.tell("totals", " ".join(folded.values()))
        await self._events.done(batch)
        records = len(batch.events) + len(batch.poison)
        self.folded += records
        return records

    def _places(self, batch: Batch) -> Collection[str]:
        if self._tracer is not UNTRACED:
            self.traced.clear()
            self.traced |= {event.version: event.trace for event in batch.events if event.trace}
        return self.traced.values()

    async def drain(self) -> None:
        """Fold what is in the log by now; what comes meanwhile may wait."""
        left = await self._events.behind()
        while left > 0:
            folded = await self.step()
            left -= folded
            if not folded:  # another one may have folded them; to ask each time costs as a fold
                left = min(left, await self._events.behind())

    async def run(self) -> None:
        """Fold for ever, as the log delivers; while a store is away, try again every second."""
        trouble = Trouble(log, "aggregation waits for a store")
        while True:
            with trouble:
                await self.step()
                continue
            await asyncio.sleep(1)

    async def _fold(self, batch: Batch) -> int:
        try:
            return await self._totals.fold(batch)
        except (StoreAway, PositionMoved):
            raise
        except Exception:
            log.exception(
                "a batch of %d events can't be folded: looking for the one", len(batch.events)
            )
            return await self._totals.fold(await self._without_poison(batch))

    async def _without_poison(self, batch: Batch) -> Batch:
        """The batch with those events set aside that can't be folded even alone.

        The good ones are folded by this, too, without a position: harmless, for they come again.
        """
        good, poison = [], list(batch.poison)
        for event in batch.events:
            try:
                await self._totals.fold(Batch([event]))
            except StoreAway:
                raise
            except Exception as error:  # noqa: BLE001 - whatever it is, it is the event's
                poison.append(Poison(encode(event), f"{type(error).__name__}: {error}"))
            else:
                good.append(event)
        return replace(batch, events=good, poison=poison)
