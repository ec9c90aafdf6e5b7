"""What is read, and what is kept in memory, while totals are held against ratings."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import product
from typing import Any

import pytest

from marquee import promises
from marquee.model import REMOVED, Applied, Pair, Rating, RatingChanged, Totals
from marquee.ports import Batch, Correction
from marquee.promises import Promises, Slices, States
from tests.simulator.stores import MemoryRatings, MemoryTotals, MovieDisk, RatingDisk

MOVIES = [f"m{number}" for number in range(7)]
USERS = [f"u{number}" for number in range(20)]
LONG_AGO = 1_000_000_000_000_000
RIGHT = Totals((0,) * 7 + (len(USERS),) + (0,) * 12)
SMALL = 10


@pytest.fixture(params=[promises.SLICE, SMALL], ids=["at once", "in slices"])
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(promises, "SLICE", request.param)
    return int(request.param)


class Ratings(MemoryRatings):
    """Counts how often all of them are read."""

    scans = 0

    async def scan(self, user_id: str | None = None) -> AsyncIterator[list[Rating]]:
        self.scans += 1
        async for page in super().scan(user_id):
            yield page


class AppliedOf(MemoryTotals):
    """Gives what is applied of some movies, and nothing of all."""

    allowed: tuple[str, ...]

    async def scan_applied(
        self, movie_id: str | None = None
    ) -> AsyncIterator[list[tuple[Pair, Applied]]]:
        assert movie_id in self.allowed
        async for page in super().scan_applied(movie_id):
            yield page

    def scan_totals(self) -> AsyncIterator[list[tuple[str, Totals, Totals]]]:
        raise AssertionError("all movies are read")


class Told(Promises):
    """Tells how many pairs differed at a time, at most."""

    most = 0

    async def _differing(self, *about: Any) -> dict[Pair, States]:
        found = await super()._differing(*about)
        self.most = max(self.most, len(found))
        return found


class Stage:
    """Everybody has rated each movie, long ago, and it is applied."""

    def __init__(self, totals: type[MemoryTotals] = MemoryTotals) -> None:
        self.sent, self.movies = RatingDisk(), MovieDisk()
        self.ratings = Ratings(self.sent, lambda: LONG_AGO)
        self.totals = totals(self.movies, lambda: LONG_AGO)
        self.promises = Told(self.ratings, self.totals, self._drain)
        for user, movie in product(USERS, MOVIES):
            self.sent.ratings.setdefault(user, {})[movie] = Applied(LONG_AGO, 8)
            self.movies.applied[movie, self.ratings.rater(user)] = Applied(LONG_AGO, 8)
        self.movies.totals = dict.fromkeys(MOVIES, RIGHT)

    async def _drain(self) -> None:
        """Nothing is on its way."""


def lose_everything(disk: MovieDisk) -> None:
    disk.applied.clear()
    disk.totals.clear()


def apply_something_else(disk: MovieDisk) -> None:
    disk.applied = dict.fromkeys(disk.applied, Applied(LONG_AGO + 1, 9))


def count_strangers(disk: MovieDisk) -> None:
    for movie, number in product(MOVIES, range(len(USERS))):
        disk.applied[movie, number.to_bytes(16)] = Applied(LONG_AGO, 8)


def forget_removals(disk: MovieDisk) -> None:
    """As far as one that is applied tells, nobody has rated."""
    disk.applied = dict.fromkeys(disk.applied, Applied(LONG_AGO + 1, REMOVED))


DAMAGES = [lose_everything, apply_something_else, count_strangers, forget_removals]


@pytest.mark.parametrize("damage", DAMAGES)
def test_all_that_drifted_is_found_and_put_right(
    damage: Callable[[MovieDisk], None], size: int
) -> None:
    stage = Stage()
    damage(stage.movies)
    found = asyncio.run(stage.promises.verify())
    assert [(drift.movie_id, drift.said) for drift in found] == [(m, RIGHT) for m in MOVIES]
    assert stage.promises.most <= size
    before = stage.ratings.scans
    assert asyncio.run(stage.promises.rebuild()) == len(MOVIES)
    assert (stage.ratings.scans - before > 5) == (size == SMALL and damage is not lose_everything)
    assert stage.movies.totals == dict.fromkeys(MOVIES, RIGHT)
    assert asyncio.run(stage.promises.verify()) == []


def test_what_is_too_new_to_be_judged_is_told(size: int) -> None:
    stage = Stage()
    ahead = Applied(int(time.time() + 3600) * 1_000_000, 9)  # some clock is an hour ahead
    stage.movies.applied["m3", stage.ratings.rater("u7")] = ahead
    stage.movies.applied["m3", b"a stranger's own"] = ahead
    assert asyncio.run(stage.promises.rebuild()) == 1  # its row, by what is applied
    assert stage.promises.left == 2
    assert [drift.movie_id for drift in asyncio.run(stage.promises.verify())] == ["m3"]
    asyncio.run(stage.promises.rebuild({"m4"}))
    assert stage.promises.left == 0


def test_what_is_dated_as_no_clock_would_is_put_right(size: int) -> None:
    stage = Stage()
    nanoseconds = Applied(time.time_ns(), 9)
    stage.movies.applied["m3", stage.ratings.rater("u7")] = nanoseconds
    stage.movies.applied["m3", b"a stranger's own"] = nanoseconds
    assert asyncio.run(stage.promises.rebuild()) == 1
    assert (stage.promises.left, stage.movies.totals["m3"]) == (0, RIGHT)
    assert asyncio.run(stage.promises.verify()) == []


class SweptMeanwhile(MemoryTotals):
    """Just before it puts anything right, a relay completes what was cut in half."""

    sweep: Callable[[], None]

    async def correct(self, corrections: Sequence[Correction]) -> int:
        self.sweep()
        return await super().correct(corrections)


def test_what_is_half_done_is_not_taken_back(size: int) -> None:
    """A rating from a file is cut in half: its event is applied, and the one before it stands."""
    stage = Stage(SweptMeanwhile)
    pair, word = ("m3", stage.ratings.rater("u7")), Applied(LONG_AGO + 1, 9)
    asyncio.run(stage.totals.fold(Batch([RatingChanged(*pair, *word)])))
    applied = dict(stage.movies.applied)

    def sweep() -> None:
        """What it tells then is applied already."""
        stage.sent.ratings["u7"]["m3"] = word

    async def drain() -> None:
        sweep()

    stage.totals.sweep = sweep
    stage.promises = Told(stage.ratings, stage.totals, drain)
    assert asyncio.run(stage.promises.rebuild()) == 0
    assert stage.movies.applied == applied


def test_what_is_kept_is_never_more_than_a_slice(size: int) -> None:
    pairs = [(movie, user.encode()) for movie, user in product(MOVIES, USERS)]
    slices, met, most = Slices(), list[Pair](), 0
    while slices.left:
        slices.begin()
        kept = dict[Pair, int]()
        for pair in pairs:
            if slices.has(pair):
                kept[pair] = 1
                slices.halve_if_large(kept)
                most = max(most, len(kept))
        met += kept
    assert sorted(met) == sorted(pairs), "each once"
    assert most <= size


def test_one_movie_is_rebuilt_from_what_is_its_own(size: int) -> None:
    stage = Stage(AppliedOf)
    AppliedOf.allowed = ("m3",)
    apply_something_else(stage.movies)
    stage.movies.totals["m3"] = Totals()
    assert asyncio.run(stage.promises.rebuild({"m3"})) == 1
    assert stage.movies.totals["m3"] == RIGHT
    assert asyncio.run(stage.promises.rebuild({"m3"})) == 0
