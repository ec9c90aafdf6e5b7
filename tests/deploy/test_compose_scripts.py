"""Compose's scripts, without containers: passwords, and PostgreSQL with its replica."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from engine.ports import free_port
from engine.postgres import (
    ADMIN,
    PASSWORD,
    SETTINGS,
    Database,
    Primary,
    Replica,
    as_owner,
    owner,
    program,
)
from tests.api.asking import eventually
from tests.support.docker import ROOT
from tests.support.engine import running

SCRIPTS = ROOT / "deploy/compose"
VOLUMES = {
    "for-postgres": {"postgres", "marquee", "replication"},
    "for-replica": {"replication"},
    "for-roles": {"settings.toml"},
    "for-grafana": {"grafana"},
}

pytestmark = pytest.mark.servers


# ---- passwords -----------------------------------------------------------------------------------


def make_passwords(volumes: Path) -> int:
    words = [sys.executable, SCRIPTS / "passwords.py", volumes]
    return subprocess.run(words, check=False, capture_output=True, timeout=60).returncode


def made(volumes: Path) -> dict[str, str]:
    return {
        f"{file.parent.name}/{file.name}": file.read_text() for file in volumes.glob("for-*/[!.]*")
    }


@pytest.fixture
def volumes(tmp_path: Path) -> Path:
    for name in VOLUMES:
        (tmp_path / "volumes" / name).mkdir(parents=True)
    return tmp_path / "volumes"


def test_each_has_its_own_passwords_alone(volumes: Path) -> None:
    assert make_passwords(volumes) == 0
    found = made(volumes)
    assert found.keys() == {f"{name}/{file}" for name, files in VOLUMES.items() for file in files}
    assert found["for-replica/replication"] == found["for-postgres/replication"]
    settings = tomllib.loads(found["for-roles/settings.toml"])
    for url in (settings["movies_url"], settings["movies_read_url"]):
        assert url.startswith(f"postgresql://marquee:{found['for-postgres/marquee']}@")
    own = {found[f"for-postgres/{name}"] for name in ("postgres", "marquee", "replication")}
    assert len(own | {found["for-grafana/grafana"]}) == 4
    assert make_passwords(volumes) == 0
    assert made(volumes) == found


@pytest.mark.parametrize("missing", VOLUMES)
def test_passwords_that_were_cut_short_go_on(volumes: Path, missing: str) -> None:
    (volumes / missing).rmdir()
    assert make_passwords(volumes) != 0
    before = made(volumes)
    (volumes / missing).mkdir()
    for file in VOLUMES[missing]:
        (volumes / missing / f".{file}").write_text("half")
    assert make_passwords(volumes) == 0
    assert made(volumes).items() >= before.items()
    assert len(made(volumes)) == sum(map(len, VOLUMES.values()))


# ---- PostgreSQL ----------------------------------------------------------------------------------


def around(**variables: object) -> dict[str, str]:
    """What a script finds: PostgreSQL's programs, and these."""
    found = program("postgres")
    assert found is not None
    path = f"{Path(found).parent}:{os.environ['PATH']}"
    return os.environ | {"PATH": path} | {key: str(value) for key, value in variables.items()}


class First(Primary):
    """A primary that ``primary.sh`` sets up."""

    def __init__(self, folder: Path, volumes: Path) -> None:
        super().__init__(folder, free_port(set()))
        self._volume = volumes / "for-postgres"

    def start(self) -> None:
        Database.start(self)

    def set_up(self) -> None:
        environment = around(
            PGHOST="127.0.0.1",
            PGPORT=self.port,
            PGPASSWORD=PASSWORD,
            PGDATA=self.data,
            POSTGRES_USER=ADMIN,
            MARQUEE_PASSWORD_FILE=self._volume / "marquee",
            REPLICATION_PASSWORD_FILE=self._volume / "replication",
        )
        words = ["bash", "-e", SCRIPTS / "primary.sh"]
        subprocess.run(words, check=True, capture_output=True, env=environment, timeout=60)
        self.stop()  # as the image's own script does: who may connect is read at a start
        self.start()


