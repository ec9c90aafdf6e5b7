"""Third: the chart is drawn from the totals, and every reader keeps the ten in memory."""

import asyncio
import logging
import math
import random
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from .errors import StoreAway
from .model import TOP_TEN, Chart, ChartQuery, Prior
from .ports import Cache, Charts, Kept, Notices
from .tracing import MOST, UNTRACED, Tracer
from .troubles import Trouble

AT_LEAST_EVERY = 1.5
"""Seconds after which the ten is refreshed also where nobody told of a change."""

CHART_SECONDS = 1.0
"""For so long another chart is fresh, or a little less: those drawn together need not grow old
together."""

STALE_SECONDS = 0.5
"""For so long after that it is still served while it is drawn anew."""

ABANDONED_SECONDS = 15.0
"""After so long without a refresh, beside the least time between two, nobody seems to do it."""

PATIENCE = 0.3
"""Seconds that one waits for a chart to be drawn anew, where there is an older one to serve."""

TURN_SECONDS = 5.0
"""After so long, who was to draw a chart is taken for dead."""

LOOK_AGAIN = 0.05
CHARTS_KEPT = 200

log = logging.getLogger(__name__)


class Refresher:
    """Has ``top10_rated_movie`` follow the totals: soon after a change, but not at each one.

    ``least``: seconds between two refreshes (``MARQUEE_REFRESH_SECONDS``).
    """

    def __init__(
        self,
        charts: Charts,
        cache: Cache,
        notices: Notices,
        least: float,
        tracer: Tracer = UNTRACED,
    ) -> None:
        self._charts = charts
        self._cache = cache
        self._notices = notices
        self._least = least
        self._tracer = tracer
        self._stale = asyncio.Event()
        self._traces: list[str] = []
        self._done_at = -math.inf
        notices.listen("catalogue", lambda _: self._stale.set())
        notices.listen("totals", self._changed)

    def _changed(self, traces: str) -> None:
        self._stale.set()
        if traces and len(self._traces) < MOST:
            self._traces += traces.split()

    async def step(self) -> None:
        """Refresh the ten, and tell when that was, and in which traces."""
        self._stale.clear()
        traces, self._traces = self._traces, []
        with self._tracer.steps("refresh the ten", traces) as shown:
            chart = await self._charts.refresh()
            await self._cache.put(chart)
        self._done_at = time.monotonic()
        self._notices.tell("ten", " ".join([str(chart.refreshed_at), *shown.values()]))

    def check_refreshed(self) -> None:
        """Raises ``StoreAway`` where it has long been in vain."""
        check_age(time.monotonic() - self._done_at, self._least)

    async def run(self) -> None:
        trouble = Trouble(log, "the ten waits for a store")
        while True:
            with trouble:
                await self.step()
            await asyncio.sleep(self._least)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0, AT_LEAST_EVERY - self._least)):
                    await self._stale.wait()


def check_age(seconds: float, least: float) -> None:
    if seconds == math.inf:
        raise StoreAway("Nobody has refreshed the ten yet: see that a refresher runs.")
    if seconds > ABANDONED_SECONDS + least:
        raise StoreAway(f"Nobody has refreshed the ten for {seconds:.0f} s: does a refresher run?")


class Known(NamedTuple):
    """A chart in this process's memory, fresh until then by its monotonic clock."""

    chart: Chart
    until: float


