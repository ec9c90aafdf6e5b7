"""Word of changes between processes, by ordinary publish and subscribe.

In a Cluster, too: what is published at one node is heard at every other, so that any that lives
will do to listen at. (Sharded, it would end with the one node that holds the channel.)
"""

import asyncio
import logging
import random
import secrets
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from redis.asyncio.client import PubSub

from ...errors import StoreAway
from .address import Node
from .client import Redis, close, connect

QUIET_SECONDS = 1.0
"""After so long without a word, the node is asked whether it is there; after as long again, it is
not."""

AGAIN_SECONDS = 0.2
MOST_UNSENT = 1000

log = logging.getLogger(__name__)

Notice = tuple[str, str]
"""Topic and what."""


class RedisNotices:
    """``ports.Notices``. Listeners of this process hear at once, those of others while ``run``
    runs; after a break it tells all of them that anything may have changed."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._channel = redis.name("notices")
        self._listeners: defaultdict[str, list[Callable[[str], None]]] = defaultdict(list)
        self._unsent: dict[Notice, None] = {}
        self._told = asyncio.Event()
        self._name = secrets.token_hex(8)

    def tell(self, topic: str, what: str = "") -> None:
        self._hear(topic, what)
        if len(self._unsent) >= MOST_UNSENT:
            self._unsent = {(topic, ""): None for topic, _ in self._unsent}
        self._unsent[topic, what] = None
        self._told.set()

    def listen(self, topic: str, heard: Callable[[str], None]) -> None:
        self._listeners[topic].append(heard)

    async def run(self) -> None:
        """Carry notices to and from the other processes, until cancelled."""
        async with asyncio.TaskGroup() as both:
            both.create_task(self._send())
            both.create_task(self._receive())

    # ---- behind it

    def _hear(self, topic: str, what: str) -> None:
        loop = asyncio.get_running_loop()
        for heard in self._listeners.get(topic, ()):
            # Not at once: what a listener does, or fails in, is no concern of the teller's.
            loop.call_soon(heard, what)

    async def _send(self) -> None:
        while True:
            await self._told.wait()
            self._told.clear()
            try:
                await self.send_unsent()
            except StoreAway:
                await asyncio.sleep(AGAIN_SECONDS)
                self._told.set()

    async def send_unsent(self) -> None:
        """Raises ``StoreAway``; what is not sent by then is kept."""
        while self._unsent:
            topic, what = notice = next(iter(self._unsent))
            # Taken out first: the same may be told again while this one is on its way.
            del self._unsent[notice]
            try:
                message = f"{self._name} {topic} {what}"
                await self._redis.call(self._channel, "PUBLISH", self._channel, message)
            except StoreAway:
                self._unsent[notice] = None
                raise

    async def _receive(self) -> None:
        while True:
            nodes = self._redis.known_nodes()
            random.shuffle(nodes)
            for node in nodes:
                try:
                    await self._listen_at(node)
                except Exception as error:  # noqa: BLE001 - whatever it is, it is the node's
                    log.debug("no notices from %s:%d: %r", *node, error)
                await asyncio.sleep(AGAIN_SECONDS)

    async def _listen_at(self, node: Node) -> None:
        """Hear what comes until it breaks."""
        address = self._redis.address._replace(nodes=(node,), cluster=False)
        # With a time limit of its own the driver may take no notice of being cancelled.
        client = connect(address, socket_timeout=None)
        try:
            async with client.pubsub() as channel:
                async with asyncio.timeout(QUIET_SECONDS):
                    await channel.subscribe(self._channel)
                while (message := await next_message(channel)) is not None:
                    self._take(message)
        finally:
            await close(client)

    def _take(self, message: dict[str, Any]) -> None:
        if message["type"] == "subscribe":  # what was told before, nobody here heard
            for topic in list(self._listeners):
                self._hear(topic, "")
        elif message["type"] == "message":
            teller, _, notice = message["data"].decode().partition(" ")
            if teller != self._name:
                topic, _, what = notice.partition(" ")
                self._hear(topic, what)


async def next_message(channel: PubSub) -> dict[str, Any] | None:
    """What comes next; None where the node is silent, even when it is asked."""
    message: dict[str, Any] | None = await channel.get_message(timeout=QUIET_SECONDS)
    if message is None:
        await channel.ping()
        message = await channel.get_message(timeout=QUIET_SECONDS)
    return message
