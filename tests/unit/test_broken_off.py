"""An answer that goes wrong once its head is sent: cut off, and told of as what became of it."""

import asyncio
import logging
import socket

import pytest

from marquee.adapters.keys import OwnKeys
from marquee.adapters.memory import MemoryRateLimiter
from marquee.adapters.otlp import OtlpTracer
from marquee.errors import StoreAway
from marquee.http.app import App
from marquee.http.auth import Verifier
from marquee.http.calls import Answer, Endpoint, Guard
from marquee.http.metrics import Metrics
from marquee.http.server import Server
from marquee.http.traced import Traced
from tests.support.collector import collector


def streamed(error, parts):
    async def pages():
        for _ in range(parts):
            yield b"a,b,c\r\n"
        raise error

    async def handle(_):
        return Answer(pages(), headers=((b"content-type", b"text/csv"),))

    return Endpoint("GET", "/pages", handle, "", "", {200: str}, name="pages")


async def asked(app, sent):
    """All that the server answers before it hangs up."""
    listening = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(app, listening.set)
        serving = asyncio.create_task(server.serve([listener]))
        async with asyncio.timeout(20):
            await listening.wait()
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            writer.write(sent)
            answer = await reader.read()
            writer.close()
            server.should_exit = True
            await serving
    return answer


@pytest.mark.parametrize("parts", [0, 1, 3])
@pytest.mark.parametrize(
    ("error", "status", "lines"),
    [
        (StoreAway("Away."), 503, []),
        (TimeoutError(), 503, []),
        (ValueError(), 500, ["a call failed"]),
    ],
)
async def test_it_is_cut_off_and_told_of(tmp_path, caplog, error, status, lines, parts):
    metrics, logged = Metrics(), []
    guard = Guard(Verifier(OwnKeys(tmp_path), "", ""), MemoryRateLimiter(), None)
    calls = [streamed(error, parts)]
    app = App(calls, calls, {}, guard, metrics, lambda *line: logged.append(line[:3]))
    with collector() as told, caplog.at_level(logging.ERROR):
        tracer = OtlpTracer(told.url, 1, "test", "0")
        traced = Traced(app, tracer, (), ())
        answer = await asked(traced, b"GET /pages HTTP/1.1\r\nHost: h\r\n\r\n")
        tracer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == b"7\r\na,b,c\r\n\r\n" * parts  # the end, of no bytes, is missing
    assert dict(metrics.requests) == {("GET", "/pages", status): 1}
    assert logged == [("GET", "/pages", status)]
    (span,) = told.spans
    assert span.name == "GET /pages"
    assert span.about["http.response.status_code"] == str(status)
    assert [record.message for record in caplog.records] == lines
