"""How long ratings take, from their acknowledgement to their movie's totals, and to the ten.

A version is when a rating was acknowledged, by its store's time. Where the clocks of the stores and
of this process differ, so do these figures.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from .ports import Notices

SECOND = 1_000_000
OLDEST = 24 * 3600 * SECOND
"""Before now: what bears an older version was dated by a file that was imported, not by a clock."""

MOST_WAITING = 200_000
"""Versions that wait for the ten. When it is not refreshed for long, those of the first folds are
told of as visible before they are: they took so long at least."""

Observe = Callable[[Sequence[float], Mapping[str, float]], None]
"""Told seconds, one time a rating; and by the ids of traces, those of the ratings that have one."""


class Punctuality:
    """``to_total`` and ``to_visible`` are told of each rating. ``traced``: by version, where in
    traces that comes from which is just being folded. ``clock``: microseconds since 1970."""

    def __init__(
        self,
        notices: Notices,
        to_total: Observe,
        to_visible: Observe,
        traced: Mapping[int, str],
        clock: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        self._to_total = to_total
        self._to_visible = to_visible
        self._traced = traced
        self._clock = clock
        self._waiting: deque[tuple[int, list[int], Mapping[int, str]]] = deque()
        self._number = 0
        notices.listen("ten", self._refreshed)

    def applied(self, versions: Iterable[int]) -> None:
        """A fold is durable, and has newly applied these."""
        now = self._clock()
        recent = [version for version in versions if version > now - OLDEST]
        traces = {v: self._traced[v][3:35] for v in recent if v in self._traced}
        self._tell(self._to_total, now, recent, traces)
        if recent:
            self._waiting.append((now, recent, traces))
            self._number += len(recent)
        while self._number > MOST_WAITING:
            self._see(now)

    def _refreshed(self, what: str) -> None:
        """The ten, as of some moment, is in every reader's reach."""
        as_of, now = refreshed_at(what), self._clock()
        while self._waiting and self._waiting[0][0] <= as_of:
            self._see(now)

    def _see(self, now: int) -> None:
        _, versions, traces = self._waiting.popleft()
        self._number -= len(versions)
        self._tell(self._to_visible, now, versions, traces)

    def _tell(
        self, observe: Observe, now: int, versions: list[int], traces: Mapping[int, str]
    ) -> None:
        seconds = [max(0, now - version) / SECOND for version in versions]
        observe(seconds, {trace: max(0, now - v) / SECOND for v, trace in traces.items()})


def refreshed_at(what: str) -> int:
    """When the ten was refreshed, as a notice says; 0 where it does not."""
    first = what.partition(" ")[0]
    return int(first) if first.isdecimal() else 0
