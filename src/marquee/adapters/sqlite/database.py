"""The file: one writer thread that commits what has gathered, and readers beside it.

A write is a job, a function of the connection. What one turn of the event loop asks for comes to
the writer at once; while a commit is on its way to the disk the next jobs gather, and share the
commit after it; each caller is answered when its own is durable.
"""

import asyncio
import logging
import secrets
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import lru_cache, partial
from importlib import resources
from itertools import chain, groupby, repeat, takewhile
from operator import itemgetter
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from ...errors import MarqueeError, StoreAway, Unusable
from ...model import Prior, rate_tenths
from ...ports import Position
from ...schemas import Priors, Schema, Step, check_fits, check_prior, read_steps, told, unchanged
from ...troubles import Trouble

ASIDE = "before-restore-"
"""How the folders begin that have what stood in a backup's place."""

APPLICATION_ID = 0x4D525145  # "MRQE", in the file's header
LARGEST_GROUP = 1000
LARGEST_SLICE = 128
BUSY_SECONDS = 5.0
CALL_SECONDS = 10.0
RECALL = "SELECT value FROM agreed WHERE name = ?"
REMEMBER = "INSERT OR REPLACE INTO agreed (name, value) VALUES (?, ?)"
PAGE = 1000
"""Rows that a scan reads at a time: between pages nothing is held."""

T = TypeVar("T")
Job = Callable[[sqlite3.Connection], T]
Together = Callable[[sqlite3.Connection, Sequence[Any]], Sequence[Any]]
"""Does for many what a job does for one: as many results, in their order."""
Act = Callable[[sqlite3.Connection], None]
Waiting = tuple["asyncio.Future[Any]", Together, Any]
Outcome = tuple["asyncio.Future[Any]", Any, BaseException | None]

trouble = Trouble(logging.getLogger(__name__), "SQLite", level=logging.ERROR)
"""Of whoever reads or writes: a full disk would be told with each rating."""


def now_us() -> int:
    return time.time_ns() // 1000


