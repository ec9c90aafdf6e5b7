"""The system with one part broken on purpose: the simulator has to find each."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from marquee.aggregation import Aggregator
from marquee.errors import StoreAway
from marquee.model import (
    NEVER,
    REMOVED,
    Applied,
    Chart,
    Delta,
    Erasure,
    Pair,
    Prior,
    Rating,
    RatingChanged,
    Standing,
    fold,
    latest,
    mean_rating,
)
from marquee.ports import Batch
from marquee.ratings import Ratings
from marquee.toprated import TopRated
from tests.simulator.processes import WHOLE, UnrulyLog
from tests.simulator.stores import (
    MemoryCache,
    MemoryCharts,
    MemoryRatings,
    MemoryTotals,
    between_points,
)

Words = Mapping[Pair, Applied]
Folded = tuple[dict[Pair, Applied], dict[str, Delta]]


def forgotten(applied: Words) -> Words:
    """The values without their versions: whatever comes is newer."""
    return {pair: Applied(0, word.value) for pair, word in applied.items()}


# ---- the fold ----------------------------------------------------------------------------------


class IgnoresVersions(MemoryTotals):
    @staticmethod
    def folded(applied: Words, changes: Words) -> Folded:
        return fold(forgotten(applied), changes)


class CountsTwice(MemoryTotals):
    """What was applied already counts again."""

    @staticmethod
    def folded(applied: Words, changes: Words) -> Folded:
        return fold(applied, changes)[0], fold({}, changes)[1]


class KeepsTheOldScore(MemoryTotals):
    @staticmethod
    def folded(applied: Words, changes: Words) -> Folded:
        newer, deltas = fold(applied, changes)
        return newer, {movie: [max(0, n) for n in delta] for movie, delta in deltas.items()}


class ForgetsRemovals(MemoryTotals):
    """A removal is counted, but its version does not stay as a marker."""

    @staticmethod
    def folded(applied: Words, changes: Words) -> Folded:
        newer, deltas = fold(applied, changes)
        return {p: NEVER if word.value == REMOVED else word for p, word in newer.items()}, deltas


class SkipsRemovalsOfNothing(MemoryTotals):
    """A removal that comes before its rating leaves no marker."""

    @staticmethod
    def folded(applied: Words, changes: Words) -> Folded:
        newer, deltas = fold(applied, changes)
        return {p: word for p, word in newer.items() if p in applied or p[0] in deltas}, deltas


class SmallerValueWinsTies(MemoryTotals):
    @staticmethod
    def folded(applied: Words, changes: Words) -> Folded:
        def wins(pair: Pair, word: Applied) -> bool:
            known = applied.get(pair, NEVER)
            return (word.version, -word.value) > (known.version, -known.value)

        return fold(forgotten(applied), {p: word for p, word in changes.items() if wins(p, word)})


class FirstValueWinsTies(MemoryTotals):
    @staticmethod
    def folded(applied: Words, changes: Words) -> Folded:
        newer = {p: w for p, w in changes.items() if w.version > applied.get(p, NEVER).version}
        return fold(applied, newer)


class LastOfABatchWins(MemoryTotals):
    @staticmethod
    def latest(events: Iterable[RatingChanged]) -> dict[Pair, Applied]:
        return {pair: word for event in events for pair, word in latest([event]).items()}


class FoldsWhateverItSays(MemoryTotals):
    """Value 0 counts at the other end of the distribution."""

    @staticmethod
    def latest(events: Iterable[RatingChanged]) -> dict[Pair, Applied]:
        return {(movie, rater): Applied(*word) for movie, rater, *word in sorted(events)}


# ---- positions, poison, the log ----------------------------------------------------------------


class ForgetsPositions(MemoryTotals):
    """Folds a batch wherever it begins."""

    def _check(self, batch: Batch) -> None:
        pass


class DropsPoison(MemoryTotals):
    def _fold(self, batch: Batch) -> int:
        return super()._fold(Batch(batch.events, (), batch.partition, batch.start, batch.end))


class NeverLooksBack(UnrulyLog):
    """Goes on from where it is, though the totals were restored, or a seek has failed."""

    def _look_back(self) -> None:
        pass


# ---- the stages --------------------------------------------------------------------------------


class DoneBeforeFolded(Aggregator):
    async def _fold(self, batch: Batch) -> int:
        await self._events.done(batch)
        return await super()._fold(batch)


class StopsAtPoison(Aggregator):
    async def _fold(self, batch: Batch) -> int:
        try:
            return await self._totals.fold(batch)
        except ValueError as error:
            raise StoreAway("once more") from error


class TakesAnyTen(TopRated):
    def take(self, chart: Chart) -> None:
        self.ten = chart


class ClaimsWhatFailed(Ratings):
    async def remove(self, user_id: str, movie_id: str) -> None:
        with suppress(StoreAway):
            await super().remove(user_id, movie_id)


class MissesAChangeMeanwhile(Ratings):
    """Remembers a movie that was taken out while the catalogue's answer was on its way."""

    def _forget(self, movie_id: str) -> None:
        self._known.discard(movie_id)


