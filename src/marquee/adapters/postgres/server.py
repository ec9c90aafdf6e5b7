"""One PostgreSQL server: a few connections that come back by themselves, and a deadline on all."""

import asyncio
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from ...errors import Invalid, MarqueeError, NotMade, StoreAway, Unusable
from ...troubles import Trouble
from .versions import named

READ_SECONDS = 3.0
CALL_SECONDS = 10.0
SCAN_SECONDS = 60.0
CONNECT_SECONDS = 2
CONNECTIONS = 8
REST_SECONDS = 1.0
"""A server that did not answer is left alone for so long, unless it is said otherwise: callers are
told at once."""

LIMITS = {
    "statement_timeout": "8s",
    "lock_timeout": "4s",
    # A frozen client must not keep its locks from the living.
    "idle_in_transaction_session_timeout": "5s",
    "jit": "off",
}
BY_KEY = {
    # What is written is found by its key, whatever the statistics say meanwhile.
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "plan_cache_mode": "force_generic_plan",
}
PATIENCE = "SET LOCAL statement_timeout = '55s'"

IN_THE_WAY = ("40001", "40P01", "25P03", "25006", "57P01", "57P02")
"""Conflicts, sessions that were ended, servers that became replicas: what was begun is undone, and
may be tried again, on another connection."""

NOT_MADE = {
    "3D000": "The movie store has no such database yet: run `marquee migrate`.",
    "42P01": "The movie store has no schema yet: run `marquee migrate`.",
}
AWAY = {
    "28": "The movie store does not let us in: its name or password is wrong.",
    "42501": "The movie store denies us a table: `marquee doctor` says which.",
    "53100": "The disk is full: nothing more can be kept.",
    "25006": "The movie store can't be written: it is a replica.",
    "55P03": "The movie store is busy.",
    "57014": "The movie store does not answer in time.",
}

Connection = psycopg.AsyncConnection[tuple[Any, ...]]
Cursor = psycopg.AsyncCursor[tuple[Any, ...]]
Row = tuple[Any, ...]
T = TypeVar("T")
Job = Callable[[Cursor], Awaitable[T]]

log = logging.getLogger(__name__)
logging.getLogger("psycopg").setLevel(logging.CRITICAL)  # what it meets, callers are told


