"""``ports.TotalsStore``: what was applied, the totals, the position, and the dead."""

import asyncio

import pytest

from marquee.errors import PositionMoved
from marquee.model import REMOVED, Applied, Movie, RatingChanged, Totals
from marquee.ports import Batch, Poison, Position

A, B = bytes(16), bytes(15) + b"\x01"


@pytest.fixture
def store(stores):
    return stores.totals


def batch(*events, start=None, end=0, partition=0, poison=(), mark=""):
    changed = [RatingChanged(*event) for event in events]
    return Batch(changed, poison, partition, start, end, mark)


def totals(*values):
    return Totals(tuple(values.count(value) for value in range(1, 21)))


async def totals_of(store):
    (found,) = await store.totals(["m"])
    return found


async def all_of(pages):
    return [each async for page in pages for each in page]


async def applied(store):
    return dict(await all_of(store.scan_applied()))


class TestFold:
    async def test_counts_each_pair_once(self, store):
        changed = await store.fold(batch(("m", A, 1, 5), ("m", B, 1, 7), ("n", A, 1, 9)))
        assert changed == 2
        assert await store.totals(["n", "m"]) == [totals(9), totals(5, 7)]

    async def test_again_changes_nothing(self, store):
        events = [("m", A, 1, 5), ("m", B, 1, 7)]
        await store.fold(batch(*events))
        assert await store.fold(batch(*events)) == 0
        assert await totals_of(store) == totals(5, 7)

    async def test_the_newest_version_counts_in_whatever_order(self, store):
        for version, value, stands in (
            *((5, 4, totals(4)), (4, 9, totals(4)), (6, REMOVED, totals()), (5, 20, totals())),
            *((7, 3, totals(3)), (7, 2, totals(3)), (7, 8, totals(8)), (7, REMOVED, totals())),
        ):
            await store.fold(batch(("m", A, version, value)))
            assert await totals_of(store) == stands

    async def test_a_batch_may_hold_a_pair_more_than_once(self, store):
        events = [("m", A, 2, 5), ("m", A, 3, 7), ("m", A, 1, 9), ("m", A, 3, 7)]
        assert await store.fold(batch(*events)) == 1
        assert await totals_of(store) == totals(7)

    @pytest.mark.parametrize("number", [499, 500, 501, 1000, 1250])
    async def test_all_of_a_large_batch_are_applied(self, store, number):
        """Whatever a store does in parts: no rater is left out, none counts twice."""
        raters = [n.to_bytes(16) for n in range(number)]
        await store.fold(batch(*(("m", rater, 1, 5) for rater in raters)))
        changes = [("m", rater, 2, 7) for rater in raters]
        await store.fold(batch(*changes, *changes))
        assert await totals_of(store) == totals(*[7] * number)
        pairs = [("m", rater) for rater in raters]
        assert await applied(store) == dict.fromkeys(pairs, Applied(2, 7))

    async def test_how_many_movies_totals_changed(self, store):
        await store.fold(batch(("m", A, 1, 5)))
        assert await store.fold(batch(("m", A, 2, 5), ("n", A, 1, REMOVED))) == 0
        assert (await applied(store))["m", A] == Applied(2, 5)

    async def test_the_position_becomes_the_end(self, store):
        assert await store.position(0) == Position()
        await store.fold(batch(("m", A, 1, 5), start=0, end=4, mark="the fourth"))
        assert await store.position(0) == Position(4, "the fourth")
        assert await store.position(1) == Position()
        await store.fold(batch(start=4, end=9))
        assert await store.position(0) == Position(9)

    @pytest.mark.parametrize("start", [0, 3, 5, 100])
    async def test_elsewhere_it_moved_and_nothing_is_done(self, store, start):
        await store.fold(batch(start=0, end=4))
        late = batch(("m", A, 1, 5), start=start, end=200, poison=[Poison(b"x", "y")])
        with pytest.raises(PositionMoved) as moved:
            await store.fold(late)
        assert moved.value.position == 4
        assert (await store.position(0)).offset == 4
        assert await totals_of(store) == totals()
        assert await applied(store) == {}
        assert await store.count_dead_letters() == 0

    async def test_of_two_with_the_same_batch_one_folds_it(self, store):
        work = batch(("m", A, 1, 5), start=0, end=1)
        results = await asyncio.gather(store.fold(work), store.fold(work), return_exceptions=True)
        assert sorted(type(result).__name__ for result in results) == ["PositionMoved", "int"]
        assert await totals_of(store) == totals(5)

    async def test_a_batch_without_a_place_keeps_no_position(self, store):
        await store.fold(batch(start=0, end=4))
        await store.fold(batch(("m", A, 1, 5)))
        assert (await store.position(0)).offset == 4

    async def test_an_event_that_no_store_may_apply_stops_all_of_its_batch(self, store):
        for event in (("m", A, 1, 0), ("m", A, 1, 22), ("m", A, 0, 5), ("m", A, 2**63, 5)):
            with pytest.raises(ValueError, match="no rating"):
                await store.fold(batch(("n", A, 1, 5), event, start=0, end=2))
        assert await store.totals(["m", "n"]) == [totals(), totals()]
        assert await store.position(0) == Position()

    async def test_a_large_batch_that_fails_comes_again_and_counts_once(self, store):
        """Whatever of it was applied in a part of its own."""
        good = [("m", n.to_bytes(16), 1, 5) for n in range(1250)]
        with pytest.raises(ValueError, match="no rating"):
            await store.fold(batch(*good, ("z", A, 1, 22), start=0, end=7))
        assert await store.position(0) == Position()
        (kept,) = [row for row in await all_of(store.scan_totals()) if row[0] == "m"] or [None]
        assert kept is None or kept[1] == kept[2]
        await store.fold(batch(*good, ("z", A, 1, 2), start=0, end=7))
        assert await store.totals(["m", "z"]) == [totals(*[5] * 1250), totals(2)]
        assert (await store.position(0)).offset == 7

    async def test_of_a_movie_that_the_catalogue_lacks(self, stores):
        await stores.totals.fold(batch(("m", A, 1, 5)))
        assert await stores.catalogue.get("m") is None
        assert not await stores.catalogue.has("m")
        assert await stores.catalogue.search("", None, None, None, 10) == ([], None)
        assert (await stores.charts.refresh()).entries == ()
        assert await stores.catalogue.put(Movie("m", "Whole again"))
        assert (await stores.catalogue.get("m")).totals == totals(5)
        assert len((await stores.charts.refresh()).entries) == 1


