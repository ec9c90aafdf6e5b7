"""A keyspace on a real Cassandra: how it is made, agreed upon, reached, and looked through."""

import asyncio
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from queue import SimpleQueue

import pytest

from marquee.adapters import cassandra
from marquee.adapters.cassandra import cluster, driver
from marquee.adapters.cassandra.address import parse
from marquee.adapters.cassandra.migration import Agreed, make_keyspace, steps, use_keyspace
from marquee.errors import StoreAway, Unusable
from marquee.model import REMOVED, Rating
from marquee.relay import Relay
from marquee.schemas import in_silence
from tests.support import cassandra as keyspaces
from tests.support.tasks import eventually, running

pytestmark = pytest.mark.servers

LONG_AGO = 1_000_000_000_000_000
MINUTE = 60_000_000


@pytest.fixture
async def keyspace():
    async with keyspaces.emptied() as keyspace:
        yield keyspace


@pytest.fixture
def ratings(keyspace):
    return cassandra.CassandraRatings(keyspace)


@pytest.fixture
def new():
    """The URL of a keyspace that is not made yet."""
    url = keyspaces.new()
    yield url
    keyspaces.drop(url)


@contextmanager
def asked(url):
    address = parse(url)
    with driver.connected(address) as session:
        session.set_keyspace(address.keyspace)
        yield session


async def is_away(keyspace, why=""):
    try:
        await keyspace.probe()
    except StoreAway as away:
        return why in str(away)
    return False


async def is_back(keyspace):
    return not await is_away(keyspace)


