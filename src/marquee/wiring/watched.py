"""The calls of a store, counted and timed: how many, how long, what became of them; and where
something is traced, a span for each."""

import asyncio
import inspect
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any

from ..errors import MarqueeError, StoreAway
from ..http.metrics import Metrics
from ..ports import (
    Cache,
    Catalogue,
    Charts,
    EventLog,
    Outbox,
    RateLimiter,
    RatingStore,
    Topic,
    TotalsStore,
)
from ..tracing import UNTRACED, Tracer
from .stores import Stores, Unneeded

PORTS = {
    "ratings": (RatingStore, "ratings"),
    "outbox": (Outbox, "ratings"),
    "topic": (Topic, "events"),
    "events": (EventLog, "events"),
    "totals": (TotalsStore, "movies"),
    "catalogue": (Catalogue, "movies"),
    "charts": (Charts, "movies"),
    "cache": (Cache, "cache"),
    "limiter": (RateLimiter, "cache"),
}
"""Each part of the stores: its port, and the store that answers it."""

IN_MEMORY = ("outbox", "topic", "cache", "limiter")
"""Where stores are embedded: these are no stores."""

WAITS = ("poll",)
"""Calls that take as long as nothing comes."""

Call = Callable[..., Any]


def watched(stores: Stores, metrics: Metrics) -> Stores:
    """The same stores, whose calls are told of."""
    parts: dict[str, Any] = {}
    for part, (port, store) in PORTS.items():
        answers = getattr(stores, part)
        if not (isinstance(answers, Unneeded) or (stores.embedded and part in IN_MEMORY)):
            parts[part] = Watched(answers, port, store, metrics, stores.tracer)
    return replace(stores, **parts)


class Watched:
    """In the place of what answers a port: each call of the port goes on to it."""

    def __init__(
        self, answers: object, port: type, store: str, metrics: Metrics, tracer: Tracer
    ) -> None:
        for name, declared in vars(port).items():
            if name.startswith("_"):
                continue
            call, told = getattr(answers, name), partial(timed, metrics, (store, name))
            if tracer is not UNTRACED:
                told = partial(traced, tracer, f"{store} {name}", told)
            if inspect.iscoroutinefunction(declared):
                call = call if name in WAITS else told(call)
            elif "AsyncIterator" in str(inspect.signature(declared).return_annotation):
                call = paged(call, told(anext))
            setattr(self, name, call)


def timed(metrics: Metrics, labels: tuple[str, str], call: Call) -> Call:
    observe, failed, clock = metrics.stores.observe, metrics.store_errors.add, time.perf_counter

    async def timed_call(*about: Any, **more: Any) -> Any:
        began = clock()
        try:
            return await call(*about, **more)
        except BaseException as error:
            if kind := kind_of(error):
                failed(*labels, kind)
            raise
        finally:
            observe(labels, clock() - began)

    return timed_call


def traced(tracer: Tracer, name: str, told: Callable[[Call], Call], call: Call) -> Call:
    timed_call = told(call)

    async def traced_call(*about: Any, **more: Any) -> Any:
        with tracer.step(name):
            return await timed_call(*about, **more)

    return traced_call


def paged(call: Call, following: Call) -> Call:
    """Each page is a call by itself: between two of them it is the reader's time."""

    async def pages(*about: Any, **more: Any) -> AsyncGenerator[Any, None]:
        async with aclosing(call(*about, **more)) as inner:
            while (page := await following(inner, None)) is not None:
                yield page

    return pages


def kind_of(error: BaseException) -> str:
    """``away``: the store said so; ``cut``: who waited for it had enough; ``failed``: a fault of
    ours. What a store rightly says no to is none."""
    if isinstance(error, StoreAway):
        return "away"
    if isinstance(error, asyncio.CancelledError):
        return "cut"
    return "" if isinstance(error, MarqueeError) else "failed"
