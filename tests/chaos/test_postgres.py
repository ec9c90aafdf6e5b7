"""PostgreSQL killed, frozen, promoted, and not there yet: calls fail in time, and come back."""

import asyncio
import signal
import time
from contextlib import asynccontextmanager

import pytest

from marquee.adapters import postgres
from marquee.adapters.postgres.shards import LIST_SECONDS, REPLICA_SECONDS
from marquee.errors import PositionMoved, StoreAway
from marquee.model import ChartQuery, Movie, RatingChanged, slot_of
from marquee.ports import Batch
from tests.api.asking import eventually
from tests.support import engine
from tests.support import postgres as databases
from tests.support.server import Server
from tests.support.tasks import running

pytestmark = pytest.mark.servers

SLOTS = 4
HERE, THERE = (
    next(id for id in map("m{}".format, range(100)) if slot_of(id, SLOTS) % 2 == shard)
    for shard in (0, 1)
)
"""Movies of the first shard and of the second."""


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    with engine.own(tmp_path_factory.mktemp("postgres"), "postgres-replicated") as servers:
        yield servers


@pytest.fixture
def primaries(servers):
    """Both run again afterwards."""
    found = [servers.server(f"postgres-{n}-primary") for n in (1, 2)]
    yield found
    for primary in found:
        primary.start()


@pytest.fixture
def urls(servers, primaries):
    urls = servers.variables(["postgres-replicated"])["MARQUEE_MOVIES_URL"].split()
    postgres.migrate(urls, SLOTS)
    return urls


@asynccontextmanager
async def opened(urls, read_url=""):
    async with databases.opened(urls, read_url) as stores, running(stores.postgres.run):
        yield stores


async def back(call):
    """What a call gives as soon as the store is there again."""
    async with asyncio.timeout(60):
        while True:
            try:
                return await call()
            except StoreAway:
                await asyncio.sleep(0.05)


async def until(holds):
    async with asyncio.timeout(60):
        while not await holds():
            pass


def batch(position, movie, raters):
    events = [RatingChanged(movie, rater.to_bytes(16), position + 1, 7) for rater in raters]
    return Batch(events, (), slot_of(movie, SLOTS), position, position + 1)


async def fold_all(stores, movie, number, happened):
    """Fold a log, as an aggregator does; ``happened`` is set when it is well under way."""
    slot = slot_of(movie, SLOTS)
    begin = position = (await stores.totals.position(slot)).offset
    while position < begin + number:
        try:
            await stores.totals.fold(batch(position, movie, range(position, position + 5)))
            position += 1
        except PositionMoved as moved:  # it was kept, and the answer lost
            position = moved.position
        except StoreAway:
            await asyncio.sleep(0.02)
        if position >= begin + number // 5:
            happened.set()


async def test_killed_under_load_it_goes_on_exactly_where_it_was(urls, primaries):
    async with opened(urls) as stores:
        under_way = asyncio.Event()
        before = (await stores.totals.totals([THERE]))[0].number
        folding = asyncio.create_task(fold_all(stores, THERE, 200, under_way))
        await under_way.wait()
        primaries[1].kill()
        await asyncio.to_thread(primaries[1].start)
        await folding
        ((counted),) = await stores.totals.totals([THERE])
        assert counted.number == before + 204
        assert await stores.are_counted_right()


async def test_frozen_it_holds_nobody_up_for_long(urls, primaries):
    async with opened(urls) as stores:
        await stores.catalogue.put(Movie(HERE, "Here"))
        await lists(stores)  # so there is a connection for them
        for primary in primaries:
            primary.signal(signal.SIGSTOP)
        for call in (lists(stores), stores.catalogue.has(HERE)):
            began = time.monotonic()
            with pytest.raises(StoreAway):
                await call
            assert time.monotonic() - began < LIST_SECONDS + 4
        with pytest.raises(StoreAway):
            await stores.totals.fold(Batch([RatingChanged(HERE, bytes(16), 1, 5)]))
        for primary in primaries:
            primary.signal(signal.SIGCONT)
        assert await back(lambda: stores.catalogue.has(HERE))


