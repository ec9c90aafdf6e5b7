"""What was applied of each pair, each movie's totals, and the consumer's position beside them."""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from operator import itemgetter
from typing import Annotated, Any

import msgspec

from ...errors import PositionMoved
from ...model import (
    PLAIN,
    REMOVED,
    Applied,
    Pair,
    Prior,
    Totals,
    check,
    rate_tenths,
)
from ...ports import Batch, Correction, DeadLetter, Position
from .database import PAGE, Database, execute_for_all, now_us, read_position, read_prior

APPLIED = "SELECT version, value FROM applied WHERE movie_id = ? AND rater = ?"
APPLY = """
    INSERT INTO applied (version, value, movie_id, rater) VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET version = excluded.version, value = excluded.value"""
# A batch is applied by a few statements, in which other threads have their turn. They say what
# ``model.fold`` says: what is newer than what is applied takes its place.
APPLY_NEWER = """
    INSERT INTO applied (movie_id, rater, version, value) VALUES {}
    ON CONFLICT DO UPDATE SET version = excluded.version, value = excluded.value
    WHERE (excluded.version, excluded.value) > (version, value)"""
# Which value took the place of which is noted as it happens: to ask for it would be to look up
# every pair twice.
NOTE_STEPS = (
    "CREATE TEMP TABLE IF NOT EXISTS step (movie_id TEXT, before INTEGER, after INTEGER)",
    f"""CREATE TEMP TRIGGER IF NOT EXISTS first_step AFTER INSERT ON main.applied
        WHEN new.value <> {REMOVED}
        BEGIN INSERT INTO step VALUES (new.movie_id, {REMOVED}, new.value); END""",
    """CREATE TEMP TRIGGER IF NOT EXISTS next_step AFTER UPDATE ON main.applied
        WHEN new.value <> old.value
        BEGIN INSERT INTO step VALUES (new.movie_id, old.value, new.value); END""",
)
STEPS = "SELECT movie_id, before, after FROM temp.step"
PART = 512
"""Events that are folded in one transaction: no rating beside them waits for more."""

COUNTS = "SELECT id, distribution FROM movie WHERE id IN ({})"
KEPT = "SELECT id, distribution, number, total, rate, mean FROM movie"
COUNT = """
    UPDATE movie SET distribution = ?2, number = ?3, total = ?4, rate = ?5, mean = ?6
    WHERE id = ?1"""
COUNT_FIRST = """
    INSERT INTO movie (id, distribution, number, total, rate, mean) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (id) DO NOTHING"""

Counts = Annotated[tuple[int, ...], msgspec.Meta(min_length=20, max_length=20)]

decode_counts = msgspec.json.Decoder(Counts).decode
encode_counts = msgspec.json.Encoder().encode


