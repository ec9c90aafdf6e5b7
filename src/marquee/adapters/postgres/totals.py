"""What was applied of each pair, each movie's totals, and the consumers' positions beside them.

A batch is folded slot by slot, each slot's rows in key order: whoever locks the same waits his
turn, and nobody waits in a ring.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

from ...errors import PositionMoved, StoreAway
from ...model import (
    PLAIN,
    REMOVED,
    SCORES,
    Applied,
    Pair,
    Prior,
    RatingChanged,
    Totals,
    check,
    rate_tenths,
)
from ...ports import Batch, Correction, DeadLetter, Position
from .server import Cursor, Row, rows_of
from .shards import Postgres, SlotMap

PAGE = 1000
"""Rows that a scan reads at a time: between pages nothing is held."""

MOVIES = 200
"""The same, where each of them is recounted."""

SHARDS_AT_MOST = 1000
"""A dead letter's id ends in the number of its shard."""

POSITION = "SELECT position, mark FROM slot WHERE no IN ({slots})"
LOCK_POSITION = "SELECT position FROM slot WHERE no = %s FOR NO KEY UPDATE"
MOVE_POSITION = "UPDATE slot SET position = %s, mark = %s WHERE no = %s"

STEPS = ", ".join(
    f"count(*) FILTER (WHERE value = {score}) - count(*) FILTER (WHERE before = {score})"
    for score in SCORES
)
SUMS = ", ".join(f"m.distribution[{score}] + excluded.distribution[{score}]" for score in SCORES)
# Follows what changes applied rows, as ``applied``; a statement with it reads, decides and writes,
# each pair and each movie once. Nothing is counted of a removal: that is no score, and 0 modulo it.
COUNT = f"""
    , counted AS (
        INSERT INTO movie_{{slot}} AS m (id, number, total, distribution)
        SELECT movie_id,
            count(nullif(value, {REMOVED})) - count(nullif(before, {REMOVED})),
            sum(mod(value, {REMOVED}) - mod(before, {REMOVED})),
            ARRAY[{STEPS}]
        FROM applied WHERE value <> before GROUP BY movie_id ORDER BY movie_id
        ON CONFLICT (id) DO UPDATE
        SET number = m.number + excluded.number, total = m.total + excluded.total,
            distribution = ARRAY[{SUMS}]
        RETURNING id
    )
    SELECT (SELECT count(*) FROM counted), (SELECT array_agg(version) FROM applied)"""
FOLD = f"""
    WITH newest AS (
        SELECT DISTINCT ON (movie_id, rater) *
        FROM unnest(%b::text[] COLLATE "C", %b::bytea[], %b::bigint[], %b::smallint[])
            AS k (movie_id, rater, version, value)
        ORDER BY movie_id, rater, version DESC, value DESC
    ), applied AS (
        INSERT INTO applied_{{slot}} AS a (movie_id, rater, version, value)
        SELECT * FROM newest
        ON CONFLICT (movie_id, rater) DO UPDATE
        SET before = a.value, version = excluded.version, value = excluded.value
        WHERE (excluded.version, excluded.value) > (a.version, a.value)
        RETURNING movie_id, version, value, before
    ) {COUNT}"""
LOCK = """
    SELECT k.n, a.version, a.value
    FROM unnest(%b::text[], %b::bytea[]) WITH ORDINALITY AS k (movie_id, rater, n)
    JOIN applied_{slot} AS a ON a.movie_id = k.movie_id AND a.rater = k.rater
    ORDER BY a.movie_id, a.rater FOR UPDATE OF a"""
CORRECT = f"""
    WITH applied AS (
        UPDATE applied_{{slot}} AS a SET before = a.value, version = k.version, value = k.value
        FROM unnest(%b::text[], %b::bytea[], %b::bigint[], %b::smallint[])
            AS k (movie_id, rater, version, value)
        WHERE a.movie_id = k.movie_id AND a.rater = k.rater
        RETURNING a.movie_id, a.version, a.value, a.before
    ) {COUNT}"""
INSERT_STUB = "INSERT INTO movie_{slot} (id) VALUES (%s) ON CONFLICT DO NOTHING"
SET_TOTALS = """
    UPDATE movie_{slot} SET number = %s, total = %s, distribution = %s::integer[] WHERE id = %s"""

