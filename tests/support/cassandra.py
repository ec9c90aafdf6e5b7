"""A keyspace of this process's own on the shared server: made once, emptied for each test."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache

from marquee.adapters import cassandra
from marquee.adapters.cassandra import driver
from marquee.adapters.cassandra.address import parse
from tests.support import engine
from tests.support.tasks import running

SHARDS = 2
EMPTIED = ("rating", "outbox", "erasure", "erased", "attendance")
LET_GO = "UPDATE lease SET relay = '', until = 0, swept = ? WHERE shard = ? IF EXISTS"


def new(beside: str = "") -> str:
    """The URL of a keyspace that is not made yet, on a server of which another is known."""
    beside = beside or engine.need("cassandra")["MARQUEE_RATINGS_URL"]
    return f"{beside.rpartition('/')[0]}/test_{secrets.token_hex(8)}?replication=1"


@cache
def shared() -> str:
    """The URL of this process's own, made once: that takes seconds."""
    url = new()
    cassandra.migrate(url, SHARDS)
    address = parse(url)
    with driver.connected(address) as session:  # quicker to write, and to empty
        session.execute(f"ALTER KEYSPACE {address.keyspace} WITH durable_writes = false")
    return url


class Behind(cassandra.Cassandra):
    """A keyspace whose time was taken wrongly, by so many microseconds."""

    behind = 0

    def now(self) -> int:
        return super().now() - self.behind


@asynccontextmanager
async def connected(
    url: str, within: float = 30, *, behind: int = 0
) -> AsyncIterator[cassandra.Cassandra]:
    keyspace = Behind(url)
    keyspace.behind = behind
    async with running(keyspace.run):
        await keyspace.there(within)
        yield keyspace
    await keyspace.close()


@asynccontextmanager
async def emptied() -> AsyncIterator[cassandra.Cassandra]:
    async with connected(shared()) as keyspace:
        ago = keyspace.now() // 60_000_000 - 10
        await asyncio.gather(
            *(empty(keyspace, table) for table in EMPTIED),
            *(keyspace.compare_and_set(LET_GO, (ago, shard)) for shard in range(SHARDS)),
        )
        yield keyspace


async def empty(keyspace: cassandra.Cassandra, table: str) -> None:
    if await keyspace.execute(f"SELECT * FROM {table} LIMIT 1"):
        await keyspace.execute(f"TRUNCATE {table}")


def drop(url: str) -> None:
    address = parse(url)
    with driver.connected(address) as session:
        session.execute(f"DROP KEYSPACE IF EXISTS {address.keyspace}", timeout=30)


def drop_all() -> None:
    """At the end of a session."""
    if shared.cache_info().currsize:
        drop(shared())
