"""Movies and nominations."""

import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import astuple
from typing import Any

import msgspec

from ... import titles
from ...errors import Conflict
from ...model import Merged, Movie, Nomination, Standing, complete, place_of
from ...ports import Clue
from .database import PAGE, Database
from .totals import decode_totals

STANDING = """
    SELECT movie.id, title, year, genres, box_office, imdb_id, tmdb_id, distribution,
        (SELECT max(won) FROM nomination WHERE nomination.movie_id = movie.id)"""
OF_GENRE = "movie_genre CROSS JOIN movie ON movie.id = movie_genre.id"
"""Movies by way of their genre: SQLite keeps the order of a CROSS JOIN."""

PUT = """
    INSERT INTO movie (id, title, title_key, year, genres, box_office, imdb_id, tmdb_id)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET title = excluded.title, title_key = excluded.title_key,
    year = excluded.year, genres = excluded.genres, box_office = excluded.box_office,
    imdb_id = excluded.imdb_id, tmdb_id = excluded.tmdb_id
    RETURNING no"""

decode_genres = msgspec.json.Decoder(tuple[str, ...]).decode
encode = msgspec.json.Encoder().encode


class SqliteCatalogue:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, movie: Movie) -> bool:
        def job(connection: sqlite3.Connection) -> bool:
            there = has(connection, movie.id)
            write_movie(connection, movie)
            revise(connection)
            return not there

        return await self._database.write(job)

    async def add(self, movie: Movie) -> None:
        def job(connection: sqlite3.Connection) -> None:
            if has(connection, movie.id):
                raise Conflict(f"There is a movie {movie.id} already.")
            write_movie(connection, movie)
            revise(connection)

        await self._database.write(job)

    async def delete(self, movie_id: str) -> bool:
        def job(connection: sqlite3.Connection) -> bool:
            if not has(connection, movie_id):
                return False
            (no,) = connection.execute("SELECT no FROM movie WHERE id = ?", (movie_id,)).fetchone()
            connection.execute("DELETE FROM movie_words WHERE rowid = ?", (no,))
            connection.execute("DELETE FROM movie_genre WHERE id = ?", (movie_id,))
            # A stub stays, with the totals of the ratings that stay.
            connection.execute(
                "UPDATE movie SET title = NULL, title_key = NULL, year = NULL, genres = '[]', "
                "box_office = NULL, imdb_id = NULL, tmdb_id = NULL WHERE no = ?",
                (no,),
            )
            revise(connection)
            return True

        return await self._database.write(job)

    async def has(self, movie_id: str) -> bool:
        return await self._database.read(lambda connection: has(connection, movie_id))

    async def get(self, movie_id: str) -> Standing | None:
        found = await self._select("WHERE id = ? AND title IS NOT NULL", (movie_id,))
        return found[0] if found else None

    async def search(
        self, query: str, genre: str | None, year: int | None, after: str | None, limit: int
    ) -> tuple[list[Standing], str | None]:
        where = ["title IS NOT NULL"]
        values: list[str | int] = []
        if query:
            words, key = titles.words(query), titles.place(query)
            if not words or not key:
                return [], None
            if any(map(str.isalnum, "".join(words))):
                where.append("no IN (SELECT rowid FROM movie_words WHERE movie_words MATCH ?)")
                values.append(" ".join('"' + word.replace('"', '""') + '"*' for word in words))
            else:  # "$", "!!!": to SQLite signs are no words, but of such a title they are the key
                where.append("movie.title_key BETWEEN ? AND ?")
                values += [key, f"{key}\U0010ffff"]
        source, order = "movie", "title_key, id"
        if genre is not None:
            source, order = OF_GENRE, "movie_genre.title_key, movie_genre.id"
            where.append("genre = ?")
            values.append(genre.casefold())
        if year is not None:
            where.append("year = ?")
            values.append(year)
        if after is not None:
            where.append(f"({order}) > (?, ?)")
            values += after.rsplit("\n", 1)
        tail = f"WHERE {' AND '.join(where)} ORDER BY {order} LIMIT {limit + 1}"
        found = await self._select(tail, tuple(values), source)
        if len(found) <= limit:
            return found, None
        last = found[limit - 1].movie
        return found[:limit], f"{titles.place(last.title)}\n{last.id}"

    async def scan(self) -> AsyncIterator[list[Standing]]:
        after = ""
        while page := await self._select(
            f"WHERE id > ? AND title IS NOT NULL ORDER BY id LIMIT {PAGE}", (after,)
        ):
            yield page
            after = page[-1].movie.id

    async def match(self, clues: Sequence[Clue]) -> list[tuple[str, ...]]:
        return await self._database.read(lambda c: [match(c, clue) for clue in clues])

    async def merge(self, movies: Sequence[Movie]) -> Merged:
        def job(connection: sqlite3.Connection) -> Merged:
            where = "WHERE id = ? AND title IS NOT NULL"
            known = {
                standing.movie.id: standing.movie
                for movie in movies
                for standing in select(connection, where, (movie.id,))
            }
            merged, changed = complete(known, movies, lambda movie: movie.id)
            for movie in changed.values():
                write_movie(connection, movie)
            if changed:
                revise(connection)
            return merged

        return await self._database.write(job)

    async def merge_nominations(self, nominations: Sequence[Nomination]) -> Merged:
        def job(connection: sqlite3.Connection) -> Merged:
            known = {
                place: nomination(row)
                for place in map(place_of, nominations)
                for row in connection.execute(
                    f"{NOMINATION} WHERE ceremony = ? AND title_key = ?", place
                )
            }
            merged, changed = complete(known, nominations, place_of)
            rows = [(*place, *astuple(each)[1:]) for place, each in changed.items()]
            connection.executemany(PUT_NOMINATION, rows)
            if changed:
                revise(connection)
            return merged

        return await self._database.write(job)

    async def nominations(self) -> list[Nomination]:
        query = f"{NOMINATION} ORDER BY ceremony DESC, won DESC, title_key"
        return await self._database.read(lambda c: [nomination(row) for row in c.execute(query)])

    async def revision(self) -> int:
        query = "SELECT number FROM revision"
        return await self._database.read(lambda c: int(c.execute(query).fetchone()[0]))

    async def _select(
        self, tail: str, values: tuple[Any, ...], source: str = "movie"
    ) -> list[Standing]:
        return await self._database.read(lambda c: list(select(c, tail, values, source)))


