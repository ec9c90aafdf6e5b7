"""The chart, read off its index."""

import sqlite3
from dataclasses import replace
from typing import Any

import msgspec

from ...model import TOP_TEN, Chart, ChartQuery, VersionClock
from .catalogue import OF_GENRE, select
from .database import Database, now_us, read_prior

RARE = 2000
HAS_GENRE = """
    EXISTS (SELECT 1 FROM movie_genre AS of_it WHERE of_it.genre = ?
        AND of_it.title_key = movie.title_key AND of_it.id = movie.id)"""
KEEP_TEN = "INSERT INTO top10_rated_movie (chart, changed_at) VALUES (?, ?)"

encode = msgspec.json.Encoder().encode


class SqliteCharts:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._ten: Chart | None = None
        self._clock = VersionClock(now_us)  # a clock set back must not make the ten look older

    async def refresh(self) -> Chart:
        chart, content, kept = await self._database.read(read_ten)
        if content != kept:
            chart = await self._database.write(keep_ten)
        self._ten = replace(chart, refreshed_at=self._clock.next())
        return self._ten

    async def ten(self) -> Chart | None:
        return self._ten

    async def chart(self, query: ChartQuery) -> Chart:
        return await self._database.read(lambda connection: read_chart(connection, query))


def read_ten(connection: sqlite3.Connection) -> tuple[Chart, str, str | None]:
    """The ten, its content as it is kept, and what is kept."""
    chart = read_chart(connection, TOP_TEN)
    kept = connection.execute("SELECT chart FROM top10_rated_movie").fetchone()
    return chart, encode((chart.prior, chart.entries)).decode(), kept and kept[0]


def keep_ten(connection: sqlite3.Connection) -> Chart:
    chart, content, _ = read_ten(connection)
    changed_at = now_us()
    connection.execute("DELETE FROM top10_rated_movie")
    connection.execute(KEEP_TEN, (content, changed_at))
    return replace(chart, changed_at=changed_at)


def read_chart(connection: sqlite3.Connection, query: ChartQuery) -> Chart:
    where: list[str] = ["title IS NOT NULL", "number > 0"]
    values: list[Any] = []

    def only(condition: str, value: str | int | None) -> None:
        if value is not None:
            where.append(condition)
            values.append(value)

    source, genre = "movie", None if query.genre is None else query.genre.casefold()
    if genre is not None and is_rare(connection, genre):
        source = OF_GENRE
        only("genre = ?", genre)
    else:
        only(HAS_GENRE, genre)
    only("year >= ?", query.year_from)
    only("year <= ?", query.year_to)
    only("number >= ?", query.min_ratings if query.min_ratings > 1 else None)
    if query.won is not None:
        only("(SELECT max(won) FROM nomination WHERE movie_id = movie.id) = ?", int(query.won))
    rank = "mean" if query.by_mean else "rate"
    tail = (
        f"WHERE {' AND '.join(where)} "
        f"ORDER BY {rank} DESC, box_office DESC, number DESC, movie.id LIMIT ?"
    )
    entries = tuple(select(connection, tail, (*values, query.limit), source))
    row = connection.execute("SELECT changed_at FROM top10_rated_movie").fetchone()
    return Chart(entries, row[0] if row else 0, now_us(), read_prior(connection))


def is_rare(connection: sqlite3.Connection, genre: str) -> bool:
    """Whether its movies are sooner sorted than met along the chart."""
    query = "SELECT count(*) FROM (SELECT 1 FROM movie_genre WHERE genre = ? LIMIT ?)"
    (found,) = connection.execute(query, (genre, RARE + 1)).fetchone()
    return int(found) <= RARE
