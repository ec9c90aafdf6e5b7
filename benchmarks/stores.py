"""Databases as large as wanted, made at once: by SQL, not by rating."""

import sqlite3
from contextlib import closing
from pathlib import Path

from marquee.adapters.sqlite.database import connect, prepare
from marquee.adapters.sqlite.totals import recounts, write_totals

MOVIES = """
    INSERT INTO movie (no, id, title, title_key, year, box_office)
    SELECT value, printf('m%07d', value), 'Movie ' || value, 'movie ' || value,
        1920 + value % 100, 1000 * (value * 7919 % 1000003)
    FROM counted"""

RATED = """
    UPDATE movie SET number = 20 + no * 31 % 977, total = 10 * (20 + no * 31 % 977),
        rate = 10 + no * 7919 % 81, mean = 10 + no * 104729 % 81"""

RATINGS = """
    INSERT INTO rating SELECT printf('user-%07d', value / :movies),
        printf('m%07d', value % :movies), 1 + value * 7919 % 20, 1600000000000000 + value
    FROM counted"""

APPLIED = """
    INSERT INTO applied SELECT printf('m%07d', value / :raters),
        CAST(printf('%016d', value % :raters) AS BLOB), 1600000000000000 + value,
        1 + value * 7919 % 20
    FROM counted"""


def fill(file: Path, movies: int, *, ratings: int = 0, applied: int = 0) -> None:
    """``ratings`` and ``applied`` rows, spread evenly over the movies; totals of what is applied,
    or, where nothing is, of nothing in particular."""
    prepare(file)
    with closing(connect(file)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -200000")
        connection.execute("BEGIN")
        count(connection, MOVIES, movies)
        count(connection, RATINGS, ratings, movies=movies)
        count(connection, APPLIED, applied, raters=applied // movies)
        if applied:
            write_totals(connection, recounts(connection, "true", ()))
        else:
            connection.execute(RATED)
        connection.execute("COMMIT")


def count(connection: sqlite3.Connection, insert: str, number: int, **values: int) -> None:
    """Run an insert from the table ``counted``, the numbers below ``number``."""
    numbers = (
        "WITH RECURSIVE counted (value) AS "
        "(SELECT 0 UNION ALL SELECT value + 1 FROM counted WHERE value + 1 < :number)"
    )
    if number:
        connection.execute(f"{numbers} {insert}", {"number": number, **values})


def movies_of(file: Path) -> list[str]:
    with closing(sqlite3.connect(file)) as connection:
        return [row[0] for row in connection.execute("SELECT id FROM movie WHERE title NOT NULL")]
