"""Letterboxd: the ratings of one person, in half stars.

The export (a .zip) holds ratings.csv (Date, Name, Year, Letterboxd URI, Rating), and diary.csv and
reviews.csv with what was rated at each viewing. The newest word on every film is in ratings.csv:
where it is there, it alone is read. Read too is what Letterboxd itself imports (tmdbID, imdbID,
Title, Year, Rating or Rating10, WatchedDate), as other sites write it.
"""

from collections.abc import Sequence
from functools import partial

from .files import Sheet
from .reading import Reading, each_sheet
from .rows import (
    HALF_STARS,
    WHOLE_TEN,
    Asked,
    RatingRow,
    Record,
    clue_of,
    first,
    half_points,
    version_of,
)

SOURCE = "letterboxd"


def reading(sheets: Sequence[Sheet]) -> Reading | None:
    found = [sheet for sheet in sheets if _is_ours(sheet)]
    newest = [sheet for sheet in found if not sheet.has("watcheddate")]
    return each_sheet(SOURCE, newest or found, lambda *given: partial(_row, *given), personal=True)


def _is_ours(sheet: Sheet) -> bool:
    rated = sheet.has("rating") or sheet.has("rating10")
    theirs = sheet.has("name", "letterboxduri")
    imported = sheet.has("title") and (sheet.has("rating10") or sheet.has("watcheddate"))
    return rated and (theirs or imported)


def _row(sheet: Sheet, asked: Asked, line: int, record: Record) -> RatingRow:
    if stars := first(record, "rating"):
        value = half_points(stars, HALF_STARS)
    else:
        value = half_points(record.get("rating10"), WHOLE_TEN)
    clue = clue_of(
        record.get("imdbid"),
        record.get("tmdbid"),
        first(record, "name", "title"),
        record.get("year"),
    )
    date = first(record, "date", "watcheddate", "createddate")
    return RatingRow(line, asked.user_id, clue, value, version_of(date, asked, sheet.file.modified))
