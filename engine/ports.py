"""Ports that are handed out once and kept, so that a server comes back where it was."""

import json
import random
import socket
from pathlib import Path

from .locks import alone

# Below those that Linux gives to outgoing connections: while a server is down, no client's own end
# may sit on its port. None of these is any server's default.
FIRST, LAST = 26100, 32700


class Ports:
    """By name, kept in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __getitem__(self, name: str) -> int:
        with alone(self._file.with_suffix(".lock")):
            kept = self._read()
            if name not in kept:
                kept[name] = free_port(set(kept.values()))
                self._file.write_text(json.dumps(kept, indent=1) + "\n")
            return kept[name]

    def _read(self) -> dict[str, int]:
        try:
            kept: dict[str, int] = json.loads(self._file.read_text())
        except FileNotFoundError:
            return {}
        return kept


def free_port(taken: set[int]) -> int:
    """One that nobody listens at, on any address."""
    for port in random.sample(range(FIRST, LAST), LAST - FIRST):
        if port not in taken and is_free(port):
            return port
    raise OSError(f"no port from {FIRST} to {LAST} is free")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
