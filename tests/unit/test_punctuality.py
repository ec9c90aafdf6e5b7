"""How late ratings are: each told of once, when it is counted and when the ten shows it."""

import pytest

from marquee.punctuality import MOST_WAITING, Punctuality

NOW = 1_700_000_000_000_000
SECOND = 1_000_000
DAY = 24 * 3600 * SECOND


class Heard:
    """Notices that are said by hand."""

    def tell(self, topic, what=""):
        raise AssertionError

    def listen(self, topic, heard):
        assert topic == "ten"
        self.refreshed = heard


class Watch:
    def __init__(self):
        self.now = NOW
        self.totals, self.visible, self.notices = [], [], Heard()
        self.traced, self.traces = {}, []
        self.punctuality = Punctuality(
            self.notices, self._counted, self._shown, self.traced, lambda: self.now
        )

    def _counted(self, seconds, traced):
        self.totals += seconds
        self.traces += traced.items()

    def _shown(self, seconds, traced):
        self.visible += seconds
        self.traces += traced.items()

    def fold(self, *versions):
        self.punctuality.applied(versions)

    def refresh(self, as_of, what="{}"):
        self.notices.refreshed(what.format(as_of))


@pytest.fixture
def watch():
    return Watch()


def test_a_fold_tells_how_long_each_rating_took(watch):
    watch.fold(NOW - SECOND, NOW - 3 * SECOND)
    assert watch.totals == [1, 3]
    assert watch.visible == []


def test_the_ten_shows_what_was_folded_before_it_was_refreshed(watch):
    watch.fold(NOW - SECOND)
    watch.now += SECOND
    watch.fold(NOW)
    watch.now += SECOND
    watch.refresh(NOW + SECOND // 2)
    assert watch.visible == [3]
    watch.refresh(NOW + SECOND)
    assert watch.visible == [3, 2]
    watch.refresh(NOW + SECOND)
    assert watch.visible == [3, 2]


def test_a_notice_may_say_where_it_is_in_traces(watch):
    watch.fold(NOW)
    watch.refresh(NOW, "{} 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    assert watch.visible == [0]


def test_what_is_traced_is_told_with_its_trace(watch):
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    watch.traced[NOW] = f"00-{trace_id}-b7ad6b7169203331-01"
    watch.fold(NOW, NOW - 1)
    watch.traced.clear()  # as when the next batch is at hand
    watch.now += SECOND
    watch.refresh(NOW)
    assert watch.traces == [(trace_id, 0), (trace_id, 1)]


@pytest.mark.parametrize("what", ["", "soon"])
def test_a_notice_that_does_not_say_when_shows_nothing(watch, what):
    watch.fold(NOW)
    watch.refresh(0, what)
    assert watch.visible == []


def test_what_a_file_dated_is_left_out(watch):
    watch.fold(1, NOW - DAY, NOW - DAY + SECOND)
    assert watch.totals == [DAY / SECOND - 1]
    watch.refresh(NOW)
    assert watch.visible == [DAY / SECOND - 1]


def test_a_clock_that_is_ahead_makes_nobody_early(watch):
    watch.fold(NOW + SECOND)
    assert watch.totals == [0]


def test_while_no_ten_comes_only_so_many_wait(watch):
    for _ in range(3):
        watch.fold(*[NOW] * (MOST_WAITING // 2))
    assert len(watch.visible) == MOST_WAITING // 2
    watch.refresh(NOW)
    assert len(watch.visible) == 3 * (MOST_WAITING // 2)
