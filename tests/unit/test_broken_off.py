"""An answer that goes wrong once its head is sent: cut off, and told of as what became of it."""

import asyncio
import logging
import socket
from contextlib import asynccontextmanager

import pytest

from marquee.adapters.keys import OwnKeys
from marquee.adapters.memory import MemoryRateLimiter
from marquee.adapters.otlp import OtlpTracer
from marquee.errors import StoreAway
from marquee.http import server as subject
from marquee.http.app import App
from marquee.http.auth import Verifier
from marquee.http.calls import Answer, Endpoint, Guard
from marquee.http.metrics import Metrics
from marquee.http.traced import Traced
from marquee.ports import Quota
from tests.support.collector import collector

LINE = b"a,b,c\r\n"
GET = b"GET /pages HTTP/1.1\r\nHost: h\r\n\r\n"


def streamed(parts, error):
    async def pages():
        for part in parts:
            yield part
        raise error

    async def handle(_):
        return Answer(pages(), headers=((b"content-type", b"text/csv"),))

    return Endpoint("GET", "/pages", handle, "", "", {200: str}, name="pages")


class Told:
    """What those hear who run it."""

    def __init__(self, folder, *calls, limiter=None, quota=None):
        self.metrics = Metrics()
        self.lines = []
        limiter = limiter or MemoryRateLimiter()
        guard = Guard(Verifier(OwnKeys(folder), "", ""), limiter, quota)
        self.app = App(calls, calls, {}, guard, self.metrics, self._take)

    def _take(self, method, route, status, *_):
        self.lines.append((method, route, status))

    def check(self, *route):
        assert self.lines == [route]
        assert dict(self.metrics.requests) == {route: 1}


@asynccontextmanager
async def serving(app):
    """Its address; stopped at the end, if not before."""
    listening = asyncio.Event()
    async with asyncio.timeout(30):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = subject.Server(app, listening.set)
            task = asyncio.create_task(server.serve([listener]))
            await listening.wait()
            yield listener.getsockname()
            server.should_exit = True
            await task


@pytest.mark.parametrize("number", [0, 1, 3])
@pytest.mark.parametrize(
    ("error", "status", "lines"),
    [
        (StoreAway("Away."), 503, []),
        (TimeoutError(), 503, []),
        (ValueError(), 500, ["a call failed"]),
    ],
)
async def test_it_is_cut_off_and_told_of(tmp_path, caplog, error, status, lines, number):
    told = Told(tmp_path, streamed([LINE] * number, error))
    with collector() as traces, caplog.at_level(logging.ERROR):
        tracer = OtlpTracer(traces.url, 1, "test", "0")
        async with serving(Traced(told.app, tracer, (), ())) as address:
            reader, writer = await asyncio.open_connection(*address)
            writer.write(GET)
            answer = await reader.read()
            writer.close()
        tracer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == (b"7\r\n%b\r\n" % LINE) * number  # the end, of no bytes, is missing
    told.check("GET", "/pages", status)
    (span,) = traces.spans
    assert span.name == "GET /pages"
    assert span.about["http.response.status_code"] == str(status)
    assert [record.message for record in caplog.records] == lines


async def test_one_that_a_stop_cuts_off_is_none_that_went_well(tmp_path, monkeypatch):
    monkeypatch.setattr(subject, "DRAIN_SECONDS", subject.LAST_SECONDS)
    told = Told(tmp_path, streamed([bytes(200_000)] * 100, ValueError()))
    async with serving(told.app) as address:
        reader, writer = await asyncio.open_connection(*address, limit=1)
        writer.write(GET)
        await reader.readexactly(1)
    writer.close()
    told.check("GET", "/pages", 503)


async def test_a_caller_who_left_amid_the_question_was_answered_nothing(tmp_path):
    async def never(_):
        raise AssertionError("the question was not whole")

    told = Told(tmp_path, Endpoint("POST", "/pages", never, "", "", {}, body=int, name="pages"))
    with collector() as traces:
        tracer = OtlpTracer(traces.url, 1, "test", "0")
        async with serving(Traced(told.app, tracer, (), ())) as address:
            reader, writer = await asyncio.open_connection(*address)
            head = b"POST /pages HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
            writer.write(head + b"Content-Length: 9\r\n\r\n1")
            writer.write_eof()
            assert await reader.read() == b""
            writer.close()
        tracer.close()
    assert told.lines == []
    (span,) = traces.spans
    assert "http.response.status_code" not in span.about


class Faulty:
    """A limiter with a fault of ours."""

    async def take(self, key, quota):
        raise ValueError(key)


async def test_a_limit_that_fails_is_a_problem_for_an_unknown_path_too(tmp_path):
    told = Told(tmp_path, limiter=Faulty(), quota=Quota(60, 60, 20))
    async with serving(told.app) as address:
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"GET /nope HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert b"application/problem+json" in answer
    told.check("GET", "unknown", 500)