async def test_one_shard_away_leaves_the_other_one(urls, primaries):
    async with opened(urls) as stores:
        for id in (HERE, THERE):
            await stores.catalogue.put(Movie(id, id))
        primaries[1].kill()
        assert (await stores.catalogue.get(HERE)).movie.id == HERE
        await stores.totals.fold(Batch([RatingChanged(HERE, b"x" * 16, 1, 5)]))
        for call in (
            lambda: stores.catalogue.get(THERE),
            stores.charts.refresh,
            stores.totals.count_dead_letters,
            lambda: stores.catalogue.search("", None, None, None, 10),
        ):
            with pytest.raises(StoreAway):
                await call()
        await asyncio.to_thread(primaries[1].start)
        assert (await back(lambda: stores.catalogue.get(THERE))).movie.id == THERE
        await back(stores.charts.refresh)


async def test_not_there_yet_is_no_reason_not_to_start(urls, primaries):
    for primary in primaries:
        primary.kill()
    async with opened(urls) as stores:
        for call in (stores.postgres.probe, stores.catalogue.nominations, stores.charts.refresh):
            with pytest.raises(StoreAway):
                await call()
        for primary in primaries:
            await asyncio.to_thread(primary.start)
        await back(stores.postgres.probe)
        assert await back(stores.charts.refresh)


@pytest.fixture
def replica(servers):
    """Runs again afterwards."""
    found = servers.server("postgres-1-replica")
    yield found
    found.start()


@pytest.fixture
def read_url(servers):
    return servers.variables(["postgres-replicated"])["MARQUEE_MOVIES_READ_URL"]


async def test_lists_come_from_the_replica_while_it_follows(urls, read_url, replica):
    there = read_url.split()[0]
    async with opened(urls, read_url) as stores:
        asked = looked_into(there)

        async def found():
            page, _ = await stores.catalogue.search(title, None, None, None, 10)
            return [standing.movie.title for standing in page] == [title]

        async def found_there():
            return await found() and looked_into(there) > asked

        title = "Seen soon"
        await stores.catalogue.put(Movie(HERE, title))
        await until(found_there)
        assert not any(problem for _, problem in postgres.diagnose(urls, read_url))
        replica.query("SELECT pg_wal_replay_pause()")
        try:
            title = "Seen all the same"
            await stores.catalogue.put(Movie(HERE, title))
            await until(found)
        finally:
            replica.query("SELECT pg_wal_replay_resume()")
        replica.kill()
        title = "And without a replica"
        await stores.catalogue.put(Movie(THERE, title))
        await until(found)


def looked_into(url):
    """How often somebody has looked into what it lists, as it tells a second later."""
    query = """SELECT sum(coalesce(seq_scan, 0) + coalesce(idx_scan, 0))
               FROM pg_stat_user_tables WHERE relname LIKE 'listed_%'"""
    ((number,),) = databases.execute(url, query)
    return number


async def lists(stores):
    """All that is read as lists are; the titles, and how long it took."""
    began = time.monotonic()
    found, _ = await stores.catalogue.search("", None, None, None, 10)
    chart = await stores.charts.chart(ChartQuery())
    await stores.charts.ten()
    titles = {standing.movie.title for standing in (*found, *chart.entries)}
    return titles, time.monotonic() - began


async def follows(replica, primary):
    """Return as soon as the replica has all that was written by now."""
    written = primary.query("SELECT pg_current_wal_lsn()")

    async def holds():
        await asyncio.sleep(0.05)
        return replica.query(f"SELECT pg_last_wal_replay_lsn() >= '{written}'") == "t"

    await until(holds)


async def test_a_replica_that_hangs_is_left_alone(urls, read_url, replica):
    async with opened(urls, read_url) as stores:
        await stores.catalogue.put(Movie(HERE, "Here"))
        await lists(stores)  # there are connections to both
        replica.signal(signal.SIGSTOP)
        titles, took = await lists(stores)
        assert "Here" in titles
        assert took < 10 * REPLICA_SECONDS
        began = time.monotonic()
        for _ in range(20):
            await lists(stores)
        assert time.monotonic() - began < 10 * REPLICA_SECONDS  # and not so long for each of them
        replica.signal(signal.SIGCONT)