KEPT = "id, distribution, number, total, rate, mean"
LOCK_KEPT = f"SELECT {KEPT} FROM movie_{{slot}} WHERE id = %s FOR NO KEY UPDATE"
COUNTED = """
    SELECT array_agg(value), array_agg(number)
    FROM (SELECT value, count(*) AS number FROM applied_{slot} WHERE movie_id = %s GROUP BY value)
        AS found"""
SCAN = f"""
    SELECT movie_id, rater, version, value FROM applied
    WHERE slot IN ({{slots}}) AND (movie_id, rater) > (%s, %s)
    ORDER BY movie_id, rater LIMIT {PAGE}"""
SCAN_ONE = f"""
    SELECT movie_id, rater, version, value FROM applied
    WHERE slot IN ({{slots}}) AND movie_id = %s AND rater > %s ORDER BY rater LIMIT {PAGE}"""
TOTALS = "SELECT id, distribution FROM movie WHERE slot IN ({slots}) AND id = ANY(%s)"
# Beside the last page also what was applied of movies that have no row at all: "~" is above all.
SCAN_TOTALS = f"""
    WITH page AS MATERIALIZED (
        SELECT {KEPT} FROM movie WHERE slot IN ({{slots}}) AND id > %(after)s
        ORDER BY id LIMIT {MOVIES}
    ), further AS MATERIALIZED (
        SELECT CASE WHEN count(*) = {MOVIES} THEN max(id) END AS id FROM page
    ), counted AS (
        SELECT movie_id AS id, array_agg(value) AS scores, array_agg(number) AS numbers
        FROM (
            SELECT movie_id, value, count(*) AS number FROM applied
            WHERE slot IN ({{slots}}) AND movie_id > %(after)s
                AND movie_id <= coalesce((SELECT id FROM further), '~')
            GROUP BY movie_id, value
        ) AS found
        GROUP BY movie_id
    )
    SELECT {KEPT}, scores, numbers, (SELECT id FROM further) AS further
    FROM page FULL JOIN counted USING (id) ORDER BY id"""

BURY = "DELETE FROM dead_letter WHERE id = %s"
DIE = f"""
    INSERT INTO dead_letter (id, raw, error, died_at)
    VALUES (nextval('dead_letter_no') * {SHARDS_AT_MOST} + %s, %s, %s, %s)"""
DEAD = "SELECT id, raw, error, died_at FROM dead_letter WHERE id > %s ORDER BY id LIMIT %s"
COUNT_DEAD = "SELECT count(*) FROM dead_letter"


