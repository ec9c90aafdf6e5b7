"""What runs in the background of a test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager


@asynccontextmanager
async def running(*runs: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """These run meanwhile; where one fails, so does the test."""
    tasks = [asyncio.ensure_future(run()) for run in runs]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
    failed = [end for end in ended if isinstance(end, Exception)]
    assert not failed, failed


async def eventually(look: Callable[[], Awaitable[bool]], within: float = 60) -> None:
    """Until it is so; fails where that takes longer."""
    async with asyncio.timeout(within):
        while not await look():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)


async def until(holds: Callable[[], object], within: float = 60) -> None:
    """The same, where looking takes no time."""
    async with asyncio.timeout(within):
        while not holds():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
