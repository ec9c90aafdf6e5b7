"""The rating store: first an intent in the outbox, then what it tells of.

A user's partition begins with the row that tells of the last erasure, so that whoever reads a pair
reads that, too: what stands up to it is gone, also where it is still there.
"""

import asyncio
import zlib
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from functools import lru_cache
from itertools import islice
from typing import NamedTuple, TypeVar

from ...errors import StoreAway
from ...model import REMOVED, Applied, Erasure, Merged, Rating, VersionClock, merge, rater_of
from ...tracing import UNTRACED
from .cluster import Cassandra, Row

SEND = """
    INSERT INTO outbox (shard, minute, sent_at, version, user_id, movie_id, value)
    VALUES (?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"""
SEND_TRACED = """
    INSERT INTO outbox (shard, minute, sent_at, version, user_id, movie_id, value, trace)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?) USING TIMESTAMP ?"""
PUT = "UPDATE rating USING TIMESTAMP ? SET value = ? WHERE user_id = ? AND movie_id = ?"
HIGHEST = """
    SELECT writetime(value), erased FROM rating WHERE user_id = ? AND movie_id IN ('', ?)"""
SELECT = "SELECT user_id, movie_id, value, writetime(value), erased FROM rating"
THESE = f"{SELECT} WHERE user_id = ? AND movie_id IN ?"
ABOVE = f"{SELECT} WHERE user_id = ? AND movie_id > ?"
ALL = f"{SELECT} WHERE user_id = ?"
RANGE = f"{SELECT} WHERE token(user_id) > ? AND token(user_id) <= ?"

ERASURES = "SELECT erased, ratings, never FROM rating WHERE user_id = ? AND movie_id = ''"
DECIDE = """
    UPDATE rating USING TTL ? SET erased = ?, ratings = ?, never = ?
    WHERE user_id = ? AND movie_id = '' IF erased = ? AND never = ?"""
HIDE = "DELETE FROM rating USING TIMESTAMP ? WHERE user_id = ? AND movie_id > ''"
RECEIPT = """
    INSERT INTO erasure (rater, day, version, ratings) VALUES (?, ?, ?, ?) USING TIMESTAMP ?"""
LAST = "INSERT INTO erased (rater, version) VALUES (?, ?) USING TIMESTAMP ?"
ERASED = "SELECT version FROM erased WHERE rater = ?"

SECOND = 1_000_000
MINUTE, DAY, YEAR = 60 * SECOND, 24 * 3600 * SECOND, 365 * 24 * 3600 * SECOND

LATE = 30 * SECOND
"""After its sending: an intent that was not kept by then may be in a bucket that was swept without
it."""

TOLD_SECONDS, FOR_EVER = 10 * 24 * 3600, 0
"""For which a user's partition tells of an erasure: longer than any intent is kept. Then nothing is
on its way any more, and the user's id is gone, too."""

ERASURE = ""
"""The movie of what concerns all of a user's ratings."""

RATERS_KEPT = 10_000
IN_FLIGHT = 64
"""Of what is done in bulk."""

PICK = 100
"""Movies that one statement asks for in bulk."""

T = TypeVar("T")
R = TypeVar("R")


