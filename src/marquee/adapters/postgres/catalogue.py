"""Movies and nominations: movies where their slots are, nominations at home."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from dataclasses import astuple
from functools import partial
from itertools import starmap
from operator import itemgetter
from typing import Any

import msgspec

from ... import titles
from ...errors import Conflict
from ...model import (
    Merged,
    Movie,
    Nomination,
    Standing,
    Totals,
    complete,
    has_control,
    place_of,
)
from ...ports import Clue
from .server import Cursor, Row, rows_of
from .shards import Postgres, SlotMap

PAGE = 1000

RARE = 1000
"""Movies that are sooner sorted than met along a list."""

LONGEST = 250
"""Characters of a word that are kept: an index takes no longer ones."""

MOVIE = "id, title, year, genres, box_office, imdb_id, tmdb_id"
WON = "(SELECT bool_or(won) FROM nomination WHERE movie_id = {id})"
STANDING = f"SELECT {MOVIE}, distribution, {WON.format(id='movie.id')} FROM movie"

HAS = "SELECT 1 FROM movie WHERE slot IN ({slots}) AND id = %s AND title IS NOT NULL"
GET = f"""
    SELECT {MOVIE}, distribution FROM movie
    WHERE slot IN ({{slots}}) AND id = %s AND title IS NOT NULL"""
HAS_WON = "SELECT bool_or(won) FROM nomination WHERE movie_id = %s"
SCAN = f"{STANDING} WHERE id > %s AND title IS NOT NULL ORDER BY id LIMIT {PAGE}"
LISTED = "SELECT slot, id, title_key FROM listed"
# Each table gives its rows in order, here and on other shards: to sort all would be to fetch all.
IN_ORDER = "SET LOCAL enable_sort = off"
SOME = f"{STANDING} WHERE slot = ANY(%s) AND id = ANY(%s) AND title IS NOT NULL"

TOLD = """
    json_to_recordset(%(movies)s::json) AS told (
        id text, title text, title_key text, year integer, genres text[], genre_keys text[],
        box_office bigint, imdb_id text, tmdb_id bigint, words text[])"""
INSERT_STUBS = f"INSERT INTO movie_{{slot}} (id) SELECT id FROM {TOLD} ON CONFLICT DO NOTHING"
LOCK = f"""
    SELECT {MOVIE} FROM movie_{{slot}} WHERE id = ANY(%(ids)s) ORDER BY id FOR NO KEY UPDATE"""
WRITE = f"""
    UPDATE movie_{{slot}} AS movie
    SET title = told.title, year = told.year, genres = told.genres, genre_keys = told.genre_keys,
        box_office = told.box_office, imdb_id = told.imdb_id, tmdb_id = told.tmdb_id
    FROM {TOLD} WHERE movie.id = told.id"""
LIST = f"""
    INSERT INTO listed_{{slot}} (id, title_key, year, genre_keys, imdb_id, tmdb_id, words)
    SELECT id, title_key, year, genre_keys, imdb_id, tmdb_id, array_to_tsvector(words) FROM {TOLD}
    ON CONFLICT (id) DO UPDATE SET title_key = excluded.title_key, year = excluded.year,
        genre_keys = excluded.genre_keys, imdb_id = excluded.imdb_id, tmdb_id = excluded.tmdb_id,
        words = excluded.words"""
# A stub stays, with the totals of the ratings that stay.
TAKE_OUT = """
    UPDATE movie_{slot} SET title = NULL, year = NULL, genres = '{{}}', genre_keys = '{{}}',
        box_office = NULL, imdb_id = NULL, tmdb_id = NULL
    WHERE id = %s AND title IS NOT NULL"""
UNLIST = "DELETE FROM listed_{slot} WHERE id = %s"
REVISE = "UPDATE revision SET number = number + 1"
REVISION = "SELECT number FROM revision"

MATCH = {
    "id": "SELECT id, id FROM listed WHERE slot IN ({slots}) AND id = ANY(%s)",
    "imdb_id": "SELECT imdb_id, id FROM listed WHERE slot IN ({slots}) AND imdb_id = ANY(%s)",
    "tmdb_id": "SELECT tmdb_id, id FROM listed WHERE slot IN ({slots}) AND tmdb_id = ANY(%s)",
    "title": """
        SELECT title_key, year, id FROM listed
        WHERE slot IN ({slots}) AND title_key = ANY(%s) AND year IS NOT NULL""",
}

NOMINATION = """
    SELECT ceremony, title, year, year_label, won, additional_info, movie_id FROM nomination"""
NOMINATIONS = f"{NOMINATION} ORDER BY ceremony DESC, won DESC, title_key"
LOCK_NOMINATIONS = "LOCK TABLE nomination IN SHARE ROW EXCLUSIVE MODE"
NOMINATED = f"{NOMINATION} WHERE ceremony = ANY(%s)"
NOMINATE = """
    INSERT INTO nomination (ceremony, title_key, title, year, year_label, won, additional_info,
        movie_id)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (ceremony, title_key) DO UPDATE SET title = excluded.title, year = excluded.year,
        year_label = excluded.year_label, won = excluded.won,
        additional_info = excluded.additional_info, movie_id = excluded.movie_id"""

encode = msgspec.json.Encoder().encode


class PostgresCatalogue:
    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    async def put(self, movie: Movie) -> bool:
        return await self._postgres.at(movie.id, partial(put, movie=movie))

    async def add(self, movie: Movie) -> None:
        await self._postgres.at(movie.id, partial(add, movie=movie))

    async def delete(self, movie_id: str) -> bool:
        return await self._postgres.at(movie_id, partial(take_out, movie_id=movie_id))

    async def has(self, movie_id: str) -> bool:
        return bool(await self._postgres.read_at(movie_id, HAS, (movie_id,)))

    async def get(self, movie_id: str) -> Standing | None:
        rows, ((won,),) = await asyncio.gather(
            self._postgres.read_at(movie_id, GET, (movie_id,)),
            self._postgres.home.fetch(HAS_WON, (movie_id,)),
        )
        return standing((*rows[0], won)) if rows else None

    async def scan(self) -> AsyncIterator[list[Standing]]:
        after = ""
        while page := await self._postgres.home.scan(SCAN, (after,)):
            yield [standing(row) for row in page]
            after = page[-1][0]

    async def match(self, clues: Sequence[Clue]) -> list[tuple[str, ...]]:
        asked: dict[str, list[Any]] = {
            "id": [clue.imdb_id for clue in clues if clue.imdb_id is not None],
            "imdb_id": [clue.imdb_id for clue in clues if clue.imdb_id is not None],
            "tmdb_id": [clue.tmdb_id for clue in clues if clue.tmdb_id is not None],
            "title": [titles.place(clue.title) for clue in clues if clue.title],
        }
        slots = range(len((await self._postgres.slot_map()).places))
        found: defaultdict[Any, list[str]] = defaultdict(list)
        for by, values in asked.items():
            for rows in await self._postgres.read(slots, MATCH[by], (values,)) if values else ():
                for *what, id in rows:
                    found[by, *what].append(id)
        return [meant(clue, found) for clue in clues]

    async def merge(self, movies: Sequence[Movie]) -> Merged:
        async def everywhere(slot_map: SlotMap) -> Merged:
            merged = Merged()
            parts = slot_map.by_slot(movies, lambda movie: movie.id)
            for shard, slots in slot_map.by_shard(parts).items():
                job = partial(merge, parts={slot: parts[slot] for slot in slots})
                merged = merged.plus(await self._postgres.write(slot_map, shard, slots, job))
            return merged

        return await self._postgres.follow(everywhere)

    async def merge_nominations(self, nominations: Sequence[Nomination]) -> Merged:
        return await self._postgres.home.transact(
            partial(merge_nominations, nominations=nominations)
        )

    async def nominations(self) -> list[Nomination]:
        return [Nomination(*row) for row in await self._postgres.home.fetch(NOMINATIONS)]

    async def revision(self) -> int:
        """The sum of all shards'."""
        found = await asyncio.gather(*(s.fetch(REVISION) for s in self._postgres.shards))
        return sum(number for ((number,),) in found)

    async def search(
        self, query: str, genre: str | None, year: int | None, after: str | None, limit: int
    ) -> tuple[list[Standing], str | None]:
        words = titles.words(query)
        if (query and not words) or has_control("".join(words) + (genre or "")):
            return [], None  # what no title and no genre may hold
        conditions: list[tuple[str, list[Any]]] = []
        if words:
            conditions.append(("words @@ %s::tsquery", [tsquery(words)]))
        if genre is not None:
            conditions.append(("genre_keys @> ARRAY[%s]", [genre.casefold()]))
        narrow = bool(conditions)
        if year is not None:
            conditions.append(("year = %s", [year]))
        if after is not None:
            # So that another server can do it, too: of rows it compares none.
            key, id = after.rsplit("\n", 1)
            condition = "title_key >= %s AND (title_key > %s OR id > %s)"
            conditions.append((condition, [key, key, id]))

        async def job(cursor: Cursor) -> tuple[list[Standing], str | None]:
            return await page(cursor, await listed(cursor, conditions, narrow, limit + 1), limit)

        return await self._postgres.lists(job)


