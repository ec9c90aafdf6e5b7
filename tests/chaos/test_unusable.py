"""What Marquee must not serve from: one clear line, exit status 2, and nothing is touched."""

import os
import shutil
import socket
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.commands import in_process, told
from tests.support.server import COMMAND, START_SECONDS, Server, environment, marquee, serve

PAGE = 4096

POWERLESS = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
"""Root without its powers has to keep to the modes of files, as anybody has."""


@pytest.fixture
def data(served: Path, tmp_path: Path) -> Path:
    """A data folder in which somebody has rated; nobody serves from it."""
    return Path(shutil.copytree(served, tmp_path / "data"))


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with serve(tmp_path_factory.mktemp("served")) as server:
        with server.client("editor", "movies:write") as client:
            for number in range(200):
                movie = {"title": f"Movie {number}", "genres": ["Drama"]}
                assert client.put(f"/movies/m{number}", json=movie).status_code == 201
        with server.client("you") as client:
            for number in range(200):
                body = {"rate": 9}
                assert client.post(f"/movies/m{number}/users/rate", json=body).is_success
    return server.data


def refused(*command: str, data: Path, **settings: object) -> str:
    """The one line with which a command ends; nothing in the data folder was changed by it."""
    before = contents(data)
    done = run(*command, data=data, **settings)
    assert (done.returncode, done.stdout) == (2, ""), done
    line, end = done.stderr.removeprefix("marquee: ").split("\n")
    assert not end
    assert contents(data) == before
    return line


def run(*command: str, data: Path, **settings: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*POWERLESS, COMMAND, *command],
        check=False,
        env=environment(data=data, port=0, **settings),
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
    )


def contents(folder: Path) -> dict[str, bytes]:
    """Of all files, but not those which SQLite makes and takes away at will."""
    return {
        str(path): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("-shm", "-wal", ".lock"))
    }


def works_again(data: Path) -> None:
    server = Server(data.parent).start()
    try:
        with server.client("you") as client:
            assert client.get("/movies/m7/users/rate").json()["rate"] == 9
        server.stop()
    finally:
        server.kill()
    told("verify", data=data)


@pytest.mark.parametrize("command", ["serve", "erase --user you"])
def test_a_newer_schema(data: Path, command: str):
    database = data / "marquee.db"
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA user_version = 1000")
    line = refused(*command.split(), data=data)
    assert line.startswith(f"{database} was made by a newer Marquee (schema 1000, this one knows ")
    assert line.endswith("): upgrade Marquee, or restore a backup of that time.")


def test_somebody_elses_database(data: Path):
    database = data / "marquee.db"
    database.unlink()
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("CREATE TABLE notes (text)")
    assert refused("serve", data=data) == f"{database} is a database, but not one of Marquee's."


@pytest.mark.parametrize("command", ["serve", "top", "backup copy.zip"])
def test_no_database_at_all(data: Path, command: str):
    database = data / "marquee.db"
    database.write_bytes(b"Dear diary" * 1000)
    line = refused(*command.split(), data=data)
    assert line == f"{database} is damaged: restore a backup with `marquee restore`."


def test_a_damaged_header(data: Path):
    database = data / "marquee.db"
    damage(database, 0, 100)
    line = refused("serve", data=data)
    assert line == f"{database} is damaged: restore a backup with `marquee restore`."


def test_damaged_pages_are_found_and_a_backup_restores(data: Path, tmp_path: Path):
    database, copy = data / "marquee.db", tmp_path / "copy.zip"
    told("backup", copy, data=data)
    damage(database, 2 * PAGE, database.stat().st_size - 2 * PAGE)

    line = refused("serve", data=data)
    assert line == f"{database} is damaged: restore a backup with `marquee restore`."
    done = in_process("doctor", data=data)
    assert done.returncode == 1
    assert f"{database} is damaged" in done.stdout
    done = in_process("backup", str(tmp_path / "bad.zip"), data=data)
    assert done.returncode == 2
    assert not (tmp_path / "bad.zip").exists()

    told("restore", copy, data=data)
    works_again(data)


def test_damage_that_a_start_does_not_meet(data: Path):
    """Only some ratings can't be read: their calls say so, everything else goes on."""
    database = data / "marquee.db"
    with closing(sqlite3.connect(database)) as connection:
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'rating'"
        ).fetchone()
    damage(database, (root - 1) * PAGE, PAGE)
    server = Server(data.parent).start()
    try:
        with server.client("you") as client:
            answer = client.get("/movies/m7/users/rate")
            assert answer.status_code == 503
            assert answer.json()["detail"] == "The database file is damaged."
            assert client.post("/movies/m7/users/rate", json={"rate": 1}).status_code == 503
            assert len(client.get("/movies/top10").json()["result"]) == 10
            assert client.get("/movies/m7/ratings").json()["numberOfRatings"] == 1
        server.stop()
    finally:
        server.kill()
    done = marquee("verify", data=data)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1] == "marquee: The database file is damaged."


