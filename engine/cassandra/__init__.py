"""Apache Cassandra 5.0: one node, or a ring of three at 127.0.0.1, .2 and .3."""

import shlex
import socket
import struct
from functools import cached_property
from pathlib import Path
from string import Template

from ..java import JavaPart, JavaServer
from ..packages import Jars

HERE = Path(__file__).parent
TOKENS = 2**64

# Cassandra reaches into these rooms of Java 17, which are closed unless they are named.
EXPORTS = [
    *("java.base/java.lang.ref", "java.base/jdk.internal.misc", "java.sql/java.sql"),
    *("java.management.rmi/com.sun.jmx.remote.internal.rmi", "java.rmi/sun.rmi.registry"),
    *("java.rmi/sun.rmi.server", "jdk.attach/sun.tools.attach", "jdk.unsupported/sun.misc"),
    "jdk.compiler/com.sun.tools.javac.file",
]
OPENS = [
    *("java.base/java.io", "java.base/java.lang", "java.base/java.lang.module"),
    *("java.base/java.lang.reflect", "java.base/java.nio", "java.base/java.util"),
    *("java.base/jdk.internal.loader", "java.base/jdk.internal.math"),
    *("java.base/jdk.internal.module", "java.base/jdk.internal.ref"),
    *("java.base/jdk.internal.reflect", "java.base/jdk.internal.util.jar", "java.base/sun.nio.ch"),
    *("jdk.compiler/com.sun.tools.javac", "jdk.management/com.sun.management.internal"),
]

ROOMS = [
    *(f"--add-exports={room}=ALL-UNNAMED" for room in EXPORTS),
    *(f"--add-opens={room}=ALL-UNNAMED" for room in OPENS),
]

LOGGING = f"-Dlogback.configurationFile={HERE / 'logback.xml'}"

FLAGS = [
    *("-Xms96m", "-Xmx512m", "-XX:MaxDirectMemorySize=128m"),
    *ROOMS,
    # The archive of classes is refused beside an agent otherwise.
    *("-XX:+UnlockDiagnosticVMOptions", "-XX:+AllowArchivingWithJavaAgent"),
    *("-Djdk.attach.allowAttachSelf=true", "-Dio.netty.tryReflectionSetAccessible=true"),
    *("-Dio.netty.eventLoopThreads=2", "-Dcassandra.libjemalloc=-"),
    LOGGING,
    # On one machine there is nothing to wait for, nor to measure anew at each start.
    *("-Dcassandra.skip_wait_for_gossip_to_settle=0", "-Dcassandra.ring_delay_ms=100"),
    *("-Dcassandra.superuser_setup_delay_ms=2000", "-Dcassandra.memtable.row_overhead_size=180"),
]

# The native protocol, version 4: https://cassandra.apache.org/doc/latest/cassandra/reference
STARTUP, OPTIONS, SUPPORTED, QUERY, RESULT = 1, 5, 6, 7, 8
QUORUM_OF_ALL = 3
NODE_TOOL = "org.apache.cassandra.tools.NodeTool"
WITH_EVERYBODY = "SELECT view_name FROM system_distributed.view_build_status"


class Node(JavaServer):
    """Number ``index`` of ``count``, which have the ring in equal shares."""

    def __init__(
        self, folder: Path, jars: Jars, ports: tuple[int, int, int], *, index: int, count: int
    ):
        super().__init__(folder, jars)
        self.host = f"127.0.0.{index + 1}"
        self.port, self._storage_port, self._jmx_port = ports
        self._token = index * (TOKENS // count) - TOKENS // 2 + 1

    def prepare(self) -> None:
        (self.folder / "tmp").mkdir(exist_ok=True)
        template = Template((HERE / "cassandra.yaml").read_text("utf-8"))
        yaml = template.substitute(
            folder=self.folder,
            host=self.host,
            port=self.port,
            storage_port=self._storage_port,
            token=self._token,
        )
        (self.folder / "cassandra.yaml").write_text(yaml)
        words = [*self.java("-Xmx64m", LOGGING, *ROOMS), NODE_TOOL, f"-p{self._jmx_port}"]
        self.nodetool.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        self.nodetool.chmod(0o755)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def nodetool(self) -> Path:
        """The command that asks this node."""
        return self.folder / "nodetool"

    def command(self) -> list[str]:
        (jamm,) = self.jars.jars.glob("jamm-*.jar")
        return [
            *self.java(
                *FLAGS,
                f"-javaagent:{jamm}",
                f"-Dcassandra.config={(self.folder / 'cassandra.yaml').as_uri()}",
                f"-Dcassandra.storagedir={self.folder}",
                f"-Dcassandra.logdir={self.folder}",
                f"-Dcassandra.jmx.local.port={self._jmx_port}",
                f"-Djava.io.tmpdir={self.folder}/tmp",
                "-Dcassandra-foreground=yes",
            ),
            "org.apache.cassandra.service.CassandraDaemon",
        ]

    def answers(self) -> bool:
        with self._connect() as connection:
            return exchange(connection, OPTIONS, b"") == SUPPORTED

    def meets(self) -> bool:
        """Whether it reads together with all the others: seconds after it answers by itself."""
        query = WITH_EVERYBODY.encode()
        with self._connect() as connection:
            exchange(connection, STARTUP, b"\0\1" + text("CQL_VERSION") + text("3.0.0"))
            body = struct.pack(">i", len(query)) + query + struct.pack(">HB", QUORUM_OF_ALL, 0)
            return exchange(connection, QUERY, body) == RESULT

    def _connect(self) -> socket.socket:
        return socket.create_connection((self.host, self.port), 3)


def text(word: str) -> bytes:
    return struct.pack(">H", len(word)) + word.encode()


def exchange(connection: socket.socket, opcode: int, body: bytes) -> int:
    """Send a frame; the opcode of the answer."""
    connection.sendall(struct.pack(">BBhBi", 4, 0, 0, opcode, len(body)) + body)
    header = connection.recv(9, socket.MSG_WAITALL)
    if len(header) < 9:
        raise ConnectionError("hung up")
    *_, answer, length = struct.unpack(">BBhBi", header)
    connection.recv(length, socket.MSG_WAITALL)
    return int(answer)


class Cassandra(JavaPart):
    """``cassandra``: one node."""

    pom = HERE / "pom.xml"
    node: type[Node] = Node
    names: tuple[str, ...] = ("cassandra",)

    @cached_property
    def servers(self) -> list[Node]:
        # A driver knows one port for all nodes of a ring; JMX is on one address for all of them.
        ports = self.ports[self.names[0]], self.ports[f"{self.names[0]} storage"]
        count = len(self.names)
        return [
            self.node(
                self.folder / name,
                self.jars,
                (*ports, self.ports[f"{name} jmx"]),
                index=index,
                count=count,
            )
            for index, name in enumerate(self.names)
        ]

    def start(self) -> None:
        # The others ask the first for the ring.
        self.servers[0].start()
        super().start()
        if len(self.servers) > 1:
            for node in self.servers:
                node.wait_until(node.meets, "does not see the other nodes")

    def variables(self) -> dict[str, str]:
        hosts = ",".join(f"{node.host}:{node.port}" for node in self.servers)
        return {
            "MARQUEE_RATINGS_URL": f"cassandra://{hosts}/marquee?replication={len(self.servers)}"
        }


class CassandraRing(Cassandra):
    """``cassandra-ring``: three nodes."""

    names = ("cassandra-1", "cassandra-2", "cassandra-3")
