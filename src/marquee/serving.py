"""One process from its start to its stop."""

import asyncio
import fcntl
import logging
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path

from .config import Settings
from .errors import Unusable
from .http.charts import TEN
from .http.server import Server
from .wiring import DEMO, USES, Marquee, on_servers, open_stores, own_keys

BACKLOG = 2048
"""Connections that may wait to be taken."""

RATE = """-d '{"rate": 10}' -H 'Content-Type: application/json'"""
BEARER = "Authorization: Bearer"

log = logging.getLogger(__name__)


@contextmanager
def held(data: Path) -> Iterator[None]:
    """Hold the data folder: a second process that serves from it is refused (``Unusable``)."""
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = (data / "serve.lock").open("a")
    except OSError as error:
        raise Unusable(
            f"The data folder {data} can't be written ({error.strerror}): give it to this user, "
            "or name another one with --data."
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Unusable(f"Another `marquee serve` runs on the data folder {data}.") from None
        yield


async def serve(
    settings: Settings, roles: Sequence[str], listener: socket.socket, *, with_demo: bool
) -> None:
    """Serve until SIGTERM or SIGINT; what was accepted by then is answered.

    The port was taken first: whoever connects during a long start waits, and is answered then.
    """
    with stopped_by(signal.SIGTERM):
        async with running(settings, roles, with_demo=with_demo) as (marquee, first):
            url = f"http://{address(settings['host'])}:{listener.getsockname()[1]}"
            server = Server(marquee.app(), lambda: announce(settings, marquee, url, first=first))
            await marquee.start(server.stop)
            await server.serve([listener])
    if marquee.fault is not None:
        raise marquee.fault


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections. Raises ``Unusable``."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        number = error.errno or 0  # below 0 it is one of getaddrinfo's
        why = os.strerror(number) if number > 0 else "there is no such host"
        raise Unusable(
            f"Nothing can be served at {address(host)}:{port} ({why}): "
            "name another --host or --port."
        ) from error


@contextmanager
def stopped_by(number: signal.Signals) -> Iterator[None]:
    """Let a signal end what is under way quietly: a start that is not over yet, too."""
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        if task is not None:
            task.cancel()

    loop.add_signal_handler(number, stop)
    try:
        yield
    except asyncio.CancelledError:
        if not stopped:
            raise
    finally:
        loop.remove_signal_handler(number)


@asynccontextmanager
async def running(
    settings: Settings, roles: Sequence[str], *, with_demo: bool
) -> AsyncIterator[tuple[Marquee, bool]]:
    """All of a process but its port, and whether this is the first start on its stores."""
    needs = {store for role in roles for store in USES[role]}
    # Of stores on servers many processes may live, also beside each other in one folder.
    alone = nullcontext() if on_servers(settings) else held(settings["data"])
    with alone:
        async with open_stores(settings, make=True, needs=needs, wait=False) as stores:
            first = stores.embedded and await stores.recall(DEMO) is None
            if first:
                if with_demo:
                    from . import demo

                    await demo.load(stores.ratings, stores.catalogue)
                    await stores.catch_up()
                await stores.remember(DEMO, "loaded" if with_demo else "declined")
            marquee = Marquee(settings, stores, roles)
            try:
                yield marquee, first
            finally:
                await marquee.stop()


def announce(settings: Settings, marquee: Marquee, url: str, *, first: bool) -> None:
    """Tell people where to look. A token only to those who see a terminal, or a first start."""
    if not first and not sys.stdout.isatty():
        log.info("serving at %s", url)
        return
    lines = [f"Marquee serves at {url}", ""]
    ten = marquee.ten if "top-rated" in marquee.roles else None
    if ten is not None:
        lines += [f"  the ten        {url}{TEN}"]
    lines += [f"  all its calls  {url}/docs"]
    if not settings["jwks"] and ten is not None and ten.entries and "ratings" in marquee.roles:
        token = own_keys(settings).sign("you", (), 3600, settings["issuer"], settings["audience"])
        movie = ten.entries[-1].movie
        lines += [
            "",
            f"Rate {movie.title}, and see the ten follow (the token is good for an hour):",
            "",
            f"  curl {url}/movies/{movie.id}/users/rate {RATE} -H '{BEARER} {token}'",
        ]
    if first and ten is not None and ten.entries:
        from .demo import LABEL

        lines += ["", LABEL]
    print("\n".join(lines), flush=True)  # noqa: T201


def address(host: str) -> str:
    return f"[{host}]" if ":" in host else host
