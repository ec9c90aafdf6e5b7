"""The real data to test with, or made-up files with the same quirks where it isn't there."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MADE_UP = ROOT / "tests" / "made_up_data"
LOUDLY = (
    "NOT THE REAL DATA: tests use the made-up files of tests/made_up_data. "
    "Set MARQUEE_TEST_DATA to the folder of the real ones (see CONTRIBUTING.md)."
)


def data_dir() -> Path:
    """The folder of ``academy_awards.csv``, ``oscars/``, ``movielens-small/``, ``tmdb/`` and
    ``box-office/``. CI takes made-up files only where it is told of them."""
    real = Path(os.environ.get("MARQUEE_TEST_DATA") or ROOT.parent / "shared" / "data")
    if (real / "academy_awards.csv").is_file():
        return real
    if os.environ.get("CI") or os.environ.get("MARQUEE_TEST_DATA"):
        raise FileNotFoundError("no real data to test with: MARQUEE_TEST_DATA must be its folder")
    return MADE_UP


def is_real() -> bool:
    """Whether exact counts of the real files hold."""
    return data_dir() != MADE_UP
