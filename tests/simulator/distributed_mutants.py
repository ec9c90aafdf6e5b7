"""``distributed`` with one part broken on purpose: the simulator has to find each."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from marquee.errors import StoreAway
from marquee.model import REMOVED, Applied, Erasure, Pair, Rating, RatingChanged
from marquee.ports import EventLog, Intent, Outbox, TotalsStore
from marquee.promises import Promises
from marquee.relay import MINUTE, Pause, Relay, Shard, arrive
from tests.simulator.outbox import MemoryOutbox
from tests.simulator.processes import WHOLE, UnrulyRatings

# ---- the relay ---------------------------------------------------------------------------------


class NeverSweeps(Relay):
    async def _sweep(self, number: int, minute: int, *, hurry: bool) -> int:
        return 1


class SweepsWhatIsOpen(Relay):
    def _due(self, now: int) -> int:
        return now // MINUTE


class SweepsAsItCloses(Relay):
    """An intent that was sent in time may not be there yet."""

    def _due(self, now: int) -> int:
        return now // MINUTE - 1


class SweepsWhatWasSent(Relay):
    """Says what intents say, not what became of them."""

    async def _sweep(self, number: int, minute: int, *, hurry: bool) -> int:
        rows = 0
        async for page in self._outbox.intents(number, minute):
            await self._outbox.settle(page)
            await self._publish([self._outbox.event(i.rating) for i in page if i.rating.movie_id])
            rows += len(page)
        return rows


class SaysSweptTooSoon(Relay):
    async def sweep(self, shard: Shard) -> bool:
        before, due = shard.swept, self._due(await self._outbox.now())
        if due > before and await self._outbox.swept(shard.number, self._name, due):
            shard.swept = due
            for minute in range(before + 1, due + 1):
                await self._sweep(shard.number, minute, hurry=True)
        return shard.swept > before


class SweepsTheLastAlone(Relay):
    async def sweep(self, shard: Shard) -> bool:
        shard.swept = max(shard.swept, self._due(await self._outbox.now()) - 1)
        return await super().sweep(shard)


class ReadsNothingAgain(Relay):
    """A row that shows up late is left to the sweep."""

    async def poll(self, shard: Shard) -> int:
        now = await self._outbox.now()
        relayed = await super().poll(shard)
        shard.since = max(shard.since, now)
        return relayed


class BeginsWithWhatIsNew(Relay):
    """What another relay may have left is left to the sweep."""

    async def _take(self, number: int) -> None:
        now = await self._outbox.now()
        await super()._take(number)
        if number in self.shards:
            self.shards[number].since = now


class TakesAwayForKept(Relay):
    async def _publish(self, events: Sequence[RatingChanged]) -> None:
        with suppress(StoreAway):
            await super()._publish(events)


# ---- the outbox --------------------------------------------------------------------------------


class LeavesHalves(MemoryOutbox):
    async def _settle(self, rating: Rating) -> Rating:
        _, stored = await self._stands(rating)
        return rating._replace(value=stored.value, version=stored.version) if stored else rating


class ReadsNothingBack(MemoryOutbox):
    """An erasure may have hidden what is written again."""

    async def _settle(self, rating: Rating) -> Rating:
        erased, stored = await self._stands(rating)
        word = Applied(rating.version, rating.value)
        if rating.version > erased and (stored is None or stored < word):
            await self._write(rating)
            return rating
        return await super()._settle(rating)


class SeesNoErasure(MemoryOutbox):
    """What is still to be deleted stands."""

    async def _settle(self, rating: Rating) -> Rating:
        settled = await super()._settle(rating)
        stored = await self._look(rating.user_id, rating.movie_id)
        if stored is None:
            return settled
        return rating._replace(value=stored.value, version=stored.version)


class SettlesNoErasure(MemoryOutbox):
    async def _settle_erasure(self, whole: Rating) -> list[RatingChanged]:
        return []


class SettlesTheNewestAlone(MemoryOutbox):
    """Also of a user's erasures, of which an older one may have been decided."""

    async def settle(self, intents: Sequence[Intent]) -> list[RatingChanged]:
        ordered = sorted(intents, key=lambda intent: intent.rating.version)
        newest = {intent.rating[:2]: intent for intent in ordered}
        return await super().settle(list(newest.values()))


class ErasesWhatNobodyDecided(MemoryOutbox):
    """Does afterwards what its caller was told had failed."""

    async def _settle_erasure(self, whole: Rating) -> list[RatingChanged]:
        await self._decide(whole, Erasure(self.event(whole).rater, whole.version, 0))
        return await super()._settle_erasure(whole)


