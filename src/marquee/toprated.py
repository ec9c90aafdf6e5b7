"""Third: the chart is drawn from the totals, and every reader keeps the ten in memory."""

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

from .errors import StoreAway
from .model import TOP_TEN, Chart, ChartQuery, Prior
from .ports import Cache, Charts, Notices

AT_LEAST_EVERY = 1.5
"""Seconds after which the ten is refreshed also where nobody told of a change."""

CHART_SECONDS = 1.0
CHARTS_KEPT = 200

log = logging.getLogger(__name__)


class Refresher:
    """Has ``top10_rated_movie`` follow the totals: soon after a change, but not at each one.

    ``least``: seconds between two refreshes (``MARQUEE_REFRESH_SECONDS``).
    """

    def __init__(self, charts: Charts, cache: Cache, notices: Notices, least: float = 1.0) -> None:
        self._charts = charts
        self._cache = cache
        self._notices = notices
        self._least = least
        self._stale = asyncio.Event()
        for topic in ("totals", "catalogue"):
            notices.listen(topic, lambda _: self._stale.set())

    async def step(self) -> None:
        self._stale.clear()
        await self._cache.put(await self._charts.refresh())
        self._notices.tell("ten")

    async def run(self) -> None:
        while True:
            try:
                await self.step()
            except StoreAway as away:
                log.warning("the ten waits for a store: %s", away)
            await asyncio.sleep(self._least)
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0, AT_LEAST_EVERY - self._least)):
                    await self._stale.wait()


class TopRated:
    """A reader's ten, in memory. It is served whatever is down; only a newer one replaces it."""

    def __init__(self, charts: Charts, cache: Cache, notices: Notices) -> None:
        self._charts = charts
        self._cache = cache
        self._told = asyncio.Event()
        self._taken: Callable[[Chart], None] = lambda _: None
        self._true_at = 0.0
        self.ten: Chart | None = None
        self._others: dict[ChartQuery, tuple[float, Chart]] = {}  # the last computed last
        self._computing: dict[ChartQuery, asyncio.Task[Chart]] = {}
        notices.listen("ten", lambda _: self._told.set())

    def on_taken(self, taken: Callable[[Chart], None]) -> None:
        """``taken`` is called with each chart that is taken."""
        self._taken = taken

    def take(self, chart: Chart) -> None:
        if self.ten is not None and chart.refreshed_at <= self.ten.refreshed_at:
            return
        # The store's clock tells once how old it is; from then on our own monotonic one counts.
        self._true_at = time.monotonic() - max(0.0, time.time() - chart.refreshed_at / 1e6)
        self.ten = chart
        self._taken(chart)

    @property
    def prior(self) -> Prior:
        """The prior by which the chart is drawn."""
        return self.ten.prior if self.ten is not None else Prior()

    def age(self) -> float:
        """Seconds since the ten was last found true."""
        return time.monotonic() - self._true_at

    async def step(self) -> None:
        self._told.clear()
        chart = await self._cache.get()
        if chart is not None:
            self.take(chart)

    async def run(self) -> None:
        """Follow the cache: at each notice, and every second in case one was lost."""
        while True:
            try:
                await self.step()
            except StoreAway as away:
                log.warning("the ten is served as it was: %s", away)
            with suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._told.wait()

    async def chart(self, query: ChartQuery) -> Chart:
        """Any chart: the ten itself from memory, another one at most a second old.

        ``changed_at`` of another one: when this process first saw it so.
        """
        if query == TOP_TEN and self.ten is not None:
            return self.ten
        computed_at, known = self._others.get(query, (0.0, None))
        if known and time.monotonic() < computed_at + CHART_SECONDS:
            return known
        computing = self._computing.get(query)
        if computing is None:  # many may ask for it at once: it is computed once
            computing = asyncio.create_task(self._compute(query))
            self._computing[query] = computing
            computing.add_done_callback(lambda _: self._computing.pop(query))
        return await asyncio.shield(computing)

    async def _compute(self, query: ChartQuery) -> Chart:
        computed_at = time.monotonic()
        chart = await self._charts.chart(query)
        _, known = self._others.pop(query, (0.0, None))
        same = known is not None and chart.entries == known.entries
        chart = replace(
            chart, changed_at=known.changed_at if known and same else chart.refreshed_at
        )
        if len(self._others) >= CHARTS_KEPT:
            del self._others[next(iter(self._others))]
        self._others[query] = computed_at, chart
        return chart
