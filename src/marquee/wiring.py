"""Which technology answers which port, by URL; and the stages put together on them.

This is the one place that imports adapters, each in the branch that needs it.
"""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from . import logs
from .adapters.keys import Jwks, OwnKeys, jwks_file, jwks_url
from .adapters.memory import MemoryCache, MemoryNotices, MemoryRateLimiter
from .aggregation import Aggregator
from .bestpictures import BestPictures
from .config import Settings
from .errors import MarqueeError, StoreAway, Unusable
from .http import bestpictures as bestpictures_calls
from .http import charts as charts_calls
from .http import movies as movies_calls
from .http import operations
from .http import ratings as ratings_calls
from .http.app import App
from .http.auth import Verifier
from .http.calls import Endpoint, Guard
from .http.cors import Cors
from .http.docs import Docs
from .http.limits import parse_trusted
from .http.metrics import Figure, Metrics
from .movies import Movies
from .ports import (
    Cache,
    Catalogue,
    Charts,
    EventLog,
    Notices,
    RateLimiter,
    RatingStore,
    TotalsStore,
)
from .ratings import Ratings
from .toprated import Refresher, TopRated

HTTP_ROLES = ("ratings", "movies", "top-rated", "best-pictures")
WORKERS = ("relay", "aggregator", "refresher")

DEMO = "demo"
"""Under this name the stores remember whether they hold the demo."""

log = logging.getLogger(__name__)


# ---- stores ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stores:
    """What answers each port, and what is to be known of it."""

    ratings: RatingStore
    events: EventLog
    totals: TotalsStore
    catalogue: Catalogue
    charts: Charts
    cache: Cache
    notices: Notices
    limiter: RateLimiter
    probes: dict[str, operations.Probe]
    on_commit: Callable[[Callable[[int], None]], None]
    recall: Callable[[str], Awaitable[str | None]]
    remember: Callable[[str, str], Awaitable[None]]


def database_file(settings: Settings) -> Path:
    """The embedded stores' file. Raises ``Unusable`` where the URLs do not go together."""
    expected = {"events_url": "outbox:", "cache_url": "memory:"}
    for name, url in expected.items():
        if settings[name] != url:
            raise Unusable(
                f"{name} is {settings.shown(name)}, but this Marquee has {url} alone: "
                "the stores on servers are not part of it yet."
            )
    if settings["movies_read_url"]:
        raise Unusable("Embedded, there is no movies_read_url: the one file has no replica.")
    ratings, movies = settings["ratings_url"], settings["movies_url"]
    for url in filter(None, (ratings, movies)):
        if not url.startswith("sqlite:///"):
            raise Unusable(
                f"The stores must be sqlite:///FILE, and {url.partition(':')[0]}: is not: "
                "the stores on servers are not part of this Marquee yet."
            )
    if movies and movies != ratings:
        raise Unusable("Embedded, ratings_url and movies_url must be the same file.")
    if ratings:
        return Path(ratings.removeprefix("sqlite:///"))
    data: Path = settings["data"]
    return data / "marquee.db"


@asynccontextmanager
async def open_stores(settings: Settings, *, make: bool = False) -> AsyncIterator[Stores]:
    """Open what the settings name; ``make``: also what is not there yet. Raises ``Unusable``."""
    from .adapters import sqlite

    path = database_file(settings)
    if not make and not path.exists():
        raise Unusable(f"There is no store at {path}: name the data folder with --data.")
    database = await sqlite.Database.open(path, settings.prior)
    try:
        yield Stores(
            ratings=await sqlite.SqliteRatings.open(database),
            events=sqlite.SqliteOutbox(database),
            totals=sqlite.SqliteTotals(database),
            catalogue=sqlite.SqliteCatalogue(database),
            charts=sqlite.SqliteCharts(database),
            cache=MemoryCache(),
            notices=MemoryNotices(),
            limiter=MemoryRateLimiter(),
            probes={"ratings": database.probe, "movies": database.probe},
            on_commit=database.on_commit,
            recall=database.recall,
            remember=database.remember,
        )
    finally:
        await database.close()


def migrate(settings: Settings) -> list[str]:
    """Make or upgrade every store's schema, and change the prior where it is set; what was done."""
    from .adapters import sqlite

    path = database_file(settings)
    new = not path.exists()
    sqlite.prepare(path, settings.prior if new else sqlite.unchanged)
    done = [f"{path}: the schema is up to date"]
    if sqlite.change_prior(path, settings.prior):
        done.append(f"{path}: every rate is drawn anew by the prior that is set")
    return done


async def diagnose(settings: Settings) -> list[tuple[str, str | None]]:
    """Each dependency, and what is wrong with it and what to do; None where nothing is."""
    from .adapters import sqlite

    found: list[tuple[str, str | None]] = []
    path = database_file(settings)
    try:
        await asyncio.to_thread(sqlite.diagnose, path)
        async with open_stores(settings) as stores:
            for name, probe in stores.probes.items():
                await probe()
                found.append((f"{name} ({path})", None))
    except MarqueeError as error:
        found.append((f"stores ({path})", str(error)))
    keys = settings["jwks"] or f"our own, in {key_folder(settings)}"
    try:
        source = token_keys(settings)
        await source.refresh()
        found.append((f"keys of tokens ({keys})", source.problem))
    except MarqueeError as error:
        found.append((f"keys of tokens ({keys})", str(error)))
    return found


