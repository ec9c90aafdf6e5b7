"""Answers that are ready as bytes before anybody asks, sent before the router is reached."""

from collections.abc import Callable, Iterable
from typing import Any

from starlette.types import Scope

from .problems import Header

Messages = tuple[dict[str, Any], dict[str, Any]]
"""The two of an ASGI answer: its start, its body."""


Ready = Callable[[Scope], Messages]
"""Picks the answer to a request, a GET or HEAD without parameters."""


class Prepared:
    """One answer to GET and HEAD, made once. ``headers`` include its length."""

    def __init__(self, status: int, headers: Iterable[Header], body: bytes) -> None:
        start = {"type": "http.response.start", "status": status, "headers": list(headers)}
        self._whole = start, {"type": "http.response.body", "body": body}
        self._head = start, {"type": "http.response.body", "body": b""}

    def answer(self, scope: Scope) -> Messages:
        return self._whole if scope["method"] == "GET" else self._head
