"""The front door: precomputed answers first, then the route table."""

import time
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Any

from starlette.types import Receive, Scope, Send

from ..tracing import UNTRACED
from .calls import (
    ANYTHING,
    Endpoint,
    Guard,
    Resource,
    failure,
    request_id,
    respond,
)
from .metrics import Metrics
from .prepared import Ready
from .problems import HttpError

LogRequest = Callable[[str, str, int, float, str, str], None]
"""Method, template of the route, status, seconds, request id, trace id."""


NOTHING = "There is nothing at this path: /docs tells of every call."


class App:
    """Marquee's HTTP calls as an ASGI application: those of this process.

    ``contract``: all there are. ``ready``: by path, the answers that are sent as they are.
    ``trace_id``: that of the trace we are in, "" where we are in none.
    """

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        contract: Iterable[Endpoint],
        ready: Mapping[str, Ready],
        guard: Guard,
        metrics: Metrics,
        log: LogRequest,
        trace_id: Callable[[], str] = UNTRACED.trace_id,
    ) -> None:
        self._ready = ready
        self._guard = guard
        self._metrics = metrics
        self._log = log
        self._trace_id = trace_id
        self._requests = metrics.requests
        methods: dict[str, list[str]] = {}
        for endpoint in contract:
            methods.setdefault(endpoint.path, []).append(endpoint.method)
        by_path = sorted(endpoints, key=lambda endpoint: specificity(endpoint.path))
        self._resources = [
            Resource(path, calls, methods.get(path, ()), guard, self._observe)
            for path, calls in groupby(by_path, key=lambda endpoint: endpoint.path)
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        ready = self._ready.get(scope["path"])
        asks = scope["query_string"].strip(b"&")  # without a parameter it asks nothing
        if ready is not None and not asks and scope["method"] in ("GET", "HEAD"):
            start, body = ready(scope)
            await send(start)
            await send(body)
            self._requests[scope["method"], scope["path"], start["status"]] += 1
            return
        path = scope["path"]
        for resource in self._resources:
            found = resource.pattern.match(path)
            if found is not None and not path.endswith("\n"):  # the pattern looks past that
                scope["endpoint"], scope["path_params"] = resource, found.groupdict()
                await resource(scope, receive, send)
                return
        await self._unknown(scope, receive, send)

    async def _unknown(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        scope["marquee.id"] = request_id()
        try:
            await self._guard.admit_address(scope)
            raise HttpError(404, NOTHING)
        except ANYTHING as error:
            status, headers, body = failure(error, scope)
        await respond(scope, send, status, headers, body)
        self._observe(scope, "unknown", status, time.perf_counter() - started)

    def _observe(self, scope: Scope, route: str, status: int, seconds: float) -> None:
        method, trace_id = scope["method"], self._trace_id()
        self._metrics.observe(method, route, status, seconds, trace_id)
        self._log(method, route, status, seconds, scope["marquee.id"].decode(), trace_id)


def specificity(path: str) -> tuple[Any, ...]:
    """Names before parameters: /movies/top10 is asked before /movies/{movieId}. Long paths before
    short ones, for one after the other is tried and the rating calls are the longest."""
    parts = path.split("/")
    return -len(parts), *((part.startswith("{"), part) for part in parts)
