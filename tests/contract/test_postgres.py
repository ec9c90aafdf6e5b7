"""What the stores on PostgreSQL promise beyond their ports: several writers, shards, moves."""

import asyncio
import random
import secrets
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from queue import SimpleQueue

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from engine.postgres import ADMIN
from marquee.adapters import postgres
from marquee.adapters.postgres import migrating
from marquee.adapters.postgres.diagnosing import RIGHTS, RIGHTS_AT_HOME, RIGHTS_OF_SLOT
from marquee.adapters.postgres.shards import Moved
from marquee.adapters.postgres.totals import fold_slots
from marquee.errors import NotMade, PositionMoved, StoreAway, Unusable
from marquee.model import (
    REMOVED,
    Applied,
    ChartQuery,
    Movie,
    Nomination,
    Prior,
    RatingChanged,
    Totals,
    slot_of,
)
from marquee.ports import Batch, Correction, Poison, Position
from tests.support import postgres as databases
from tests.support.postgres import SLOTS, execute, opened

pytestmark = pytest.mark.servers

A, B = bytes(16), bytes(15) + b"\x01"


@pytest.fixture(params=[1, 2])
def urls(request):
    return databases.emptied(request.param)


@pytest.fixture
def two_shards():
    """Two of a test's own, which moves their slots about."""
    with databases.databases(2) as urls:
        postgres.migrate(urls, SLOTS)
        yield urls


@pytest.fixture
async def mine(urls):
    async with opened(urls) as stores:
        yield stores


def batch(*events, start=None, end=0, partition=0):
    return Batch([RatingChanged(*event) for event in events], (), partition, start, end)


def movie_in(slot, number=0):
    """An id in a slot."""
    ids = (f"m{n}" for n in range(10_000))
    return next(islice((id for id in ids if slot_of(id, SLOTS) == slot), number, None))


def problems(urls):
    return [problem for _, problem in postgres.diagnose(urls) if problem]


async def waits(url, task):
    """Return when somebody waits for a lock there, or the task is done."""
    query = """
        SELECT count(*) FROM pg_stat_activity
        WHERE wait_event_type = 'Lock' AND datname = current_database()"""
    while not task.done() and await asyncio.to_thread(execute, url, query) == [(0,)]:
        pass


async def all_of(pages):
    return [each async for page in pages for each in page]


