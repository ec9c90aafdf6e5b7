"""What was promised, checked and restored: totals are what the ratings say, exactly.

Everything is done online. A rating that is on its way is no drift, so whatever differs is looked
at again after the events had time to arrive.
"""

import asyncio
import time
import zlib
from array import array
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from copy import copy
from typing import Any, NamedTuple

from . import events
from .errors import Invalid, LogLost, PositionMoved
from .model import NEVER, REMOVED, Applied, Pair, RatingChanged, Totals
from .ports import Batch, Correction, DeadLetter, EventLog, RatingStore, TotalsStore

SETTLED_SECONDS = 600
"""What is applied against the store's word is taken back if it is older: in some stores the event
may be published a moment before its rating is there."""

AHEAD_SECONDS = 86_400
"""So far a clock may be ahead: what is dated later was not said just now, and is no time at all."""

SLICE = 500_000
"""Pairs that are kept in memory at a time."""

PAGE = 1000

NOBODY = array("I", [0] * 20)
"""How often each score was given, of a movie that nobody rated: small, for there are many."""

States = tuple[Applied | None, Applied | None]
"""What the rating store holds of a pair, and what is applied of it."""


class Drift(NamedTuple):
    """A movie whose totals are not what its ratings say."""

    movie_id: str
    said: Totals
    counted: Totals


async def nothing_is_half_done() -> None:
    """Where a rating and its event are kept at once."""


