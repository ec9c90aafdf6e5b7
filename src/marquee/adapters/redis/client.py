"""A client of a Redis, single or Cluster: whatever the servers do, a call ends soon.

The driver finds a Cluster's nodes, follows a slot that moved and a failover. What it does not do
stands here: a limit for the whole of a call, a breaker for each node, so that one that is away
takes a part of the keys and no time, and a new client where the old one has lost its way.
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from importlib import resources
from typing import Any, TypeVar

import redis.asyncio as driver
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import AuthenticationError, NoPermissionError, NoScriptError

from ...errors import StoreAway
from .address import Address, Node, parse
from .breaker import Breaker

CALL_SECONDS = 0.5
"""Nobody waits longer for a call."""

TRIES = 2
"""In a call the driver asks again, on another connection, and perhaps of another node."""

LOST_SECONDS = 5.0
"""A client that had no answer of a node for so long is replaced: its successor asks those of the
URL, which may have other addresses by now."""

CLOSE_SECONDS = 2.0
WATCH_SECONDS = 1.0
ROOM = 50
"""Calls under way at once, hence connections to a node; more wait."""

log = logging.getLogger(__name__)

T = TypeVar("T")
Client = driver.Redis | RedisCluster
Ask = Callable[[Client], Awaitable[Any]]
Clock = Callable[[], int]


class Script:
    """A Lua script of one key, by its file. Its first argument is the time, as ``now.lua`` says."""

    def __init__(self, name: str) -> None:
        lua = resources.files(__package__) / "lua"
        self.text = "".join((lua / f"{part}.lua").read_text() for part in ("now", name))
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


class Redis:
    """Calls to the Redis of a URL. Connects when it is asked, never before.

    ``clock``: the time in microseconds that scripts go by; by default each server's own.
    ``patience``: seconds that anybody waits for a call. Raises ``Unusable`` where the URL is none.
    """

    def __init__(
        self, url: str, clock: Clock | None = None, patience: float = CALL_SECONDS
    ) -> None:
        self.address = parse(url)
        self._clock = clock
        self._patience = patience
        self._client = self._connect()
        self._breakers: dict[str, Breaker] = {}
        self._room = asyncio.Semaphore(ROOM)
        self._under_way = set[asyncio.Future[Any]]()
        self._probed = self.name("probe")

    def name(self, what: str) -> str:
        """That of a key or channel: none of anybody else's begins like it."""
        return f"{self.address.prefix}:{what}"

    async def call(self, key: str, *command: str | bytes | float) -> Any:
        """A command about this key. Raises ``StoreAway``."""
        return await self._ask(key, lambda client: client.execute_command(*command))

    async def run_script(self, script: Script, key: str, *arguments: str | bytes | float) -> Any:
        """Raises ``StoreAway``."""
        given = (1, key, "" if self._clock is None else self._clock(), *arguments)

        async def run(client: Client) -> Any:
            try:
                return await client.execute_command("EVALSHA", script.sha, *given)
            except NoScriptError:
                return await client.execute_command("EVAL", script.text, *given)

        return await self._ask(key, run)

    async def probe(self) -> None:
        """Raises ``StoreAway`` where it is away, or any of its nodes that was lately."""
        for breaker in list(self._breakers.values()):
            if breaker.is_open:
                await self.call(breaker.about, "EXISTS", breaker.about)
        await self.call(self._probed, "EXISTS", self._probed)

    async def run(self) -> None:
        """Watch over the client, until cancelled."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            self._forget_former_nodes()
            if any(breaker.failing() > LOST_SECONDS for breaker in self._breakers.values()):
                log.debug("Redis is looked for anew")
                self._replace()

    async def close(self) -> None:
        await self._retire(self._client, self._under_way)

    def known_nodes(self) -> list[Node]:
        """Where it may be found: what the URL says, and what the Cluster told."""
        found = list(self.address.nodes)
        if isinstance(self._client, RedisCluster):
            found += [(node.host, int(node.port)) for node in self._client.get_nodes()]
        return list(dict.fromkeys(found))

    # ---- behind it

    async def _ask(self, key: str, ask: Ask) -> Any:
        node = self._node_of(key)
        breaker = self._breakers.setdefault(node, Breaker())
        if not breaker.is_open:
            return await self._try(node, key, ask)
        if breaker.may_try():
            self._begin(self._try_again(node, key))
        raise StoreAway(breaker.why)

    async def _try(self, node: str, key: str, ask: Ask) -> Any:
        breaker = self._breakers.setdefault(node, Breaker())
        try:
            async with asyncio.timeout(self._patience):
                await self._room.acquire()
                call = self._begin(ask(self._client))
                call.add_done_callback(lambda _: self._room.release())
                answer = await asyncio.shield(call)
        except Exception as error:
            # Of any kind: a Cluster's client that has lost its nodes raises many.
            if not breaker.is_open:
                log.warning("Redis%s is away: %r", node and f" at {node}", error)
            breaker.failed(key, words(error))
            raise StoreAway(breaker.why) from error
        if breaker.is_open:
            log.info("Redis%s is back", node and f" at {node}")
            breaker.answered()
        return answer

    async def _try_again(self, node: str, key: str) -> None:
        with suppress(StoreAway):
            await self._try(node, key, lambda client: client.execute_command("EXISTS", key))

    def _begin(self, work: Awaitable[T]) -> asyncio.Future[T]:
        """Let it come to its own end, whoever waits for it. The driver can't bear to be cancelled:
        it may take no notice of it, and cuts off for all what it does for all."""
        task = asyncio.ensure_future(work)
        self._under_way.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Future[Any]) -> None:
        self._under_way.discard(task)
        if not task.cancelled():
            task.exception()  # who waits is told; where nobody does, nobody need be

    def _connect(self) -> Client:
        # What is left of a call's time is for looking for the nodes.
        answer = 0.8 * self._patience / TRIES
        return connect(self.address, socket_timeout=answer, socket_connect_timeout=answer)

    async def _retire(self, client: Client, calls: set[asyncio.Future[Any]]) -> None:
        """Close it after its calls: under one that goes on it would connect again."""
        if calls:
            await asyncio.wait(calls, timeout=CLOSE_SECONDS)
        await close(client)

    def _node_of(self, key: str) -> str:
        """The name of the node that holds a key; "" where there is one alone, or none is known."""
        if isinstance(self._client, RedisCluster):
            nodes = self._client.nodes_manager.slots_cache.get(key_slot(key.encode()))
            return nodes[0].name if nodes else ""
        return ""

    def _forget_former_nodes(self) -> None:
        """One that died and was replaced, or stands back in line, is nobody's concern any more."""
        if isinstance(self._client, RedisCluster):
            present = {node.name for node in self._client.get_primaries()} or {""}
            for name in self._breakers.keys() - present:
                del self._breakers[name]

    def _replace(self) -> None:
        self._begin(self._retire(self._client, set(self._under_way)))
        self._client = self._connect()
        self._breakers = {"": Breaker()}
        self._breakers[""].failed(self._probed, "Redis does not answer.")
        self._begin(self._try_again("", self._probed))


def connect(address: Address, **more: Any) -> Client:
    """A client that will connect when it is first asked."""
    options: dict[str, Any] = {
        "username": address.user,
        "password": address.password,
        "ssl": address.tls,
        "max_connections": ROOM + 2,
        "socket_timeout": CALL_SECONDS,
        "socket_connect_timeout": CALL_SECONDS,
        "protocol": 2,
        "retry": Retry(NoBackoff(), TRIES - 1),
        **more,
    }
    if address.cluster:
        nodes = [ClusterNode(host, port) for host, port in address.nodes]
        return RedisCluster(startup_nodes=nodes, require_full_coverage=False, **options)
    host, port = address.nodes[0]
    return driver.Redis(host=host, port=port, db=address.database, **options)


async def close(client: Client) -> None:
    with suppress(Exception):
        async with asyncio.timeout(CLOSE_SECONDS):
            await client.aclose()


def words(error: Exception) -> str:
    if isinstance(error, AuthenticationError | NoPermissionError):
        return "Redis does not let us in."
    return "Redis does not answer."
