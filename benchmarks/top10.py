"""GET /movies/top10 and its 304, against an application that sends the same bytes at once."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx

from . import bare, serving
from .measuring import Row, Size, by_turns, folder, medians

GOAL = 0.90


def rows(size: Size) -> Iterator[Row]:
    with folder() as here, serving.marquee(here, demo=True) as server:
        url = f"{server.url}/movies/top10"
        etag = httpx.get(url).headers["etag"]
        for what, headers in (("200", {}), ("304", {"If-None-Match": etag})):
            bare.keep(url, here / what, **headers)
            header = "".join(f"{name}: {value}" for name, value in headers.items())
            yield beside(
                f"GET /movies/top10, {what}, 64 connections", here / what, url, size, header
            )


def beside(what: str, answer: Path, url: str, size: Size, header: str = "") -> Row:
    """``answer``: the file that has it, as ``bare.keep`` wrote it."""
    with serving.Bare("answer", answer) as ceiling:
        ours, bares = medians(
            by_turns(
                size.rounds,
                *(
                    partial(rate, at, size.seconds, header)
                    for at in (url, f"{ceiling.url}/movies/top10")
                ),
            )
        )
    return Row(
        what,
        f"{ours:,.0f}/s",
        f"{bares:,.0f}/s bare ASGI",
        ours / bares,
        f"≥ {GOAL:.2f}",
        ours / bares >= GOAL,
        {"marquee": ours, "bare": bares},
    )


def rate(url: str, seconds: float, header: str) -> float:
    return serving.wrk(url, seconds, header=header).rate
