"""MovieLens: the data sets of GroupLens, of many users; and one person's export of the site.

ratings.csv (userId, movieId, rating in half stars, timestamp in seconds), movies.csv (movieId,
title with its year, genres), links.csv (movieId, imdbId without "tt", tmdbId): the last two are
looked for beside the first. Until 2009 there were no links and no names of columns: ratings.dat and
movies.dat, divided by "::", and before them u.data and u.item, with a column for each genre. Beside
u.data lie parts of it, to train with and to test. User 7 becomes ``movielens-7``. The site exports
movie_id, imdb_id, tmdb_id, rating, average_rating, title: without users and dates.
"""

from collections.abc import Iterator, Sequence
from functools import partial

from .. import titles
from ..errors import Invalid
from ..model import Movie, is_user_id
from ..ports import Clue
from .files import Sheet, find_files, fold_name
from .reading import Part, Reading, each_sheet, read_each
from .rows import (
    HALF_STARS,
    Asked,
    BadRow,
    MovieRow,
    RatingRow,
    Record,
    Row,
    RowError,
    Skip,
    Skipped,
    check_movie,
    checked,
    clue_of,
    half_points,
    text_of,
    version_of,
)

SOURCE = "movielens"

PARTS = (".base", ".test")
"""How the names of parts of u.data end."""

Ids = dict[str, tuple[str | None, int | None]]
"""MovieLens' id of a movie → IMDb's and TMDB's."""


def reading(sheets: Sequence[Sheet]) -> Reading | None:
    ours = [sheet for sheet in sheets if sheet.has("movieid") and not sheet.is_json]
    ratings = [sheet for sheet in ours if sheet.has("userid", "rating", "timestamp")]
    ratings = [sheet for sheet in ratings if not sheet.name.endswith(PARTS)] or ratings
    movies = [sheet for sheet in ours if _has_movies(sheet)]
    links = [sheet for sheet in ours if sheet.has("imdbid") and not sheet.has("rating")]
    if not ratings and not movies:
        mine = [sheet for sheet in ours if sheet.has("imdbid", "rating")]
        return each_sheet(SOURCE, mine, lambda *given: partial(_own_row, *given), personal=True)
    beside = _beside([*ratings, *movies])
    movies = movies or [sheet for sheet in beside if sheet.has("movieid") and _has_movies(sheet)]
    links = links or [sheet for sheet in beside if sheet.has("movieid", "imdbid")]
    if ratings and not movies and not links:
        raise Invalid(
            f"{ratings[0].name} names movies by MovieLens' own numbers: "
            "links.csv or movies.csv must lie beside it."
        )

    def parts(asked: Asked) -> Iterator[Part]:
        ids = _read_links(links)
        clues = {number: Clue(imdb, tmdb) for number, (imdb, tmdb) in ids.items()}
        for sheet in movies:
            flags = sheet.header[sheet.columns["unknown"] + 1 :] if sheet.has("unknown") else []
            yield sheet, read_each(sheet.records(), partial(_movie_row, ids, clues, flags))
        for sheet in ratings:
            yield sheet, _rating_rows(sheet, clues, asked)

    return Reading(SOURCE, (*links, *movies, *ratings), personal=False, parts=parts)


def _has_movies(sheet: Sheet) -> bool:
    return sheet.has("title", "genres") or sheet.has("title", "unknown", "western")


def _beside(sheets: list[Sheet]) -> list[Sheet]:
    """The links and movies that lie in the folder of a file which was named alone."""
    folder = sheets[0].file.path.parent
    if sheets[0].file.member is not None:
        return []
    paths = [folder / name for name in ("links.csv", "movies.csv", "movies.dat", "u.item")]
    return [Sheet(find_files(path)[0]) for path in paths if path.is_file()]


def _read_links(sheets: list[Sheet]) -> Ids:
    ids: Ids = {}
    for sheet in sheets:
        for item in sheet.records():
            if isinstance(item, RowError):
                continue
            _, record = item
            try:
                clue = clue_of(record.get("imdbid"), record.get("tmdbid"), "", None)
            except BadRow:
                continue
            ids[text_of(record.get("movieid"))] = clue.imdb_id, clue.tmdb_id
    return ids


def _movie_row(
    ids: Ids, clues: dict[str, Clue], flags: Sequence[str], line: int, record: Record
) -> MovieRow:
    """``flags``: the genres that have a column each."""
    number = text_of(record.get("movieid"))
    title, year = titles.split_year(text_of(record.get("title")))
    title = titles.display(title)
    if not number:
        raise BadRow("the movie has no number", title)
    imdb_id, tmdb_id = ids.get(number, (None, None))
    names = [name for name in flags if text_of(record.get(fold_name(name))) == "1"]
    names += text_of(record.get("genres")).split("|")
    genres = tuple(name for name in names if name and name[0] != "(")
    movie = Movie(imdb_id or f"movielens-{number}", title, year, genres, None, imdb_id, tmdb_id)
    check_movie(movie)
    clues[number] = Clue(imdb_id, tmdb_id, title, year)
    return MovieRow(line, movie)


def _rating_rows(sheet: Sheet, clues: dict[str, Clue], asked: Asked) -> Iterator[Row]:
    """The one loop that has to be quick: a data set may have 33 million rows."""
    names = ("userid", "movieid", "rating", "timestamp")
    user_at, movie_at, rating_at, time_at = (sheet.columns[name] for name in names)
    last: str | None = None
    user_id = ""
    for row in sheet.rows():
        if isinstance(row, RowError):
            yield row
            continue
        line, cells = row
        try:
            if cells[user_at] != last:
                user_id = _user_id(cells[user_at])
                last = cells[user_at]
            yield RatingRow(
                line,
                user_id,
                clues[cells[movie_at]],
                half_points(cells[rating_at], HALF_STARS),
                checked(int(cells[time_at]) * 1_000_000, asked, cells[time_at]),
            )
        except BadRow as bad:
            yield RowError(line, bad.why, bad.what)
        except Skip as skip:
            yield Skipped(line, str(skip))
        except KeyError:
            yield RowError(line, "links.csv and movies.csv lack the movie", cells[movie_at])
        except ValueError:
            yield RowError(line, "the date can't be read", cells[time_at][:60])
        except IndexError:
            yield RowError(line, "cells are missing")


def _user_id(cell: str) -> str:
    user_id = f"movielens-{text_of(cell)}"
    if not text_of(cell) or not is_user_id(user_id):
        raise BadRow("the user is none", cell)
    return user_id


def _own_row(sheet: Sheet, asked: Asked, line: int, record: Record) -> RatingRow:
    title, year = titles.split_year(text_of(record.get("title")))
    clue = clue_of(record.get("imdbid"), record.get("tmdbid"), titles.display(title), year)
    version = version_of(record.get("timestamp"), asked, sheet.file.modified)
    return RatingRow(
        line, asked.user_id, clue, half_points(record.get("rating"), HALF_STARS), version
    )