async def test_lists_come_from_the_replica_while_the_primary_is_away(
    urls, read_url, primaries, replica
):
    async with opened(urls, read_url) as stores:
        await stores.catalogue.put(Movie(HERE, "Here"))
        await follows(replica, primaries[0])
        primaries[0].kill()
        assert "Here" in (await lists(stores))[0]
    async with opened(urls, read_url) as begun_meanwhile:
        assert "Here" in (await lists(begun_meanwhile))[0]


def test_a_process_that_has_a_replica_is_ready_without_the_primary(
    urls, read_url, primaries, replica, tmp_path
):
    nowhere = {"ratings_url": "cassandra://127.0.0.1:1/k", "events_url": "kafka://127.0.0.1:1"}
    nowhere["cache_url"] = "redis://127.0.0.1:1"
    stores = {"movies_url": " ".join(urls), "movies_read_url": read_url}
    server = Server(tmp_path, "movies", **nowhere, **stores).start()
    try:
        with server.client() as client:

            def looks():
                ready = client.get("/health/ready")
                return ready.status_code, ready.json()["dependencies"]["movies"]["state"]

            eventually(looks, (200, "up").__eq__)
            primaries[0].kill()
            eventually(looks, lambda look: look[1] == "away")
            eventually(looks, (200, "away").__eq__)
            assert client.get("/movies").status_code == 200
            replica.kill()
            eventually(looks, (503, "away").__eq__)
        server.stop()
    finally:
        server.kill()


async def test_an_old_replica_is_better_than_none(urls, read_url, primaries, replica):
    async with opened(urls, read_url) as stores:
        await stores.catalogue.put(Movie(HERE, "Here"))
        await follows(replica, primaries[0])
        replica.query("SELECT pg_wal_replay_pause()")
        try:
            await stores.catalogue.put(Movie(HERE, "Later"))

            async def seen():
                return "Later" in (await lists(stores))[0]

            await until(seen)
            primaries[0].kill()
            assert "Here" in (await lists(stores))[0]
        finally:
            replica.query("SELECT pg_wal_replay_resume()")


async def test_a_replica_that_is_promoted_takes_over(tmp_path):
    """The addresses name both."""
    with engine.own(tmp_path, "postgres-replicated") as servers:
        urls = servers.variables(["postgres-replicated"])["MARQUEE_MOVIES_URL"].split()
        postgres.migrate(urls, SLOTS)
        async with opened(urls) as stores:
            await stores.catalogue.put(Movie(THERE, "Kept"))
            under_way = asyncio.Event()
            folding = asyncio.create_task(fold_all(stores, THERE, 100, under_way))
            await under_way.wait()
            servers.server("postgres-2-primary").kill()
            await asyncio.to_thread(servers.server("postgres-2-replica").promote)
            await folding
            assert await stores.are_counted_right()
            chart = await back(stores.charts.refresh)
            assert [standing.movie.title for standing in chart.entries] == ["Kept"]


async def test_a_replica_that_a_restored_primary_has_left_behind_gives_no_lists(tmp_path):
    """It has come farther than that, and gets nothing more."""
    with engine.own(tmp_path, "postgres-replicated") as servers:
        addresses = servers.variables(["postgres-replicated"])
        urls = addresses["MARQUEE_MOVIES_URL"].split()
        postgres.migrate(urls, SLOTS)
        primary = servers.server("postgres-1-primary")
        replica = servers.server("postgres-1-replica")
        async with opened(urls, addresses["MARQUEE_MOVIES_READ_URL"]) as stores:
            await asyncio.to_thread(primary.back_up)
            await stores.catalogue.put(Movie(HERE, "Gone"))
            for _ in range(4):  # so much that it takes the primary long to be there again
                primary.query("SELECT pg_switch_wal()")
                primary.query("CREATE TABLE much AS SELECT 1; DROP TABLE much")
            await follows(replica, primary)
            await asyncio.to_thread(primary.restore)
            await back(lambda: stores.catalogue.put(Movie(HERE, "Later")))

            async def seen():
                return (await lists(stores))[0] == {"Later"}

            await until(seen)
