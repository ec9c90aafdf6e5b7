"""Ratings and movies as text, in the form that ``marquee import`` takes back."""

import csv
import io
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

from .ports import Catalogue, RatingStore

Rows = list[dict[str, Any]]


async def ratings(store: RatingStore, user_id: str | None) -> AsyncIterator[Rows]:
    """``rate`` in points, ``ratedAt`` to the microsecond: it is the rating's version."""
    async for page in store.scan(user_id):
        yield [
            {
                "userId": rating.user_id,
                "movieId": rating.movie_id,
                "rate": rating.value / 2,
                "ratedAt": datetime.fromtimestamp(rating.version // 1_000_000, UTC)
                .replace(microsecond=rating.version % 1_000_000)
                .isoformat()
                .replace("+00:00", "Z"),
            }
            for rating in page
        ]


async def movies(catalogue: Catalogue) -> AsyncIterator[Rows]:
    async for page in catalogue.scan():
        yield [
            {
                "id": movie.id,
                "title": movie.title,
                "year": movie.year,
                "genres": movie.genres,
                "boxOffice": movie.box_office,
                "imdbId": movie.imdb_id,
                "tmdbId": movie.tmdb_id,
            }
            for movie, *_ in page
        ]


async def lines(pages: AsyncIterator[Rows], form: str) -> AsyncIterator[str]:
    """CSV with a header, or JSON with one object a line."""
    header = False
    async for rows in pages:
        if form == "json":
            yield "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            continue
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        if not header:
            writer.writerow(rows[0])
            header = True
        writer.writerows(map(cells, rows))
        yield text.getvalue()


def cells(row: dict[str, Any]) -> Sequence[Any]:
    # Genres hold any character, so they stand as JSON in their cell.
    return [
        json.dumps(value, ensure_ascii=False) if isinstance(value, tuple) else value
        for value in row.values()
    ]
