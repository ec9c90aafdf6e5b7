"""Marquee on servers: each role a process of its own, on stores of a test's own.

Each process has a port of its own; ``apart`` has the gateway that ships before all of them.
"""

import secrets
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from tests.support import engine, postgres
from tests.support.gateway import gateway
from tests.support.server import Served, Server, marquee

HTTP_ROLES = ("ratings", "movies", "top-rated", "best-pictures")
USES = {
    "ratings": {"ratings_url", "movies_url", "movies_read_url", "cache_url"},
    "movies": {"movies_url", "movies_read_url", "cache_url"},
    "top-rated": {"movies_url", "movies_read_url", "cache_url"},
    "best-pictures": {"movies_url", "movies_read_url", "cache_url"},
    "relay": {"ratings_url", "events_url"},
    "aggregator": {"events_url", "movies_url", "movies_read_url", "cache_url"},
    "refresher": {"movies_url", "movies_read_url", "cache_url"},
}
"""What each role is told of stores."""

STORES = set().union(*USES.values())
ROLES = tuple(USES)


@contextmanager
def stores(
    *, events: str = "kafka", servers: dict[str, str] | None = None
) -> Iterator[dict[str, str]]:
    """Settings that name a keyspace, a log, databases and a prefix which nobody else uses, on the
    shared servers or on those given; empty, not migrated yet."""
    parts = ("cassandra", events, "postgres", "redis")
    given = servers or engine.need(*parts)
    name = f"test_{secrets.token_hex(8)}"
    log = "MARQUEE_EVENTS_URL" if events == "kafka" else "MARQUEE_TEST_RABBITMQ_URL"
    with ExitStack() as stack:
        shards = [
            stack.enter_context(database(url, name)) for url in given["MARQUEE_MOVIES_URL"].split()
        ]
        replicas = given.get("MARQUEE_MOVIES_READ_URL", "").split()
        yield {
            "ratings_url": in_path(given["MARQUEE_RATINGS_URL"], name),
            "events_url": f"{given[log]}?{'topic' if events == 'kafka' else 'queue'}={name}",
            "movies_url": " ".join(shards),
            "movies_read_url": " ".join(in_path(url, name) for url in replicas),
            "cache_url": f"{given['MARQUEE_CACHE_URL']}?prefix={name}",
        }


@contextmanager
def database(server: str, name: str) -> Iterator[str]:
    postgres.execute(server, f"CREATE DATABASE {name}")
    try:
        yield in_path(server, name)
    finally:
        postgres.drop(server, name)


def in_path(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


class System:
    """A process of each role, or as many as ``each`` says, by name: ``ratings-1``; each is told of
    the stores of its role alone. Migrated, and ready when ``start`` returns."""

    def __init__(
        self, folder: Path, each: Mapping[str, int] | None = None, **settings: object
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.processes = {
            f"{role}-{number}": Server(folder, role, name=f"{role}-{number}", **its)
            for role in ROLES
            if (its := {name: settings[name] for name in settings.keys() - (STORES - USES[role])})
            for number in range(1, 1 + (each or {}).get(role, 1))
        }

    def command(self, *arguments: str, status: int = 0) -> str:
        """What a command prints that ends with this exit status, be it after minutes."""
        done = marquee(*arguments, within=900, data=self.folder / "data", **self.settings)
        assert done.returncode == status, done
        return done.stdout

    def start(self) -> None:
        self.command("migrate")
        for process in self.processes.values():
            process.launch()
        for process in self.processes.values():
            process.started()

    def of(self, role: str) -> Sequence[Server]:
        return [p for name, p in self.processes.items() if name.rpartition("-")[0] == role]

    def stop(self) -> None:
        alive = [process for process in self.processes.values() if process.alive]
        for process in alive:
            process.signal(signal.SIGTERM)
        for process in alive:
            process.ended()

    def kill(self) -> None:
        for process in self.processes.values():
            process.kill()


@contextmanager
def system(
    folder: Path,
    each: Mapping[str, int] | None = None,
    *,
    events: str = "kafka",
    servers: dict[str, str] | None = None,
    **settings: object,
) -> Iterator[System]:
    """From start to stop; killed where the test itself went wrong. ``events`` and ``servers``: as
    for ``stores``."""
    with stores(events=events, servers=servers) as urls:
        found = System(folder, each, **urls | settings)
        try:
            found.start()
            yield found
            found.stop()
        finally:
            found.kill()


class Apart(Served):
    """The whole of it behind one address, to be asked as one server."""

    def __init__(self, system: System, url: str) -> None:
        self.system = system
        self.url = url
        self.data = system.folder / "data"

    @property
    def log(self) -> str:
        """What all processes have logged."""
        return "".join(process.log for process in self.system.processes.values())


@contextmanager
def apart(
    folder: Path, each: Mapping[str, int] | None = None, **settings: object
) -> Iterator[Apart]:
    settings = {"trusted_proxies": "127.0.0.1", **settings}
    with system(folder, each, **settings) as found:
        upstreams = {
            role.replace("-", "_"): [process.url for process in found.of(role)]
            for role in HTTP_ROLES
        }
        with gateway(folder / "gateway", upstreams) as url:
            yield Apart(found, url)
