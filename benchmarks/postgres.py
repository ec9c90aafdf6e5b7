"""PostgreSQL: the fold, against the very statements that it asks without a thought between them;
and the ten of two shards, refreshed, however many movies there are. Needs ``make engine``."""

import asyncio
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import islice
from statistics import median
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from engine.engine import default_engine
from marquee import garbage
from marquee.adapters.postgres import Postgres, PostgresCharts, PostgresTotals, migrate
from marquee.adapters.postgres.server import BY_KEY, LIMITS, Cursor, Server, parameters
from marquee.aggregation import BATCH
from marquee.model import RatingChanged, slot_of
from marquee.ports import Batch

from .measuring import Missing, Row, Size, by_turns, medians

MOVIES = 2000
EVENTS = 40_000
SLOTS = 16
REFRESHES = 50
GOAL, GOAL_RATE, GOAL_GROWTH, GOAL_REFRESH = 0.8, 10_000, 2.0, 1.5

APPLIED = "COPY applied_0 (version, value, movie_id, rater) FROM STDIN"
RATED = "COPY movie_{slot} (id, title, year, box_office, number, total) FROM STDIN"
CHANGE = """
    UPDATE movie_{slot} SET box_office = box_office + 1 WHERE id = %s"""

Statement = tuple[Any, Any]


def rows(size: Size) -> Iterator[Row]:
    servers = addresses()
    yield from folds(servers[0], size)
    yield refreshes(servers, size)


def addresses() -> list[str]:
    engine = default_engine()
    if not engine.parts["postgres"].lives:
        raise Missing("PostgreSQL does not run: make engine ARGS=small")
    return engine.variables(["postgres"])["MARQUEE_MOVIES_URL"].split()


