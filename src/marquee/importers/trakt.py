"""Trakt: the ratings of one person, 1–10.

JSON as its API and its export write it: ``{"rated_at", "rating", "type": "movie", "movie":
{"title", "year", "ids": {"imdb", "tmdb", …}}}``. CSV: rated_at, type, title, year, trakt_rating
(everybody's mean), trakt_id, imdb_id, tmdb_id, …, rating. Shows, seasons and episodes are left out.
"""

from collections.abc import Sequence
from functools import partial

from .files import Sheet
from .reading import Reading, each_sheet
from .rows import (
    NOT_A_MOVIE,
    WHOLE_TEN,
    Asked,
    RatingRow,
    Record,
    Skip,
    clue_of,
    first,
    half_points,
    text_of,
    version_of,
)

SOURCE = "trakt"


def reading(sheets: Sequence[Sheet]) -> Reading | None:
    found = [sheet for sheet in sheets if sheet.has("ratedat", "rating")]
    return each_sheet(SOURCE, found, lambda *given: partial(_row, *given), personal=True)


def _row(sheet: Sheet, asked: Asked, line: int, record: Record) -> RatingRow:
    kind = text_of(record.get("type")).casefold() or _kind_of(record)
    if kind != "movie":
        raise Skip(NOT_A_MOVIE)
    clue = clue_of(
        first(record, "movieidsimdb", "imdbid"),
        first(record, "movieidstmdb", "tmdbid"),
        first(record, "movietitle", "title"),
        first(record, "movieyear", "year"),
    )
    value = half_points(record.get("rating"), WHOLE_TEN)
    version = version_of(record.get("ratedat"), asked, sheet.file.modified)
    return RatingRow(line, asked.user_id, clue, value, version)


def _kind_of(record: Record) -> str:
    return "show" if any(name in record for name in ("showtitle", "episodetitle")) else "movie"
