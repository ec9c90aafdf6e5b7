"""GET /movies/top10 of a process on servers, while its stores live and when every one is dead,
against an application that sends the same bytes at once. It starts servers of its own."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.support import engine
from tests.support.server import Server
from tests.support.system import System, system

from . import bare, serving
from .measuring import Row, Size, folder
from .top10 import beside

PARTS = ("cassandra", "kafka", "postgres", "redis")
PATIENCE = 60


def rows(size: Size) -> Iterator[Row]:
    with (
        folder() as here,
        engine.own(here / "servers", *PARTS) as servers,
        system(here, servers=servers.variables(PARTS), rate_limit="off") as marquee,
    ):
        rate_ten(marquee)
        (reader,) = marquee.of("top-rated")
        for process in marquee.processes.values():
            if process is not reader:
                process.stop()
        move(reader)
        url = f"{reader.url}/movies/top10"
        bare.keep(url, here / "answer")
        yield beside("GET /movies/top10, on servers", here / "answer", url, size)
        for part in PARTS:
            servers.stop([part])
        yield beside("… with every store dead", here / "answer", url, size)
        reader.kill()
        servers.start(["postgres"])  # what was made in it is taken away at the end


def rate_ten(marquee: System) -> None:
    """Ten movies, and wait until the ten has them."""
    movies, ratings, reader = (marquee.of(role)[0] for role in ("movies", "ratings", "top-rated"))
    editor, user = movies.authorization("editor", "movies:write"), ratings.authorization("user")
    with httpx.Client(timeout=30) as client:
        for number in range(10):
            movie = {"title": f"Number {number}", "boxOffice": number * 10**6}
            client.put(f"{movies.url}/movies/m{number}", json=movie, headers=editor)
            url = f"{ratings.url}/movies/m{number}/users/rate"
            client.post(url, json={"rate": 9}, headers=user).raise_for_status()
        until = time.monotonic() + PATIENCE
        while len(client.get(f"{reader.url}/movies/top10").json()["result"]) < 10:
            assert time.monotonic() < until, "the ten does not come"
            time.sleep(0.1)


def move(server: Server) -> None:
    """Onto the core for servers, with all its threads."""
    for thread in Path(f"/proc/{server.process.pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), {serving.FOR_SERVER})