# ---- the stores --------------------------------------------------------------------------------


class TrustsTheClock(MemoryRatings):
    """A version is the time, also where a higher one is stored."""

    @between_points
    def write(self, user_id: str, movie_id: str, value: int) -> Rating:
        rating = Rating(user_id, movie_id, value, self._clock.next())
        self._put(rating)
        return rating


class ErasesInSilence(MemoryRatings):
    @between_points
    def erase(self, user_id: str) -> Erasure:
        count = len(self._disk.ratings.pop(user_id, {}))
        return Erasure(self.rater(user_id), self._clock.next(), count)


class ForgetsErasures(MemoryRatings):
    """An import, or a clock that is behind, stays below the removals that the erasure sent."""

    def _erased(self, user_id: str) -> int:
        return 0


class LosesEvents(MemoryRatings):
    """One in ten."""

    def _put(self, rating: Rating) -> None:
        super()._put(rating)
        if self._disk.sent % 10 == 0:
            self._disk.outbox.popitem()


class NamesItsUsers(MemoryRatings):
    def rater(self, user_id: str) -> bytes:
        return user_id.encode()


class CachesTheLast(MemoryCache):
    @between_points
    def put(self, chart: Chart) -> None:
        self._disk.chart = chart


class RefreshesByTheClock(MemoryCharts):
    """The time of refresh goes back with the clock, and then nobody takes it."""

    def _refreshed_at(self, before: Chart | None) -> int:
        return self._now()


class RanksUnrounded(MemoryCharts):
    def _place(self, standing: Standing, prior: Prior) -> tuple[float | str, ...]:
        mean = mean_rating(standing.totals.number, standing.totals.total, prior) or 0
        return (-mean, *super()._place(standing, prior))


class TakesUnknownForNothing(MemoryCharts):
    """A box office of 0 and one that is not known rank alike."""

    def _place(self, standing: Standing, prior: Prior) -> tuple[float | str, ...]:
        rate, box_office, *rest = super()._place(standing, prior)
        return (rate, 0 if box_office == 1 else box_office, *rest)


BROKEN: dict[str, tuple[type[Any], ...]] = {
    "totals": (
        IgnoresVersions,
        CountsTwice,
        KeepsTheOldScore,
        ForgetsRemovals,
        SkipsRemovalsOfNothing,
        SmallerValueWinsTies,
        FirstValueWinsTies,
        LastOfABatchWins,
        FoldsWhateverItSays,
        ForgetsPositions,
        DropsPoison,
    ),
    "log": (NeverLooksBack,),
    "aggregator": (DoneBeforeFolded, StopsAtPoison),
    "reader": (TakesAnyTen,),
    "ratings": (ClaimsWhatFailed, MissesAChangeMeanwhile),
    "rating_store": (
        TrustsTheClock,
        ErasesInSilence,
        ForgetsErasures,
        LosesEvents,
        NamesItsUsers,
    ),
    "cache": (CachesTheLast,),
    "charts": (RefreshesByTheClock, RanksUnrounded, TakesUnknownForNothing),
}

MUTANTS = {
    mutant.__name__: replace(WHOLE, **{part: mutant})
    for part, mutants in BROKEN.items()
    for mutant in mutants
}
