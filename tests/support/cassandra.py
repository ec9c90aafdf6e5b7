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

SHARDS = 2
EMPTIED = ("rating", "outbox", "erasure", "erased", "attendance")
LET_GO = "UPDATE lease SET relay = '', until = 0, swept = ? WHERE shard = ? IF EXISTS"


@cache
def keyspace() -> str:
    """Its URL. Making one takes seconds."""
    server = engine.need("cassandra")["MARQUEE_RATINGS_URL"].rpartition("/")[0]
    url = f"{server}/test_{secrets.token_hex(8)}?replication=1"
    cassandra.migrate(url, SHARDS)
    address = parse(url)
    with driver.connected(address) as session:  # quicker to write, and to empty
        session.execute(f"ALTER KEYSPACE {address.keyspace} WITH durable_writes = false")
    return url


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[cassandra.Cassandra]:
    database = cassandra.Cassandra(url)
    task = asyncio.create_task(database.run())
    try:
        await database.there(30)
        yield database
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await database.close()


@asynccontextmanager
async def emptied() -> AsyncIterator[cassandra.Cassandra]:
    async with connected(keyspace()) as database:
        ago = database.now() // 60_000_000 - 10
        await asyncio.gather(
            *(empty(database, table) for table in EMPTIED),
            *(database.compare_and_set(LET_GO, (ago, shard)) for shard in range(SHARDS)),
        )
        yield database


async def empty(database: cassandra.Cassandra, table: str) -> None:
    if await database.execute(f"SELECT * FROM {table} LIMIT 1"):
        await database.execute(f"TRUNCATE {table}")


def drop() -> None:
    """At the end of a session."""
    if keyspace.cache_info().currsize:
        address = parse(keyspace())
        with driver.connected(address) as session:
            session.execute(f"DROP KEYSPACE {address.keyspace}", timeout=30)
