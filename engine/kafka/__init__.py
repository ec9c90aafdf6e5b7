"""Apache Kafka 4.1: one broker, or three that are each a controller, too."""

import base64
import shutil
import struct
import subprocess
import uuid
from functools import cached_property
from pathlib import Path

from ..errors import EngineError
from ..java import JavaPart, JavaServer
from ..locks import alone
from ..packages import Jars
from ..server import ask

HERE = Path(__file__).parent
FLAGS = [
    *("-Xms64m", "-Xmx256m", "-XX:ReservedCodeCacheSize=64m"),
    f"-Dlog4j2.configurationFile={HERE / 'log4j2.xml'}",
]

SETTINGS = {
    "process.roles": "broker,controller",
    "inter.broker.listener.name": "PLAINTEXT",
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    "auto.create.topics.enable": "false",
    "unclean.leader.election.enable": "false",
    # A dead broker is known for one, and out of the in-sync set, after 2 to 3 s instead of 12.
    "broker.session.timeout.ms": 2000,
    "broker.heartbeat.interval.ms": 250,
    "controller.quorum.fetch.timeout.ms": 1000,
    "controller.quorum.election.timeout.ms": 500,
    "replica.lag.time.max.ms": 3000,
    "group.initial.rebalance.delay.ms": 0,
    # Small.
    "num.network.threads": 2,
    "num.io.threads": 2,
    "background.threads": 2,
    "num.replica.fetchers": 1,
    "offsets.topic.num.partitions": 4,
    "transaction.state.log.num.partitions": 4,
    "share.coordinator.state.topic.num.partitions": 1,
    "log.cleaner.threads": 1,
    "log.cleaner.dedupe.buffer.size": 2 * 1024 * 1024,
    "log.cleaner.io.buffer.size": 65536,
    "log.segment.bytes": 64 * 1024 * 1024,
    "log.index.size.max.bytes": 1024 * 1024,
}

# Metadata, version 1, of no topic: https://kafka.apache.org/protocol
METADATA = struct.pack(">hhih", 3, 1, 0, -1) + struct.pack(">i", 0)


class Broker(JavaServer):
    """One of ``cluster``, which tells what all of them agree on."""

    def __init__(self, folder: Path, jars: Jars, ports: tuple[int, int], cluster: "Kafka") -> None:
        super().__init__(folder, jars)
        self.port, self._controller_port = ports
        self._cluster = cluster

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def controller(self) -> str:
        return f"127.0.0.1:{self._controller_port}"

    @property
    def number(self) -> int:
        return self._cluster.servers.index(self)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def properties(self) -> Path:
        """The file of its settings."""
        return self.folder / "server.properties"

    def prepare(self) -> None:
        self.configure()
        if not (self.data / "meta.properties").exists():
            self.data.mkdir(exist_ok=True)
            shutil.copy(self._cluster.checkpoint, self.data)
            (self.data / "meta.properties").write_text(
                f"version=1\ncluster.id={self._cluster.id}\n"
                f"node.id={self.number}\ndirectory.id={kafka_uuid()}\n"
            )

    def configure(self) -> None:
        settings = {
            **SETTINGS,
            **self._cluster.agreed,
            "node.id": self.number,
            "log.dirs": self.data,
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://{self.controller}",
            "advertised.listeners": f"PLAINTEXT://{self.address}",
        }
        self.properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))

    def command(self) -> list[str]:
        return [*self.java(*FLAGS), "kafka.Kafka", str(self.properties)]

    def answers(self) -> bool:
        return self._living() > 0

    def meets(self) -> bool:
        """Whether it knows all the others as living."""
        return self._living() == len(self._cluster.servers)

    def _living(self) -> int:
        """How many brokers it knows."""
        question = struct.pack(">i", len(METADATA)) + METADATA
        answer = ask("127.0.0.1", self.port, question, 12)
        return struct.unpack(">iii", answer)[2] if len(answer) == 12 else 0


def kafka_uuid() -> str:
    """As Kafka writes them; one that began with a hyphen would be taken for an option."""
    while (word := base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=")).startswith(b"-"):
        pass
    return word.decode()


class Kafka(JavaPart):
    """``kafka``: one broker."""

    pom = HERE / "pom.xml"
    names: tuple[str, ...] = ("kafka",)

    @cached_property
    def servers(self) -> list[Broker]:
        return [
            Broker(
                self.folder / name,
                self.jars,
                (self.ports[name], self.ports[f"{name} controller"]),
                self,
            )
            for name in self.names
        ]

    @property
    def id(self) -> str:
        """The cluster's, made once."""
        file = self.folder / self.names[0] / "cluster.id"
        if not file.exists():
            file.write_text(kafka_uuid())
        return file.read_text()

    @property
    def checkpoint(self) -> Path:
        """The first record of every new cluster's log: nothing but the levels of its features."""
        return self.jars.folder / "bootstrap.checkpoint"

    @property
    def agreed(self) -> dict[str, object]:
        """The settings that follow from who is in it."""
        copies = len(self.servers)
        in_sync = max(1, copies - 1)
        voters = (f"{broker.number}@{broker.controller}" for broker in self.servers)
        return {
            "controller.quorum.voters": ",".join(voters),
            "default.replication.factor": copies,
            "min.insync.replicas": in_sync,
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": in_sync,
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": in_sync,
        }

    def fetch(self) -> None:
        self.jars.fetch()
        with alone(self.jars.folder / "checkpoint.lock"):
            if not self.checkpoint.exists():
                self._make_checkpoint()
        super().fetch()

    def _make_checkpoint(self) -> None:
        """Have Kafka format a folder once: a Java of its own for each broker takes longer."""
        (broker,) = self.single("formatting").servers
        shutil.rmtree(broker.folder, ignore_errors=True)
        broker.folder.mkdir()
        broker.configure()
        done = subprocess.run(
            [*broker.java(*FLAGS), "kafka.tools.StorageTool", "format", "-t", kafka_uuid(),
             "-c", broker.properties],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )  # fmt: skip
        if done.returncode:
            raise EngineError(f"Kafka can't format its folder:\n{done.stdout}{done.stderr}")
        shutil.copy(broker.data / "bootstrap.checkpoint", self.checkpoint)
        shutil.rmtree(broker.folder)

    def start(self) -> None:
        super().start()
        for broker in self.servers:
            broker.wait_until(broker.meets, "does not see the other brokers")

    def variables(self) -> dict[str, str]:
        return {"MARQUEE_EVENTS_URL": "kafka://" + ",".join(b.address for b in self.servers)}


class KafkaCluster(Kafka):
    """``kafka-cluster``: three brokers."""

    names = ("kafka-1", "kafka-2", "kafka-3")
