"""Cache, notices and rate limits: one suite for each port, run on every backend.

A backend opens itself, with the three of them and nothing in them, and its time passes as the test
says; add one to ``BACKENDS``.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marquee.adapters.memory import SECOND, MemoryCache, MemoryNotices, MemoryRateLimiter
from marquee.adapters.redis import Redis, RedisCache, RedisNotices, RedisRateLimiter
from marquee.model import Chart, ChartQuery, Movie, Prior, Standing, Totals
from marquee.ports import Cache, Kept, Notices, Quota, RateLimiter
from tests.support import engine


class Memory:
    cache: Cache
    notices: Notices
    limiter: RateLimiter

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Self]:
        backend = cls()
        backend.now = 1_000 * SECOND
        backend.cache = MemoryCache(clock=lambda: backend.now / SECOND)
        backend.notices = MemoryNotices()
        backend.limiter = MemoryRateLimiter(clock=lambda: backend.now)
        yield backend

    def pass_time(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)


class OnRedis:
    """All on one server or Cluster, each test under a prefix of its own."""

    part: str

    @classmethod
    @asynccontextmanager
    async def open(cls) -> AsyncIterator[Self]:
        url = engine.need(cls.part)["MARQUEE_CACHE_URL"]
        backend = cls()
        backend.now = 1_700_000_000 * SECOND
        url += f"?prefix=test-{secrets.token_hex(8)}"
        redis = Redis(url, lambda: backend.now // 1000, patience=10)
        backend.cache = RedisCache(redis)
        backend.notices = RedisNotices(redis)
        backend.limiter = RedisRateLimiter(redis)
        try:
            yield backend
        finally:
            await redis.close()

    def pass_time(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)


class RedisSingle(OnRedis):
    part = "redis"


class RedisCluster(OnRedis):
    part = "redis-cluster"


BACKENDS = [
    Memory,
    pytest.param(RedisSingle, marks=pytest.mark.servers),
    pytest.param(RedisCluster, marks=pytest.mark.servers),
]


@pytest.fixture(params=BACKENDS)
async def backend(request):
    async with request.param.open() as backend:
        yield backend


def chart(refreshed_at, title="Alien"):
    movie = Movie("tt0078748", title, 1979, ("Horror", "Été"), 2**53, "tt0078748", 348)
    known = Standing(movie, Totals((0,) * 19 + (1,)), won=False)
    unknown = Standing(Movie("m", "🦀"), Totals((1,) * 20))
    return Chart((known, unknown), 1_700_000_000_000_005, refreshed_at, Prior(3, 725))


class TestCache:
    async def test_empty_at_first(self, backend):
        assert await backend.cache.get() is None

    async def test_gives_back_what_was_put(self, backend):
        await backend.cache.put(chart(7))
        assert await backend.cache.get() == chart(7)

    async def test_takes_a_chart_refreshed_later(self, backend):
        await backend.cache.put(chart(7))
        await backend.cache.put(chart(8, "Aliens"))
        assert await backend.cache.get() == chart(8, "Aliens")

    async def test_keeps_its_chart_from_one_refreshed_earlier(self, backend):
        await backend.cache.put(chart(7))
        await backend.cache.put(chart(6, "Aliens"))
        assert await backend.cache.get() == chart(7)


QUERY = ChartQuery(genre="Horror")


class TestOtherCharts:
    async def test_where_there_is_none_one_gets_the_turn(self, backend):
        assert await backend.cache.look(QUERY, 5) == Kept(None, 0, turn=True)
        assert await backend.cache.look(QUERY, 5) == Kept(None, 0, turn=False)

    async def test_what_is_kept_is_fresh_for_its_time(self, backend):
        await backend.cache.look(QUERY, 5)
        await backend.cache.keep(QUERY, chart(7), 2)
        assert await backend.cache.look(QUERY, 5) == Kept(chart(7), 2, turn=False)
        backend.pass_time(1.5)
        assert await backend.cache.look(QUERY, 5) == Kept(chart(7), 0.5, turn=False)

    async def test_when_its_time_is_over_one_gets_the_turn(self, backend):
        await backend.cache.keep(QUERY, chart(7), 2)
        backend.pass_time(2.5)
        assert await backend.cache.look(QUERY, 5) == Kept(chart(7), -0.5, turn=True)
        assert await backend.cache.look(QUERY, 5) == Kept(chart(7), -0.5, turn=False)
        await backend.cache.keep(QUERY, chart(8, "Aliens"), 2)
        assert await backend.cache.look(QUERY, 5) == Kept(chart(8, "Aliens"), 2, turn=False)

    async def test_a_turn_that_nobody_ends_is_given_to_the_next(self, backend):
        await backend.cache.look(QUERY, 5)
        backend.pass_time(4.5)
        assert not (await backend.cache.look(QUERY, 5)).turn
        backend.pass_time(1)
        assert (await backend.cache.look(QUERY, 5)).turn
        assert not (await backend.cache.look(QUERY, 5)).turn

    async def test_a_turn_may_end_without_a_chart(self, backend):
        await backend.cache.keep(QUERY, chart(7), 2)
        backend.pass_time(2.5)
        await backend.cache.look(QUERY, 5)
        await backend.cache.keep(QUERY, None)
        assert await backend.cache.look(QUERY, 5) == Kept(chart(7), -0.5, turn=True)

    async def test_a_turn_may_end_before_there_ever_was_a_chart(self, backend):
        await backend.cache.look(QUERY, 5)
        await backend.cache.keep(QUERY, None)
        assert await backend.cache.look(QUERY, 5) == Kept(None, 0, turn=True)

    async def test_one_drawn_earlier_replaces_none_drawn_later(self, backend):
        await backend.cache.look(QUERY, 5)
        backend.pass_time(6)
        await backend.cache.look(QUERY, 5)
        await backend.cache.keep(QUERY, chart(8, "Aliens"), 2)
        await backend.cache.keep(QUERY, chart(7), 2)
        assert await backend.cache.look(QUERY, 5) == Kept(chart(8, "Aliens"), 2, turn=False)

    async def test_charts_do_not_share(self, backend):
        await backend.cache.put(chart(9))
        await backend.cache.keep(QUERY, chart(7), 2)
        other = ChartQuery(genre="Horror", by_mean=True)
        assert await backend.cache.look(other, 5) == Kept(None, 0, turn=True)
        assert (await backend.cache.look(QUERY, 5)).chart == chart(7)
        assert await backend.cache.get() == chart(9)

    async def test_who_asks_for_ever_other_charts_takes_no_more_room(self, backend):
        for limit in range(1_500):
            await backend.cache.keep(ChartQuery(limit), chart(7), 60)
        looks = [await backend.cache.look(ChartQuery(limit), 5) for limit in reversed(range(1_500))]
        kept = sum(look.chart is not None for look in looks)
        assert 100 <= kept <= 512


class Heard(asyncio.Queue[str]):
    """A listener that tests can wait for."""

    def __call__(self, what: str) -> None:
        self.put_nowait(what)

    async def next(self, count: int) -> list[str]:
        async with asyncio.timeout(60):
            return [await self.get() for _ in range(count)]


class TestNotices:
    async def test_every_listener_of_the_topic_hears(self, backend):
        first, second, other = Heard(), Heard(), Heard()
        backend.notices.listen("changed", first)
        backend.notices.listen("changed", second)
        backend.notices.listen("elsewhere", other)
        backend.notices.tell("changed", "a")
        backend.notices.tell("changed")
        assert await first.next(2) == ["a", ""]
        assert await second.next(2) == ["a", ""]
        assert other.empty()

    async def test_nobody_need_listen(self, backend):
        backend.notices.tell("changed", "a")

    async def test_a_listener_that_fails_harms_nobody(self, backend):
        errors = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))

        def fails(what):
            raise RuntimeError(what)

        heard = Heard()
        backend.notices.listen("changed", fails)
        backend.notices.listen("changed", heard)
        backend.notices.tell("changed", "a")
        assert await heard.next(1) == ["a"]
        assert [str(error["exception"]) for error in errors] == ["a"]

    async def test_a_listener_may_tell(self, backend):
        heard = Heard()
        backend.notices.listen("one", lambda what: backend.notices.tell("two", what + "!"))
        backend.notices.listen("two", heard)
        backend.notices.tell("one", "a")
        assert await heard.next(1) == ["a!"]


QUOTA = Quota(60, 60, 20)


async def take_all(limiter, key, quota):
    """How many are let through at once, and how long the first has to wait that was not."""
    for count in range(1_000):
        wait = await limiter.take(key, quota)
        if wait:
            return count, wait
    raise AssertionError("there is no end to it")


class TestRateLimiter:
    async def test_the_burst_then_no_more(self, backend):
        count, wait = await take_all(backend.limiter, "u", QUOTA)
        assert count == 20
        assert wait == pytest.approx(1, rel=0.01)

    async def test_waiting_as_told_is_enough(self, backend):
        _, wait = await take_all(backend.limiter, "u", QUOTA)
        backend.pass_time(wait)
        count, _ = await take_all(backend.limiter, "u", QUOTA)
        assert count == 1

    async def test_the_burst_comes_back_as_a_whole_and_no_more(self, backend):
        await take_all(backend.limiter, "u", QUOTA)
        for seconds in (20, 3600):
            backend.pass_time(seconds)
            assert (await take_all(backend.limiter, "u", QUOTA))[0] == 20

    async def test_who_is_refused_does_not_wait_the_longer_for_asking(self, backend):
        _, wait = await take_all(backend.limiter, "u", QUOTA)
        for _ in range(10):
            assert await backend.limiter.take("u", QUOTA) <= wait

    async def test_keys_do_not_share(self, backend):
        await take_all(backend.limiter, "u", QUOTA)
        assert (await take_all(backend.limiter, "v", QUOTA))[0] == 20

    async def test_a_burst_of_one(self, backend):
        count, wait = await take_all(backend.limiter, "u", Quota(1, 3600, 1))
        assert count == 1
        assert wait == pytest.approx(3600, rel=0.01)


def run(coroutine):
    """Drives a coroutine that never waits for anything."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


