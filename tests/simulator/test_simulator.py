"""Thousands of schedules, each by its seed; ``MARQUEE_SIMULATOR_SEEDS`` asks for more of them."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.simulator.ledger import Broken
from tests.simulator.mutants import MUTANTS
from tests.simulator.processes import WHOLE, Parts
from tests.simulator.simulator import Simulator, quiet

SEEDS = int(os.environ.get("MARQUEE_SIMULATOR_SEEDS", "3000"))

REGRESSIONS = {
    267: "a movie is taken out while the catalogue's answer for a rating is on its way",
    463: "the same, and the imports beside it",
    49: "an idle aggregator stands behind what a seek that failed should have brought back",
}


def simulate(seed: int, parts: Parts = WHOLE) -> Simulator:
    simulator = Simulator(seed, parts)
    with quiet():
        simulator.run()
    return simulator


def must_hold(seed: int) -> Simulator:
    try:
        return simulate(seed)
    except Broken as broken:
        again = f"python -m tests.simulator {seed} -v"
        pytest.fail(f"{broken}\n\nSee the schedule again: {again}", pytrace=False)


def test_every_promise_holds_in_every_schedule() -> None:
    base = random.SystemRandom().randrange(2**40)
    began = time.process_time()
    done = [must_hold(seed) for seed in (*range(SEEDS // 3), *range(base, base + SEEDS * 2 // 3))]
    a_second = len(done) / (time.process_time() - began)
    events = sum(simulator.events for simulator in done) / len(done)
    print(f"seeds from {base}: {a_second:.0f} schedules a second, of {events:.0f} events each")
    assert min(simulator.events for simulator in done) >= 20


@pytest.mark.parametrize("seed", REGRESSIONS)
def test_what_once_failed(seed: int) -> None:
    must_hold(seed)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_what_is_broken_on_purpose_is_found(mutant: str) -> None:
    for seed in range(2000):
        try:
            simulate(seed, MUTANTS[mutant])
        except Broken as found:
            must_hold(seed)  # so it was the mutant
            print(f"{mutant} by seed {seed}: {found}"[:200])
            return
    pytest.fail(f"2000 schedules, and {mutant} was not found")


def test_a_seed_replays_in_another_process() -> None:
    def schedule(hash_seed: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "tests.simulator", "5", "-v"],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    assert len(schedule("1").splitlines()) > 100
    assert schedule("1") == schedule("2")
