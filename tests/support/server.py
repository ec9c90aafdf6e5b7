"""The real server as a process of its own, on a free port: to be asked, stopped, killed and
started again on the same folder."""

import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import httpx

from marquee.adapters.keys import OwnKeys

COMMAND = Path(sys.executable).with_name("marquee")
START_SECONDS = 180.0
"""Several start at once, on a machine that is busy."""

STOP_SECONDS = 15.0
"""A stop takes at most 10 s; a busy machine gets the rest."""

NO_TLS = ssl.create_default_context()
"""Made once: it takes longer than a request."""

SERVING = re.compile(rb"(?:serves|serving) at (http://[\w.\[\]:]+:\d+)")


def environment(**settings: object) -> dict[str, str]:
    """This process's, with these settings of Marquee's and no others; no limits unless asked."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MARQUEE_")}
    settings = {"rate_limit": "off", **settings}
    return kept | {f"MARQUEE_{name.upper()}": str(value) for name, value in settings.items()}


def marquee(
    *arguments: str, within: float = START_SECONDS, **settings: object
) -> subprocess.CompletedProcess[str]:
    """A command, run to its end. ``marquee("verify", data=folder)``."""
    return subprocess.run(
        [COMMAND, *arguments],
        check=False,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=within,
    )


class Served:
    """Marquee at a URL, and the data folder whose keys are those of its tokens."""

    url: str
    data: Path

    @property
    def address(self) -> tuple[str, int]:
        """Where a raw socket connects to."""
        url = httpx.URL(self.url)
        assert url.port is not None
        return url.host, url.port

    def client(self, user: str | None = None, *scopes: str) -> httpx.Client:
        """Asks this server, with a token of ``user`` where one is named."""
        headers = {} if user is None else self.authorization(user, *scopes)
        return httpx.Client(base_url=self.url, headers=headers, timeout=30, verify=NO_TLS)

    def token(self, user: str, *scopes: str) -> str:
        """A token as ``marquee token`` prints it, good for an hour."""
        return OwnKeys(self.data / "keys").sign(user, scopes, 3600, "marquee", "marquee")

    def authorization(self, user: str, *scopes: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token(user, *scopes)}"}


class Server(Served):
    """``marquee serve`` on the data folder ``folder/data``, logging to ``folder/serve.log``.

    ``roles``: all by default. ``settings`` become MARQUEE_* variables. Ready when ``start``
    returns; ``start`` again after ``stop`` or ``kill`` serves from the same folder, at a port of
    its own.
    """

    command = COMMAND

    def __init__(
        self,
        folder: Path,
        *roles: str,
        name: str = "serve",
        demo: bool = False,
        **settings: object,
    ) -> None:
        self.data = folder / "data"
        self.log_file = folder / f"{name}.log"
        self.roles = roles
        self.url = ""
        self.settings = settings
        self._demo = demo
        self._begin = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        self.launch()
        return self.started()

    def launch(self) -> None:
        """The first half of a start: several can be under way together."""
        arguments = ["serve", *self.roles, "--data", self.data, "--port", "0"]
        self._begin = self.log_file.stat().st_size if self.log_file.exists() else 0
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [self.command, *arguments, "--demo" if self._demo else "--no-demo"],
                env=environment(**self.settings),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def started(self) -> Self:
        """The second half."""
        patience = time.monotonic() + START_SECONDS
        while (found := SERVING.search(self.log_file.read_bytes(), self._begin)) is None:
            if not self.alive or time.monotonic() > patience:
                self.kill()
                raise RuntimeError(f"The server does not start:\n{self.log[self._begin :]}")
            time.sleep(0.01)
        self.url = found[1].decode()
        return self

    def stop(self) -> None:
        """As an operator stops it; that it then exits 0 is part of every test."""
        self.signal(signal.SIGTERM)
        self.ended()

    def ended(self) -> None:
        """The second half of a stop."""
        try:
            status = self.process.wait(STOP_SECONDS)
        finally:
            self.kill()
        assert status == 0, f"The server ended with {status}:\n{self.log[-5000:]}"

    def kill(self) -> None:
        """``kill -9``; nothing happens where it has ended already."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        return self.log_file.read_text("utf-8", "replace")

    def figure(self, name: str) -> float:
        """One of its metrics that has no labels."""
        with self.client() as client:
            found = re.search(rf"^{name} (\S+)$", client.get("/metrics").text, re.MULTILINE)
        assert found is not None
        return float(found[1])

    @property
    def memory(self) -> int:
        """Resident bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) * 1024


@contextmanager
def serve(folder: Path, *, demo: bool = False, **settings: object) -> Iterator[Server]:
    """A server from start to stop; killed where the test itself went wrong."""
    server = Server(folder, demo=demo, **settings)
    try:
        yield server.start()
        if server.alive:
            server.stop()
    finally:
        server.kill()
