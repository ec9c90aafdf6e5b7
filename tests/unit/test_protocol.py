"""The protocol below the application: who is slow, who talks nonsense, and in which turn."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from marquee.http import server as subject

MUCH = 1_000_000
"""Bytes: more than a connection holds on its way."""

SOME = 60_000
"""As many as are written for somebody before they are waited for, but more than the system takes
where it has little room."""

GET = b"GET /%s HTTP/1.1\r\nHost: h\r\n\r\n"


async def app(scope, receive, send):
    """Answers with its path; /slow a little later, /body once it has the body; /late thinks a
    little behind the head; /much is long, /more comes in parts, and /some is a little long."""
    if scope["path"] == "/slow":
        await asyncio.sleep(0.05)
    if scope["path"] == "/body":
        message = await receive()
        while message.get("more_body"):
            message = await receive()
        if message["type"] == "http.disconnect":
            return
    path = scope["path"].encode()
    long = {b"/much": [bytes(MUCH)], b"/more": [bytes(MUCH // 100)] * 100, b"/some": [bytes(SOME)]}
    parts = long.get(path, [path])
    length = (b"content-length", b"%d" % sum(map(len, parts)))
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    if scope["path"] == "/late":
        await asyncio.sleep(0.05)
    for part in parts[:-1]:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": parts[-1]})


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """For those alone that wait for it: whoever else is slow, on a slow machine, is waited for."""
    monkeypatch.setattr(subject, "HEAD_SECONDS", 0.5)
    monkeypatch.setattr(subject, "UNREAD_SECONDS", 0.5)


@pytest.fixture
async def server() -> AsyncIterator[subject.Server]:
    listening = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)  # each connection's, too
        server = subject.Server(app, listening.set)
        task = asyncio.create_task(server.serve([listener]))
        await listening.wait()
        yield server
        server.should_exit = True
        await task


@pytest.fixture
def address(server: subject.Server) -> tuple[str, int]:
    return server.servers[0].sockets[0].getsockname()


async def converse(address: tuple[str, int], *parts: bytes, pause: float = 0) -> list[bytes]:
    """Statuses and paths of all that is answered until the server closes."""
    answered = bytearray()

    async def read(reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            while part := await reader.read(1 << 16):
                answered.extend(part)

    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*address)
        reading = asyncio.create_task(read(reader))
        with suppress(ConnectionError):  # it may hang up while we still speak
            for part in parts:
                if writer.is_closing():
                    break
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause)
        await reading
        writer.close()
    return [
        head.split(b" ")[1] + (b" " + rest if rest.startswith(b"/") else b"")
        for head, _, rest in (
            each.partition(b"\r\n\r\n") for each in bytes(answered).split(b"HTTP/")[1:]
        )
    ]


async def test_nonsense_is_refused_behind_what_came_before_it(address) -> None:
    sent = GET % b"slow" + GET % b"slow" + b"nonsense\r\n\r\n"
    assert await converse(address, sent) == [b"200 /slow", b"200 /slow", b"400"]


@pytest.mark.parametrize("before", [b"", GET % b"slow"])
async def test_a_broken_body_is_refused_in_its_turn(address, before: bytes) -> None:
    head = b"POST /body HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    answers = await converse(address, before + head, b"nonsense\r\n", pause=0.01)
    assert answers == [b"200 /slow"] * bool(before) + [b"400"]


async def test_a_body_broken_after_its_answer_is_refused_no_more(address) -> None:
    head = b"POST /now HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert await converse(address, head, b"nonsense\r\n", pause=0.05) == [b"200 /now"]


@pytest.mark.parametrize("asked", [1, 3])
async def test_who_has_said_all_is_answered_all_the_same(address, asked: int) -> None:
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(GET % b"slow" * asked)
        writer.write_eof()
        assert (await reader.read()).count(b"/slow") == asked
        writer.close()


async def test_who_leaves_amid_a_body_is_not_waited_for(address) -> None:
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nx")
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()


async def test_a_head_over_64_kib_is_refused_behind_what_came_before_it(address) -> None:
    sent = GET % b"slow" + b"GET / HTTP/1.1\r\nX: " + b"x" * 140_000
    assert await converse(address, sent) == [b"200 /slow", b"431"]


ASKS = b"Host: h\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: %b\r\nHTTP2-Settings: AAEAAEAA"


@pytest.mark.parametrize("other", [b"h2c", b"websocket"])
@pytest.mark.parametrize(
    "rest",
    [
        b"\r\n\r\n",
        b"\r\nContent-Length: 3\r\n\r\nxyz",
        b"\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
    ],
)
async def test_who_asks_for_another_protocol_is_answered_in_this_one(address, other, rest) -> None:
    """And with their body: Java's client asks for HTTP/2 with whatever it sends."""
    sent = b"POST /body HTTP/1.1\r\n" + ASKS % other + rest
    last = b"GET /b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    told = [b"200 /a", b"200 /body", b"200 /b"]
    assert await converse(address, GET % b"a" + sent + last) == told
    assert await converse(address, GET % b"a", *sent.splitlines(keepends=True), last) == told


