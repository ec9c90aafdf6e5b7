"""What each fault cost: printed at the end of a session as the table of docs/reliability.md, and
added, a line of JSON each, to the file that ``MARQUEE_TEST_COSTS`` names.

``python -m tests.chaos.costs FILE`` prints the table of such a file.
"""

import json
import os
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path

import pytest

PROPERTY = "cost"
"""Under this name a test's report carries it."""

COLUMNS = (
    "fault",
    "answers",
    "errors to raters",
    "longest stall",
    "totals late",
    "all totals true",
    "slowest ten",
    "load",
)
HEAD = f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}"


@dataclass
class Cost:
    """Times in seconds.

    ``answers``: calls that were acknowledged. ``errors``: those that were not, by status or "cut
    off". ``stall``: the longest call of a rater. ``late``: the longest between a rating's
    acknowledgement and its count. ``true``: from the end of the fault until what was rated after it
    counted, and with it all before. ``read``: the slowest answer of the ten. ``busy``: the
    machine's load average when it began.
    """

    fault: str
    answers: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    stall: float = 0.0
    late: float = 0.0
    true: float = 0.0
    read: float = 0.0
    busy: float = 0.0
    day: str = field(default_factory=lambda: date.today().isoformat())  # noqa: DTZ011

    def row(self) -> str:
        errors = ", ".join(f"{number} × {what}" for what, number in sorted(self.errors.items()))
        cells = (
            self.fault,
            f"{self.answers:,}",
            errors or "none",
            f"{self.stall:.2f} s",
            f"{self.late:.1f} s",
            f"{self.true:.1f} s",
            f"{self.read * 1000:.0f} ms",
            f"{self.busy:.0f}",
        )
        return f"| {' | '.join(cells)} |"


def keep(cost: Cost) -> str:
    """As a line of JSON, which is added to the file."""
    line = json.dumps(asdict(cost))
    if path := os.environ.get("MARQUEE_TEST_COSTS"):
        with Path(path).open("a") as file:
            file.write(f"{line}\n")
    return line


def kept(reports: Iterable[pytest.TestReport]) -> list[str]:
    """What the tests of a session have kept."""
    told = (pair for report in reports for pair in report.user_properties)
    return [str(value) for name, value in told if name == PROPERTY]


def table(lines: Iterable[str]) -> str:
    """Of a fault that was tried more than once, the last."""
    costs = {cost.fault: cost for cost in (Cost(**json.loads(line)) for line in lines)}
    return "\n".join([HEAD, *(cost.row() for cost in costs.values())])


if __name__ == "__main__":
    print(table(Path(sys.argv[1]).read_text().splitlines()))
