"""``ports.EventLog``: ``movie_rate_topic`` as its consumer sees it."""

import asyncio

import pytest

from marquee.model import Rating

LONG_AGO = 1_000_000_000_000_000


@pytest.fixture
def log(stores):
    return stores.events


async def send(stores, number, first=0):
    """So many events, one a movie."""
    await stores.ratings.merge(
        [Rating("u", f"m{n:04}", 5, LONG_AGO + n) for n in range(first, first + number)]
    )


async def read(log, number, limit):
    """Batches with so many records in all."""
    batches = []
    while sum(len(batch.events) for batch in batches) < number:
        batch = await log.poll(limit)
        assert batch is not None
        batches.append(batch)
    return batches


async def fold(stores, batches):
    for batch in batches:
        await stores.totals.fold(batch)
        await stores.events.done(batch)


def movies(batches):
    return sorted(event.movie_id for batch in batches for event in batch.events)


async def test_nothing_after_a_while(log):
    async with asyncio.timeout(5):
        assert await log.poll(10) is None


async def test_at_most_so_many_and_all_of_them(stores, log):
    await send(stores, 25)
    batches = await read(log, 25, 10)
    assert all(0 < len(batch.events) <= 10 for batch in batches)
    assert movies(batches) == [f"m{n:04}" for n in range(25)]
    assert await log.poll(10) is None


async def test_consecutive_records_of_one_partition(stores, log):
    await send(stores, 25)
    ends: dict[int, int] = {}
    for batch in await read(log, 25, 10):
        assert batch.start == ends.get(batch.partition, 0)
        assert batch.end > batch.start
        ends[batch.partition] = batch.end


async def test_goes_on_behind_what_it_gave_last(stores, log):
    await send(stores, 3)
    assert movies(await read(log, 3, 3)) == ["m0000", "m0001", "m0002"]
    await send(stores, 2, first=3)
    assert movies(await read(log, 2, 3)) == ["m0003", "m0004"]


async def test_begins_again_where_that_gave_nothing(stores, log):
    """At the position that the totals hold: they may have been restored meanwhile."""
    await send(stores, 5)
    batches = await read(log, 5, 2)
    await fold(stores, batches[:1])
    assert await log.poll(2) is None
    assert movies(await read(log, 3, 2)) == movies(batches[1:])


async def test_wakes_for_what_comes(stores, log):
    async def first():
        batch = None
        while batch is None:
            batch = await log.poll(10)
            await asyncio.sleep(0)
        return batch

    async with asyncio.timeout(10):
        polled = asyncio.create_task(first())
        await asyncio.sleep(0)
        await send(stores, 1)
        assert movies([await polled]) == ["m0000"]


async def test_seek_goes_on_from_behind_a_position(stores, log):
    await send(stores, 25)
    batches = await read(log, 25, 10)
    for batch in reversed(batches):
        log.seek(batch.partition, batch.start)
    assert movies(await read(log, 25, 10)) == movies(batches)
    log.seek(batches[0].partition, batches[0].end)
    assert (await log.poll(10)).start == batches[0].end


async def test_behind_counts_what_waits_to_be_folded(stores, log):
    assert await log.behind() == 0
    await send(stores, 5)
    assert await log.behind() == 5
    batch = await log.poll(2)
    assert await log.behind() == 5
    await fold(stores, [batch])
    assert await log.behind() == 3


async def test_the_ends_are_where_one_stands_that_has_folded_all(stores, log):
    await send(stores, 5)
    ends = await log.ends()
    await send(stores, 1, first=5)
    assert await log.ends() != ends
    stands: dict[int, int] = {}
    while any(stands.get(partition, 0) < end for partition, end in ends.items()):
        batch = await log.poll(1)
        await fold(stores, [batch])
        stands[batch.partition] = (await stores.totals.position(batch.partition)).offset
        assert stands[batch.partition] == batch.end
    assert await log.behind() <= 1


async def test_what_is_done_need_not_be_kept_and_what_is_not_is(stores, log):
    await send(stores, 5)
    batch = await log.poll(3)
    await fold(stores, [batch])
    await log.done(batch)
    assert movies(await read(log, 2, 3)) == ["m0003", "m0004"]
