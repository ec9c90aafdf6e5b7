"""Real servers for the tests: those that run already, else started by the first who needs them.

``need("postgres")["MARQUEE_MOVIES_URL"]`` is for tests that share: each keeps to a keyspace, topic,
database, queue or key prefix of its own. ``own(folder, "kafka-cluster")`` is for those that kill,
freeze and restore. ``engine.engine.PARTS`` tells what can be asked for.
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NoReturn

import pytest

from engine.engine import Engine, default_engine
from engine.errors import EngineError

LOUDLY = "NOT TESTED ON REAL SERVERS:"
lent = True
"""Whether servers may be had: by a test that is not marked, none."""

UNMARKED = "What needs servers is marked `servers`, so that `make test` can leave it out."

_shared = default_engine()
_in_use: dict[str, IO[bytes] | None] = {}


def need(*parts: str) -> dict[str, str]:
    """The MARQUEE_* variables that lead to these parts, which answer.

    What did not run is started, and stopped after the last test, of whatever session, that uses
    it. Where it can't be had the test is skipped, loudly; in CI it fails.
    """
    _check_lent()
    for name in parts:
        if name not in _in_use:
            with _shared.borrowing():
                _in_use[name] = _use(name)
    return _shared.variables(parts)


def _use(name: str) -> IO[bytes] | None:
    """Have a part run; the lock that tells others of its use, where it runs for tests alone."""
    mark = _shared.borrowed(name)
    if not _shared.parts[name].lives:
        try:
            _shared.start([name])
        except EngineError as error:
            _do_without(error)
        mark.parent.mkdir(exist_ok=True)
        mark.touch()
    if not mark.exists():
        return None
    lock = mark.open("rb")
    fcntl.flock(lock, fcntl.LOCK_SH)
    return lock


def _check_lent() -> None:
    if not lent:
        pytest.fail(UNMARKED, pytrace=False)


def _do_without(error: EngineError) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(str(error), pytrace=False)
    pytest.skip(f"{LOUDLY} {error}")


def complaints(skipped: Iterable[pytest.TestReport]) -> set[str]:
    """Why tests had to do without their servers."""
    reasons = {report.longrepr[2] for report in skipped if isinstance(report.longrepr, tuple)}
    return {reason[reason.index(LOUDLY) :] for reason in reasons if LOUDLY in reason}


def release() -> None:
    """At the end of a session: this process needs nothing any more."""
    for lock in filter(None, _in_use.values()):
        lock.close()
    _in_use.clear()


def stop_unused() -> None:
    """Stop what runs for tests alone, and is not in use any more."""
    with _shared.borrowing():
        for mark in sorted(_shared.borrowed("").glob("*")):
            with mark.open("rb") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                _shared.stop([mark.name])
                mark.unlink()


@contextmanager
def own(folder: Path, *parts: str) -> Iterator[Engine]:
    """Parts of a test's own: ``server(NAME)`` gives each to ``kill``, ``signal`` and ``start``."""
    engine = Engine(folder, _shared.cache)
    with running(lambda: engine.start(parts), engine.stop):
        yield engine


@contextmanager
def running(start: Callable[[], object], stop: Callable[[], object]) -> Iterator[None]:
    """Servers from their start to their end; as ``need`` has it where they can't be had."""
    _check_lent()
    try:
        try:
            start()
        except EngineError as error:
            _do_without(error)
        yield
    finally:
        stop()