class Promises:
    """``drain``: folds, or waits for, what was acknowledged by the time it is called; where that
    can't come any more, ``settle`` waits until what was begun is no longer half done. ``log``: the
    event log, where it may be lost while the totals are not.

    ``left``: how much of what is ahead of the rating store was too new for the last rebuild."""

    def __init__(
        self,
        ratings: RatingStore,
        totals: TotalsStore,
        drain: Callable[[], Awaitable[None]],
        log: EventLog | None = None,
        settle: Callable[[], Awaitable[None]] = nothing_is_half_done,
    ) -> None:
        self._ratings = ratings
        self._log = log
        self._totals = totals
        self._drain = drain
        self._settle = settle
        self.left = 0

    # ---- verify

    async def verify(self) -> list[Drift]:
        """Every movie whose totals are not the fold of the rating store's ratings."""
        suspects = await self._suspects()
        if not suspects:
            return []
        movies: set[str] = set()
        slices = Slices()
        while slices.left and suspects:
            movies |= await self._drifted(suspects, slices)
            suspects -= movies
        movies |= await self._miscounted()
        said = await self._said(movies) if movies else {}
        counted = dict(zip(sorted(movies), await self._totals.totals(sorted(movies)), strict=True))
        return [Drift(id, Totals(tuple(said[id])), counted[id]) for id in sorted(movies)]

    async def _suspects(self) -> set[str]:
        """Movies whose totals, recounted totals and ratings are not all alike, at a glance."""
        said = await self._said(None)
        suspects = set()
        async for page in self._totals.scan_totals():
            for movie_id, stored, recounted in page:
                if not stored == recounted == Totals(tuple(said.pop(movie_id, NOBODY))):
                    suspects.add(movie_id)
        return suspects | set(said)

    async def _said(self, movies: Collection[str] | None) -> "dict[str, array[int]]":
        """How often the rating store has each score: of all movies, or of those asked for."""
        counts = {movie_id: copy(NOBODY) for movie_id in movies or ()}
        async for page in self._ratings.scan():
            for rating in page:
                if movies is None and rating.movie_id not in counts:
                    counts[rating.movie_id] = copy(NOBODY)
                if rating.movie_id in counts:
                    counts[rating.movie_id][rating.value - 1] += 1
        return counts

    async def _miscounted(self) -> set[str]:
        found = set()
        async for page in self._totals.scan_totals():
            found |= {movie_id for movie_id, stored, recounted in page if stored != recounted}
        return found

    async def _drifted(self, movies: Collection[str], slices: "Slices") -> set[str]:
        """Those of these movies of which pairs in the next slice are adrift."""
        slices.begin()
        first = await self._differing(movies, slices)
        if not first:
            return set()
        await asyncio.sleep(1)  # in some stores an event follows its rating a moment later
        await self._drain()
        second = await self._differing({movie_id for movie_id, _ in first}, slices, first)
        # What changed between the two sweeps is alive, not adrift.
        return {pair[0] for pair, states in second.items() if first[pair] == states}

    async def _differing(
        self, movies: Collection[str], slices: "Slices", among: Mapping[Pair, States] | None = None
    ) -> dict[Pair, States]:
        """The pairs of these movies of which the rating store and the totals hold two values: of
        the slice, or among others of it."""

        def wanted(pair: Pair) -> bool:
            return slices.has(pair) if among is None else pair in among

        applied: dict[Pair, Applied] = {}
        async for page in self._applied(movies):
            applied.update((pair, a) for pair, a in page if a.value != REMOVED and wanted(pair))
            slices.halve_if_large(applied)
        differing: dict[Pair, States] = {}
        async for event in self._sent_anew(movies):
            pair = (event.movie_id, event.rater)
            if wanted(pair):
                seen = applied.pop(pair, None)
                if seen is None or seen.value != event.value:
                    differing[pair] = (Applied(event.version, event.value), seen)
                    slices.halve_if_large(applied, differing)
        return differing | {pair: (None, seen) for pair, seen in applied.items()}

    async def _applied(
        self, movies: Collection[str] | None
    ) -> AsyncIterator[list[tuple[Pair, Applied]]]:
        """What is applied of all movies, or of these."""
        for movie_id in [None] if movies is None else movies:
            async for page in self._totals.scan_applied(movie_id):
                yield page

    # ---- rebuild

    async def rebuild(self, movies: Collection[str] | None = None) -> int:
        """Make the totals anew from the rating store, of all movies or of these; how many movies
        were not right.

        With all of them right, what the event log has lost is no loss: it is read on from what it
        still has.
        """
        bridges: Sequence[Batch] = ()
        if movies is None and self._log:
            bridges = await self._log.bridges()
        wrong: set[str] = set()
        self.left = 0
        slices = Slices()
        while slices.left:
            wrong |= await self._rebuild_slice(movies, slices)
        for movie_id in await self._miscounted() if movies is None else movies:
            if await self._totals.recount(movie_id):
                wrong.add(movie_id)
        for bridge in bridges:
            with suppress(PositionMoved):  # somebody reads on there already
                await self._totals.fold(bridge)
        return len(wrong)

    async def _rebuild_slice(self, movies: Collection[str] | None, slices: "Slices") -> set[str]:
        """Put each pair of the next slice right; the movies of which some were not."""
        slices.begin()
        # First what is applied, then what is stored: a rating is stored before it is applied, so
        # what the store does not have, or has older, was not just missed.
        applied: dict[Pair, Applied] = {}
        async for page in self._applied(movies):
            applied.update((pair, change) for pair, change in page if slices.has(pair))
            slices.halve_if_large(applied)
        repairs = Repairs(self._totals)
        ahead: dict[Pair, Applied] = {}
        async for event in self._sent_anew(movies):
            pair = (event.movie_id, event.rater)
            if slices.has(pair):
                seen = applied.pop(pair, NEVER)
                if seen > (event.version, event.value):
                    ahead[pair] = seen
                else:
                    await repairs.compare(event, seen)
        ahead |= {pair: seen for pair, seen in applied.items() if seen.value != REMOVED}
        settled = {pair: seen for pair, seen in ahead.items() if repairs.settled(seen)}
        self.left += len(ahead) - len(settled)
        for pair, event in (await self._lasting(settled)).items():
            await repairs.compare(event, settled[pair])
        await repairs.make()
        return repairs.movies

    async def _lasting(self, ahead: Mapping[Pair, Applied]) -> dict[Pair, RatingChanged]:
        """The store's word on these once all is done that was half done: in some stores an event
        may be ahead of its rating, and a version is no age in an import."""
        # What it does not have is gone: of equal versions removals win.
        said = {pair: RatingChanged(*pair, seen.version, REMOVED) for pair, seen in ahead.items()}
        if said:
            try:
                await self._drain()
            except LogLost:  # the word of the store is all there is
                await self._settle()
            async for event in self._sent_anew({movie_id for movie_id, _ in said}):
                if (pair := (event.movie_id, event.rater)) in said:
                    said[pair] = event
        return said

    async def _sent_anew(self, movies: Collection[str] | None) -> AsyncIterator[RatingChanged]:
        """The store's ratings as their events: of all movies, or of these."""
        user_id, rater = "", b""
        async for page in self._ratings.scan():
            for rating in page:
                if movies is not None and rating.movie_id not in movies:
                    continue
                if rating.user_id != user_id:  # a user's ratings come together
                    user_id, rater = rating.user_id, self._ratings.rater(rating.user_id)
                yield RatingChanged(rating.movie_id, rater, rating.version, rating.value)

    # ---- dead letters

    async def retry(self, letter: DeadLetter) -> None:
        """Fold a dead letter as the ordinary event that it should be: versions decide.

        Raises ``Invalid`` where it is none; it is kept then.
        """
        try:
            event = events.decode(letter.raw)
        except ValueError as error:
            raise Invalid(f"Dead letter {letter.id} is no event still: {error}.") from error
        await self._totals.bury(letter, Batch([event]))


