"""Which technology answers which port, by URL; and the stages put together on them.

This is the one place that imports adapters, each in the branch that needs it. ``stores`` says what
a process stands on; ``embedded`` and ``distributed`` are the two combinations that there are;
``process`` puts the stages of a process's roles on them; ``keys`` are those of tokens.
"""

from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from ..adapters.keys import are_made
from ..config import Settings
from ..errors import Finding, MarqueeError, Unusable
from ..http.limits import parse_trusted
from ..schemas import Tell
from ..tracing import UNTRACED, Tracer
from . import embedded
from .keys import key_folder, own_keys, token_keys
from .process import HTTP_ROLES, ROLES, USES, WORKERS, Marquee, contract, uses_of
from .stores import ALL, MIGRATED, Stores
from .traces import open_tracer

__all__ = [
    "HTTP_ROLES",
    "ROLES",
    "USES",
    "WORKERS",
    "Marquee",
    "Stores",
    "back_up",
    "check",
    "check_backup",
    "contract",
    "diagnose",
    "is_made",
    "migrate",
    "move_slots",
    "on_servers",
    "open_stores",
    "open_tracer",
    "own_keys",
    "restore",
    "uses_of",
]

SCHEMES = {
    "ratings_url": ("cassandra",),
    "events_url": ("kafka", "amqp", "amqps"),
    "movies_url": ("postgresql", "postgres"),
    "cache_url": ("redis", "rediss", "redis+cluster", "rediss+cluster"),
}
"""What each setting begins with where the stores are on servers."""


def on_servers(settings: Settings, needs: Collection[str] = ALL) -> bool:
    """Whether the stores are on servers, not embedded. Raises ``Unusable`` where only some are, of
    those that are needed."""
    there = {name for name, schemes in SCHEMES.items() if scheme_of(settings, name) in schemes}
    if not there:
        return False
    if missing := sorted({f"{store}_url" for store in needs} - there):
        shown = ", ".join(f"{name} is {settings.shown(name)}" for name in missing)
        wanted = ", ".join(f"{name} {SCHEMES[name][0]}://…" for name in missing)
        raise Unusable(
            f"Either all stores are embedded or all are on servers, and {shown}: "
            f"set {wanted}, or leave out {', '.join(sorted(there))}."
        )
    return True


def scheme_of(settings: Settings, name: str) -> str:
    url: str = settings[name]
    return url.partition("://")[0]


@asynccontextmanager
async def open_stores(
    settings: Settings,
    *,
    make: bool = False,
    needs: Collection[str] = ALL,
    wait: bool = True,
    tracer: Tracer = UNTRACED,
) -> AsyncIterator[Stores]:
    """Open what the settings name. Raises ``Unusable``.

    ``make``: also what is not there yet, where it is embedded. ``needs``: of stores on servers
    those that are used; ``wait``: until all of these answer, else ``StoreAway`` is raised.
    """
    if not on_servers(settings, needs):
        async with embedded.opened(settings, make=make, tracer=tracer) as stores:
            yield stores
        return
    from . import distributed

    async with distributed.opened(settings, needs, tracer) as stores:
        if not wait:
            yield stores
            return
        async with distributed.answering(stores):
            yield stores


def check(settings: Settings, needs: Collection[str]) -> None:
    """Raises ``Unusable`` where these settings can't be served with, before anything is made."""
    parse_trusted(settings["trusted_proxies"])
    if settings["jwks"]:
        token_keys(settings)
    if not on_servers(settings, needs):
        embedded.database_file(settings)


def is_made(settings: Settings, needs: Collection[str]) -> bool:
    """Whether there is a store already; of those on servers it turns out when they are opened."""
    return on_servers(settings, needs) or embedded.database_file(settings).exists()


def migrate(settings: Settings, slots: int | None, shards: int | None, tell: Tell) -> list[str]:
    """Make or upgrade every store's schema, and change the prior where it is set; what was done.

    ``slots``: into how many the movies are divided, ``shards``: the same of the outbox; both for
    new stores on servers alone, and for ever. ``tell``: hears at once of whom it waits for.
    """
    if on_servers(settings, MIGRATED):
        from . import distributed

        return distributed.migrate(settings, slots, shards, tell)
    if slots or shards:
        raise Unusable("Embedded stores have neither slots nor shards.")
    return embedded.migrate(settings)


def move_slots(settings: Settings, slots: Sequence[int], to: int, tell: Tell) -> Iterator[str]:
    """Give slots to the shard of that number, counted from 0 as in the settings, while everything
    goes on; a line for each that is done. ``tell``, as in ``migrate``. Raises ``Unusable``."""
    if not on_servers(settings, ("movies",)):
        raise Unusable("Embedded stores have no shards.")
    from . import distributed

    return distributed.move_slots(settings, slots, to, tell)


async def diagnose(settings: Settings) -> list[Finding]:
    """Each dependency, and what is wrong with it and what to do; None where nothing is."""
    found: list[Finding]
    if on_servers(settings):
        from . import distributed

        found = await distributed.diagnose(settings)
    else:
        found = await embedded.diagnose(settings)
    found += refused(settings)
    if not settings["jwks"] and not are_made(key_folder(settings)):
        found.append((f"keys of tokens (our own, made in {key_folder(settings)} on need)", None))
        return found
    keys = settings.shown("jwks") if settings["jwks"] else f"our own, in {key_folder(settings)}"
    try:
        source = token_keys(settings)
        await source.refresh()
        fault = source.problem and (
            f"they can't be read ({source.problem}): look at what serves them, or mend jwks"
        )
        found.append((f"keys of tokens ({keys})", fault))
    except MarqueeError as error:
        found.append((f"keys of tokens ({keys})", str(error)))
    return found


def refused(settings: Settings) -> list[Finding]:
    """What else no process starts with: settings that are no store's, and what is wrong."""
    found: list[Finding] = []
    for name, attempt in (
        ("trusted_proxies", lambda: parse_trusted(settings["trusted_proxies"])),
        ("traces_url", lambda: open_tracer(settings, ALL).close()),
    ):
        try:
            attempt()
        except Unusable as fault:
            found.append((name, str(fault)))
    return found


def back_up(settings: Settings, file: Path) -> int:
    return embedded.back_up(embedded_only(settings), file)


def check_backup(settings: Settings, file: Path) -> list[str]:
    """What is in a backup. Raises ``Invalid`` where it is none, ``Unusable`` where none can be
    restored; and makes nothing."""
    return embedded.check_backup(embedded_only(settings), file)


def restore(settings: Settings, file: Path, members: Sequence[str]) -> Path | None:
    return embedded.restore(embedded_only(settings), file, members)


def embedded_only(settings: Settings) -> Settings:
    if on_servers(settings):
        raise Unusable(
            "A backup of stores on servers is made with their own tools: this command is for the "
            "embedded store."
        )
    return settings
