"""Logs: for people on a terminal, JSON lines otherwise. One line a request; never a token, a body
or a user's id."""

import asyncio
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec
import structlog

requests = logging.getLogger("marquee.requests")

GATHER = 0.1
"""Seconds in which the lines of requests gather."""


def configure(log_format: str = "auto", level: str = "info", stream: TextIO = sys.stderr) -> None:
    """Send every logger of this process, structlog's or the standard library's, to ``stream``."""
    for_people = log_format == "console" or (log_format == "auto" and stream.isatty())
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper("iso", utc=True),
        request_fields,
    ]
    if for_people:
        last: list[Any] = [structlog.dev.ConsoleRenderer(colors=stream.isatty())]
        handler = logging.StreamHandler(stream)
    else:
        last = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=to_json),
        ]
        handler = JsonLines(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # Nobody shows where in the code a line comes from: "Optimization" in Python's logging HOWTO.
    logging._srcfile = None  # noqa: SLF001
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False


def request(method: str, route: str, status: int, seconds: float, request_id: str) -> None:
    """One line for a request that was answered."""
    handler = logging.root.handlers[0] if logging.root.handlers else None
    if isinstance(handler, JsonLines):
        handler.request(method, route, status, seconds, request_id)
    else:
        members = (method, route, status, seconds, request_id)
        requests.info("request", extra={"request": members})


class JsonLines(logging.StreamHandler[TextIO]):
    """The lines of requests are on the way of every answer: they are made past ``logging``, and
    gather until they are written together.

    A kill loses the last moment's; any other line, and the exit, writes what there is.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._gathered: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.flush()
        super().emit(record)

    def request(self, *members: Any) -> None:
        if not requests.isEnabledFor(logging.INFO):
            return
        if not self._gathered:
            asyncio.get_running_loop().call_later(GATHER, self.flush)
        line = {
            "event": "request",
            "level": "info",
            "logger": requests.name,
            "timestamp": datetime.now(UTC),
            **request_members(*members),
        }
        self._gathered.append(to_json(line))

    def flush(self) -> None:
        self.acquire()  # other threads have something to say, too
        try:
            gathered, self._gathered = self._gathered, []
            if gathered:
                self.stream.write("\n".join([*gathered, ""]))
            super().flush()
        except OSError:
            pass  # a log that can't be written, as on a full disk, stops nobody
        finally:
            self.release()


def request_fields(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """A request's line, for people."""
    request = getattr(event.get("_record"), "request", None)
    return event if request is None else event | request_members(*request)


def request_members(
    method: str, route: str, status: int, seconds: float, request_id: str
) -> dict[str, Any]:
    return {
        "method": method,
        "route": route,
        "status": status,
        "milliseconds": round(1000 * seconds, 2),
        "request_id": request_id,
    }


def to_json(event: Any, **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()
