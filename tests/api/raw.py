"""HTTP as bytes, for what no client library would send."""

import socket

from tests.support.server import Server


def exchange(server: Server, sent: bytes) -> bytes:
    """All that the server answers until it closes; ``sent`` asks it to, or is no HTTP."""
    with socket.create_connection(server.address, timeout=10) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def request(line: bytes, *headers: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([line, b"Host: h", b"Connection: close", *headers, b"", body])


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])
