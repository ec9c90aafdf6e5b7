"""A part: the server or servers that answer one role, started and stopped together."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .ports import Ports
from .server import Server


class Part:
    """``needs``: the Debian packages it is made of, each with a look whether it is there."""

    needs: Mapping[str, Callable[[], object]] = {}

    def __init__(self, folder: Path, cache: Path, ports: Ports) -> None:
        self.folder = folder
        self.cache = cache
        self.ports = ports

    @property
    def servers(self) -> Sequence[Server]:
        """In the order of their start."""
        raise NotImplementedError

    def variables(self) -> dict[str, str]:
        """The MARQUEE_* variables that lead to it."""
        raise NotImplementedError

    def fetch(self) -> None:
        """Bring what no Debian package has into the cache."""

    def start(self) -> None:
        """Have all of it answer; what does so already is left alone."""
        for server in self.servers:
            server.launch()
        for server in self.servers:
            server.wait()

    def stop(self) -> None:
        servers = self.servers
        with ThreadPoolExecutor(len(servers)) as pool:
            list(pool.map(Server.stop, servers))

    @property
    def lives(self) -> bool:
        return all(server.pid for server in self.servers)

    @property
    def wanted(self) -> bool:
        """Whether all of it was started, and not stopped since."""
        return all(server.wanted for server in self.servers)
