"""What processes must agree on is looked at as soon as the stores that keep it answer."""

import asyncio
from contextlib import suppress

from ..errors import StoreAway
from .stores import Run

PAUSE = 1.0


class Agreement:
    """Looks, each of which raises ``Unusable`` where a process must not go on with its stores;
    done once each, for what they look at stands for ever."""

    def __init__(self) -> None:
        self._left: list[Run] = []

    def add(self, look: Run) -> None:
        self._left.append(look)

    async def run(self) -> None:
        """Until all of them are done. Raises ``Unusable``."""
        while self._left:
            with suppress(StoreAway):  # told by who needs it
                await self.step()
                return
            await asyncio.sleep(PAUSE)

    async def step(self) -> None:
        """Raises ``Unusable``, and ``StoreAway`` where some of it can't be told yet."""
        away: StoreAway | None = None
        for look in tuple(self._left):
            try:
                await look()
            except StoreAway as error:
                away = error
            else:
                with suppress(ValueError):  # another one has done it meanwhile
                    self._left.remove(look)
        if away is not None:
            raise away
