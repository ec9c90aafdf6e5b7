"""Thousands of schedules, each by its seed; ``MARQUEE_SIMULATOR_SEEDS`` asks for more of them."""

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from marquee.adapters.memory import MemoryNotices
from marquee.aggregation import Aggregator
from marquee.model import REMOVED, Applied, Totals
from marquee.promises import Promises
from tests.simulator import checks, distributed_mutants, mutants
from tests.simulator.distributed import Distributed
from tests.simulator.ledger import Broken
from tests.simulator.processes import WHOLE, Parts
from tests.simulator.simulator import START, Simulator, quiet
from tests.simulator.stores import MemoryLog, MemoryRatings, MemoryTotals, MovieDisk

pytestmark = pytest.mark.no_cover

SEEDS = int(os.environ.get("MARQUEE_SIMULATOR_SEEDS", "3000"))

KINDS = [Simulator, Distributed]
MUTANTS = [
    *((Simulator, name, parts) for name, parts in mutants.MUTANTS.items()),
    *(
        (Distributed, name, parts)
        for name, parts in distributed_mutants.MUTANTS.items()
        if name not in distributed_mutants.RARE
    ),
]

REGRESSIONS = {
    # A movie is taken out while the catalogue's answer for a rating is on its way.
    "MissesAChangeMeanwhile": 76,
    # A seek fails, or the totals are restored, while nothing new comes.
    "NeverLooksBack": 146,
}
"""By the mutant that still has the fault: schedules that failed once, and must hold now."""


def simulate(seed: int, parts: Parts = WHOLE, kind: type[Simulator] = Simulator) -> Simulator:
    simulator = kind(seed, parts)
    with quiet():
        simulator.run()
    return simulator


def must_hold(seed: int, kind: type[Simulator] = Simulator) -> Simulator:
    try:
        return simulate(seed, kind=kind)
    except Broken as broken:
        again = f"python -m tests.simulator {seed} -v"
        if kind is Distributed:
            again += " --distributed"
        pytest.fail(f"{broken}\n\nSee the schedule again: {again}", pytrace=False)


@pytest.mark.parametrize("kind", KINDS)
def test_every_promise_holds_in_every_schedule(kind: type[Simulator]) -> None:
    base = random.SystemRandom().randrange(2**40)
    began = time.process_time()
    number = SEEDS if kind is Simulator else SEEDS // 2
    seeds = (*range(number // 3), *range(base, base + number * 2 // 3))
    done = [must_hold(seed, kind) for seed in seeds]
    a_second = len(done) / (time.process_time() - began)
    events = sum(simulator.events for simulator in done) / len(done)
    print(f"seeds from {base}: {a_second:.0f} schedules a second, of {events:.0f} events each")
    assert min(simulator.events for simulator in done) >= 20


@pytest.mark.parametrize("mutant", REGRESSIONS)
def test_what_once_failed(mutant: str) -> None:
    seed = REGRESSIONS[mutant]
    must_hold(seed)
    with pytest.raises(Broken):
        simulate(seed, mutants.MUTANTS[mutant])


@pytest.mark.parametrize(("kind", "mutant", "parts"), MUTANTS)
def test_what_is_broken_on_purpose_is_found(
    kind: type[Simulator], mutant: str, parts: Parts
) -> None:
    for seed in range(2000):
        try:
            simulate(seed, parts, kind)
        except Broken as found:
            must_hold(seed, kind)  # so it was the mutant
            print(f"{mutant} by seed {seed}: {found}"[:200])
            return
    pytest.fail(f"2000 schedules, and {mutant} was not found")


@pytest.mark.parametrize("options", [[], ["--distributed"]])
def test_a_seed_replays_in_another_process(options: list[str]) -> None:
    def schedule(hash_seed: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "tests.simulator", "5", "-v", *options],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert len(schedule("1").splitlines()) > 100
    assert schedule("1") == schedule("2")


def lose_totals(movies: MovieDisk) -> None:
    movies.totals.clear()


def lose_everything_applied(movies: MovieDisk) -> None:
    movies.totals.clear()
    movies.applied.clear()


def lose_what_is_applied_but_not_its_totals(movies: MovieDisk) -> None:
    movies.applied.clear()


def count_what_nobody_rated(movies: MovieDisk) -> None:
    movies.applied["m0", bytes(16)] = Applied(5, 7)
    movies.totals["gone"] = Totals((1, *[0] * 19))


def stand_where_it_was_earlier(movies: MovieDisk) -> None:
    for pair, (version, value) in movies.applied.items():
        if version > 1:
            movies.applied[pair] = Applied(version - 1, 1 if value == 20 else 20)


def be_ahead_of_the_ratings(movies: MovieDisk) -> None:
    for pair, (version, value) in movies.applied.items():
        movies.applied[pair] = Applied(version + 1, 1 if value == 20 else 20)


def hold_a_larger_value_of_the_same_version(movies: MovieDisk) -> None:
    for pair, (version, value) in movies.applied.items():
        movies.applied[pair] = Applied(version, min(REMOVED, value + 1))


def take_back_what_stands(movies: MovieDisk) -> None:
    for pair, (version, _) in movies.applied.items():
        movies.applied[pair] = Applied(version, REMOVED)


@pytest.mark.parametrize(
    "damage",
    [
        lose_totals,
        lose_everything_applied,
        lose_what_is_applied_but_not_its_totals,
        count_what_nobody_rated,
        stand_where_it_was_earlier,
        be_ahead_of_the_ratings,
        hold_a_larger_value_of_the_same_version,
        take_back_what_stands,
    ],
)
def test_what_was_damaged_is_rebuilt(damage: Callable[[MovieDisk], None]) -> None:
    for seed in range(50):
        simulator = simulate(seed)
        ratings, movies = simulator.rating_disk, simulator.movie_disk
        damage(movies)
        store = MemoryRatings(ratings, lambda: START)
        totals = MemoryTotals(movies, lambda: START)
        drain = Aggregator(MemoryLog(simulator.log_disk, movies), totals, MemoryNotices()).drain
        asyncio.run(Promises(store, totals, drain).rebuild())
        checks.folded(movies)
        checks.all_counted(ratings, movies, store.rater)
