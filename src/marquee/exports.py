"""Ratings and movies as text, in the form that ``marquee import`` takes back."""

import csv
import io
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from .model import time_of
from .ports import Catalogue, RatingStore

Rows = list[tuple[Any, ...]]
"""Their cells, in the order of their columns."""

RATING: tuple[str, ...] = ("userId", "movieId", "rate", "ratedAt")
MOVIE: tuple[str, ...] = ("id", "title", "year", "genres", "boxOffice", "imdbId", "tmdbId")


async def ratings(store: RatingStore, user_id: str | None) -> AsyncIterator[Rows]:
    """``rate`` in points, ``ratedAt`` to the microsecond: it is the rating's version."""
    async for page in store.scan(user_id):
        yield [
            (
                rating.user_id,
                rating.movie_id,
                rating.value / 2,
                time_of(rating.version),
            )
            for rating in page
        ]


async def movies(catalogue: Catalogue) -> AsyncIterator[Rows]:
    async for page in catalogue.scan():
        yield [
            (
                movie.id,
                movie.title,
                movie.year,
                movie.genres,
                movie.box_office,
                movie.imdb_id,
                movie.tmdb_id,
            )
            for movie, *_ in page
        ]


async def as_csv(columns: Sequence[str], pages: AsyncIterator[Rows]) -> AsyncIterator[str]:
    """With a header, also where there is nothing."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    async for rows in pages:
        writer.writerows(map(cells, rows))
        yield text.getvalue()
        text.seek(0)
        text.truncate()
    yield text.getvalue()


async def as_json(columns: Sequence[str], pages: AsyncIterator[Rows]) -> AsyncIterator[str]:
    """A list, with one object a line."""
    yield "["
    between = ""
    async for rows in pages:
        objects = (dict(zip(columns, row, strict=True)) for row in rows)
        yield between + ",\n".join(json.dumps(one, ensure_ascii=False) for one in objects)
        between = ",\n"
    yield "]\n"


def cells(row: Sequence[Any]) -> Sequence[Any]:
    # Genres hold any character, so they stand as JSON in their cell.
    return [
        json.dumps(value, ensure_ascii=False) if isinstance(value, tuple) else value
        for value in row
    ]