class SqliteTotals:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._applied: list[Callable[[Iterable[int]], None]] = []

    def on_applied(self, heard: Callable[[Iterable[int]], None]) -> None:
        """``heard`` is called with the versions of each batch that was folded: here none comes
        twice."""
        self._applied.append(heard)

    async def fold(self, batch: Batch) -> int:
        changed = 0
        for part in parts(batch):
            changed += await self._database.write(partial(fold_batch, batch=part))
        for heard in self._applied:
            heard(event.version for event in batch.events)
        return changed

    async def position(self, partition: int) -> Position:
        return await self._database.read(lambda connection: read_position(connection, partition))

    async def totals(self, movie_ids: Sequence[str]) -> list[Totals]:
        return await self._database.read(lambda connection: read_totals(connection, movie_ids))

    async def scan_applied(
        self, movie_id: str | None = None
    ) -> AsyncIterator[list[tuple[Pair, Applied]]]:
        after: Pair = (movie_id or "", b"")
        among = "(movie_id, rater) > (?, ?)" if movie_id is None else "movie_id = ? AND rater > ?"
        query = f"""
            SELECT movie_id, rater, version, value FROM applied
            WHERE {among} ORDER BY movie_id, rater LIMIT {PAGE}"""
        while True:
            rows = await self._database.read(partial(rows_of, query=query, values=after))
            if not rows:
                return
            yield [((movie, rater), Applied(*change)) for movie, rater, *change in rows]
            after = rows[-1][:2]

    async def scan_totals(self) -> AsyncIterator[list[tuple[str, Totals | None, Totals]]]:
        after: str | None = ""
        while after is not None:
            page, after = await self._database.read(partial(read_recounted, after=after))
            yield page

    async def correct(self, corrections: Sequence[Correction]) -> int:
        def job(connection: sqlite3.Connection) -> int:
            applied = read_applied(connection, [pair for pair, *_ in corrections])
            right = {pair: right for pair, seen, right in corrections if applied.get(pair) == seen}
            note_steps(connection)
            connection.executemany(APPLY, [(*change, *pair) for pair, change in right.items()])
            count_steps(connection)
            return len(right)

        return await self._database.write(job)

    async def recount(self, movie_id: str) -> bool:
        def job(connection: sqlite3.Connection) -> bool:
            counted = dict(recounts(connection, "movie_id = ?", (movie_id,))).get(
                movie_id, Totals()
            )
            kept = connection.execute(f"{KEPT} WHERE id = ?", (movie_id,)).fetchone()
            if counted == (agreeing(kept, read_prior(connection)) if kept else Totals()):
                return False
            write_totals(connection, [(movie_id, counted)])
            return True

        return await self._database.write(job)

    async def dead_letters(self, after: int = 0, limit: int = 100) -> list[DeadLetter]:
        query = "SELECT id, raw, error, died_at FROM dead_letter WHERE id > ? ORDER BY id LIMIT ?"
        return await self._database.read(
            lambda connection: [DeadLetter(*r) for r in connection.execute(query, (after, limit))]
        )

    async def bury(self, letter: DeadLetter, batch: Batch | None) -> None:
        def job(connection: sqlite3.Connection) -> None:
            if batch is not None:
                fold_batch(connection, batch)
            connection.execute("DELETE FROM dead_letter WHERE id = ?", (letter.id,))

        await self._database.write(job)

    async def count_dead_letters(self) -> int:
        query = "SELECT count(*) FROM dead_letter"
        return await self._database.read(lambda c: int(c.execute(query).fetchone()[0]))


def parts(batch: Batch) -> Iterator[Batch]:
    """A large batch in several transactions, some movies in each; the last moves the position.

    Where it is cut off between two, all of it comes again, and versions decide.
    """
    events = sorted(batch.events, key=itemgetter(0))
    at = 0
    while len(events) - at > PART:
        yield replace(batch, events=events[at : at + PART], poison=(), end=batch.start or 0)
        at += PART
    yield replace(batch, events=events[at:])


def fold_batch(connection: sqlite3.Connection, batch: Batch) -> int:
    if batch.start is not None:
        position = read_position(connection, batch.partition)
        if position.offset != batch.start:
            raise PositionMoved(position.offset)
        if batch.end != batch.start:
            connection.execute(
                "INSERT OR REPLACE INTO position (partition, position, mark) VALUES (?, ?, ?)",
                (batch.partition, batch.end, batch.mark),
            )
    if batch.poison:
        connection.executemany(
            "INSERT INTO dead_letter (raw, error, died_at) VALUES (?, ?, ?)",
            [(*poison, now_us()) for poison in batch.poison],
        )
    check(batch.events)
    note_steps(connection)
    execute_for_all(connection, APPLY_NEWER, batch.events)
    return count_steps(connection)


def note_steps(connection: sqlite3.Connection) -> None:
    """From here on what is written to ``applied`` is noted, until ``count_steps``."""
    for statement in NOTE_STEPS:
        connection.execute(statement)


