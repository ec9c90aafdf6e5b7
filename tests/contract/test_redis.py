"""What holds of Redis beyond the ports: what it keeps, for how long, and who hears of a change."""

import secrets
from contextlib import asynccontextmanager

import pytest
import redis.asyncio as driver

from marquee.adapters.redis import Redis, RedisCache, RedisNotices, RedisRateLimiter
from marquee.model import PLAIN, Chart, ChartQuery
from marquee.ports import Kept, Quota
from tests.contract.test_between_processes import Heard
from tests.support import engine
from tests.support.tasks import eventually, running

pytestmark = pytest.mark.servers

QUOTA = Quota(60, 60, 20)
HOURLY = Quota(1, 3600, 20)


@pytest.fixture(params=["redis", "redis-cluster"])
def url(request):
    """Where nobody else is."""
    return f"{engine.need(request.param)['MARQUEE_CACHE_URL']}?prefix=test-{secrets.token_hex(8)}"


@pytest.fixture
async def redis(url):
    redis = Redis(url, patience=10)
    yield redis
    await redis.close()


@asynccontextmanager
async def process(url):
    """Notices as another process has them, and a listener who hears those of others by now."""
    redis = Redis(url, patience=10)
    notices = RedisNotices(redis)
    heard = Heard()
    notices.listen("changed", heard)
    try:
        async with running(notices.run):
            assert await heard.next(1) == [""], "nobody knows what it missed before it listened"
            yield notices, heard
    finally:
        await redis.close()


class TestNotices:
    async def test_other_processes_hear_and_nobody_hears_twice(self, url):
        async with process(url) as (one, heard_by_one), process(url) as (two, heard_by_two):
            one.tell("changed", "a movie")
            two.tell("elsewhere", "x")
            assert await heard_by_two.next(1) == ["a movie"]
            two.tell("changed")
            assert await heard_by_one.next(2) == ["a movie", ""]
            assert await heard_by_two.next(1) == [""]

    async def test_under_another_prefix_nobody_hears(self, url):
        async with process(url) as (one, _), process(url + "x") as (two, heard_by_two):
            one.tell("changed", "a movie")
            two.tell("changed", "another")
            assert await heard_by_two.next(1) == ["another"]

    async def test_who_tells_more_than_can_be_sent_is_heard_all_the_same(self, url, redis):
        async with process(url) as (_, heard):
            notices = RedisNotices(redis)
            for number in range(100_000):
                notices.tell("changed", str(number))
            assert len(notices._unsent) <= 1000
            await notices.send_unsent()
            assert "" in await heard.next(heard.qsize() or 1)

    async def test_one_that_breaks_off_listens_again(self, url, redis):
        async with process(url) as (_, heard):
            await break_off(redis)
            assert await heard.next(1) == [""]
            async with process(url) as (other, _):
                other.tell("changed", "a movie")
                assert await heard.next(1) == ["a movie"]


async def break_off(redis):
    """Every server hangs up on its listeners."""
    for host, port in redis.known_nodes():
        async with driver.Redis(host=host, port=port, protocol=2) as node:
            for client in await node.client_list():
                if client["sub"] != "0":
                    await node.client_kill_filter(_id=client["id"])


async def keys(redis):
    found = {}
    for host, port in redis.known_nodes():
        async with driver.Redis(host=host, port=port, protocol=2) as node:
            if (await node.info("replication"))["role"] == "master":
                async for key in node.scan_iter(redis.name("*")):
                    found[key.decode()] = await node.pttl(key)
    return found


class TestWhatIsKept:
    async def test_of_a_limit_as_long_as_it_is_in_debt_and_no_users_id(self, redis):
        limiter = RedisRateLimiter(redis)
        for _ in range(3):
            await limiter.take("ratings:alice", HOURLY)
        [(key, milliseconds)] = (await keys(redis)).items()
        assert "alice" not in key
        assert 2 * 3_600_000 < milliseconds <= 3 * 3_600_000

    async def test_of_charts_a_bounded_number_for_about_a_minute(self, redis):
        cache = RedisCache(redis)
        for limit in range(1000):
            await cache.keep(ChartQuery(limit), Chart((), 7, 7, PLAIN), 1)
            await cache.look(ChartQuery(limit, by_mean=True), 5)
        found = await keys(redis)
        assert 400 < len(found) <= 512
        assert all(50_000 < milliseconds < 70_000 for milliseconds in found.values())


UNREADABLE = [b"", b"{", b'{"entries":[],"changed_at":7}', b'{"entries":[["a"]]}', b"\xff", b"9"]


class TestWhatCannotBeRead:
    """A chart in another form, or a half of one, is as good as none."""

    @pytest.mark.parametrize("raw", UNREADABLE)
    async def test_the_ten(self, redis, raw):
        cache = RedisCache(redis)
        await cache.put(Chart((), 7, 7, PLAIN))
        [key] = await keys(redis)
        await redis.call(key, "HSET", key, "chart", raw)
        assert await cache.get() is None
        await cache.put(Chart((), 8, 8, PLAIN))
        assert await cache.get() == Chart((), 8, 8, PLAIN)

    @pytest.mark.parametrize("raw", UNREADABLE)
    async def test_another_chart_is_drawn_anew(self, redis, raw):
        cache = RedisCache(redis)
        await cache.keep(ChartQuery(), Chart((), 9, 9, PLAIN), 60)
        [key] = await keys(redis)
        await redis.call(key, "HSET", key, "chart", raw)
        assert await cache.look(ChartQuery(), 60) == Kept(None, 0, turn=True)
        assert not (await cache.look(ChartQuery(), 60)).turn  # one draws it
        await cache.keep(ChartQuery(), Chart((), 8, 8, PLAIN), 60)
        assert (await cache.look(ChartQuery(), 60)).chart == Chart((), 8, 8, PLAIN)


class TestTime:
    async def test_limits_go_by_the_servers_clock(self, redis):
        limiter = RedisRateLimiter(redis)
        for _ in range(20):
            assert await limiter.take("u", HOURLY) == 0
        assert 0 < await limiter.take("u", HOURLY) <= 3600

        async def let_through():
            return await limiter.take("v", Quota(20, 1, 1)) == 0

        assert await let_through()

        await eventually(let_through)

    async def test_charts_go_by_the_servers_clock(self, redis):
        cache = RedisCache(redis)
        await cache.keep(ChartQuery(), Chart((), 7, 7, PLAIN), 0.05)

        async def due():
            return (await cache.look(ChartQuery(), 5)).turn

        await eventually(due)

    async def test_a_primary_with_another_clock_shuts_nobody_out(self, redis):
        now = 2_000_000_000_000_000
        redis._clock = lambda: now
        limiter = RedisRateLimiter(redis)
        for _ in range(20):
            await limiter.take("u", QUOTA)
        now = 1_700_000_000_000_000
        assert await limiter.take("u", QUOTA) <= 1
