"""All parts in one folder: started, stopped, and named to whoever wants to use them."""

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from subprocess import SubprocessError
from time import monotonic

from . import packages
from .cassandra import Cassandra, CassandraRing
from .docker import Docker
from .errors import EngineError
from .kafka import Kafka, KafkaCluster
from .locks import alone
from .packages import say
from .part import Part
from .ports import Ports
from .postgres import Postgres, PostgresReplicated
from .rabbitmq import RabbitMq
from .redis import Redis, RedisCluster
from .server import Server

ROOT = Path(__file__).resolve().parent.parent

# The slowest to start come first.
PARTS: dict[str, type[Part]] = {
    "rabbitmq": RabbitMq,
    "cassandra": Cassandra,
    "cassandra-ring": CassandraRing,
    "kafka": Kafka,
    "kafka-cluster": KafkaCluster,
    "postgres": Postgres,
    "postgres-replicated": PostgresReplicated,
    "redis": Redis,
    "redis-cluster": RedisCluster,
    "docker": Docker,
}
SETS = {
    "small": ["rabbitmq", "cassandra", "kafka", "postgres", "redis"],
    "full": [
        "rabbitmq",
        "cassandra-ring",
        "kafka-cluster",
        "postgres-replicated",
        "redis",
        "redis-cluster",
    ],
}


def parts_named(names: Iterable[str]) -> list[str]:
    """Sets and parts as parts."""
    wanted = {part for name in names for part in SETS.get(name, [name])}
    return [name for name in PARTS if name in wanted]


class Engine:
    """``folder`` has a folder for each server; ``cache`` the jars, which several may share."""

    def __init__(self, folder: Path, cache: Path | None = None) -> None:
        self.folder = folder.absolute()
        self.cache = (cache or self.folder / "cache").absolute()
        self._ports = Ports(self.folder / "ports.json")

    @cached_property
    def parts(self) -> dict[str, Part]:
        return {name: part(self.folder, self.cache, self._ports) for name, part in PARTS.items()}

    def server(self, name: str) -> Server:
        """By its name, as its folder is called."""
        for part in self.parts.values():
            for server in part.servers:
                if server.name == name:
                    return server
        raise EngineError(f"there is no server {name!r}")

    @property
    def wanted(self) -> list[str]:
        """The parts that somebody started, and that were not stopped since."""
        return [
            name
            for name, part in self.parts.items()
            if part.wanted and not self.borrowed(name).exists()
        ]

    def borrowed(self, name: str) -> Path:
        """There while a part runs for tests alone, which stop it when the last of them is done."""
        return self.folder / "borrowed" / name

    def borrowing(self) -> AbstractContextManager[None]:
        """One at a time: nobody else begins or ends to borrow meanwhile."""
        return alone(self.folder / "borrowed.lock")

    def keep(self, names: Iterable[str]) -> None:
        """Let these run on whatever tests do: somebody asked for them."""
        with self.borrowing():
            for name in names:
                self.borrowed(name).unlink(missing_ok=True)

    def fetch(self, names: Sequence[str]) -> None:
        """Install and fetch what these parts are made of. Raises ``EngineError``."""
        with alone(self.folder / "lock"):
            self._each(names, lambda part: part.fetch())

    def start(self, names: Sequence[str]) -> None:
        """Have these parts answer; only what is missing is started. Raises ``EngineError`` for
        those that can't be had, after all the others were."""
        with alone(self.folder / "lock"):
            self._each(names, self._start)

    def stop(self, names: Sequence[str] = ()) -> None:
        """End these parts, or all that was started."""
        with alone(self.folder / "lock"):
            for name in names or PARTS:
                self.parts[name].stop()

    def variables(self, names: Sequence[str]) -> dict[str, str]:
        """What leads to these parts; of two that do the same, the larger counts."""
        found: dict[str, str] = {}
        for name in names:
            found |= self.parts[name].variables()
        return found

    def _each(self, names: Sequence[str], work: Callable[[Part], None]) -> None:
        if sys.platform != "linux":
            raise EngineError("the servers are started on Linux alone")
        complaints = self._install(names)
        ready = [name for name in names if not missing(self.parts[name])]
        with ThreadPoolExecutor(max_workers=len(PARTS)) as pool:
            futures = [(name, pool.submit(work, self.parts[name])) for name in ready]
        for name, future in futures:
            try:
                future.result()
            except (EngineError, OSError, SubprocessError) as error:
                complaints.append(f"{name}: {error}")
        if complaints:
            raise EngineError("\n".join(complaints))

    def _install(self, names: Sequence[str]) -> list[str]:
        packages_missing = sorted({need for name in names for need in missing(self.parts[name])})
        if not packages_missing:
            return []
        try:
            packages.install(packages_missing)
        except EngineError as error:
            return [str(error)]
        return [
            f"{name}: {need} is installed, and is not what is needed"
            for name in names
            for need in missing(self.parts[name])
        ]

    def _start(self, part: Part) -> None:
        begun = monotonic()
        part.fetch()
        living = {server.name for server in part.servers if server.pid}
        part.start()
        for server in part.servers:
            if server.name not in living:
                say(f"{server.name} answers, pid {server.pid}, {monotonic() - begun:.1f} s")


def default_engine() -> Engine:
    """The one of this checkout, or of the folder that MARQUEE_TEST_ENGINE names."""
    folder = os.environ.get("MARQUEE_TEST_ENGINE") or ROOT / ".engine"
    cache = os.environ.get("MARQUEE_TEST_ENGINE_CACHE")
    return Engine(Path(folder), Path(cache) if cache else None)


def missing(part: Part) -> list[str]:
    """The packages that this part lacks."""
    return [name for name, found in part.needs.items() if not found()]
