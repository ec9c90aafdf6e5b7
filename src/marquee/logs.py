"""Logs: for people on a terminal, JSON lines otherwise. One line a request; never a token, a body
or a user's id."""

import logging
import sys
from typing import Any, TextIO

import msgspec
import structlog


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
    else:
        last = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(serializer=to_json),
        ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def request_fields(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """A request's line: ``http.app`` hands over a tuple, for it is on the way of every answer."""
    record = event.get("_record")
    request = getattr(record, "request", None)
    if request is not None:
        method, route, status, seconds, request_id = request
        event.update(
            method=method,
            route=route,
            status=status,
            milliseconds=round(1000 * seconds, 2),
            request_id=request_id,
        )
    return event


def to_json(event: Any, **_: Any) -> str:
    return msgspec.json.encode(event, enc_hook=str).decode()
