"""What of the Redis adapter needs no Redis: its URL, its breaker, the form of its charts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marquee.adapters.redis.address import Address, parse
from marquee.adapters.redis.breaker import PAUSE, Breaker
from marquee.adapters.redis.cache import decode, encode
from marquee.errors import Unusable
from marquee.model import Chart, Movie, Prior, Standing, Totals


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://a", Address((("a", 6379),))),
        ("redis://a:1/2", Address((("a", 1),), database=2)),
        ("redis://[::1]:1", Address((("::1", 1),))),
        ("redis://:s%3A%40@a", Address((("a", 6379),), password="s:@")),
        ("rediss://u:p@a", Address((("a", 6379),), "u", "p", tls=True)),
        ("redis+cluster://a:1,b,[::1]:2",
         Address((("a", 1), ("b", 6379), ("::1", 2)), cluster=True)),
        ("rediss+cluster://u:p@a:1,b:2?prefix=x",
         Address((("a", 1), ("b", 2)), "u", "p", tls=True, cluster=True, prefix="x")),
    ],
)  # fmt: skip
def test_what_a_url_says(url, address):
    assert parse(url) == address


@pytest.mark.parametrize(
    "url",
    ["", "redis:", "redis://", "redis://a:b", "redis://a:99999", "redis://a/x", "redis://a,b",
     "redis://a?x=1", "redis://a?prefix", "redis://a#1", "redis+cluster://a/1",
     "redis+cluster://a,,b", "memcached://a"],
)  # fmt: skip
def test_any_other_url_is_refused_with_a_word_of_what_to_do(url):
    with pytest.raises(Unusable, match=r"cache_url"):
        parse(url)


class TestBreaker:
    @pytest.fixture(autouse=True)
    def made(self):
        self.now = 100.0
        self.breaker = Breaker(lambda: self.now)

    def test_closed_at_first_and_after_an_answer(self):
        assert not self.breaker.is_open
        self.breaker.failed("k", "Away.")
        assert self.breaker.is_open
        self.breaker.answered()
        assert not self.breaker.is_open

    def test_one_at_a_time_may_try(self):
        self.breaker.failed("k", "Away.")
        assert not self.breaker.may_try()
        self.now += PAUSE
        assert [self.breaker.may_try() for _ in range(3)] == [True, False, False]
        self.now += PAUSE
        assert [self.breaker.may_try() for _ in range(3)] == [True, False, False]

    def test_tells_for_how_long(self):
        assert self.breaker.failing() == 0
        for _ in range(3):
            self.breaker.failed("k", "Away.")
            self.now += 2
        assert self.breaker.failing() == 6
        self.breaker.answered()
        assert self.breaker.failing() == 0


movies = st.builds(
    Movie,
    st.text(min_size=1),
    st.text(),
    st.none() | st.integers(1870, 2100),
    st.lists(st.text(), max_size=3).map(tuple),
    st.none() | st.integers(0, 2**53),
    st.none() | st.text(),
    st.none() | st.integers(0, 2**31),
)
counts = st.lists(st.integers(0, 2**40), min_size=20, max_size=20).map(tuple)
standings = st.builds(Standing, movies, counts.map(Totals), st.none() | st.booleans())
times = st.integers(0, 2**63 - 1)


@given(st.builds(Chart, st.lists(standings, max_size=3).map(tuple), times, times, st.builds(Prior)))
def test_a_chart_comes_back_as_it_was(chart):
    assert decode(encode(chart)) == chart


def test_charts_that_were_kept_yesterday_are_read():
    """Where this fails, raise ``FORM``."""
    raw = (
        b'{"entries":[[{"id":"m","title":"M","year":1931,"genres":["Drama"],"box_office":35566,'
        b'"imdb_id":"tt0022100","tmdb_id":832},[[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,1]],null]],'
        b'"changed_at":5,"refreshed_at":7,"prior":[10,650]}'
    )
    movie = Movie("m", "M", 1931, ("Drama",), 35566, "tt0022100", 832)
    assert decode(raw) == Chart((Standing(movie, Totals((0,) * 19 + (1,))),), 5, 7, Prior())
