"""``ports.RatingStore``: the truth, and the outbox beside it."""

import asyncio
import random
import time

import pytest

from marquee.importers.rehearsal import RehearsedRatings
from marquee.model import REMOVED, Merged, Rating, RatingChanged

LONG_AGO = 1_000_000_000_000_000
HOUR = 3_600_000_000


@pytest.fixture
def store(stores):
    return stores.ratings


async def sent(stores):
    """All events that reach the log, in its order."""
    found = []
    while batch := await stores.events.poll(3):
        assert not batch.poison
        found += batch.events
        await stores.totals.fold(batch)
        await stores.events.done(batch)
    return found


async def all_of(pages):
    return [rating async for page in pages for rating in page]


class TestWrite:
    async def test_what_is_written_is_read(self, store):
        written = await store.write("u", "m", 18)
        assert written == Rating("u", "m", 18, written.version)
        assert await store.read("u", "m") == written

    async def test_again_is_in_place_of_before_with_a_version_above(self, store):
        versions = [
            (await store.write("u", "m", value)).version for value in (18, 2, 2, REMOVED, 1)
        ]
        assert versions == sorted(set(versions))
        assert await store.read("u", "m") == Rating("u", "m", 1, versions[-1])
        assert await all_of(store.scan()) == [Rating("u", "m", 1, versions[-1])]

    async def test_versions_are_above_what_came_with_one_of_its_own(self, store):
        future = time.time_ns() // 1000 + HOUR
        await store.merge([Rating("u", "m", 5, future)])
        assert (await store.write("u", "m", 6)).version > future
        assert (await store.read("u", "m")).value == 6

    async def test_one_from_the_future_does_not_date_the_others(self, store):
        future = time.time_ns() // 1000 + HOUR
        await store.merge([Rating("u", "m", 5, future)])
        assert (await store.write("u", "m", 6)).version == future + 1
        assert (await store.write("v", "m", 6)).version < future
        erasure = await store.erase("u")
        assert erasure.version == future + 2
        assert (await store.write("v", "m", 7)).version < future
        assert (await store.write("u", "m", 8)).version == future + 3

    async def test_a_removal(self, store):
        await store.write("u", "m", 18)
        removal = await store.write("u", "m", REMOVED)
        assert removal.value == REMOVED
        assert await store.read("u", "m") is None

    async def test_a_removal_of_what_is_not_there_is_written_all_the_same(self, stores):
        removal = await stores.ratings.write("u", "m", REMOVED)
        assert [event.version for event in await sent(stores)] == [removal.version]
        old = Rating("u", "m", 5, removal.version - 1)
        assert await stores.ratings.merge([old]) == Merged(unchanged=1)
        assert await stores.ratings.read("u", "m") is None

    async def test_each_sends_its_event(self, stores):
        written = [await stores.ratings.write("u", "m", value) for value in (18, 18, REMOVED)]
        rater = stores.ratings.rater("u")
        assert await sent(stores) == [
            RatingChanged("m", rater, rating.version, rating.value) for rating in written
        ]

    async def test_many_at_once(self, stores):
        writes = [stores.ratings.write(f"u{n % 7}", f"m{n % 5}", n % 20 + 1) for n in range(200)]
        written = await asyncio.gather(*writes)
        assert len({(rating.user_id, rating.version) for rating in written}) == 200
        stands = {(r.user_id, r.movie_id): r for r in sorted(written, key=lambda r: r.version)}
        assert sorted(await all_of(stores.ratings.scan())) == sorted(stands.values())
        assert len(await sent(stores)) == 200

    @pytest.mark.parametrize("user_id", ["ü", "😀", "a b", "'; --", "A", "%", "x" * 128])
    async def test_users_are_told_apart_by_every_letter(self, store, user_id):
        await store.write(user_id, "m", 3)
        await store.write("other", "m", 4)
        assert (await store.read(user_id, "m")).value == 3
        assert await store.read(user_id.swapcase() + "x", "m") is None

    async def test_movies_are_told_apart_by_case(self, store):
        await store.write("u", "aA", 3)
        assert await store.read("u", "aa") is None
        assert await store.page("u", "", 10) == [await store.read("u", "aA")]


