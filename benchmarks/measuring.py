"""Rows of the table: what was measured, beside its ceiling, against its goal."""

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median


class Missing(Exception):
    """What a benchmark needs is not on this machine: what, and how to get it."""


@dataclass
class Size:
    """How much is measured: ``quick`` for a glance, ``large`` for the far end of a curve."""

    quick: bool = False
    large: bool = False

    @property
    def rounds(self) -> int:
        return 3 if self.quick else 5

    @property
    def seconds(self) -> int:
        """Of each turn of a load."""
        return 1 if self.quick else 3


@dataclass
class Row:
    """``ceiling``: what Marquee is held against, "" where the goal stands by itself. ``figures``:
    the medians as numbers."""

    what: str
    marquee: str
    ceiling: str
    ratio: float | None
    goal: str
    met: bool
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def cells(self) -> tuple[str, ...]:
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        return self.what, self.marquee, self.ceiling, ratio, self.goal, "yes" if self.met else "NO"

    def json(self) -> dict[str, object]:
        return {
            "what": self.what,
            "ratio": self.ratio,
            "goal": self.goal,
            "met": self.met,
            "figures": self.figures,
        }


HEAD = ("what", "Marquee", "ceiling", "ratio", "goal", "met")
WIDTHS = (46, 32, 32, 5, 30, 3)


def line(cells: Iterable[str]) -> str:
    """One row, as Markdown that also stands straight in a terminal."""
    padded = (f"{cell:{width}}" for cell, width in zip(cells, WIDTHS, strict=True))
    return f"| {' | '.join(padded)} |"


def by_turns(rounds: int, *measures: Callable[[], float]) -> list[list[float]]:
    """Each measure's figures, taken A B A B …: whoever else uses this machine slows all alike."""
    figures: list[list[float]] = [[] for _ in measures]
    for _ in range(rounds):
        for found, measure in zip(figures, measures, strict=True):
            found.append(measure())
    return figures


def medians(figures: Sequence[Sequence[float]]) -> list[float]:
    return [median(found) for found in figures]


@contextmanager
def folder() -> Iterator[Path]:
    """A folder on the disk that temporary files go to (TMPDIR says which); gone afterwards."""
    path = Path(tempfile.mkdtemp(prefix="marquee-bench-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)