class Server:
    """Connects when it is first asked. ``settings``: of its sessions, beside ``LIMITS``. ``rest``:
    seconds for which it is left alone where it did not answer."""

    def __init__(
        self,
        url: str,
        settings: Mapping[str, str] = BY_KEY,
        rest: float = REST_SECONDS,
    ) -> None:
        self.url = url
        self._parameters = parameters(url, LIMITS | dict(settings))
        self._trouble = Trouble(log, f"PostgreSQL at {named(url)}")
        self._room = asyncio.Semaphore(CONNECTIONS)
        self._idle: list[Connection] = []
        self._rest = rest
        self._resting_until = 0.0
        self._closed = False

    async def fetch(self, query: str, values: Any = (), seconds: float = READ_SECONDS) -> list[Row]:
        """The rows of one reading statement."""

        async def job(cursor: Cursor) -> list[Row]:
            return await rows_of(cursor, query, values)

        return await self._try_twice(job, seconds)

    async def scan(self, query: str, values: Any = ()) -> list[Row]:
        """The same, where it may take a while."""

        async def job(cursor: Cursor) -> list[Row]:
            await cursor.execute(PATIENCE)
            return await rows_of(cursor, query, values)

        return await self.transact(job, begin="BEGIN READ ONLY", seconds=SCAN_SECONDS)

    async def transact(
        self, job: Job[T], *, begin: str = "BEGIN", seconds: float = CALL_SECONDS
    ) -> T:
        """What ``job`` returns, when its transaction is durable.

        A job may be run twice (never both times to an effect), so it keeps nothing but what it
        returns.
        """

        async def whole(cursor: Cursor) -> T:
            await cursor.execute(begin)
            result = await job(cursor)
            try:
                await cursor.execute("COMMIT")
            except psycopg.Error as error:  # nobody knows what became of it: not to be tried again
                raise self._ours(error) from error
            return result

        return await self._try_twice(whole, seconds)

    async def close(self) -> None:
        self._closed = True
        await self._drop_idle()

    async def _try_twice(self, job: Job[T], seconds: float) -> T:
        try:
            try:
                return await self._run(job, seconds)
            except psycopg.Error as error:
                if not may_be_tried_again(error):
                    raise
                await self._drop_idle()  # as old as the one that was lost
                return await self._run(job, seconds)
        except psycopg.Error as error:
            raise self._ours(error) from error

    async def _run(self, job: Job[T], seconds: float) -> T:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        try:
            async with asyncio.timeout_at(deadline):
                await self._room.acquire()
        except TimeoutError:
            raise StoreAway("The movie store is busy.") from None
        try:
            async with self._connection(deadline) as connection:
                result = await job(connection.cursor(binary=True))
            self._trouble.over()
            return result
        finally:
            self._room.release()

    @asynccontextmanager
    async def _connection(self, deadline: float) -> AsyncIterator[Connection]:
        if asyncio.get_running_loop().time() < self._resting_until:
            raise StoreAway("The movie store does not answer.")
        connection = self._idle.pop() if self._idle else await self._connect(deadline)
        timer = asyncio.get_running_loop().call_at(deadline, self._hang_up, connection)
        try:
            try:
                yield connection
            except Exception:
                if connection.info.transaction_status != TransactionStatus.IDLE:
                    with suppress(psycopg.Error):
                        await connection.execute("ROLLBACK")
                raise
        finally:
            timer.cancel()
            if connection.info.transaction_status == TransactionStatus.IDLE and not self._closed:
                self._idle.append(connection)
            else:
                await connection.close()

    async def _connect(self, deadline: float) -> Connection:
        if self._closed:
            raise StoreAway("The movie store is closing.")
        now = asyncio.get_running_loop().time
        began = now()
        try:
            async with asyncio.timeout_at(deadline):
                connection = await psycopg.AsyncConnection.connect(**self._parameters)
        except TimeoutError:
            self._leave_alone()
            raise StoreAway("The movie store does not answer.") from None
        except psycopg.OperationalError as error:
            if now() - began >= CONNECT_SECONDS:
                self._leave_alone()
            raise self._ours(error) from error
        connection.prepared_max = 500  # each slot has statements of its own
        return connection

    def _hang_up(self, connection: Connection) -> None:
        """End a connection whose server has stopped answering: who waits for it hears of it now."""
        self._leave_alone()
        with suppress(OSError, psycopg.Error):
            line = socket.socket(fileno=os.dup(connection.fileno()))
            with line:
                line.shutdown(socket.SHUT_RDWR)

    def _leave_alone(self) -> None:
        self._resting_until = asyncio.get_running_loop().time() + self._rest

    def _ours(self, error: psycopg.Error) -> MarqueeError:
        """In our terms; its own words go to the log alone."""
        ours = as_ours(error)
        if isinstance(ours, StoreAway):
            self._trouble.tell(f"{str(error).strip()} ({error.sqlstate or type(error).__name__})")
        return ours

    async def _drop_idle(self) -> None:
        while self._idle:
            await self._idle.pop().close()


def parameters(url: str, settings: Mapping[str, str]) -> dict[str, Any]:
    """How to connect to ``url``, with these settings in each session. Raises ``Unusable``."""
    try:
        told = conninfo_to_dict(url)
    except psycopg.Error:
        told = None
    if told is None or not all(map(is_port, str(told.get("port", "")).split(","))):
        raise Unusable(  # in words of ours: the driver's would show a password
            "This is no address of a PostgreSQL: postgresql://USER:PASSWORD@HOST:PORT/DATABASE."
        )
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    ours = {
        "options": f"{told.get('options') or ''} {options}".strip(),
        "connect_timeout": CONNECT_SECONDS,
        "tcp_user_timeout": 10_000,  # ms
        "application_name": "marquee",
        "autocommit": True,
        "prepare_threshold": 2,
    }
    return told | ours


def is_port(text: str) -> bool:
    """Whether it is one, or none is said."""
    return not text or (text.isdecimal() and 0 < int(text) < 1 << 16)


async def rows_of(cursor: Cursor, query: str, values: Any = ()) -> list[Row]:
    await cursor.execute(query, values)
    return await cursor.fetchall()


def may_be_tried_again(error: psycopg.Error) -> bool:
    """Whether it is undone for sure, and no fault of the statement's."""
    lost = isinstance(error, psycopg.OperationalError) and error.sqlstate is None
    stale_plan = isinstance(error, psycopg.errors.FeatureNotSupported)
    return lost or stale_plan or error.sqlstate in IN_THE_WAY


def as_ours(error: psycopg.Error) -> MarqueeError:
    """What PostgreSQL can't do now, in our terms."""
    state = error.sqlstate or ""
    if isinstance(error, psycopg.DataError):
        return Invalid("The movie store can't keep these values.")
    if state in NOT_MADE:
        return NotMade(NOT_MADE[state])
    told = AWAY.get(state) or AWAY.get(state[:2])
    return StoreAway(told or "The movie store can't be reached at present.")
