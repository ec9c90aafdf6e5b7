"""The shards, and which of them holds a movie: its slot decides, by the map at the first one.

The first shard is the home of what processes agree on. Each shard knows by itself which slots it
holds and since which epoch; a writer locks that row in its transaction and goes on only where it
says what the map said, so that a process with an old map never writes to the wrong shard.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from ...errors import MarqueeError, NotMade, StoreAway, Unusable
from ...model import Prior, slot_of
from ...schemas import Priors, check_prior
from .server import Cursor, Job, Row, Server, rows_of
from .versions import VERSION, check_schema, named, schema_of

LOOK_EVERY = 1.0
"""Seconds after which the map is read again, in case a slot has moved."""

LIST_SECONDS = 5.0
"""So long home is waited for by whoever wants a list."""

REPLICA_SECONDS, REPLICA_RESTS = 1.0, 10.0
"""So long a replica is waited for; then home is asked instead, and it alone for so long."""

LISTS = {
    "statement_timeout": "4s",  # within LIST_SECONDS: what is slow is ended, and no connection lost
    "plan_cache_mode": "force_custom_plan",  # which tables are read depends on the values
    "enable_seqscan": "off",
}

AGREED = "SELECT name, value FROM agreed"
MAP = "SELECT shard, epoch FROM slot_map ORDER BY slot"
HOLD = "SELECT no, epoch, moving FROM slot WHERE no = ANY(%s) ORDER BY no FOR KEY SHARE"
HELD = "SELECT no, epoch, false FROM slot WHERE no = ANY(%s) ORDER BY no"
RECALL = "SELECT value FROM note WHERE name = %s"
REMEMBER = """
    INSERT INTO note VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value"""
AS_OF_NOW = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
PROBE = "SELECT NOT pg_is_in_recovery()"
REACHED = "SELECT at >= %s::pg_lsn, at::text FROM pg_last_wal_replay_lsn() AS at"
WRITTEN = "SELECT at::text, at < %s::pg_lsn FROM pg_current_wal_lsn() AS at"

T = TypeVar("T")

log = logging.getLogger(__name__)


class Moved(MarqueeError):
    """A slot is not, or not now, where the map says."""


@dataclass(frozen=True, slots=True)
class SlotMap:
    """``places``: of each slot its shard, and the epoch since which that is so."""

    places: tuple[tuple[int, int], ...]
    prior: Prior

    def slot(self, movie_id: str) -> int:
        return slot_of(movie_id, len(self.places))

    def shard(self, slot: int) -> int:
        return self.places[slot][0]

    def epoch(self, slot: int) -> int:
        return self.places[slot][1]

    def by_shard(self, slots: Iterable[int]) -> dict[int, list[int]]:
        """Slots in their order, under their shards."""
        found: dict[int, list[int]] = {}
        for slot in sorted(set(slots)):
            found.setdefault(self.shard(slot), []).append(slot)
        return found

    def by_slot(self, things: Collection[T], movie_id: Callable[[T], str]) -> dict[int, list[T]]:
        """Things in their order, under the slots of their movies."""
        found: dict[int, list[T]] = {}
        slots = {id: self.slot(id) for id in set(map(movie_id, things))}
        for thing in things:
            found.setdefault(slots[movie_id(thing)], []).append(thing)
        return found


class Postgres:
    """One or several shards, the first of them home. Connects when it is first asked.

    ``read_url``: a replica of home, for lists, search and charts; of several the first.
    """

    def __init__(self, urls: Sequence[str], read_url: str = "") -> None:
        self.shards = [Server(url) for url in urls]
        self.home = self.shards[0]
        self._lists = Server(urls[0], LISTS)
        self._replica: Server | None = None
        if read_url:
            self._replica = Server(read_url.split(maxsplit=1)[0], LISTS, rest=REPLICA_RESTS)
        self._replica_follows = True
        self._versions_checked = False
        self._written_to = "0/0"
        self._map: SlotMap | None = None
        self._reading: asyncio.Task[SlotMap] | None = None

    # ---- in the background

    async def run(self) -> None:
        """Keep the map, and whether the replica follows, up to date."""
        while True:
            with suppress(StoreAway):
                await self._read_anew()
            if self._replica is not None:
                with suppress(StoreAway):
                    await self._compare_replica(self._replica)
            await asyncio.sleep(LOOK_EVERY)

    async def probe(self) -> None:
        """Raises ``StoreAway`` where any shard is away, ``Unusable`` where it is not ours."""
        await self._check_versions()
        await self.read_map()
        for shard in self.shards:
            ((writable,),) = await shard.fetch(PROBE)
            if not writable:
                raise StoreAway("The movie store can't be written: it is a replica.")
        await self._check_set()

    async def close(self) -> None:
        for server in (*self.shards, self._lists, self._replica):
            if server is not None:
                await server.close()

    # ---- what is agreed

    async def agree(self, prior: Priors) -> None:
        """Raises ``Unusable`` where a schema is too new for us, where these are not the shards of
        one set in their order, or where the settings make another prior of the one that stands."""
        await self._check_versions()
        stands = (await self.read_map()).prior
        await self._check_set()
        check_prior(stands, prior)

    async def identity(self) -> str:
        """Which set of shards this is, for the rating store to keep: the moment at which it was
        made, and its address."""
        return f"{(await self._agreed())['made_at']} {named(self.home.url)}"

    async def _agreed(self) -> dict[str, str]:
        """At home."""
        agreed = dict_of(await self.home.fetch(AGREED))
        check_number(0, agreed, agreed.get("made_at"))
        return agreed

    async def _check_set(self) -> None:
        """Raises ``Unusable`` where a database is not the shard that it is named as."""
        home = await self._agreed()
        for number, shard in enumerate(self.shards):
            check_number(number, dict_of(await shard.fetch(AGREED)), home["made_at"])

    async def _check_versions(self) -> None:
        """Once: what is upgraded later is a newer Marquee's doing, which lets us go on."""
        if not self._versions_checked:
            for shard in self.shards:
                check_schema(schema_of(await shard.fetch(VERSION)), shard.url)
            self._versions_checked = True

    async def recall(self, name: str) -> str | None:
        """What was kept under a name; None where nothing was."""
        rows = await self.home.fetch(RECALL, (name,))
        return rows[0][0] if rows else None

    async def remember(self, name: str, value: str) -> None:
        async def job(cursor: Cursor) -> None:
            await cursor.execute(REMEMBER, (name, value))

        await self.home.transact(job)

    # ---- the map

    async def slot_map(self) -> SlotMap:
        """As it was read last."""
        return self._map or await self._read_anew()

    async def read_map(self) -> SlotMap:
        """As it stands; who asks while it is being read waits for the same. Raises ``Unusable``."""
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_map())
            self._reading.add_done_callback(self._read)
        return await asyncio.shield(self._reading)

    async def _read_anew(self) -> SlotMap:
        try:
            return await self.read_map()
        except Unusable as error:
            raise StoreAway(str(error)) from error

    def _read(self, task: "asyncio.Task[SlotMap]") -> None:
        self._reading = None
        if not task.cancelled() and task.exception() is None:
            self._map = task.result()

    async def _read_map(self) -> SlotMap:
        agreed = await self._agreed()
        places = [tuple(row) for row in await self.home.fetch(MAP)]
        if not places or len(places) != int(agreed["slots"]):
            raise NotMade("The movie store has no map of its slots yet: run `marquee migrate`.")
        if max(shard for shard, _ in places) >= len(self.shards):
            raise Unusable("movies_url lacks a shard that holds movies: name all of them.")
        return SlotMap(tuple(places), prior_of(agreed))

    # ---- where a movie is

    async def read(
        self, slots: Iterable[int], query: str, values: Any = (), *, scan: bool = False
    ) -> list[list[Row]]:
        """The rows of a query on each shard that holds some of these slots, which are put into it
        as ``{slots}``. ``scan``: it may take a while."""
        wanted = list(slots)

        async def job(slot_map: SlotMap) -> list[list[Row]]:
            parts = slot_map.by_shard(wanted).items()
            return await asyncio.gather(
                *(
                    self._read_at(slot_map, shard, part, query, values, scan)
                    for shard, part in parts
                )
            )

        return await self.follow(job)

    async def read_at(self, movie_id: str, query: str, values: Any) -> list[Row]:
        """The rows of a query where a movie is."""
        slot = (await self.slot_map()).slot(movie_id)
        (rows,) = await self.read([slot], query, values)
        return rows

    async def _read_at(
        self,
        slot_map: SlotMap,
        number: int,
        slots: list[int],
        query: str,
        values: Any,
        scan: bool,
    ) -> list[Row]:
        shard = self.shards[number]
        # As literals, so that a plan that is kept leaves the other slots alone.
        listed = ", ".join(str(slot) for slot in slots)
        rows = await (shard.scan if scan else shard.fetch)(query.format(slots=listed), values)
        # Afterwards: a slot that was taken away meanwhile would just be missing.
        check_held(slot_map, slots, await shard.fetch(HELD, (slots,)))
        return rows

    async def write(
        self,
        slot_map: SlotMap,
        shard: int,
        slots: Iterable[int],
        job: Callable[[Cursor], Awaitable[T]],
    ) -> T:
        """Run a job in one transaction of the shard that holds these slots. Raises ``Moved`` where
        it does not (any more)."""
        wanted = sorted(slots)

        async def held(cursor: Cursor) -> T:
            if wanted:
                check_held(slot_map, wanted, await rows_of(cursor, HOLD, (wanted,)))
            return await job(cursor)

        return await self.shards[shard].transact(held)

    async def at(self, movie_id: str, job: Callable[[Cursor, int], Awaitable[T]]) -> T:
        """Run a job, told the slot, in one transaction where a movie is."""

        async def on(slot_map: SlotMap) -> T:
            slot = slot_map.slot(movie_id)
            return await self.write(
                slot_map, slot_map.shard(slot), [slot], lambda cursor: job(cursor, slot)
            )

        return await self.follow(on)

    async def follow(self, act: Callable[[SlotMap], Awaitable[T]]) -> T:
        """Do what needs the map; once more where it turns out to be an old one."""
        try:
            return await act(await self.slot_map())
        except Moved:
            with suppress(Moved):
                return await act(await self._read_anew())
        raise StoreAway("A part of the movie store is being moved.")

    # ---- lists, search and charts

    async def lists(self, job: Job[T]) -> T:
        """What a job reads as of one moment, a second or two ago: from the replica where it
        follows, else from home; where that is away, from the replica as it is."""
        home = partial(self._lists.transact, job, begin=AS_OF_NOW, seconds=LIST_SECONDS)
        if self._replica is None:
            return await home()
        replica = partial(self._replica.transact, job, begin=AS_OF_NOW, seconds=REPLICA_SECONDS)
        first, then = (replica, home) if self._replica_follows else (home, replica)
        try:
            return await first()
        except StoreAway:
            return await then()

    async def probe_lists(self) -> None:
        """Raises ``StoreAway`` where nobody gives lists."""
        await self.lists(partial(rows_of, query=AGREED))

    async def _compare_replica(self, replica: Server) -> None:
        """Whether it has come as far as home was a look ago, and no farther than home is: beyond
        that it has what a home that was restored no longer has, and gets nothing more."""
        ((reached, at),) = await replica.fetch(REACHED, (self._written_to,), REPLICA_SECONDS)
        follows = reached is not False
        try:
            ((self._written_to, behind),) = await self.home.fetch(WRITTEN, (at,))
            follows = follows and not behind
        finally:
            self._replica_follows = follows


def check_number(number: int, agreed: dict[str, str], made_at: str | None) -> None:
    """Raises ``NotMade`` where a database was told of no set yet, ``Unusable`` where it is not the
    shard that it is named as, of the set that was made then."""
    if not agreed:
        raise NotMade("The movie store is half made: run `marquee migrate`.")
    if (agreed.get("made_at"), agreed.get("shard")) != (made_at, str(number)):
        raise Unusable(
            f"The database number {number + 1} of movies_url is not that shard of this Marquee: "
            "name them in the order in which `marquee migrate` met them."
        )


def check_held(slot_map: SlotMap, slots: Sequence[int], rows: Sequence[Row]) -> None:
    """Raises ``Moved`` where a shard's own word on these slots is not the map's."""
    held = {slot: epoch for slot, epoch, moving in rows if not moving}
    if any(held.get(slot) != slot_map.epoch(slot) for slot in slots):
        raise Moved


def dict_of(rows: Iterable[Row]) -> dict[str, str]:
    return {row[0]: row[1] for row in rows}


def prior_of(agreed: dict[str, str]) -> Prior:
    return Prior(int(agreed["prior_weight"]), int(agreed["prior_mean"]))
