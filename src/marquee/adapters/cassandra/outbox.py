"""The outbox: intents in buckets, and the relays that share them."""

from collections.abc import AsyncIterator, Sequence

from ...model import NEVER, REMOVED, Applied, Rating, RatingChanged
from ...ports import Intent, Lease
from .cluster import CLOCKS_APART, Cassandra
from .ratings import ERASURE, MINUTE, SECOND, CassandraRatings, each

BUCKET = """
    SELECT user_id, movie_id, value, version, sent_at, trace FROM outbox
    WHERE shard = ? AND minute = ? AND sent_at >= ?"""
ATTEND = "INSERT INTO attendance (minute, relay, until) VALUES (?, ?, ?) USING TIMESTAMP ?"
LIVING = "SELECT relay, until FROM attendance WHERE minute = ?"
HELD = "SELECT relay, until, swept FROM lease WHERE shard = ?"
TAKE = "UPDATE lease SET relay = ?, until = ? WHERE shard = ? IF relay = ? AND until = ?"
LET_GO = "UPDATE lease SET until = 0 WHERE shard = ? IF relay = ?"
SWEPT = "UPDATE lease SET swept = ? WHERE shard = ? IF relay = ? AND until > ?"


class CassandraOutbox:
    """``ports.Outbox``."""

    def __init__(self, cassandra: Cassandra, ratings: CassandraRatings) -> None:
        self._cassandra = cassandra
        self._ratings = ratings

    async def now(self) -> int:
        return self._cassandra.now()

    async def attend(self, relay: str, seconds: float) -> list[str]:
        now = self._cassandra.now()
        until = now + int(seconds * SECOND)
        # The next minute's, too, so that a look at the present one alone finds who lives. Dated by
        # us: a node that was frozen would bring an old one late, and date it as of then.
        for minute in range(now // MINUTE, max(now + MINUTE, until) // MINUTE + 1):
            await self._cassandra.execute(ATTEND, (minute, relay, until, now))
        rows = await self._cassandra.execute(LIVING, (now // MINUTE,))
        return sorted(name for name, until in rows if until > now)

    async def lease(self, shard: int, relay: str, seconds: float) -> Lease | None:
        holder, until, swept = await self._held(shard)
        now = self._cassandra.now()
        ours = (relay, now + int(seconds * SECOND))
        # One that lasts longer is of before the store's clocks were set back.
        if holder != relay and now < until <= ours[1] + CLOCKS_APART:
            return None
        taken = await self._cassandra.compare_and_set(TAKE, (*ours, shard, holder, until))
        return Lease(shard, swept) if taken or (await self._held(shard))[:2] == ours else None

    async def release(self, shard: int, relay: str) -> None:
        await self._cassandra.compare_and_set(LET_GO, (shard, relay))

    async def intents(self, shard: int, minute: int, since: int = 0) -> AsyncIterator[list[Intent]]:
        async for rows in self._cassandra.pages(BUCKET, (shard, minute, since)):
            yield [Intent(Rating(*row[:4]), row[4], row[5] or "") for row in rows]

    async def settle(self, intents: Sequence[Intent]) -> list[RatingChanged]:
        # Each by itself: of a user's erasures one may have been decided, and another one not.
        ratings = dict.fromkeys(intent.rating for intent in intents)
        told = await each(self._settle, ratings)
        return [self.event(rating) for found in told for rating in found]

    async def swept(self, shard: int, relay: str, minute: int) -> bool:
        now = self._cassandra.now()
        return await self._cassandra.compare_and_set(SWEPT, (minute, shard, relay, now))

    async def swept_to(self) -> list[int]:
        return await self._cassandra.swept()

    def event(self, rating: Rating) -> RatingChanged:
        user_id, movie_id, value, version = rating
        return RatingChanged(movie_id, self._ratings.rater(user_id), version, value)

    async def _held(self, shard: int) -> tuple[str, int, int]:
        """By which relay, until when; and what is swept."""
        holder, until, swept = (await self._cassandra.execute(HELD, (shard,), serial=True))[0]
        return holder, until, swept

    async def _settle(self, rating: Rating) -> list[Rating]:
        """What the store holds of a pair, once this is done."""
        user_id, movie_id, value, version = rating
        if movie_id == ERASURE:
            return await self._ratings.settle_erasure(user_id, version)
        erased, found = await self._ratings.pairs(user_id, [movie_id])
        stands = max((Applied(r.version, r.value) for r in found), default=NEVER)
        if version > erased and Applied(version, value) > stands:
            await self._ratings.put(rating)
            _, found = await self._ratings.pairs(user_id, [movie_id])
        return found or [rating._replace(value=REMOVED)]
