"""SIGTERM: what was accepted is answered, the process ends with 0 within 10 s, nothing is lost.

How long it took is not measured here: a busy machine is no failure, and what never ends has a test
of ``Server.stop`` fail."""

import http.client
import signal
import socket
import threading
import time
from contextlib import contextmanager

import httpx
import pytest

from marquee import serving
from marquee.http.server import DRAIN_SECONDS
from tests.api.asking import Stage, eventually
from tests.api.raw import status_of
from tests.support.server import STOP_SECONDS, serve


def test_every_answered_rating_is_kept(tmp_path):
    """Users rate as fast as they can until nobody answers any more."""
    with serve(tmp_path) as server:
        acknowledged, broken = [], []
        with Stage(server) as stage:
            stage.movie("m")
            with eight(rate, stage, acknowledged, broken):
                eventually(lambda: len(acknowledged), lambda number: number >= 100)
                server.stop()
        assert broken == []
        server.start()
        with Stage(server) as stage:
            for user in acknowledged:
                headers = server.authorization(user)
                answer = stage.anyone.get("/movies/m/users/rate", headers=headers)
                assert answer.json()["rate"] == 7.5
            # What was kept without its answer having arrived is no loss.
            ratings = stage.ratings_of("m")
            assert ratings["numberOfRatings"] >= len(acknowledged)


@contextmanager
def eight(act, *args):
    """So many do it at once, and have come to an end of it soon after the block."""
    threads = [threading.Thread(target=act, args=args, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)


def rate(stage, acknowledged, broken):
    """Each rating on a connection of its own: who got through must be answered."""
    address = stage.server.address
    while True:
        user = stage.name("user")
        headers = stage.server.authorization(user) | {"Content-Type": "application/json"}
        connection = http.client.HTTPConnection(*address, timeout=10)
        try:
            connection.connect()
        except OSError:
            return  # no new connections: that is how it ends
        try:
            connection.request("POST", "/movies/m/users/rate", b'{"rate": 7.5}', headers)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return  # taken by the system, and never by the server
        finally:
            connection.close()
        if status == 200:
            acknowledged.append(user)
        else:
            broken.append(status)


def test_who_keeps_a_connection_is_told_that_it_ends(tmp_path):
    with serve(tmp_path) as server:
        kept = [http.client.HTTPConnection(*server.address, timeout=10) for _ in range(8)]
        assert [ask(connection) for connection in kept] == [(200, None)] * 8
        server.signal(signal.SIGTERM)
        await_refusal(server)
        lasts = [ask(connection) for connection in kept]
        assert server.process.wait(STOP_SECONDS) == 0
    assert lasts.count((200, "close")) > 4  # who does not get to ask in time is hung up on


def ask(connection):
    """Its status, and what it says of the connection; None where that was cut off."""
    try:
        connection.request("GET", "/movies/top10")
        with connection.getresponse() as answer:
            answer.read()
            return answer.status, answer.getheader("Connection")
    except (OSError, http.client.HTTPException):
        return None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_under_way_is_answered(tmp_path, number):
    with serve(tmp_path) as server:
        with Stage(server) as stage:
            stage.movie("m")
        body = b'{"rate": 9}'
        head = (
            b"POST /movies/m/users/rate HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer " + server.token("alice").encode() + b"\r\n"
            b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        with socket.create_connection(server.address, timeout=10) as connection:
            connection.sendall(head)
            assert b"100 Continue" in connection.recv(1000)  # now it is being answered
            server.process.send_signal(number)
            await_refusal(server)
            connection.sendall(body)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert status_of(answer) == 200
        assert server.process.wait(STOP_SECONDS) == 0
        server.start()
        with server.client("alice") as client:
            assert client.get("/movies/m/users/rate").json()["rate"] == 9


def await_refusal(server):
    """Until new connections are refused."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            socket.create_connection(server.address, timeout=5).close()
        except ConnectionRefusedError:
            return
        except OSError:
            pass
    raise AssertionError("it still takes new connections")


def test_nobody_who_is_slow_holds_it_up(tmp_path):
    """A body that never comes, a head that never comes, and connections that ask nothing."""
    with serve(tmp_path) as server:
        head = (
            b"POST /movies/m/users/rate HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer " + server.token("alice").encode() + b"\r\n"
            b"Expect: 100-continue\r\nContent-Length: 11\r\n\r\n"
        )
        connections = [socket.create_connection(server.address, timeout=15) for _ in range(4)]
        connections[0].sendall(head)
        assert b"100 Continue" in connections[0].recv(1000)
        connections[1].sendall(b"GET /movies HTTP/1.1\r\nHo")
        connections[2].sendall(b"GET /movies/top10 HTTP/1.1\r\nHost: h\r\n\r\n")
        assert status_of(connections[2].recv(65536)) == 200
        server.stop()
        answer = connections[0].recv(65536)
        assert status_of(answer) == 503, answer
        assert b"application/problem+json" in answer
        assert b"retry-after:" in answer
        assert "Traceback" not in server.log
        for connection in connections:
            connection.close()


def test_the_longest_stop_is_as_promised():
    """And what was accepted comes before it."""
    assert DRAIN_SECONDS < serving.STOP_SECONDS
    assert serving.STOP_SECONDS + serving.TELL_SECONDS < 10


def test_at_rest_it_stops_at_once(tmp_path):
    with serve(tmp_path) as server:
        with server.client() as client:
            client.get("/movies/top10")
            begin = time.monotonic()
            server.stop()
            assert time.monotonic() - begin < 6  # and waits for nothing: a drain takes 8
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{server.url}/health/live")