# ---- the rating store --------------------------------------------------------------------------


class RatesFirst(UnrulyRatings):
    async def _intend_and_look(self, rating: Rating) -> tuple[int, Applied | None]:
        stands = await self._stands(rating)
        await self._write(rating)
        await self._intend([rating])
        return stands


class TakesAnyTime(UnrulyRatings):
    """An intent that comes to stand when its bucket was swept counts all the same."""

    async def _intend(self, ratings: Sequence[Rating]) -> None:
        await self._send(ratings, self._now())


class TrustsItsClock(UnrulyRatings):
    async def _intend_and_look(self, rating: Rating) -> tuple[int, Applied | None]:
        await super()._intend_and_look(rating)
        return 0, None


class WritesBelowErasures(UnrulyRatings):
    async def _intend_and_look(self, rating: Rating) -> tuple[int, Applied | None]:
        _, stored = await super()._intend_and_look(rating)
        return 0, stored


class DatesEverybodyAhead(UnrulyRatings):
    """A version above one from the future is the least for everybody's next."""

    def _version(self, above: int) -> int:
        self._clock.seen(above)
        return self._clock.next()


class ErasesWithoutIntent(UnrulyRatings):
    async def _intend(self, ratings: Sequence[Rating]) -> None:
        await super()._intend([rating for rating in ratings if rating.movie_id])


class ErasesInSilence(UnrulyRatings):
    async def _carry_out(self, whole: Rating) -> list[Rating]:
        await self._delete(whole.user_id, whole.version)
        return []


class ErasesWhatWasDeclined(UnrulyRatings):
    """Frozen until its erasure was declared void, it goes on."""

    async def _decide(self, whole: Rating, receipt: Erasure | None) -> bool:
        if not await super()._decide(whole, receipt):
            del self._disk.never[whole.user_id]
            return await super()._decide(whole, receipt)
        return True


# ---- promises ----------------------------------------------------------------------------------


class RebuildsTooSoon(Promises):
    """Takes a rating that is not written yet for one that is gone."""

    async def _lasting(self, ahead: Mapping[Pair, Applied]) -> dict[Pair, RatingChanged]:
        return {pair: RatingChanged(*pair, seen.version, REMOVED) for pair, seen in ahead.items()}


async def wait_for_no_sweep(
    outbox: Outbox, events: EventLog, totals: TotalsStore, pause: Pause
) -> None:
    await arrive(Swept(outbox), events, totals, pause)  # type: ignore[arg-type]


async def look_at_the_ends_first(
    outbox: Outbox, events: EventLog, totals: TotalsStore, pause: Pause
) -> None:
    await arrive(outbox, Ended(await events.ends()), totals, pause)  # type: ignore[arg-type]


class Swept:
    """An outbox of which all is swept, at any time."""

    def __init__(self, outbox: Outbox) -> None:
        self.now = outbox.now

    async def swept_to(self) -> list[int]:
        return [await self.now()]


class Ended:
    """A log that ends where it once did."""

    def __init__(self, ends: dict[int, int]) -> None:
        self._ends = ends

    async def ends(self) -> dict[int, int]:
        return self._ends


BROKEN: dict[str, tuple[Any, ...]] = {
    "relay": (
        NeverSweeps,
        SweepsWhatIsOpen,
        SweepsAsItCloses,
        SweepsWhatWasSent,
        SaysSweptTooSoon,
        SweepsTheLastAlone,
        ReadsNothingAgain,
        BeginsWithWhatIsNew,
        TakesAwayForKept,
    ),
    "outbox": (
        LeavesHalves,
        ReadsNothingBack,
        SeesNoErasure,
        SettlesNoErasure,
        SettlesTheNewestAlone,
        ErasesWhatNobodyDecided,
    ),
    "two_step_store": (
        RatesFirst,
        TakesAnyTime,
        TrustsItsClock,
        WritesBelowErasures,
        DatesEverybodyAhead,
        ErasesWithoutIntent,
        ErasesInSilence,
        ErasesWhatWasDeclined,
    ),
    "promises": (RebuildsTooSoon,),
    "arrive": (wait_for_no_sweep, look_at_the_ends_first),
}

MUTANTS = {
    mutant.__name__: replace(WHOLE, **{part: mutant})
    for part, mutants in BROKEN.items()
    for mutant in mutants
}

RARE = {
    "DatesEverybodyAhead",
    "ErasesWhatWasDeclined",
    "ReadsNothingBack",
    "SeesNoErasure",
    "TakesAnyTime",
}
"""Seldom met by dice: found where every order is tried (``test_halves``)."""
