"""``ports.Charts``: the chart as the database of the totals orders it."""

import pytest

from marquee.model import ChartQuery, Movie, Nomination, Prior, RatingChanged, rate_tenths
from marquee.ports import Batch
from tests.contract.backends import proving


async def put(stores, id, values, **known):
    await stores.catalogue.put(Movie(id, known.pop("title", id), **known))
    await rate(stores, id, values)


async def rate(stores, id, values, version=1):
    events = [RatingChanged(id, n.to_bytes(16), version, v) for n, v in enumerate(values)]
    await stores.totals.fold(Batch(events))


def ids(chart):
    return [standing.movie.id for standing in chart.entries]


async def chart(stores, **query):
    return ids(await stores.charts.chart(ChartQuery(**query)))


async def test_nothing(stores):
    assert (await stores.charts.refresh()).entries == ()
    assert (await stores.charts.chart(ChartQuery(limit=250))).entries == ()


async def test_rate_then_box_office_then_number_then_id(stores):
    for id, values, box_office in (
        ("worst", [1], 2**53),
        ("id-b", [13] * 2, None),
        ("id-a", [13] * 2, None),
        ("id-B", [13] * 2, None),
        ("many", [13] * 3, None),
        ("zero", [13], 0),
        ("rich", [13], 9),
        ("best", [20] * 3, None),
    ):
        await put(stores, id, values, box_office=box_office)
    await stores.catalogue.put(Movie("unrated", "Unrated", box_office=2**53))
    expected = ["best", "rich", "zero", "many", "id-B", "id-a", "id-b", "worst"]
    assert ids(await stores.charts.refresh()) == expected
    assert await chart(stores) == expected


async def test_the_order_is_that_of_the_rounded_rate(stores):
    """7.0 and 7.04 are one rate: the box office decides."""
    await put(stores, "better", [18, 18, 17], box_office=1)
    await put(stores, "richer", [18, 18, 16], box_office=2)
    found = await stores.charts.refresh()
    tenths = {
        rate_tenths(standing.totals.number, standing.totals.total, found.prior)
        for standing in found.entries
    }
    assert len(tenths) == 1
    assert ids(found) == ["richer", "better"]


async def test_the_ten_are_at_most_ten(stores):
    for n in range(12):
        await put(stores, f"m{n:02}", [20], box_office=n)
    assert ids(await stores.charts.refresh()) == [f"m{n:02}" for n in range(11, 1, -1)]
    assert len(await chart(stores, limit=250)) == 12
    assert await chart(stores, limit=1) == ["m11"]


async def test_it_follows_totals_and_catalogue(stores):
    await put(stores, "a", [20, 20])
    await put(stores, "b", [10])
    assert ids(await stores.charts.refresh()) == ["a", "b"]
    await rate(stores, "a", [1, 1], version=2)
    assert ids(await stores.charts.refresh()) == ["b", "a"]
    await rate(stores, "a", [21, 21], version=3)
    assert ids(await stores.charts.refresh()) == ["b"]
    await stores.catalogue.delete("b")
    assert ids(await stores.charts.refresh()) == []
    await stores.catalogue.put(Movie("b", "Back"))
    assert (await stores.charts.refresh()).entries[0].movie.title == "Back"


async def test_changed_at_follows_changes_and_refreshed_at_every_look(stores):
    await put(stores, "a", [20])
    first = await stores.charts.refresh()
    second = await stores.charts.refresh()
    assert second.changed_at == first.changed_at
    assert second.refreshed_at > first.refreshed_at
    assert first.changed_at <= first.refreshed_at
    await rate(stores, "a", [19], version=2)
    third = await stores.charts.refresh()
    assert third.changed_at > second.changed_at
    assert third.refreshed_at > second.refreshed_at


async def test_what_a_chart_is_of(stores):
    await put(stores, "a", [20], year=1950, genres=("Drama", "War"))
    await put(stores, "b", [19, 19], year=1960, genres=("drama",))
    await put(stores, "c", [1] * 3, year=1970, genres=("War",))
    await put(stores, "d", [2], genres=())
    await stores.catalogue.merge_nominations(
        [
            Nomination(1, "A", 1950, "1950 (1st)", True, "", "a"),
            Nomination(2, "C", 1970, "1970 (2nd)", False, "", "c"),
        ]
    )
    for query, expected in (
        ({"genre": "DRAMA"}, {"a", "b"}),
        ({"genre": "Dram"}, set()),
        ({"year_from": 1960}, {"b", "c"}),
        ({"year_to": 1960}, {"a", "b"}),
        ({"year_from": 1960, "year_to": 1960}, {"b"}),
        ({"min_ratings": 2}, {"b", "c"}),
        ({"min_ratings": 0}, {"a", "b", "c", "d"}),
        ({"won": True}, {"a"}),
        ({"won": False}, {"c"}),
        ({"genre": "war", "won": False, "min_ratings": 3, "year_from": 1970}, {"c"}),
    ):
        assert set(await chart(stores, **query)) == expected, query


async def test_by_mean(stores):
    await put(stores, "few", [20])
    await put(stores, "many", [19] * 50)
    assert await chart(stores) == ["many", "few"]
    assert await chart(stores, by_mean=True) == ["few", "many"]


@pytest.mark.parametrize("backend", proving("charts"))
async def test_the_prior_is_the_stores_own(backend, tmp_path):
    async with backend.open(tmp_path, Prior(0, 650)) as stores:
        await put(stores, "few", [20])
        await put(stores, "many", [19] * 50)
        found = await stores.charts.refresh()
        assert ids(found) == ["few", "many"]
        assert found.prior == Prior(0, 650)
        assert (await stores.charts.chart(ChartQuery())).prior == Prior(0, 650)


async def test_the_ten_is_as_it_was_last_refreshed(stores):
    assert await stores.charts.ten() is None
    await put(stores, "m", [13])
    first = await stores.charts.refresh()
    await put(stores, "n", [20])
    assert await stores.charts.ten() == first
    second = await stores.charts.refresh()
    assert ids(second) == ["n", "m"]
    assert await stores.charts.ten() == second