class TestSeveralWriters:
    async def test_batches_of_the_same_pairs_at_once(self, urls):
        """No deadlock, nothing counted twice, and the newest of each pair wins."""
        dice = random.Random(1)
        events = [
            (
                f"m{dice.randrange(20)}",
                dice.randrange(10).to_bytes(16),
                version,
                dice.randint(1, 21),
            )
            for version in range(1, 2001)
        ]
        batches = [batch(*dice.sample(events, 500)) for _ in range(12)] + [batch(*events)]
        async with opened(urls) as one, opened(urls) as other:
            await asyncio.gather(*(dice.choice([one, other]).totals.fold(work) for work in batches))
            newest = {}
            for movie, rater, version, value in events:
                newest[movie, rater] = Applied(version, value)
            assert dict(await all_of(one.totals.scan_applied())) == newest
            assert await one.are_counted_right()

    async def test_a_batch_writes_a_movie_once_however_many_rate_it(self, two_shards):
        movie = movie_in(0)
        note = """
            CREATE TABLE written (id text);
            CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
                'BEGIN INSERT INTO written VALUES (NEW.id); RETURN NULL; END';
            CREATE TRIGGER noted AFTER UPDATE ON movie_0 FOR EACH ROW EXECUTE FUNCTION note()"""
        async with opened(two_shards) as stores:
            await stores.catalogue.put(Movie(movie, "Rated by everybody"))
            execute(two_shards[0], note)
            raters = [number.to_bytes(16) for number in range(500)]
            await stores.totals.fold(batch(*((movie, rater, 1, 7) for rater in raters)))
            assert (await stores.totals.totals([movie]))[0].number == len(raters)
        assert execute(two_shards[0], "SELECT id FROM written") == [(movie,)]

    async def test_aggregators_with_the_same_batches_fold_each_once(self, urls):
        movie = movie_in(1)
        works = [
            batch(
                *((movie, bytes([0] * 15 + [n]), n + 1, 1 + n % 20) for n in range(i, i + 7)),
                start=i,
                end=i + 1,
                partition=1,
            )
            for i in range(10)
        ]

        async def aggregate(stores):
            folded = 0
            while (position := (await stores.totals.position(1)).offset) < len(works):
                try:
                    await stores.totals.fold(works[position])
                    folded += 1
                except PositionMoved:
                    pass
            return folded

        async with opened(urls) as one, opened(urls) as other, opened(urls) as third:
            folded = await asyncio.gather(*map(aggregate, (one, other, third)))
            assert sum(folded) == len(works)
            assert await one.are_counted_right()
            ((counted,),) = [await one.totals.totals([movie])]
            assert counted.number == 16

    async def test_repairs_beside_folds(self, mine):
        movies = [f"m{n}" for n in range(6)]
        raters = [n.to_bytes(16) for n in range(30)]

        async def fold(dice):
            for version in range(1, 30):
                events = [
                    (dice.choice(movies), dice.choice(raters), version, dice.randint(1, REMOVED))
                    for _ in range(40)
                ]
                await mine.totals.fold(batch(*events))

        async def repair(dice):
            for _ in range(20):
                await mine.totals.recount(dice.choice(movies))
                pairs = [(dice.choice(movies), rater) for rater in raters]
                seen = dict(await all_of(mine.totals.scan_applied()))
                await mine.totals.correct(
                    [Correction(pair, seen[pair], Applied(1, 3)) for pair in pairs if pair in seen]
                )

        tasks = [fold(random.Random(n)) for n in range(3)]
        await asyncio.gather(*tasks, *(repair(random.Random(n)) for n in range(3, 5)))
        assert await mine.are_counted_right()

    async def test_a_frozen_one_keeps_nothing_locked(self, mine, urls):
        """What a client holds that goes no further is given up by the server."""
        movie = movie_in(0)
        await mine.totals.fold(batch((movie, A, 1, 5), start=0, end=1))
        frozen = await psycopg.AsyncConnection.connect(
            urls[0], options="-c idle_in_transaction_session_timeout=200ms"
        )
        await frozen.execute("SELECT * FROM slot WHERE no = 0 FOR UPDATE")
        assert await mine.totals.fold(batch((movie, B, 1, 7), start=1, end=2)) == 1
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            await frozen.execute("UPDATE slot SET position = 99 WHERE no = 0")
        await frozen.close()
        assert await mine.totals.position(0) == Position(2)

    async def test_movies_written_by_several_at_once(self, mine):
        movies = [Movie(f"m{n}", f"Title {n}", tmdb_id=n) for n in range(40)]
        merged = await asyncio.gather(*(mine.catalogue.merge(movies) for _ in range(4)))
        assert sum(each.added for each in merged) == 40
        added = await asyncio.gather(*(mine.catalogue.put(Movie("new", "New")) for _ in range(6)))
        assert sorted(added) == [False] * 5 + [True]
        assert len(await all_of(mine.catalogue.scan())) == 41

    async def test_refreshers_at_once_never_show_the_same_moment(self, urls):
        async with opened(urls) as one, opened(urls) as other:
            charts = await asyncio.gather(*(stores.charts.refresh() for stores in (one, other) * 4))
            assert len({chart.refreshed_at for chart in charts}) == 8

    async def test_the_ten_grow_no_older_when_the_clock_is_set_back(self, mine, urls):
        await mine.catalogue.put(Movie("m", "M"))
        await mine.totals.fold(batch(("m", A, 1, 5)))
        await mine.charts.refresh()
        ahead = 4_000_000_000_000_000
        execute(urls[0], "UPDATE ten SET refreshed_at = %s", (ahead,))
        assert (await mine.charts.refresh()).refreshed_at == ahead + 1
        await mine.totals.fold(batch(("m", A, 2, 6)))
        changed = await mine.charts.refresh()
        assert ahead + 1 < changed.changed_at <= changed.refreshed_at


