"""A connection with one channel, in a thread of its own, that comes back by itself."""

import asyncio
import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pika
from pika.adapters.select_connection import IOLoop

from ...troubles import CALM_SECONDS, Trouble
from .address import Address

CONNECT_SECONDS = 5.0
SOONEST, LATEST = 0.1, 2.0
"""Seconds between two attempts to connect: twice as long after each one that does not last."""

LASTING = 10.0

log = logging.getLogger(__name__)


class Line:
    """What is public is for the event loop; everything else runs in the thread.

    Who builds on it says what happens when the channel ``_opened``, calls ``_ready`` when it can
    be used, and lets go of everything when it ``_closed``.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._channel: Any = None
        self._reason: BaseException | None = None
        self._connection: Any = None
        self._acts: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()  # around the connection, which comes and goes
        self._leaving = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_ready = False
        self._waiters: list[asyncio.Future[None]] = []
        what = "the connection to RabbitMQ is given up, and made anew"
        self._trouble = Trouble(log, what, level=logging.ERROR)

    async def ready(self) -> None:
        """Wait until it can be used. Raises ``StoreAway`` where the next attempt fails, too."""
        if self._thread is None:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.Thread(target=self._run, name="rabbitmq", daemon=True)
            self._thread.start()
        if self._is_ready:
            return
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await waiter
        except TimeoutError:
            raise self._address.away(self._reason) from None

    def call(self, act: Callable[[], None]) -> None:
        """Have something done in the thread, with a channel or without; nobody waits for it."""
        self._acts.append(act)
        with self._lock:
            if self._connection is not None:
                self._connection.ioloop.add_callback_threadsafe(self._act)

    def give_up(self) -> None:
        """It does not answer: connect anew."""
        self.call(self._leave)

    async def close(self) -> None:
        self._leaving.set()
        self.call(self._leave)
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, CONNECT_SECONDS)

    def _turned(self, ready: bool) -> None:
        """An attempt has succeeded, or come to its end."""
        self._is_ready = ready
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if waiter.done():
                continue
            if ready:
                waiter.set_result(None)
            else:
                waiter.set_exception(self._address.away(self._reason))

    # ---- in the thread

    def _opened(self, channel: Any) -> None:
        raise NotImplementedError

    def _closed(self) -> None:
        raise NotImplementedError

    @property
    def _usable(self) -> bool:
        return self._channel is not None and self._channel.is_open

    def _ready(self) -> None:
        self._connection.ioloop.call_later(CALM_SECONDS, self._trouble.over)  # where this lasts
        self._tell(partial(self._turned, True))

    def _tell(self, act: Callable[[], None]) -> None:
        """Have something done in the event loop."""
        with suppress(RuntimeError):  # it is closed: nobody waits
            self._loop.call_soon_threadsafe(act)

    def _run(self) -> None:
        pause = SOONEST
        for node in itertools.cycle(self._address.nodes):
            if self._leaving.is_set():
                return
            began = time.monotonic()
            self._stay(node)
            if time.monotonic() > began + LASTING:
                pause = SOONEST
            self._leaving.wait(pause)
            pause = min(2 * pause, LATEST)

    def _stay(self, node: Any) -> None:
        """Connect, and stay until the connection ends."""
        try:
            ioloop = IOLoop()
            try:
                self._connection = pika.SelectConnection(
                    node,
                    on_open_callback=lambda c: c.channel(on_open_callback=self._begin),
                    on_open_error_callback=self._end,
                    on_close_callback=self._end,
                    custom_ioloop=ioloop,
                )
                ioloop.start()
            finally:
                with self._lock:
                    self._connection = None
                    ioloop.close()
        except Exception as error:  # noqa: BLE001 - whatever it is, the next attempt may go well
            self._trouble.unforeseen(error)
            self._reason = error
        self._channel = None
        self._tell(partial(self._turned, False))
        self._closed()
        self._act()

    def _act(self) -> None:
        while self._acts:
            self._acts.popleft()()

    def _begin(self, channel: Any) -> None:
        self._channel = channel
        channel.add_on_close_callback(self._lose)
        channel.add_on_cancel_callback(lambda _: self._leave())  # the queue was deleted
        self._opened(channel)
        self._act()
        if self._leaving.is_set():
            self._leave()

    def _lose(self, channel: Any, reason: BaseException) -> None:
        """A connection without its channel is of no use."""
        self._reason = reason
        if channel.connection.is_open:
            channel.connection.close()

    def _end(self, connection: Any, reason: BaseException) -> None:
        if self._channel is None:  # else it has told already
            self._reason = reason
        connection.ioloop.stop()

    def _leave(self) -> None:
        if self._connection is not None and self._connection.is_open:
            self._connection.close()
