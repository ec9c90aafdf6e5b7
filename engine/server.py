"""A server: a child process with its folder, log and process id, and a way to see it answer."""

import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from . import processes
from .errors import EngineError

PATIENCE = 120.0
"""Seconds until a start counts as failed; a machine of two cores, and busy, needs many."""

TRIES = 3


class Server:
    """Everything of it is in ``folder``: ``pid``, ``log``, and what the technology puts there."""

    stop_signal = signal.SIGTERM
    stop_seconds = 10.0

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name
        self._tries = 0

    # ---- what a technology says ----------------------------------------------------------------

    def prepare(self) -> None:
        """Write what the process reads; its data may be there already."""

    def command(self) -> list[str]:
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        return dict(os.environ)

    def answers(self) -> bool:
        """Whether it does its work. May raise ``OSError`` where it does not."""
        raise NotImplementedError

    # ---- its life ------------------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """Its process, while that lives: never another one that was given the same number."""
        try:
            pid = int((self.folder / "pid").read_text())
            began = (self.folder / "began").read_text()
        except (FileNotFoundError, ValueError):
            return None
        process = processes.look_up(pid)
        return pid if process and process.began == began else None

    @property
    def wanted(self) -> bool:
        """Whether it was started, and not stopped since; it may have died."""
        return (self.folder / "pid").exists()

    def launch(self) -> None:
        """Begin; where it runs, go on, also out of a freeze."""
        if self.pid:
            self.signal(signal.SIGCONT)
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self.prepare()
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                self.command(),
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        # Buried when it ends, as long as we live ourselves.
        threading.Thread(target=process.wait, daemon=True).start()
        found = processes.look_up(process.pid)
        (self.folder / "began").write_text(found.began if found else "")
        (self.folder / "pid").write_text(f"{process.pid}\n")

    def wait(self) -> None:
        """Until it answers. One that ends early is begun again: it may have met the last remains
        of the one before. Raises ``EngineError`` with the end of its log."""
        self.wait_until(self.answers, "does not answer")

    def wait_until(self, holds: Callable[[], bool], else_: str) -> None:
        patience = time.monotonic() + PATIENCE
        while time.monotonic() < patience:
            if self.pid is None:
                self._begin_again()
            try:
                if holds():
                    self._tries = 0
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise EngineError(f"{self.name} {else_}:\n{self.log_end()}")

    def _begin_again(self) -> None:
        self._tries += 1
        if self._tries == TRIES:
            raise EngineError(f"{self.name} ends as soon as it is started:\n{self.log_end()}")
        time.sleep(self._tries)
        self.launch()

    def start(self) -> None:
        self.launch()
        self.wait()

    def signal(self, number: signal.Signals) -> None:
        """To the process and all its children, so that none goes on where it should not."""
        if pid := self.pid:
            children = list(processes.descendants(pid))
            processes.send(number, iter([pid, *children]))

    def kill(self) -> None:
        """``kill -9``, and until it is gone."""
        self.signal(signal.SIGKILL)
        while self.pid:
            time.sleep(0.01)

    def stop(self) -> None:
        """End it, and want it no more."""
        if pid := self.pid:
            self.signal(signal.SIGCONT)
            processes.send(self.stop_signal, iter([pid]))
            patience = time.monotonic() + self.stop_seconds
            while self.pid and time.monotonic() < patience:
                time.sleep(0.02)
            self.kill()
        (self.folder / "pid").unlink(missing_ok=True)

    def log_end(self) -> str:
        log = self.folder / "log"
        lines = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
        telling = [line for line in lines if not line.startswith("\tat ")]  # where in its Java
        return "\n".join([*telling[-10:], f"(from {log})"])


def ask(host: str, port: int, question: bytes, length: int, seconds: float = 1.0) -> bytes:
    """The first ``length`` bytes of the answer, fewer where the other end hangs up."""
    with socket.create_connection((host, port), seconds) as connection:
        connection.sendall(question)
        answer = b""
        while len(answer) < length and (more := connection.recv(length - len(answer))):
            answer += more
        return answer