class TestDrift:
    @pytest.fixture
    async def damaged(self, mine, urls):
        """A movie of three ratings, and how to damage it."""
        movie = movie_in(0)
        await mine.totals.fold(batch((movie, A, 1, 5), (movie, B, 1, 7)))
        return movie, lambda change: execute(urls[0], f"{change} WHERE id = '{movie}'")

    @pytest.mark.parametrize(
        "change",
        [
            "UPDATE movie_0 SET number = 3",
            "UPDATE movie_0 SET total = 3",
            "UPDATE movie_0 SET distribution[4] = 1",
            "DELETE FROM movie_0",
        ],
    )
    async def test_is_seen_and_recounted(self, mine, damaged, change):
        movie, damage = damaged
        damage(change)
        ((id, stored, counted),) = await all_of(mine.totals.scan_totals())
        assert id == movie
        assert stored != counted == Totals((0,) * 4 + (1, 0, 1) + (0,) * 13)
        assert await mine.totals.recount(movie) is True
        assert await mine.totals.recount(movie) is False
        assert await mine.are_counted_right()

    async def test_is_recounted_with_what_is_just_being_folded(self, mine, urls, damaged):
        movie, damage = damaged
        damage("UPDATE movie_0 SET number = 3")
        folded, go_on = asyncio.Event(), asyncio.Event()

        async def fold(cursor, slot):
            await fold_slots(cursor, {slot: [RatingChanged(movie, b"z" * 16, 1, 9)]}, {})
            folded.set()
            await go_on.wait()

        folding = asyncio.create_task(mine.postgres.at(movie, fold))
        await folded.wait()
        recounting = asyncio.create_task(mine.totals.recount(movie))
        await waits(urls[0], recounting)
        go_on.set()
        await folding
        await recounting
        assert await mine.are_counted_right()
        assert (await mine.totals.totals([movie]))[0].number == 3


class TestTexts:
    @pytest.mark.parametrize("query", ["\0", "a\0b", "\ud800", "'", "\\", "a:*", "!a | b", "'':*"])
    async def test_whatever_is_searched(self, mine, query):
        await mine.catalogue.put(Movie("m", "It's a \\ title"))
        found, after = await mine.catalogue.search(query, None, None, None, 10)
        assert (len(found), after) in ((0, None), (1, None))
        assert await mine.catalogue.search("", query, None, None, 10) == ([], None)

    async def test_titles_longer_than_an_index_takes(self, mine):
        for n, letter in enumerate("xツ😀㌀"):
            movie = Movie(f"m{n}", letter * 500, 1950)
            await mine.catalogue.put(movie)
            ((found,), _) = await mine.catalogue.search(letter * 300, None, None, None, 10)
            assert found.movie == movie
        assert len(await all_of(mine.catalogue.scan())) == 4