class TestMigration:
    def test_twice_is_as_once(self, new):
        assert len(cassandra.migrate(new, 3)) == 2
        before = agreed(new)
        assert len(cassandra.migrate(new)) == 1
        assert agreed(new) == before
        assert (before["shards"], before["schema"]) == ("3", str(len(steps())))
        assert len(bytes.fromhex(before["rater_key"])) == 32

    def test_from_the_first_on(self, new):
        cassandra.migrate(new)
        with asked(new) as session:
            session.execute("ALTER TABLE outbox DROP trace")
            session.execute("UPDATE agreement SET value = '1' WHERE name = 'schema' IF EXISTS")
        cassandra.migrate(new)
        with asked(new) as session:
            session.execute("SELECT trace FROM outbox LIMIT 1")
        assert agreed(new)["schema"] == str(len(steps()))

    def test_beside_another_one_it_says_that_it_waits(self, new):
        told = SimpleQueue()
        cassandra.migrate(new)
        with ThreadPoolExecutor(1) as pool, asked(new) as session:
            with Agreed(session, parse(new)).alone(told.put):
                migrated = pool.submit(cassandra.migrate, new, tell=told.put)
                assert "Somebody else migrates" in told.get(timeout=60)
                assert not migrated.done()
            assert migrated.result(timeout=120)
            assert told.empty()

    def test_what_is_wrong_is_told_also_where_the_lock_can_not_be_let_go(self, new):
        cassandra.migrate(new)

        def migrate_and_fail():
            with asked(new) as session, Agreed(session, parse(new)).alone(in_silence):
                session.shutdown()
                raise Unusable("It is newer.")

        with pytest.raises(Unusable, match="newer"):
            migrate_and_fail()

    def test_by_several_at_once(self, new):
        with ThreadPoolExecutor(4) as pool:
            done = list(pool.map(cassandra.migrate, [new] * 4))
        assert all(done)
        assert set(agreed(new)) == {"shards", "schema", "rater_key"}
        assert [name for name, fault in cassandra.diagnose(new) if fault] == []

    def test_what_is_newer_than_we_know_is_left_alone(self, new):
        cassandra.migrate(new)
        with asked(new) as session:
            session.execute("UPDATE agreement SET value = '99' WHERE name = 'schema' IF EXISTS")
        before = agreed(new)
        with pytest.raises(Unusable, match="newer"):
            cassandra.migrate(new)
        assert agreed(new) == before
        assert any("newer" in str(fault) for _, fault in cassandra.diagnose(new))

    def test_more_copies_than_nodes_are_refused(self, new):
        with pytest.raises(Unusable, match="too few"):
            cassandra.migrate(new.replace("replication=1", "replication=3"))

    def test_what_was_cut_short_or_lost_is_told(self, new):
        with driver.connected(parse(new)) as session:
            make_keyspace(session, parse(new))
            use_keyspace(session, parse(new))
            session.execute("CREATE TABLE agreement (name text PRIMARY KEY, value text)")
        assert "half made, without rating, outbox" in faults(new)["schema"]
        cassandra.migrate(new)
        assert set(faults(new).values()) == {None}
        with asked(new) as session:
            session.execute("DELETE FROM agreement WHERE name = 'rater_key' IF EXISTS")
            assert "half made" in faults(new)["schema"]
            session.execute("DROP TABLE erased")
        assert "lost erased: restore" in faults(new)["schema"]

    @pytest.mark.parametrize("name", ["rater_key", "shards"])
    async def test_what_was_agreed_is_not_made_anew_for_ratings_that_stand(self, new, name):
        await asyncio.to_thread(cassandra.migrate, new)
        keyspace = cassandra.Cassandra(new)
        async with running(keyspace.run):
            await keyspace.there(within=60)
            await cassandra.CassandraRatings(keyspace).write("u1", "m1", 17)
        await keyspace.close()
        with asked(new) as session:
            session.execute(f"DELETE FROM agreement WHERE name = '{name}' IF EXISTS")
        assert f"lost its {name}" in faults(new)["schema"]
        with pytest.raises(Unusable, match=f"lost its {name}"):
            await asyncio.to_thread(cassandra.migrate, new)
        assert name not in agreed(new)

    def test_shards_that_were_lost_are_told_and_begun_again(self, new):
        cassandra.migrate(new)
        with asked(new) as session:
            session.execute("TRUNCATE lease")
        assert "no shards" in faults(new)["relays"]
        cassandra.migrate(new)
        assert set(faults(new).values()) == {None}

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (("127.0.0.1", "nowhere.invalid"), "no such host"),
            (("?", "?datacenter=elsewhere&"), "datacenter elsewhere"),
        ],
    )
    async def test_an_address_that_leads_nowhere_is_told_and_waited_for(self, new, change, words):
        url = new.replace(*change)
        with pytest.raises(StoreAway, match=words):
            await asyncio.to_thread(cassandra.migrate, url)
        ((_, fault),) = await asyncio.to_thread(cassandra.diagnose, url)
        assert words in fault
        keyspace = cassandra.Cassandra(url)
        async with running(keyspace.run):
            with pytest.raises(StoreAway):
                await keyspace.there(within=2)
        await keyspace.close()

    def test_nothing_is_there(self):
        with pytest.raises(StoreAway):
            cassandra.migrate("cassandra://127.0.0.1:1/k")


def faults(url):
    """What is wrong, by the last word of what was looked at."""
    return {name.rpartition(" ")[2]: fault for name, fault in cassandra.diagnose(url)}


def agreed(url):
    with asked(url) as session:
        return dict(session.execute("SELECT name, value FROM agreement"))


