"""``marquee serve relay`` on Cassandra and Kafka, with no other store there."""

import asyncio
import time

import pytest

from marquee.adapters import cassandra
from marquee.adapters.cassandra import driver
from marquee.adapters.cassandra.address import parse
from tests.support import cassandra as keyspaces
from tests.support import logs
from tests.support.server import Server

pytestmark = pytest.mark.servers

SHARDS, SLOTS = 4, 3
NOWHERE = {"movies_url": "postgresql://127.0.0.1:1/movies", "cache_url": "redis://127.0.0.1:1"}
PATIENCE = 30


@pytest.fixture
def urls():
    keyspace = keyspaces.new()
    cassandra.migrate(keyspace, SHARDS, SLOTS)
    with logs.kafka_topic(SLOTS) as topic:
        yield {"ratings_url": keyspace, "events_url": topic}
    keyspaces.drop(keyspace)


def test_brings_what_is_rated_to_the_log_and_leaves_nothing_held(tmp_path, urls):
    server = Server(tmp_path, "relay", **urls, **NOWHERE).start()
    try:
        asyncio.run(rate(urls["ratings_url"]))
        with server.client() as client:
            patience = time.monotonic() + PATIENCE
            while "marquee_events_relayed_total 1.0" not in client.get("/metrics").text:
                assert time.monotonic() < patience, server.log
                time.sleep(0.1)
        held = holders(urls["ratings_url"])
        assert len(held) == SHARDS
        assert len(set(held)) == 1
        server.stop()
        assert holders(urls["ratings_url"]) == []
    finally:
        server.kill()


async def rate(url):
    async with keyspaces.connected(url) as keyspace:
        await cassandra.CassandraRatings(keyspace).write("alice", "m1", 7)


def holders(url):
    """Who holds each shard that anybody holds."""
    address = parse(url)
    with driver.connected(address) as session:
        session.set_keyspace(address.keyspace)
        rows = session.execute("SELECT relay, until FROM lease")
        return [relay for relay, until in rows if until > time.time() * 1e6]
