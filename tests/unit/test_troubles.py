import logging

import pytest

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