@pytest.mark.parametrize(
    "head",
    [
        b"POST /body HTTP/1.1\r\nHost: h\r\nConnection: close, Upgrade",
        b"POST /body HTTP/1.0\r\nConnection: Upgrade",
    ],
)
async def test_who_asks_for_another_protocol_and_then_leaves_is_answered(address, head) -> None:
    rest = b"\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\nxyz"
    assert await converse(address, head + rest) == [b"200 /body"]
    assert await converse(address, GET % b"a", head + rest) == [b"200 /a", b"200 /body"]


@pytest.mark.parametrize("method", [b"FOO", b"get", b"M-SEARCHES", b"G"])
@pytest.mark.parametrize("asks", [b"", b"\r\nConnection: Upgrade\r\nUpgrade: h2c"])
async def test_a_method_that_the_parser_does_not_know_is_heard(address, method, asks) -> None:
    head = b" /body HTTP/1.1\r\nHost: h\r\nContent-Length: 3" + asks + b"\r\n\r\n"
    last = b"GET /b HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    assert await converse(address, method + head + b"xyz" + last) == [b"200 /body", b"200 /b"]
    assert await converse(address, method + head, b"xyz", last) == [b"200 /body", b"200 /b"]


async def test_a_line_that_is_no_request_is_none_whatever_it_begins_with(address) -> None:
    for line in (b"FOO /a\r\n", b"FOO a HTTP/1.1\r\n", b"F(O /a HTTP/1.1\r\n"):
        assert await converse(address, line + b"Host: h\r\n\r\n") == [b"400"]


async def test_who_asks_for_another_protocol_needs_a_host_as_all_do(address) -> None:
    sent = b"GET / HTTP/1.1\r\n" + ASKS.removeprefix(b"Host: h\r\n") % b"h2c" + b"\r\n\r\n"
    assert await converse(address, sent) == [b"400"]


async def test_any_number_may_ask_for_another_protocol_at_once(address) -> None:
    asking = b"GET /a HTTP/1.1\r\n" + ASKS % b"h2c" + b"\r\n\r\n"
    assert await converse(address, asking * 1500 + b"x y\r\n") == [b"200 /a"] * 1500 + [b"400"]


async def test_a_tunnel_is_declined_and_the_connection_ends(address) -> None:
    sent = b"CONNECT /a HTTP/1.1\r\nHost: h\r\n\r\n"
    assert await converse(address, sent + GET % b"b") == [b"200 /a"]


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("before", [[], [GET % b"a"]])
async def test_a_head_that_drips_is_not_waited_for(address, before: list[bytes]) -> None:
    drops = [b"GET / HTTP/1.1\r\n", *[b"X: x\r\n"] * 40]
    assert await converse(address, *before, *drops, pause=0.02) == [b"200 /a"] * len(before)


@pytest.mark.usefixtures("impatient")
async def test_a_body_that_nobody_waits_for_may_not_drip_for_ever(address) -> None:
    head = b"POST /now HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert await converse(address, head, *[b"1\r\nx\r\n"] * 40, pause=0.02) == [b"200 /now"]


@pytest.mark.usefixtures("impatient")
async def test_a_body_that_nobody_waits_for_and_that_stops_is_not_waited_for(address) -> None:
    head = b"POST /slow HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n"
    assert await converse(address, head + b"x") == [b"200 /slow"]


@pytest.mark.parametrize(("error", "told"), [(asyncio.CancelledError, False), (ValueError, True)])
def test_what_a_stop_cuts_off_is_not_told_one_by_one(error: type, told: bool) -> None:
    record = logging.makeLogRecord({"exc_info": (error, error(), None)})
    assert subject.worth_telling(record) is told


@pytest.mark.usefixtures("impatient")
async def test_a_silent_connection_is_closed(address) -> None:
    assert await converse(address) == []


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("path", [b"much", b"more", b"some"])
@pytest.mark.parametrize("end", ["close", "half a close", ""])
async def test_who_does_not_read_the_answer_is_not_waited_for(
    monkeypatch, server, address, path: bytes, end: str
) -> None:
    monkeypatch.setattr(server.config, "timeout_keep_alive", 0.5)
    head = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") if end == "close" else GET
    loop = asyncio.get_running_loop()
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        async with asyncio.timeout(20):
            await loop.sock_connect(client, address)
            await loop.sock_sendall(client, head % path)
            assert await loop.sock_recv(client, 1) == b"H"
            (connection,) = server.server_state.connections
            if end == "half a close":
                client.shutdown(socket.SHUT_WR)
            while server.load() != (0, 0):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
            assert connection._unread is None


@pytest.mark.parametrize("path", [b"much", b"more"])
async def test_who_reads_on_is_waited_for(server, address, path: bytes) -> None:
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(GET % path)
        await reader.readuntil(b"\r\n\r\n")
        assert len(await reader.readexactly(MUCH)) == MUCH
        (connection,) = server.server_state.connections
        assert connection._unread is None
        writer.close()


async def test_head_and_body_leave_in_one_piece(address) -> None:
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(GET % b"late")
        head, _, body = (await reader.read(1 << 16)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert body == b"/late"
        writer.close()


async def test_an_answer_without_a_body_waits_for_none(address) -> None:
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"HEAD /now HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.close()


async def test_who_wants_to_be_told_to_go_on_is_told(address) -> None:
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection(*address)
        head = b"POST /body HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n"
        writer.write(head + b"Expect: 100-continue\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"x")
        assert (await reader.readuntil(b"/body")).startswith(b"HTTP/1.1 200 ")
        writer.close()