NOMINATION = """
    SELECT ceremony, title, year, year_label, won, additional_info, movie_id FROM nomination"""
PUT_NOMINATION = """
    INSERT OR REPLACE INTO nomination (ceremony, title_key, title, year, year_label, won,
    additional_info, movie_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"""


def nomination(row: tuple[Any, ...]) -> Nomination:
    ceremony, title, year, year_label, won, additional_info, movie_id = row
    return Nomination(ceremony, title, year, year_label, bool(won), additional_info, movie_id)


def select(
    connection: sqlite3.Connection, tail: str, values: tuple[Any, ...], source: str = "movie"
) -> Iterator[Standing]:
    return map(standing, connection.execute(f"{STANDING} FROM {source} {tail}", values))


def standing(row: tuple[Any, ...]) -> Standing:
    id, title, year, genres, box_office, imdb_id, tmdb_id, distribution, won = row
    return Standing(
        Movie(id, title, year, decode_genres(genres), box_office, imdb_id, tmdb_id),
        decode_totals(distribution),
        None if won is None else bool(won),
    )


def has(connection: sqlite3.Connection, movie_id: str) -> bool:
    query = "SELECT 1 FROM movie WHERE id = ? AND title IS NOT NULL"
    return connection.execute(query, (movie_id,)).fetchone() is not None


def write_movie(connection: sqlite3.Connection, movie: Movie) -> None:
    row = (
        movie.id,
        movie.title,
        titles.place(movie.title),
        movie.year,
        encode(movie.genres).decode(),
        movie.box_office,
        movie.imdb_id,
        movie.tmdb_id,
    )
    ((no,),) = connection.execute(PUT, row).fetchall()
    connection.execute("DELETE FROM movie_words WHERE rowid = ?", (no,))
    connection.execute(
        "INSERT INTO movie_words (rowid, words) VALUES (?, ?)",
        (no, " ".join(titles.findable(movie.title))),
    )
    connection.execute("DELETE FROM movie_genre WHERE id = ?", (movie.id,))
    connection.executemany(
        "INSERT OR IGNORE INTO movie_genre (genre, title_key, id) VALUES (?, ?, ?)",
        [(genre.casefold(), titles.place(movie.title), movie.id) for genre in movie.genres],
    )


def match(connection: sqlite3.Connection, clue: Clue) -> tuple[str, ...]:
    title_key = titles.place(clue.title) if clue.title else None
    for where, values in (
        ("id = ?", (clue.imdb_id,)),
        ("imdb_id = ?", (clue.imdb_id,)),
        ("tmdb_id = ?", (clue.tmdb_id,)),
        ("title_key = ? AND year = ?", (title_key, clue.year)),
    ):
        if None in values:
            continue
        rows = connection.execute(
            f"SELECT id FROM movie WHERE {where} AND title IS NOT NULL LIMIT 2", values
        ).fetchall()
        if rows:
            return tuple(id for (id,) in rows)
    return ()


def revise(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE revision SET number = number + 1")
