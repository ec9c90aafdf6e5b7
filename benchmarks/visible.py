"""From the answer to a rating until everybody sees it in the movie's totals, at light load."""

import random
import time
from collections.abc import Iterator

import httpx

from . import serving
from .measuring import Row, Size, folder
from .stores import movies_of

GOAL = 0.2


def rows(size: Size) -> Iterator[Row]:
    with folder() as here, serving.marquee(here, demo=True) as server:
        movies = movies_of(server.data / "marquee.db")[: 50 if size.quick else 200]
        with server.client("somebody") as client, serving.on_core(serving.FOR_LOAD):
            times = sorted(until_visible(client, movie) for movie in movies)
    p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
    yield Row(
        "a rating until it is in the totals",
        f"p50 {p50 * 1e3:.0f} ms, p99 {p99 * 1e3:.0f} ms",
        "",
        None,
        f"p99 ≤ {GOAL * 1e3:.0f} ms",
        p99 <= GOAL,
        {"p50": p50, "p99": p99},
    )


def until_visible(client: httpx.Client, movie: str) -> float:
    before = number(client, movie)
    time.sleep(random.uniform(0.02, 0.12))
    client.post(f"/movies/{movie}/users/rate", json={"rate": 8}).raise_for_status()
    start = time.perf_counter()
    while number(client, movie) == before:
        assert time.perf_counter() - start < 10, "the rating never shows"
    return time.perf_counter() - start


def number(client: httpx.Client, movie: str) -> int:
    ratings: int = client.get(f"/movies/{movie}/ratings").json()["numberOfRatings"]
    return ratings
