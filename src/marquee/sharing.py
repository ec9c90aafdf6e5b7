"""Several processes at one port: each takes the connections that it can."""

import logging
import os
import signal
import socket
import sys
import threading
import time
from contextlib import suppress

REFUSED = 2
"""The exit status of a process that can't start as it is told to: to try again is no use."""

AGAIN_SECONDS = 1.0
KILL_SECONDS = 12
"""After so long, who was told to stop and has not is frozen: each sees to it in less."""

TOLD = (signal.SIGTERM, signal.SIGINT)

log = logging.getLogger(__name__)


def share(count: int, listener: socket.socket) -> int:
    """Fork so many processes, and return in each of them, with its number from 0.

    The parent never returns: it starts anew what dies, tells all to stop when it is told to, and
    exits as they did. What it leaves behind when it is killed stops, too.
    """
    return Parent(count, listener).run()


class Parent:
    def __init__(self, count: int, listener: socket.socket) -> None:
        self._count = count
        self._listener = listener
        self._numbers: dict[int, int] = {}
        self._stopping = False
        self._status = 0
        self._life = os.pipe()

    def run(self) -> int:
        for told in TOLD:
            signal.signal(told, lambda *_: self._stop())
        signal.signal(signal.SIGALRM, lambda *_: self._tell(signal.SIGKILL))
        missing = list(range(self._count))
        while True:
            for number in missing:
                if self._fork(number):
                    return number
            if not self._numbers:
                sys.exit(self._status)
            missing = self._wait()

    def _fork(self, number: int) -> bool:
        """Whether this is the child. Once all are told to stop, there is none."""
        signal.pthread_sigmask(signal.SIG_BLOCK, TOLD)  # who is to be told must be known first
        child = not self._stopping and self._forked(number)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, TOLD)
        return child

    def _forked(self, number: int) -> bool:
        process = os.fork()
        if process:
            self._numbers[process] = number
        else:
            os.setpgid(0, 0)  # Ctrl-C is for the parent to hear: else it would be heard twice
            os.close(self._life[1])
            for handled in (*TOLD, signal.SIGALRM):
                signal.signal(handled, signal.SIG_DFL)
            threading.Thread(target=stop_after, args=(self._life[0],), daemon=True).start()
        return not process

    def _wait(self) -> list[int]:
        """The number of one that ended, where it is to be started anew."""
        process, ended = os.wait()
        number = self._numbers.pop(process, None)
        if number is None:  # an orphan: the first process of a container is everybody's parent
            return []
        code = os.waitstatus_to_exitcode(ended)
        if code == REFUSED and not self._stopping:
            self._stop()
        if self._stopping:
            if code != -signal.SIGTERM:  # else it had not begun yet
                self._status = max(self._status, abs(code))
            return []
        log.error("process %d of %d ended with %d, and is started again", number, self._count, code)
        time.sleep(AGAIN_SECONDS)
        return [number]

    def _stop(self) -> None:
        self._stopping = True
        self._listener.close()  # else connections would be taken that nobody answers
        self._tell(signal.SIGTERM)
        signal.alarm(KILL_SECONDS)

    def _tell(self, number: signal.Signals) -> None:
        for process in self._numbers:
            with suppress(ProcessLookupError):  # it ended just now
                os.kill(process, number)


def stop_after(life: int) -> None:
    """Have this process stop when its parent is gone."""
    os.read(life, 1)
    os.kill(os.getpid(), signal.SIGTERM)
