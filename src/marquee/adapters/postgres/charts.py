"""The chart, read off its indexes, here and on the other shards."""

from functools import partial
from typing import Any

import msgspec

from ...model import Chart, ChartQuery, Prior, Standing, slot_of
from .catalogue import IN_ORDER, MOVIE, RARE, STANDING, standing
from .server import Cursor, rows_of
from .shards import AGREED, Postgres, dict_of, prior_of

REFRESHING = 0x4D525145
"""The advisory lock of who refreshes the ten: "MRQE"."""

ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(%s)"
REFRESH = "REFRESH MATERIALIZED VIEW CONCURRENTLY top10_rated_movie"
TEN = f"""
    SELECT {MOVIE}, distribution, won FROM top10_rated_movie
    ORDER BY rate DESC, box_office DESC NULLS LAST, number DESC, id"""
NOW = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
CHANGED = f"""
    UPDATE ten SET content = %(content)s, changed_at = greatest({NOW}, refreshed_at + 1)
    WHERE content <> %(content)s"""
REFRESHED = f"""
    UPDATE ten SET refreshed_at = greatest({NOW}, changed_at, refreshed_at + 1)
    RETURNING changed_at, refreshed_at"""
LAST = "SELECT changed_at, refreshed_at FROM ten WHERE refreshed_at > 0"
AT = f"SELECT changed_at, {NOW} FROM ten"

OF_GENRE = f"SELECT id FROM listed WHERE genre_keys @> ARRAY[%s] LIMIT {RARE + 1}"
NOMINATED = """
    SELECT movie_id FROM nomination WHERE movie_id IS NOT NULL
    GROUP BY movie_id HAVING bool_or(won) = %s"""

encode = msgspec.json.Encoder().encode


class PostgresCharts:
    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def refresh(self) -> Chart:
        return await self._postgres.home.transact(refresh)

    async def ten(self) -> Chart | None:
        return await self._postgres.lists(read_ten)

    async def chart(self, query: ChartQuery) -> Chart:
        return await self._postgres.lists(partial(read_chart, query=query))


async def refresh(cursor: Cursor) -> Chart:
    await cursor.execute(ONE_AT_A_TIME, (REFRESHING,))
    await cursor.execute(IN_ORDER)
    await cursor.execute(REFRESH)
    entries, prior = await read_entries(cursor)
    await cursor.execute(CHANGED, {"content": encode((prior, entries)).decode()})
    ((changed_at, refreshed_at),) = await rows_of(cursor, REFRESHED)
    return Chart(entries, changed_at, refreshed_at, prior)


async def read_ten(cursor: Cursor) -> Chart | None:
    last = await rows_of(cursor, LAST)
    if not last:
        return None
    # Entries of a refresh in between are no harm: its time comes with the next look.
    entries, prior = await read_entries(cursor)
    ((changed_at, refreshed_at),) = last
    return Chart(entries, changed_at, refreshed_at, prior)


async def read_entries(cursor: Cursor) -> tuple[tuple[Standing, ...], Prior]:
    prior = prior_of(dict_of(await rows_of(cursor, AGREED)))
    return tuple(standing(row) for row in await rows_of(cursor, TEN)), prior


async def read_chart(cursor: Cursor, query: ChartQuery) -> Chart:
    agreed = dict_of(await rows_of(cursor, AGREED))
    where: list[str] = ["title IS NOT NULL", "number > 0"]
    values: list[Any] = []

    def only(condition: str, *wanted: Any) -> None:
        if None not in wanted:
            where.append(condition)
            values.extend(wanted)

    only("genre_keys @> ARRAY[%s]", query.genre and query.genre.casefold())
    only("year >= %s", query.year_from)
    only("year <= %s", query.year_to)
    only("number >= %s", query.min_ratings if query.min_ratings > 1 else None)
    for ids in await few(cursor, query):
        slots = {slot_of(id, int(agreed["slots"])) for id in ids}
        only("slot = ANY(%s) AND id = ANY(%s)", list(slots), ids)
    await cursor.execute(IN_ORDER)
    rows = await rows_of(
        cursor,
        f"{STANDING} WHERE {' AND '.join(where)} "
        f"ORDER BY {'mean' if query.by_mean else 'rate'} DESC, box_office DESC NULLS LAST, "
        f"number DESC, id LIMIT {query.limit}",
        values,
    )
    ((changed_at, now),) = await rows_of(cursor, AT)
    return Chart(tuple(standing(row) for row in rows), changed_at, now, prior_of(agreed))


async def few(cursor: Cursor, query: ChartQuery) -> list[list[str]]:
    """What narrows a chart to a few movies, whose ids are sooner sorted than met along it."""
    found = []
    if query.won is not None:
        found.append([id for (id,) in await rows_of(cursor, NOMINATED, (query.won,))])
    if query.genre is not None:
        of_genre = await rows_of(cursor, OF_GENRE, (query.genre.casefold(),))
        if len(of_genre) <= RARE:
            found.append([id for (id,) in of_genre])
    return found
