"""Uvicorn, as we run it: it drains on SIGTERM and exits 0, and says in our words what is no HTTP."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from .problems import HttpError, problem

DRAIN_SECONDS = 8
"""Within which a stop answers what was accepted; all of a stop takes at most 10 s."""

KEEP_ALIVE_SECONDS = 75
HEAD_SECONDS = 20.0
"""Within which a new connection has to send its first request's head."""

MAX_HEAD = 64 * 1024
"""Bytes of a request's line and headers."""


class Protocol(HttpToolsProtocol):
    _head = 0
    _impatience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._impatience = self.loop.call_later(HEAD_SECONDS, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        self._be_patient()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        room = MAX_HEAD - self._head
        if len(data) <= room or self._in_body():
            self._head += len(data)
            super().data_received(data)
            return
        # More than a head may have; but what is too much of it may be a body already.
        self._head = MAX_HEAD
        super().data_received(data[:room])
        if self.transport.is_closing():
            return
        if self._head < MAX_HEAD:
            self.data_received(data[room:])
        else:
            self._refuse(431, "The request's line and headers are over 64 KiB.")

    def on_headers_complete(self) -> None:
        self._be_patient()
        super().on_headers_complete()
        self._head = 0

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._head = 0

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "This is no HTTP request.")

    def _in_body(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        return cycle is not None and cycle.more_body

    def _be_patient(self) -> None:
        if self._impatience is not None:
            self._impatience.cancel()
            self._impatience = None

    def _refuse(self, status: int, detail: str) -> None:
        status, headers, body = problem(HttpError(status, detail), "/")
        lines = [b"HTTP/1.1 %d \r\nconnection: close\r\n" % status]
        lines += [b"%s: %s\r\n" % header for header in headers]
        self.transport.write(b"".join([*lines, b"\r\n", body]))
        self.transport.close()


class Server(uvicorn.Server):
    """``listening`` is called with the port as soon as connections are taken."""

    def __init__(self, app: Any, host: str, port: int, listening: Callable[[int], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                http=Protocol,
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                log_level="warning",
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=DRAIN_SECONDS,
            )
        )
        self._listening = listening

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._listening(self.servers[0].sockets[0].getsockname()[1])

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at a signal as uvicorn does, but without dying of it afterwards."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGTERM, signal.SIGINT)
        for number in signals:
            loop.add_signal_handler(number, self._stop)
        try:
            yield
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    def _stop(self) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True
