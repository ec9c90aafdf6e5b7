"""What is wrong with the file, and what to do."""

import errno
import shutil
import sqlite3
import tempfile
from pathlib import Path

from ...errors import Unusable
from .backup import check
from .database import unusable

LEAST_FREE = 100 << 20
DRAFT = 1 << 20
"""Bytes that are written to try it."""


def diagnose(path: Path) -> None:
    """Raises ``Unusable`` where the file is not there, can't be written, is damaged, or nearly out
    of room; in that order, for what can't be written looks damaged."""
    if not path.exists():
        raise Unusable(
            f"There is no store at {path}: `marquee serve` makes one, or name the data folder "
            "with --data."
        )
    check_writable(path)
    try:
        check(path)
    except sqlite3.Error as error:
        raise unusable(path, error) from error
    free = shutil.disk_usage(path.parent).free
    if free < LEAST_FREE:
        raise Unusable(f"The disk of {path} has only {free >> 20} MiB left: make room.")


def check_writable(path: Path) -> None:
    """Raises ``Unusable`` where the file can't be written, or nothing beside it."""
    at = path.parent
    try:
        with tempfile.TemporaryFile(dir=at) as draft:
            draft.write(bytes(DRAFT))
            draft.flush()
        at = path
        path.open("r+b").close()
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
            raise Unusable(f"The disk of {path} is full: make room.") from error
        raise Unusable(
            f"{at} can't be written ({error.strerror}): give it to the user that runs Marquee, or "
            "name another data folder with --data."
        ) from error
