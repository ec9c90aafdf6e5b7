"""Each role and each store dies, freezes or errs, on one server of each: nothing that was
acknowledged is lost, nothing is counted twice, and the ten is read throughout."""

import pytest

from tests.chaos.conftest import UnderLoad
from tests.chaos.trial import frozen, killed
from tests.support.system import ROLES, System

pytestmark = pytest.mark.timeout(600)

PAST_LEASES = 9
"""Seconds: a relay's lease and an aggregator's session are 6 s long."""


@pytest.mark.long
def test_nothing_happens(under_load: UnderLoad):
    with under_load("none, to compare"):
        pass


def test_a_process_of_each_role_killed(system: System, under_load: UnderLoad):
    victims = [system.processes[f"{role}-1"] for role in ROLES]
    fault = "a process of every role: kill -9, 2 s, start"
    with under_load(fault) as trial, killed(*victims):
        trial.last(2)


def test_workers_paused_past_their_leases(system: System, under_load: UnderLoad):
    victims = [system.processes[f"{role}-1"] for role in ("relay", "aggregator", "refresher")]
    fault = f"relay, aggregator and refresher: frozen for {PAST_LEASES} s, woken as zombies"
    with under_load(fault) as trial, frozen(*victims):
        trial.last(PAST_LEASES)