class TestMerge:
    async def test_brings_its_own_versions(self, stores):
        rating = Rating("u", "m", 5, LONG_AGO)
        assert await stores.ratings.merge([rating]) == Merged(added=1)
        assert await stores.ratings.read("u", "m") == rating
        assert await sent(stores) == [RatingChanged("m", stores.ratings.rater("u"), LONG_AGO, 5)]

    async def test_the_last_writer_wins(self, store):
        await store.merge([Rating("u", "m", 5, LONG_AGO)])
        assert await store.merge([Rating("u", "m", 9, LONG_AGO - 1)]) == Merged(unchanged=1)
        assert await store.merge([Rating("u", "m", 6, LONG_AGO + 1)]) == Merged(replaced=1)
        assert (await store.read("u", "m")).value == 6

    async def test_of_equal_versions_the_larger_value_wins(self, store):
        for value, stands in ((5, 5), (7, 7), (6, 7), (REMOVED, None), (20, None)):
            await store.merge([Rating("u", "m", value, LONG_AGO)])
            found = await store.read("u", "m")
            assert (found and found.value) == stands

    async def test_the_same_again_changes_and_sends_nothing(self, stores):
        ratings = [Rating("u", f"m{n}", 5, LONG_AGO + n) for n in range(5)]
        await stores.ratings.merge(ratings)
        await sent(stores)
        assert await stores.ratings.merge(ratings) == Merged(unchanged=5)
        assert await sent(stores) == []

    async def test_an_older_file_never_overwrites_a_newer_change(self, store):
        written = await store.write("u", "m", 18)
        assert await store.merge([Rating("u", "m", 5, LONG_AGO)]) == Merged(unchanged=1)
        assert await store.read("u", "m") == written

    async def test_a_pair_may_come_more_than_once(self, store):
        ratings = [Rating("u", "m", value, LONG_AGO + value) for value in (3, 9, 5)]
        assert await store.merge(ratings) == Merged(added=1, replaced=1, unchanged=1)
        assert (await store.read("u", "m")).value == 9

    async def test_nothing(self, store):
        assert await store.merge([]) == Merged()

    async def test_a_dry_run_foresees_it_all(self, store):
        """Of any files, one after the other; "gone" was erased, so that all is lifted to above."""
        dice = random.Random(20)
        await store.write("gone", "a", 5)
        await store.erase("gone")
        for _ in range(3):
            files = [
                [
                    Rating(
                        dice.choice(("u", "v", "gone")),
                        dice.choice("abc"),
                        dice.choice((1, 2, 20, REMOVED)),
                        LONG_AGO + dice.randrange(4),
                    )
                    for _ in range(dice.randrange(6))
                ]
                for _ in range(6)
            ]
            rehearsed = RehearsedRatings(store)
            foreseen = [await rehearsed.merge(file) for file in files]
            assert [await store.merge(file) for file in files] == foreseen

    async def test_a_version_below_1_is_lifted_to_it(self, stores):
        for version in (0, -5):
            rating = Rating("u", f"m{version}", 5, version)
            assert await stores.ratings.merge([rating]) == Merged(added=1)
            assert await stores.ratings.read("u", rating.movie_id) == rating._replace(version=1)
        assert [event.version for event in await sent(stores)] == [1, 1]

    async def test_one_at_or_below_the_last_erasure_is_lifted_above_it(self, stores):
        store = stores.ratings
        await store.write("u", "m", 18)
        erasure = await store.erase("u")
        for movie_id, version in {"a": LONG_AGO, "b": erasure.version}.items():
            assert await store.merge([Rating("u", movie_id, 5, version)]) == Merged(added=1)
            assert await store.read("u", movie_id) == Rating("u", movie_id, 5, erasure.version + 1)
        later = erasure.version + 10
        await store.merge([Rating("u", "c", 5, later)])
        assert (await store.read("u", "c")).version == later
        await store.merge([Rating("other", "m", 5, LONG_AGO)])
        assert (await store.read("other", "m")).version == LONG_AGO


