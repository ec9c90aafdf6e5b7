"""What Cassandra meets when the outbox is read: no tombstone among a hundred thousand intents, nor
any after others before them have expired: they leave by the file. Needs ``make engine``."""

import asyncio
import re
import time
from collections.abc import Iterator

import uvloop
from cassandra.cluster import Session

from marquee.adapters import cassandra
from marquee.adapters.cassandra import driver
from marquee.adapters.cassandra.address import parse
from marquee.adapters.cassandra.migration import SHARDS
from marquee.adapters.cassandra.ratings import each
from marquee.model import Rating
from tests.support import cassandra as keyspaces

from .measuring import Row, Size
from .servers import needed

MINUTE = 60_000_000
EXPIRING, STAYING = 20_000, 100_000
EXPIRES, STAYS = 10, 604_800
"""Seconds."""

HURRY = """
    ALTER TABLE outbox WITH default_time_to_live = {seconds} AND gc_grace_seconds = 1
    AND memtable_flush_period_in_ms = 1000 AND compaction = {{
        'class': 'TimeWindowCompactionStrategy', 'expired_sstable_check_frequency_seconds': 1,
        'compaction_window_unit': 'MINUTES', 'compaction_window_size': 1
    }}"""
BUCKET = "SELECT sent_at FROM outbox WHERE shard = %s AND minute = %s"
MET = re.compile(r"Read (\d+) live rows and (\d+) tombstone")
PATIENCE = 60


def rows(_: Size) -> Iterator[Row]:
    url = keyspaces.new(needed("cassandra")["MARQUEE_RATINGS_URL"])
    try:
        cassandra.migrate(url)
        with driver.connected(parse(url)) as session:
            session.set_keyspace(parse(url).keyspace)
            yield from followed(url, session)
    finally:
        keyspaces.drop(url)


def followed(url: str, session: Session) -> Iterator[Row]:
    session.execute(HURRY.format(seconds=EXPIRES))
    gone = sent(url, EXPIRING, ago=60 * MINUTE)
    time.sleep(3)  # until they are in files of their own
    session.execute(HURRY.format(seconds=STAYS))
    there = sent(url, STAYING, ago=0)
    live, tombstones = met(session, there)
    yield row(f"{STAYING:,} intents read: tombstones met", tombstones, live == STAYING)
    patience = time.monotonic() + PATIENCE
    live, tombstones = met(session, gone)
    while live + tombstones and time.monotonic() < patience:
        sent(url, 1, ago=0)  # files are looked through when another one comes
        time.sleep(1)
        live, tombstones = met(session, gone)
    yield row(f"… of {EXPIRING:,} that have expired", tombstones, not live)


def row(what: str, tombstones: int, sound: bool) -> Row:
    met = f"{tombstones:,}" if sound else "not what was sent"
    return Row(what, met, "", None, "0", sound and not tombstones, {"tombstones": tombstones})


def sent(url: str, number: int, ago: int) -> range:
    """Send intents, as if it were so long ago; the minutes in which they stand."""

    async def main() -> range:
        async with keyspaces.connected(url, behind=ago) as keyspace:
            ratings = cassandra.CassandraRatings(keyspace)
            begun = keyspace.now()
            intents = [Rating(f"u{n % 1000}", f"m{n}", n % 21 + 1, begun) for n in range(number)]
            await each(ratings.send, intents)
            return range(begun // MINUTE, keyspace.now() // MINUTE + 1)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main())


def met(session: Session, minutes: range) -> tuple[int, int]:
    """Live rows, and tombstones, of all buckets of these minutes, as the server has met them."""
    found = [0, 0]
    for minute in minutes:
        for shard in range(SHARDS):
            for event in events(session, shard, minute):
                if counted := MET.match(event):
                    found = [a + int(b) for a, b in zip(found, counted.groups(), strict=True)]
    return found[0], found[1]


def events(session: Session, shard: int, minute: int) -> list[str]:
    result = session.execute(BUCKET, (shard, minute), trace=True)
    list(result)
    return [
        event.description
        for trace in result.get_all_query_traces(max_wait_sec_per=5)
        for event in trace.events
    ]
