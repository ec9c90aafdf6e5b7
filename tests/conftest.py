"""What holds for every test: one event loop, and no test that skips and stays green in CI."""

import asyncio
import faulthandler
import functools
import inspect
import os
import signal
from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

import pytest
from coverage import Coverage
from hypothesis import settings

from tests import data
from tests.chaos import costs
from tests.support import cassandra, engine, postgres

# Where the tests themselves run in the background, Ctrl-C is ignored; what they start must heed it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no failure; pytest-timeout stops what really hangs.
settings.register_profile("marquee", deadline=None)
settings.load_profile("marquee")

GRACE = 120.0
"""Seconds from a test's time limit until its process is ended."""

LONGEST = (
    *("chaos/test_faults", "deploy/test_compose", "e2e/test_on_servers", "deploy/test_kubernetes"),
    *("contract/test_kafka", "contract/test_cassandra", "contract/test_postgres"),
    *("e2e/test_side_by_side", "contract/test_cut", "simulator/test_simulator"),
    *("unit/test_importers_loading", "e2e/test_commands_files", "e2e/test_commands"),
    "fuzz/test_fuzz_http",
    *("chaos", "e2e", "deploy", "fuzz", "simulator", "contract", "api"),
)
"""What takes minutes: the files that take most, and then the folders."""

STDERR = pytest.StashKey[int]()
"""The real one, also while pytest keeps what is printed."""

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def pytest_report_header() -> str:
    return f"test data: {data.data_dir()}" if data.is_real() else data.LOUDLY


@pytest.hookimpl(trylast=True)  # behind the shuffle
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What takes long begins first, so that several processes end together. Who knows what is in
    the real data has nothing to say of made-up ones."""
    if not data.is_real():
        known = [item for item in items if item.get_closest_marker("real_data")]
        config.hook.pytest_deselected(items=known)
        items[:] = [item for item in items if item not in known]
    items.sort(key=lambda item: _place(item.path))


def _place(file: Path) -> int:
    folder = file.parent.name
    names = (f"{folder}/{file.stem}", folder)
    return next((LONGEST.index(name) for name in names if name in LONGEST), len(LONGEST))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not data.is_real():
        terminalreporter.write_line(data.LOUDLY, red=True, bold=True)
    for reason in engine.complaints(terminalreporter.getreports("skipped")):
        terminalreporter.write_line(reason, red=True, bold=True)
    if lines := costs.kept(terminalreporter.getreports("passed")):
        terminalreporter.section("what each fault cost")
        terminalreporter.write_line(costs.table(lines))


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    config.stash[STDERR] = os.dup(2)
    if reporter := config.pluginmanager.get_plugin("terminalreporter"):
        config.pluginmanager.register(Named(reporter))
    if hasattr(config, "workerinput"):
        _measure_once()


def _measure_once() -> None:
    """What has measured the start of one of several processes would go on beneath pytest-cov, also
    where that pauses for `no_cover`."""
    while beneath := Coverage.current():
        beneath.stop()


class Named:
    """Names what fails at once: of a run that is cut short there is no summary."""

    def __init__(self, reporter: pytest.TerminalReporter) -> None:
        self._reporter = reporter

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._reporter.write_line(f"\n{report.nodeid} failed ({report.when})")


def _time_limit(item: pytest.Item) -> float:
    """In seconds; 0: none."""
    marker = item.get_closest_marker("timeout")
    return float(marker.args[0] if marker else item.config.getini("timeout") or 0)


def _end_after(item: pytest.Item) -> None:
    """Ends this process then, with the stacks of its threads; counts anew with every call."""
    if limit := _time_limit(item):
        stderr = item.config.stash[STDERR]
        faulthandler.dump_traceback_later(limit + GRACE, exit=True, file=stderr)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> None:
    """pytest-timeout cannot end what waits in uvloop: the loop itself does."""
    limit, test = _time_limit(pyfuncitem), pyfuncitem.obj
    if limit and inspect.iscoroutinefunction(test):

        @functools.wraps(test)
        async def limited(*arguments: object, **more: object) -> None:
            async with asyncio.timeout(limit):
                await test(*arguments, **more)

        pyfuncitem.obj = limited


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """A test that its time limit does not end, ends with its process: uvloop waits on in a fixture,
    and what has failed has no limit any more while it is taken down."""
    _end_after(item)
    engine.lent = item.get_closest_marker("servers") is not None
    # pytest-cov leaves out what runs here, and not the commands and servers that a test starts.
    uncovered = item.get_closest_marker("no_cover") is not None
    covering = os.environ.pop("COVERAGE_PROCESS_CONFIG", None) if uncovered else None
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()
        if covering is not None:
            os.environ["COVERAGE_PROCESS_CONFIG"] = covering


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    _end_after(item)


def pytest_sessionfinish() -> None:
    postgres.drop_all()
    cassandra.drop_all()
    engine.release()


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # the last of several processes of one session
        engine.stop_unused()


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Asynchronous tests run on the loop that serves."""
    return "asyncio", {"use_uvloop": True}


def _fail_if_skipped(report: Report) -> Report:
    if os.environ.get("CI") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped in CI: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _fail_if_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _fail_if_skipped((yield))
