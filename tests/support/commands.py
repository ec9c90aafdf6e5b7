"""Commands and what they print: each a process of its own, or in this one, which says the same a
second sooner."""

import io
import logging
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import pytest

from marquee import cli
from tests.support.server import environment, marquee

RATINGS = """movieId,userId,rate,ratedAt
tt0068646,alice,9.5,2020-01-02T03:04:05.678901Z
tt0071562,alice,10,2021-01-02T03:04:05Z
tt0068646,"b, ""the"" second",0.5,2022-02-03T00:00:00Z
"""


def ok(*arguments: object, **settings: object) -> str:
    return well(marquee(*map(str, arguments), **settings))


def told(*arguments: object, **settings: object) -> str:
    return well(in_process(*arguments, **settings))


def well(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that is said."""
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done
    return done.stderr


def in_process(*arguments: object, **settings: object) -> subprocess.CompletedProcess[str]:
    """As ``marquee`` runs it, without a process of its own: for what only tells, what prepares a
    test, and what is tried as a process elsewhere. SQLite's locks are a process's: not while this
    one has the same file open."""
    words, out, err = list(map(str, arguments)), io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patched,
        logging_as_it_was(),
        at_sigterm_as_before(),
        redirect_stdout(out),
        redirect_stderr(err),
    ):
        patched.setattr(os, "environ", environment(**settings))
        patched.setattr(sys, "argv", ["marquee", *words])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    return subprocess.CompletedProcess(words, ended.value.code, out.getvalue(), err.getvalue())


@contextmanager
def at_sigterm_as_before() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def logging_as_it_was() -> Iterator[None]:
    """Afterwards, whatever ``logs.configure`` does to all loggers of this process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    changed = ("_srcfile", "logThreads", "logProcesses", "logMultiprocessing")
    before = {name: getattr(logging, name) for name in changed}
    try:
        yield
    finally:
        root.handlers[:], root.level = handlers, level
        for name, value in before.items():
            setattr(logging, name, value)


def numbers(report: str) -> dict[str, str]:
    """What a report says of movies, nominations and ratings."""
    return dict(re.findall(r"^(\w+): (\S+ added, \S+ replaced)", report, re.MULTILINE))