def count_steps(connection: sqlite3.Connection) -> int:
    """Bring the totals to what was written to ``applied``; of how many movies."""
    steps = connection.execute(STEPS).fetchall()
    connection.execute("DELETE FROM temp.step")
    movie_ids = list({movie_id for movie_id, _, _ in steps})
    kept = read_totals(connection, movie_ids)
    counts = {id: [*totals.counts, 0] for id, totals in zip(movie_ids, kept, strict=True)}
    for movie_id, before, after in steps:
        count = counts[movie_id]
        count[before - 1] -= 1  # the last is of what is removed, and counts nothing
        count[after - 1] += 1
    totals = [Totals(tuple(count[:-1])) for count in counts.values()]
    write_totals(connection, list(zip(movie_ids, totals, strict=True)))
    return len(counts)


def read_applied(connection: sqlite3.Connection, pairs: Sequence[Pair]) -> dict[Pair, Applied]:
    found = {}
    execute = connection.execute
    for pair in pairs:
        if row := execute(APPLIED, pair).fetchone():
            found[pair] = Applied(*row)
    return found


def rows_of(connection: sqlite3.Connection, query: str, values: Pair) -> list[tuple[Any, ...]]:
    return connection.execute(query, values).fetchall()


def read_totals(connection: sqlite3.Connection, movie_ids: Sequence[str]) -> list[Totals]:
    found = dict(execute_for_all(connection, COUNTS, [(movie_id,) for movie_id in movie_ids]))
    return [decode_totals(found.get(movie_id)) for movie_id in movie_ids]


def decode_totals(distribution: str | None) -> Totals:
    """From a movie's row; of a movie that has none, or one that can't be read: none counted."""
    try:
        return Totals(decode_counts(distribution)) if distribution else Totals()
    except msgspec.DecodeError:
        return Totals()


def write_totals(connection: sqlite3.Connection, movies: Sequence[tuple[str, Totals]]) -> None:
    prior = read_prior(connection)
    rows = [totals_row(*movie, prior) for movie in movies]
    if connection.executemany(COUNT, rows).rowcount < len(rows):  # not all are in the catalogue
        connection.executemany(COUNT_FIRST, rows)


def totals_row(movie_id: str, totals: Totals, prior: Prior) -> tuple[str | int | None, ...]:
    number, total = totals.number, totals.total
    return (
        movie_id,
        encode_counts(totals.counts).decode(),
        number,
        total,
        rate_tenths(number, total, prior),
        rate_tenths(number, total, PLAIN),
    )


def recounts(
    connection: sqlite3.Connection, where: str, values: tuple[str, ...]
) -> list[tuple[str, Totals]]:
    """Totals from the applied rows, by movie id."""
    counts: dict[str, list[int]] = {}
    for movie_id, value, count in connection.execute(
        f"SELECT movie_id, value, count(*) FROM applied WHERE {where} AND value <> {REMOVED} "
        "GROUP BY movie_id, value",
        values,
    ):
        counts.setdefault(movie_id, [0] * 20)[value - 1] = count
    return [(movie_id, Totals(tuple(found))) for movie_id, found in counts.items()]


def agreeing(kept: tuple[Any, ...], prior: Prior) -> Totals | None:
    """A movie's totals; None where what is kept beside them does not follow from them."""
    totals = decode_totals(kept[1])
    return totals if totals_row(kept[0], totals, prior)[2:] == kept[2:] else None


def read_recounted(
    connection: sqlite3.Connection, after: str
) -> tuple[list[tuple[str, Totals | None, Totals]], str | None]:
    """A page of movies behind ``after``, and the last one's id; None beside the last page."""
    rows = connection.execute(f"{KEPT} WHERE id > ? ORDER BY id LIMIT ?", (after, PAGE)).fetchall()
    prior = read_prior(connection)
    stored = {row[0]: agreeing(row, prior) for row in rows}
    last = rows[-1][0] if len(rows) == PAGE else None
    if last is None:  # with it, all that was applied of movies that have no row at all
        counted = dict(recounts(connection, "movie_id > ?", (after,)))
    else:
        counted = dict(recounts(connection, "movie_id > ? AND movie_id <= ?", (after, last)))
    none = Totals()
    page = [(id, stored.get(id, none), counted.get(id, none)) for id in sorted(stored | counted)]
    return page, last
