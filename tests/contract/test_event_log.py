"""``ports.EventLog``: ``movie_rate_topic`` as its consumer sees it."""

import asyncio

import pytest

from tests.support.events import fold, movies, named, read, send


@pytest.fixture
def log(stores):
    return stores.events


async def test_nothing_after_a_while(log):
    async with asyncio.timeout(60):
        assert await log.poll(10) is None


async def test_at_most_so_many_and_all_of_them(stores, log):
    await send(stores, 25)
    batches = await read(log, 25, 5)
    assert all(0 < len(batch.events) <= 5 for batch in batches)
    assert movies(batches) == named(25)
    assert await log.poll(5) is None


async def test_those_of_a_pair_in_their_order(stores, log):
    values = [n % 20 + 1 for n in range(50)]
    for value in values:
        await stores.ratings.write("u", "m", value)
        await stores.ratings.write("v", "n", value)
    await stores.deliver()
    events = [event for batch in await read(log, 100, 7) for event in batch.events]
    for movie_id in "mn":
        assert [event.value for event in events if event.movie_id == movie_id] == values


async def test_goes_on_behind_what_it_gave_last(stores, log):
    await send(stores, 3)
    assert movies(await read(log, 3, 3)) == named(3)
    await send(stores, 2, first=3)
    assert movies(await read(log, 2, 3, at_once=True)) == named(2, first=3)


async def test_wakes_for_what_comes(stores, log):
    async def first():
        batch = None
        while batch is None:
            batch = await log.poll(10)
            await asyncio.sleep(0)
        return batch

    async with asyncio.timeout(60):
        polled = asyncio.create_task(first())
        await asyncio.sleep(0)
        await send(stores, 1)
        assert movies([await polled]) == named(1)


async def test_what_was_not_folded_comes_again(stores, log):
    await send(stores, 25)
    batches = await read(log, 25, 5)
    for batch in reversed(batches):
        log.again(batch)
    again = await read(log, 25, 5, at_once=True)
    assert movies(again) == named(25)
    await fold(stores, again)
    assert await log.poll(5) is None


async def test_what_one_took_and_did_not_do_comes_to_another(stores):
    """A consumer that dies has folded what it has folded, and nothing else."""
    await send(stores, 25)
    async with stores.another() as mortal:
        batches = await read(mortal, 25, 5)
        for batch in batches[:2]:
            await stores.totals.fold(batch)
            await mortal.done(batch)
    async with stores.another() as heir:
        left = await read(heir, 25 - len(movies(batches[:2])), 5)
    assert movies(left) == movies(batches[2:])


async def test_poison_comes_beside_the_rest(stores, log):
    await send(stores, 2)
    await stores.spoil(b"no \xff event")
    await send(stores, 2, first=2)
    found = []
    while len(movies(found)) < 4 or not any(batch.poison for batch in found):
        if batch := await log.poll(10):
            found.append(batch)
    assert movies(found) == named(4)
    (poison,) = [poison for batch in found for poison in batch.poison]
    assert poison.raw
    assert poison.error
    await fold(stores, found)
    assert await log.poll(10) is None


async def test_behind_counts_what_waits_to_be_folded(stores, log):
    assert await log.behind() == 0
    await send(stores, 5)
    assert await log.behind() == 5
    (batch, *_) = await read(log, 1, 2)
    assert await log.behind() == 5
    await fold(stores, [batch])
    assert await log.behind() == 5 - len(batch.events)


async def test_what_is_done_need_not_be_kept_and_what_is_not_is(stores, log):
    await send(stores, 5)
    (batch, *_) = await read(log, 1, 3)
    await fold(stores, [batch])
    await log.done(batch)
    rest = await read(log, 5 - len(batch.events), 3)
    assert movies([batch, *rest]) == named(5)


async def test_there_is_nothing_to_bridge_where_nothing_is_lost(stores, log):
    await send(stores, 5)
    await fold(stores, await read(log, 1, 1))
    await log.check()
    assert list(await log.bridges()) == []