class Copy(Replica):
    """What ``replica.sh`` starts, its volume in ``folder``."""

    def __init__(self, folder: Path, volumes: Path, primary: Primary) -> None:
        super().__init__(folder, free_port({primary.port}), primary)
        self._password = volumes / "for-replica/replication"
        self.path = ""

    @property
    def data(self) -> Path:
        return self.folder / "volume/copy"

    def prepare(self) -> None:
        self.data.parent.mkdir(exist_ok=True)
        os.chown(self.data.parent, owner().pw_uid, owner().pw_gid)

    def command(self) -> list[str]:
        settings = SETTINGS | {"port": self.port}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return as_owner("bash", str(SCRIPTS / "replica.sh"), *options)

    def environment(self) -> dict[str, str]:
        """The address stands in for a network that knows the primary by its name."""
        found = around(
            PGDATA=self.data,
            PGHOSTADDR="127.0.0.1",
            PGPORT=self.primary.port,
            REPLICATION_PASSWORD_FILE=self._password,
        )
        return found | {"PATH": self.path + found["PATH"]}


@pytest.fixture
def primary(tmp_path: Path, volumes: Path) -> Iterator[First]:
    assert make_passwords(volumes) == 0
    first = First(tmp_path / "primary", volumes)
    with running(first.start, first.stop):
        first.set_up()
        yield first


@pytest.fixture
def copy(tmp_path: Path, volumes: Path, primary: First) -> Iterator[Copy]:
    second = Copy(tmp_path / "replica", volumes, primary)
    try:
        yield second
    finally:
        second.stop()


def test_a_replica_copies_its_primary_once(primary: First, copy: Copy) -> None:
    start_and_cut_short(copy)
    copy.start()
    copy.wait_until(copy.follows, "does not follow")
    write(primary, "CREATE TABLE said AS SELECT 1 AS word")
    copy.wait_until(lambda: said(copy) == "1", "has not what its primary has")

    copy.stop()
    primary.kill()
    copy.start()
    assert said(copy) == "1"

    copy.promote()
    write(copy, "INSERT INTO said VALUES (2)")
    copy.kill()
    copy.start()
    assert said(copy) == "1,2"


def start_and_cut_short(copy: Copy) -> None:
    """In the midst of a copy that would take a quarter of an hour."""
    slow = copy.folder / "slow"
    slow.mkdir(parents=True)
    (slow / "pg_basebackup").write_text(
        f'#!/bin/sh\nexec {program("pg_basebackup")} --max-rate=32k "$@"\n'
    )
    (slow / "pg_basebackup").chmod(0o755)
    copy.path = f"{slow}:"
    copy.launch()
    begun = copy.data.with_name("copy.begun")
    eventually(lambda: len(list(begun.glob("*"))), lambda number: number > 1)
    copy.kill()
    copy.path = ""
    assert any(begun.iterdir())
    assert not copy.data.exists()


def test_a_promoted_replica_is_the_primary_until_it_is_taken_back(
    primary: First, copy: Copy, volumes: Path
) -> None:
    settings = tomllib.loads((volumes / "for-roles/settings.toml").read_text())
    both = f"{primary.address},{copy.address}"
    url = settings["movies_url"].replace("postgres,postgres-replica", both)

    def writes(server: Database) -> None:
        with psycopg.connect(url, connect_timeout=30) as connection:
            assert connection.info.port == server.port
            connection.execute("CREATE TABLE IF NOT EXISTS written (by int)")
            connection.execute("INSERT INTO written VALUES (%s)", [server.port])

    copy.start()
    copy.wait_until(copy.follows, "does not follow")
    assert not taken_back(primary, copy)
    primary.kill()
    copy.promote()
    (primary.data / "standby.signal").touch()
    primary.start()
    writes(copy)

    primary.stop()
    copy.stop()
    assert taken_back(primary, copy)
    assert not taken_back(primary, copy)
    primary.start()
    writes(primary)
    copy.start()
    copy.wait_until(copy.follows, "does not follow")
    with psycopg.connect(url, connect_timeout=30) as connection:
        rows = connection.execute("SELECT by FROM written").fetchall()
    assert rows == [(copy.port,), (primary.port,)]


def taken_back(primary: Primary, copy: Copy) -> bool:
    words = ["bash", SCRIPTS / "take-back.sh", copy.data]
    environment = around(PGDATA=primary.data)
    done = subprocess.run(words, check=False, capture_output=True, env=environment, timeout=120)
    return done.returncode == 0


def write(server: Database, sql: str) -> None:
    url = make_conninfo(server.url(ADMIN), dbname="postgres", connect_timeout=30)
    with psycopg.connect(url) as connection:
        connection.execute(sql)


def said(server: Database) -> str:
    return server.query("SELECT string_agg(word::text, ',' ORDER BY word) FROM said")