class TestMigrate:
    def test_twice_and_by_two_at_once(self):
        with databases.databases(2) as urls:
            with ThreadPoolExecutor(2) as pool:
                list(pool.map(lambda _: postgres.migrate(urls, SLOTS), range(2)))
            before = execute(urls[0], "SELECT * FROM slot_map ORDER BY slot")
            postgres.migrate(urls)
            assert execute(urls[0], "SELECT * FROM slot_map ORDER BY slot") == before
            assert len(before) == SLOTS
            assert problems(urls) == []

    def test_beside_another_one_it_says_that_it_waits(self):
        told = SimpleQueue()
        with databases.databases(1) as urls, ThreadPoolExecutor(1) as pool:
            with migrating.all_of(urls):
                migrated = pool.submit(postgres.migrate, urls, SLOTS, tell=told.put)
                assert "Somebody else migrates" in told.get(timeout=60)
                assert not migrated.done()
            assert migrated.result(timeout=120)
            assert told.empty()

    def test_of_one_that_takes_too_long_it_says_so(self, monkeypatch):
        monkeypatch.setattr(migrating, "LOCK_TIMEOUT", "1ms")
        with databases.databases(1) as urls, migrating.all_of(urls):
            with pytest.raises(StoreAway, match="still migrates"):
                postgres.migrate(urls, SLOTS)
            with pytest.raises(StoreAway, match="still migrates"):
                list(postgres.move_slots(urls, [0], 0))

    def test_makes_the_database(self):
        with databases.databases(1) as (url,):
            name = psycopg.conninfo.conninfo_to_dict(url)["dbname"]
            execute(databases.servers()[0], f"DROP DATABASE {name}")
            postgres.migrate([url])
            assert execute(url, "SELECT count(*) FROM slot") == [(16,)]

    def test_goes_where_the_options_of_an_address_lead_to(self):
        with databases.databases(2) as urls:
            execute(urls[0], "CREATE SCHEMA elsewhere")
            elsewhere = [make_conninfo(urls[0], options="-c search_path=elsewhere"), urls[1]]
            postgres.migrate(elsewhere, SLOTS)
            assert execute(urls[0], "SELECT to_regclass('public.slot')") == [(None,)]
            assert execute(urls[0], "SELECT count(*) FROM elsewhere.slot_map") == [(SLOTS,)]
            assert execute(elsewhere[0], "SELECT count(*) FROM movie") == [(0,)]
            assert problems(elsewhere) == []

    def test_an_address_without_a_database_is_told_of(self):
        (server, *_), role = databases.servers(), f"test_{secrets.token_hex(8)}"
        owner = make_conninfo(server, user=ADMIN)
        execute(owner, f"CREATE ROLE {role} LOGIN PASSWORD 'limited'")
        told = conninfo_to_dict(server) | {"user": role, "password": "limited"}
        del told["dbname"]
        try:
            with pytest.raises(Unusable, match="names no database"):
                postgres.migrate([make_conninfo(**told)])
        finally:
            execute(owner, f"DROP ROLE {role}")

    def test_leaves_what_is_not_ours_and_what_is_newer(self):
        with databases.databases(1) as urls:
            execute(urls[0], "CREATE TABLE theirs (id integer)")
            with pytest.raises(Unusable, match="not one of Marquee's"):
                postgres.migrate(urls)
            execute(urls[0], "DROP TABLE theirs")
            postgres.migrate(urls, SLOTS)
            execute(urls[0], "INSERT INTO schema_version VALUES (999, now())")
            with pytest.raises(Unusable, match="newer Marquee"):
                postgres.migrate(urls)
            ((_, problem),) = postgres.diagnose(urls)
            assert "newer Marquee" in problem

    def test_goes_on_with_what_is_newer_and_says_that_we_can(self):
        with databases.databases(1) as urls:
            postgres.migrate(urls, SLOTS)
            step = "INSERT INTO schema_version (number, floor, at) VALUES (999, 1, now())"
            execute(urls[0], step)
            assert "schema 999" in postgres.migrate(urls)[0]
            assert problems(urls) == []

    def test_of_a_schema_from_before_there_were_floors(self):
        with databases.databases(1) as urls:
            postgres.migrate(urls, SLOTS)
            execute(urls[0], "ALTER TABLE schema_version DROP floor")
            assert problems(urls) == []
            assert "up to date" in postgres.migrate(urls)[0]

    def test_an_extension_is_nobodys_database(self):
        with databases.databases(1) as urls:
            execute(urls[0], "CREATE EXTENSION pg_trgm")
            execute(urls[0], "CREATE VIEW theirs AS SELECT 1")
            execute(urls[0], "ALTER EXTENSION pg_trgm ADD VIEW theirs")
            postgres.migrate(urls, SLOTS)

    def test_one_that_takes_no_writes_is_told(self):
        with databases.databases(1) as urls:
            postgres.migrate(urls, SLOTS)
            name = conninfo_to_dict(urls[0])["dbname"]
            execute(urls[0], f"ALTER DATABASE {name} SET default_transaction_read_only = on")
            (problem,) = problems(urls)
            assert "takes no writes" in problem

    @pytest.mark.parametrize(
        "url", ["nonsense", "postgresql://a:secret@h:1/d?x", "postgresql://a:secret@h:x/d"]
    )
    @pytest.mark.parametrize("use", [postgres.Postgres, postgres.migrate, postgres.diagnose])
    def test_an_address_that_is_none_shows_no_password(self, use, url):
        with pytest.raises(Unusable, match="no address") as raised:
            use([url])
        assert "secret" not in str(raised.value)

    async def test_refuses_what_does_not_agree(self, two_shards):
        first, second = two_shards
        for urls, slots, words in (
            ([first, second], SLOTS + 1, "slots, for ever"),
            ([second, first], None, "not that shard"),
            ([first], None, "lacks a shard"),
            ([first, first], None, "not that shard"),
        ):
            with pytest.raises(Unusable, match=words):
                postgres.migrate(urls, slots)
        async with opened([second, first]) as stores:
            with pytest.raises(StoreAway, match="not that shard"):
                await stores.catalogue.has("m")
            with pytest.raises(Unusable, match="not that shard"):
                await stores.postgres.probe()
        assert problems([second, first])

    def test_never_makes_again_what_a_shard_has_lost(self, two_shards):
        with databases.databases(1) as empty, pytest.raises(Unusable, match="lacks slot 1"):
            postgres.migrate([two_shards[0], *empty])

    async def test_makes_again_by_what_the_first_reads_the_others(self, two_shards):
        for table in ("far_movie_1", "far_listed_3"):
            execute(two_shards[0], f"DROP FOREIGN TABLE {table}")
            assert any("run `marquee migrate`" in told for told in problems(two_shards))
            postgres.migrate(two_shards)
            assert problems(two_shards) == []

    async def test_half_made_it_is_waited_for_and_made_whole(self):
        plain = Prior(0, 650)
        with databases.databases(2) as urls:
            async with opened(urls) as stores:

                async def waits():
                    for ask in (stores.postgres.probe, stores.postgres.identity):
                        with pytest.raises(NotMade):
                            await ask()
                    with pytest.raises(NotMade):
                        await stores.postgres.agree(lambda _: plain)

                with migrating.all_of(urls) as shards:
                    for shard, url in zip(shards, urls, strict=True):
                        migrating.upgrade(shard, url)
                    await waits()
                    assert ["half made" in said for said in problems(urls)] == [True, True]
                    migrating.settle(shards, SLOTS, lambda _: plain)
                await stores.postgres.agree(lambda _: plain)
                postgres.migrate(urls, prior=lambda _: plain)
                execute(urls[1], "DELETE FROM agreed")
                with pytest.raises(NotMade):
                    await stores.postgres.probe()
                assert "half made" in problems(urls)[0]
                postgres.migrate(urls, prior=lambda _: plain)
                await stores.postgres.probe()
                await stores.postgres.agree(lambda _: plain)
                assert problems(urls) == []

    async def test_a_prior_that_changes_draws_every_rate_anew(self, two_shards):
        plain = Prior(0, 650)
        async with opened(two_shards) as stores:
            for n in range(8):
                await stores.catalogue.put(Movie(f"m{n}", f"Title {n}"))
                await stores.totals.fold(batch(*((f"m{n}", bytes([n] * 16), 1, 2 + n),)))
            await stores.postgres.agree(lambda _: Prior())
            with pytest.raises(Unusable, match="weight 0"):
                await stores.postgres.agree(lambda _: plain)
            said = postgres.migrate(two_shards, prior=lambda _: plain)
            assert "prior weight 0" in said[-1]
            await stores.postgres.read_map()
            chart = await stores.charts.refresh()
            assert chart.prior == plain
            assert [s.movie.id for s in chart.entries] == [f"m{n}" for n in range(7, -1, -1)]
            assert await stores.are_counted_right()
            await stores.postgres.agree(lambda _: plain)

    async def test_a_prior_that_changes_waits_for_who_is_writing(self, two_shards):
        """Else what is written is drawn by the old one, and stays so."""
        movie = movie_in(0)

        def draw_anew():
            with psycopg.connect(two_shards[0], autocommit=True) as home:
                migrating.draw_anew(home, Prior(0, 650))

        async def write(cursor, slot):
            await fold_slots(cursor, {slot: batch((movie, A, 1, 20)).events}, {})
            drawing = asyncio.create_task(asyncio.to_thread(draw_anew))
            await waits(two_shards[0], drawing)
            return drawing

        async with opened(two_shards) as stores:
            await (await stores.postgres.at(movie, write))
            await stores.postgres.read_map()
            ((_, stored, counted),) = await all_of(stores.totals.scan_totals())
            assert stored == counted


