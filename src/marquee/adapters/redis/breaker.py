"""When a server is not worth asking."""

import time
from collections.abc import Callable

PAUSE = 1.0
"""Seconds between two tries of a server that failed."""


class Breaker:
    """Open from a failure to an answer: nobody waits for the server meanwhile, and one at a time
    tries it. ``about``: the key that was asked of it; ``why``: what callers are told."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self._next_try = 0.0
        self.about = ""
        self.why = ""

    @property
    def is_open(self) -> bool:
        return self._since is not None

    def failed(self, about: str, why: str) -> None:
        now = self._clock()
        if self._since is None:
            self._since = now
        self._next_try = now + PAUSE
        self.about, self.why = about, why

    def answered(self) -> None:
        self._since = None

    def may_try(self) -> bool:
        """Whether it is time to; then it is the caller's to do, and nobody else's for a while."""
        now = self._clock()
        if now < self._next_try:
            return False
        self._next_try = now + PAUSE
        return True

    def failing(self) -> float:
        """Seconds since it opened; 0 where it is not open."""
        return 0.0 if self._since is None else self._clock() - self._since
