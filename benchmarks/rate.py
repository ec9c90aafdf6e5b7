"""POST rate, durable: many users, many movies, 64 connections; and one call after the other."""

from collections.abc import Iterator
from pathlib import Path
from statistics import median

from tests.support.server import Server

from . import serving
from .measuring import Row, Size, folder
from .stores import movies_of

USERS = 500
GOAL, GOAL_SPREAD = 0.40, 4


def rows(size: Size) -> Iterator[Row]:
    with folder() as here, serving.marquee(here, demo=True) as server:
        posts = who_and_what(here, server)
        loads, bares = [], []
        with serving.Bare("rate", posts[0]) as ceiling:
            for _ in range(size.rounds):
                loads.append(serving.wrk(server.url, size.seconds, posts=posts))
                bares.append(serving.wrk(ceiling.url, size.seconds, posts=posts).rate)
        ours, bare = median(load.rate for load in loads), median(bares)
        p50, p99 = (median(getattr(load, name) for load in loads) for name in ("p50", "p99"))
        yield Row(
            "POST rate, durable, 64 connections",
            f"{ours:,.0f}/s",
            f"{bare:,.0f}/s bare ASGI, no store",
            ours / bare,
            f"≥ {GOAL:.2f}",
            ours / bare >= GOAL,
            {"marquee": ours, "bare": bare},
        )
        yield Row(
            "… its latency",
            f"p50 {p50 * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms",
            "",
            p99 / p50,
            f"p99 ≤ {GOAL_SPREAD} × p50",
            p99 <= GOAL_SPREAD * p50,
            {"p50": p50, "p99": p99},
        )


def who_and_what(here: Path, server: Server) -> tuple[Path, Path]:
    """A file of users' tokens, one of movie ids."""
    tokens, movies = here / "tokens", here / "movies"
    tokens.write_text("\n".join(server.token(f"user-{number}") for number in range(USERS)))
    movies.write_text("\n".join(movies_of(server.data / "marquee.db")))
    return tokens, movies
