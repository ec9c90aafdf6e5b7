"""Everything in one SQLite file and in the memory of the one process."""

import asyncio
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from .. import ending
from ..adapters import sqlite
from ..adapters.memory import MemoryCache, MemoryNotices, MemoryRateLimiter
from ..aggregation import Aggregator
from ..config import Settings
from ..errors import Finding, MarqueeError, Unusable
from ..schemas import unchanged
from ..tracing import UNTRACED, Tracer
from .keys import key_folder
from .stores import Stores, Unneeded, nothing_to_do


def database_file(settings: Settings) -> Path:
    """The embedded stores' file, there or not. Raises ``Unusable`` where the URLs do not go
    together, or that can't be told."""
    expected = {"events_url": "outbox:", "cache_url": "memory:"}
    for name, url in expected.items():
        if settings[name] != url:
            raise Unusable(
                f"{name} is {settings.shown(name)}, and it would be {url} where stores are "
                "embedded, or a server's where all of them are on servers."
            )
    if settings["movies_read_url"]:
        raise Unusable("Embedded, there is no movies_read_url: the one file has no replica.")
    ratings, movies = settings["ratings_url"], settings["movies_url"]
    for name in ("ratings_url", "movies_url"):
        if settings[name] and not settings[name].startswith("sqlite:///"):
            raise Unusable(
                f"The stores are sqlite:///FILE, or all on servers: "
                f"{settings.shown(name).partition(':')[0]}: is neither."
            )
    if movies and movies != ratings:
        raise Unusable("Embedded, ratings_url and movies_url must be the same file.")
    data: Path = settings["data"]
    file = Path(ratings.removeprefix("sqlite:///")) if ratings else data / "marquee.db"
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            raise Unusable(f"{file} is no file: name one with ratings_url.")
    except FileNotFoundError:
        pass  # it is made, or missed, by who opens it
    except OSError as error:
        raise Unusable(
            f"{file} can't be reached ({error.strerror}): give this user the data folder, or name "
            "another one with --data."
        ) from error
    return file


@asynccontextmanager
async def opened(
    settings: Settings, *, make: bool, tracer: Tracer = UNTRACED
) -> AsyncIterator[Stores]:
    path = database_file(settings)
    if not make and not path.exists():
        raise Unusable(f"There is no store at {path}: name the data folder with --data.")
    database = await sqlite.Database.open(path, settings.prior)
    events, totals, notices = (
        sqlite.SqliteOutbox(database),
        sqlite.SqliteTotals(database),
        MemoryNotices(),
    )
    nothing: Any = Unneeded("a relay's store")  # the outbox is the event log itself
    drain = Aggregator(events, totals, notices).drain
    try:
        yield Stores(
            ratings=await sqlite.SqliteRatings.open(database, tracer.here),
            outbox=nothing,
            topic=nothing,
            events=events,
            totals=totals,
            catalogue=sqlite.SqliteCatalogue(database),
            charts=sqlite.SqliteCharts(database),
            cache=MemoryCache(),
            notices=notices,
            limiter=MemoryRateLimiter(),
            probes={"ratings": database.probe, "movies": database.probe_reads},
            runs={},
            drain=drain,
            settle=nothing_to_do,
            catch_up=drain,
            agree=nothing_to_do,
            recall=database.recall,
            remember=database.remember,
            on_commit=database.on_commit,
            on_applied=totals.on_applied,
            stopped=lambda: 0,
            tracer=tracer,
            embedded=True,
        )
    finally:
        with ending.step(f"the store {path}"):
            await database.close()


def migrate(settings: Settings) -> list[str]:
    path = database_file(settings)
    new = not path.exists()
    done = [sqlite.prepare(path, settings.prior if new else unchanged)]
    if sqlite.change_prior(path, settings.prior):
        done.append(f"{path}: every rate is drawn anew by the prior that is set")
    return done


async def diagnose(settings: Settings) -> list[Finding]:
    found: list[Finding] = []
    path = database_file(settings)
    try:
        await asyncio.to_thread(sqlite.diagnose, path)
        async with opened(settings, make=False) as stores:
            for name, probe in stores.probes.items():
                await probe()
                found.append((f"{name} ({path})", None))
    except MarqueeError as error:
        found.append((f"stores ({path})", str(error)))
    return found


def back_up(settings: Settings, file: Path) -> int:
    return sqlite.back_up(database_file(settings), key_folder(settings), file)


def check_backup(settings: Settings, file: Path) -> list[str]:
    database_file(settings)
    return sqlite.check_backup(file)


def restore(settings: Settings, file: Path, members: Sequence[str]) -> Path | None:
    return sqlite.restore(file, members, database_file(settings), key_folder(settings))
