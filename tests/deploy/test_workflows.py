"""The workflows, which run elsewhere: what they are told to run is there, and is what CI runs."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.data import LOUDLY, MADE_UP, ROOT
from tests.deploy.manifests import go

FILES = sorted((ROOT / ".github/workflows").glob("*.yml"))


def jobs(name: str) -> dict[str, Any]:
    file = ROOT / f".github/workflows/{name}.yml"
    return dict(yaml.safe_load(file.read_text())["jobs"])


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_nothing_that_is_used_can_be_exchanged(file: Path) -> None:
    for used in re.findall("uses: (.+)", file.read_text()):
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v[\d.]+", used) or (ROOT / used).is_file()


@pytest.mark.servers
@pytest.mark.timeout(1200)  # the first time it is built
def test_actionlint_finds_nothing(tmp_path: Path) -> None:
    alone = ("actionlint", "tool", "actionlint", "-shellcheck=", "-pyflakes=")
    done = go(*alone, *FILES)
    assert done.returncode == 0, done.stdout + done.stderr
    planted = tmp_path / "ci.yml"
    planted.write_text((ROOT / ".github/workflows/ci.yml").read_text().replace("inputs.", "input."))
    assert 'undefined variable "input"' in go(*alone, planted).stdout


def test_ci_is_what_people_run(tmp_path: Path) -> None:
    (job,) = jobs("ci").values()
    (data,) = re.findall(r"\|\| '(.+)'", job["env"]["DATA"])
    (tmp_path / ".ci").mkdir()
    (tmp_path / ".ci/run").write_text('echo "$MARQUEE_TEST_DATA" "$@"')
    said = subprocess.check_output(
        ["sh", "-ec", job["steps"][-1]["run"]],
        cwd=tmp_path,
        env=os.environ | {"GITHUB_WORKSPACE": str(ROOT), "DATA": data, "TARGETS": "chaos"},
        text=True,
    )
    assert said.split() == [str(MADE_UP), "chaos"]


@pytest.mark.no_cover
def test_who_has_no_real_data_fails_for_nothing_that_only_they_have() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0", "tests/unit/test_bestpictures.py"],
        check=False,
        cwd=ROOT,
        env=os.environ | {"CI": "true", "MARQUEE_TEST_DATA": str(MADE_UP)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert LOUDLY in done.stdout


def test_what_runs_every_night_is_there_and_has_the_time() -> None:
    made = re.findall("^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for job in jobs("nightly").values():
        assert job["with"]["targets"] in made
        assert job["with"]["minutes"] <= 360  # what a job may take at most


def test_a_release_is_tested_and_audited_and_nothing_else_is_audited() -> None:
    release = jobs("release")
    assert {"test", "audit"} == {name for name, job in release.items() if "needs" not in job}
    assert set(release["dist"]["needs"]) == {"test", "audit"}
    assert release["image"]["needs"] == "dist"
    assert set(release["announce"]["needs"]) == {"dist", "image"}
    assert any(step.get("run") == "scripts/audit" for step in release["audit"]["steps"])
    for file in (ROOT / "Makefile", ROOT / ".ci/run", *FILES):
        assert ("audit" in file.read_text()) == (file.stem == "release")
