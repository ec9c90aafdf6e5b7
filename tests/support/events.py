"""Events that are sent, read and folded, whatever the log."""

import asyncio
from contextlib import asynccontextmanager

from marquee.model import Rating, RatingChanged
from tests.support.tasks import until

LONG_AGO = 1_000_000_000_000_000


async def send(stores, number, first=0):
    """So many events, one a movie."""
    await stores.ratings.merge(
        [Rating("u", f"m{n:04}", 5, LONG_AGO + n) for n in range(first, first + number)]
    )
    await stores.deliver()


async def read(log, number, limit, *, at_once=False):
    """Batches with so many events in all; ``at_once``: nothing may be missing, not even for a
    moment, as it may while a group shares the log or the broker is slow."""
    batches = []
    async with asyncio.timeout(30):
        while len(movies(batches)) < number:
            batch = await log.poll(limit)
            assert batch is not None or not at_once
            if batch is not None:
                batches.append(batch)
    return batches


async def fold(stores, batches):
    for batch in batches:
        await stores.totals.fold(batch)
        await stores.events.done(batch)


def movies(batches):
    return sorted(event.movie_id for batch in batches for event in batch.events)


def named(number, first=0):
    """The movies of so many events."""
    return [f"m{n:04}" for n in range(first, first + number)]


def many(number, first=0):
    """Events of so many raters, on a hundred movies."""
    return [
        RatingChanged(f"m{n % 100:04}", n.to_bytes(16), LONG_AGO + n, n % 20 + 1)
        for n in range(first, first + number)
    ]


@asynccontextmanager
async def running(*stages):
    """Stages at work, each a task; one that ends by itself has failed."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(stage.run()) for stage in stages]
        yield tasks
        for task in tasks:
            task.cancel()


async def counted(movies, number):
    """Wait until ``many`` are folded: each of them, and each once."""
    await until(lambda: len(movies.applied) >= number)
    assert sum(totals.number for totals in movies.totals.values()) == number
