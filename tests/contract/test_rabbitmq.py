"""What only RabbitMQ can show: queues that are made right, connections that break."""

import asyncio
import itertools
import socket
from contextlib import AsyncExitStack, suppress

import pika
import pytest

from marquee.adapters import rabbitmq
from marquee.adapters.memory import MemoryNotices
from marquee.adapters.rabbitmq.address import Address
from marquee.adapters.rabbitmq.administration import connected
from marquee.aggregation import Aggregator
from marquee.errors import StoreAway, Unusable
from marquee.events import encode
from marquee.model import slot_of
from tests.simulator import stores as memory
from tests.support import engine, logs
from tests.support.events import counted, many, running
from tests.support.tasks import until

pytestmark = pytest.mark.servers

SLOTS = 3


async def agreed_slots():
    return SLOTS


class Processes:
    """Producers and consumers of one queue, and the totals that they share, in memory."""

    def __init__(self, url, stack):
        self.url = url
        self.movies = memory.MovieDisk()
        self.totals = memory.MemoryTotals(self.movies, itertools.count(1).__next__)
        self._stack = stack

    def log(self):
        log = rabbitmq.RabbitLog(self.url, gather=0.02, patience=0.5)
        self._stack.push_async_callback(log.close)
        return log

    def topic(self):
        topic = rabbitmq.RabbitTopic(self.url, agreed_slots)
        self._stack.push_async_callback(topic.close)
        return topic

    def aggregator(self, log):
        return Aggregator(log, self.totals, MemoryNotices())


@pytest.fixture
async def processes():
    async with AsyncExitStack() as stack:
        yield Processes(stack.enter_context(logs.rabbitmq_queue()), stack)


async def emptied(log):
    """Wait until RabbitMQ knows that nothing is left to do."""
    left = 1
    async with asyncio.timeout(30):
        while left:
            with suppress(StoreAway):
                left = await log.behind()
            await asyncio.sleep(0.02)


# ---- several consumers, and connections that break ---------------------------------------------


async def test_two_aggregators_share_and_one_inherits_when_the_other_leaves(processes):
    first, second, topic = processes.log(), processes.log(), processes.topic()
    async with running(processes.aggregator(first), processes.aggregator(second)) as (one, _):
        await topic.publish(many(3000))
        await counted(processes.movies, 3000)
        await topic.publish(many(3000, first=3000))
        one.cancel()
        await first.close()
        await counted(processes.movies, 6000)
    await emptied(second)


def break_connections(*lines):
    """As a network does: without a word."""
    for line in lines:
        connection = line._connection
        if connection is not None and connection._transport is not None:
            connection._transport._sock.shutdown(socket.SHUT_RDWR)


async def test_connections_that_break_come_back_and_nothing_is_lost(processes):
    log, topic = processes.log(), processes.topic()
    async with running(processes.aggregator(log)):
        for first in range(0, 5000, 1000):
            events = many(1000, first)
            published = asyncio.create_task(topic.publish(events))
            await until(lambda: topic._publisher._connection and topic._publisher._sent)
            break_connections(topic._publisher)
            while True:
                try:
                    await published
                    break
                except StoreAway:
                    published = asyncio.create_task(topic.publish(events))
            break_connections(log._subscriber)
        await counted(processes.movies, 5000)
        await emptied(log)


async def test_what_was_given_before_the_connection_broke_is_not_acknowledged_after(processes):
    log, topic = processes.log(), processes.topic()
    await topic.publish(many(10))
    before = await log.poll(5)
    break_connections(log._subscriber)
    again = set()
    while not again.issuperset(many(10)):
        if batch := await log.poll(100):
            again |= set(batch.events)
    await log.done(before)
    log.again(before)
    assert await log.behind() == 10


async def test_batches_may_be_done_in_any_order(processes):
    log, topic = processes.log(), processes.topic()
    await topic.publish(many(30))
    batches = []
    while sum(len(batch.events) for batch in batches) < 30:
        if batch := await log.poll(10):
            batches.append(batch)
    first, *others = batches
    await log.done(batches[2])
    await log.done(first)
    await log.close()
    heir = processes.log()
    left = []
    while len(left) < 30 - len(first.events):
        if batch := await heir.poll(100):
            left += batch.events
    # A later one is acknowledged only with all before it: it comes twice, which harms nobody.
    assert sorted(left) == sorted(event for batch in others for event in batch.events)
    assert await heir.poll(100) is None


async def test_to_look_is_not_to_take(processes):
    """Any process may ask how much waits, without holding anything up."""
    looker, log, topic = processes.log(), processes.log(), processes.topic()
    await topic.publish(many(10))
    assert await looker.behind() == 10
    await looker.probe()
    taken = []
    while len(taken) < 10:
        if batch := await log.poll(100):
            taken += batch.events
    assert sorted(taken) == sorted(many(10))