class Slice(NamedTuple):
    """The pairs whose hash, divided by ``of``, leaves ``number``."""

    number: int = 0
    of: int = 1

    def has(self, pair: Pair) -> bool:
        movie_id, rater = pair
        return zlib.crc32(movie_id.encode() + rater) % self.of == self.number

    def halves(self) -> "tuple[Slice, Slice]":
        return Slice(self.number, 2 * self.of), Slice(self.number + self.of, 2 * self.of)


class Slices:
    """All pairs, a slice at a time: one that turns out to be too large is halved while it is read,
    and its other half comes later. ``left``: those to come."""

    def __init__(self) -> None:
        self.left = [Slice()]
        self._slice = Slice()

    def begin(self) -> None:
        self._slice = self.left.pop()
        self.has = self._slice.has

    def halve_if_large(self, *kept: dict[Pair, Any]) -> None:
        """``kept``: all that is kept of the slice, from which the other half goes."""
        while sum(map(len, kept)) > SLICE:
            self._slice, other = self._slice.halves()
            self.has = self._slice.has
            self.left.append(other)
            for pairs in kept:
                for pair in [pair for pair in pairs if not self.has(pair)]:
                    del pairs[pair]


class Repairs:
    """Gathers what is to be put right, and does so a thousand at a time."""

    def __init__(self, totals: TotalsStore) -> None:
        self._totals = totals
        now = time.time()
        self._young = (now - SETTLED_SECONDS) * 1e6, (now + AHEAD_SECONDS) * 1e6
        self._anew: list[RatingChanged] = []
        self._wrong: list[Correction] = []
        self.movies: set[str] = set()

    async def compare(self, event: RatingChanged, seen: Applied) -> None:
        """Hold what is applied against the word of the rating store."""
        said = Applied(event.version, event.value)
        if seen < said:
            self._anew.append(event)
        elif seen > said and self.settled(seen):
            self._wrong.append(Correction((event.movie_id, event.rater), seen, said))
        else:
            return
        if seen.value != said.value:
            self.movies.add(event.movie_id)
        if len(self._anew) + len(self._wrong) >= PAGE:
            await self.make()

    def settled(self, seen: Applied) -> bool:
        since, until = self._young
        return not since <= seen.version <= until

    async def make(self) -> None:
        if self._anew:
            await self._totals.fold(Batch(self._anew))
        if self._wrong:
            await self._totals.correct(self._wrong)
        self._anew, self._wrong = [], []
