"""What `marquee verify` found last: kept in the movie store, and told of by who watches it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import msgspec

from ..errors import StoreAway
from .stores import Stores

NAME = "verified"
LOOK_SECONDS = 5.0


class Verdict(msgspec.Struct):
    """``at``: seconds since 1970."""

    at: float = 0.0
    drifted: int = 0


async def remember(stores: Stores, drifted: int) -> None:
    """Keep that so many movies were adrift just now."""
    found = msgspec.json.encode(Verdict(time.time(), drifted))
    await stores.remember(NAME, found.decode())


class Verified:
    def __init__(self, recall: Callable[[str], Awaitable[str | None]]) -> None:
        self._recall = recall
        self._found = Verdict()

    @property
    def at(self) -> float:
        return self._found.at

    @property
    def drifted(self) -> int:
        return self._found.drifted

    async def run(self) -> None:
        """Look now and then, for ever."""
        while True:
            with suppress(StoreAway):  # its own figures say so
                await self.step()
            await asyncio.sleep(LOOK_SECONDS)

    async def step(self) -> None:
        if kept := await self._recall(NAME):
            self._found = msgspec.json.decode(kept, type=Verdict)
