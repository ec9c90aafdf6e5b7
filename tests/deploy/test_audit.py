"""The audit of a release is worth something: it fails where it reached nobody."""

import subprocess
from pathlib import Path

import pytest

from tests.support.docker import ROOT
from tests.support.server import environment

pytestmark = pytest.mark.servers

NOTHING = '{"dependencies": [{"name": "jinja2", "version": "2.4.1", "vulns": []}], "fixes": []}'
HOLES = NOTHING.replace("[]}]", '[{"id": "PYSEC-2014-8"}]}]')


@pytest.mark.parametrize(
    ("canary", "locks", "passes"), [(HOLES, 0, True), (HOLES, 1, False), (NOTHING, 0, False)]
)
def test_who_finds_nothing_known_has_found_nothing(
    tmp_path: Path, canary: str, locks: int, passes: bool
) -> None:
    program = f"""
import sys
if any(word.startswith("requirements/") for word in sys.argv):
    sys.exit({locks})
print('''{canary}''')
"""
    (tmp_path / "pip_audit.py").write_text(program)
    done = subprocess.run(
        [ROOT / "scripts/audit"],
        check=False,
        env=environment() | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode == 0) == passes, done
