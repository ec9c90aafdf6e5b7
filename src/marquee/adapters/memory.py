"""What processes share, where there is only one of them: kept in its memory."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable
from typing import NamedTuple

from ..model import Chart, ChartQuery
from ..ports import Kept, Quota

SECOND = 1_000_000_000
SHARED_SLOTS = 1024
CHARTS_KEPT = 200


class Place(NamedTuple):
    """Where a chart is kept: until when it is fresh, and whose turn it is until when."""

    chart: Chart | None = None
    fresh_until: float = 0.0
    turn_until: float = 0.0


class MemoryCache:
    """``ports.Cache``. Besides the ten, the ``CHARTS_KEPT`` that were drawn last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._chart: Chart | None = None
        self._clock = clock
        self._places: dict[ChartQuery, Place] = {}

    async def put(self, chart: Chart) -> None:
        if not is_later(self._chart, chart):
            self._chart = chart

    async def get(self) -> Chart | None:
        return self._chart

    async def look(self, query: ChartQuery, turn: float) -> Kept:
        now = self._clock()
        place = self._places.get(query, Place())
        fresh = place.fresh_until - now if place.chart else 0.0
        given = fresh <= 0 and place.turn_until <= now
        if given:
            self._take_place(query, place._replace(turn_until=now + turn))
        return Kept(place.chart, fresh, given)

    async def keep(self, query: ChartQuery, chart: Chart | None, fresh: float = 0) -> None:
        place = self._places.get(query, Place())._replace(turn_until=0.0)
        if chart is not None and not is_later(place.chart, chart):
            place = Place(chart, self._clock() + fresh)
        self._take_place(query, place)

    def _take_place(self, query: ChartQuery, place: Place) -> None:
        self._places.pop(query, None)
        if len(self._places) >= CHARTS_KEPT:
            del self._places[next(iter(self._places))]
        self._places[query] = place


def is_later(kept: Chart | None, than: Chart) -> bool:
    return kept is not None and kept.refreshed_at > than.refreshed_at


class MemoryNotices:
    """``ports.Notices``. Listeners hear of it in the event loop's next turn, in order."""

    def __init__(self) -> None:
        self._listeners: defaultdict[str, list[Callable[[str], None]]] = defaultdict(list)

    def tell(self, topic: str, what: str = "") -> None:
        loop = asyncio.get_running_loop()
        for heard in self._listeners.get(topic, ()):
            # Not at once: what a listener does, or fails in, is no concern of the teller's.
            loop.call_soon(heard, what)

    def listen(self, topic: str, heard: Callable[[str], None]) -> None:
        self._listeners[topic].append(heard)


class MemoryRateLimiter:
    """``ports.RateLimiter`` by the generic cell rate algorithm (ITU-T I.371): all that is kept of a
    key is its theoretical arrival time, when its whole burst is back.

    Exact, in nanoseconds. Of at most ``room`` keys; when so many are in debt at once, those that
    come on top share a few slots by hash: these may be limited for each other's sake, but none
    gets more than its quota, and all of them together are never shut out.
    """

    def __init__(self, room: int = 100_000, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._room = room
        self._clock = clock
        self._arrivals: dict[str, int] = {}
        self._shared: dict[tuple[int, Quota], int] = {}
        self._next_sweep = 0

    async def take(self, key: str, quota: Quota) -> float:
        now = self._clock()
        number, seconds, burst = quota
        interval = -(-seconds * SECOND // number)  # rounded up: never more than the quota
        arrival = self._arrivals.get(key)
        slot = None
        if arrival is None:
            arrival = now
            if len(self._arrivals) >= self._room or self._shared:
                slot, arrival = self._find_room(key, quota, now)
        elif arrival < now:
            arrival = now
        debt = arrival + interval - now
        wait = debt - burst * interval
        if wait > 0:
            return wait / SECOND
        if slot is None:
            self._arrivals[key] = now + debt
        else:
            self._shared[slot] = now + debt
        return 0

    def _find_room(self, key: str, quota: Quota, now: int) -> tuple[tuple[int, Quota] | None, int]:
        """The slot that a new key must share, if any, and when it may go on.

        Python's hash of a text differs from process to process: nobody can choose whom to join.
        """
        if now >= self._next_sweep:
            self._arrivals = {k: at for k, at in self._arrivals.items() if at > now}
            self._shared = {k: at for k, at in self._shared.items() if at > now}
            self._next_sweep = now + SECOND  # a sweep takes milliseconds
        slot = hash(key) % SHARED_SLOTS, quota
        # A key that shared a slot takes its debt along when it gets room of its own.
        arrival = max(now, self._shared.get(slot, now))
        return (slot if len(self._arrivals) >= self._room else None), arrival
