"""POST rate, one call after the other, against bare commits of the same rows to the same disk."""

import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from itertools import count
from pathlib import Path

from marquee.adapters.sqlite.database import connect, prepare

from . import serving
from .measuring import Row, Size, by_turns, folder, medians
from .rate import who_and_what

GOAL = 0.6


def rows(size: Size) -> Iterator[Row]:
    with folder() as here, serving.marquee(here, demo=True) as server:
        posts = who_and_what(here, server)
        file = here / "bare.db"
        prepare(file)
        ours, bare = medians(
            by_turns(
                size.rounds,
                lambda: serving.wrk(server.url, size.seconds, connections=1, posts=posts).rate,
                partial(commits, file, size.seconds),
            )
        )
    yield Row(
        "POST rate, one at a time",
        f"{ours:,.0f}/s",
        f"{bare:,.0f}/s bare SQLite commits",
        ours / bare,
        f"≥ {GOAL}",
        ours / bare >= GOAL,
        {"marquee": ours, "bare": bare},
    )


def commits(file: Path, seconds: float) -> float:
    """Durable commits a second, each of a rating and its event."""
    with serving.on_core(serving.FOR_SERVER), closing(connect(file)) as connection:
        start = time.perf_counter()
        for number in count(1):
            version = time.time_ns() // 1000
            user, movie = f"user-{number % 499}", f"tt{number % 1999:07}"
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(
                "INSERT OR REPLACE INTO rating VALUES (?, ?, ?, ?)", (user, movie, 17, version)
            )
            connection.execute(
                "INSERT INTO outbox (movie_id, rater, version, value) VALUES (?, ?, ?, ?)",
                (movie, b"%016d" % number, version, 17),
            )
            connection.execute("COMMIT")
            if (taken := time.perf_counter() - start) >= seconds:
                return number / taken
        raise AssertionError
