"""Uvicorn, as we run it: it drains when it is stopped, and says in our words what is no HTTP."""

import asyncio
import contextlib
import logging
import re
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from httptools import (
    HttpParserError,
    HttpParserInvalidMethodError,
    HttpParserUpgrade,
    HttpRequestParser,
)
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from ..errors import Invalid, MarqueeError
from .calls import BrokenOff
from .problems import HttpError, problem

DRAIN_SECONDS = 8
"""Within which a stop answers what was accepted; all of a stop takes at most 10 s."""

LAST_SECONDS = 1
"""For so long at a stop, whoever keeps a connection may ask once more; the answer says that it ends
there. To hang up at once would cut off who is just asking."""

KEEP_ALIVE_SECONDS = 75
HEAD_SECONDS = 20.0
"""Within which a request's head has to come, once it or its connection has begun."""

UNREAD_SECONDS = 60.0
"""Within which who is answered has to read on, or what is left where we hang up."""

MAX_HEAD = 64 * 1024
"""Bytes of a request's line and headers."""

CONTINUE = b"HTTP/1.1 100 "
"""The beginning of what goes before an answer, and is waited for."""

LINE = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?= /\S* HTTP/1\.[01]\r\n)")
"""The method in front of a request's line (RFC 9112, 3)."""

STAND_IN = b"UNBIND"
"""A method that the parser knows and nobody answers."""

OTHER_METHOD = "OTHER"
"""What a method that the parser does not know is called: in metrics, each name would stay."""

NO_HTTP = "This is no HTTP request. In its URL, what is not ASCII must be percent-encoded."
NO_HOST = "A request has one header Host (RFC 9112, 3.2)."


class Outgoing:
    """A connection's transport on which an answer's head waits for what comes behind it: both leave
    in one piece, at the price of one write for us and of one packet for whoever reads it.

    What is written behind its end is dropped: nobody hears it. ``closing`` is called when it ends
    and not all that was written has left."""

    def __init__(self, transport: Any, closing: Callable[[], None]) -> None:
        self._transport = transport
        self._closing = closing
        self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._transport.is_closing():  # uvloop would raise, before it tells that it is so
            return
        if not self._head and data.startswith(b"HTTP/") and not data.startswith(CONTINUE):
            self._head = data
        else:
            self._transport.write(self._head + data)
            self._head = b""

    def flush(self) -> None:
        if self._head:
            self.write(b"")

    def close(self) -> None:
        self.flush()
        self._transport.close()
        if self._transport.get_write_buffer_size():
            self._closing()