def test_a_folder_that_is_read_only(data: Path):
    data.chmod(0o555)
    try:
        for command in ("serve", "erase --user you"):
            line = refused(*command.split(), data=data)
            assert line.startswith(f"{data / 'marquee.db'} can't be written: give this user")
    finally:
        data.chmod(0o755)
    works_again(data)


def test_a_folder_in_which_nothing_can_be_made(tmp_path: Path):
    data = tmp_path / "data"
    data.mkdir(0o555)
    line = refused("serve", data=data)
    assert line.startswith(f"The data folder {data} can't be written (Permission denied): ")
    line = refused("migrate", data=data)
    assert line == f"{data / 'marquee.db'} can't be made: Permission denied."


def test_no_backup_without_the_keys_that_are_there(data: Path, tmp_path: Path):
    keys, copy = data / "keys", tmp_path / "copy.zip"
    keys.chmod(0)
    try:
        done = run("backup", str(copy), data=data)
    finally:
        keys.chmod(0o700)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(f"can't be made: Permission denied ({keys}).\n")
    assert not copy.exists()


def test_a_file_that_is_read_only(data: Path):
    database = data / "marquee.db"
    database.chmod(0o444)
    try:
        for command in ("serve", "erase --user you"):
            line = refused(*command.split(), data=data)
            assert line.startswith(f"{database} can't be written: give this user")
    finally:
        database.chmod(0o644)
    works_again(data)


@pytest.mark.parametrize("what", ["the folder", "the file", "both"])
def test_doctor_tells_what_cannot_be_written_from_what_is_damaged(data: Path, what: str):
    database = data / "marquee.db"
    read_only = {"the folder": [data], "the file": [database], "both": [database, data]}[what]
    for path in read_only:
        path.chmod(0o555)
    try:
        done = run("doctor", data=data)
    finally:
        data.chmod(0o755)
    assert (done.returncode, done.stderr) == (1, "")
    (line,) = (line for line in done.stdout.splitlines() if not line.endswith("all is well"))
    assert line.startswith(
        f"stores ({database}): {read_only[-1]} can't be written (Permission denied): give it to "
    )


def test_doctor_without_a_store_makes_none(tmp_path: Path):
    done = in_process("doctor", data=tmp_path / "data")
    assert (done.returncode, done.stderr) == (1, "")
    assert f"There is no store at {tmp_path / 'data' / 'marquee.db'}" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").touch()
    for command in ("serve", "migrate", "token --user you"):
        line = refused(*command.split(), data=tmp_path / "file" / "data")
        assert str(tmp_path / "file" / "data") in line


@pytest.mark.parametrize("command", ["serve", "top", "doctor"])
def test_a_folder_that_cannot_be_looked_into(tmp_path: Path, command: str):
    file, closed = tmp_path / "file", tmp_path / "closed"
    file.touch()
    closed.mkdir(0)
    for data, why in {file: "Not a directory", closed / "data": "Permission denied"}.items():
        line = refused(command, data=data)
        assert line.startswith(f"{data / 'marquee.db'} can't be reached ({why}): ")


def test_settings_in_a_folder_that_cannot_be_read(tmp_path: Path):
    for mode in (0, 0o300):  # may be neither entered nor listed; may be entered
        folder = tmp_path / str(mode)
        folder.mkdir(mode)
        line = refused("settings", "--config", str(folder), data=tmp_path)
        assert line == f"The settings in {folder} can't be read: Permission denied."


def test_a_second_serve(data: Path):
    server = Server(data.parent).start()
    try:
        says = f"A `marquee serve` runs on the data folder {data}: end it first, "
        for port in (0, server.address[1]):  # also where its port is in the way, too
            line = refused("serve", "--port", str(port), data=data)
            assert line.startswith(says)
        copy = str(data.parent / "copy.zip")
        told("backup", copy, data=data)
        assert refused("restore", copy, data=data).startswith(says)
        with server.client() as client:
            assert client.get("/health/ready").status_code == 200
    finally:
        server.kill()
    works_again(data)  # also behind one that was killed


def test_a_port_in_use(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = marquee("serve", "--port", str(port), data=tmp_path / "data")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"marquee: Nothing can be served at 127.0.0.1:{port} (Address already in use): "
        "name another --host or --port.\n"
    )
    assert not (tmp_path / "data").exists()


def test_no_address(tmp_path: Path):
    done = marquee("serve", "--host", "nowhere.invalid", data=tmp_path / "data")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("marquee: Nothing can be served at nowhere.invalid:8080 (")
    assert "Unknown error" not in done.stderr


def damage(file: Path, begin: int, size: int) -> None:
    with file.open("r+b") as opened:
        opened.seek(begin)
        opened.write(b"\xa5" * size)
