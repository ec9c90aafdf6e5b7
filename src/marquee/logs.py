"""Logs: for people on a terminal, JSON lines otherwise. One line a request; never a token, a body
or a user's id."""

import asyncio
import logging
import random
import re
import sys
import time
from collections.abc import Callable
from functools import cache, lru_cache, partial
from itertools import chain
from typing import Any, TextIO

import msgspec

from .model import time_of

Members = tuple[str, str, int, float, str, str]
"""Of a request's line: method, template of its route, status, seconds, request id, trace id."""

requests = logging.getLogger("marquee.requests")
current_trace: Callable[[], str] = str
"""Set by ``correlate``."""

TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*")
HIDDEN = "***"

GATHER = 0.1
"""Seconds in which the lines of requests gather."""


def configure(
    log_format: str = "auto",
    level: str = "info",
    stream: TextIO | None = None,
    *,
    seldom: bool = False,
) -> None:
    """Send every logger of this process to ``stream``: stderr, unless told otherwise. ``seldom``:
    most likely there will be nothing to log."""
    stream = stream or sys.stderr
    for_people = log_format == "console" or (log_format == "auto" and stream.isatty())
    handler = logging.StreamHandler(stream) if for_people else JsonLines(stream)
    make = partial(formatter, for_people=for_people, colors=stream.isatty())
    handler.setFormatter(Late(make) if seldom else make())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Nobody shows where in the code a line comes from: "Optimization" in Python's logging HOWTO.
    logging._srcfile = None  # noqa: SLF001
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def formatter(*, for_people: bool, colors: bool) -> logging.Formatter:
    import structlog

    last: Any = structlog.processors.JSONRenderer(serializer=to_json)
    if for_people:
        last = structlog.dev.ConsoleRenderer(colors=colors)
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper("iso", utc=True),
        request_fields,
        trace_field,
    ]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.processors.format_exc_info,
            hide,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            last,
        ],
    )


class Late(logging.Formatter):
    """Made when there is something to say: structlog is a third of what a command imports."""

    def __init__(self, make: Callable[[], logging.Formatter]) -> None:
        super().__init__()
        self._made = cache(make)

    def format(self, record: logging.LogRecord) -> str:
        return self._made().format(record)


def request(
    method: str, route: str, status: int, seconds: float, request_id: str, trace_id: str = ""
) -> None:
    """One line for a request that was answered. ``trace_id`` "": it is in no trace."""
    handler = logging.root.handlers[0] if logging.root.handlers else None
    members = (method, route, status, seconds, request_id, trace_id)
    if isinstance(handler, JsonLines):
        handler.request(members)
    else:
        requests.info("request", extra={"request": members})


class Some:
    """A line for this share of the requests, for all that failed, and for all that are traced."""

    def __init__(self, share: float) -> None:
        self._share = share

    def __call__(
        self,
        method: str,
        route: str,
        status: int,
        seconds: float,
        request_id: str,
        trace_id: str = "",
    ) -> None:
        if status >= 400 or trace_id or random.random() < self._share:
            request(method, route, status, seconds, request_id, trace_id)


def correlate(trace_id: Callable[[], str]) -> None:
    """Have each line tell the trace in which it was written."""
    global current_trace  # noqa: PLW0603 - as there is one log, so there is one of these
    current_trace = trace_id


class JsonLines(logging.StreamHandler[TextIO]):
    """The lines of requests are on the way of every answer: they are made past ``logging``, and
    gather until they are written together.

    A kill loses the last moment's; any other line, and the exit, writes what there is.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._gathered: list[tuple[float, Members]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.flush()
        super().emit(record)

    def request(self, members: Members) -> None:
        if not self._gathered:
            if not requests.isEnabledFor(logging.INFO):
                return
            asyncio.get_running_loop().call_later(GATHER, self.flush)
        self._gathered.append((time.time(), members))

    def flush(self) -> None:
        self.acquire()  # other threads have something to say, too
        try:
            gathered, self._gathered = self._gathered, []
            if gathered:
                self.stream.write("".join([request_line(*request) for request in gathered]))
            super().flush()
        except OSError:
            pass  # a log that can't be written, as on a full disk, stops nobody
        finally:
            self.release()


def request_line(at: float, members: Members) -> str:
    method, route, status, seconds, request_id, trace_id = members
    traced = f',"trace_id":"{trace_id}"' if trace_id else ""
    return (
        f'{begin_of(method, route)},"timestamp":"{time_of(int(at * 1e6))}","status":'
        f'{status},"milliseconds":{1000 * seconds:.2f},"request_id":"{request_id}"{traced}}}\n'
    )


@lru_cache(1000)
def begin_of(method: str, route: str) -> str:
    """All of a request's line that its method and its route decide."""
    line = {"event": "request", "level": "info", "logger": requests.name}
    return to_json(line | {"method": method, "route": route}).removesuffix("}")


def request_fields(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """A request's line, for people."""
    request = getattr(event.get("_record"), "request", None)
    if request is None:
        return event
    method, route, status, seconds, request_id, trace_id = request
    return event | {
        "method": method,
        "route": route,
        "status": status,
        "milliseconds": round(1000 * seconds, 2),
        "request_id": request_id,
        **({"trace_id": trace_id} if trace_id else {}),
    }


def trace_field(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """The trace in which a line was written, where there is one."""
    if trace_id := current_trace():
        event.setdefault("trace_id", trace_id)
    return event


def hide(_logger: Any, _method: str, event: Any) -> Any:
    """Tokens, and the users of a call that failed (``extra={"users": …}``): a driver's error may
    quote what it was given."""
    users = getattr(event.get("_record"), "users", ())
    for name in ("event", "exception"):
        if text := event.get(name):
            text = TOKEN.sub(HIDDEN, str(text))
            for user in chain.from_iterable((user, repr(user)[1:-1]) for user in users):
                text = re.sub(rf"(?<!\w){re.escape(user)}(?!\w)", HIDDEN, text)
            event[name] = text
    return event


def to_json(event: Any, **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()
