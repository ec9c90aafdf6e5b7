"""Another time than the machine's, for a process that is about to be started."""

import os
import shutil
import subprocess

import pytest

COMMAND = "faketime"


def shifted(offset: str) -> dict[str, str]:
    """The variables with which a process believes it is so much later ("+1h") or earlier ("-1h");
    how long something takes it sees as it is."""
    if shutil.which(COMMAND) is None:
        without = pytest.fail if os.environ.get("CI") else pytest.skip
        without("faketime is not there: apt install faketime", pytrace=False)
    told = subprocess.run(
        [COMMAND, "-m", "-f", offset, "env"], check=True, capture_output=True, text=True
    )
    found = dict(line.split("=", 1) for line in told.stdout.splitlines() if "=" in line)
    return {
        "LD_PRELOAD": found["LD_PRELOAD"],
        "FAKETIME": offset,
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