class Database:
    """An open file; made by ``await Database.open(path)``."""

    def __init__(self, path: Path, loop: asyncio.AbstractEventLoop) -> None:
        self.path = path
        self._loop = loop
        self._gathered: list[Waiting] = []
        self._handed: SimpleQueue[list[Waiting]] = SimpleQueue()  # an empty list is the end
        self._unanswered: deque[tuple[float, list[Waiting]]] = deque()  # as they were handed over
        self._around: list[tuple[Act, Act]] = []
        self._on_commit: list[Callable[[int], None]] = []
        self._closed = False
        self._connection = connect(path)
        self._local = threading.local()
        self._reading: list[sqlite3.Connection] = []
        self._readers = ThreadPoolExecutor(2, "sqlite-reader")
        self._writer = threading.Thread(target=self._write_all, name="sqlite-writer", daemon=True)
        self._writer.start()
        self._sweep()

    @classmethod
    async def open(cls, path: Path, prior: Priors = unchanged) -> "Database":
        """Open, making or upgrading the schema. Raises ``Unusable``, with what to do about it.

        ``prior``: what the settings make of the default one, where the file is new; a file that
        was made with another one is refused.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, prepare, path, prior)
        return cls(path, loop)

    def around(self, begin: Act, end: Act) -> None:
        """Both run in the writer's thread, in each transaction: before its jobs and after them."""
        self._around.append((begin, end))

    def on_commit(self, act: Callable[[int], None]) -> None:
        """``act`` runs in the event loop after each commit, with the number of its jobs."""
        self._on_commit.append(act)

    def write(self, job: Job[T]) -> "asyncio.Future[T]":
        """Done when ``job``'s transaction is on the disk, with what it returned.

        Where the file can't take it, or not within ``CALL_SECONDS``: ``StoreAway``. A job may be
        run several times (once to an effect), so it keeps nothing but what it returns.
        """
        return self.write_together(each, job)

    def write_together(self, together: Together, asked: Any) -> "asyncio.Future[Any]":
        """The same, for what costs less where it is asked many times: all that was asked of
        ``together`` in a row, by whomever, is given to it at once."""
        if self._closed:
            raise StoreAway("The store is closing.")
        answer: asyncio.Future[Any] = self._loop.create_future()
        if not self._gathered:
            self._loop.call_soon(self._hand_over)
        self._gathered.append((answer, together, asked))
        return answer

    async def read(self, job: Job[T]) -> T:
        """What ``job`` reads, as of one moment."""
        if self._closed:
            raise StoreAway("The store is closing.")
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await self._loop.run_in_executor(self._readers, self._read, job)
        except TimeoutError:
            raise StoreAway("The store does not answer.") from None

    async def probe(self) -> None:
        """Raises ``StoreAway`` where a write can't begin, or the last rating could not be kept: its
        version still has to be (``SqliteRatings``), so that this is tried."""
        await self.write(lambda _: None)

    async def probe_reads(self) -> None:
        """Raises ``StoreAway`` where nothing can be read."""
        await self.recall("rater_key")

    async def recall(self, name: str) -> str | None:
        """What was kept under a name; None where nothing was."""
        row = await self.read(lambda connection: connection.execute(RECALL, (name,)).fetchone())
        return row[0] if row else None

    async def remember(self, name: str, value: str) -> None:
        await self.write(lambda connection: connection.execute(REMEMBER, (name, value)))

    async def close(self) -> None:
        """Commit what was accepted, then let go of the file."""
        if self._closed:
            return
        self._closed = True
        self._hand_over()
        self._handed.put([])
        await self._loop.run_in_executor(None, self._writer.join)
        await self._loop.run_in_executor(None, self._readers.shutdown)
        for connection in (*self._reading, self._connection):  # the last one out folds the WAL
            connection.close()

    # ---- in the event loop

    def _hand_over(self) -> None:
        """All of a turn's jobs at once: a writer woken by the first would commit it alone."""
        if self._gathered:
            self._unanswered.append((self._loop.time() + CALL_SECONDS, self._gathered))
            self._handed.put(self._gathered)
            self._gathered = []

    def _answer(self, handed: int, outcomes: list[Outcome], size: int) -> None:
        for _ in range(handed):
            self._unanswered.popleft()
        for answer, result, error in outcomes:
            if answer.done():  # its caller went away, or waited too long
                continue
            if error is None:
                answer.set_result(result)
            else:
                answer.set_exception(error)
        if size:
            for act in self._on_commit:
                act(size)

    def _sweep(self) -> None:
        """Let nobody wait for ever where the disk has stopped answering."""
        now = self._loop.time()
        for _, group in takewhile(lambda handed: handed[0] <= now, self._unanswered):
            for answer, *_ in group:
                if not answer.done():
                    answer.set_exception(StoreAway("The store does not answer."))
        if not self._closed:
            self._loop.call_later(1, self._sweep)

    # ---- in the writer's thread

    def _write_all(self) -> None:
        while True:
            handed, group = self._next_group()
            if not group:
                return
            try:
                outcomes, size = self._commit(group)
            except Exception as error:  # noqa: BLE001 - even so the writer goes on
                outcomes, size = [(answer, None, error) for answer, *_ in group], 0
            self._loop.call_soon_threadsafe(self._answer, handed, outcomes, size)

    def _next_group(self) -> tuple[int, list[Waiting]]:
        """All that has gathered, and how often it was handed over; nothing at the end."""
        handed, group = 1, list(self._handed.get())
        while group and len(group) < LARGEST_GROUP and not self._handed.empty():
            more = self._handed.get()
            if not more:
                self._handed.put(more)
                break
            handed += 1
            group += more
        return handed, group

    def _commit(self, group: list[Waiting]) -> tuple[list[Outcome], int]:
        """Run a group in one transaction. Where one of its jobs fails, each half has one of its
        own, and so on down to that job alone: the others share as few flushes as can be."""
        connection = self._connection
        outcomes: list[Outcome] = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            for begin, _ in self._around:
                begin(connection)
            for together, some in groupby(group, key=itemgetter(1)):
                answers, _, asked = zip(*some, strict=True)
                results = together(connection, asked)
                outcomes += zip(answers, results, repeat(None), strict=False)
            for _, end in self._around:
                end(connection)
            connection.execute("COMMIT")
            trouble.over()
        except Exception as error:  # noqa: BLE001 - it is handed to whoever waits for the job
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                away = as_away(error)
                return [(answer, None, away) for answer, *_ in group], 0
            if len(group) == 1:
                return [(group[0][0], None, error)], 0
            middle = len(group) // 2
            first, size = self._commit(group[:middle])
            second, more = self._commit(group[middle:])
            return first + second, size + more
        return outcomes, len(group)

    # ---- in a reader's thread

    def _reader(self) -> sqlite3.Connection:
        """Opened by its thread's first read: where that fails, the next one tries again."""
        if not hasattr(self._local, "connection"):
            self._local.connection = connect(self.path, read_only=True)
            self._reading.append(self._local.connection)
        connection: sqlite3.Connection = self._local.connection
        return connection

    def _read(self, job: Job[T]) -> T:
        try:
            connection = self._reader()
            connection.execute("BEGIN")
            try:
                return job(connection)
            finally:
                if connection.in_transaction:  # of some errors SQLite ends it by itself
                    connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise as_away(error) from error