class CassandraRatings:
    """``ports.RatingStore``. ``here``: where a call is in a trace (``Tracer.here``)."""

    def __init__(self, cassandra: Cassandra, here: Callable[[], str] = UNTRACED.here) -> None:
        self._cassandra = cassandra
        self._here = here
        self._clock = VersionClock(cassandra.now)
        self.rater = lru_cache(RATERS_KEPT)(self._rater)

    async def write(self, user_id: str, movie_id: str, value: int) -> Rating:
        self._cassandra.check_swept()
        rating = Rating(user_id, movie_id, value, self._clock.next())
        highest, _ = await asyncio.gather(
            self._cassandra.execute(HIGHEST, (user_id, movie_id)), self.send(rating)
        )
        stored = max((version or 0 for row in highest for version in row), default=0)
        if stored >= rating.version:
            rating = rating._replace(version=self._clock.next(stored))
            await self.send(rating)
        await self.put(rating)
        return rating

    async def merge(self, ratings: Sequence[Rating]) -> Merged:
        self._cassandra.check_swept()
        movies: dict[str, dict[str, None]] = {rating.user_id: {} for rating in ratings}
        for rating in ratings:
            movies[rating.user_id][rating.movie_id] = None
        erased = dict(zip(movies, await each(self._last_erasure, movies), strict=True))
        stands = {r[:2]: Applied(r.version, r.value) for r in await self._these(movies)}
        merged, kept = merge(ratings, stands, erased)
        await each(self._keep, kept)
        return merged

    async def stored(
        self, user_id: str, movie_ids: Sequence[str]
    ) -> tuple[int, dict[str, Applied]]:
        erased = await self._last_erasure(user_id)
        found = await self._these({user_id: movie_ids})
        return erased, {r.movie_id: Applied(r.version, r.value) for r in found}

    async def read(self, user_id: str, movie_id: str) -> Rating | None:
        found = await self.pick(user_id, [movie_id])
        return found[0] if found else None

    async def page(self, user_id: str, after: str, limit: int) -> list[Rating]:
        sieve = Sieve()
        sieve.sift(await self._cassandra.execute(THESE, (user_id, [ERASURE])))
        found: list[Rating] = []
        async for rows in self._cassandra.pages(ABOVE, (user_id, after), limit + PICK):
            found += scores(sieve.sift(rows))
            if len(found) >= limit:
                break
        return found[:limit]

    async def pick(self, user_id: str, movie_ids: Sequence[str]) -> list[Rating]:
        return scores((await self.pairs(user_id, movie_ids))[1])

    async def scan(self, user_id: str | None = None) -> AsyncIterator[list[Rating]]:
        reads: list[tuple[str, Sequence[object]]] = [(ALL, (user_id,))]
        if user_id is None:
            reads = [(RANGE, tokens) for tokens in self._cassandra.ranges()]
        for select, values in reads:
            sieve = Sieve()
            async for rows in self._cassandra.pages(select, values):
                if page := scores(sieve.sift(rows)):
                    yield page

    async def erase(self, user_id: str) -> Erasure:
        self._cassandra.check_swept()
        rows, told = await asyncio.gather(self._all(user_id), self._erasures(user_id))
        highest = max((written for *_, written, _ in rows if written), default=0)
        version = self._clock.next(max(highest, told.erased, told.never))
        receipt = Erasure(self.rater(user_id), version, len(scores(Sieve().sift(rows))))
        await self.send(Rating(user_id, ERASURE, REMOVED, version))
        told = await self._decide(user_id, version, receipt.ratings, told)
        if told.erased < version:
            raise StoreAway("It took so long that nothing was erased: try again.")
        await self._carry_out(user_id, version, told)
        return receipt

    # ---- the steps, from which the sweep goes on where a call was cut

    async def send(self, rating: Rating) -> None:
        """Keep an intent where a sweep will see it."""
        pair = rating.user_id.encode() + b"\n" + rating.movie_id.encode()
        shard = zlib.crc32(pair) % self._cassandra.agreements.shards
        while True:
            at = self._cassandra.now()
            self._cassandra.check_open(at)
            user_id, movie_id, value, version = rating
            intent = (shard, at // MINUTE, at, version, user_id, movie_id, value)
            if trace := self._here():
                await self._cassandra.execute(SEND_TRACED, (*intent, trace, at))
            else:
                await self._cassandra.execute(SEND, (*intent, at))
            if self._cassandra.now() - at <= LATE:
                return

    async def put(self, rating: Rating) -> None:
        user_id, movie_id, value, version = rating
        await self._cassandra.execute(PUT, (version, value, user_id, movie_id))

    async def pairs(self, user_id: str, movie_ids: Collection[str]) -> tuple[int, list[Rating]]:
        """The version up to which a user is erased, and what stands of these movies, removals too,
        by movie id."""
        sieve = Sieve()
        rows = await self._cassandra.execute(THESE, (user_id, [ERASURE, *movie_ids]))
        found = sieve.sift(rows)
        return sieve.erased, found

    async def settle_erasure(self, user_id: str, version: int) -> list[Rating]:
        """Carry an erasure to its end, or have it never be; the removals of those left."""
        told = await self._decide(user_id, version, None, await self._erasures(user_id))
        return [] if told.erased < version else await self._carry_out(user_id, version, told)

    async def _decide(
        self, user_id: str, version: int, ratings: int | None, told: "Erasures"
    ) -> "Erasures":
        """Have an erasure be, of so many ratings, or (None) never be; what is told then. Who comes
        first decides. ``told``: what was told a moment ago."""
        while max(told.erased, told.never) < version:
            decided = told._replace(never=version)
            if ratings is not None:
                decided = told._replace(erased=version, ratings=ratings)
            # Told of for as long as something below it may be on its way.
            ahead = max(0, version - self._cassandra.now())
            seconds = TOLD_SECONDS + ahead // SECOND if ahead < YEAR else FOR_EVER
            before = (told.erased, told.never) if told.there else (None, None)
            if await self._cassandra.compare_and_set(
                DECIDE, (seconds, *decided[:3], user_id, *before)
            ):
                return decided
            told = await self._erasures(user_id)
        return told

    async def _carry_out(self, user_id: str, version: int, told: "Erasures") -> list[Rating]:
        """Take away what an erasure that was decided has left; the removals."""
        rows, _ = await asyncio.gather(
            self._all(user_id), self._keep_receipt(user_id, version, told)
        )
        removals = [
            Rating(user_id, movie_id, REMOVED, version)
            for _, movie_id, value, written, _ in rows
            if movie_id != ERASURE and value != REMOVED and written <= version
        ]
        await each(self.send, removals)
        await self._cassandra.execute(HIDE, (version, user_id))
        return removals

    async def _keep_receipt(self, user_id: str, version: int, told: "Erasures") -> None:
        """But where a later erasure has taken the place of this one."""
        if told.erased != version:
            return
        rater, day = self.rater(user_id), version // DAY
        await asyncio.gather(
            self._cassandra.execute(RECEIPT, (rater, day, version, told.ratings, version)),
            self._cassandra.execute(LAST, (rater, version, version)),
        )

    # ---- reading

    async def _all(self, user_id: str) -> list[Row]:
        """A user's partition as it is, with what an erasure hides."""
        pages = self._cassandra.pages(ALL, (user_id,))
        return [row async for page in pages for row in page]

    async def _these(self, movies: Mapping[str, Iterable[str]]) -> list[Rating]:
        """What stands of each user's movies, removals too."""
        asked = [(user, part) for user, wanted in movies.items() for part in parts(wanted, PICK)]
        found = await each(lambda these: self.pairs(*these), asked)
        return [rating for _, ratings in found for rating in ratings]

    async def _last_erasure(self, user_id: str) -> int:
        """Its version. The user's partition knows it at once, the receipts for ever."""
        told = await self._erasures(user_id)
        rows = await self._cassandra.execute(ERASED, (self.rater(user_id),))
        return max(told.erased, rows[0][0]) if rows else told.erased

    async def _erasures(self, user_id: str) -> "Erasures":
        """What a user's partition tells of them, after whatever is being decided."""
        rows = await self._cassandra.execute(ERASURES, (user_id,), serial=True)
        return Erasures(*rows[0]) if rows else NONE

    async def _keep(self, rating: Rating) -> None:
        await self.send(rating)
        await self.put(rating)

    def _rater(self, user_id: str) -> bytes:
        return rater_of(self._cassandra.agreements.rater_key, user_id)


class Erasures(NamedTuple):
    """``erased``: up to which version a user is erased, ``ratings``: how many it took away.
    ``never``: of those up to there none will be that is not yet."""

    erased: int = 0
    ratings: int = 0
    never: int = 0
    there: bool = True


NONE = Erasures(there=False)


class Sieve:
    """Takes rows by user and movie, page after page, and keeps back what is erased."""

    def __init__(self) -> None:
        self._user_id = ""
        self.erased = 0

    def sift(self, rows: Iterable[Row]) -> list[Rating]:
        found = []
        for user_id, movie_id, value, version, erased in rows:
            if user_id != self._user_id:
                self._user_id, self.erased = user_id, 0
            if movie_id == ERASURE:
                self.erased = erased
            elif version > self.erased:
                found.append(Rating(user_id, movie_id, value, version))
        return found


def scores(ratings: Iterable[Rating]) -> list[Rating]:
    """Without the removals."""
    return [rating for rating in ratings if rating.value != REMOVED]


def parts(items: Iterable[T], size: int) -> Iterator[list[T]]:
    left = iter(items)
    while part := list(islice(left, size)):
        yield part


async def each(act: Callable[[T], Awaitable[R]], items: Collection[T]) -> list[R]:
    """``act`` on every item, some at a time; what came of them, in their order. Raises what the
    first that failed did."""
    left = enumerate(items)
    results: dict[int, R] = {}

    async def work() -> None:
        for number, item in left:
            results[number] = await act(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(IN_FLIGHT, len(items))):
                group.create_task(work())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [results[number] for number in range(len(items))]
