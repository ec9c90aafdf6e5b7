"""A system of processes on servers of its own, for each module that has faults happen to it."""

import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from engine.engine import Engine
from tests.chaos import costs
from tests.chaos.trial import PER_SECOND, Trial, trial
from tests.support import engine
from tests.support.system import System
from tests.support.system import system as started

UnderLoad = Callable[..., AbstractContextManager[Trial]]

PARTS = ("cassandra", "kafka", "postgres", "redis")
TWO = dict.fromkeys(("ratings", "top-rated", "relay", "aggregator", "refresher"), 2)
"""Of each role that another process goes on with where one is gone."""


@pytest.fixture(scope="module")
def parts(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """Of the engine: the module's ``PARTS``. Its ``PER_SECOND`` says how much is rated."""
    return getattr(request.module, "PARTS", PARTS)


@pytest.fixture(scope="module")
def servers(parts: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with engine.own(tmp_path_factory.mktemp("servers"), *parts) as servers:
        yield servers


@pytest.fixture(scope="module")
def mend(servers: Engine, parts: tuple[str, ...]) -> Callable[[], None]:
    """Start and wake whatever does not run."""
    return lambda: servers.start(parts)


@pytest.fixture(scope="module")
def processes(
    servers: Engine,
    parts: tuple[str, ...],
    mend: Callable[[], None],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[System]:
    events = "rabbitmq" if "rabbitmq" in parts else "kafka"
    folder = tmp_path_factory.mktemp("system")
    with started(folder, TWO, events=events, servers=servers.variables(parts)) as found:
        yield found
        mend()


@pytest.fixture
def system(processes: System, mend: Callable[[], None]) -> System:
    """All of it, alive and well, whatever happened to it in the test before."""
    mend()
    for process in processes.processes.values():
        if process.alive:
            process.signal(signal.SIGCONT)
        else:
            process.start()
    return processes


@pytest.fixture
def under_load(
    system: System, request: pytest.FixtureRequest, record_property: Callable[[str, object], None]
) -> UnderLoad:
    """``with under_load("what happens") as trial:`` has it happen, and keeps what it cost."""
    per_second = getattr(request.module, "PER_SECOND", PER_SECOND)

    @contextmanager
    def begin(fault: str, **options: Any) -> Iterator[Trial]:
        with trial(system, fault, per_second=per_second, **options) as found:
            yield found
        record_property(costs.PROPERTY, costs.keep(found.cost))

    return begin