class TopRated:
    """A reader's ten, in memory. It is served whatever is down; only a newer one replaces it."""

    def __init__(
        self,
        charts: Charts,
        cache: Cache,
        notices: Notices,
        clock: Callable[[], float] = time.monotonic,
        tracer: Tracer = UNTRACED,
    ) -> None:
        self._charts = charts
        self._cache = cache
        self._clock = clock
        self._tracer = tracer
        self._traces: list[str] = []
        self._told = asyncio.Event()
        self._taken: Callable[[Chart], None] = lambda _: None
        self._true_at = 0.0
        self._followed_at = -math.inf
        self.ten: Chart | None = None
        self._others: dict[ChartQuery, Known] = {}  # the last drawn last
        self._renewing: dict[ChartQuery, asyncio.Task[Chart]] = {}
        notices.listen("ten", self._refreshed)

    def _refreshed(self, what: str) -> None:
        self._told.set()
        if len(self._traces) < MOST:
            self._traces += what.split()[1:]

    def on_taken(self, taken: Callable[[Chart], None]) -> None:
        """``taken`` is called with each chart that is taken."""
        self._taken = taken

    def take(self, chart: Chart) -> None:
        if self.ten is not None and chart.refreshed_at <= self.ten.refreshed_at:
            return
        if self.ten is not None:
            self._followed_at = self._clock()
        # The store's clock tells once how old it is; from then on our own monotonic one counts.
        self._true_at = self._clock() - max(0.0, time.time() - chart.refreshed_at / 1e6)
        self.ten = chart
        self._taken(chart)

    def age(self) -> float:
        """Seconds since the ten was last found true."""
        return self._clock() - self._true_at

    def check_refreshed(self, least: float) -> None:
        """Raises ``StoreAway`` where nobody has refreshed the ten for long, or ever; where one that
        is newer came lately somebody does, whatever the clocks say. ``least``: as refreshers are
        told."""
        followed = self._clock() - self._followed_at
        check_age(math.inf if self.ten is None else min(self.age(), followed), least)

    async def step(self) -> None:
        """Take the ten from the cache; where that is away, or has lost it, from its database."""
        self._told.clear()
        traces, self._traces = self._traces, []
        with self._tracer.steps("take the ten", traces):
            try:
                chart = await self._cache.get()
            except StoreAway:
                chart = None
            chart = chart or await self._charts.ten()
        if chart is not None:
            self.take(chart)

    async def run(self) -> None:
        """Follow the cache: at each notice, and every second in case one was lost."""
        trouble = Trouble(log, "the ten is served as it was")
        while True:
            with trouble:
                await self.step()
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._told.wait()

    async def chart(self, query: ChartQuery) -> Chart:
        """Any chart: the ten itself from memory, another one about a second old.

        Where that can't be drawn anew, it is served as it was last seen; ``StoreAway`` where it
        never was. ``changed_at`` of another one: when it was first seen so.
        """
        if query == TOP_TEN and self.ten is not None:
            return self.ten
        known = self._others.get(query)
        age = self._clock() - known.until if known else 0.0
        if known and age < 0:
            return known.chart
        renewed = self._renewed(query)
        if known is None:
            return await asyncio.shield(renewed)
        if age >= STALE_SECONDS:
            with suppress(StoreAway, TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    return await asyncio.shield(renewed)
        return known.chart

    async def prior(self) -> Prior:
        """The prior by which charts are drawn. Raises ``StoreAway`` where none was ever seen."""
        return (await self.chart(TOP_TEN)).prior

    def _renewed(self, query: ChartQuery) -> asyncio.Task[Chart]:
        """The chart as it will soon be; many may ask for it at once: it is drawn once."""
        renewing = self._renewing.get(query)
        if renewing is None:
            renewing = self._renewing[query] = asyncio.create_task(self._renew(query))
            renewing.add_done_callback(lambda done: self._end_renewal(query, done))
        return renewing

    def _end_renewal(self, query: ChartQuery, done: asyncio.Task[Chart]) -> None:
        del self._renewing[query]
        if not done.cancelled() and done.exception() is not None:
            log.debug("a chart is served as it was: %s", done.exception())

    async def _renew(self, query: ChartQuery) -> Chart:
        kept = await self._fresh_or_turn(query)
        if not kept.turn and kept.chart is not None:
            return self._remember(query, kept.chart, kept.fresh)
        drawn = None
        fresh = CHART_SECONDS * random.uniform(0.75, 1)
        began = self._clock()
        try:
            drawn = self._dated(query, await self._charts.chart(query), kept.chart)
        except StoreAway:
            if kept.chart is None:
                raise
            return self._remember(query, kept.chart, kept.fresh)
        finally:
            fresh -= self._clock() - began
            with suppress(StoreAway):
                await self._cache.keep(query, drawn, fresh)
        return self._remember(query, drawn, fresh)

    async def _fresh_or_turn(self, query: ChartQuery) -> Kept:
        """The chart, drawn lately by somebody, or the turn to draw it."""
        patience = self._clock() + PATIENCE
        while True:
            try:
                kept = await self._cache.look(query, TURN_SECONDS)
            except StoreAway:
                return Kept(None, 0, turn=True)  # for oneself, then
            good_enough = kept.fresh > -STALE_SECONDS or self._clock() > patience
            if kept.turn or (kept.chart is not None and good_enough):
                return kept
            await asyncio.sleep(LOOK_AGAIN)  # another process draws it

    def _dated(self, query: ChartQuery, chart: Chart, before: Chart | None) -> Chart:
        if before is None and query in self._others:
            before = self._others[query].chart
        same = before is not None and before.entries == chart.entries
        changed_at = before.changed_at if before and same else chart.refreshed_at
        return replace(chart, changed_at=changed_at)

    def _remember(self, query: ChartQuery, chart: Chart, fresh: float) -> Chart:
        self._others.pop(query, None)
        if len(self._others) >= CHARTS_KEPT:
            del self._others[next(iter(self._others))]
        self._others[query] = Known(chart, self._clock() + fresh)
        return chart
