"""Whether the process that serves here can answer: ``python -m marquee.health``, as an image's own
look at itself. The exit status says it, the answer's body why.

It runs every few seconds, in each container, so it imports nothing that it can do without.
"""

import os
import socket
import sys

ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}
"""Who listens at every address is asked at this one."""

QUESTION = b"GET /health/ready HTTP/1.0\r\n\r\n"
SECONDS = 5.0


def ask(host: str, port: int) -> tuple[bool, str]:
    """Whether it can answer, and what it says of it. Raises ``OSError`` where nobody is there."""
    with socket.create_connection((host, port), SECONDS) as connection:
        connection.sendall(QUESTION)
        with connection.makefile("rb") as stream:
            head, _, body = stream.read().partition(b"\r\n\r\n")
    return head.split()[1:2] == [b"200"], body.decode(errors="replace")


def main() -> None:
    host = os.environ.get("MARQUEE_HOST", "")
    able, said = ask(ANYWHERE.get(host, host), int(os.environ.get("MARQUEE_PORT") or 8080))
    print(said)  # noqa: T201
    sys.exit(not able)


if __name__ == "__main__":
    main()