class TestMemoryRateLimiter:
    """What only a limiter with a made-up clock and little room can show."""

    quotas = st.builds(
        Quota, st.integers(1, 1000), st.sampled_from([1, 60, 3600, 86400]), st.integers(1, 50)
    )
    arrivals = st.lists(
        st.tuples(st.sampled_from("abcdef"), st.integers(0, 30 * SECOND) | st.just(0)),
        max_size=150,
    )

    @given(quota=quotas, arrivals=arrivals, room=st.sampled_from([0, 1, 3, 100]))
    def test_never_more_than_burst_and_rate_in_any_window(self, quota, arrivals, room):
        now = 0
        limiter = MemoryRateLimiter(room, clock=lambda: now)
        passed = {}
        for key, pause in arrivals:
            now += pause
            if not run(limiter.take(key, quota)):
                passed.setdefault(key, []).append(now)
        for times in passed.values():
            for i, first in enumerate(times):
                for count, last in enumerate(times[i:], 1):
                    window = Fraction(last - first, SECOND)
                    assert count <= quota.burst + window * quota.number / quota.seconds

    @given(quota=quotas, arrivals=arrivals, room=st.sampled_from([0, 1, 3, 100]))
    def test_waiting_as_told_always_suffices(self, quota, arrivals, room):
        now = 0
        limiter = MemoryRateLimiter(room, clock=lambda: now)
        for key, pause in arrivals:
            now += pause
            wait = run(limiter.take(key, quota))
            if wait:
                now += round(wait * SECOND) + 1000  # a float of seconds is not exact
                assert not run(limiter.take(key, quota))

    @given(quota=quotas, arrivals=arrivals)
    def test_a_steady_caller_within_the_rate_is_never_refused(self, quota, arrivals):
        now = 0
        limiter = MemoryRateLimiter(clock=lambda: now)
        for _ in range(100):
            assert not run(limiter.take("steady", quota))
            now += -(-quota.seconds * SECOND // quota.number)

    def test_keys_are_forgotten_when_their_burst_is_back(self):
        now = 0
        limiter = MemoryRateLimiter(10, clock=lambda: now)
        for i in range(1000):
            run(limiter.take(f"key {i}", QUOTA))
            now += SECOND
        assert len(limiter._arrivals) <= 10
        assert not limiter._shared

    def test_when_full_newcomers_are_limited_but_not_shut_out(self):
        now = 0
        limiter = MemoryRateLimiter(10, clock=lambda: now)
        passed = sum(not run(limiter.take(f"key {i}", QUOTA)) for i in range(100_000))
        assert 10 + 20 * 500 < passed <= 10 + 20 * 1024
        assert len(limiter._arrivals) == 10
        assert len(limiter._shared) <= 1024
        now += SECOND
        assert any(not run(limiter.take(f"late {i}", QUOTA)) for i in range(100))
