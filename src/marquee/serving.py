"""One process from its start to its stop."""

import asyncio
import fcntl
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from . import ending, garbage, logs
from .config import Settings
from .errors import MarqueeError, StoreAway, Unusable
from .http.charts import TEN
from .http.operations import READY
from .http.server import DRAIN_SECONDS, Server
from .troubles import Trouble
from .wiring import (
    Marquee,
    check,
    demos,
    on_servers,
    open_stores,
    open_tracer,
    own_keys,
    uses_of,
)

STOP_SECONDS = 9.5
"""After so long a stop is over, whatever is not: all of it takes at most 10 s."""

TELL_SECONDS = 0.3
"""For which a process that ends waits for its log, which may be full."""

LOOK_SECONDS = 1.0
"""Between two looks whether the settings have changed."""

ABLE_SECONDS = 30.0
"""For which new settings may take to lead to stores that answer; else the old ones hold."""

BACKLOG = 2048
"""Connections that may wait to be taken."""

LOCK = "serve.lock"
"""In the data folder: held by who serves from it."""

SERVED = "served"
"""Under this name the embedded stores remember that they had their first start."""

RATE = """-d '{"rate": 10}' -H 'Content-Type: application/json'"""
BEARER = "Authorization: Bearer"

log = logging.getLogger(__name__)


@contextmanager
def held(data: Path) -> Iterator[None]:
    """Hold the data folder: a second process that serves from it is refused (``Unusable``)."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (data / LOCK).open("a")
    except OSError as error:
        raise Unusable(
            f"The data folder {data} can't be written ({error.strerror}): give it to this user, "
            "or name another one with --data."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unusable(
                f"A `marquee serve` runs on the data folder {data}: end it first, or name another "
                "folder with --data."
            ) from None
        yield


async def serve(
    settings: Settings,
    roles: Sequence[str],
    listener: socket.socket,
    *,
    with_demo: bool,
    again: Callable[[], Settings] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; what was accepted by then is answered.

    The port was taken first: whoever connects during a long start waits, and is answered then.
    ``again``: reads the settings anew; where they have changed, as when passwords are rotated, they
    are taken on while calls go on. Raises ``Unusable`` where it turns out that this process can't
    go on.
    """
    with stoppable() as stop:
        async with AsyncExitStack() as stack:
            marquee, first = await stack.enter_async_context(
                running(settings, roles, with_demo=with_demo)
            )
            with ending.step("its start"):
                await marquee.start(stop.because_of)
            url = f"http://{address(settings['host'])}:{listener.getsockname()[1]}"
            with_demo = first and await demos.is_there(marquee.stores)
            tell = partial(announce, settings, marquee, url, first=first, with_demo=with_demo)
            server = Server(marquee.app(), tell)
            stop.by(server.stop)
            marquee.watch(server.load)
            calls = "calls under way"
            if again is None or marquee.stores.embedded:
                with ending.step(calls):
                    await server.serve([listener])
            else:
                generations = Generations(marquee, server, stop, stack)
                async with in_background(generations.follow(again)):
                    with ending.step(calls):
                        await server.serve([listener])
    if stop.fault is not None:
        raise stop.fault


class Generations:
    """Has new settings take the place of old ones: another Marquee on connections of its own, which
    answers from then on; the one before it ends what it has begun, and its connections."""

    def __init__(
        self, marquee: Marquee, server: Server, stop: "Stop", stack: AsyncExitStack
    ) -> None:
        self._marquee = marquee
        self._server = server
        self._stop = stop
        self._stack = stack  # what is in it is closed last, whichever generation that is
        self._trouble = Trouble(log, "The settings have changed, and the old ones hold")

    async def follow(self, again: Callable[[], Settings]) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                settings = await asyncio.to_thread(again)
                if settings.texts != self._marquee.settings.texts:
                    await self._take_on(settings)
                self._trouble.over()
            except MarqueeError as fault:
                self._trouble.tell(fault)
            except (Exception, asyncio.CancelledError) as fault:
                if ending.is_told():
                    raise
                self._trouble.unforeseen(fault)

    async def _take_on(self, settings: Settings) -> None:
        refused: list[Unusable] = []

        def end(fault: Unusable) -> None:
            """Only of the generation that answers: before it does, the old one goes on."""
            if settings is self._marquee.settings:
                self._stop.because_of(fault)
            else:
                refused.append(fault)

        async with AsyncExitStack() as begun:
            marquee, _ = await begun.enter_async_context(
                running(settings, self._marquee.roles, with_demo=False)
            )
            await marquee.start(end)
            able = await marquee.able(ABLE_SECONDS)
            if refused:
                raise refused[0]
            if not able:
                raise StoreAway("with the new ones there are stores that do not answer")
            marquee.watch(self._server.load)
            marquee.succeed(self._marquee)
            self._server.hand_over(marquee.app())
            self._marquee = marquee
            logs.configure(settings["log_format"], settings["log_level"])
            log.info("the settings have changed, and are taken on")
            old, new = self._stack.pop_all(), begun.pop_all()
            self._stack.push_async_callback(new.aclose)
            try:
                async with old:
                    await asyncio.sleep(DRAIN_SECONDS)  # for what was begun, as at a stop
            except Exception:
                log.exception("what the old settings led to did not end well")
        garbage.settle()  # the old one goes, too


