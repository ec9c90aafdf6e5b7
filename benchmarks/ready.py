"""From `marquee serve` until it is ready, on a store of many ratings."""

import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import httpx

from tests.support.server import Server

from .measuring import Row, Size, folder
from .stores import fill

MOVIES = 10_000
GOAL = 1.5


def rows(size: Size) -> Iterator[Row]:
    ratings = 10**5 if size.quick else 10**6
    with folder() as here:
        (here / "data").mkdir()
        fill(here / "data" / "marquee.db", MOVIES, ratings=ratings, applied=ratings)
        taken = median(seconds(here) for _ in range(size.rounds))
    yield Row(
        f"ready, on {ratings:,} ratings",
        f"{taken:.2f} s",
        "",
        None,
        f"≤ {GOAL} s",
        taken <= GOAL,
        {"seconds": taken},
    )


def seconds(here: Path) -> float:
    server = Server(here)
    start = time.perf_counter()
    try:
        server.start()
        httpx.get(f"{server.url}/health/ready").raise_for_status()
        taken = time.perf_counter() - start
        server.stop()
    finally:
        server.kill()
    return taken
