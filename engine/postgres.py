"""PostgreSQL: two shards, each a primary, and at will a streaming replica of each."""

import os
import pwd
import shutil
import signal
import struct
import subprocess
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from .errors import EngineError
from .part import Part
from .server import Server, ask

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
    "wal_retrieve_retry_interval": "500ms",
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

# Who begins to log in is asked for a password, or told that it is no time for it.
LOGIN = f"user\0{ADMIN}\0\0".encode()
STARTUP = struct.pack(">iHH", 8 + len(LOGIN), 3, 0) + LOGIN
AUTHENTICATION = b"R"

ENVIRONMENT = os.environ | {"PGPASSWORD": PASSWORD, "PGCONNECT_TIMEOUT": "3", "LC_ALL": "C.UTF-8"}
RUN_SECONDS = 120


def program(name: str) -> str | None:
    """Debian keeps each version's programs apart, and most of them off the path."""
    versions = sorted(Path("/usr/lib/postgresql").glob("*"), key=lambda folder: float(folder.name))
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
            env=ENVIRONMENT,
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
        return f"postgresql://{user}:{PASSWORD}@{self.address}/{DATABASE}"

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

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

    @property
    def by_admin(self) -> tuple[str, ...]:
        """How PostgreSQL's programs connect as the superuser."""
        return ("-h", "127.0.0.1", "-p", str(self.port), "-U", ADMIN)

    def answers(self) -> bool:
        return ask("127.0.0.1", self.port, STARTUP, 1) == AUTHENTICATION

    def query(self, sql: str) -> str:
        """The one value that a query gives; "" where it fails."""
        done = subprocess.run(
            as_owner("psql", *self.by_admin, "-d", "postgres", "-qXAtc", sql),
            check=False,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
        )
        return done.stdout.strip()


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
            options = "-qX", "-v", "ON_ERROR_STOP=1", "-d", "postgres"
            run(self.folder, as_owner("psql", *self.by_admin, *options), SET_UP)
            done.touch()

    def back_up(self) -> None:
        """Take a base backup while it runs, in place of the last one."""
        shutil.rmtree(self.backup, ignore_errors=True)
        base_backup(self.folder, self, self.backup)

    def restore(self) -> None:
        """End it, and start it again from the backup."""
        self.kill()
        shutil.rmtree(self.data)
        run(self.folder, ["cp", "-a", str(self.backup), str(self.data)])
        self.start()

    @property
    def backup(self) -> Path:
        return self.folder / "backup"


def base_backup(folder: Path, primary: Primary, to: Path, *options: str) -> None:
    options = ("-D", str(to), "--checkpoint=fast", "--no-sync", *options)
    run(folder, as_owner("pg_basebackup", *primary.by_admin, *options))


class Replica(Database):
    """Streams from its primary, and keeps, in a slot, what it has not had yet."""

    def __init__(self, folder: Path, port: int, primary: Primary) -> None:
        super().__init__(folder, port)
        self.primary = primary

    def make(self, data: Path) -> None:
        slot = self.name.replace("-", "_")
        options = "--write-recovery-conf", "--create-slot", f"--slot={slot}"
        base_backup(self.folder, self.primary, data, *options)

    def follows(self) -> bool:
        """Whether it takes what its primary writes."""
        return self.query("SELECT status FROM pg_stat_wal_receiver") == "streaming"

    def promote(self) -> None:
        """Make it a primary itself, and wait until it is one."""
        run(self.folder, as_owner("pg_ctl", "promote", "-D", str(self.data)))


ASTRAY = "does not follow its primary; engine stop it, remove its folder, and start it anew"
NEEDS = {"postgresql": lambda: program("postgres")}


class Postgres(Part):
    """``postgres``: two shards."""

    needs = NEEDS

    names: tuple[str, ...] = ("postgres-1", "postgres-2")

    @cached_property
    def primaries(self) -> list[Primary]:
        return [Primary(self.folder / name, self.ports[name]) for name in self.names]

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
    """``postgres-replicated``: two shards, and a replica of each."""

    names = ("postgres-1-primary", "postgres-2-primary")

    @cached_property
    def replicas(self) -> list[Replica]:
        names = [name.replace("primary", "replica") for name in self.names]
        return [
            Replica(self.folder / name, self.ports[name], primary)
            for name, primary in zip(names, self.primaries, strict=True)
        ]

    @property
    def servers(self) -> Sequence[Database]:
        return [*self.primaries, *self.replicas]

    def start(self) -> None:
        super().start()
        for replica in self.replicas:
            replica.wait_until(replica.follows, ASTRAY)

    def variables(self) -> dict[str, str]:
        pairs = list(zip(self.primaries, self.replicas, strict=True))
        return super().variables() | {
            "MARQUEE_MOVIES_URL": " ".join(whoever_writes(*pair) for pair in pairs),
            "MARQUEE_MOVIES_READ_URL": " ".join(replica.url() for _, replica in pairs),
        }


def whoever_writes(primary: Primary, replica: Replica) -> str:
    """The URL that leads to the replica, too, once it was promoted: libpq asks one by one."""
    both = primary.url().replace(primary.address, f"{primary.address},{replica.address}")
    return f"{both}?target_session_attrs=read-write"