def each(connection: sqlite3.Connection, jobs: Sequence[Job[Any]]) -> list[Any]:
    return [job(connection) for job in jobs]


def as_away(error: sqlite3.Error) -> MarqueeError:
    """What SQLite can't do now, in our terms; its own words go to the log alone."""
    name = getattr(error, "sqlite_errorname", "")
    trouble.tell(f"{error} ({name})")
    if is_full(error):
        return StoreAway("The disk is full: nothing more can be kept.")
    if name.startswith("SQLITE_READONLY"):
        return StoreAway("The data folder can't be written.")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return StoreAway("The database file is damaged.")
    return StoreAway("The store can't be reached at present.")


def is_full(error: sqlite3.Error) -> bool:
    """Whether there is no room for what is written, or for the memory that is shared about it."""
    return getattr(error, "sqlite_errorname", "") in {"SQLITE_FULL", "SQLITE_IOERR_SHMSIZE"}


def connect(path: Path, *, read_only: bool = False) -> sqlite3.Connection:
    # Opened for writing also to read: a reader of a WAL must be able to make its shared memory.
    connection = sqlite3.connect(
        path,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=128,
    )
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    # These are for macOS, whose flush ends in the disk's own memory; elsewhere they mean nothing.
    connection.execute("PRAGMA fullfsync = ON")
    connection.execute("PRAGMA checkpoint_fullfsync = ON")
    connection.execute("PRAGMA journal_size_limit = 67108864")
    connection.execute("PRAGMA wal_autocheckpoint = 4000")
    connection.execute("PRAGMA temp_store = MEMORY")
    connection.execute(f"PRAGMA cache_size = {-2000 if read_only else -8000}")
    if read_only:
        connection.execute("PRAGMA query_only = ON")
    return connection