async def listed(
    cursor: Cursor, conditions: Sequence[tuple[str, list[Any]]], narrow: bool, limit: int
) -> list[Row]:
    """The first rows of ``LISTED``, by title key and id. ``narrow``: there may be few."""
    where = " AND ".join(["true", *(condition for condition, _ in conditions)])
    values = [value for _, values in conditions for value in values]
    if narrow:
        rows = await rows_of(cursor, f"{LISTED} WHERE {where} LIMIT {RARE + 1}", values)
        if len(rows) <= RARE:
            return sorted(rows, key=itemgetter(2, 1))[:limit]
    await cursor.execute(IN_ORDER)
    query = f"{LISTED} WHERE {where} ORDER BY title_key, id LIMIT {limit}"
    return await rows_of(cursor, query, values)


async def page(
    cursor: Cursor, rows: Sequence[Row], limit: int
) -> tuple[list[Standing], str | None]:
    """The movies of these rows, but for one more than ``limit``, and the key of the last."""
    wanted = rows[:limit]
    if not wanted:
        return [], None
    slots, ids = {row[0] for row in wanted}, [row[1] for row in wanted]
    some = await rows_of(cursor, SOME, (list(slots), ids))
    found = {row[0]: standing(row) for row in some}
    last = f"{wanted[-1][2]}\n{wanted[-1][1]}" if len(rows) > limit else None
    return [found[id] for id in ids if id in found], last