class TestReads:
    async def test_totals_in_the_order_of_the_ids(self, store):
        await store.fold(batch(("m", A, 1, 5), ("n", A, 1, 6)))
        found = await store.totals(["n", "unknown", "m", "n"])
        assert found == [totals(6), totals(), totals(5), totals(6)]
        assert await store.totals([]) == []

    async def test_scan_applied_by_movie_then_rater_with_removals(self, store):
        events = [
            (f"m{n % 3}", n.to_bytes(16), n + 1, REMOVED if n % 5 == 0 else n % 20 + 1)
            for n in range(2500)
        ]
        await store.fold(batch(*events))
        expected = sorted(((m, rater), Applied(v, value)) for m, rater, v, value in events)
        assert await all_of(store.scan_applied()) == expected
        of_one = [each for each in expected if each[0][0] == "m1"]
        assert await all_of(store.scan_applied("m1")) == of_one
        assert await all_of(store.scan_applied("m")) == []

    async def test_scan_totals_by_id_and_recounted(self, stores):
        await stores.catalogue.put(Movie("unrated", "Unrated"))
        await stores.totals.fold(batch(*((f"m{n:04}", A, 1, n % 20 + 1) for n in range(1200))))
        found = await all_of(stores.totals.scan_totals())
        assert [each[0] for each in found] == [*(f"m{n:04}" for n in range(1200)), "unrated"]
        assert all(stored == counted for _, stored, counted in found)
        assert found[3][1] == totals(4)
        assert found[-1][1] == totals()

    async def test_recount_of_what_is_right(self, store):
        await store.fold(batch(("m", A, 1, 5)))
        assert await store.recount("m") is False
        assert await store.recount("unknown") is False
        assert await totals_of(store) == totals(5)


class TestDeadLetters:
    POISON = (Poison(b"\x00\xff", "no event"), Poison(b"", "nothing"), Poison(b"{}", "no fields"))

    async def test_poison_goes_there_with_its_error_beside_the_rest(self, store):
        work = batch(("m", A, 1, 5), start=0, end=4, poison=self.POISON)
        assert await store.fold(work) == 1
        assert await totals_of(store) == totals(5)
        letters = await store.dead_letters()
        assert tuple(Poison(letter.raw, letter.error) for letter in letters) == self.POISON
        assert all(letter.died_at > 0 for letter in letters)
        assert await store.count_dead_letters() == 3

    async def test_in_pages(self, store):
        await store.fold(batch(poison=self.POISON * 2))
        first = await store.dead_letters(limit=4)
        rest = await store.dead_letters(after=first[-1].id, limit=4)
        assert (len(first), len(rest)) == (4, 2)
        ids = [letter.id for letter in first + rest]
        assert ids == sorted(set(ids))

    async def test_bury_replaces_one_by_its_effect(self, store):
        await store.fold(batch(poison=self.POISON))
        first, second, third = await store.dead_letters()
        await store.bury(second, batch(("m", A, 1, 5)))
        assert await store.dead_letters() == [first, third]
        assert await totals_of(store) == totals(5)

    async def test_or_just_takes_it_away(self, store):
        await store.fold(batch(poison=self.POISON))
        for letter in await store.dead_letters():
            await store.bury(letter, None)
        assert await store.count_dead_letters() == 0
        assert await store.dead_letters() == []
