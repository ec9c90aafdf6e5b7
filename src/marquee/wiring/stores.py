"""What a process stands on: something that answers each port."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import NoReturn

from ..http.operations import Probe
from ..ports import (
    Cache,
    Catalogue,
    Charts,
    EventLog,
    Notices,
    Outbox,
    RateLimiter,
    RatingStore,
    Topic,
    TotalsStore,
)
from ..tracing import Tracer

ALL = ("ratings", "events", "movies", "cache")
"""The stores that may each be a server, or several."""

MIGRATED = ("ratings", "events", "movies")
"""Those that have a schema, or what comes near to one: the cache has none."""

Run = Callable[[], Awaitable[None]]


@dataclass(frozen=True)
class Stores:
    """What answers each port, and what is to be known of it.

    ``runs``: what each needs to go on in the background. ``drain``: wait until what was
    acknowledged by now is in the totals; ``catch_up``: the same, where nobody else does it;
    ``settle``: wait until it is no longer half done.
    ``on_applied``: have a listener hear the versions of what each fold has newly applied, once it
    is durable. ``agree``: raises ``Unusable`` where the stores do not belong together, or disagree
    with the settings, ``StoreAway`` where that can't be told yet. ``stopped``: how many partitions
    of the log, of those that are ours, stand still.
    """

    ratings: RatingStore
    outbox: Outbox
    topic: Topic
    events: EventLog
    totals: TotalsStore
    catalogue: Catalogue
    charts: Charts
    cache: Cache
    notices: Notices
    limiter: RateLimiter
    probes: Mapping[str, Probe]
    runs: Mapping[str, Run]
    drain: Run
    settle: Run
    catch_up: Run
    agree: Run
    recall: Callable[[str], Awaitable[str | None]]
    remember: Callable[[str, str], Awaitable[None]]
    on_commit: Callable[[Callable[[int], None]], None]
    on_applied: Callable[[Callable[[Iterable[int]], None]], None]
    stopped: Callable[[], int]
    tracer: Tracer
    embedded: bool


async def nothing_to_do() -> None:
    """It is so already, or others see to it."""


class Unneeded:
    """In the place of what a process does not use: to use it all the same is a fault of ours."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __getattr__(self, name: str) -> NoReturn:
        raise RuntimeError(f"{self._what} is not opened here")