# ---- in a transaction --------------------------------------------------------------------------


async def put(cursor: Cursor, slot: int, movie: Movie) -> bool:
    (known,) = await lock(cursor, slot, [movie])
    await write(cursor, slot, [movie])
    await cursor.execute(REVISE)
    return known is None


async def add(cursor: Cursor, slot: int, movie: Movie) -> None:
    (known,) = await lock(cursor, slot, [movie])
    if known is not None:
        raise Conflict(f"There is a movie {movie.id} already.")
    await write(cursor, slot, [movie])
    await cursor.execute(REVISE)


async def take_out(cursor: Cursor, slot: int, movie_id: str) -> bool:
    await cursor.execute(TAKE_OUT.format(slot=slot), (movie_id,))
    if not cursor.rowcount:
        return False
    await cursor.execute(UNLIST.format(slot=slot), (movie_id,))
    await cursor.execute(REVISE)
    return True


async def merge(cursor: Cursor, parts: dict[int, list[Movie]]) -> Merged:
    merged = Merged()
    for slot, movies in parts.items():
        merged = merged.plus(await merge_slot(cursor, slot, movies))
    if merged.added or merged.replaced:
        await cursor.execute(REVISE)
    return merged


async def merge_slot(cursor: Cursor, slot: int, movies: Sequence[Movie]) -> Merged:
    known = {movie.id: movie for movie in await lock(cursor, slot, movies) if movie}
    merged, changed = complete(known, movies, lambda movie: movie.id)
    if changed:
        await write(cursor, slot, changed.values())
    return merged


async def lock(cursor: Cursor, slot: int, movies: Iterable[Movie]) -> list[Movie | None]:
    """What is known of these movies, in the order of their ids; nobody else may write to them."""
    ids = sorted({movie.id for movie in movies})
    stubs = encode([{"id": id} for id in ids]).decode()
    await cursor.execute(INSERT_STUBS.format(slot=slot), {"movies": stubs})
    rows = await rows_of(cursor, LOCK.format(slot=slot), {"ids": ids})
    return [None if row[1] is None else movie_of(row) for row in rows]


async def write(cursor: Cursor, slot: int, movies: Collection[Movie]) -> None:
    told = {"movies": encode([told_of(movie) for movie in movies]).decode()}
    await cursor.execute(WRITE.format(slot=slot), told)
    await cursor.execute(LIST.format(slot=slot), told)


async def merge_nominations(cursor: Cursor, nominations: Sequence[Nomination]) -> Merged:
    await cursor.execute(LOCK_NOMINATIONS)
    ceremonies = list({told.ceremony for told in nominations})
    rows = await rows_of(cursor, NOMINATED, (ceremonies,))
    known = {place_of(each): each for each in starmap(Nomination, rows)}
    merged, changed = complete(known, nominations, place_of)
    if changed:
        rows = [(*place, *astuple(each)[1:]) for place, each in changed.items()]
        await cursor.executemany(NOMINATE, rows)
        await cursor.execute(REVISE)
    return merged


# ---- rows --------------------------------------------------------------------------------------


def movie_of(row: Row) -> Movie:
    id, title, year, genres, box_office, imdb_id, tmdb_id = row
    return Movie(id, title, year, tuple(genres), box_office, imdb_id, tmdb_id)


def standing(row: Row) -> Standing:
    *movie, distribution, won = row
    return Standing(movie_of(tuple(movie)), Totals(tuple(distribution)), won)


def told_of(movie: Movie) -> dict[str, Any]:
    return {
        "id": movie.id,
        "title": movie.title,
        "title_key": titles.place(movie.title),
        "year": movie.year,
        "genres": movie.genres,
        "genre_keys": sorted({genre.casefold() for genre in movie.genres}),
        "box_office": movie.box_office,
        "imdb_id": movie.imdb_id,
        "tmdb_id": movie.tmdb_id,
        "words": [word[:LONGEST] for word in titles.findable(movie.title)],
    }


def tsquery(words: Iterable[str]) -> str:
    """All of the words, each as a prefix."""
    quoted = (word[:LONGEST].replace("\\", r"\\").replace("'", "''") for word in words)
    return " & ".join(f"'{word}':*" for word in quoted)


def meant(clue: Clue, found: defaultdict[Any, list[str]]) -> tuple[str, ...]:
    """Two of the movies that a clue may mean, by the first that any answers to."""
    title_key = titles.place(clue.title) if clue.title else None
    for asked in (
        ("id", clue.imdb_id),
        ("imdb_id", clue.imdb_id),
        ("tmdb_id", clue.tmdb_id),
        ("title", title_key, clue.year),
    ):
        if asked in found:
            return tuple(found[asked][:2])
    return ()
