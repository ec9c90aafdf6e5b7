"""Which releases, and which settings, go on with a store as it was made."""

import pytest

from marquee.adapters.cassandra import migration
from marquee.adapters.postgres import versions
from marquee.adapters.sqlite import database
from marquee.errors import Unusable
from marquee.model import Prior
from marquee.schemas import Schema, check_fits, check_prior, fits, parse, told, unchanged

MAKE = "CREATE TABLE a (b)"


def floors(*scripts):
    return [step.floor for step in parse(scripts)]


def test_without_a_floor_a_step_has_to_be_known():
    assert floors(MAKE, MAKE) == [1, 2]


def test_a_floor_lets_those_go_on_who_know_as_much():
    *_, third = parse([MAKE, MAKE, f"-- More, and nothing else.\n-- floor: 2\n{MAKE}"])
    assert (third.number, third.floor) == (3, 2)
    assert fits(Schema(third.number, third.floor), known=2)
    assert not fits(Schema(third.number, third.floor), known=1)
    assert "CREATE TABLE" in third.script


def test_a_floor_is_never_below_one_before_it():
    assert floors(MAKE, MAKE, f"-- floor: 1\n{MAKE}") == [1, 2, 2]
    assert floors(MAKE, f"-- floor: 1\n{MAKE}", f"-- floor: 1\n{MAKE}") == [1, 1, 1]


@pytest.mark.parametrize(
    "script",
    ["CREATE TABLE a (b) -- floor: 1", "-- A floor: 1", "-- floor: 1, or so", "-- floor: -1"],
)
def test_only_a_line_of_its_own_is_one(script):
    assert floors(MAKE, script) == [1, 2]


def test_what_is_known_fits():
    for version in range(4):
        assert fits(Schema(version, version), known=3)


def test_what_is_too_new_is_refused_in_words():
    check_fits(Schema(5, 3), 3, "the store")
    with pytest.raises(Unusable, match=r"the store was made by a newer .*schema 5, .* knows 2"):
        check_fits(Schema(5, 3), 2, "the store")


def test_migrate_says_what_it_left_alone():
    assert told(Schema(2, 2), 3) == told(Schema(3, 3), 3) == "the schema is up to date"
    assert "schema 4, this Marquee knows 3" in told(Schema(4, 3), 3)


@pytest.mark.parametrize("store", [database, versions, migration])
def test_a_release_goes_on_with_its_own_schema(store):
    for step in store.steps():
        assert 1 <= step.floor <= step.number


def test_a_store_goes_on_with_the_prior_that_it_has():
    check_prior(Prior(3, 655), unchanged)
    check_prior(Prior(3, 655), lambda _: Prior(3, 655))
    with pytest.raises(Unusable, match=r"weight 3, mean 6.55, .* say weight 0, mean 6.5: run"):
        check_prior(Prior(3, 655), lambda _: Prior(0))