class TestRights:
    """What a login that is no owner needs, each by itself."""

    @pytest.fixture
    def limited(self):
        """A database of one slot, and its address for a login that may do what it must."""
        with databases.databases(1) as (url,):
            postgres.migrate([url], 1)
            owner = make_conninfo(url, user=ADMIN)
            role = f"test_{secrets.token_hex(8)}"
            execute(owner, f"CREATE ROLE {role} LOGIN PASSWORD 'limited'")
            try:
                execute(owner, f"GRANT USAGE ON SEQUENCE dead_letter_no TO {role}")
                for table, rights in self.needed():
                    execute(owner, f"GRANT {rights} ON {table} TO {role}")
                execute(owner, f"ALTER MATERIALIZED VIEW top10_rated_movie OWNER TO {role}")
                yield owner, make_conninfo(url, user=role, password="limited"), role
            finally:
                execute(owner, f"REASSIGN OWNED BY {role} TO CURRENT_USER")
                execute(owner, f"DROP OWNED BY {role}")
                execute(owner, f"DROP ROLE {role}")

    def needed(self):
        of_slot = {table.format(0): rights for table, rights in RIGHTS_OF_SLOT.items()}
        return (RIGHTS | RIGHTS_AT_HOME | of_slot).items()

    async def test_are_enough(self, limited):
        _, url, _ = limited
        assert problems([url]) == []
        async with opened([url]) as stores:
            await stores.catalogue.put(Movie("m", "Title", 1999))
            await stores.catalogue.merge_nominations(
                [Nomination(1, "Title", 1999, "1999", won=True)]
            )
            assert await stores.totals.fold(batch(("m", A, 1, 5))) == 1
            await stores.totals.fold(Batch([], [Poison(b"x", "no event")], 0, 0, 1))
            (letter,) = await stores.totals.dead_letters()
            await stores.totals.bury(letter, None)
            await stores.postgres.remember("name", "value")
            assert len((await stores.charts.refresh()).entries) == 1
            assert (await stores.catalogue.search("tit", None, None, None, 10))[0]
            assert await stores.catalogue.delete("m")

    def test_one_that_is_missing_is_told(self, limited):
        owner, url, role = limited
        for table, rights in self.needed():
            for right in rights.split(", "):
                execute(owner, f"REVOKE {right} ON {table} FROM {role}")
                told = f"{role} lacks rights: GRANT {right} ON {table} TO {role};"
                assert problems([url]) == [told]
                execute(owner, f"GRANT {right} ON {table} TO {role}")
        execute(owner, "ALTER MATERIALIZED VIEW top10_rated_movie OWNER TO CURRENT_USER")
        execute(owner, f"GRANT SELECT ON top10_rated_movie TO {role}")
        assert "refresh the ten" in problems([url])[0]

    def test_a_table_that_is_gone_is_told(self, limited):
        owner, url, _ = limited
        execute(owner, "DROP TABLE listed_0")
        assert "lacks listed_0" in problems([url])[0]

    @pytest.mark.parametrize(
        ("lost", "words"),
        [
            ("DROP INDEX top10_rated_movie_id_idx", "CREATE UNIQUE INDEX"),
            ("DELETE FROM ten", "INSERT INTO ten"),
            ("DELETE FROM revision", "INSERT INTO revision"),
        ],
    )
    async def test_what_a_refresh_needs_is_told_and_put_back(self, limited, lost, words):
        owner, url, _ = limited
        execute(owner, lost)
        (told,) = problems([url])
        assert words in told
        execute(owner, told.partition(": ")[2])
        assert problems([url]) == []
        async with opened([url]) as stores:
            await stores.catalogue.put(Movie("m", "Title"))
            await stores.totals.fold(batch(("m", A, 1, 5)))
            assert len((await stores.charts.refresh()).entries) == 1


