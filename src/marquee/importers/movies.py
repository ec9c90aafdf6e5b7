"""Movies for the catalogue, as a table or JSON: our own export, and what others call one.

Our own columns: id, title, year, genres, boxOffice, imdbId, tmdbId; of them only the title must be
there. With all of them it is our own export, and ids are taken to the letter; elsewhere those of
IMDb may lack zeros, or have too many. Genres are divided by "|" or commas, or a JSON list. Known
too, by their columns:

- tmdb_5000_movies.csv: ids are TMDB's, revenue below 1,000 is unknown (0), or was entered in
  millions.
- fivethirtyeight's bechdel/movies.csv: the IMDb id without a name to it, titles with HTML entities,
  worldwide gross.
- vega's movies.json: titles that are numbers, release dates of the wrong century ("Dec 31 2046"),
  no ids.

A movie without an id of its own gets IMDb's, TMDB's ("tmdb-19995"), or one made of title and year.
"""

import html
import json
import re
from collections.abc import Callable, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any

from .. import titles
from ..model import Movie, has_control
from .files import Sheet
from .reading import Reading, each_sheet
from .rows import (
    UNKNOWN,
    Asked,
    BadRow,
    MovieRow,
    Record,
    check_movie,
    first,
    imdb_id_of,
    moment_of,
    text_of,
    tmdb_id_of,
    whole_of,
    year_of,
)

SOURCE = "movies"

OURS = ("id", "title", "year", "genres", "boxoffice", "imdbid", "tmdbid")
"""The columns of our export, folded."""

NEWEST_OF_VEGA = 2011
"""vega's list ends there: what is dated later was released a century before."""

_IMDB_ID = re.compile("tt[0-9]{1,10}")


def reading(sheets: Sequence[Sheet]) -> Reading | None:
    forms = {sheet: form for sheet in sheets if (form := _form(sheet))}

    def read(sheet: Sheet, _: Asked) -> "partial[MovieRow]":
        return partial(_row, forms[sheet])

    return each_sheet(SOURCE, forms, read)


def _row(form: Callable[[Record], MovieRow], line: int, record: Record) -> MovieRow:
    row = form(record)
    check_movie(row.movie)
    return row._replace(line=line)


def _form(sheet: Sheet) -> Callable[[Record], MovieRow] | None:
    """What makes a movie of this file's records; None where they are none of ours."""
    if sheet.has("imdb", "title", "intgross"):
        return _fivethirtyeight
    if sheet.has("title", "worldwidegross", "usgross"):
        return _vega
    if is_of_tmdb(sheet):
        return _tmdb
    if sheet.has(*OURS):
        return partial(_own, _id_to_the_letter)
    return partial(_own, imdb_id_of) if sheet.has("title") else None


def is_of_tmdb(sheet: Sheet) -> bool:
    return sheet.has("id", "title", "revenue")


def may_be_else(sheet: Sheet) -> bool:
    """Whether a file with titles looks like one of ratings, or of nominations, that nobody knows:
    to be read as movies only where somebody says so."""
    others = ("rating", "rate", "yourrating", "userid", "won", "winner", "nomineesorwinner")
    return any(map(sheet.has, others))


def _own(read_id: Callable[[Any], str | None], record: Record) -> MovieRow:
    title, year = _exact(record.get("title")), year_of(record.get("year"))
    movie_id = text_of(record.get("id"))
    if _IMDB_ID.fullmatch(movie_id):
        movie_id = read_id(movie_id) or movie_id
    if "year" not in record:
        title, year = titles.split_year(title)
    imdb_id = read_id(first(record, "imdbid", "imdb"))
    tmdb_id = tmdb_id_of(first(record, "tmdbid", "tmdb"))
    movie = Movie(
        movie_id or _id_of(title, year, imdb_id, tmdb_id),
        title if movie_id else titles.display(title),
        year,
        _genres(first(record, "genres", "genre")),
        _money(first(record, "boxoffice", "gross")),
        imdb_id,
        tmdb_id,
    )
    return MovieRow(0, movie, own=bool(movie_id))


def _tmdb(record: Record) -> MovieRow:
    title = titles.display(text_of(record.get("title")))
    year = year_of(text_of(record.get("releasedate"))[:4])
    imdb_id, tmdb_id = imdb_id_of(record.get("imdbid")), tmdb_id_of(record.get("id"))
    revenue = _money(record.get("revenue"))
    if revenue is not None and revenue < 1000:
        revenue = None
    movie_id = _id_of(title, year, imdb_id, tmdb_id)
    genres = _genres(record.get("genres"))
    return MovieRow(0, Movie(movie_id, title, year, genres, revenue, imdb_id, tmdb_id))


def _fivethirtyeight(record: Record) -> MovieRow:
    title = titles.display(text_of(html.unescape(text_of(record.get("title")))))
    year, imdb_id = year_of(record.get("year")), imdb_id_of(record.get("imdb"))
    gross = _money(record.get("intgross"))
    if gross is None:
        gross = _money(record.get("domgross"))
    movie_id = _id_of(title, year, imdb_id, None)
    return MovieRow(0, Movie(movie_id, title, year, (), gross, imdb_id))


def _vega(record: Record) -> MovieRow:
    title = titles.display(text_of(record.get("title")))
    date = text_of(record.get("releasedate"))
    moment = moment_of(date)
    if moment is None and date.casefold() not in UNKNOWN:
        raise BadRow("the date can't be read", date)
    year = moment.year if moment else None
    if year is not None and year > NEWEST_OF_VEGA:
        year -= 100
    gross = _money(record.get("worldwidegross")) or _money(record.get("usgross")) or None
    genres = _genres(record.get("majorgenre"))
    return MovieRow(0, Movie(_id_of(title, year, None, None), title, year, genres, gross))


# ---- fields ------------------------------------------------------------------------------------


def _id_to_the_letter(cell: Any) -> str | None:
    """IMDb's id as our export has it."""
    text = text_of(cell)
    return text if _IMDB_ID.fullmatch(text) else imdb_id_of(text)


def _exact(cell: Any) -> str:
    """A title to the letter, if a store can keep it so."""
    return cell if isinstance(cell, str) and cell and not has_control(cell) else text_of(cell)


def _money(cell: Any) -> int | None:
    return whole_of(cell, "the box office is no whole number from 0 to 2^53")


def _genres(cell: Any) -> tuple[str, ...]:
    """Genres from a list, or from a text with one inside, or from one divided by "|" or commas.

    In a list they may be objects with a name, as TMDB's are.
    """
    if isinstance(cell, str) and cell.lstrip().startswith("["):
        try:
            cell = json.loads(cell)
        except (ValueError, RecursionError):
            raise BadRow("the genres can't be read", cell) from None
    if isinstance(cell, str):
        cell = [name.strip() for name in cell.split("|" if "|" in cell else ",")]
    if not isinstance(cell, list):
        return ()
    names = (genre.get("name") if isinstance(genre, dict) else genre for genre in cell)
    return tuple(name for name in map(_exact, names) if name.strip())


def _id_of(title: str, year: int | None, imdb_id: str | None, tmdb_id: int | None) -> str:
    if imdb_id:
        return imdb_id
    if tmdb_id:
        return f"tmdb-{tmdb_id}"
    name = f"{titles.key(title)} {year or ''}"
    return "m-" + blake2b(name.encode(), digest_size=8).hexdigest()
