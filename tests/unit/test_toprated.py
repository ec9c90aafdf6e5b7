"""Charts other than the ten: each is drawn once for all, and served old rather than not at all."""

import asyncio

import pytest

from marquee.adapters.memory import MemoryCache, MemoryNotices
from marquee.errors import StoreAway
from marquee.model import PLAIN, Chart, ChartQuery, Movie, Standing, Totals
from marquee.toprated import CHART_SECONDS, STALE_SECONDS, TURN_SECONDS, TopRated

QUERY = ChartQuery(genre="Horror")


class Charts:
    """Draws a chart of one movie when it is let; ``draws``: how many were begun."""

    def __init__(self) -> None:
        self.draws = 0
        self.title = "Alien"
        self.away = False
        self.let = asyncio.Event()
        self.let.set()

    async def chart(self, query: ChartQuery) -> Chart:
        self.draws += 1
        drawn = self.draws
        await self.let.wait()
        if self.away:
            raise StoreAway("It is away.")
        entries = (Standing(Movie("m", self.title), Totals((1,) * 20)),)
        return Chart(entries, drawn, drawn, PLAIN)

    async def refresh(self) -> Chart:
        return await self.chart(QUERY)

    async def ten(self) -> Chart | None:
        return await self.chart(QUERY)


class CacheAway(MemoryCache):
    async def look(self, query, turn):
        raise StoreAway("It is away.")

    async def keep(self, query, chart, fresh=0):
        raise StoreAway("It is away.")


class Stage:
    """Readers, each a process of its own, on one database and one cache."""

    def __init__(self, cache=MemoryCache) -> None:
        self.now = 1000.0
        self.charts = Charts()
        self.cache = cache(clock=self.clock)
        self.readers = [self.reader() for _ in range(3)]

    def clock(self) -> float:
        return self.now

    def reader(self) -> TopRated:
        return TopRated(self.charts, self.cache, MemoryNotices(), self.clock)

    async def titles(self) -> list[str]:
        charts = await asyncio.gather(*(reader.chart(QUERY) for reader in self.readers))
        return [chart.entries[0].movie.title for chart in charts]


@pytest.fixture
async def stage():
    return Stage()


async def turns():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_it_is_drawn_once_for_all_processes_and_callers(stage):
    stage.charts.let.clear()
    asking = [
        asyncio.create_task(reader.chart(QUERY)) for reader in stage.readers for _ in range(5)
    ]
    await turns()
    stage.charts.let.set()
    assert {chart.refreshed_at for chart in await asyncio.gather(*asking)} == {1}
    assert await stage.titles() == ["Alien"] * 3
    assert stage.charts.draws == 1


async def test_it_is_drawn_anew_when_it_is_no_longer_fresh(stage):
    assert await stage.titles() == ["Alien"] * 3
    stage.charts.title = "Aliens"
    stage.now += CHART_SECONDS + STALE_SECONDS
    assert await stage.titles() == ["Aliens"] * 3
    assert stage.charts.draws == 2


async def test_charts_drawn_together_do_not_grow_old_together(stage):
    for limit in range(1, 101):
        await stage.readers[0].chart(ChartQuery(limit))
    stage.now += 0.875 * CHART_SECONDS
    for limit in range(1, 101):
        await stage.readers[0].chart(ChartQuery(limit))
    await turns()
    assert 20 < stage.charts.draws - 100 < 80


async def test_a_stale_one_is_served_while_it_is_drawn_anew(stage):
    await stage.titles()
    stage.charts.title = "Aliens"
    stage.charts.let.clear()
    stage.now += CHART_SECONDS + STALE_SECONDS / 4
    assert await stage.titles() == ["Alien"] * 3
    stage.charts.let.set()
    await turns()
    assert (await stage.titles()).count("Aliens") >= 1
    assert stage.charts.draws == 2


async def test_one_that_is_too_old_is_served_only_where_there_is_no_other_soon(stage):
    await stage.titles()
    stage.charts.title = "Aliens"
    stage.charts.let.clear()
    stage.now += 60
    assert await stage.titles() == ["Alien"] * 3
    stage.charts.let.set()
    await turns()
    assert "Aliens" in await stage.titles()


async def test_while_the_database_is_away_it_is_served_as_it_was(stage):
    await stage.titles()
    stage.charts.away = True
    stage.now += 60
    assert await stage.titles() == ["Alien"] * 3
    stage.readers.append(stage.reader())
    assert await stage.titles() == ["Alien"] * 4, "a process that never saw it has it, too"
    stage.charts.away = False
    stage.charts.title = "Aliens"
    assert await stage.titles() == ["Aliens"] * 4


async def test_what_was_never_drawn_can_not_be_served(stage):
    stage.charts.away = True
    with pytest.raises(StoreAway):
        await stage.titles()
    stage.charts.away = False
    assert await stage.titles() == ["Alien"] * 3


async def test_without_the_cache_each_process_draws_for_itself():
    stage = Stage(CacheAway)
    assert await stage.titles() == ["Alien"] * 3
    assert await stage.titles() == ["Alien"] * 3
    assert stage.charts.draws == 3


async def test_who_takes_the_turn_and_dies_is_waited_for_no_longer_than_that(stage):
    await stage.cache.look(QUERY, TURN_SECONDS)
    asking = asyncio.create_task(stage.readers[0].chart(QUERY))
    await turns()
    assert stage.charts.draws == 0
    stage.now += TURN_SECONDS
    assert (await asking).refreshed_at == 1


async def test_it_changed_when_its_movies_did(stage):
    first = await stage.readers[0].chart(QUERY)
    stage.now += 60
    same = await stage.readers[1].chart(QUERY)
    assert (same.changed_at, same.refreshed_at) == (first.changed_at, 2)
    stage.charts.title = "Aliens"
    stage.now += 60
    other = await stage.readers[2].chart(QUERY)
    assert other.changed_at == other.refreshed_at == 3


async def test_who_goes_away_while_it_is_drawn_harms_nobody(stage):
    stage.charts.let.clear()
    gone, stays = (asyncio.create_task(stage.readers[0].chart(QUERY)) for _ in range(2))
    await turns()
    gone.cancel()
    await turns()
    stage.charts.let.set()
    assert (await stays).refreshed_at == 1


class CacheGone(MemoryCache):
    async def get(self) -> Chart | None:
        raise StoreAway("It is away.")


@pytest.mark.parametrize("cache", [CacheGone, MemoryCache], ids=["away", "empty"])
async def test_a_reader_takes_the_ten_from_its_database_where_the_cache_has_none(cache):
    reader = Stage(cache).reader()
    await reader.step()
    assert reader.ten is not None


async def test_the_prior_is_the_stores_also_where_nobody_has_refreshed_the_ten():
    stage = Stage(CacheAway)
    reader = stage.reader()
    stage.charts.away = True
    with pytest.raises(StoreAway):
        await reader.prior()
    stage.charts.away = False
    assert await reader.prior() == PLAIN
    await reader.step()
    stage.charts.away = True
    stage.now += CHART_SECONDS + STALE_SECONDS
    assert await reader.prior() == PLAIN


async def test_a_cache_and_a_database_that_are_both_away_leave_the_ten_as_it_was():
    stage = Stage(CacheGone)
    reader = stage.reader()
    await reader.step()
    seen = reader.ten
    stage.charts.away = True
    with pytest.raises(StoreAway):
        await reader.step()
    assert reader.ten is seen
