"""Redis dies, freezes, fails over and comes back: no reader and no rater meets an error."""

import asyncio
import itertools
import shutil
import signal
import subprocess
import time
from contextlib import asynccontextmanager

import pytest

from marquee.adapters.memory import MemoryRateLimiter
from marquee.adapters.redis import (
    EachByItself,
    Redis,
    RedisCache,
    RedisNotices,
    RedisRateLimiter,
    client,
    diagnose,
)
from marquee.errors import StoreAway
from marquee.model import TOP_TEN, ChartQuery
from marquee.ports import Quota
from marquee.toprated import Refresher, TopRated
from tests.simulator import stores
from tests.support import engine
from tests.support.tasks import eventually, running

pytestmark = pytest.mark.servers

QUOTA = Quota(10, 1, 5)
HORROR = ChartQuery(genre="Horror")
HEALED = 60


@pytest.fixture(scope="module", params=["redis", "redis-cluster"])
def started(request, tmp_path_factory):
    with engine.own(tmp_path_factory.mktemp(request.param), request.param) as own:
        yield own, request.param


class Servers:
    def __init__(self, own, part):
        self.url = own.variables([part])["MARQUEE_CACHE_URL"]
        self.all = own.parts[part].servers
        self.start = lambda: own.start([part])

    def primary(self, process):
        """The one that holds the ten."""
        name = process.redis._node_of(process.cache._ten)
        return next(server for server in self.all if server.address == name)


@pytest.fixture
async def servers(started):
    """All of them, alive and well."""
    servers = Servers(*started)
    await asyncio.to_thread(servers.start)

    async def well():
        return await diagnose(servers.url) == []

    await eventually(well, HEALED)
    return servers


class Process:
    """What a process has of Redis, a refresher and a reader on it, and users who never rest."""

    def __init__(self, url, charts):
        self.charts = charts
        self.redis = Redis(url)
        self.cache = RedisCache(self.redis)
        self.notices = RedisNotices(self.redis)
        self.shared = RedisRateLimiter(self.redis)
        self.limiter = EachByItself(self.shared, MemoryRateLimiter())
        self.refresher = Refresher(charts, self.cache, self.notices, 0.2)
        self.reader = TopRated(charts, self.cache, self.notices)
        self.passed = 0

    @property
    def runs(self):
        return (
            *(self.redis.run, self.notices.run, self.refresher.run, self.reader.run),
            *(self.rate, self.rate_too_much, self.read),
        )

    async def rate(self):
        for number in itertools.count():
            wait = await self.limiter.take(f"modest-{number}", QUOTA)
            assert wait == 0, "somebody is shut out"
            await asyncio.sleep(0.05)

    async def rate_too_much(self):
        while True:
            self.passed += await self.limiter.take("greedy", QUOTA) == 0
            await asyncio.sleep(0.02)

    async def read(self):
        while True:
            await self.reader.chart(TOP_TEN)
            await self.reader.chart(HORROR)
            await asyncio.sleep(0.05)


class Charts(stores.MemoryCharts):
    away = False

    async def refresh(self):
        if self.away:
            raise StoreAway("the charts are away")
        return await super().refresh()


