"""What `marquee serve` holds in memory: on the demo under load, and many ratings later."""

import math
from collections.abc import Iterator
from pathlib import Path

from . import serving
from .measuring import Row, Size, folder
from .rate import who_and_what

GOAL, GOAL_GROWTH = 90e6, 1.1


def rows(size: Size) -> Iterator[Row]:
    further = 20_000 if size.quick else 200_000
    with folder() as here, serving.marquee(here, demo=True) as server:
        posts = who_and_what(here, server)
        serving.wrk(f"{server.url}/movies/top10", 2)
        send(server.url, posts, further)  # until SQLite's caches are full
        before = server.memory
        rated = send(server.url, posts, further)
        after = server.memory
    yield Row(
        "memory, serving the demo under load",
        f"{before / 1e6:.0f} MB",
        "",
        None,
        f"≤ {GOAL / 1e6:.0f} MB",
        before <= GOAL,
        {"bytes": before},
    )
    yield Row(
        f"… {rated:,} ratings later",
        f"{after / 1e6:.0f} MB",
        f"{before / 1e6:.0f} MB before",
        after / before,
        f"≤ {GOAL_GROWTH}: not growing",
        after <= min(GOAL, GOAL_GROWTH * before),
        {"bytes": after},
    )


def send(url: str, posts: tuple[Path, Path], ratings: int) -> int:
    """Send at least so many ratings; how many it were."""
    sent = 0
    seconds = 2
    while sent < ratings:
        load = serving.wrk(url, seconds, posts=posts)
        sent += load.requests
        seconds = min(30, math.ceil((ratings - sent) / load.rate))
    return sent