def back_up(settings: Settings, file: Path) -> int:
    from .adapters import sqlite

    return sqlite.back_up(database_file(settings), key_folder(settings), file)


def restore(settings: Settings, file: Path) -> Path | None:
    from .adapters import sqlite

    return sqlite.restore(file, database_file(settings), key_folder(settings))


def token_keys(settings: Settings) -> OwnKeys | Jwks:
    """The keys that tokens are checked with. Raises ``Unusable``."""
    jwks: str = settings["jwks"]
    if not jwks:
        return own_keys(settings)
    if jwks.startswith(("http://", "https://")):
        return jwks_url(jwks)
    return jwks_file(Path(jwks))


def own_keys(settings: Settings) -> OwnKeys:
    return OwnKeys(key_folder(settings))


def key_folder(settings: Settings) -> Path:
    data: Path = settings["data"]
    return data / "keys"


# ---- the stages on them ------------------------------------------------------------------------


class Marquee:
    """One process: the stages on their stores, and what runs in its background."""

    def __init__(self, settings: Settings, stores: Stores, roles: Sequence[str]) -> None:
        self.settings = settings
        self.stores = stores
        notices = stores.notices
        self.ratings = Ratings(stores.ratings, stores.catalogue, notices)
        self.aggregator = Aggregator(stores.events, stores.totals, notices)
        self.refresher = Refresher(
            stores.charts, stores.cache, notices, settings["refresh_seconds"]
        )
        self.toprated = TopRated(stores.charts, stores.cache, notices)
        self.movies = Movies(stores.catalogue, notices)
        self.bestpictures = BestPictures(stores.catalogue, notices)
        self._keys = token_keys(settings)
        self._figures = {"behind": 0.0, "dead": 0.0}
        self.roles = roles
        self._tasks: list[asyncio.Task[None]] = []
        self._guard = Guard(
            Verifier(self._keys, settings["issuer"], settings["audience"]),
            stores.limiter,
            settings["rate_limit"],
            parse_trusted(settings["trusted_proxies"]),
        )
        self._health = operations.Health(stores.probes | {"ten": self._have_ten}, self._needs())
        self._metrics = Metrics(self._gauges())
        stores.on_commit(self._metrics.groups.observe)

    def endpoints(self) -> list[Endpoint]:
        """The calls of this process's roles."""
        found = operations.endpoints(self._health, self._metrics)
        if "ratings" in self.roles:
            found += ratings_calls.endpoints(self.ratings, self._metrics.ratings.inc)
        if "movies" in self.roles:
            found += movies_calls.endpoints(self.movies, self.toprated)
        if "top-rated" in self.roles:
            found += charts_calls.endpoints(self.toprated)
        if "best-pictures" in self.roles:
            found += bestpictures_calls.endpoints(self.bestpictures)
        return found

    def app(self) -> App | Cors:
        ready = {operations.LIVE: self._health.live, operations.READY: self._health.ready}
        if "top-rated" in self.roles:
            ready[charts_calls.TEN] = charts_calls.Ten(self.toprated).answer
        docs = Docs(self.endpoints())
        app = App(docs.endpoints, ready | docs.ready, self._guard, self._metrics, logs.request)
        origins = self.settings["cors_origins"]
        return Cors(app, origins) if origins else app

    async def start(self) -> None:
        """Have everything in memory that is served from there, then go on in the background."""
        for step in (self.refresher.step, self.toprated.step, self.bestpictures.step):
            with suppress(StoreAway):
                await step()
        await self._health.step()
        for name, run in {
            "aggregator": self.aggregator.run,
            "refresher": self.refresher.run,
            "top-rated": self.toprated.run,
            "best-pictures": self.bestpictures.run,
            "health": self._health.run,
            "keys": self._keys.watch,
            "patience": self._guard.patience.run,
            "figures": self._look_at_figures,
        }.items():
            self._tasks.append(asyncio.create_task(keep_running(name, run), name=name))
        gc.collect()
        gc.freeze()  # what is here now stays: no need to look at it again and again

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _needs(self) -> dict[str, tuple[str, ...]]:
        needs = {"ratings": ("ratings",), "movies": ("movies",), "top-rated": ("ten",)}
        return {role: needs.get(role, ()) for role in self.roles}

    async def _have_ten(self) -> None:
        if self.toprated.ten is None:
            raise StoreAway("It was not read yet.")

    def _gauges(self) -> dict[str, tuple[str, Figure]]:
        return {
            "events_behind": (
                "Events acknowledged, not yet in the totals.",
                lambda: self._figures["behind"],
            ),
            "dead_letters": ("Events set aside as poison.", lambda: self._figures["dead"]),
            "ten_age_seconds": (
                "Seconds since the ten was last found true.",
                self.toprated.age,
            ),
        }

    async def _look_at_figures(self) -> None:
        while True:
            with suppress(StoreAway):
                self._figures["behind"] = await self.stores.events.behind()
                self._figures["dead"] = await self.stores.totals.count_dead_letters()
            await asyncio.sleep(1)


async def keep_running(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """A background task may fail, by a fault of ours: that is logged, and it goes on."""
    while True:
        try:
            await run()
        except Exception:
            log.exception("%s failed, and is started again", name)
            await asyncio.sleep(1)
        else:
            return