@asynccontextmanager
async def in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def check_unserved(data: Path) -> None:
    """Raises ``Unusable`` where somebody serves from the data folder; makes nothing."""
    if (data / LOCK).exists():
        with held(data):
            pass


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections. Raises ``Unusable``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, TypeError) as error:  # the latter for what can be no host's name
        number = getattr(error, "errno", 0) or 0  # below 0 it is one of getaddrinfo's
        why = os.strerror(number) if number > 0 else "there is no such host"
        raise Unusable(
            f"Nothing can be served at {address(host)}:{port} ({why}): "
            "name another --host or --port."
        ) from error


class Stop:
    """Ends this process when it is called: by a cancellation while it starts, then ``by`` what it
    is told; and in any case in time."""

    def __init__(self) -> None:
        starting = asyncio.current_task()
        self._end: Callable[[], object] = starting.cancel if starting else lambda: None
        self.told = False
        self.fault: Unusable | None = None

    def __call__(self) -> None:
        self._end()
        if not self.told:
            self.told = True
            timer = threading.Timer(STOP_SECONDS, self._give_up)
            timer.daemon = True
            timer.start()

    def by(self, end: Callable[[], object]) -> None:
        self._end = end

    def because_of(self, fault: Unusable) -> None:
        self.fault = fault
        self()

    def _give_up(self) -> None:
        """Some store holds us up, and no promise hangs on it: what was acknowledged is durable, and
        what is under way is taken up by others, as after a kill."""
        words = "ended without waiting any longer for: %s"
        telling = threading.Thread(
            target=log.warning, args=(words, ending.waits_for()), daemon=True
        )
        telling.start()
        telling.join(TELL_SECONDS)
        os._exit(2 if self.fault else 0)  # as the command line would


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Let signals end what is under way quietly, from the start to the end."""
    loop, stop = asyncio.get_running_loop(), Stop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, stop)
    try:
        yield stop
    except asyncio.CancelledError:
        if not stop.told:
            raise
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


@asynccontextmanager
async def running(
    settings: Settings, roles: Sequence[str], *, with_demo: bool
) -> AsyncIterator[tuple[Marquee, bool]]:
    """All of a process but its port, and whether this is the first start on its stores."""
    needs = uses_of(roles)
    check(settings, needs)
    # Of stores on servers many processes may live, also beside each other in one folder.
    alone = nullcontext() if on_servers(settings, needs) else held(settings["data"])
    tracer = open_tracer(settings, roles)
    opened = open_stores(settings, make=True, needs=needs, wait=False, tracer=tracer)
    try:
        with alone:
            async with opened as stores:
                first = stores.embedded and await stores.recall(SERVED) is None
                if first:
                    await demos.settle(stores, with_demo)
                    await stores.remember(SERVED, "yes")
                marquee = Marquee(settings, stores, roles)
                try:
                    yield marquee, first
                finally:
                    await marquee.stop()
    finally:
        with ending.step("traces that are not sent yet"):
            await asyncio.to_thread(tracer.close)


def announce(
    settings: Settings, marquee: Marquee, url: str, *, first: bool, with_demo: bool
) -> None:
    """Tell people where to look. A token only to those who see a terminal, or a first start."""
    if not first and not sys.stdout.isatty():
        log.info("serving at %s", url)
        return
    lines = [f"Marquee serves at {url}", ""]
    ten = marquee.ten if "top-rated" in marquee.roles else None
    if ten is not None:
        lines += [f"  the ten        {url}{TEN}"]
    lines += [f"  all its calls  {url}/docs", ""]
    if not settings["jwks"] and ten is not None and ten.entries and "ratings" in marquee.roles:
        token = own_keys(settings).sign("you", (), 3600, settings["issuer"], settings["audience"])
        movie = ten.entries[-1].movie
        lines += [
            f"Rate {movie.title}, and see the ten follow (the token is good for an hour):",
            "",
            f"  curl {url}/movies/{movie.id}/users/rate {RATE} -H '{BEARER} {token}'",
        ]
    elif ten is not None and ten.entries:
        lines += ["See the ten:", "", f"  curl {url}{TEN}"]
    elif ten is not None:
        lines += [
            "See the ten, empty until movies come (`marquee import` or `demo`) and are rated:",
            "",
            f"  curl {url}{TEN}",
        ]
    else:
        lines += ["See how it is:", "", f"  curl {url}{READY}"]
    if with_demo:
        from .demo import LABEL

        lines += ["", LABEL]
    print("\n".join(lines), flush=True)  # noqa: T201


def address(host: str) -> str:
    return f"[{host}]" if ":" in host else host
