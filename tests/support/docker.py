"""Containers on the engine's Docker; of an image that is built here, once a session."""

import json
import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.docker import BASE, CLIENT
from tests.support import engine

ROOT = Path(__file__).resolve().parents[2]
BUILD_SECONDS = 600.0
REVISION = "0" * 40


def docker(*words: object, within: float = 60.0, status: int = 0, **more: str) -> str:
    """What the client prints, its complaints included; ``more`` goes into its environment."""
    environment = os.environ | engine.need("docker") | {"DOCKER_BUILDKIT": "1"} | more
    done = subprocess.run(
        [CLIENT, *map(str, words)],
        check=False,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=within,
    )
    assert done.returncode == status, f"docker {' '.join(map(str, words))}:\n{done.stdout[-5000:]}"
    return done.stdout.strip()


def built(tag: str, file: Path, *words: str) -> str:
    """The image that a Dockerfile makes, on Debian from packages. It is built with this machine's
    network and its way to a package index."""
    proxies = [f"--build-arg={name}" for name in os.environ if name.lower().endswith("_proxy")]
    docker(
        *("build", "--network", "host", "--build-arg", f"BASE={BASE}", "--tag", tag),
        *("--file", file, *proxies, *words, ROOT),
        within=BUILD_SECONDS,
    )
    return tag


def inspect(name: str) -> dict[str, Any]:
    (found,) = json.loads(docker("inspect", name))
    return dict(found)


@contextmanager
def container(image: str, *command: str, options: tuple[str, ...] = ()) -> Iterator[str]:
    """Its name; it is gone at the end, with its volumes."""
    name = f"test-{secrets.token_hex(8)}"
    try:
        docker("run", "--detach", "--name", name, *options, image, *command)
        yield name
    finally:
        docker("rm", "--force", "--volumes", name)
