"""Servers of Java: their jars, and an archive of loaded classes that halves their start."""

import shutil
import signal
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Self

from .errors import EngineError
from .locks import alone
from .packages import Jars, java17, java_version, say
from .part import Part
from .ports import Ports
from .server import Server

NEEDS = {
    "openjdk-17-jre-headless": java17,
    "maven": lambda: shutil.which("mvn"),
}

# Small and quick to start; the second compiler would take a core for itself for a minute.
FLAGS = [
    *("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Xss512k"),
    *("-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true", "-Djava.net.preferIPv4Stack=true"),
]


class JavaServer(Server):
    """``record``: where it leaves its archive of classes when it is asked to end."""

    # What is acknowledged is on disk, and a Java that is asked to end takes its seconds.
    stop_signal = signal.SIGKILL
    record: Path | None = None

    def __init__(self, folder: Path, jars: Jars) -> None:
        super().__init__(folder)
        self.jars = jars

    def java(self, *flags: str) -> list[str]:
        """The command line up to the main class."""
        java = java17()
        assert java is not None
        return [java, *FLAGS, *self._archive(java), *flags, "-cp", f"{self.jars.jars}/*"]

    def _archive(self, java: str) -> list[str]:
        if self.record:
            return [f"-XX:ArchiveClassesAtExit={self.record}"]
        return [f"-XX:SharedArchiveFile={archive_file(self.jars, java)}", "-Xshare:auto"]


def archive_file(jars: Jars, java: str) -> Path:
    return jars.folder / f"classes-{java_version(Path(java))}.jsa"


class JavaPart(Part):
    needs = NEEDS
    pom: Path
    names: tuple[str, ...]

    @cached_property
    def jars(self) -> Jars:
        return Jars(self.pom, self.cache)

    @property
    def servers(self) -> Sequence[JavaServer]:
        raise NotImplementedError

    def single(self, name: str) -> Self:
        """A part like this one, of one server, in the cache: to try something with."""
        folder = self.jars.folder
        part = type(self)(folder, self.cache, Ports(folder / "ports.json"))
        part.names = (name,)
        return part

    def fetch(self) -> None:
        self.jars.fetch()
        java = java17()
        assert java is not None
        file = archive_file(self.jars, java)
        with alone(self.jars.folder / "archive.lock"):
            if not file.exists():
                self._record(file)

    def _record(self, file: Path) -> None:
        """Run a server once and have it end by itself. Without the archive all works, slower."""
        say(f"recording the classes of {self.jars.name}, for quicker starts")
        (server,) = self.single("recording").servers
        server.record = file.with_suffix(".begun")
        server.stop_signal, server.stop_seconds = signal.SIGTERM, 60.0
        try:
            server.start()
            server.stop()
            server.record.rename(file)
        except (EngineError, OSError) as error:
            say(f"{self.jars.name} will start without it: {error}")
        finally:
            server.stop()
            shutil.rmtree(server.folder, ignore_errors=True)
