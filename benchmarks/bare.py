"""The ceilings of the HTTP rows: applications that do no more than send, on Marquee's own server.

``python -m benchmarks.bare answer FILE`` sends one answer to everything: status, headers and body,
as ``keep`` wrote them. ``… rate TOKENS`` takes ratings as Marquee does, and forgets them.
"""

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import msgspec
import uvloop

from marquee import garbage
from marquee.http.calls import request_id
from marquee.http.server import Server
from marquee.http.shapes import Rate, RateAnswer
from marquee.model import time_of
from marquee.serving import listen

BY_SERVER = {b"date", b"server"}


def keep(url: str, file: Path, **headers: str) -> None:
    """Have an answer of Marquee's in a file, byte for byte."""
    answer = httpx.get(url, headers=headers)
    kept = [(n.decode(), v.decode()) for n, v in answer.headers.raw if n.lower() not in BY_SERVER]
    file.write_text(json.dumps([answer.status_code, kept, answer.text]))


def answer(file: str) -> Any:
    status, pairs, body = json.loads(Path(file).read_text())
    headers = [(name.encode(), value.encode()) for name, value in pairs]
    start = {"type": "http.response.start", "status": status, "headers": headers}
    rest = {"type": "http.response.body", "body": body.encode()}

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send(start)
        await send(rest)

    return app


def rate(tokens: str) -> Any:
    end = time.time() + 3600
    known = {
        f"Bearer {token}".encode(): (f"user-{number}", end)
        for number, token in enumerate(Path(tokens).read_text().split())
    }
    decode = msgspec.json.Decoder(Rate).decode
    encode = msgspec.json.Encoder().encode

    async def app(scope: Any, receive: Any, send: Any) -> None:
        user, expires = known[dict(scope["headers"])[b"authorization"]]
        now = time.time_ns() // 1000
        assert expires > now / 1e6
        score = decode((await receive())["body"]).rate
        body = encode(RateAnswer(scope["path"].split("/")[2], user, score, time_of(now)))
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", request_id()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def main() -> None:
    what, file = sys.argv[1:]
    app = {"answer": answer, "rate": rate}[what](file)
    garbage.settle()  # as Marquee does

    with (
        listen("127.0.0.1", 0) as listener,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        runner.run(Server(app, lambda: print(url, flush=True)).serve([listener]))


if __name__ == "__main__":
    main()
