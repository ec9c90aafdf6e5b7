"""A disk without room: writes are refused in clear words, reads go on, nothing that was
acknowledged is lost, and as soon as there is room writes go on, without a restart."""

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import pytest

from tests.api.asking import eventually
from tests.chaos import ledger
from tests.chaos.ledger import Ledger, load, stock
from tests.support.commands import told
from tests.support.server import Server, marquee, serve

MIB = 1 << 20


class Disk(Protocol):
    folder: Path

    def fill(self, pid: int, but: int = 0) -> None: ...
    def empty(self, pid: int) -> None: ...


class SmallDisk:
    """A file system of its own, filled by somebody else's file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self, pid: int, but: int = 0) -> None:
        """``but``: for so many bytes there is room."""
        with self._filler.open("ab", buffering=0) as filler:
            for size in (MIB, 4096):
                try:
                    while filler.write(bytes(size)) == size:
                        pass
                except OSError:
                    pass
            filler.truncate(filler.tell() - but)

    def empty(self, pid: int) -> None:
        self._filler.unlink(missing_ok=True)


class SmallFiles:
    """Where nobody may mount: a process's files may not grow any more (0: those of this one, and
    of whom it starts)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, pid: int, but: int = 0) -> None:
        self._limit(pid, 4096)

    def empty(self, pid: int) -> None:
        self._limit(pid, resource.RLIM_INFINITY)

    @staticmethod
    def _limit(pid: int, size: int) -> None:
        _, most = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, most))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    if os.geteuid() != 0:
        yield SmallFiles(tmp_path)
        return
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "marquee-test", tmp_path]
    done = subprocess.run(mount, check=False, capture_output=True, text=True)
    if done.returncode:
        assert not os.environ.get("CI"), done.stderr
        yield SmallFiles(tmp_path)
        return
    try:
        yield SmallDisk(tmp_path)
    finally:
        subprocess.run(["umount", "--lazy", tmp_path], check=True)


@contextmanager
def full(disk: Disk, but: int = 0) -> Iterator[None]:
    """For whoever is started meanwhile."""
    disk.fill(0, but)
    try:
        yield
    finally:
        disk.empty(0)


def state(server: Server) -> tuple[int, str]:
    with server.client() as client:
        answer = client.get("/health/ready")
        return answer.status_code, answer.json()["dependencies"]["ratings"]["state"]


def test_full_and_then_not(disk: Disk):
    ratings = Ledger()
    with serve(disk.folder) as server:
        stock(server)
        with load(server, ratings, ledger.seed()) as under:
            under.await_answers(100)
            disk.fill(server.process.pid)
            eventually(lambda: len(under.refusals), lambda refusals: refusals > 100)
            assert set(under.refusals) <= {
                "The disk is full: nothing more can be kept.",
                "The store can't be reached at present.",  # to a limit SQLite has no name
            }
            eventually(lambda: state(server), lambda state: state == (200, "away"))
            with server.client("user-1") as client:
                assert client.get("/users/me/ratings").status_code == 200
                assert client.get("/movies/m1").status_code == 200
                assert client.get("/movies/top10").status_code == 200
            disk.empty(server.process.pid)
            under.await_answers(100)
            eventually(lambda: state(server), lambda state: state == (200, "up"))
        ratings.settle(server)
        told("verify", data=server.data)
        server.kill()
        server.start()
        ratings.settle(server)


@pytest.mark.parametrize("command", ["serve --no-demo", "migrate", "demo"])
def test_full_from_the_start(disk: Disk, command: str):
    with full(disk):
        done = marquee(*command.split(), data=disk.folder / "data", port=0)
    assert (done.returncode, done.stdout) == (2, "")
    file = disk.folder / "data" / "marquee.db"
    assert done.stderr in {
        f"marquee: The disk of {file} is full: make room.\n",
        f"marquee: {file} can't be used: disk I/O error.\n",
    }


def test_doctor_says_that_the_disk_is_full_not_that_the_file_is_damaged(disk: Disk):
    data = disk.folder / "data"
    told("migrate", data=data)
    with full(disk):
        done = marquee("doctor", data=data)
    assert done.returncode == 1
    assert f"The disk of {data / 'marquee.db'} is full: make room." in done.stdout


def test_a_backup_tells_of_its_own_disk(disk: Disk, tmp_path_factory: pytest.TempPathFactory):
    data, file = tmp_path_factory.mktemp("data"), disk.folder / "backup.zip"
    told("migrate", data=data)
    with full(disk):
        done = marquee("backup", str(file), data=data)
    assert done.returncode == 2
    assert done.stderr in {
        f"marquee: The disk of {file} is full: make room.\n",
        f"marquee: {data / 'marquee.db'} can't be used: disk I/O error.\n",
    }


def test_a_backup_that_just_fits_is_not_called_damaged(
    disk: Disk, tmp_path_factory: pytest.TempPathFactory
):
    """There is room for the database, but none for the memory that is shared about it."""
    folder, data = tmp_path_factory.mktemp("there"), disk.folder / "data"
    told("migrate", data=folder / "data")
    told("backup", folder / "backup.zip", data=folder / "data")
    size = (folder / "data" / "marquee.db").stat().st_size
    with full(disk, but=size):
        done = marquee("restore", str(folder / "backup.zip"), data=data)
    assert done.returncode == 2
    assert done.stderr in {
        f"marquee: The disk of {data / 'marquee.db'} is full: make room.\n",
        f"marquee: {folder / 'backup.zip'} can't be unpacked: File too large.\n",
    }
