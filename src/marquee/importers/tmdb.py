"""TMDB: the ratings of one person, 0.5–10.

As its account page exports them: TMDb ID, IMDb ID, Type, Name, Release Date, Season Number, Episode
Number, Rating, Your Rating, Date Rated. ``Rating`` is everybody's mean there, and the list of what
one wants to see has the same columns. As its API answers, or as tables made of that: id, title,
release_date, rating, account_rating {created_at, value}; of series name and first_air_date.

A series' id is of another numbering than a movie's.
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
    found = list(filter(_is_ours, sheets))
    # Without one's own rating in it, a file beside those is a list: its ratings are everybody's.
    mine = [sheet for sheet in found if sheet.has("yourrating") or not sheet.has("tmdbid")]
    return each_sheet(SOURCE, mine or found, lambda *given: partial(_row, *given), personal=True)


def _is_ours(sheet: Sheet) -> bool:
    exported = sheet.has("tmdbid", "rating") and (sheet.has("name") or sheet.has("yourrating"))
    dated = sheet.has("releasedate") or sheet.has("firstairdate")
    return exported or (sheet.has("id", "rating") and dated)


def _row(sheet: Sheet, asked: Asked, line: int, record: Record) -> RatingRow:
    kind = text_of(first(record, "type", "mediatype")).casefold()
    if kind not in {"", "movie"} or text_of(record.get("firstairdate")):
        raise Skip(NOT_A_MOVIE)
    mine = "yourrating" if sheet.has("yourrating") else "rating"
    value = half_points(first(record, "accountratingvalue", mine), HALVES_OF_TEN)
    clue = clue_of(
        record.get("imdbid"),
        first(record, "tmdbid", "id"),
        first(record, "name", "title"),
        text_of(first(record, "releasedate", "year"))[:4],
    )
    date = first(record, "daterated", "ratedat", "accountratingcreatedat")
    return RatingRow(line, asked.user_id, clue, value, version_of(date, asked, sheet.file.modified))
