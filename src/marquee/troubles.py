"""What is wrong for a while is told once: when it begins, when it changes, and when it is over."""

import logging
import time
from collections.abc import Callable

from .errors import StoreAway

CALM_SECONDS = 5.0
"""After so long without it a trouble is over: many may have it, and some of them come through."""

MOST = 20
"""Different words for one trouble that are remembered as told."""


class Trouble:
    """What somebody waits for, tries again and again, and would have told each time.

    ``what``: how each line begins; ``level``: of those that tell that it is so.
    """

    def __init__(
        self,
        log: logging.Logger,
        what: str,
        clock: Callable[[], float] = time.monotonic,
        *,
        level: int = logging.WARNING,
    ) -> None:
        self._log = log
        self._what = what
        self._clock = clock
        self._level = level
        self._told: set[str] = set()
        self._last = 0.0

    def tell(self, why: object, fault: BaseException | None = None) -> None:
        """It is so, or still so. ``fault``: where it happened is told, too."""
        self._last = self._clock()
        words = str(why)
        if words in self._told:
            return
        if len(self._told) >= MOST:
            self._told.clear()
        self._told.add(words)
        self._log.log(self._level, "%s: %s", self._what, words, exc_info=fault)

    def unforeseen(self, fault: BaseException) -> None:
        """A fault of ours; of its words, which may be others each time, only its kind counts."""
        self.tell(type(fault).__name__, fault)

    def __enter__(self) -> None:
        """``with trouble:`` a store that is away is told, and ends what is done in there alone."""

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> bool:
        if isinstance(error, StoreAway):
            self.tell(error)
            return True
        if error is None:
            self.over()
        return False

    def over(self) -> None:
        """It is not so now; that it is over is told when it has not been for a while."""
        if self._told and self._clock() > self._last + CALM_SECONDS:
            self._told.clear()
            self._log.info("%s: no more", self._what)
