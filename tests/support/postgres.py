"""Databases of a test's own, on the servers of the engine."""

import secrets
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from marquee.adapters.postgres import (
    Postgres,
    PostgresCatalogue,
    PostgresCharts,
    PostgresTotals,
    migrate,
)
from tests.support import engine

SLOTS = 4
"""Enough to have several on each shard; each costs a new database a while."""

EMPTY = """
    DELETE FROM dead_letter;
    DELETE FROM nomination;
    DELETE FROM note;
    UPDATE revision SET number = 0;
    UPDATE ten SET content = '', changed_at = 0, refreshed_at = 0;
    UPDATE slot SET position = 0, mark = ''"""

_kept = ExitStack()
_sets: dict[int, list[str]] = {}


def servers() -> list[str]:
    return engine.need("postgres")["MARQUEE_MOVIES_URL"].split()


@contextmanager
def databases(shards: int = 1) -> Iterator[list[str]]:
    """The addresses of so many new databases, each on its own server while there are enough."""
    with ExitStack() as stack:
        every = servers()
        yield [stack.enter_context(database(every[n % len(every)])) for n in range(shards)]


@contextmanager
def database(server: str) -> Iterator[str]:
    name = f"test_{secrets.token_hex(8)}"
    execute(server, f"CREATE DATABASE {name}")
    try:
        yield make_conninfo(server, dbname=name)
    finally:
        drop(server, name)


def emptied(shards: int) -> list[str]:
    """Databases with Marquee's schema and nothing in it: made once, then emptied for each test."""
    if shards not in _sets:
        _sets[shards] = _kept.enter_context(databases(shards))
        migrate(_sets[shards], SLOTS)
    for url in _sets[shards]:
        with psycopg.connect(url, connect_timeout=5) as connection:
            connection.execute(EMPTY)
            for (slot,) in connection.execute("SELECT no FROM slot").fetchall():
                for table in ("applied", "movie", "listed"):
                    connection.execute(f"DELETE FROM {table}_{slot}")
    return _sets[shards]


def drop(server: str, name: str) -> None:
    """Who is leaving it is waited for, an autovacuum is ended; only what then still holds it is
    ended by force, which an autovacuum could not be."""
    try:
        execute(server, f"DROP DATABASE {name}")
    except psycopg.errors.ObjectInUse:
        execute(server, f"DROP DATABASE {name} WITH (FORCE)")


def execute(url: str, query: str, values: Sequence[object] | None = None) -> list[Any]:
    with psycopg.connect(url, autocommit=True, connect_timeout=5) as connection:
        cursor = connection.execute(query, values)
        return cursor.fetchall() if cursor.description else []


class Stores:
    def __init__(self, urls: Sequence[str], read_url: str = "") -> None:
        self.postgres = Postgres(urls, read_url)
        self.totals = PostgresTotals(self.postgres)
        self.catalogue = PostgresCatalogue(self.postgres)
        self.charts = PostgresCharts(self.postgres)

    async def are_counted_right(self) -> bool:
        pages = [page async for page in self.totals.scan_totals()]
        assert any(pages)
        return all(stored == counted for page in pages for _, stored, counted in page)


@asynccontextmanager
async def opened(urls: Sequence[str], read_url: str = "") -> AsyncIterator[Stores]:
    stores = Stores(urls, read_url)
    try:
        yield stores
    finally:
        await stores.postgres.close()


def drop_all() -> None:
    _kept.close()
    _sets.clear()
