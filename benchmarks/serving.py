"""Servers on one core, their load from another: Marquee's, and bare ones beside it."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Self

from tests.support.server import Server

from .measuring import Missing

CORES = sorted(os.sched_getaffinity(0))
FOR_SERVER, FOR_LOAD = CORES[0], CORES[-1]
SCRIPT = Path(__file__).with_name("wrk.lua")


@contextmanager
def on_core(core: int) -> Iterator[None]:
    """What is started in here stays on this core, with all its threads."""
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, CORES)


class Load(NamedTuple):
    """What ``wrk`` says of one run; times in seconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    errors: int

    @property
    def rate(self) -> float:
        return self.requests / self.seconds


def wrk(
    url: str, seconds: float, *, connections: int = 64, header: str = "", posts: Sequence[Path] = ()
) -> Load:
    """Ask as fast as answers come. ``posts``: files of tokens and of movie ids, to rate these."""
    command = shutil.which("wrk")
    if command is None:
        raise Missing(
            "wrk is missing, which makes the load: `apt-get install wrk` (Debian, Ubuntu), "
            "`brew install wrk` (macOS)."
        )
    arguments = ["-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(SCRIPT), url]
    if header:
        arguments[:0] = ["-H", header]
    if posts:
        arguments += ["--", *map(str, posts), str(time.monotonic_ns() % 2**31)]
    with on_core(FOR_LOAD):
        done = subprocess.run(
            [command, *arguments], check=True, capture_output=True, text=True, timeout=seconds + 60
        )
    load = Load(**json.loads(done.stdout.splitlines()[-1]))
    assert not load.errors, f"{load.errors} of {load.requests} answers were errors"
    return load


@contextmanager
def marquee(folder: Path, *, demo: bool = False) -> Iterator[Server]:
    """`marquee serve`, as anybody starts it, without limits."""
    server = Server(folder, demo=demo, log_format="json")
    try:
        with on_core(FOR_SERVER):
            server.start()
        yield server
        server.stop()
    finally:
        server.kill()


class Bare:
    """``benchmarks.bare`` in a process of its own."""

    def __init__(self, *arguments: str | Path) -> None:
        self._arguments = arguments
        self.url = ""

    def __enter__(self) -> Self:
        with on_core(FOR_SERVER):
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.bare", *self._arguments],
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