class TestReads:
    async def test_of_nothing(self, store):
        assert await store.read("u", "m") is None
        assert await store.page("u", "", 10) == []
        assert await store.pick("u", ["m"]) == []
        assert await all_of(store.scan()) == []
        assert await all_of(store.scan("u")) == []

    async def test_pages_are_by_movie_id_bytewise(self, store):
        ids = ["a", "Z", "_", "-", "0", "B", "b", "aa"]
        for movie_id in ids:
            await store.write("u", movie_id, 5)
        await store.write("v", "c", 5)
        found, after = [], ""
        while page := await store.page("u", after, 3):
            assert len(page) <= 3
            found += [rating.movie_id for rating in page]
            after = found[-1]
        assert found == sorted(ids)

    async def test_a_page_goes_on_above_what_need_not_be_there(self, store):
        for movie_id in "bdf":
            await store.write("u", movie_id, 5)
        assert [rating.movie_id for rating in await store.page("u", "c", 10)] == ["d", "f"]

    async def test_removals_are_in_none(self, store):
        for movie_id in "abc":
            await store.write("u", movie_id, 5)
        await store.write("u", "b", REMOVED)
        for found in (
            await store.page("u", "", 2),
            await store.pick("u", ["a", "b", "c"]),
            await all_of(store.scan()),
            await all_of(store.scan("u")),
        ):
            assert [rating.movie_id for rating in found] == ["a", "c"]

    async def test_pick_is_by_movie_id_each_once(self, store):
        for movie_id in "abc":
            await store.write("u", movie_id, 5)
        found = await store.pick("u", ["c", "zzz", "a", "c"])
        assert [rating.movie_id for rating in found] == ["a", "c"]
        assert await store.pick("u", []) == []

    async def test_scan_is_of_everybody_or_one(self, store):
        ratings = [Rating(f"u{n % 3}", f"m{n}", n % 20 + 1, LONG_AGO + n) for n in range(2500)]
        await store.merge(ratings)
        assert sorted(await all_of(store.scan())) == sorted(ratings)
        of_one = [rating for rating in ratings if rating.user_id == "u1"]
        assert sorted(await all_of(store.scan("u1"))) == sorted(of_one)

    async def test_a_scan_goes_on_while_something_is_written(self, store):
        ratings = [Rating(f"u{n:04}", "m", 5, LONG_AGO + n) for n in range(2500)]
        await store.merge(ratings)
        seen = []
        async for page in store.scan():
            seen += page
            await store.write("a", f"m{len(seen)}", 5)
        assert set(ratings) <= set(seen)


class TestErase:
    async def test_removes_every_rating_and_sends_a_removal_for_each(self, stores):
        store = stores.ratings
        for movie_id in "abc":
            await store.write("u", movie_id, 5)
        await store.write("u", "c", REMOVED)
        kept = await store.write("v", "a", 6)
        await sent(stores)
        erasure = await store.erase("u")
        assert (erasure.rater, erasure.ratings) == (store.rater("u"), 2)
        assert await all_of(store.scan()) == [kept]
        assert sorted(await sent(stores)) == [
            RatingChanged(movie_id, erasure.rater, erasure.version, REMOVED) for movie_id in "ab"
        ]

    async def test_its_version_is_above_all_that_it_removes(self, store):
        future = time.time_ns() // 1000 + HOUR
        await store.merge([Rating("u", "m", 5, future)])
        assert (await store.erase("u")).version > future

    async def test_of_nothing(self, stores):
        assert (await stores.ratings.erase("u")).ratings == 0
        assert await sent(stores) == []

    async def test_what_is_written_afterwards_is_above_it(self, stores):
        store = stores.ratings
        await store.write("u", "m", 5)
        erasure = await store.erase("u")
        again = await store.write("u", "m", 6)
        assert again.version > erasure.version
        await sent(stores)
        assert (await stores.totals.totals(["m"]))[0].total == 6

    async def test_also_where_it_is_ahead_of_the_time(self, store):
        await store.merge([Rating("u", "m", 5, time.time_ns() // 1000 + HOUR)])
        erasure = await store.erase("u")
        again = await store.write("u", "m", 6)
        assert again.version > erasure.version
        assert await store.read("u", "m") == again

    async def test_again(self, store):
        versions = []
        for _ in range(3):
            await store.write("u", "m", 5)
            versions.append((await store.erase("u")).version)
        assert versions == sorted(set(versions))

    async def test_again_where_the_first_is_ahead_of_the_time(self, store):
        await store.merge([Rating("u", "m", 5, time.time_ns() // 1000 + HOUR)])
        first = await store.erase("u")
        assert (await store.erase("u")).version == first.version + 1


class TestRater:
    async def test_is_a_hash_of_128_bits(self, store):
        assert len(store.rater("u")) == 16
        assert store.rater("u") == store.rater("u")
        assert len({store.rater(user) for user in ("u", "U", "v", "uu", "ü")}) == 5