class TestReaching:
    async def test_waits_for_a_schema(self, new):
        keyspace = cassandra.Cassandra(new)
        async with running(keyspace.run):

            async def missed():
                with pytest.raises(StoreAway) as away:
                    await keyspace.there(within=0.1)
                return "marquee migrate" in str(away.value)

            await eventually(missed)
            await asyncio.to_thread(cassandra.migrate, new)
            await keyspace.there(within=30)
            await keyspace.probe()
        with pytest.raises(StoreAway):
            await keyspace.probe()
        await keyspace.close()

    async def test_one_that_is_newer_ends_the_run(self, new):
        cassandra.migrate(new)
        with asked(new) as session:
            session.execute("UPDATE agreement SET value = '99' WHERE name = 'schema' IF EXISTS")
        keyspace = cassandra.Cassandra(new)
        with pytest.raises(Unusable, match="newer"):
            await keyspace.run()
        await keyspace.close()

    async def test_fewer_copies_than_the_level_needs_end_the_run(self, new):
        cassandra.migrate(new)
        with asked(new) as session:
            session.execute(
                f"ALTER KEYSPACE {parse(new).keyspace} WITH replication = "
                "{'class': 'NetworkTopologyStrategy', 'datacenter1': 2}"
            )
        keyspace = cassandra.Cassandra(f"{new}&consistency=ONE")
        with pytest.raises(Unusable, match="may miss"):
            await keyspace.run()
        await keyspace.close()
        assert any("2 copies" in str(fault) for _, fault in cassandra.diagnose(new))

    async def test_its_time_is_the_servers(self, keyspace):
        assert abs(keyspace.now() - time.time_ns() // 1000) < 1_000_000

    async def test_times_that_disagree_are_no_time(self, keyspace, ratings, monkeypatch):
        """Be it that the nodes' clocks differ, or that ours has stood still for minutes."""
        before, ticks = await ratings.write("u", "m", 5), cluster.ticks
        monkeypatch.setattr(cluster, "ticks", lambda: ticks() - 120_000_000)

        await eventually(partial(is_away, keyspace, "clocks"))
        for call in (ratings.write("u", "m", 6), ratings.erase("u")):
            with pytest.raises(StoreAway, match="clocks"):
                await call
        assert await ratings.read("u", "m") == before

    async def test_begins_anew_where_nothing_is_heard(self, keyspace, ratings, monkeypatch):
        before = await ratings.write("u", "m", 5)
        with monkeypatch.context() as patch:
            patch.setattr(cluster, "LOST_SECONDS", 0)
            await eventually(partial(is_away, keyspace))
        await keyspace.there(within=60)
        assert await ratings.read("u", "m") == before
        assert (await ratings.write("u", "m", 6)).version > before.version

    async def test_notes_are_kept(self, keyspace):
        name = secrets.token_hex(4)
        assert await keyspace.recall(name) is None
        await keyspace.remember(name, "1")
        await keyspace.remember(name, "2")
        assert await keyspace.recall(name) == "2"

    async def test_all_agree(self, keyspace, ratings):
        async with keyspaces.connected(keyspaces.shared()) as other:
            assert other.agreements == keyspace.agreements
            assert cassandra.CassandraRatings(other).rater("u") == ratings.rater("u")

    async def test_a_wrong_statement_is_told_to_nobody(self, keyspace):
        with pytest.raises(StoreAway) as away:
            await keyspace.execute("SELECT nothing FROM nowhere")
        assert "nowhere" not in str(away.value)


class TestUnswept:
    """Ratings are refused before the outbox forgets what nobody has seen."""

    async def test_for_days(self, new):
        cassandra.migrate(new)
        ago = time.time_ns() // 60_000_000_000 - 4 * 24 * 60
        with asked(new) as session:
            session.execute("UPDATE lease SET swept = %s WHERE shard = 7 IF EXISTS", (ago,))
        async with keyspaces.connected(new) as keyspace:
            ratings = cassandra.CassandraRatings(keyspace)
            await eventually(partial(is_away, keyspace, "relay"))
            for call in (
                ratings.write("u", "m", 5),
                ratings.merge([Rating("u", "m", 5, LONG_AGO)]),
                ratings.erase("u"),
            ):
                with pytest.raises(StoreAway, match="relay"):
                    await call
            assert await ratings.read("u", "m") is None
        assert any("relay" in str(fault) for _, fault in cassandra.diagnose(new))


class TestSetBack:
    """Ratings are refused while their intents would be in minutes that were swept already."""

    async def test_until_a_relay_has_seen_it(self, new, monkeypatch):
        monkeypatch.setattr(cluster, "LOOK_EVERY", 0)
        cassandra.migrate(new)
        ahead = time.time_ns() // 60_000_000_000 + 60
        async with keyspaces.connected(new) as keyspace:
            ratings = cassandra.CassandraRatings(keyspace)
            before = await ratings.write("u", "m", 5)
            with asked(new) as session:
                session.execute("UPDATE lease SET swept = %s WHERE shard = 7 IF EXISTS", (ahead,))
            await eventually(partial(is_away, keyspace, "set back"))
            for call in (
                ratings.write("u", "m", 6),
                ratings.merge([Rating("u", "m", 6, before.version + 1)]),
                ratings.erase("u"),
            ):
                with pytest.raises(StoreAway, match="set back"):
                    await call
            assert await ratings.read("u", "m") == before
            relay = Relay(cassandra.CassandraOutbox(keyspace, ratings), None)
            await relay.attend()
            await relay.sweep(relay.shards[7])
            await eventually(partial(is_back, keyspace))
            assert (await ratings.write("u", "m", 6)).version > before.version


class TestRelays:
    async def test_an_attendance_that_comes_late_undoes_no_newer_one(self, keyspace, ratings):
        """As from a node that was frozen."""
        outbox = cassandra.CassandraOutbox(keyspace, ratings)
        await outbox.attend("a", 6)
        async with keyspaces.connected(keyspaces.shared(), behind=10_000_000) as past:
            await cassandra.CassandraOutbox(past, ratings).attend("a", 6)
        assert await outbox.attend("b", 6) == ["a", "b"]


class TestRatings:
    async def test_of_equal_versions_the_larger_value_wins_by_itself(self, ratings):
        """Also between two that have not read each other's."""
        for value, stands in ((5, 5), (20, 20), (6, 20), (REMOVED, None), (20, None)):
            await ratings.put(Rating("u", "m", value, LONG_AGO))
            found = await ratings.read("u", "m")
            assert (found and found.value) == stands

    async def test_a_process_that_is_behind_writes_above_what_it_finds(self, keyspace, ratings):
        async with keyspaces.connected(keyspaces.shared(), behind=5 * MINUTE) as other:
            behind = cassandra.CassandraRatings(other)
            first = await ratings.write("u", "m", 5)
            second = await behind.write("u", "m", 6)
            erasure = await behind.erase("u")
            third = await behind.write("u", "m", 7)
        assert first.version < second.version < erasure.version < third.version
        assert await ratings.read("u", "m") == third

    async def test_pages_of_a_partition_with_many_removals(self, ratings):
        await ratings.merge(
            [Rating("u", f"m{n:04}", 5 if n % 100 == 0 else REMOVED, LONG_AGO) for n in range(1000)]
        )
        found = await ratings.page("u", "", 4)
        assert [rating.movie_id for rating in found] == ["m0000", "m0100", "m0200", "m0300"]
        assert len(await ratings.page("u", "m0300", 250)) == 6

    async def test_receipts_are_kept_of_each_erasure(self, keyspace, ratings):
        receipts = []
        for number in range(3):
            for movie in range(number):
                await ratings.write("u", f"m{movie}", 5)
            receipts.append(await ratings.erase("u"))
        rows = await keyspace.execute("SELECT rater, version, ratings FROM erasure")
        assert sorted(rows) == sorted(tuple(receipt) for receipt in receipts)
        assert [receipt.ratings for receipt in receipts] == [0, 1, 2]

    async def test_what_still_names_an_erased_user_leaves_by_itself(self, keyspace, ratings):
        await ratings.write("u", "m", 5)
        await ratings.erase("u")
        rows = await keyspace.execute(
            "SELECT user_id, ttl(erased), ttl(ratings), ttl(never) FROM rating"
        )
        ((user_id, *left),) = rows
        assert user_id == "u"
        assert all(864_000 - 60 < seconds <= 864_000 for seconds in left)
