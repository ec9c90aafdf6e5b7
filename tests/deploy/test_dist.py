"""What a release publishes: made twice alike, and of use to somebody who has nothing else."""

import json
import os
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from marquee import __version__
from marquee.wiring.extras import to_install
from tests.data import data_dir
from tests.support.docker import ROOT
from tests.support.server import Server, environment

pytestmark = pytest.mark.servers
EPOCH = {"SOURCE_DATE_EPOCH": "1700000000"}
ONE = "tests/unit/test_model.py"


def run(*words: object, folder: Path = ROOT, **more: str) -> str:
    done = subprocess.run(
        [*map(str, words)],
        check=False,
        cwd=folder,
        env=environment() | more,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run("scripts/dist", folder, **EPOCH)
    return folder


def the_only(folder: Path, pattern: str) -> Path:
    (found,) = folder.glob(pattern)
    return found


@pytest.fixture(scope="module")
def source(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the sdist has."""
    folder = tmp_path_factory.mktemp("source")
    with tarfile.open(the_only(dist, "*.tar.gz")) as archive:
        archive.extractall(folder, filter="data")
    return the_only(folder, f"marquee-{__version__}")


def test_the_sdist_makes_itself_and_the_wheel_again_byte_by_byte(
    dist: Path, source: Path, tmp_path: Path
) -> None:
    os.utime(source / "pyproject.toml", (1, 1))
    run(sys.executable, "-m", "hatchling", "build", "-d", tmp_path, folder=source, **EPOCH)
    for pattern in ("*.whl", "*.tar.gz"):
        assert the_only(tmp_path, pattern).read_bytes() == the_only(dist, pattern).read_bytes()


def test_the_sdist_has_what_its_tests_need(source: Path) -> None:
    data = {"MARQUEE_TEST_DATA": str(data_dir())}
    found = run(sys.executable, "-m", "pytest", "--collect-only", "-q", ONE, folder=source, **data)
    assert f"{ONE}::" in found
    for name in ("Makefile", "scripts/setup", "requirements/dev.txt", ".ci/run", "compose.yaml"):
        assert (source / name).exists()


def test_the_bill_of_materials_names_what_is_locked(dist: Path) -> None:
    bill = json.loads((dist / "marquee.cdx.json").read_text())
    named = {(canonicalize_name(c["name"]), c["version"]) for c in bill["components"]}
    assert named == {("marquee", __version__), *locked()}


def locked() -> Iterator[tuple[str, str]]:
    """Name and version of what the lock has for this Python on this machine."""
    for line in (ROOT / "requirements/distributed.txt").read_text().splitlines():
        if "==" in line and line[0].isalnum():
            found = Requirement(line.removesuffix(" \\"))
            if found.marker is None or found.marker.evaluate():
                (pin,) = found.specifier
                yield canonicalize_name(found.name), pin.version


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of an environment that has the wheel, what it asks for, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    pip = (sys.executable, "-m", "pip", "--quiet", "--python", folder / "bin/python")
    run(*pip, "install", "--no-deps", "--require-hashes", "-r", "requirements/runtime.txt")
    run(*pip, "install", "--no-index", "--find-links", dist, "marquee")
    return folder / "bin"


def test_the_wheel_serves_where_there_is_nothing_else(installed: Path, tmp_path: Path) -> None:
    class Installed(Server):
        command = installed / "marquee"

    server = Installed(tmp_path, demo=True)
    try:
        with httpx.Client(base_url=server.start().url, timeout=30) as client:
            assert len(client.get("/movies/top10").json()["result"]) == 10
            assert client.get("/movies/bestpictures?title=parasite").json()["result"]
            assert "<html" in client.get("/docs").text
            assert client.get("/openapi.json").json()["info"]["version"] == __version__
        server.stop()
    finally:
        server.kill()
    assert run(installed / "marquee", "--version").strip() == __version__
    assert str(installed.parent) in run(
        installed / "python", "-c", "import marquee; print(marquee.__file__)", folder=tmp_path
    )


def test_what_is_missing_is_installed_of_the_wheel_as_it_is_said(dist: Path) -> None:
    pip, *words = shlex.split(to_install(["kafka", "traces"]).partition(", or")[0])
    assert pip == "pip"
    alone = ("--dry-run", "--ignore-installed", "--no-deps", "--no-index")
    assert f"marquee-{__version__}" in run(sys.executable, "-m", "pip", *words, *alone, folder=dist)
