"""Runs a command at once, and then once a day, until it is told to end."""

import signal
import subprocess
import sys
import time

DAY = 24 * 3600


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    while True:
        subprocess.run(sys.argv[1:], check=False)  # noqa: S603 - what Compose says
        time.sleep(DAY)


if __name__ == "__main__":
    main()
