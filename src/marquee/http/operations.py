"""For those who run it: health, metrics."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal

from starlette.types import Scope

from .. import ending
from ..errors import MarqueeError
from ..troubles import Trouble
from .calls import JSON, Answer, Call, Endpoint, encode
from .metrics import Metrics
from .prepared import Messages, Prepared
from .problems import Header
from .shapes import Shape

LIVE = "/health/live"
READY = "/health/ready"
PROBE_SECONDS = 2.0
NOT_STORED: Header = (b"cache-control", b"no-store")

log = logging.getLogger(__name__)

Probe = Callable[[], Awaitable[None]]
"""Raises ``StoreAway`` where the dependency is away."""


class Live(Shape, frozen=True):
    status: Literal["ok"] = "ok"


class Dependency(Shape, frozen=True, omit_defaults=True):
    state: Literal["up", "away"]
    detail: str | None = None


class Readiness(Shape, frozen=True):
    """``degraded``: something is away, but a part of what this process does goes on."""

    status: Literal["ok", "degraded", "unavailable"]
    dependencies: dict[str, Dependency]


class Health:
    """The state of each dependency, looked at once a second, never in a request.

    ``needs``: for each role of this process what it can't answer without.
    """

    def __init__(self, probes: Mapping[str, Probe], needs: Mapping[str, Sequence[str]]) -> None:
        self._probes = probes
        self._needs = needs
        self._troubles = {
            name: Trouble(log, f"{name} can't be looked at", level=logging.ERROR) for name in probes
        }
        self.able = False
        self._live = prepared(200, Live())
        self._is_ready(503, Readiness("unavailable", {}))

    def live(self, scope: Scope) -> Messages:
        return self._live.answer(scope)

    def ready(self, scope: Scope) -> Messages:
        return self._ready.answer(scope)

    async def step(self) -> None:
        states = await asyncio.gather(*map(self._look, self._probes))
        found = dict(zip(self._probes, states, strict=True))
        away = {name for name, state in found.items() if state.state == "away"}
        self.able = any(map(away.isdisjoint, self._needs.values())) or not self._needs
        status: Literal["ok", "degraded", "unavailable"] = (
            "ok" if not away else "degraded" if self.able else "unavailable"
        )
        self._is_ready(200 if self.able else 503, Readiness(status, found))

    def _is_ready(self, status: int, readiness: Readiness) -> None:
        self._readiness = readiness
        self.readiness = Answer(readiness, status, (NOT_STORED,))
        self._ready = prepared(status, readiness)

    def up(self) -> dict[str, float]:
        """Of each dependency, whether it is up."""
        found = self._readiness.dependencies
        return {name: float(its.state == "up") for name, its in found.items()}

    async def run(self) -> None:
        while True:
            await self.step()
            await asyncio.sleep(1)

    async def _look(self, name: str) -> Dependency:
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await self._probes[name]()
        except MarqueeError as away:
            return Dependency("away", str(away))
        except TimeoutError:
            return Dependency("away", "It does not answer.")
        except (Exception, asyncio.CancelledError) as fault:
            if ending.is_told():
                raise
            self._troubles[name].unforeseen(fault)
            return Dependency("away", "It can't be looked at: the log says why.")
        self._troubles[name].over()
        return Dependency("up")


def prepared(status: int, shape: Shape) -> Prepared:
    body = encode(shape)
    return Prepared(status, [JSON, NOT_STORED, (b"content-length", b"%d" % len(body))], body)


def endpoints(health: Health, metrics: Metrics) -> list[Endpoint]:
    async def live(_: Call) -> Answer:
        return Answer(Live())

    async def ready(_: Call) -> Answer:
        return health.readiness

    async def scrape(call: Call) -> Answer:
        body, content_type = metrics.exposition(call.header(b"accept"))
        return Answer(body, headers=((b"content-type", content_type.encode()), NOT_STORED))

    return [
        Endpoint(
            "GET",
            LIVE,
            live,
            "Whether it runs",
            "operations",
            {200: Live},
            limited=False,
            name="getLive",
        ),
        Endpoint(
            "GET",
            READY,
            ready,
            "Whether it can answer, and the state of what it depends on",
            "operations",
            {200: Readiness, 503: Readiness},
            limited=False,
            name="getReady",
        ),
        Endpoint(
            "GET",
            "/metrics",
            scrape,
            "Metrics in Prometheus form",
            "operations",
            {200: str},
            media=("text/plain", "application/openmetrics-text"),
            limited=False,
            name="getMetrics",
        ),
    ]
