"""``ports.EventLog`` where the log knows positions, and the totals keep them."""

import pytest

from tests.support.events import fold, movies, read, send


@pytest.fixture
def log(stores):
    return stores.events


async def test_consecutive_records_of_one_partition(stores, log):
    await send(stores, 25)
    ends: dict[int, int] = {}
    for batch in await read(log, 25, 5):
        assert batch.start == ends.get(batch.partition, 0)
        assert batch.end > batch.start
        ends[batch.partition] = batch.end


async def test_begins_again_where_that_gave_nothing(stores, log):
    """At the position that the totals hold: they may have been restored meanwhile."""
    await send(stores, 5)
    batches = await read(log, 5, 2)
    await fold(stores, batches[:1])
    assert await log.poll(2) is None
    assert movies(await read(log, 5 - len(batches[0].events), 2)) == movies(batches[1:])


async def test_seek_goes_on_from_behind_a_position(stores, log):
    await send(stores, 25)
    batches = await read(log, 25, 5)
    for batch in reversed(batches):
        log.seek(batch.partition, batch.start)
    assert movies(await read(log, 25, 5, at_once=True)) == movies(batches)
    for batch in batches:
        log.seek(batch.partition, batch.end)
    log.seek(batches[0].partition, batches[0].start)
    assert (await log.poll(5)).events[0] == batches[0].events[0]


async def test_the_ends_are_where_one_stands_that_has_folded_all(stores, log):
    await send(stores, 5)
    ends = await log.ends()
    await send(stores, 1, first=5)
    assert await log.ends() != ends
    stands: dict[int, int] = {}
    while any(stands.get(partition, 0) < end for partition, end in ends.items()):
        (batch, *_) = await read(log, 1, 1)
        await fold(stores, [batch])
        stands[batch.partition] = (await stores.totals.position(batch.partition)).offset
        assert stands[batch.partition] == batch.end
    assert await log.behind() <= 1
