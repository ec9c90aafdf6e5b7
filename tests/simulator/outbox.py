"""The rating store in which a rating and its event are two writes, and its outbox: in memory.

Each statement is an effect of its own between two points (see ``stores``), and decides as Cassandra
does: of a pair the newest word stays, and a deletion hides all that is not above it.
"""

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from zlib import crc32

from marquee.errors import StoreAway
from marquee.model import (
    NEVER,
    REMOVED,
    Applied,
    Erasure,
    Merged,
    Rating,
    RatingChanged,
    rater_of,
)
from marquee.ports import Intent, Lease
from tests.simulator.stores import (
    PAGE,
    LogDisk,
    MemoryRatings,
    Now,
    Point,
    RatingDisk,
    between_points,
    straight_on,
)

MINUTE = 60_000_000
IN_TIME = 30_000_000
"""Microseconds within which an intent must stand, or it is sent anew."""

T = TypeVar("T")
P = ParamSpec("P")


class TimedOut(StoreAway):
    """Nobody knows what became of a write: it may even be done later."""


@dataclass
class IntentDisk(RatingDisk):
    """``now``: the store's time. ``buckets``: by shard and minute, each intent and since when it
    stands. ``never``: by user, up to which version no erasure will be that is not yet; ``deleted``:
    what is. ``on_their_way``: writes that timed out."""

    now: Now = lambda: 0
    shards: int = 2
    buckets: defaultdict[tuple[int, int], dict[Intent, int]] = field(
        default_factory=lambda: defaultdict(dict)
    )
    swept: list[int] = field(default_factory=list)
    holders: dict[int, tuple[str, int]] = field(default_factory=dict)
    relays: dict[str, int] = field(default_factory=dict)
    never: dict[str, int] = field(default_factory=dict)
    deleted: dict[str, int] = field(default_factory=dict)
    on_their_way: list[Callable[[], object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.swept = [self.now() // MINUTE - 2] * self.shards

    def erased(self, user_id: str) -> int:
        receipt = self.erasures.get(rater_of(self.rater_key, user_id))
        return receipt.version if receipt else 0

    def decided(self, user_id: str) -> int:
        """Up to which version it is of every erasure."""
        return max(self.erased(user_id), self.never.get(user_id, 0))

    def standing(self) -> dict[str, dict[str, Applied]]:
        """By user, then movie; what an erasure is still to take away left out."""
        found = {}
        for user_id, rated in self.ratings.items():
            erased = self.erased(user_id)
            found[user_id] = {movie: word for movie, word in rated.items() if word[0] > erased}
        return found


# ---- statements --------------------------------------------------------------------------------


def or_later(
    effect: Callable[Concatenate["Statements", P], None],
) -> Callable[Concatenate["Statements", P], Coroutine[Any, Any, None]]:
    """A write ``between_points`` that may also be done after it timed out."""
    before, after = f"{effect.__qualname__}, before", f"{effect.__qualname__}, after"

    @wraps(effect)
    async def call(store: "Statements", /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            await store._point(before)
        except TimedOut:
            store._disk.on_their_way.append(partial(effect, store, *args, **kwargs))
            raise
        effect(store, *args, **kwargs)
        await store._point(after)

    return call


async def insist(statement: Callable[[], Awaitable[T]]) -> T:
    """Once more where it failed: done twice is the same as once."""
    try:
        return await statement()
    except StoreAway:
        return await statement()


class Statements:
    """What is done to the store at once, and the steps that are always the same."""

    _disk: IntentDisk
    _now: Now
    _point: Point

    @or_later
    def _send(self, ratings: Sequence[Rating], sent_at: int) -> None:
        for rating in ratings:
            shard = crc32(f"{rating.user_id} {rating.movie_id}".encode()) % self._disk.shards
            bucket = self._disk.buckets[shard, sent_at // MINUTE]
            bucket.setdefault(Intent(rating, sent_at), self._disk.now())

    @or_later
    def _write(self, rating: Rating) -> None:
        user_id, movie_id, value, version = rating
        rated = self._disk.ratings.setdefault(user_id, {})
        word = Applied(version, value)
        if version > self._disk.deleted.get(user_id, 0) and word > rated.get(movie_id, NEVER):
            rated[movie_id] = word

    @between_points
    def _look(self, user_id: str, movie_id: str) -> Applied | None:
        return self._disk.ratings.get(user_id, {}).get(movie_id)

    @between_points
    def _last_erasure(self, user_id: str) -> int:
        return self._disk.erased(user_id)

    @between_points
    def _last_decision(self, user_id: str) -> int:
        return self._disk.decided(user_id)

    @between_points
    def _list(self, user_id: str) -> dict[str, Applied]:
        return dict(self._disk.ratings.get(user_id, {}))

    @between_points
    def _decide(self, whole: Rating, receipt: Erasure | None) -> bool:
        """Have an erasure be, or (None) never be; whoever comes first decides. Whether it is."""
        user_id, _, _, version = whole
        if version > self._disk.decided(user_id):
            if receipt:
                self._disk.erasures[receipt.rater] = receipt
            else:
                self._disk.never[user_id] = version
        return version <= self._disk.erased(user_id)

    @between_points
    def _delete(self, user_id: str, version: int) -> None:
        self._disk.deleted[user_id] = max(version, self._disk.deleted.get(user_id, 0))
        rated = self._disk.ratings.get(user_id, {})
        self._disk.ratings[user_id] = {m: word for m, word in rated.items() if word[0] > version}

    async def _intend(self, ratings: Sequence[Rating]) -> None:
        """Send intents until they stand in time to be swept."""
        while True:
            sent_at = self._now()
            await insist(lambda: self._send(ratings, sent_at))  # noqa: B023 - awaited at once
            if self._now() - sent_at <= IN_TIME:
                return

    async def _stands(self, rating: Rating) -> tuple[int, Applied | None]:
        """The version of the user's last erasure, and what is stored of the pair: read before, so
        that what is missed of the one is seen in the other."""
        stored = await insist(partial(self._look, rating.user_id, rating.movie_id))
        return await insist(partial(self._last_erasure, rating.user_id)), stored

    async def _carry_out(self, whole: Rating) -> list[Rating]:
        """Take away what an erasure that is decided has left; the removals."""
        user_id, _, _, version = whole
        left = live(await insist(partial(self._list, user_id)), version)
        removals = [whole._replace(movie_id=movie_id) for movie_id in left]
        await self._intend(removals)
        await insist(partial(self._delete, user_id, version))
        return removals


def live(rated: dict[str, Applied], version: int) -> list[str]:
    """The movies of which there is a score up to that version."""
    return sorted(m for m, word in rated.items() if word.value != REMOVED and word[0] <= version)


# ---- the store ---------------------------------------------------------------------------------


class TwoStepRatings(Statements, MemoryRatings):
    _disk: IntentDisk

    def __init__(self, disk: IntentDisk, now: Now, point: Point = straight_on) -> None:
        super().__init__(disk, now, point)
        self._now = now

    async def write(self, user_id: str, movie_id: str, value: int) -> Rating:
        above = 0
        while True:
            rating = Rating(user_id, movie_id, value, self._version(above))
            erased, stored = await self._intend_and_look(rating)
            above = max(erased, stored.version if stored else 0)
            if above < rating.version:
                await insist(partial(self._write, rating))
                return rating

    def _version(self, above: int) -> int:
        """One above another one does not date everybody's next."""
        return self._clock.next(above)

    async def _intend_and_look(self, rating: Rating) -> tuple[int, Applied | None]:
        """Both at once: either may come first."""
        await self._intend([rating])
        return await self._stands(rating)

    async def merge(self, ratings: Sequence[Rating]) -> Merged:
        merged = Merged()
        for rating in ratings:
            merged = merged.plus(await self._merge(rating))
        return merged

    async def _merge(self, rating: Rating) -> Merged:
        erased, stored = await self._stands(rating)
        rating = rating._replace(version=max(rating.version, erased + 1))
        if stored is None or stored.version <= erased:
            stored = NEVER
        if Applied(rating.version, rating.value) <= stored:
            return Merged(unchanged=1)
        await self._intend([rating])
        await insist(partial(self._write, rating))
        if stored.value != REMOVED:
            return Merged(replaced=1)
        return Merged(added=1) if rating.value != REMOVED else Merged(unchanged=1)

    @between_points
    def stored(self, user_id: str, movie_ids: Sequence[str]) -> tuple[int, dict[str, Applied]]:
        erased = self._disk.erased(user_id)
        rated = self._disk.standing().get(user_id, {})
        return erased, {id: rated[id] for id in movie_ids if id in rated}

    async def erase(self, user_id: str) -> Erasure:
        rated = await insist(partial(self._list, user_id))
        decided = await insist(partial(self._last_decision, user_id))
        highest = max((word.version for word in rated.values()), default=0)
        whole = Rating(user_id, "", REMOVED, self._version(max(highest, decided)))
        number = len(live(rated, whole.version))
        receipt = Erasure(self.rater(user_id), whole.version, number)
        await self._intend([whole])
        if not await insist(partial(self._decide, whole, receipt)):
            raise StoreAway("It took so long that nothing is erased: try again.")
        await self._carry_out(whole)
        return receipt

    def _standing(self, user_id: str, movie_ids: Iterable[str]) -> list[Rating]:
        erased = self._disk.erased(user_id)
        return [each for each in super()._standing(user_id, movie_ids) if each.version > erased]


class MemoryOutbox(Statements):
    """``page``: rows that are read at a time."""

    def __init__(self, disk: IntentDisk, point: Point = straight_on, page: int = PAGE) -> None:
        self._disk = disk
        self._now = disk.now
        self._point = point
        self._page = page

    @between_points
    def now(self) -> int:
        return self._disk.now()

    @between_points
    def attend(self, relay: str, seconds: float) -> list[str]:
        now = self._disk.now()
        self._disk.relays[relay] = now + round(seconds * 1e6)
        return sorted(name for name, until in self._disk.relays.items() if until > now)

    @between_points
    def lease(self, shard: int, relay: str, seconds: float) -> Lease | None:
        now = self._disk.now()
        holder, until = self._disk.holders.get(shard, (relay, 0))
        if holder != relay and until > now:
            return None
        self._disk.holders[shard] = relay, now + round(seconds * 1e6)
        return Lease(shard, self._disk.swept[shard])

    @between_points
    def release(self, shard: int, relay: str) -> None:
        if self._holds(shard, relay):
            del self._disk.holders[shard]

    async def intents(self, shard: int, minute: int, since: int = 0) -> AsyncIterator[list[Intent]]:
        after: Intent | None = None
        while page := await self._rows(shard, minute, since, after):
            yield page
            if len(page) < self._page:
                return
            after = page[-1]

    @between_points
    def _rows(self, shard: int, minute: int, since: int, after: Intent | None) -> list[Intent]:
        rows = self._disk.buckets.get((shard, minute), {})
        above = place(after) if after else (since,)
        return sorted((row for row in rows if place(row) > above), key=place)[: self._page]

    async def settle(self, intents: Sequence[Intent]) -> list[RatingChanged]:
        events = []
        for rating, *_ in intents:
            if rating.movie_id:
                events.append(self.event(await self._settle(rating)))
            else:
                events += await self._settle_erasure(rating)
        return events

    async def _settle(self, rating: Rating) -> Rating:
        """What is stored of a pair, no older than its intent."""
        erased, stored = await self._stands(rating)
        word = Applied(rating.version, rating.value)
        if rating.version > erased and (stored or NEVER) < word:
            await insist(partial(self._write, rating))
            erased, stored = await self._stands(rating)
        if stored is None or stored.version <= erased:
            return rating._replace(value=REMOVED)
        return rating._replace(value=stored.value, version=stored.version)

    async def _settle_erasure(self, whole: Rating) -> list[RatingChanged]:
        if not await insist(partial(self._decide, whole, None)):
            return []
        return [self.event(removal) for removal in await self._carry_out(whole)]

    @between_points
    def swept(self, shard: int, relay: str, minute: int) -> bool:
        if not self._holds(shard, relay):
            return False
        self._disk.swept[shard] = minute
        return True

    @between_points
    def swept_to(self) -> list[int]:
        return list(self._disk.swept)

    def event(self, rating: Rating) -> RatingChanged:
        user_id, movie_id, value, version = rating
        return RatingChanged(movie_id, rater_of(self._disk.rater_key, user_id), version, value)

    def _holds(self, shard: int, relay: str) -> bool:
        holder, until = self._disk.holders.get(shard, ("", 0))
        return holder == relay and until > self._disk.now()


def place(intent: Intent) -> tuple[int, Rating]:
    """Where a row stands in its bucket."""
    return intent.sent_at, intent.rating


class MemoryTopic:
    def __init__(self, log: LogDisk, point: Point = straight_on) -> None:
        self._log = log
        self._point = point

    @between_points
    def publish(self, events: Sequence[RatingChanged]) -> None:
        for event in events:
            self._log.publish(event)
