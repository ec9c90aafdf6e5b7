"""Docker: an engine, Compose, and a base image made of Debian's packages, without a registry."""

import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from .errors import EngineError
from .locks import alone
from .packages import say
from .part import Part
from .server import Server

SUITE = "trixie"
BASE = f"marquee.test/debian:{SUITE}"
"""What `debian:trixie-slim` is made of, too; and whom this machine trusts."""

CLIENT = Path("/usr/bin/docker")
"""Debian's, which builds by BuildKit without a plugin; another one may come first on the path."""

DEBOOTSTRAP = Path("/usr/sbin/debootstrap")
NEEDS = {
    "docker.io": lambda: shutil.which("dockerd") and CLIENT.exists(),
    "debootstrap": DEBOOTSTRAP.exists,
}
PING, PONG = b"GET /_ping HTTP/1.0\r\n\r\n", b"HTTP/1.0 200"
TRUSTED = Path("usr/local/share/ca-certificates")


class Dockerd(Server):
    """Changes nothing of the machine's network but for a bridge of its own."""

    stop_seconds = 30.0

    @property
    def socket(self) -> Path:
        return self.folder / "docker.sock"

    def prepare(self) -> None:
        (self.folder / "docker.pid").unlink(missing_ok=True)

    def command(self) -> list[str]:
        return [
            "dockerd",
            *("--host", f"unix://{self.socket}"),
            *("--data-root", str(self.folder / "data")),
            *("--exec-root", str(self.folder / "run")),
            *("--pidfile", str(self.folder / "docker.pid")),
            *("--iptables=false", "--ip6tables=false", "--ip-forward=false"),
        ]

    def answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.socket))
            connection.sendall(PING)
            return connection.recv(len(PONG)) == PONG


class Docker(Part):
    """``docker``: an engine that has ``BASE``, and a client that knows `compose`."""

    needs = NEEDS

    @cached_property
    def servers(self) -> Sequence[Dockerd]:
        return [Dockerd(self.folder / "docker")]

    def variables(self) -> dict[str, str]:
        return {
            "DOCKER_HOST": f"unix://{self.servers[0].socket}",
            "DOCKER_CONFIG": str(self._cached / "client"),
        }

    @property
    def _cached(self) -> Path:
        return self.cache / f"docker-{SUITE}"

    def fetch(self) -> None:
        """The base as an archive, and Compose as a plugin of the client."""
        with alone(self._cached.with_suffix(".lock")):
            if not self._cached.exists():
                say(f"making a base of Debian {SUITE}")
                self._make()

    def _make(self) -> None:
        begun, root = (self._cached.with_suffix(end) for end in (".begun", ".root"))
        for folder in (begun, root):
            shutil.rmtree(folder, ignore_errors=True)
        plugins = begun / "client/cli-plugins"
        plugins.mkdir(parents=True)
        run(DEBOOTSTRAP, "--variant=minbase", SUITE, root)
        shutil.copytree("/" / TRUSTED, root / TRUSTED, dirs_exist_ok=True)
        run("chroot", root, "apt-get", "clean")
        run("tar", "-C", root, "--numeric-owner", "-cf", begun / "base.tar", ".")
        run("chroot", root, "sh", "-c", "cd /tmp && apt-get -q download docker-compose")
        (package,) = root.glob("tmp/*.deb")
        run("dpkg-deb", "-x", package, root / "tmp")
        shutil.copy(root / "tmp/usr/libexec/docker/cli-plugins/docker-compose", plugins)
        shutil.rmtree(root)
        begun.rename(self._cached)

    def start(self) -> None:
        super().start()
        client: tuple[str | Path, ...] = (CLIENT, "--host", self.variables()["DOCKER_HOST"])
        if not run(*client, "image", "ls", "-q", BASE):
            run(*client, "import", self._cached / "base.tar", BASE)


def run(*words: str | Path) -> str:
    """What a command says. Raises ``EngineError``."""
    done = subprocess.run(
        words,
        check=False,
        env=os.environ | {"LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise EngineError(f"{words[0]} failed:\n{done.stdout[-1000:]}{done.stderr[-1000:]}")
    return done.stdout
