"""Requests as spans, where something is traced: only then this stands before the app."""

from collections.abc import Collection
from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..tracing import Tracer
from .calls import BrokenOff
from .limits import Network, is_trusted


class Traced:
    """``ready``: paths that are answered before the router. A trace goes on where one of
    ``trusted`` began it: anybody else could have all that he asks kept."""

    def __init__(
        self, app: ASGIApp, tracer: Tracer, ready: Collection[str], trusted: tuple[Network, ...]
    ) -> None:
        self._app = app
        self._tracer = tracer
        self._ready = ready
        self._trusted = trusted

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def seen(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        with self._tracer.request(scope["method"], self._parent(scope)) as answered:
            try:
                await self._app(scope, receive, seen)
            except BrokenOff as broken:
                status = broken.status
                raise
            finally:
                if status:  # else its caller went away before there was an answer
                    answered(self._route(scope), status)

    def _parent(self, scope: Scope) -> str:
        peer = scope["client"][0] if scope.get("client") else ""
        if not is_trusted(peer, self._trusted):
            return ""
        found = (value for name, value in scope["headers"] if name == b"traceparent")
        return next(found, b"").decode("latin-1")

    def _route(self, scope: Scope) -> str:
        answers: WithPath | None = scope.get("endpoint")
        if answers is not None:
            return answers.path
        return scope["path"] if scope["path"] in self._ready else "unknown"


class WithPath(Protocol):
    path: str
