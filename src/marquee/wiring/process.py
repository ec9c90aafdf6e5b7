"""One process: the stages of its roles on their stores, and what runs in its background."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from .. import ending, garbage, logs
from ..adapters.memory import MemoryNotices
from ..aggregation import Aggregator
from ..bestpictures import BestPictures
from ..config import Settings
from ..errors import StoreAway, Unusable
from ..http import bestpictures as bestpictures_calls
from ..http import charts as charts_calls
from ..http import movies as movies_calls
from ..http import operations
from ..http import ratings as ratings_calls
from ..http.app import App
from ..http.auth import Verifier
from ..http.calls import Endpoint, Guard
from ..http.cors import Cors
from ..http.docs import Docs
from ..http.limits import parse_trusted
from ..http.metrics import Metrics
from ..http.prepared import Ready
from ..http.traced import Traced
from ..model import Chart
from ..movies import Movies
from ..punctuality import Punctuality
from ..ratings import Ratings
from ..relay import Relay
from ..toprated import Refresher, TopRated
from ..tracing import UNTRACED
from ..troubles import CALM_SECONDS, Trouble
from .keys import token_keys
from .stores import Run, Stores, Unneeded
from .verified import Verified
from .watched import watched

HTTP_ROLES = ("ratings", "movies", "top-rated", "best-pictures")
WORKERS = ("relay", "aggregator", "refresher")
ROLES = HTTP_ROLES + WORKERS

USES = {
    "ratings": ("ratings", "movies", "cache"),
    "movies": ("movies", "cache"),
    "top-rated": ("movies", "cache"),
    "best-pictures": ("movies", "cache"),
    "relay": ("ratings", "events"),
    "aggregator": ("events", "movies", "cache"),
    "refresher": ("movies", "cache"),
}
"""The stores that each role uses."""


def uses_of(roles: Iterable[str]) -> set[str]:
    """The stores that a process of these roles uses."""
    return {store for role in roles for store in USES[role]}


NEEDS = {
    "ratings": ("ratings", "keys"),
    "movies": ("movies",),
    "top-rated": ("ten",),
    "best-pictures": ("nominations",),
    "relay": ("ratings", "events"),
    "aggregator": ("events", "movies"),
    "refresher": ("movies",),
}
"""What each can't do its work without: all else is served from memory, or waits."""

FIRST_SECONDS = 5.0
"""For which a start waits for what is served from memory: after that, it comes when it comes."""

AGREE_SECONDS = 1.0
"""For which a start waits to hear whether the stores agree: after that, it hears in between."""

AGAIN_SECONDS = 1.0
"""After which what failed is started again."""

ABLE_PAUSE = 0.1
LOOP_SECONDS = 0.5
"""Between two looks how late the event loop is."""

log = logging.getLogger(__name__)