@contextmanager
def database(server: str, template: str = "template1") -> Iterator[str]:
    name = f"bench_{secrets.token_hex(6)}"
    run(server, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    try:
        yield make_conninfo(server, dbname=name)
    finally:
        run(server, f"DROP DATABASE {name}")  # waits until who cleans it up has left


def run(url: str, query: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(query)


# ---- the fold ----------------------------------------------------------------------------------


def folds(server: str, size: Size) -> Iterator[Row]:
    applied = [10**4, 10**5] + [10**6] * (not size.quick) + [10**7] * size.large
    movies = list(islice((f"m{n}" for n in range(10**6) if slot_of(f"m{n}", SLOTS) == 0), MOVIES))
    with ExitStack() as stack:
        filled = [stack.enter_context(database(server)) for _ in applied]
        for url, number in zip(filled, applied, strict=True):
            fill(url, movies, number)
        spread, hot = (batches(some, applied[1]) for some in (movies, movies[:1]))
        statements = on_copy(server, filled[1], partial(listed, spread))
        garbage.settle()  # as `marquee serve` does
        *costs, of_one, hand = medians(
            by_turns(
                size.rounds,
                *(partial(on_copy, server, url, partial(fold, spread)) for url in filled),
                partial(on_copy, server, filled[1], partial(fold, hot)),
                partial(on_copy, server, filled[1], partial(replay, statements)),
            )
        )
    ours = costs[1]
    yield Row(
        f"PostgreSQL: the fold, {applied[1]:,} applied ratings",
        f"{EVENTS / ours:,.0f} events/s",
        f"{EVENTS / hand:,.0f}/s same SQL by hand",
        hand / ours,
        f"≥ {GOAL}, {GOAL_RATE:,} events/s",
        hand / ours >= GOAL and EVENTS / ours >= GOAL_RATE,
        {"marquee": EVENTS / ours, "by hand": EVENTS / hand},
    )
    yield Row(
        "… all events of one movie",
        f"{EVENTS / of_one:,.0f} events/s",
        f"{EVENTS / ours:,.0f}/s of {MOVIES:,} movies",
        ours / of_one,
        "≥ 1",
        ours >= of_one,
        {"one movie": EVENTS / of_one},
    )
    growth = max(costs) / costs[0]
    yield Row(
        f"… an event, from {applied[0]:,} to {applied[-1]:,}",
        ", ".join(f"{cost / EVENTS * 1e6:.1f}" for cost in costs) + " µs",
        "the cost at the fewest",
        growth,
        f"≤ {GOAL_GROWTH}",
        growth <= GOAL_GROWTH,
        {f"µs at {n}": cost / EVENTS * 1e6 for n, cost in zip(applied, costs, strict=True)},
    )


def fill(url: str, movies: list[str], applied: int) -> None:
    migrate([url], SLOTS)
    with psycopg.connect(url, autocommit=True) as connection:
        copied = connection.cursor().copy(RATED.format(slot=0))
        with copied as copy:
            for number, id in enumerate(movies):
                copy.write_row((id, f"Movie {number}", 1920 + number % 100, number, 0, 0))
        with connection.cursor().copy(APPLIED) as copy:
            for number in range(applied):
                rater = (number // MOVIES).to_bytes(16)
                copy.write_row((1 + number, 1 + number % 20, movies[number % MOVIES], rater))
        connection.execute("VACUUM ANALYZE")


def batches(movies: list[str], applied: int) -> list[Batch]:
    """Half of new ratings, half of changed ones, as a partition's log has them."""
    dice = random.Random(1)
    raters = 2 * applied // MOVIES * MOVIES // len(movies)
    version = time.time_ns() // 1000
    events = [
        RatingChanged(
            dice.choice(movies),
            dice.randrange(raters).to_bytes(16),
            version + number,
            dice.randint(1, 20),
        )
        for number in range(EVENTS)
    ]
    return [
        Batch(events[start : start + BATCH], (), 0, start, start + BATCH)
        for start in range(0, EVENTS, BATCH)
    ]


def on_copy(server: str, filled: str, measure: Callable[[str], Any]) -> Any:
    with database(server, str(conninfo_to_dict(filled)["dbname"])) as url:
        return measure(url)


def fold(work: list[Batch], url: str) -> float:
    """Seconds in which the store folds all events."""

    async def main() -> float:
        postgres = Postgres([url])
        totals = PostgresTotals(postgres)
        await totals.position(0)
        start = time.perf_counter()
        for batch in work:
            await totals.fold(batch)
        taken = time.perf_counter() - start
        await postgres.close()
        return taken

    return asyncio.run(main())


class Listing(Server):
    """In the place of a server: lists all statements of its transactions."""

    statements: list[Statement]

    async def transact(self, job: Callable[[Any], Awaitable[Any]], **options: Any) -> Any:
        async def listed(cursor: Cursor) -> Any:
            self.statements.append(("BEGIN", None))
            result = await job(Listed(cursor, self.statements))
            self.statements.append(("COMMIT", None))
            return result

        return await super().transact(listed, **options)


class Listed:
    """A cursor that keeps what it is asked."""

    def __init__(self, cursor: Cursor, statements: list[Statement]) -> None:
        self._cursor = cursor
        self._statements = statements

    async def execute(self, query: Any, values: Any = None) -> None:
        self._statements.append((query, values))
        await self._cursor.execute(query, values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


def listed(work: list[Batch], url: str) -> list[Statement]:
    """Every statement of the fold, with its values."""

    async def main() -> list[Statement]:
        postgres = Postgres([url])
        listing = Listing(url)
        listing.statements = []
        postgres.shards[0] = listing
        for batch in work:
            await PostgresTotals(postgres).fold(batch)
        await listing.close()
        await postgres.close()
        return listing.statements

    return asyncio.run(main())


def replay(statements: list[Statement], url: str) -> float:
    settings = parameters(url, LIMITS | BY_KEY)
    with psycopg.connect(**settings) as connection:
        cursor = connection.cursor(binary=True)
        start = time.perf_counter()
        for query, values in statements:
            cursor.execute(query, values)
            if cursor.description:
                cursor.fetchall()
        return time.perf_counter() - start


# ---- the ten -----------------------------------------------------------------------------------


def refreshes(servers: list[str], size: Size) -> Row:
    movies = (10**4, 10**5 if size.quick else 10**6)
    with ExitStack() as stack:
        sets = [[stack.enter_context(database(server)) for server in servers] for _ in movies]
        for urls, number in zip(sets, movies, strict=True):
            fill_charts(urls, number)
        few, many = asyncio.run(refresh(sets))
    return Row(
        f"… refreshing the ten, two shards, {movies[1]:,}",
        f"{many * 1e3:.1f} ms",
        f"{few * 1e3:.1f} ms with {movies[0]:,}",
        many / few,
        f"≤ {GOAL_REFRESH}",
        many / few <= GOAL_REFRESH,
        {f"ms at {n}": cost * 1e3 for n, cost in zip(movies, (few, many), strict=True)},
    )


def fill_charts(urls: list[str], movies: int) -> None:
    """Movies of which each shard has its own, with totals of nothing in particular."""
    migrate(urls, SLOTS)
    by_slot: list[list[int]] = [[] for _ in range(SLOTS)]
    for number in range(movies):
        by_slot[slot_of(f"m{number}", SLOTS)].append(number)
    for shard, url in enumerate(urls):
        with psycopg.connect(url, autocommit=True) as connection:
            for slot in range(shard, SLOTS, len(urls)):
                with connection.cursor().copy(RATED.format(slot=slot)) as copy:
                    for number in by_slot[slot]:
                        copy.write_row(chart_row(number))
            connection.execute("VACUUM ANALYZE")


def chart_row(number: int) -> tuple[Any, ...]:
    ratings = 20 + number * 31 % 977
    total = ratings * (2 + number * 7919 % 37) // 2
    box_office = 1000 * (number * 7919 % 1000003)
    return f"m{number}", f"Movie {number}", 1920 + number % 100, box_office, ratings, total


async def refresh(sets: list[list[str]]) -> list[float]:
    """Median seconds of a refresh of each, by turns, after one of its ten has changed."""
    stores = [Postgres(urls) for urls in sets]
    taken: list[list[float]] = [[] for _ in sets]
    for _ in range(REFRESHES):
        for postgres, times in zip(stores, taken, strict=True):
            ten = await PostgresCharts(postgres).refresh()
            await postgres.at(ten.entries[0].movie.id, partial(change, ten.entries[0].movie.id))
            start = time.perf_counter()
            await PostgresCharts(postgres).refresh()
            times.append(time.perf_counter() - start)
    for postgres in stores:
        await postgres.close()
    return [median(times) for times in taken]


async def change(id: str, cursor: Cursor, slot: int) -> None:
    await cursor.execute(CHANGE.format(slot=slot), (id,))
