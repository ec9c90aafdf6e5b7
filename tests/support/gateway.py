"""The gateway that ships, on a free port of loopback, before the processes of a ``System``."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from engine.ports import free_port

CONFIGURATION = Path(__file__).resolve().parents[2] / "deploy/gateway"
PACKAGES = "nginx-light libnginx-mod-http-js"
MODULE = re.compile(r"load_module (.+);")
START_SECONDS = 60.0

Upstreams = Mapping[str, Sequence[str]]
"""By the names of the configuration: the URLs of a role's processes."""


@contextmanager
def gateway(
    folder: Path, upstreams: Upstreams, change: Callable[[Path, int], None] | None = None
) -> Iterator[str]:
    """Its URL. ``change`` may alter the configuration in its folder, given also the port."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    modules = MODULE.findall((CONFIGURATION / "modules.conf").read_text())
    if program is None or not all(map(os.path.exists, modules)):
        complain = pytest.fail if os.environ.get("CI") else pytest.skip
        complain(f"NOT TESTED BEHIND ITS GATEWAY: apt-get install {PACKAGES}")
    port = free_port(set())
    shutil.copytree(CONFIGURATION, folder)
    (folder / "listen.conf").write_text(f"listen 127.0.0.1:{port};\n")
    (folder / "upstreams.conf").write_text("".join(upstream(*each) for each in upstreams.items()))
    if change is not None:
        change(folder, port)
    settings = "daemon off;" + " user root;" * (os.geteuid() == 0)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program, "-p", folder, "-c", folder / "nginx.conf", "-g", settings],
            stdout=log,
            stderr=log,
        )
    try:
        await_port(port, process, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(10)
        print((folder / "log").read_text(errors="replace")[-4000:])  # shown where a test fails


def upstream(name: str, urls: Sequence[str]) -> str:
    servers = "".join(
        f"server {url.removeprefix('http://')} max_fails=2 fail_timeout=5s;\n" for url in urls
    )
    return f"upstream {name} {{\n{servers}keepalive 16;\n}}\n"


def await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"The gateway does not start:\n{log.read_text()}") from None
            time.sleep(0.02)
        else:
            return