class Marquee:
    """``roles``: what this process is to do. Where stores are embedded it does the workers' part,
    too: there is nobody else who could."""

    def __init__(self, settings: Settings, stores: Stores, roles: Sequence[str]) -> None:
        self.settings = settings
        self.roles = roles
        self.on_fault: Callable[[Unusable], None] = lambda _: None
        self._metrics = Metrics()
        self._tracer = stores.tracer
        self.stores = stores = watched(stores, self._metrics)
        self._keys = token_keys(settings)
        self._guard = Guard(
            Verifier(self._keys, settings["issuer"], settings["audience"]),
            stores.limiter,
            settings["rate_limit"],
            parse_trusted(settings["trusted_proxies"]),
        )
        self._calls: list[Endpoint] = []
        self._prepared = dict[str, Ready]()
        self._probes: dict[str, operations.Probe] = dict(stores.probes)
        self._first: list[Run] = []
        self._runs: dict[str, Run] = dict(stores.runs)
        self._tasks: list[asyncio.Task[None]] = []
        self._toprated: TopRated | None = None
        parts = {
            "relay": self._relay,
            "aggregator": self._aggregator,
            "refresher": self._refresher,
            "ratings": self._ratings,
            "movies": self._movies,
            "top-rated": self._top_rated,
            "best-pictures": self._best_pictures,
        }
        for role, take_part in parts.items():
            if role in roles or (stores.embedded and role in ("aggregator", "refresher")):
                take_part()
        needs = {role: NEEDS[role] for role in roles}
        if "movies" in roles and "lists" in self._probes:
            needs["movies from a replica"] = ("lists",)  # without all else, lists can be answered
        self._health = operations.Health(self._probes, needs)
        self._tell_of_health()
        stores.on_commit(self._metrics.groups.observe)
        self._runs |= {
            "health": self._health.run,
            "patience": self._guard.patience.run,
            "loop": self._watch_the_loop,
        }

    # ---- the part of each role

    def _take_tokens(self) -> None:
        """Of an issuer elsewhere: without its keys nobody is known; those once had go on."""
        keys = self._keys

        async def have_keys() -> None:
            if keys.keys is None:
                raise StoreAway("They were not read yet.")

        async def hear_issuer() -> None:
            if keys.problem is not None:
                raise StoreAway("Its keys can't be read at present.")

        if self.settings["jwks"]:
            self._probes |= {"issuer": hear_issuer, "keys": have_keys}
        self._runs["keys"] = self._keys.watch

    def _ratings(self) -> None:
        self._take_tokens()
        ratings = Ratings(self.stores.ratings, self.stores.catalogue, self.stores.notices)
        self._calls += ratings_calls.endpoints(ratings)
        text = "Ratings acknowledged."
        self._metrics.count("ratings_accepted", text, lambda: ratings.accepted)

    def _movies(self) -> None:
        self._take_tokens()
        movies = Movies(self.stores.catalogue, self.stores.notices)
        self._calls += movies_calls.endpoints(movies, self._follow_the_ten())

    def _top_rated(self) -> None:
        toprated = self._follow_the_ten()

        async def follows() -> None:
            toprated.check_refreshed(self.settings["refresh_seconds"])

        if not self.stores.embedded:
            self._probes["refresher"] = follows
        self._calls += charts_calls.endpoints(toprated)
        self._prepared[charts_calls.TEN] = charts_calls.Ten(toprated).answer

    def _follow_the_ten(self) -> TopRated:
        if self._toprated is None:
            stores = self.stores
            self._toprated = toprated = TopRated(
                stores.charts, stores.cache, stores.notices, tracer=self._tracer
            )
            self._go_on("top-rated", toprated.run, toprated.step)
            self._probes["ten"] = self._have_the_ten
            text = "Seconds since the ten was last found true."
            self._metrics.tell("ten_age_seconds", text, toprated.age)
        return self._toprated

    async def _have_the_ten(self) -> None:
        """One that was never refreshed keeps no other chart from being drawn."""
        if self.ten is None and await self.stores.charts.ten() is not None:
            raise StoreAway("It was not read yet.")

    def _best_pictures(self) -> None:
        bestpictures = BestPictures(self.stores.catalogue, self.stores.notices)

        async def have_nominations() -> None:
            if bestpictures.nominees is None:
                raise StoreAway("They were not read yet.")

        self._go_on("best-pictures", bestpictures.run, bestpictures.step)
        self._calls += bestpictures_calls.endpoints(bestpictures)
        self._probes["nominations"] = have_nominations

    def _relay(self) -> None:
        relay = Relay(self.stores.outbox, self.stores.topic, tracer=self._tracer)
        self._go_on("relay", relay.run)
        self._metrics.count("events_relayed", "Events brought to the log.", lambda: relay.relayed)
        text = "Seconds since the oldest bucket of the outbox closed that was not swept."
        self._metrics.tell("outbox_unswept_seconds", text, lambda: relay.unswept)
        text = "Shards of the outbox that this relay holds."
        self._metrics.tell("shards_held", text, lambda: len(relay.shards))

    def _aggregator(self) -> None:
        stores, metrics = self.stores, self._metrics
        aggregator = Aggregator(stores.events, stores.totals, stores.notices, self._tracer)
        punctuality = Punctuality(
            stores.notices,
            metrics.to_total.observe_all,
            metrics.to_visible.observe_all,
            aggregator.traced,
        )
        stores.on_applied(punctuality.applied)
        self._go_on("aggregator", aggregator.run)
        metrics.count("events_folded", "Events taken from the log.", lambda: aggregator.folded)
        self._watch("events_behind", "Events not yet in the totals.", stores.events.behind)
        text = "Events set aside as poison."
        self._watch("dead_letters", text, stores.totals.count_dead_letters)
        text = "Partitions of the event log that can't be read on, until a rebuild."
        metrics.tell("partitions_stopped", text, stores.stopped)

    def _refresher(self) -> None:
        stores = self.stores
        least: float = self.settings["refresh_seconds"]
        refresher = Refresher(stores.charts, stores.cache, stores.notices, least, self._tracer)
        self._go_on("refresher", refresher.run, refresher.step)

        async def refreshes() -> None:
            refresher.check_refreshed()

        if not stores.embedded:
            self._probes["refresher"] = refreshes
        verified = Verified(stores.recall)
        self._runs["verified"] = verified.run
        text = "Movies whose totals were not what their ratings say, when `verify` last looked."
        self._metrics.tell("drifted_movies", text, lambda: verified.drifted)
        text = "When `verify` last looked, in seconds since 1970; 0: never."
        self._metrics.tell("verified_timestamp_seconds", text, lambda: verified.at)

    def _go_on(self, name: str, run: Run, first: Run | None = None) -> None:
        """Have a stage run in the background, when its first step was done."""
        self._runs[name] = run
        if first is not None:
            self._first.append(first)

    def _watch(self, name: str, text: str, look: Callable[[], Awaitable[int]]) -> None:
        """Tell of a figure that a store has to be asked for, once a second; while that is away,
        nothing."""
        seen: int | None = None

        async def watch() -> None:
            nonlocal seen
            while True:
                found = None
                try:
                    with suppress(StoreAway):
                        found = await look()
                finally:
                    seen = found
                await asyncio.sleep(1)

        self._runs[name] = watch
        self._metrics.tell(name, text, lambda: seen)

    async def _watch_the_loop(self) -> None:
        """Who comes late to this comes late to everything."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LOOP_SECONDS
            await asyncio.sleep(LOOP_SECONDS)
            self._metrics.loop.observe((), max(0.0, loop.time() - due))

    def _tell_of_health(self) -> None:
        text = "Whether what this process depends on is up, by its name."
        self._metrics.tell_each("dependency_up", text, "dependency", self._health.up)
        text = "Whether this process can do its work."
        self._metrics.tell("ready", text, lambda: self._health.able)

    def watch(self, load: Callable[[], tuple[int, int]]) -> None:
        """``load``: connections, and requests under way."""
        self._metrics.tell("connections", "Connections that are open.", lambda: load()[0])
        self._metrics.tell("requests_under_way", "Requests not yet answered.", lambda: load()[1])

    # ---- from start to stop

    @property
    def ten(self) -> Chart | None:
        """The ten, where this process has it."""
        return self._toprated.ten if self._toprated is not None else None

    def app(self) -> App | Cors | Traced:
        calls = [*operations.endpoints(self._health, self._metrics), *self._calls]
        whole = contract()
        docs = Docs(whole)
        ready = {operations.LIVE: self._health.live, operations.READY: self._health.ready}
        ready |= self._prepared | docs.ready
        tracer, guard, share = self._tracer, self._guard, self.settings["log_share"]
        log = logs.request if share == 1 else logs.Some(share)
        app: App | Cors | Traced = App(
            calls + docs.pages, whole, ready, guard, self._metrics, log, tracer.trace_id
        )
        if origins := self.settings["cors_origins"]:
            app = Cors(app, origins)
        if tracer is not UNTRACED:
            logs.correlate(tracer.trace_id)
            app = Traced(app, tracer, ready, guard.trusted)
        return app

    async def start(self, on_fault: Callable[[Unusable], None] = lambda _: None) -> None:
        """Have everything in memory that is served from there, then go on in the background.

        ``on_fault`` is called where it turns out later that this process can't go on.
        """
        self.on_fault = on_fault
        for name, run in self.stores.runs.items():
            self._begin(name, run)
        with suppress(TimeoutError):  # a store that hangs is as one that is away
            async with asyncio.timeout(FIRST_SECONDS):
                for step in self._first:
                    with suppress(StoreAway):
                        await step()
        with suppress(StoreAway, TimeoutError):
            async with asyncio.timeout(AGREE_SECONDS):
                await self.stores.agree()
        await self._health.step()
        for name, run in self._runs.items():
            if name not in self.stores.runs:
                self._begin(name, run)
        garbage.settle()

    def succeed(self, before: "Marquee") -> None:
        """Go on where that one was: nobody who was given its ten sees an older one. That it can't
        go on matters no more."""
        before.on_fault = lambda _: None
        if self._toprated is not None and before.ten is not None:
            self._toprated.take(before.ten)

    async def able(self, seconds: float) -> bool:
        """Whether it can answer, or can within so many seconds."""
        end = asyncio.get_running_loop().time() + seconds
        while not self._health.able and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(ABLE_PAUSE)
            await self._health.step()
        return self._health.able

    def _begin(self, name: str, run: Run) -> None:
        self._tasks.append(asyncio.create_task(keep_running(name, run, self._fail), name=name))

    def _fail(self, fault: Unusable) -> None:
        self.on_fault(fault)

    async def stop(self) -> None:
        """The stages first: they may have something to say to their stores."""
        stores = len(self.stores.runs)
        for tasks in (self._tasks[stores:], self._tasks[:stores]):
            for task in tasks:
                task.cancel()
            with ending.step(partial(names_of, tasks)):
                await asyncio.gather(*tasks, return_exceptions=True)


async def keep_running(name: str, run: Run, on_fault: Callable[[Unusable], None]) -> None:
    """A background task may fail, by a fault of ours: that is logged, and it goes on."""
    trouble = Trouble(log, f"{name} failed, and is started again", level=logging.ERROR)
    loop = asyncio.get_running_loop()
    while True:
        lasting = loop.call_later(CALM_SECONDS + AGAIN_SECONDS, trouble.over)
        try:
            return await run()
        except (Exception, asyncio.CancelledError) as fault:
            if ending.is_told():
                raise
            if isinstance(fault, Unusable):
                return on_fault(fault)
            trouble.unforeseen(fault)
        finally:
            lasting.cancel()
        await asyncio.sleep(AGAIN_SECONDS)


def names_of(tasks: Sequence[asyncio.Task[None]]) -> str:
    """Of those that are not done."""
    return ", ".join(task.get_name() for task in tasks if not task.done())


def contract() -> list[Endpoint]:
    """All calls of all roles, to be described: stores to answer them from are not there."""
    nothing: Any = Unneeded("a store")
    notices = MemoryNotices()
    return [
        *operations.endpoints(operations.Health({}, {}), Metrics()),
        *ratings_calls.endpoints(Ratings(nothing, nothing, notices)),
        *movies_calls.endpoints(Movies(nothing, notices), TopRated(nothing, nothing, notices)),
        *charts_calls.endpoints(TopRated(nothing, nothing, notices)),
        *bestpictures_calls.endpoints(BestPictures(nothing, notices)),
    ]
