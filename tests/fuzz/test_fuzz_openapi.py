"""Generated questions, good and bad ones, from the document that the real server tells of itself:
every answer has to be what the document says. Schemathesis asks, with all its checks."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.server import serve

ROOT = Path(__file__).resolve().parent.parent.parent
PER_CALL = max(1, int(os.environ.get("MARQUEE_FUZZ_EXAMPLES", "3000")) // 60)


@pytest.mark.no_cover
@pytest.mark.timeout(0 if PER_CALL > 50 else 900)  # however busy the machine
def test_fuzz_the_contract(tmp_path: Path) -> None:
    with serve(tmp_path, demo=True) as server:
        token = server.token("you", "movies:write", "ratings:write:any")
        asked = subprocess.run(
            [
                Path(sys.executable).with_name("schemathesis"),
                "run",
                f"{server.url}/openapi.json",
                "--checks=all",
                "--mode=all",
                "--continue-on-failure",
                "--no-color",
                f"--max-examples={PER_CALL}",
                f"--header=Authorization: Bearer {token}",
            ],
            check=False,
            cwd=tmp_path,
            env=os.environ
            | {"PYTHONPATH": str(ROOT), "SCHEMATHESIS_HOOKS": "tests.fuzz.schemathesis_hooks"},
            capture_output=True,
            text=True,
        )
        assert asked.returncode == 0, asked.stdout + asked.stderr
        assert "Tested: 19" in asked.stdout, asked.stdout
    assert "a call failed" not in server.log
    assert "Traceback" not in server.log
