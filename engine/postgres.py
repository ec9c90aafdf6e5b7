"""PostgreSQL: two shards, each a primary, and at will a streaming replica of each."""

import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from .errors import EngineError
from .part import Part
from .server import Server

DATABASE = "movieratedb"
USER = PASSWORD = "marquee"
ADMIN = "postgres"
"""The superuser; Marquee itself connects as one who is none. They share the password."""

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a path of more than 107 bytes could not be one
    "max_connections": 200,
    "shared_buffers": "32MB",
    "max_wal_size": "512MB",
    "wal_level": "logical",
    "max_slot_wal_keep_size": "1GB",
    "hot_standby_feedback": "on",
    "dynamic_shared_memory_type": "mmap",
    "log_min_messages": "warning",
    "log_line_prefix": "%m [%p] ",
    "cluster_name": "marquee",
}

# What only a superuser may, done once for this and, in the template, for every later database.
SET_UP = f"""
CREATE ROLE {USER} LOGIN CREATEDB PASSWORD '{PASSWORD}';
GRANT pg_monitor TO {USER};
\\connect template1
CREATE EXTENSION postgres_fdw;
GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw TO {USER};
\\connect postgres
CREATE DATABASE {DATABASE} OWNER {USER};
"""

RUN_SECONDS = 120


def program(name: str) -> str | None:
    """Debian keeps each version's programs apart, and most of them off the path."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*"), key=lambda folder: int(folder.name))
    folders = [str(version / "bin") for version in reversed(versions)]
    return shutil.which(name, path=os.pathsep.join([*folders, os.environ.get("PATH", "")]))


def owner() -> pwd.struct_passwd:
    """Whom the data belong to: PostgreSQL refuses to be run by root."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def as_owner(name: str, *arguments: str) -> list[str]:
    """The command line of one of its programs. Root's home, where this folder may be, is closed to
    others: what it runs may pass through all the same."""
    found = program(name)
    if found is None:
        raise EngineError(f"PostgreSQL's {name} is not installed")
    if os.geteuid() != 0:
        return [found, *arguments]
    who = owner()
    rights = "+dac_override"
    return [
        *("setpriv", f"--reuid={who.pw_uid}", f"--regid={who.pw_gid}", "--clear-groups"),
        *(f"--inh-caps={rights}", f"--ambient-caps={rights}", found, *arguments),
    ]


def run(folder: Path, words: Sequence[str], given: str = "") -> None:
    """Run a program to its end, its output in the log. Raises ``EngineError``."""
    with (folder / "log").open("ab") as log:
        done = subprocess.run(
            words,
            check=False,
            cwd=folder,
            env=os.environ | {"PGPASSWORD": PASSWORD, "LC_ALL": "C.UTF-8"},
            input=given.encode(),
            stdout=log,
            stderr=log,
            timeout=RUN_SECONDS,
        )
    if done.returncode:
        raise EngineError(f"{folder.name} can't be made, see {folder / 'log'}")


class Database(Server):
    """What primaries and replicas share."""

    stop_signal = signal.SIGINT

    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder)
        self.port = port

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def url(self, user: str = USER) -> str:
        return f"postgresql://{user}:{PASSWORD}@127.0.0.1:{self.port}/{DATABASE}"

    def prepare(self) -> None:
        if not self.data.exists():
            begun = self.folder / "begun"
            shutil.rmtree(begun, ignore_errors=True)
            begun.mkdir(mode=0o700)
            who = owner()
            os.chown(begun, who.pw_uid, who.pw_gid)
            self.make(begun)
            begun.rename(self.data)

    def make(self, data: Path) -> None:
        """Fill the folder, which is empty, with a database."""
        raise NotImplementedError

    def command(self) -> list[str]:
        settings = SETTINGS | {"port": self.port}
        options = [f"-c{name}={value}" for name, value in settings.items()]
        return as_owner("postgres", "-D", str(self.data), *options)

    def answers(self) -> bool:
        return run_quietly(as_owner("pg_isready", "-q", "-h127.0.0.1", f"-p{self.port}"))


def run_quietly(words: Sequence[str]) -> bool:
    return subprocess.run(words, check=False, timeout=RUN_SECONDS).returncode == 0


class Primary(Database):
    def make(self, data: Path) -> None:
        words = ["-D", str(data), "-U", ADMIN, "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]
        password = data.parent / "password"
        password.write_text(PASSWORD)
        words += ["--auth=scram-sha-256", f"--pwfile={password}"]
        run(self.folder, as_owner("initdb", *words))

    def start(self) -> None:
        super().start()
        done = self.folder / "set-up"
        if not done.exists():
            psql = as_owner("psql", "-qXv", "ON_ERROR_STOP=1", "-h127.0.0.1", f"-p{self.port}")
            run(self.folder, [*psql, "-U", ADMIN, "postgres"], SET_UP)
            done.touch()


class Replica(Database):
    """Streams from its primary, and keeps, in a slot, what it has not had yet."""

    def __init__(self, folder: Path, port: int, primary: Primary) -> None:
        super().__init__(folder, port)
        self.primary = primary

    def make(self, data: Path) -> None:
        slot = self.name.replace("-", "_")
        words = ["-D", str(data), "-h127.0.0.1", f"-p{self.primary.port}", "-U", ADMIN]
        words += ["--write-recovery-conf", "--create-slot", f"--slot={slot}", "--checkpoint=fast"]
        run(self.folder, as_owner("pg_basebackup", *words, "--no-sync"))


NEEDS = {"postgresql": lambda: program("postgres")}


class Postgres(Part):
    """``postgres``: two shards."""

    needs = NEEDS

    @cached_property
    def primaries(self) -> list[Primary]:
        names = ("postgres-1", "postgres-2")
        return [Primary(self.folder / name, self.ports[name]) for name in names]

    @property
    def servers(self) -> Sequence[Database]:
        return self.primaries

    def start(self) -> None:
        for server in self.servers:
            server.start()

    def variables(self) -> dict[str, str]:
        return {
            "MARQUEE_MOVIES_URL": " ".join(each.url() for each in self.primaries),
            "MARQUEE_TEST_POSTGRES_ADMIN_URL": " ".join(e.url(ADMIN) for e in self.primaries),
        }


class PostgresReplicated(Postgres):
    """``postgres-replicated``: the same two shards, and a replica of each."""

    @cached_property
    def replicas(self) -> list[Replica]:
        names = [f"{primary.name}-replica" for primary in self.primaries]
        return [
            Replica(self.folder / name, self.ports[name], primary)
            for name, primary in zip(names, self.primaries, strict=True)
        ]

    @property
    def servers(self) -> Sequence[Database]:
        return [*self.primaries, *self.replicas]

    def variables(self) -> dict[str, str]:
        urls = " ".join(replica.url() for replica in self.replicas)
        return super().variables() | {"MARQUEE_MOVIES_READ_URL": urls}
