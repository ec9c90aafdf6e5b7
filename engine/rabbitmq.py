"""RabbitMQ: one node, and the small daemon of Erlang's that tells where it listens."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from .part import Part
from .server import PATIENCE, Server, ask

# The one on the path becomes another user by `su`, and loses its environment on the way.
PROGRAM = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
CONTROL = PROGRAM.with_name("rabbitmqctl")
NEEDS = {"rabbitmq-server": lambda: PROGRAM.exists() and shutil.which("epmd")}

GREETING = b"AMQP\x00\x00\x09\x01"
METHOD = b"\x01"
NAMES = b"\x00\x01n"

# A node alone that was killed may leave a quorum queue without a leader for ever:
# https://github.com/rabbitmq/rabbitmq-server/issues/10070
ELECT = """
    [ra:trigger_election(amqqueue:get_pid(Queue))
     || Queue <- rabbit_amqqueue:list(), amqqueue:is_quorum(Queue)]."""

CONFIGURATION = """\
vm_memory_high_watermark.absolute = 512MB
disk_free_limit.absolute = 100MB
raft.wal_max_size_bytes = 16777216
raft.segment_max_entries = 4096
collect_statistics_interval = 60000
"""


class Epmd(Server):
    def __init__(self, folder: Path, port: int) -> None:
        super().__init__(folder)
        self.port = port

    def command(self) -> list[str]:
        return ["epmd", "-address", "127.0.0.1", "-port", str(self.port)]

    def answers(self) -> bool:
        return len(ask("127.0.0.1", self.port, NAMES, 4)) == 4


class Broker(Server):
    def __init__(self, folder: Path, port: int, distribution_port: int, epmd: Epmd) -> None:
        super().__init__(folder)
        self.port = port
        self._distribution_port = distribution_port
        self._epmd = epmd

    def prepare(self) -> None:
        (self.folder / "rabbitmq.conf").write_text(CONFIGURATION)
        (self.folder / "advanced.config").write_text("[].\n")
        (self.folder / "enabled_plugins").write_text("[].\n")
        cookie = self.folder / ".erlang.cookie"
        if not cookie.exists():
            cookie.write_text(secrets.token_hex(16))
            cookie.chmod(0o400)

    def command(self) -> list[str]:
        return [str(PROGRAM)]

    def environment(self) -> dict[str, str]:
        folder = str(self.folder)
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "LC_ALL": "C.UTF-8",
            "HOME": folder,
            # Under systemd's eyes no shell stays between us and the server: its id is the server's.
            "RUNNING_UNDER_SYSTEMD": "true",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd.port),
            "ERL_CRASH_DUMP_SECONDS": "0",
            "RABBITMQ_NODENAME": f"marquee-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._distribution_port),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{folder}/advanced.config",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/enabled_plugins",
            "RABBITMQ_MNESIA_BASE": f"{folder}/data",
            "RABBITMQ_LOG_BASE": folder,
            "RABBITMQ_LOGS": f"{folder}/log",
            "RABBITMQ_GENERATED_CONFIG_DIR": f"{folder}/generated",
            "RABBITMQ_PID_FILE": f"{folder}/erlang.pid",
            "RABBITMQ_FEATURE_FLAGS_FILE": f"{folder}/feature_flags",
            # Loopback only, and no thread that spins while it waits.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} "
            "+S 2:2 +SDio 4 +sbwt none +sbwtdcpu none +sbwtdio none",
        }

    def answers(self) -> bool:
        return ask("127.0.0.1", self.port, GREETING, 1, 2) == METHOD

    def wait(self) -> None:
        super().wait()
        environment = self.environment()
        subprocess.run(
            [CONTROL, "-q", "-n", environment["RABBITMQ_NODENAME"], "eval", ELECT],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE,
            check=False,
        )


class RabbitMq(Part):
    """``rabbitmq``: one node."""

    needs = NEEDS

    @cached_property
    def servers(self) -> Sequence[Server]:
        name = "rabbitmq"
        epmd = Epmd(self.folder / f"{name}-epmd", self.ports[f"{name} epmd"])
        ports = self.ports[name], self.ports[f"{name} distribution"]
        return [epmd, Broker(self.folder / name, *ports, epmd)]

    def start(self) -> None:
        for server in self.servers:
            server.start()

    def variables(self) -> dict[str, str]:
        return {
            "MARQUEE_TEST_RABBITMQ_URL": f"amqp://guest:guest@127.0.0.1:{self.ports['rabbitmq']}"
        }
