"""A log that is away, killed, or loses a leader: what was published is folded, and once."""

import asyncio
import functools
import itertools
import signal
import time
from contextlib import AsyncExitStack, ExitStack

import pytest

from marquee.adapters import kafka, rabbitmq
from marquee.adapters.memory import MemoryNotices
from marquee.aggregation import Aggregator
from marquee.errors import StoreAway
from tests.simulator import stores as memory
from tests.support import engine, logs
from tests.support.events import counted, many, running
from tests.support.tasks import until

pytestmark = pytest.mark.servers

SLOTS = 3


async def agreed_slots():
    return SLOTS


class Kafka:
    part, servers = "kafka", ("kafka",)

    def __init__(self, variables):
        self.url = f"{variables['MARQUEE_EVENTS_URL']}?topic={logs.unique('topic')}"

    def migrate(self):
        kafka.migrate(self.url, SLOTS)

    def topic(self):
        return kafka.KafkaTopic(self.url, agreed_slots)

    def log(self, totals):
        return kafka.KafkaLog(self.url, totals, gather=0.05)


class KafkaCluster(Kafka):
    part, servers = "kafka-cluster", ("kafka-1", "kafka-2", "kafka-3")


class RabbitMQ:
    part, servers = "rabbitmq", ("rabbitmq",)

    def __init__(self, variables):
        self.url = f"{variables['MARQUEE_TEST_RABBITMQ_URL']}?queue={logs.unique('queue')}"

    def migrate(self):
        rabbitmq.migrate(self.url)

    def topic(self):
        return rabbitmq.RabbitTopic(self.url, agreed_slots)

    def log(self, totals):
        return rabbitmq.RabbitLog(self.url, gather=0.05)


class Load:
    """Publishes ``many`` a hundred at a time, each until it is kept, as a relay does."""

    def __init__(self, topic, url):
        self.url = url
        self._topic = topic
        self.published = 0
        self.refused = 0
        self.longest = 0.0

    async def run(self):
        loop = asyncio.get_running_loop()
        while True:
            events, began = many(100, self.published), loop.time()
            while not await self._keeps(events):
                self.refused += 1
                await asyncio.sleep(0.1)
            self.longest = max(self.longest, loop.time() - began)
            self.published += 100
            await asyncio.sleep(0.05)

    async def _keeps(self, events):
        try:
            await self._topic.publish(events)
        except StoreAway:
            return False
        return True


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Servers of this module's own, started where they are first needed: of a part, and well
    whatever the test before did to them."""
    with ExitStack() as stack:

        @functools.cache
        def started(part):
            return stack.enter_context(engine.own(tmp_path_factory.mktemp(part), part))

        def well(part):
            started(part).start([part])
            return started(part)

        yield well


@pytest.fixture(params=[Kafka, RabbitMQ, KafkaCluster])
async def under_load(request, own):
    """A log which is published to and folded from, the totals, and its servers."""
    part = request.param.part
    servers = own(part)
    log_of = request.param(servers.variables([part]))
    log_of.migrate()
    async with AsyncExitStack() as stack:
        movies = memory.MovieDisk()
        totals = memory.MemoryTotals(movies, itertools.count(1).__next__)
        log, topic = log_of.log(totals), log_of.topic()
        stack.push_async_callback(log.close)
        stack.push_async_callback(topic.close)
        load = Load(topic, log_of.url)
        stage = Aggregator(log, totals, MemoryNotices())
        async with running(stage):
            async with running(load):
                await until(lambda: len(movies.applied) > 300)
                yield log, load, movies, [servers.server(name) for name in request.param.servers]
                after = load.published
                await until(lambda: load.published > after + 300, within=60)
            await counted(movies, len(movies.applied))
            await until(lambda: len(movies.applied) >= load.published)
            await counted(movies, len(movies.applied))


@pytest.mark.parametrize("under_load", [Kafka, RabbitMQ], indirect=True)
async def test_killed_and_started_again(under_load):
    log, load, _, (server,) = under_load
    server.kill()
    with pytest.raises(StoreAway):
        await log.probe()
    await asyncio.to_thread(server.start)
    after = load.published
    await until(lambda: load.published > after, within=60)


@pytest.mark.parametrize("under_load", [Kafka, RabbitMQ], indirect=True)
async def test_frozen_and_woken(under_load):
    log, load, _, (server,) = under_load
    server.signal(signal.SIGSTOP)
    with pytest.raises(StoreAway):
        await log.probe()
    server.signal(signal.SIGCONT)
    after = load.published
    await until(lambda: load.published > after + 100, within=60)


@pytest.mark.parametrize("under_load", [KafkaCluster], indirect=True)
@pytest.mark.parametrize(
    "fault", [signal.SIGKILL, pytest.param(signal.SIGSTOP, marks=pytest.mark.long)]
)
async def test_one_of_three_brokers_gone(under_load, fault):
    """Each in its turn, so that each leader of a partition is."""
    _, load, movies, servers = under_load
    for server in servers:
        server.signal(fault)
        before = len(movies.applied)
        await until(lambda before=before: len(movies.applied) > before + 500, within=60)
        server.signal(signal.SIGCONT)
        await asyncio.to_thread(server.start)
        await asyncio.to_thread(in_sync, load.url)
    print(f"{load.published} published, {load.refused} refused, longest {load.longest:.1f} s")
    assert load.refused == 0


def in_sync(url):
    """Wait until all copies are complete: two of three must be, else nothing is taken."""
    for _ in range(600):
        found = {what.rpartition(": ")[2]: wrong for what, wrong in kafka.diagnose(url, SLOTS)}
        if "copies" in found and found["copies"] is None:
            return
        time.sleep(0.1)
    raise AssertionError(found)


@pytest.mark.parametrize("log_of", [Kafka, RabbitMQ])
async def test_not_there_yet(log_of, own):
    """Whatever the order of starting: nothing fails but the calls, and these go well later."""
    servers = own(log_of.part)
    found = log_of(servers.variables([log_of.part]))
    found.migrate()
    (server,) = [servers.server(name) for name in log_of.servers]
    server.kill()
    movies = memory.MovieDisk()
    totals = memory.MemoryTotals(movies, itertools.count(1).__next__)
    log, topic = found.log(totals), found.topic()
    calls = (log.poll(1), log.behind(), log.probe(), topic.publish(many(1)))
    async with asyncio.timeout(20):
        for told in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(told, StoreAway)
            assert "can't be reached" in str(told)
    await asyncio.to_thread(server.start)
    async with (
        running(Aggregator(log, totals, MemoryNotices())),
        running(Load(topic, found.url)),
    ):
        await until(lambda: len(movies.applied) > 300, within=60)
    await topic.close()
    await log.close()
