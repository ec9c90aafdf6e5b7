"""The keyspace as this process sees it: connected for ever, its time, what was agreed upon.

The driver answers in a thread of its own. Its answers gather, and one waking of the event loop
brings it as many as there are.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import suppress
from itertools import pairwise
from typing import Any, NamedTuple

from cassandra import OperationTimedOut, Timeout
from cassandra.cluster import Cluster, NoHostAvailable, ResultSet, Session
from cassandra.connection import ConnectionException

from ...errors import NotMade, StoreAway, Unusable
from ...troubles import Trouble
from .address import check_overlap, parse
from .driver import AWAY, ERRORS, TIME, connect, copies_of, make_cluster, serial_level
from .migration import MIGRATE, MINUTE, check_movies, check_schema, floor_name, schema_of

TRIES = 3
"""Of a statement whose answer did not come. It is the same one, version or condition included, so
that it does no harm."""

PREPARE_SECONDS = 0.5
"""After which another node is asked to prepare a statement, too."""

PREPARERS = 16
"""Threads: one that a node does not answer is busy for some seconds, and others go on meanwhile."""

LOST_SECONDS = 15
"""Without a word from the cluster, after which the driver is begun anew."""

MEASURES = 10
"""Of the store's time, the last of which must agree: each is another node's word."""

CLOCKS_APART = 60_000_000
"""Microseconds. From 90 s on an intent may be too late for the sweep of its bucket."""

UNSWEPT_MINUTES = 7 * 24 * 60 // 2
"""Half the time for which the outbox keeps an intent."""

LOOK_EVERY = 30.0
"""Seconds between two looks at how far the outbox is swept."""

CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
PAGE = 1000
LEAST_TOKEN, LARGEST_TOKEN = -(2**63), 2**63 - 1

AGREED = "SELECT name, value FROM agreement WHERE name IN ('schema', 'rater_key', 'shards')"
RECALL = "SELECT value FROM agreement WHERE name = ?"
REMEMBER = "INSERT INTO agreement (name, value) VALUES (?, ?)"
SETTLE = "INSERT INTO agreement (name, value) VALUES (?, ?) IF NOT EXISTS"
SWEPT = "SELECT shard, swept FROM lease WHERE shard IN ?"

NOT_MADE = f"The rating store has no schema yet: {MIGRATE}."
SET_BACK = (
    "The rating store's clocks were set back: until a relay has seen it, no ratings are taken."
)
UNSWEPT = "No relay has swept the outbox for days: until one does, no ratings are taken."
APART = "The clocks of the rating store's nodes are more than a minute apart: have NTP set them."

Row = tuple[Any, ...]
Answer = tuple["asyncio.Future[Reply]", "Reply | None", BaseException | None]

log = logging.getLogger(__name__)


def ticks() -> int:
    """Microseconds of a clock that nobody sets, and that goes on while a machine sleeps: it must
    not send intents into minutes that were swept meanwhile."""
    return time.clock_gettime_ns(CLOCK) // 1000


def is_unanswered(error: BaseException) -> bool:
    """Whether an answer may come where it is asked again: time ran out, or a connection broke, for
    then the driver forgets that other nodes were asked, too, and have not answered yet."""
    if isinstance(error, NoHostAvailable):
        return any(isinstance(cause, ConnectionException) for cause in error.errors.values())
    return isinstance(error, Timeout | OperationTimedOut)


async def prepared_by_any(session: Session, cql: str, threads: Executor) -> Any:
    """A statement as it is prepared by the first node that answers: where one does not at once,
    the next is asked, too."""
    left = TRIES
    asked: set[asyncio.Future[Any]] = set()
    loop = asyncio.get_running_loop()
    while True:
        if left:
            left -= 1
            asked.add(loop.run_in_executor(threads, session.prepare, cql))
        done, asked = await asyncio.wait(
            asked,
            timeout=PREPARE_SECONDS if left else None,
            return_when=asyncio.FIRST_COMPLETED,
        )
        for task in done:
            error = task.exception()
            if error is None or not is_unanswered(error) or not (left or asked):
                for late in asked:
                    late.add_done_callback(asyncio.Future.exception)  # nobody waits for it any more
                return task.result()


class Reply(NamedTuple):
    """Rows, and where the next page begins; None behind the last one."""

    rows: list[Row]
    next: bytes | None = None


class Agreements(NamedTuple):
    """What all processes have in common, as ``migrate`` made it."""

    rater_key: bytes
    shards: int


class Cassandra:
    """A keyspace. Made without connecting; ``run`` connects, and stays so."""

    def __init__(self, url: str) -> None:
        """Raises ``Unusable`` where the URL is malformed, or could not keep what is written."""
        self.address = parse(url)
        self._cluster: Cluster | None = None
        self._session: Session | None = None
        self._prepared: dict[tuple[str, bool], Any] = {}
        self._preparing = asyncio.Lock()
        self._preparers = ThreadPoolExecutor(PREPARERS, "cassandra-preparing")
        self._opening = threading.Lock()
        self._closed = False
        self._answers: deque[Answer] = deque()
        self._woken = False
        self._there = asyncio.Event()
        self._why_away = StoreAway(AWAY)
        self._trouble = Trouble(log, str(self.address))
        self._agreements: Agreements | None = None
        self._aheads = deque([0], MEASURES)
        self._apart = False
        self._unswept = False
        self._swept_to = 0
        self._heard = 0.0
        self._silent = False

    # ---- being there

    async def run(self) -> None:
        """Connect, keep the store's time, connect anew where nothing is heard; for ever.

        Raises ``Unusable`` where the store is one with which this process must not go on.
        """
        while not self._closed:
            try:
                await asyncio.to_thread(self._connect)
                for _ in range(MEASURES):
                    await self._measure()
                await self._agree()
                self._there.set()
                self._trouble.over()
                log.info("connected to %s", self.address)
                await self._stay()
            except StoreAway as away:
                self._why_away = away
                if isinstance(away, NotMade):
                    self._trouble.tell(away)
            finally:
                self._there.clear()
                await asyncio.to_thread(self._disconnect)
            await asyncio.sleep(1)

    async def there(self, within: float) -> None:
        """Return as soon as the store can be asked. Raises ``StoreAway``, saying why, where it
        can't be for so many seconds."""
        try:
            async with asyncio.timeout(within):
                await self._there.wait()
        except TimeoutError:
            raise self._is_away() from None

    async def close(self) -> None:
        with self._opening:
            self._closed = True
        self._preparers.shutdown(wait=False)
        await asyncio.to_thread(self._disconnect)

    async def probe(self) -> None:
        """Raises ``StoreAway`` where ratings can't be taken at present."""
        self.check_swept()
        self.check_open(self.now())
        await self.execute(RECALL, ("shards",))

    # ---- asking

    async def execute(
        self, cql: str, values: Sequence[Any] = (), *, serial: bool = False
    ) -> list[Row]:
        """A statement's rows, the first page of them. ``serial``: after every compare-and-set that
        is under way."""
        return (await self._try((await self._statement(cql, serial)).bind(values))).rows

    async def pages(
        self, cql: str, values: Sequence[Any], size: int = PAGE
    ) -> AsyncIterator[list[Row]]:
        """All of a statement's rows, in pages; between them nothing is held."""
        bound = (await self._statement(cql)).bind(values)
        bound.fetch_size = size
        reply = await self._try(bound)
        while reply.next is not None:
            yield reply.rows
            reply = await self._try(bound, reply.next)
        if reply.rows:
            yield reply.rows

    async def compare_and_set(self, cql: str, values: Sequence[Any]) -> bool:
        """Whether the condition held. Where an answer is slow another node is asked, too, which may
        find it done: False says "not now, not by this". After ``StoreAway`` nobody knows: ask."""
        rows = await self.execute(cql, values)
        return bool(rows[0][0])

    def ranges(self) -> list[tuple[int, int]]:
        """The ring as ranges of tokens, (above, up to), each on the same nodes."""
        if self._cluster is None:
            raise self._is_away()
        token_map = self._cluster.metadata.token_map
        ring = [token.value for token in token_map.ring] if token_map else []
        edges = sorted({LEAST_TOKEN, *ring, LARGEST_TOKEN})
        return list(pairwise(edges))

    # ---- what it knows

    def now(self) -> int:
        """The store's time: measured every second, in between carried by the monotonic clock. Of
        its nodes' the latest: whichever answered last, it is the same one in all processes. Raises
        ``StoreAway`` before it was measured, and where the nodes have no time in common."""
        if self._agreements is None:
            raise self._is_away()
        if self._apart:
            raise StoreAway(APART)
        return self._latest()

    @property
    def agreements(self) -> Agreements:
        if self._agreements is None:
            raise self._is_away()
        return self._agreements

    def check_swept(self) -> None:
        """Raises ``StoreAway`` where intents may be gone before anybody has seen them."""
        if self._unswept:
            raise StoreAway(UNSWEPT)

    def check_open(self, at: int) -> None:
        """Raises ``StoreAway`` where what is sent at that time would be in a bucket that was swept,
        and that nobody reads again."""
        if at // MINUTE <= self._swept_to:
            raise StoreAway(SET_BACK)

    async def swept(self) -> list[int]:
        """Of each shard, in order, the minute of the last bucket that was swept."""
        # One by one: all of a table would be read at whatever pace its slowest copy has.
        shards = list(range(self.agreements.shards))
        return [minute for _, minute in sorted(await self.execute(SWEPT, (shards,)))]

    async def recall(self, name: str) -> str | None:
        """What was kept under a name; None where nothing was."""
        rows = await self.execute(RECALL, (name,))
        return rows[0][0] if rows else None

    async def remember(self, name: str, value: str) -> None:
        await self.execute(REMEMBER, (name, value))

    async def agree(self, movies: str, slots: int) -> None:
        """Keep to which movie store the ratings belong, where nobody has kept that yet, and into
        how many slots it is divided. Raises ``Unusable`` where it is another one."""
        check_movies(await self._settled("movies", movies), movies, self.address)
        if (kept := await self._settled("slots", str(slots))) != str(slots):
            raise Unusable(
                f"{self.address} was told of {kept} slots, and the movie store has {slots}: name "
                "two that belong together."
            )

    async def _settled(self, name: str, ours: str) -> str:
        """What is kept under a name for ever: ours, where nothing was."""
        if (kept := await self.recall(name)) is not None:
            return kept
        await self.compare_and_set(SETTLE, (name, ours))
        ((value,),) = await self.execute(RECALL, (name,), serial=True)
        return str(value)

    # ---- in the event loop

    async def _statement(self, cql: str, serial: bool = False) -> Any:
        found = self._prepared.get((cql, serial))
        if found is None:
            async with self._preparing:  # the first one does it for all
                found = self._prepared.get((cql, serial)) or await self._prepare(cql, serial)
        return found

    async def _prepare(self, cql: str, serial: bool) -> Any:
        session, prepared = self._open_session(), self._prepared
        try:
            statement = await prepared_by_any(session, cql, self._preparers)
        except ERRORS as error:
            raise self._away(error) from error
        statement.is_idempotent = True
        if serial:
            statement.consistency_level = serial_level(self.address)
        prepared[cql, serial] = statement
        return statement

    async def _try(
        self, bound: Any, page: bytes | None = None, *, though_silent: bool = False
    ) -> Reply:
        """``though_silent``: also while no node answers anybody; all others hear so at once."""
        tries = TRIES
        while not self._silent or though_silent:
            asked = time.monotonic()
            try:
                return await self._ask(bound, page)
            except ERRORS as error:
                tries -= 1
                if not tries or not is_unanswered(error):
                    raise self._away(error) from error
                # The first time it may be we who were frozen.
                if tries < TRIES - 1 and self._heard < asked:
                    self._silent = True
        self._trouble.tell("no node answers")
        raise StoreAway(AWAY)

    def _ask(self, bound: Any, page: bytes | None) -> "asyncio.Future[Reply]":
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        response = self._open_session().execute_async(bound, paging_state=page)
        response.add_callbacks(
            self._answered,
            self._failed,
            callback_args=(response, answer),
            errback_args=(answer,),
        )
        return answer

    def _open_session(self) -> Session:
        if self._session is None:
            raise self._is_away()
        return self._session

    def _is_away(self) -> StoreAway:
        """Why there is nothing to be had: of the same kind, to be raised anew."""
        return type(self._why_away)(*self._why_away.args)

    def _drain(self) -> None:
        self._woken = False
        while self._answers:
            answer, reply, error = self._answers.popleft()
            if answer.done():  # a speculative try was quicker; or its caller went away
                continue
            if reply is not None:
                answer.set_result(reply)
            elif error is not None:
                answer.set_exception(error)

    def _away(self, error: BaseException) -> StoreAway:
        """What can't be done now, in our terms; the driver's own words go to the log alone."""
        self._trouble.tell(f"{type(error).__name__}: {error}")
        return StoreAway(AWAY)

    async def _agree(self) -> None:
        agreed: dict[str, str] = dict(await self.execute(AGREED))
        version = int(agreed.get("schema", 0))
        check_schema(schema_of(version, await self.recall(floor_name(version))), self.address)
        if not agreed.keys() >= {"rater_key", "shards"}:
            raise NotMade(NOT_MADE)
        found = Agreements(bytes.fromhex(agreed["rater_key"]), int(agreed["shards"]))
        if self._agreements not in (None, found):
            raise Unusable(f"{self.address} is another store than it was: start anew.")
        self._agreements = found

    async def _stay(self) -> None:
        """Return where nothing was heard for a while."""
        heard, look = time.monotonic(), 0.0
        while time.monotonic() < heard + LOST_SECONDS:
            with suppress(StoreAway):
                await self._measure()
                self._trouble.over()
                heard = time.monotonic()
                if heard >= look or self._apart or self._is_set_back():
                    look = heard + LOOK_EVERY
                    await self._look()
            await asyncio.sleep(1)
        log.warning("%s: nothing was heard for a while", self.address)

    async def _look(self) -> None:
        swept = await self.swept()
        self._swept_to = max(swept)
        self._unswept = self._latest() // MINUTE - min(swept) > UNSWEPT_MINUTES
        if self._unswept:
            log.error(UNSWEPT)
        if self._is_set_back():
            self._trouble.tell(SET_BACK)

    def _latest(self) -> int:
        return ticks() + max(self._aheads)

    def _is_set_back(self) -> bool:
        return self._latest() // MINUTE <= self._swept_to

    async def _measure(self) -> None:
        bound = (await self._statement(TIME)).bind(())
        asked = ticks()
        ((now,),) = (await self._try(bound, though_silent=True)).rows
        answered = ticks()
        if answered - asked < 1_000_000 or not self._there.is_set():  # else it tells too little
            self._aheads.append(now * 1000 - (asked + answered) // 2)
            self._apart = max(self._aheads) - min(self._aheads) > CLOCKS_APART
            if self._apart and self._there.is_set():
                self._trouble.tell(APART)

    # ---- in the driver's thread

    def _answered(
        self, rows: list[Row] | None, response: Any, answer: "asyncio.Future[Reply]"
    ) -> None:
        self._heard, self._silent = time.monotonic(), False
        self._bring((answer, Reply(rows or [], ResultSet(response, rows).paging_state), None))

    def _failed(self, error: BaseException, answer: "asyncio.Future[Reply]") -> None:
        self._bring((answer, None, error))

    def _bring(self, answer: Answer) -> None:
        self._answers.append(answer)
        if not self._woken:
            self._woken = True
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                answer[0].get_loop().call_soon_threadsafe(self._drain)

    # ---- in a thread for it

    def _connect(self) -> None:
        try:
            self._open(make_cluster(self.address))
        except ERRORS as error:
            raise self._away(error) from error

    def _open(self, cluster: Cluster) -> None:
        try:
            session = connect(cluster)
            copies = copies_of(session, self.address)
            if copies is None:
                raise NotMade(NOT_MADE)
            check_overlap(self.address.consistency, copies)
            session.set_keyspace(self.address.keyspace)
            with self._opening:
                if not self._closed:
                    self._cluster, self._session, self._prepared = cluster, session, {}
        finally:
            if self._cluster is not cluster:
                cluster.shutdown()

    def _disconnect(self) -> None:
        cluster, self._cluster, self._session = self._cluster, None, None
        if cluster is not None:
            cluster.shutdown()
