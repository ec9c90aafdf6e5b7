"""Cassandra's nodes killed and frozen under load: ratings go on, and none is lost."""

import asyncio
import signal
import time
from contextlib import asynccontextmanager

import pytest

from marquee.adapters import cassandra
from marquee.adapters.cassandra import cluster
from marquee.adapters.cassandra.driver import REQUEST_SECONDS
from marquee.errors import StoreAway
from marquee.model import latest
from tests.support import cassandra as keyspaces
from tests.support import engine
from tests.support.tasks import eventually

pytestmark = pytest.mark.servers

WRITERS, PAUSE = 3, 0.02
MOVIES = 5
WHO = "SELECT broadcast_address FROM system.local"
ENOUGH = 100
"""Writes on either side of what happens."""


@pytest.fixture(scope="module")
def ring(tmp_path_factory):
    with engine.own(tmp_path_factory.mktemp("ring"), "cassandra-ring") as servers:
        yield servers


@pytest.fixture
def url(ring):
    ring.start(["cassandra-ring"])  # what a test before had killed
    url = ring.variables(["cassandra-ring"])["MARQUEE_RATINGS_URL"]
    cassandra.migrate(url, shards=2)
    return url


class Load:
    """Users that rate all the time. ``kept``: by user and movie, the last that was answered."""

    def __init__(self, ratings: cassandra.CassandraRatings) -> None:
        self._ratings = ratings
        self.kept = {}
        self.done = self.refused = 0
        self.longest = 0.0

    async def rate(self, user: str) -> None:
        number = 0
        while True:
            number += 1
            begun = time.monotonic()
            try:
                rating = await self._ratings.write(user, f"m{number % MOVIES}", number % 21 + 1)
            except StoreAway:
                self.refused += 1
            else:
                self.kept[rating.user_id, rating.movie_id] = rating
                self.done += 1
            self.longest = max(self.longest, time.monotonic() - begun)
            await asyncio.sleep(PAUSE)

    async def more(self, number: int = ENOUGH) -> None:
        """Until so many more were answered."""
        enough = self.done + number

        async def there() -> bool:
            return self.done >= enough

        await eventually(there, within=60)

    async def refusals(self, number: int = WRITERS) -> None:
        """Until so many were refused."""
        enough = self.refused + number

        async def there() -> bool:
            return self.refused >= enough

        await eventually(there, within=60)


@asynccontextmanager
async def loaded(url):
    async with keyspaces.connected(url) as keyspace:
        ratings = cassandra.CassandraRatings(keyspace)
        begun, load = keyspace.now(), Load(ratings)
        writers = [asyncio.create_task(load.rate(f"u{n}")) for n in range(WRITERS)]
        await load.more()
        yield load
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
        await assert_nothing_is_lost(load, cassandra.CassandraOutbox(keyspace, ratings), begun)
        await ratings_gone(ratings)


async def assert_nothing_is_lost(load, outbox, begun):
    """What was answered, or something newer, is in the store and in the totals."""
    intents = [
        intent
        for shard in range(len(await outbox.swept_to()))
        for minute in range(begun // 60_000_000, await outbox.now() // 60_000_000 + 1)
        async for page in outbox.intents(shard, minute)
        for intent in page
    ]
    told = latest(await outbox.settle(intents))
    for rating in load.kept.values():
        event = outbox.event(rating)
        assert told[event.movie_id, event.rater] >= (rating.version, rating.value)
    assert len(told) >= len(load.kept)


async def ratings_gone(ratings):
    for number in range(WRITERS):
        await ratings.erase(f"u{number}")


async def test_a_node_is_killed_and_comes_back(ring, url):
    node = ring.server("cassandra-2")
    async with loaded(url) as load:
        await asyncio.to_thread(node.kill)
        await load.more(3 * ENOUGH)
        await asyncio.to_thread(node.start)
        await load.more()
    print(f"killed: longest call {load.longest:.2f} s, {load.refused} refused")
    assert load.refused == 0


async def test_a_node_freezes_and_wakes(ring, url):
    """Also what is compared and set goes on: leases, erasures."""
    node = ring.server("cassandra-1")
    async with loaded(url) as load, keyspaces.connected(url) as keyspace:
        ratings = cassandra.CassandraRatings(keyspace)
        outbox = cassandra.CassandraOutbox(keyspace, ratings)
        node.signal(signal.SIGSTOP)
        for _ in range(15):
            assert await outbox.lease(0, "a relay", 6)
            await ratings.erase("somebody")
        await load.more(3 * ENOUGH)
        node.signal(signal.SIGCONT)
        await load.more()
    print(f"frozen: longest call {load.longest:.2f} s, {load.refused} refused")
    assert load.refused == 0


async def test_what_is_prepared_while_a_node_is_frozen(ring, url):
    """Another node does it: nobody waits for the one that never will."""
    node = ring.server("cassandra-3")
    async with keyspaces.connected(url) as keyspace:
        node.signal(signal.SIGSTOP)
        begun = time.monotonic()
        for number in range(1, 13):  # each node is the first to be asked for some of them
            cql = f"SELECT value FROM agreement WHERE name = ? LIMIT {number}"
            await keyspace.execute(cql, ("x",))
        took = time.monotonic() - begun
        node.signal(signal.SIGCONT)
    print(f"prepared: {took:.2f} s")
    assert took < 4 * REQUEST_SECONDS


async def test_all_of_them_go_and_come_back(ring, url):
    nodes = [ring.server(f"cassandra-{number}") for number in (1, 2, 3)]
    async with loaded(url) as load:
        for node in nodes:
            node.kill()
        await load.refusals()
        await asyncio.to_thread(ring.start, ["cassandra-ring"])
        await load.more()


async def test_while_all_are_frozen_nobody_waits(ring, url):
    """Who asked before waits in vain for a few seconds; then each is refused at once."""
    nodes = [ring.server(f"cassandra-{number}") for number in (1, 2, 3)]
    async with loaded(url) as load:
        for node in nodes:
            node.signal(signal.SIGSTOP)
        await load.refusals(50 * WRITERS)
        for node in nodes:
            node.signal(signal.SIGCONT)
        await load.more()
    print(f"all frozen: longest call {load.longest:.2f} s")


async def test_every_node_is_asked_for_the_time(url):
    """So that one whose clock is wrong is noticed, whoever else is right."""
    async with keyspaces.connected(url) as keyspace:
        asked = [await keyspace.execute(WHO) for _ in range(cluster.MEASURES)]
    assert len({address for ((address,),) in asked}) == 3