class PostgresTotals:
    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._on_applied: list[Callable[[Iterable[int]], None]] = []

    def on_applied(self, heard: Callable[[Iterable[int]], None]) -> None:
        """``heard`` is called with the versions that a fold has newly applied: not with those of
        what comes twice, as all that is swept does."""
        self._on_applied.append(heard)

    async def fold(self, batch: Batch) -> int:
        """One transaction where the batch is of one partition, as the log has it; else, one for
        each shard, that with the position last."""
        check(batch.events)
        return await self._postgres.follow(lambda slot_map: self._fold(slot_map, batch))

    async def position(self, partition: int) -> Position:
        if partition >= await self._slots():
            return Position()
        ((row,),) = await self._postgres.read([partition], POSITION)
        return Position(*row)

    async def totals(self, movie_ids: Sequence[str]) -> list[Totals]:
        slots = await self._slots_of(movie_ids)
        found = {
            movie_id: Totals(tuple(counts))
            for rows in await self._postgres.read(slots, TOTALS, (list(movie_ids),))
            for movie_id, counts in rows
        }
        return [found.get(movie_id, Totals()) for movie_id in movie_ids]

    async def scan_applied(
        self, movie_id: str | None = None
    ) -> AsyncIterator[list[tuple[Pair, Applied]]]:
        query, after = (SCAN, ("", b"")) if movie_id is None else (SCAN_ONE, (movie_id, b""))
        more = True
        while more:
            slots = range(await self._slots())
            among = slots if movie_id is None else await self._slots_of([movie_id])
            pages = await self._postgres.read(among, query, after, scan=True)
            ends = [page[-1][:2] for page in pages if len(page) == PAGE]
            rows = together(pages, ends, itemgetter(0, 1))
            if rows:
                yield [applied_row(row) for row in rows]
                after = rows[-1][:2]
            more = bool(ends)

    async def scan_totals(self) -> AsyncIterator[list[tuple[str, Totals | None, Totals]]]:
        after, more = "", True
        while more:
            prior = (await self._postgres.slot_map()).prior
            slots = range(await self._slots())
            values = {"after": after}
            pages = await self._postgres.read(slots, SCAN_TOTALS, values, scan=True)
            ends = [page[0][-1] for page in pages if page and page[0][-1] is not None]
            yield [recounted(row, prior) for row in together(pages, ends, itemgetter(0))]
            after, more = min(ends, default=""), bool(ends)

    async def correct(self, corrections: Sequence[Correction]) -> int:
        """One transaction for each shard."""

        async def everywhere(slot_map: SlotMap) -> int:
            done = 0
            parts = slot_map.by_slot(sorted(corrections), lambda correction: correction.pair[0])
            for shard, slots in slot_map.by_shard(parts).items():
                job = partial(correct, parts={slot: parts[slot] for slot in slots})
                done += await self._postgres.write(slot_map, shard, slots, job)
            return done

        return await self._postgres.follow(everywhere)

    async def recount(self, movie_id: str) -> bool:
        prior = (await self._postgres.slot_map()).prior
        return await self._postgres.at(movie_id, partial(recount, movie_id=movie_id, prior=prior))

    async def dead_letters(self, after: int = 0, limit: int = 100) -> list[DeadLetter]:
        found = await self._everywhere(DEAD, (after, limit))
        return sorted(DeadLetter(*row) for row in found)[:limit]

    async def bury(self, letter: DeadLetter, batch: Batch | None) -> None:
        # First the effect: done twice it changes nothing, not done it would be lost.
        if batch is not None:
            await self.fold(batch)
        shard = self._postgres.shards[letter.id % SHARDS_AT_MOST]
        await shard.transact(lambda cursor: cursor.execute(BURY, (letter.id,)))

    async def count_dead_letters(self) -> int:
        return sum(count for (count,) in await self._everywhere(COUNT_DEAD))

    async def _fold(self, slot_map: SlotMap, batch: Batch) -> int:
        parts = slot_map.by_slot(batch.events, itemgetter(0))
        shards = slot_map.by_shard(parts)
        own = 0
        if batch.start is not None:
            if batch.partition >= len(slot_map.places):
                raise StoreAway("The log has more partitions than the movie store has slots.")
            own = slot_map.shard(batch.partition)
        own_slots = shards.pop(own, [])
        if shards and batch.start is not None:
            check_position(batch, (await self.position(batch.partition)).offset)
        changed, applied = 0, dict[int, list[int]]()
        for shard, slots in shards.items():
            job = partial(fold_slots, parts={slot: parts[slot] for slot in slots}, applied=applied)
            changed += await self._postgres.write(slot_map, shard, slots, job)

        async def with_position(cursor: Cursor) -> int:
            await begin(cursor, batch, own)
            changed = await fold_slots(cursor, {slot: parts[slot] for slot in own_slots}, applied)
            await end(cursor, batch)
            return changed

        held = {*own_slots, *([] if batch.start is None else [batch.partition])}
        changed += await self._postgres.write(slot_map, own, held, with_position)
        for heard in self._on_applied:
            heard(version for versions in applied.values() for version in versions)
        return changed

    async def _slots(self) -> int:
        return len((await self._postgres.slot_map()).places)

    async def _slots_of(self, movie_ids: Iterable[str]) -> set[int]:
        slot_map = await self._postgres.slot_map()
        return {slot_map.slot(movie_id) for movie_id in movie_ids}

    async def _everywhere(self, query: str, values: Any = ()) -> list[Row]:
        found = await asyncio.gather(*(s.fetch(query, values) for s in self._postgres.shards))
        return [row for rows in found for row in rows]


# ---- in a transaction --------------------------------------------------------------------------


