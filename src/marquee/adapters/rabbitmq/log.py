"""The queue as its consumers see it: what one of them took and has not done comes again."""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

from ...errors import StoreAway
from ...events import decode
from ...model import RatingChanged, Traced
from ...ports import Batch, Poison
from .address import Address
from .line import Line

PREFETCH = 4000
"""Messages that wait here: enough for the batch after the one that is folded."""

ANSWER_SECONDS = 5.0


Arrived = tuple[int, int, bytes, str]
"""The number of the connection that brought it, its tag there, its bytes, and where it comes from
in a trace. Tag 0 is the connection itself."""


class Record(NamedTuple):
    """``tag``: what RabbitMQ calls it, on the channel that brought it."""

    tag: int
    content: RatingChanged | Poison


class RabbitLog:
    """``ports.EventLog``, without positions. ``gather`` and ``patience`` in seconds: how long
    records gather after all that there were was taken, and when a poll gives up.

    A batch's ``end`` numbers it; by that its records are known when it is done, or comes again.
    """

    def __init__(self, url: str, *, gather: float = 0.1, patience: float = 1.0) -> None:
        self._subscriber = Subscriber(Address.of(url))
        self._gather = gather
        self._gathered_at = 0.0
        self._patience = patience
        self._connections = 0
        self._records: deque[Record] = deque()
        self._held: dict[int, None] = {}  # tags, in order, until they are done
        self._last = 0
        self._given: dict[int, list[Record]] = {}
        self._batches = 0

    async def poll(self, limit: int) -> Batch | None:
        subscriber = self._subscriber
        await subscriber.ready()
        subscriber.consume()
        self._sort()
        if not self._records:
            await asyncio.sleep(self._gathered_at - time.monotonic())
            with suppress(TimeoutError):
                async with asyncio.timeout(self._patience):
                    await subscriber.arrival()
            self._sort()
        return self._take(limit) if self._records else None

    def seek(self, partition: int, position: int) -> None:
        pass  # there are no positions

    def again(self, batch: Batch) -> None:
        self._records.extendleft(reversed(self._given.pop(batch.end, [])))

    async def done(self, batch: Batch) -> None:
        self._sort()
        done = self._given.pop(batch.end, [])
        for record in done:
            self._held.pop(record.tag, None)
        if done:
            # All below the first that is still held: in whatever order batches are done.
            first = next(iter(self._held), self._last + 1)
            self._subscriber.acknowledge(first - 1, self._connections)

    async def behind(self) -> int:
        """Those that wait in the queue, and those that we hold; RabbitMQ tells of no others."""
        await self._subscriber.ready()
        ready = await self._subscriber.depth()
        self._sort()
        return ready + len(self._held)

    async def ends(self) -> dict[int, int]:
        return {}

    async def check(self) -> None:
        pass  # where nobody stands anywhere, nothing can be told to be missing

    async def bridges(self) -> Sequence[Batch]:
        return ()

    # ---- beside the port

    async def probe(self) -> None:
        """Raises ``StoreAway`` where RabbitMQ is away."""
        await self._subscriber.ready()
        await self._subscriber.depth()

    async def close(self) -> None:
        """Give back what we hold."""
        await self._subscriber.close()

    def _sort(self) -> None:
        for connection, tag, body, trace in self._subscriber.arrivals():
            if connection != self._connections:  # what the one before brought comes again
                self._connections = connection
                self._records.clear()
                self._held.clear()
                self._given.clear()
                self._last = 0
            if not tag:
                continue
            self._held[tag] = None
            self._last = tag
            self._records.append(Record(tag, content_of(body, trace)))

    def _take(self, limit: int) -> Batch:
        taken = [self._records.popleft() for _ in range(min(limit, len(self._records)))]
        contents = [record.content for record in taken]
        self._gathered_at = time.monotonic() + self._gather
        self._batches += 1
        self._given[self._batches] = taken
        return Batch(
            [content for content in contents if isinstance(content, RatingChanged)],
            [content for content in contents if isinstance(content, Poison)],
            end=self._batches,
        )


def content_of(body: bytes, trace: str) -> RatingChanged | Poison:
    try:
        return Traced.behind(decode(body), trace)
    except ValueError as error:
        return Poison(body, str(error))


class Subscriber(Line):
    """Takes what the queue gives, once that is wanted, and tells how much waits there."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._connections = 0
        self._wanted = False
        self._done = 0
        self._arrived: deque[Arrived] = deque()
        self._told = False
        self._arrival = asyncio.Event()
        self._questions: set[asyncio.Future[int]] = set()

    def consume(self) -> None:
        if not self._wanted:
            self._wanted = True
            self.call(self._consume)

    async def arrival(self) -> None:
        """Wait until something came."""
        self._arrival.clear()
        if not self._arrived:
            await self._arrival.wait()

    def arrivals(self) -> list[Arrived]:
        self._told = False
        return [self._arrived.popleft() for _ in range(len(self._arrived))]

    def acknowledge(self, last: int, connection: int) -> None:
        """All up to ``last`` of that connection are done."""
        self.call(partial(self._acknowledge, last, connection))

    async def depth(self) -> int:
        """How many messages wait in the queue, with nothing on its way to us when it returns."""
        answer: asyncio.Future[int] = self._loop.create_future()
        self._questions.add(answer)
        self.call(partial(self._ask, answer))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await answer
        except TimeoutError:
            self.give_up()
            raise StoreAway("RabbitMQ does not answer.") from None
        finally:
            self._questions.discard(answer)

    # ---- in the thread

    def _opened(self, channel: Any) -> None:
        self._connections += 1
        self._done = 0
        self._arrived.append((self._connections, 0, b"", ""))
        channel.basic_qos(prefetch_count=PREFETCH, callback=lambda _: self._begun())

    def _begun(self) -> None:
        if self._wanted:
            self._consume()
        self._ready()

    def _consume(self) -> None:
        if self._usable and not self._channel.consumer_tags:
            self._channel.basic_consume(self._address.queue, self._arrive)

    def _arrive(self, _channel: Any, method: Any, properties: Any, body: bytes) -> None:
        trace = str((properties.headers or {}).get("traceparent", ""))
        self._arrived.append((self._connections, method.delivery_tag, body, trace))
        if not self._told:
            self._told = True
            self._tell(self._arrival.set)

    def _acknowledge(self, last: int, connection: int) -> None:
        if connection == self._connections and self._usable and last > self._done:
            self._done = last
            self._channel.basic_ack(last, multiple=True)

    def _ask(self, answer: "asyncio.Future[int]") -> None:
        if not self._usable:
            self._closed()
            return

        def told(frame: Any) -> None:
            # Once the next answer is here, so is all that was given out before this one.
            ready = frame.method.message_count
            self._channel.basic_qos(
                prefetch_count=PREFETCH,
                callback=lambda _: self._tell(partial(settle, answer, ready)),
            )

        self._channel.queue_declare(self._address.queue, passive=True, callback=told)

    def _closed(self) -> None:
        self._tell(partial(self._refuse, self._address.away(self._reason)))

    def _refuse(self, away: StoreAway) -> None:
        """In the event loop: nobody is going to answer."""
        for answer in self._questions:
            if not answer.done():
                answer.set_exception(away)


def settle(answer: "asyncio.Future[int]", depth: int) -> None:
    if not answer.done():
        answer.set_result(depth)