@asynccontextmanager
async def two_processes(url):
    """At work on one Redis; afterwards both see what the other does, and nobody had too much."""
    charts = Charts(stores.MovieDisk(), lambda: time.time_ns() // 1000)
    pair = [Process(url, charts) for _ in range(2)]
    began = time.monotonic()
    try:
        async with running(*(run for process in pair for run in process.runs)):
            await eventually(lambda: see_each_other(pair), HEALED)
            yield pair
            await eventually(lambda: see_each_other(pair), HEALED)
    finally:
        for process in pair:
            await process.redis.close()
            # A loop of uvloop's may never close where it is left in the middle of a connect.
            if calls := process.redis._under_way:
                await asyncio.wait(calls, timeout=HEALED)
    most = QUOTA.burst + (time.monotonic() - began) * QUOTA.number / QUOTA.seconds
    # A quota by itself, and one together with the other.
    assert all(0 < process.passed <= 2 * most for process in pair)


names = itertools.count()


async def see_each_other(pair):
    """Every part of Redis answers both, what one tells or counts the other knows, and both readers
    have a ten from after this was asked."""
    asked = time.time_ns() // 1000
    one, two = pair
    heard = asyncio.Event()
    topic, key = f"test-{next(names)}", f"test-{next(names)}"
    two.notices.listen(topic, lambda what: what == topic and heard.set())
    try:
        for process in pair:
            await process.redis.probe()
        if not await lets_through(one.shared, key) or await lets_through(two.shared, key):
            return False
        one.notices.tell(topic, topic)
        async with asyncio.timeout(3):
            await heard.wait()
    except (StoreAway, TimeoutError):
        return False

    async def both_follow():
        return all(process.reader.ten.refreshed_at > asked for process in pair)

    await eventually(both_follow, HEALED)
    return True


async def away(process):
    """Until it is noticed."""

    async def noticed():
        try:
            await process.cache.get()
        except StoreAway:
            return True
        return False

    await eventually(noticed)


async def test_all_of_it_is_killed_and_comes_back_empty(servers):
    async with two_processes(servers.url) as pair:
        for server in servers.all:
            server.kill()
        await asyncio.gather(*map(away, pair))
        await asyncio.to_thread(servers.start)


async def test_all_of_it_is_set_back_to_an_older_copy(servers):
    """Limits are those of then, and so is the ten until it is refreshed; no reader takes that."""
    async with two_processes(servers.url) as pair:
        taken = [[] for _ in pair]
        for process, tens in zip(pair, taken, strict=True):
            process.reader.on_taken(tens.append)
        one, _ = pair
        assert await lets_through(one.shared, "before")
        for server in servers.all:
            keep_copy(server)
        assert await lets_through(one.shared, "after")
        await eventually(lambda: see_each_other(pair), HEALED)
        newest = one.reader.ten.refreshed_at

        one.charts.away = True
        for server in servers.all:
            server.kill()
            shutil.copy(server.folder / "copy.rdb", server.folder / "dump.rdb")
        await asyncio.to_thread(servers.start)

        for process in pair:
            await eventually(lambda redis=process.redis: answers(redis), HEALED)
            assert (await process.cache.get()).refreshed_at < newest
            await process.reader.step()
        assert not await lets_through(one.shared, "before")
        assert await lets_through(one.shared, "after")
        one.charts.away = False
    for tens in taken:
        moments = [ten.refreshed_at for ten in tens]
        assert moments == sorted(set(moments))


async def lets_through(limiter, key):
    """Which it does once an hour."""
    return await limiter.take(key, Quota(1, 3600, 1)) == 0


def keep_copy(server):
    """Of what it holds now."""
    subprocess.run(["redis-cli", "-p", str(server.port), "SAVE"], check=True, capture_output=True)
    shutil.copy(server.folder / "dump.rdb", server.folder / "copy.rdb")


async def test_all_of_it_freezes(servers):
    async with two_processes(servers.url) as pair:
        for server in servers.all:
            server.signal(signal.SIGSTOP)
        await asyncio.gather(*map(away, pair))
        for server in servers.all:
            server.signal(signal.SIGCONT)


@pytest.mark.parametrize("started", ["redis-cluster"], indirect=True)
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_primary_fails_over(servers, how):
    async with two_processes(servers.url) as pair:
        former = servers.primary(pair[0])
        former.signal(how)
        await asyncio.gather(*map(away, pair))
        await eventually(lambda: see_each_other(pair), HEALED)
        assert servers.primary(pair[0]) is not former
        await asyncio.to_thread(servers.start)


async def test_a_client_that_lost_its_nodes_is_replaced(servers, monkeypatch):
    """As where all of a Cluster's addresses changed: those of the URL lead to it again."""
    monkeypatch.setattr(client, "LOST_SECONDS", 0.5)
    async with two_processes(servers.url) as pair:
        redis = pair[0].redis
        former, calls = redis._client, set(redis._under_way)
        lost = redis._client = client.connect(client.Address((("127.0.0.1", 1),)))
        await redis._retire(former, calls)
        await away(pair[0])
        await eventually(lambda: see_each_other(pair), HEALED)
        assert redis._client is not lost


async def test_a_process_may_start_before_it(servers):
    for server in servers.all:
        server.kill()
    redis = Redis(servers.url)
    try:
        assert not await answers(redis)
        await asyncio.to_thread(servers.start)
        await eventually(lambda: answers(redis), HEALED)
    finally:
        await redis.close()


async def answers(redis):
    try:
        await redis.probe()
    except StoreAway:
        return False
    return True