def slices(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    """All rows, in slices of a few sizes: a statement for each size is prepared once, and has much
    less to do for each of its rows than one for a single row."""
    at, size = 0, LARGEST_SLICE
    while at < len(rows):
        if size <= len(rows) - at:
            yield rows[at : at + size]
            at += size
        else:
            size //= 2


@lru_cache(100)
def marks(columns: int, rows: int) -> str:
    """The placeholders of so many rows, for ``VALUES``."""
    row = f"({', '.join('?' * columns)})"
    return ", ".join([row] * rows)


def execute_for_all(
    connection: sqlite3.Connection, statement: str, rows: Sequence[Sequence[Any]]
) -> list[tuple[Any, ...]]:
    """Run a statement over all rows, which stand in the place of its ``{}``; what it finds."""
    found: list[tuple[Any, ...]] = []
    for some in slices(rows):
        values = list(chain.from_iterable(some))
        found += connection.execute(statement.format(marks(len(some[0]), len(some))), values)
    return found


# ---- the schema --------------------------------------------------------------------------------


def steps() -> list[Step]:
    return read_steps(resources.files(__package__) / "schema")


def prepare(path: Path, prior: Priors = unchanged) -> str:
    """Make or upgrade the file at ``path``; what became of its schema. Safe to run twice, and by
    two at once.

    What is not ours, or newer than we can go on with, is left as it is.
    """
    try:
        if not path.exists():
            check_exchanged(path)
        # Nobody else's to read: in it are who rated what, and the key that hides them elsewhere.
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
        with closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
            read_schema(connection, path)
        with closing(connect(path)) as connection:
            done = migrate(connection, path)
            agree(connection, prior)
    except OSError as error:
        raise Unusable(f"{path} can't be made: {error.strerror}.") from error
    except sqlite3.Error as error:
        raise unusable(path, error) from error
    return done


def check_exchanged(path: Path) -> None:
    """Raises ``Unusable`` where a restore was cut off when what was there had been put aside, and
    the backup was not in its place yet: else a new file would be served in the place of both."""
    for aside in sorted(path.parent.glob(f"{ASIDE}*"), reverse=True):
        if (aside / path.name).exists():
            raise Unusable(
                f"{path} is gone, and a restore has put one aside: restore again, or move back "
                f"what is in {aside}; to begin anew, take that folder away."
            )


def read_schema(connection: sqlite3.Connection, path: Path) -> Schema:
    """What the file has had. Raises ``Unusable`` where it is none of ours, or too new."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables and application != APPLICATION_ID:
        raise Unusable(f"{path} is a database, but not one of Marquee's.")
    floor = connection.execute(RECALL, (f"floor_{version}",)).fetchone() if version else None
    schema = Schema(version, floor[0] if floor else version)
    check_fits(schema, len(steps()), str(path))
    return schema


def migrate(connection: sqlite3.Connection, path: Path) -> str:
    connection.execute("BEGIN IMMEDIATE")
    try:
        known = steps()
        schema = read_schema(connection, path)
        for step in known[schema.version :]:
            for statement in statements(step.script):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {step.number}")
            if step.floor < step.number:
                connection.execute(REMEMBER, (f"floor_{step.number}", step.floor))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    return f"{path}: {told(schema, len(known))}"


def statements(script: str) -> list[str]:
    """A script's statements one by one: ``executescript`` would commit what is under way."""
    found, statement = [], ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            found.append(statement)
            statement = ""
    return found


def agree(connection: sqlite3.Connection, prior: Priors) -> None:
    """Settle what all processes must agree on; what stands there is not changed."""
    first = prior(Prior())
    offered = {
        "rater_key": secrets.token_bytes(32),
        "prior_weight": first.weight,
        "prior_mean": first.mean,
    }
    settle = "INSERT OR IGNORE INTO agreed (name, value) VALUES (?, ?)"
    connection.executemany(settle, offered.items())
    check_prior(read_prior(connection), prior)


def change_prior(path: Path, prior: Priors) -> bool:
    """Draw every movie's rate anew by another prior; whether it is another one. Raises
    ``Unusable``."""
    try:
        with closing(connect(path)) as connection:
            return draw_anew(connection, prior)
    except sqlite3.Error as error:
        raise unusable(path, error) from error


def draw_anew(connection: sqlite3.Connection, prior: Priors) -> bool:
    connection.execute("BEGIN IMMEDIATE")
    stands = read_prior(connection)
    now = prior(stands)
    if now == stands:
        return False
    connection.executemany(
        "UPDATE agreed SET value = ? WHERE name = ?",
        [(now.weight, "prior_weight"), (now.mean, "prior_mean")],
    )
    connection.create_function("rate_tenths", 2, partial(rate_tenths, prior=now))
    connection.execute("UPDATE movie SET rate = rate_tenths(number, total) WHERE number > 0")
    connection.execute("COMMIT")
    return True


def read_prior(connection: sqlite3.Connection) -> Prior:
    return Prior(agreed(connection, "prior_weight"), agreed(connection, "prior_mean"))


def agreed(connection: sqlite3.Connection, name: str) -> Any:
    (value,) = connection.execute(RECALL, (name,)).fetchone()
    return value


def unusable(path: Path, error: sqlite3.Error) -> Unusable:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
        return Unusable(f"{path} is damaged: restore a backup with `marquee restore`.")
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return Unusable(f"{path} can't be written: give this user the data folder, or another one.")
    if is_full(error):
        return Unusable(f"The disk of {path} is full: make room.")
    if name.startswith("SQLITE_BUSY"):
        return Unusable(f"Somebody else writes to {path}: try again when that is done.")
    return Unusable(f"{path} can't be used: {error}.")


def read_position(connection: sqlite3.Connection, partition: int) -> Position:
    """Where the consumer of a partition stands; at 0 at its beginning."""
    row = connection.execute(
        "SELECT position, mark FROM position WHERE partition = ?", (partition,)
    ).fetchone()
    return Position(*row) if row else Position()
