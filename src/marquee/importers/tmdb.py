"""TMDB: the ratings of one person, 0.5–10, as its account page exports them.

TMDb ID, IMDb ID, Type, Name, Release Date, Season Number, Episode Number, Rating, Your Rating,
Date Rated. ``Rating`` is everybody's mean; a TV series' id is of another numbering than a movie's.
"""

from collections.abc import Sequence
from functools import partial

from .files import Sheet
from .reading import Reading, each_sheet
from .rows import (
    HALVES_OF_TEN,
    NOT_A_MOVIE,
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

SOURCE = "tmdb"


def reading(sheets: Sequence[Sheet]) -> Reading | None:
    found = [
        sheet
        for sheet in sheets
        if sheet.has("tmdbid", "rating") and (sheet.has("name") or sheet.has("yourrating"))
    ]
    return each_sheet(SOURCE, found, lambda *given: partial(_row, *given), personal=True)


def _row(sheet: Sheet, asked: Asked, line: int, record: Record) -> RatingRow:
    if text_of(record.get("type")).casefold() not in {"", "movie"}:
        raise Skip(NOT_A_MOVIE)
    value = half_points(
        record.get("yourrating" if sheet.has("yourrating") else "rating"), HALVES_OF_TEN
    )
    clue = clue_of(
        record.get("imdbid"),
        record.get("tmdbid"),
        first(record, "name", "title"),
        text_of(first(record, "releasedate", "year"))[:4],
    )
    date = first(record, "daterated", "ratedat")
    return RatingRow(line, asked.user_id, clue, value, version_of(date, asked, sheet.file.modified))
