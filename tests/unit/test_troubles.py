import logging

import pytest

from marquee.errors import NotFound, StoreAway
from marquee.troubles import CALM_SECONDS, MOST, Trouble


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def trouble(clock, caplog):
    caplog.set_level(logging.INFO)
    return Trouble(logging.getLogger("test"), "it waits", clock)


def told(caplog):
    found = [(record.levelname, record.getMessage()) for record in caplog.records]
    caplog.clear()
    return found


def test_it_is_told_when_it_begins_changes_and_ends(trouble, clock, caplog):
    trouble.over()
    for why in ("away", "away", "busy", "away", "busy"):
        trouble.tell(why)
    assert told(caplog) == [("WARNING", "it waits: away"), ("WARNING", "it waits: busy")]
    clock.now += CALM_SECONDS + 1
    trouble.over()
    trouble.over()
    trouble.tell("away")
    assert told(caplog) == [("INFO", "it waits: no more"), ("WARNING", "it waits: away")]


def test_where_some_come_through_it_is_not_told_again_and_again(trouble, clock, caplog):
    for _ in range(100):
        trouble.tell("away")
        trouble.over()
        clock.now += CALM_SECONDS / 2
    assert told(caplog) == [("WARNING", "it waits: away")]


def test_words_without_end_take_no_memory_without_end(trouble):
    for number in range(10 * MOST):
        trouble.tell(number)
    assert len(trouble._told) <= MOST


def test_a_store_that_is_away_is_told_and_what_else_fails_goes_on(trouble, clock, caplog):
    for _ in range(2):
        with trouble:
            raise StoreAway("it is away")
    assert told(caplog) == [("WARNING", "it waits: it is away")]
    clock.now += CALM_SECONDS + 1
    with pytest.raises(NotFound), trouble:
        raise NotFound("nobody")
    assert told(caplog) == []
    with trouble:
        pass
    assert told(caplog) == [("INFO", "it waits: no more")]