class TestMoveSlots:
    async def fill(self, stores):
        for n in range(20):
            await stores.catalogue.put(Movie(f"m{n}", f"Title {n}", genres=("Drama",)))
        events = [(f"m{n % 20}", n.to_bytes(16), n + 1, n % REMOVED + 1) for n in range(400)]
        await stores.totals.fold(batch(*events))
        for slot in range(SLOTS):
            await stores.totals.fold(batch(start=0, end=slot + 5, partition=slot))
        return await self.all_there_is(stores)

    async def all_there_is(self, stores):
        assert await stores.are_counted_right()
        chart = await stores.charts.chart(ChartQuery(limit=250))
        found, _ = await stores.catalogue.search("title", "drama", None, None, 250)
        return (
            [await stores.catalogue.get(f"m{n}") for n in range(20)],
            await all_of(stores.totals.scan_applied()),
            await all_of(stores.catalogue.scan()),
            [await stores.totals.position(slot) for slot in range(SLOTS)],
            chart.entries,
            (await stores.charts.refresh()).entries,
            found,
        )

    async def test_everything_moves_and_nobody_notices(self, two_shards):
        async with opened(two_shards) as stores:
            before = await self.fill(stores)
            for to in (1, 0, 1):
                list(postgres.move_slots(two_shards, range(SLOTS), to))
                assert await self.all_there_is(stores) == before
            assert execute(two_shards[0], "SELECT no FROM slot") == []
            assert problems(two_shards) == []
            list(postgres.move_slots(two_shards, [0], 0))
            postgres.migrate(two_shards)
            assert await self.all_there_is(stores) == before

    async def test_to_a_shard_that_is_new_and_between_two_that_are_not_home(self, two_shards):
        with databases.databases(1) as third:
            urls = [*two_shards, *third]
            async with opened(two_shards) as stores:
                before = await self.fill(stores)
            with pytest.raises(Unusable, match="no shard 2"):
                list(postgres.move_slots(two_shards, [1], 2))
            postgres.migrate(urls)
            list(postgres.move_slots(urls, [1, 2], 2))
            async with opened(urls) as stores:
                assert await self.all_there_is(stores) == before
                list(postgres.move_slots(urls, [1], 1))
                assert await self.all_there_is(stores) == before
            async with opened(two_shards) as stores:
                with pytest.raises(StoreAway, match="lacks a shard"):
                    await stores.catalogue.has("m")

    @pytest.mark.parametrize("done", [1, 2, 3])
    @pytest.mark.parametrize(("slot", "to"), [(0, 1), (1, 0)])
    @pytest.mark.parametrize("back", [False, True])
    async def test_cut_short_it_is_taken_up_or_given_up(self, two_shards, slot, to, done, back):
        async with opened(two_shards) as stores:
            before = await self.fill(stores)
            list(islice(postgres.move_slots(two_shards, [slot], to), done))
            left_at_home = (slot, done) == (0, 3)  # there, the last two steps are one
            assert problems(two_shards) or left_at_home
            if done < 3:
                with pytest.raises(StoreAway, match="being moved"):
                    await stores.catalogue.put(Movie(movie_in(slot), "Moved"))
            list(postgres.move_slots(two_shards, [slot], 1 - to if back else to))
            assert await self.all_there_is(stores) == before
            assert problems(two_shards) == []
            movie = movie_in(slot)
            assert await stores.totals.fold(batch((movie, b"z" * 16, 1, 3))) == 1
            assert await stores.are_counted_right()

    async def test_home_restored_from_before_a_move_learns_of_it(self, two_shards):
        async with opened(two_shards) as stores:
            before = await self.fill(stores)
            (epoch,) = execute(two_shards[0], "SELECT epoch FROM slot_map WHERE slot = 1")
            postgres.migrate(two_shards)
            with databases.databases(1) as third:
                urls = [*two_shards, *third]
                postgres.migrate(urls)
                list(postgres.move_slots(urls, [1], 2))
                execute(urls[0], "UPDATE slot_map SET shard = 1, epoch = %s WHERE slot = 1", epoch)
                async with opened(urls) as again:
                    with pytest.raises(StoreAway):
                        await again.catalogue.put(Movie(movie_in(1), "Moved"))
                    assert problems(urls)
                    for wrong, words in ((1, "has lost"), (0, "does not hold")):
                        with pytest.raises(Unusable, match=words):
                            list(postgres.move_slots(urls, [1], wrong))
                    list(postgres.move_slots(urls, [1], 2))
                    assert problems(urls) == []
                    assert await self.all_there_is(again) == before

    async def test_who_has_an_old_map_writes_nothing(self, two_shards):
        async with opened(two_shards) as stores:
            old = await stores.postgres.slot_map()
            list(postgres.move_slots(two_shards, [0], 1))
            wrote = []

            async def job(cursor):
                wrote.append(cursor)

            with pytest.raises(Moved):
                await stores.postgres.write(old, old.shard(0), [0], job)
            assert not wrote
            movie = movie_in(0)
            assert await stores.totals.fold(batch((movie, A, 1, 5), start=0, end=1)) == 1
            assert execute(two_shards[1], f"SELECT number FROM movie_0 WHERE id = '{movie}'") == [
                (1,)
            ]

    async def test_it_waits_for_who_is_writing(self, two_shards):
        """Before it copies, so that nothing is left behind."""
        movie, held, go_on = movie_in(0), asyncio.Event(), asyncio.Event()

        async def slow(cursor, slot):
            await cursor.execute(f"INSERT INTO movie_{slot} (id, title) VALUES ('{movie}', 'Slow')")
            held.set()
            await go_on.wait()

        async with opened(two_shards) as stores:
            writing = asyncio.create_task(stores.postgres.at(movie, slow))
            await held.wait()
            moves = postgres.move_slots(two_shards, [0], 1)
            pausing = asyncio.create_task(asyncio.to_thread(next, moves))
            await waits(two_shards[0], pausing)
            assert not pausing.done()
            go_on.set()
            await writing
            await pausing
            await asyncio.to_thread(list, moves)
            assert (await stores.catalogue.get(movie)).movie.title == "Slow"

    async def test_under_load(self, two_shards):
        """Aggregators, each with a map of its own, fold on while slots move to and fro."""
        logs = {
            slot: [
                (movie_in(slot, n % 5), (n % 9).to_bytes(16), n + 1, n % REMOVED + 1)
                for n in range(300)
            ]
            for slot in range(SLOTS)
        }
        done = asyncio.Event()

        async def aggregate(stores, slot):
            log = logs[slot]
            while (position := (await stores.totals.position(slot)).offset) < len(log):
                end = min(position + 3, len(log))
                work = batch(*log[position:end], start=position, end=end, partition=slot)
                try:
                    await stores.totals.fold(work)
                except (PositionMoved, StoreAway):
                    await asyncio.sleep(0.01)

        async def move():
            to = 0
            while not done.is_set():
                to = 1 - to
                moves = postgres.move_slots(two_shards, range(SLOTS), to)
                await asyncio.to_thread(list, moves)

        async with opened(two_shards) as one, opened(two_shards) as other:
            moving = asyncio.create_task(move())
            await asyncio.gather(
                *(aggregate(stores, slot) for stores in (one, other) for slot in range(SLOTS))
            )
            done.set()
            await moving
            applied = dict(await all_of(one.totals.scan_applied()))
            for slot, log in logs.items():
                newest = {(movie, rater): Applied(*change) for movie, rater, *change in log}
                assert applied.items() >= newest.items()
                assert (await one.totals.position(slot)).offset == len(log)
            assert await one.are_counted_right()
