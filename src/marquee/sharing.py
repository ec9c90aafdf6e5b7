"""Several processes at one port: each takes the connections that it can."""

import logging
import os
import signal
import sys
import time

REFUSED = 2
"""The exit status of a process that can't start as it is told to: to try again is no use."""

AGAIN_SECONDS = 1.0

log = logging.getLogger(__name__)


def share(count: int) -> int:
    """Fork so many processes, and return in each of them, with its number from 0.

    The parent never returns: it starts anew what dies, tells them to stop when it is told to, and
    exits as they did.
    """
    processes: dict[int, int] = {}
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True
        for process in processes:
            os.kill(process, signal.SIGTERM)

    for told in (signal.SIGTERM, signal.SIGINT):
        signal.signal(told, stop)
    missing = list(range(count))
    status = 0
    while missing or processes:
        while missing and not stopping:
            number = missing.pop()
            process = os.fork()
            if not process:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                return number
            processes[process] = number
        if stopping and not processes:
            break
        process, ended = os.wait()
        number = processes.pop(process)
        code = os.waitstatus_to_exitcode(ended)
        if stopping or code == REFUSED:
            status = max(status, abs(code))
            if not stopping:
                stop()
            continue
        log.error("process %d of %d ended with %d, and is started again", number, count, code)
        time.sleep(AGAIN_SECONDS)
        missing.append(number)
    sys.exit(status)