async def begin(cursor: Cursor, batch: Batch, shard: int) -> None:
    """Hold the position, and bury the poison. Raises ``PositionMoved``."""
    if batch.start is not None:
        ((offset,),) = await rows_of(cursor, LOCK_POSITION, (batch.partition,))
        check_position(batch, offset)
    for raw, error in batch.poison:
        # What is no text for PostgreSQL must not be poison itself.
        told = error.encode(errors="backslashreplace").decode().replace("\0", "\\0")
        await cursor.execute(DIE, (shard, raw, told, time.time_ns() // 1000))


async def end(cursor: Cursor, batch: Batch) -> None:
    if batch.start is not None:
        await cursor.execute(MOVE_POSITION, (batch.end, batch.mark, batch.partition))


def check_position(batch: Batch, offset: int) -> None:
    if offset != batch.start:
        raise PositionMoved(offset)


async def fold_slots(
    cursor: Cursor, parts: dict[int, list[RatingChanged]], applied: dict[int, list[int]]
) -> int:
    """How many movies' totals changed. ``applied`` takes the versions, by slot: of a transaction
    that is done again, those of the last time."""
    changed = 0
    for slot, part in parts.items():
        ((number, versions),) = await rows_of(cursor, FOLD.format(slot=slot), columns(part))
        applied[slot] = versions or []
        changed += number
    return changed


async def correct(cursor: Cursor, parts: dict[int, list[Correction]]) -> int:
    corrected = 0
    for slot, part in parts.items():
        applied = await lock(cursor, slot, [pair for pair, *_ in part])
        right = [(*pair, *right) for pair, seen, right in part if applied.get(pair) == seen]
        if right:
            await cursor.execute(CORRECT.format(slot=slot), columns(right))
        corrected += len(right)
    return corrected


async def lock(cursor: Cursor, slot: int, pairs: Sequence[Pair]) -> dict[Pair, Applied]:
    """What is applied of these pairs, theirs who asks until the transaction ends."""
    rows = await rows_of(cursor, LOCK.format(slot=slot), columns(pairs))
    return {pairs[number - 1]: Applied(version, value) for number, version, value in rows}


async def recount(cursor: Cursor, slot: int, movie_id: str, prior: Prior) -> bool:
    found = await rows_of(cursor, LOCK_KEPT.format(slot=slot), (movie_id,))
    # Read behind the lock: who has applied more still waits for it, and adds that afterwards.
    (count,) = await rows_of(cursor, COUNTED.format(slot=slot), (movie_id,))
    totals = counted(*count)
    if totals == (agreeing(found[0], prior) if found else Totals()):
        return False
    if not found:
        await cursor.execute(INSERT_STUB.format(slot=slot), (movie_id,))
        return await recount(cursor, slot, movie_id, prior)
    row = (totals.number, totals.total, literal(totals.counts), movie_id)
    await cursor.execute(SET_TOTALS.format(slot=slot), row)
    return True


# ---- rows --------------------------------------------------------------------------------------


def columns(rows: Iterable[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def literal(numbers: Iterable[int]) -> str:
    return "{" + ",".join(map(str, numbers)) + "}"


def applied_row(row: Row) -> tuple[Pair, Applied]:
    movie_id, rater, version, value = row
    return (movie_id, rater), Applied(version, value)


def counted(scores: Iterable[int] | None, numbers: Iterable[int] | None) -> Totals:
    """Totals from how many rows have each value."""
    counts = [0] * REMOVED
    for score, number in zip(scores or (), numbers or (), strict=True):
        counts[score - 1] = number
    return Totals(tuple(counts[:-1]))


def agreeing(kept: Row, prior: Prior) -> Totals | None:
    """A movie's totals; None where what is kept beside them does not follow from them."""
    _, distribution, *beside = kept
    totals = Totals(tuple(distribution))
    number, total = totals.number, totals.total
    rates = [rate_tenths(number, total, prior), rate_tenths(number, total, PLAIN)]
    return totals if beside == [number, total, *rates] else None


def recounted(row: Row, prior: Prior) -> tuple[str, Totals | None, Totals]:
    *kept, scores, numbers, _ = row
    stored = Totals() if kept[1] is None else agreeing(tuple(kept), prior)
    return row[0], stored, counted(scores, numbers)


def together(
    pages: Iterable[list[Row]], ends: Sequence[Any], key: Callable[[Row], Any]
) -> list[Row]:
    """What several shards gave from one place on, in order, as far as all of them have come.

    ``ends``: the last key of those that have more.
    """
    rows = sorted((row for page in pages for row in page), key=key)
    if ends:
        horizon = min(ends)
        rows = [row for row in rows if key(row) <= horizon]
    return rows
