"""``ports.Outbox``: the intents of a rating store, and the relays that share them."""

import asyncio

import pytest

from marquee.model import REMOVED, Rating, RatingChanged, latest
from marquee.ports import Intent

MINUTE = 60_000_000
SECOND = 1_000_000
LONG_AGO = 1_000_000_000_000_000
SECONDS = 60.0
"""Longer than a test takes."""


@pytest.fixture
def outbox(stores):
    return stores.outbox


@pytest.fixture
def store(stores):
    return stores.ratings


async def buckets(outbox, begun):
    """All intents since then, by shard and minute."""
    found = {}
    for shard in range(len(await outbox.swept_to())):
        for minute in range(begun // MINUTE, (await outbox.now()) // MINUTE + 1):
            rows = [intent async for page in outbox.intents(shard, minute) for intent in page]
            if rows:
                found[shard, minute] = rows
    return found


async def all_intents(outbox, begun):
    return [intent for rows in (await buckets(outbox, begun)).values() for intent in rows]


async def told(outbox, *ratings):
    """What the store holds of their pairs, once they are settled."""
    now = await outbox.now()
    return latest(await outbox.settle([Intent(rating, now) for rating in ratings]))


def applied(outbox, rating):
    event = outbox.event(rating)
    return latest([event])


async def until(asked):
    """What is answered as soon as it is anything."""
    async with asyncio.timeout(20):
        found = await asked()
        while not found:
            found = await asked()
        return found


class TestIntents:
    async def test_each_write_has_one_from_before_its_answer(self, store, outbox):
        begun = await outbox.now()
        written = [await store.write("u", "m", value) for value in (18, 2, REMOVED)]
        intents = await all_intents(outbox, begun)
        assert [intent.rating for intent in intents] == written
        ended = await outbox.now()
        assert all(begun <= intent.sent_at <= ended for intent in intents)

    async def test_they_stand_in_the_minute_of_their_sending(self, store, outbox):
        begun = await outbox.now()
        await store.merge([Rating("u", f"m{n}", 5, LONG_AGO) for n in range(20)])
        found = await buckets(outbox, begun)
        for (_, minute), rows in found.items():
            assert {intent.sent_at // MINUTE for intent in rows} == {minute}
        assert sum(map(len, found.values())) == 20

    async def test_in_the_order_of_sending_and_since_a_time(self, store, outbox):
        begun = await outbox.now()
        for n in range(10):
            await store.write("u", f"m{n}", 5)
        for (shard, minute), rows in (await buckets(outbox, begun)).items():
            times = [intent.sent_at for intent in rows]
            assert times == sorted(times)
            since = times[len(times) // 2]
            later = [row async for page in outbox.intents(shard, minute, since) for row in page]
            assert later == [intent for intent in rows if intent.sent_at >= since]

    async def test_those_of_a_pair_share_a_shard(self, store, outbox):
        begun = await outbox.now()
        for n in range(10):
            await store.write("u", f"m{n % 2}", 5)
        shards = {}
        for (shard, _), rows in (await buckets(outbox, begun)).items():
            for intent in rows:
                shards.setdefault(intent.rating[:2], set()).add(shard)
        assert [len(found) for found in shards.values()] == [1, 1]

    async def test_pairs_are_spread(self, store, outbox):
        begun = await outbox.now()
        await store.merge([Rating("u", f"m{n}", 5, LONG_AGO) for n in range(50)])
        shards = {shard for shard, _ in await buckets(outbox, begun)}
        assert len(shards) == len(await outbox.swept_to())

    async def test_a_bucket_of_many_pages(self, store, outbox):
        begun = await outbox.now()
        ratings = [Rating(f"u{n}", "m", n % 20 + 1, LONG_AGO + n) for n in range(3000)]
        await store.merge(ratings)
        assert sorted(intent.rating for intent in await all_intents(outbox, begun)) == sorted(
            ratings
        )

    async def test_nothing_is_ever_taken_out(self, store, outbox):
        begun = await outbox.now()
        await store.write("u", "m", 18)
        before = await all_intents(outbox, begun)
        await outbox.settle(before)
        assert await all_intents(outbox, begun) == before

    async def test_an_empty_bucket(self, outbox):
        assert [page async for page in outbox.intents(0, 1)] == []

    async def test_an_erasure_is_one_of_the_whole_then_a_removal_for_each(self, store, outbox):
        for movie_id in "ab":
            await store.write("u", movie_id, 5)
        begun = await outbox.now()
        erasure = await store.erase("u")
        intents = await all_intents(outbox, begun)
        sent = [intent for intent in intents if intent.rating.version == erasure.version]
        sent.sort(key=lambda intent: intent.sent_at)
        assert sent[0].rating == Rating("u", "", REMOVED, erasure.version)
        assert sorted(intent.rating for intent in sent[1:]) == [
            Rating("u", movie_id, REMOVED, erasure.version) for movie_id in "ab"
        ]


class TestEvents:
    async def test_the_user_is_hidden(self, store, outbox):
        event = outbox.event(Rating("u", "m", 7, LONG_AGO))
        assert event == RatingChanged("m", store.rater("u"), LONG_AGO, 7)


class TestSettling:
    async def test_of_what_is_done_changes_nothing(self, store, outbox):
        written = await store.write("u", "m", 18)
        assert await told(outbox, written) == applied(outbox, written)
        assert await store.read("u", "m") == written

    async def test_puts_the_rating_where_a_write_was_cut_in_half(self, store, outbox):
        rating = Rating("u", "m", 18, LONG_AGO)
        assert await told(outbox, rating) == applied(outbox, rating)
        assert await store.read("u", "m") == rating

    async def test_in_place_of_an_older_one(self, store, outbox):
        await store.merge([Rating("u", "m", 3, LONG_AGO)])
        rating = Rating("u", "m", 18, LONG_AGO + 1)
        assert await told(outbox, rating) == applied(outbox, rating)
        assert await store.read("u", "m") == rating

    async def test_of_equal_versions_the_larger_value_wins(self, store, outbox):
        for value, stands in ((5, 5), (7, 7), (6, 7), (REMOVED, REMOVED), (20, REMOVED)):
            rating = Rating("u", "m", value, LONG_AGO)
            assert await told(outbox, rating) == applied(outbox, rating._replace(value=stands))
        assert await store.read("u", "m") is None

    async def test_tells_the_newer_one_that_the_store_holds(self, store, outbox):
        newer = await store.write("u", "m", 18)
        assert await told(outbox, Rating("u", "m", 3, LONG_AGO)) == applied(outbox, newer)
        assert await store.read("u", "m") == newer

    async def test_a_removal_that_was_cut_in_half(self, store, outbox):
        written = await store.write("u", "m", 18)
        removal = written._replace(value=REMOVED, version=written.version + 1)
        assert await told(outbox, removal) == applied(outbox, removal)
        assert await store.read("u", "m") is None

    async def test_several_of_one_pair(self, store, outbox):
        ratings = [Rating("u", "m", n + 1, LONG_AGO + n) for n in (3, 9, 5)]
        assert await told(outbox, *ratings) == applied(outbox, ratings[1])
        assert await store.read("u", "m") == ratings[1]

    async def test_of_what_was_erased_tells_a_removal_of_its_version(self, store, outbox):
        written = await store.write("u", "m", 18)
        erasure = await store.erase("u")
        for version in (LONG_AGO, written.version, erasure.version):
            rating = Rating("u", "m", 18, version)
            assert await told(outbox, rating) == applied(outbox, rating._replace(value=REMOVED))
        assert await store.read("u", "m") is None

    async def test_of_what_was_written_after_an_erasure(self, store, outbox):
        before = await store.write("u", "m", 18)
        await store.erase("u")
        after = await store.write("u", "m", 3)
        assert await told(outbox, before, after) == applied(outbox, after)
        assert await told(outbox, before) == applied(outbox, after)
        assert await store.read("u", "m") == after

    async def test_an_erasure_that_is_done(self, store, outbox):
        await store.write("u", "m", 18)
        erasure = await store.erase("u")
        after = await store.write("u", "m", 3)
        assert await told(outbox, Rating("u", "", REMOVED, erasure.version)) == {}
        assert await store.read("u", "m") == after

    async def test_an_erasure_of_which_nothing_was_decided_never_is(self, store, outbox):
        written = await store.write("u", "m", 18)
        assert await told(outbox, Rating("u", "", REMOVED, written.version + 1)) == {}
        assert await store.read("u", "m") == written
        assert (await store.erase("u")).ratings == 1

    async def test_many(self, store, outbox):
        ratings = [Rating(f"u{n % 50}", f"m{n}", n % 21 + 1, LONG_AGO + n) for n in range(500)]
        assert await told(outbox, *ratings) == latest(map(outbox.event, ratings))
        found = [rating async for page in store.scan() for rating in page]
        assert sorted(found) == sorted(r for r in ratings if r.value != REMOVED)

    async def test_nothing(self, outbox):
        assert list(await outbox.settle([])) == []


class TestLeases:
    async def test_one_relay_at_a_time(self, outbox):
        assert (await outbox.lease(0, "a", SECONDS)).shard == 0
        assert await outbox.lease(0, "b", SECONDS) is None
        assert (await outbox.lease(1, "b", SECONDS)).shard == 1

    async def test_its_holder_keeps_it(self, outbox):
        await outbox.lease(0, "a", SECONDS)
        assert await outbox.lease(0, "a", SECONDS) is not None
        assert await outbox.lease(0, "b", SECONDS) is None

    async def test_is_another_ones_after_its_time(self, outbox):
        assert await outbox.lease(0, "a", 0.02) is not None
        assert await until(lambda: outbox.lease(0, "b", SECONDS)) is not None
        assert await outbox.lease(0, "a", SECONDS) is None

    async def test_is_let_go_by_its_holder_alone(self, outbox):
        await outbox.lease(0, "a", SECONDS)
        await outbox.release(0, "b")
        assert await outbox.lease(0, "b", SECONDS) is None
        await outbox.release(0, "a")
        assert await outbox.lease(0, "b", SECONDS) is not None

    async def test_of_many_that_ask_at_once_one_gets_it(self, outbox):
        asked = [outbox.lease(0, f"r{n}", SECONDS) for n in range(5)]
        leases = await asyncio.gather(*asked)
        assert sum(lease is not None for lease in leases) == 1

    async def test_how_far_a_shard_is_swept_is_kept_with_it(self, outbox):
        lease = await outbox.lease(1, "a", SECONDS)
        assert await outbox.swept(1, "a", lease.swept + 3)
        assert (await outbox.lease(1, "a", SECONDS)).swept == lease.swept + 3
        await outbox.release(1, "a")
        assert (await outbox.lease(1, "b", SECONDS)).swept == lease.swept + 3

    async def test_nothing_is_kept_for_one_who_does_not_hold_it(self, outbox):
        before = await outbox.swept_to()
        assert not await outbox.swept(0, "a", before[0] + 1)
        await outbox.lease(0, "a", SECONDS)
        assert not await outbox.swept(0, "b", before[0] + 1)
        await outbox.release(0, "a")
        assert not await outbox.swept(0, "a", before[0] + 1)
        assert await outbox.swept_to() == before

    async def test_everybody_can_tell_how_far_all_are_swept(self, outbox):
        before = await outbox.swept_to()
        await outbox.lease(1, "a", SECONDS)
        await outbox.swept(1, "a", before[1] + 7)
        assert await outbox.swept_to() == [before[0], before[1] + 7, *before[2:]]

    async def test_a_new_outbox_is_swept_up_to_before_its_first_intent(self, store, outbox):
        begun = await outbox.now()
        await store.write("u", "m", 5)
        assert all(minute < begun // MINUTE for minute in await outbox.swept_to())


class TestAttendance:
    async def test_tells_who_lives_by_name(self, outbox):
        assert await outbox.attend("b", SECONDS) == ["b"]
        assert await outbox.attend("a", SECONDS) == ["a", "b"]
        assert await outbox.attend("b", SECONDS) == ["a", "b"]

    async def test_who_says_so_lives_no_more(self, outbox):
        await outbox.attend("a", SECONDS)
        await outbox.attend("b", SECONDS)
        assert await outbox.attend("a", 0) == ["b"]
        assert await outbox.attend("b", SECONDS) == ["b"]

    async def test_who_says_nothing_is_taken_for_dead(self, outbox):
        await outbox.attend("a", 0.02)

        async def alone():
            return await outbox.attend("b", SECONDS) == ["b"]

        assert await until(alone)