# ---- the producer ------------------------------------------------------------------------------


async def test_many_at_once_in_order(processes):
    topic = processes.topic()
    await asyncio.gather(topic.publish(many(6000)), topic.publish([]))
    log = processes.log()
    found = []
    while len(found) < 6000:
        if batch := await log.poll(1000):
            found += batch.events
            await log.done(batch)
    assert found == many(6000)


async def test_an_event_carries_its_slot_and_outlives_the_server(processes):
    await processes.topic().publish(many(10))
    address = Address.of(processes.url)
    with connected(address) as connection:
        channel = connection.channel()
        for event in many(10):
            _, properties, body = channel.basic_get(address.queue)
            assert body == encode(event)
            assert properties.headers["slot"] == slot_of(event.movie_id, SLOTS)
            assert properties.delivery_mode == 2


async def test_without_a_queue_nothing_is_taken_for_kept(processes):
    log, topic = processes.log(), processes.topic()
    await topic.publish(many(1))
    logs.delete_queue(processes.url)
    for call in (topic.publish(many(2)), log.behind(), log.probe()):
        with pytest.raises(StoreAway, match=r"no queue.*marquee migrate"):
            await call
    rabbitmq.migrate(processes.url)
    async with running(processes.aggregator(log)):
        await patiently(topic, many(2))
        await counted(processes.movies, 2)


async def patiently(topic, events):
    async with asyncio.timeout(30):
        while True:
            try:
                return await topic.publish(events)
            except StoreAway:
                await asyncio.sleep(0.05)


# ---- the queue's making ------------------------------------------------------------------------


@pytest.fixture
def no_queue():
    """The URL of a queue that is not there."""
    url = f"{engine.need('rabbitmq')['MARQUEE_TEST_RABBITMQ_URL']}?queue={logs.unique('queue')}"
    yield url
    logs.delete_queue(url)


async def test_made_by_two_at_once_and_right(no_queue):
    await asyncio.gather(*(asyncio.to_thread(rabbitmq.migrate, no_queue) for _ in range(2)))
    assert "as it should be" in rabbitmq.migrate(no_queue)[0]
    assert [wrong for _, wrong in rabbitmq.diagnose(no_queue)] == [None, None]


@pytest.mark.parametrize(
    "other", [{}, {"arguments": {"x-queue-type": "quorum", "x-delivery-limit": 20}}]
)
def test_another_queue_of_that_name_is_refused_and_told(no_queue, other):
    address = Address.of(no_queue)
    with connected(address) as connection:
        connection.channel().queue_declare(address.queue, durable=True, **other)
    with pytest.raises(Unusable, match="delivery limit"):
        rabbitmq.migrate(no_queue)
    (_, reached), (_, wrong) = rabbitmq.diagnose(no_queue)
    assert reached is None
    assert "delivery limit" in wrong


def test_a_queue_that_is_not_there_is_told(no_queue):
    assert "marquee migrate" in rabbitmq.diagnose(no_queue)[1][1]


def test_a_wrong_password_is_told(no_queue):
    url = no_queue.replace("guest:guest@", "guest:wrong@")
    assert "password" in rabbitmq.diagnose(url)[0][1]
    with pytest.raises(StoreAway, match="password"):
        rabbitmq.migrate(url)


# ---- its URL -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("amqp://one", [("one", 5672, "/", "guest", "guest")]),
        ("amqp://u%40x:p%2F@one:7/v", [("one", 7, "v", "u@x", "p/")]),
        ("amqps://one/%2Fv", [("one", 5671, "/v", "guest", "guest")]),
        (
            "amqp://one,two:9/",
            [("one", 5672, "/", "guest", "guest"), ("two", 9, "/", "guest", "guest")],
        ),
    ],
)
def test_url(url, expected):
    address = Address.of(url)
    assert address.queue == "movie_rate_topic"
    found = [
        (n.host, n.port, n.virtual_host, n.credentials.username, n.credentials.password)
        for n in address.nodes
    ]
    assert found == expected
    assert all((n.ssl_options is not None) == url.startswith("amqps") for n in address.nodes)
    assert isinstance(address.nodes[0], pika.ConnectionParameters)


@pytest.mark.parametrize(
    "url",
    [
        "amqp://",
        "amqp://a,,b",
        "amqp://a?x=1",
        "kafka://a",
        "amqps://a?ca=/none",
        "amqp://a?ca=for-tls-alone",
        "amqp://a:x",
    ],
)
def test_a_url_that_is_none(url):
    with pytest.raises(Unusable, match=r"amqp|RabbitMQ"):
        Address.of(url)
