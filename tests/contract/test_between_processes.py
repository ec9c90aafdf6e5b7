"""Cache, notices and rate limits: one suite for each port, run on every backend.

A backend is a class with the three of them and ``pass_time``; add one to ``BACKENDS``.
"""

import asyncio
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marquee.adapters.memory import SECOND, MemoryCache, MemoryNotices, MemoryRateLimiter
from marquee.model import PLAIN, Chart, Movie, Standing, Totals
from marquee.ports import Allowance, Cache, Notices, Quota, RateLimiter


class Memory:
    cache: Cache
    notices: Notices
    limiter: RateLimiter

    def __init__(self) -> None:
        self.now = 1_000 * SECOND
        self.cache = MemoryCache()
        self.notices = MemoryNotices()
        self.limiter = MemoryRateLimiter(clock=lambda: self.now)

    async def pass_time(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)


BACKENDS = [Memory]


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param()


def chart(refreshed_at, title="Alien"):
    standing = Standing(Movie("tt0078748", title, 1979), Totals((0,) * 19 + (1,)))
    return Chart((standing,), 5, refreshed_at, PLAIN)


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


class Heard(asyncio.Queue[str]):
    """A listener that tests can wait for."""

    def __call__(self, what: str) -> None:
        self.put_nowait(what)

    async def next(self, count: int) -> list[str]:
        async with asyncio.timeout(5):
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
    """How many are let through at once, and the answer to the first that was not."""
    for count in range(1_000):
        allowance = await limiter.take(key, quota)
        if allowance.wait:
            return count, allowance
    raise AssertionError("there is no end to it")


class TestRateLimiter:
    async def test_the_burst_then_no_more(self, backend):
        count, refusal = await take_all(backend.limiter, "u", QUOTA)
        assert count == 20
        assert refusal == pytest.approx(Allowance(1, 0, 20), rel=0.01)

    async def test_tells_what_is_left(self, backend):
        first = await backend.limiter.take("u", QUOTA)
        second = await backend.limiter.take("u", QUOTA)
        assert first == pytest.approx(Allowance(0, 19, 1), rel=0.01)
        assert second == pytest.approx(Allowance(0, 18, 2), rel=0.01)

    async def test_waiting_as_told_is_enough(self, backend):
        _, refusal = await take_all(backend.limiter, "u", QUOTA)
        await backend.pass_time(refusal.wait)
        count, refusal = await take_all(backend.limiter, "u", QUOTA)
        assert count == 1
        await backend.pass_time(refusal.reset)
        assert (await take_all(backend.limiter, "u", QUOTA))[0] == 20

    async def test_who_is_refused_does_not_wait_the_longer_for_asking(self, backend):
        _, refusal = await take_all(backend.limiter, "u", QUOTA)
        for _ in range(10):
            assert (await backend.limiter.take("u", QUOTA)).wait <= refusal.wait

    async def test_keys_do_not_share(self, backend):
        await take_all(backend.limiter, "u", QUOTA)
        assert (await take_all(backend.limiter, "v", QUOTA))[0] == 20

    async def test_a_burst_of_one(self, backend):
        count, refusal = await take_all(backend.limiter, "u", Quota(1, 3600, 1))
        assert count == 1
        assert refusal.wait == pytest.approx(3600, rel=0.01)


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
            if not run(limiter.take(key, quota)).wait:
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
            wait = run(limiter.take(key, quota)).wait
            if wait:
                now += round(wait * SECOND) + 1000  # a float of seconds is not exact
                assert not run(limiter.take(key, quota)).wait

    @given(quota=quotas, arrivals=arrivals)
    def test_a_steady_caller_within_the_rate_is_never_refused(self, quota, arrivals):
        now = 0
        limiter = MemoryRateLimiter(clock=lambda: now)
        for _ in range(100):
            assert not run(limiter.take("steady", quota)).wait
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
        passed = sum(not run(limiter.take(f"key {i}", QUOTA)).wait for i in range(100_000))
        assert 10 + 20 * 500 < passed <= 10 + 20 * 1024
        assert len(limiter._arrivals) == 10
        assert len(limiter._shared) <= 1024
        now += SECOND
        assert any(not run(limiter.take(f"late {i}", QUOTA)).wait for i in range(100))
