"""What the servers are made of: Debian's packages, and jars by Maven."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from .errors import EngineError
from .locks import alone

JARS_SECONDS = 600


def say(*words: object) -> None:
    print("engine:", *words, file=sys.stderr, flush=True)


def install(names: Sequence[str]) -> None:
    """Have Debian's package manager install these. Only root may; raises ``EngineError``."""
    line = f"apt-get install -y --no-install-recommends {' '.join(names)}"
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise EngineError(f"{', '.join(names)} must be installed first, by root: {line}")
    say("installing", *names)
    apt = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300"]
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for step in (["update"], line.split()[1:]):
        done = subprocess.run(
            [*apt, *step],
            check=False,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise EngineError(f"{' '.join(step)} failed:\n{done.stdout}{done.stderr}".rstrip())


def java17() -> str | None:
    """A Java that Cassandra 5.0 runs on."""
    homes = [Path(os.environ.get("JAVA_HOME", "/usr")), *Path("/usr/lib/jvm").glob("*17*")]
    found = [home / "bin" / "java" for home in homes]
    if on_path := shutil.which("java"):
        found.append(Path(on_path))
    return next((str(java) for java in found if java_version(java).startswith("17.")), None)


def java_version(java: Path) -> str:
    """As the file ``release`` beside it tells; "" where there is none."""
    release = java.resolve().parent.parent / "release"
    if not java.exists() or not release.exists():
        return ""
    for line in release.read_text().splitlines():
        name, _, value = line.partition("=")
        if name == "JAVA_VERSION":
            return value.strip('"')
    return ""


class Jars:
    """The jars that a pom names, pinned, in a folder of the cache; another pom, another folder."""

    def __init__(self, pom: Path, cache: Path) -> None:
        self.name = pom.parent.name
        self.folder = cache / f"{self.name}-{hashlib.sha256(pom.read_bytes()).hexdigest()[:8]}"
        self.jars = self.folder / "jars"
        self._pom = pom

    def fetch(self) -> None:
        """Nothing happens where they are there."""
        with alone(self.folder.with_suffix(".lock")):
            if not self.jars.exists():
                say(f"fetching the jars of {self.name}")
                self._copy()

    def _copy(self) -> None:
        begun = self.folder / "begun"
        shutil.rmtree(begun, ignore_errors=True)
        # -C: what does not have its checksum is refused.
        done = subprocess.run(
            ["mvn", "-B", "-q", "-C", "-f", self._pom, f"-DoutputDirectory={begun}",
             "dependency:copy-dependencies"],
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=JARS_SECONDS,
        )  # fmt: skip
        if done.returncode:
            raise EngineError(f"the jars of {self.name} are not to be had:\n{done.stdout[-2000:]}")
        begun.rename(self.jars)
