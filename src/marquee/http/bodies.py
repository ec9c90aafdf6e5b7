"""The body of a request: at most so large, and not waited for without end."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

from starlette.types import Receive

from .problems import Header, HttpError

MAX_BODY = 64 * 1024
BODY_SECONDS = 10.0
CLOSE: Header = (b"connection", b"close")


class Gone(Exception):
    """The caller went away before its request was whole."""


async def read_body(length: str | None, receive: Receive) -> bytes:
    """The whole body; ``length`` is what its header says. 413 where it is larger than it may be."""
    check_length(length)
    body = b""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            raise too_large()
        more = message.get("more_body", False)
    return body


def check_length(length: str | None) -> None:
    if length is not None and length.isdecimal() and int(length[:20]) > MAX_BODY:
        raise too_large()


def too_large() -> HttpError:
    # Without hanging up: a gateway that is sending still would lose the answer.
    return HttpError(413, "The body is over 64 KiB.")


class Patience:
    """Ends the wait for bodies that do not come: 408. One look a second at those that are awaited
    is cheaper than a timer for each."""

    def __init__(self, seconds: float = BODY_SECONDS) -> None:
        self._seconds = seconds
        self._waiting: dict[asyncio.Task[Any] | None, float] = {}
        self._ended: set[asyncio.Task[Any]] = set()

    async def wait(self, coming: Coroutine[Any, Any, bytes]) -> bytes:
        task = asyncio.current_task()
        self._waiting[task] = time.monotonic() + self._seconds
        try:
            return await coming
        except asyncio.CancelledError:
            if task is None or task not in self._ended:
                raise
            self._ended.remove(task)
            task.uncancel()
            raise HttpError(408, "The body did not come.", [CLOSE]) from None
        finally:
            del self._waiting[task]

    async def run(self) -> None:
        while True:
            await asyncio.sleep(1)
            now = time.monotonic()
            for task in [task for task, end in self._waiting.items() if task and end < now]:
                self._ended.add(task)
                task.cancel()
