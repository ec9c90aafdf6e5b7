"""Processes as the kernel tells of them, so that no stranger's is ever signalled."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")


class Process(NamedTuple):
    """``began``: the boot and the tick of the start, which no later process of that id shares."""

    pid: int
    parent: int
    began: str


def look_up(pid: int) -> Process | None:
    """The living process of that id; one that has ended and is only not buried yet is none."""
    try:
        stat = (PROC / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return None
    # The name, in parentheses, may hold anything. See proc(5) for what follows it.
    state, parent, *more = stat.rpartition(")")[2].split()
    if state in "ZX":
        return None
    boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
    return Process(pid, int(parent), f"{boot} {more[17]}")


def descendants(pid: int) -> Iterator[int]:
    """Its children, and theirs: some servers put them into sessions of their own."""
    living = [look_up(int(entry.name)) for entry in PROC.iterdir() if entry.name.isdigit()]
    family = {pid}
    for process in sorted(filter(None, living), key=lambda each: each.began):
        if process.parent in family:
            family.add(process.pid)
            yield process.pid


def send(number: signal.Signals, pids: Iterator[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue
