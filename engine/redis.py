"""Redis: one server, or a Cluster of three primaries and three replicas."""

import shutil
import subprocess
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from .errors import EngineError
from .part import Part
from .server import Server, ask

NEEDS = {"redis-server": lambda: shutil.which("redis-server")}
PING, PONG = b"PING\r\n", b"+PONG\r\n"
CLUSTER_SECONDS = 60

# What it keeps can be made anew: nothing is written to disk.
SETTINGS = {
    "bind": "127.0.0.1",
    "save": "",
    "appendonly": "no",
    "maxmemory": "256mb",
    "maxmemory-policy": "allkeys-lru",
    "repl-diskless-sync-delay": "0",
}


class RedisServer(Server):
    def __init__(self, folder: Path, port: int, **settings: object) -> None:
        super().__init__(folder)
        self.port = port
        self._settings = {**SETTINGS, "port": port, **settings}

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        options = (
            word for name, value in self._settings.items() for word in (f"--{name}", str(value))
        )
        return ["redis-server", *options]

    def answers(self) -> bool:
        return ask("127.0.0.1", self.port, PING, len(PONG)) == PONG


class Redis(Part):
    """``redis``: one server."""

    needs = NEEDS

    @cached_property
    def servers(self) -> Sequence[RedisServer]:
        return [RedisServer(self.folder / "redis", self.ports["redis"])]

    def variables(self) -> dict[str, str]:
        url = f"redis://{self.servers[0].address}"
        return {"MARQUEE_CACHE_URL": url, "MARQUEE_TEST_REDIS_URL": url}


class ClusterNode(RedisServer):
    def __init__(self, folder: Path, port: int, bus: int) -> None:
        cluster = {"cluster-enabled": "yes", "cluster-port": bus, "cluster-node-timeout": 2000}
        super().__init__(folder, port, **cluster)

    def meets(self) -> bool:
        """Whether it knows all slots as served, and all six nodes."""
        info = ask("127.0.0.1", self.port, b"CLUSTER INFO\r\n", 200)
        return b"cluster_state:ok" in info and b"cluster_known_nodes:6" in info


class RedisCluster(Part):
    """``redis-cluster``: three primaries, each with a replica."""

    needs = NEEDS

    @cached_property
    def servers(self) -> Sequence[ClusterNode]:
        names = [f"redis-{number}" for number in range(1, 7)]
        return [
            ClusterNode(self.folder / name, self.ports[name], self.ports[f"{name} bus"])
            for name in names
        ]

    def start(self) -> None:
        super().start()
        done = self.servers[0].folder / "cluster"
        if not done.exists():
            self._make_cluster()
            done.touch()
        for node in self.servers:
            node.wait_until(node.meets, "does not see the whole cluster")

    def _make_cluster(self) -> None:
        addresses = [node.address for node in self.servers]
        done = subprocess.run(
            ["redis-cli", "--cluster", "create", *addresses, "--cluster-replicas", "1",
             "--cluster-yes"],
            check=False,
            capture_output=True,
            text=True,
            timeout=CLUSTER_SECONDS,
        )  # fmt: skip
        if done.returncode:
            raise EngineError(f"the Redis Cluster can't be made:\n{done.stdout}{done.stderr}")

    def variables(self) -> dict[str, str]:
        hosts = ",".join(node.address for node in self.servers)
        return {"MARQUEE_CACHE_URL": f"redis+cluster://{hosts}"}
