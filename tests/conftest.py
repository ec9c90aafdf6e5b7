"""What holds for every test: one event loop, and no test that skips and stays green in CI."""

import os
import signal
from collections.abc import Generator
from typing import TypeVar

import pytest
from hypothesis import settings

from tests import data
from tests.chaos import costs
from tests.support import cassandra, engine, postgres

# Where the tests themselves run in the background, Ctrl-C is ignored; what they start must heed it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no failure; pytest-timeout stops what really hangs.
settings.register_profile("marquee", deadline=None)
settings.load_profile("marquee")

LONGEST = ("chaos", "e2e", "deploy", "fuzz", "simulator")
"""The folders whose files take minutes."""

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def pytest_report_header() -> str:
    return f"test data: {data.data_dir()}" if data.is_real() else data.LOUDLY


@pytest.hookimpl(trylast=True)  # behind the shuffle
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first, so that several processes end together."""
    items.sort(key=lambda item: item.path.parent.name not in LONGEST)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not data.is_real():
        terminalreporter.write_line(data.LOUDLY, red=True, bold=True)
    for reason in engine.complaints(terminalreporter.getreports("skipped")):
        terminalreporter.write_line(reason, red=True, bold=True)
    if lines := costs.kept(terminalreporter.getreports("passed")):
        terminalreporter.section("what each fault cost")
        terminalreporter.write_line(costs.table(lines))


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