class Protocol(HttpToolsProtocol):
    _head = 0
    _whole = True
    """Whether the last request has come to its end, so that what comes now is a head."""
    _refused = False
    _fault = NO_HTTP
    _other_method = False
    _impatience: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(Outgoing(transport, self._expect_reader))  # type: ignore[arg-type]
        self._hurry()

    def connection_lost(self, exc: Exception | None) -> None:
        self._be_patient()
        super().connection_lost(exc)
        self._has_read()  # behind what closes and resumes

    def pause_writing(self) -> None:
        super().pause_writing()
        self._expect_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        if not self.transport.is_closing():
            self._has_read()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Who has said all may still listen: what was asked is answered, then we hang up."""
        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        if cycle is None or cycle.response_complete or not self._whole:
            self.transport.close()  # and not uvloop, past what waits for who does not read
            return False
        cycle.keep_alive = False
        return True

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        room = MAX_HEAD - self._head
        if len(data) <= room or not self._whole:
            self._head += len(data)
            self._hear(data)
        else:
            # More than a head may have; but what is too much of it may be a body already.
            self._head = MAX_HEAD
            self._hear(data[:room])
            if self._head < MAX_HEAD:
                self.data_received(data[room:])
            else:
                self._refuse(HttpError(431, "The request's line and headers are over 64 KiB."))
        if self._head and (self._whole or self.cycle.response_complete):
            self._hurry()  # half a head, or a body that nobody waits for any more

    def _hear(self, data: bytes) -> None:
        """The parser passes over the body of who asks for another protocol, as Java's client does
        with whatever it sends. We speak no other: a new parser hears the head again, without that.
        And it knows some methods alone: of another one it hears a stand-in."""
        self._unset_keepalive_if_required()
        coming = [memoryview(data)]
        try:
            while coming:
                part = coming.pop()
                try:
                    self.parser.feed_data(part)
                except HttpParserUpgrade as asked:
                    if self._asks_for_another():
                        coming += [part[asked.args[0] :], memoryview(self._head_without_asking())]
                        self._hear_anew()
                except HttpParserInvalidMethodError:
                    begun = self._whole and self._head == len(data) and LINE.match(data)
                    if not begun:
                        raise
                    self._other_method = True
                    self._hear_anew()
                    coming.append(memoryview(STAND_IN + data[begun.end() :]))
        except HttpParserError:
            self._refuse(Invalid(self._fault))

    def _hear_anew(self) -> None:
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does

    def _head_without_asking(self) -> bytes:
        method, version = self.parser.get_method(), self.parser.get_http_version().encode()
        lines = [b"%b: %b\r\n" % header for header in self.headers if header[0] != b"upgrade"]
        return b"%b %b HTTP/%b\r\n%b\r\n" % (method, self.url, version, b"".join(lines))

    def _asks_for_another(self) -> bool:
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def on_headers_complete(self) -> None:
        if self._asks_for_another():
            return
        self._be_patient()
        hosts = [name for name, _ in self.headers].count(b"host")
        if hosts > 1 or (hosts == 0 and self.parser.get_http_version() == "1.1"):
            self._fault = NO_HOST
            raise HttpParserError(NO_HOST)  # the parser hears no more of it
        super().on_headers_complete()
        if self._other_method:
            self._other_method = False
            self.scope["method"] = OTHER_METHOD
        self._head = 0
        self._whole = False
        if self.parser.should_upgrade():
            self.cycle.keep_alive = False  # a tunnel: nothing behind it is HTTP

    def on_message_complete(self) -> None:
        if self._asks_for_another():
            return
        self._be_patient()
        super().on_message_complete()
        self._head = 0
        self._whole = True

    def on_response_complete(self) -> None:
        self.transport.flush()  # type: ignore[attr-defined]
        super().on_response_complete()
        if not self._whole and self.cycle.response_complete:
            self._hurry()  # the rest of a body that nobody reads

    def _hurry(self) -> None:
        if self._impatience is None:
            self._impatience = self.loop.call_later(HEAD_SECONDS, self._hang_up)

    def _be_patient(self) -> None:
        if self._impatience is not None:
            self._impatience.cancel()
            self._impatience = None

    def _expect_reader(self) -> None:
        if self._unread is None:
            self._unread = self.loop.call_later(UNREAD_SECONDS, self.transport.abort)

    def _has_read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _hang_up(self) -> None:
        """Once what was asked is answered."""
        self._refused = True
        self.shutdown()

    def _refuse(self, error: MarqueeError) -> None:
        """Say so when it is its turn, behind the answers that are still to come, and hang up."""
        self._refused = True
        status, headers, body = problem(error, b"/")
        lines = [b"HTTP/1.1 %d \r\nconnection: close\r\n" % status]
        lines += [b"%s: %s\r\n" % header for header in self.server_state.default_headers + headers]
        refusal = b"".join([*lines, b"\r\n", body])

        def say() -> None:
            if not self.transport.is_closing():
                self.transport.write(refusal)
                self.transport.close()

        cycle: RequestResponseCycle | None = self.cycle  # None before the first request
        if self._whole and cycle is not None and not cycle.response_complete:
            cycle.on_response = say
        elif self._whole or cycle is None:
            say()
        elif cycle.response_started:
            self.shutdown()
        elif self.pipeline:

            async def instead(*_: Any) -> None:
                cycle.disconnected = True
                say()

            self.pipeline[0] = (cycle, instead)
        else:
            cycle.disconnected = True
            cycle.message_event.set()
            say()


class Server(uvicorn.Server):
    """``listening`` is called as soon as requests are answered."""

    def __init__(self, app: Any, listening: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Protocol,
                ws="none",
                lifespan="off",
                access_log=False,
                log_config=None,
                log_level="error",  # what callers do wrong is no news
                proxy_headers=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=DRAIN_SECONDS - LAST_SECONDS,
            )
        )
        self._listening = listening
        logging.getLogger("uvicorn.error").addFilter(worth_telling)

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self._listening()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listener in (*self.servers, *(sockets or ())):
            listener.close()
        self.server_state.default_headers.append((b"connection", b"close"))
        last = time.monotonic() + LAST_SECONDS
        connections = self.server_state.connections
        while connections and time.monotonic() < last and not self.force_exit:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """They are the caller's, who has more to end than this."""
        yield

    def hand_over(self, app: Any) -> None:
        """Have this one answer from now on, on connections that stand, too."""
        self.config.loaded_app = app
        standing: Any = self.server_state.connections
        for connection in standing:
            connection.app = app

    def load(self) -> tuple[int, int]:
        """How many connections there are, and how many requests under way."""
        return len(self.server_state.connections), len(self.server_state.tasks)

    def stop(self) -> None:
        """Answer what was accepted, then end; at the second time end at once."""
        self.force_exit = self.should_exit
        self.should_exit = True


def worth_telling(record: logging.LogRecord) -> bool:
    """Not each answer that a stop has cut off: how many there are is told before. Nor one that
    broke off: what became of it is told with all others."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, asyncio.CancelledError | BrokenOff)
