"""The queue as its producer sees it: what RabbitMQ has confirmed, a majority of its nodes has."""

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import takewhile
from typing import Any, NamedTuple

import pika

from ...errors import NotMade, StoreAway
from ...events import encode
from ...model import RatingChanged, slot_of
from ...ports import Slots
from .address import Address
from .line import Line

WINDOW = 2000
"""Messages on their way to be confirmed: the more, the larger the disk's writes."""

PUBLISH_SECONDS = 10.0
PERSISTENT = 2


class RabbitTopic:
    """``ports.Topic``. ``slots``: as the stores have agreed on; each event carries its own."""

    def __init__(self, url: str, slots: Slots) -> None:
        self._slots = slots
        self._properties: list[pika.BasicProperties] = []
        self._publisher = Publisher(Address.of(url))

    async def publish(self, events: Sequence[RatingChanged]) -> None:
        if not events:
            return
        await self._publisher.ready()
        if not self._properties:
            self._properties = [properties(slot) for slot in range(await self._slots())]
        delivery = Delivery(len(events))
        messages = [Message(encode(event), self._carrying(event), delivery) for event in events]
        self._publisher.call(partial(self._publisher.send, messages))
        try:
            async with asyncio.timeout(PUBLISH_SECONDS):
                await delivery.future
        except TimeoutError:
            self._publisher.give_up()
            raise StoreAway("RabbitMQ does not answer.") from None

    async def close(self) -> None:
        await self._publisher.close()

    def _carrying(self, event: RatingChanged) -> pika.BasicProperties:
        slot = slot_of(event.movie_id, len(self._properties))
        if event.trace:
            return properties(slot, traceparent=event.trace)
        return self._properties[slot]


def properties(slot: int, **more: str) -> pika.BasicProperties:
    return pika.BasicProperties(delivery_mode=PERSISTENT, headers={"slot": slot, **more})


class Delivery:
    """Counts the messages of one call as RabbitMQ takes them, in the thread that hears of it."""

    def __init__(self, messages: int) -> None:
        self._left = messages
        self._failed: StoreAway | None = None
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self._loop.create_future()

    def fail(self, error: StoreAway) -> None:
        self._failed = self._failed or error

    def take(self) -> bool:
        """One message less to wait for; whether it was the last."""
        self._left -= 1
        return not self._left

    def end(self) -> None:
        if self.future.done():
            return
        if self._failed is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(self._failed)


class Message(NamedTuple):
    body: bytes
    properties: Any
    delivery: Delivery


class Publisher(Line):
    """Sends messages in order, so many at a time, and hears which of them are safe."""

    def __init__(self, address: Address) -> None:
        super().__init__(address)
        self._waiting: deque[Message] = deque()
        self._sent: dict[int, Delivery] = {}  # by the number that RabbitMQ confirms
        self._number = 0

    def send(self, messages: Iterable[Message]) -> None:
        self._waiting.extend(messages)
        if not self._usable:
            self._closed()
        else:
            self._go_on()

    def _opened(self, channel: Any) -> None:
        self._number = 0
        channel.add_on_return_callback(self._returned)
        channel.confirm_delivery(self._confirmed, callback=lambda _: self._ready())

    def _closed(self) -> None:
        left = [*self._sent.values(), *(message.delivery for message in self._waiting)]
        self._sent.clear()
        self._waiting.clear()
        away = self._address.away(self._reason)
        for delivery in left:
            self._settle(delivery, away)

    def _go_on(self) -> None:
        while self._waiting and len(self._sent) < WINDOW and self._usable:
            body, properties, delivery = self._waiting.popleft()
            if delivery.future.cancelled():  # nobody waits any more
                continue
            self._number += 1
            self._sent[self._number] = delivery
            # Mandatory: else what can't be routed would be confirmed, and gone.
            self._channel.basic_publish("", self._address.queue, body, properties, mandatory=True)

    def _returned(self, *_: object) -> None:
        """There is no such queue. Which message it was is not told: none of them is safe."""
        missing = NotMade(f"RabbitMQ has no queue {self._address.queue}: run `marquee migrate`.")
        for delivery in self._sent.values():
            delivery.fail(missing)

    def _confirmed(self, frame: Any) -> None:
        last, taken = frame.method.delivery_tag, isinstance(frame.method, pika.spec.Basic.Ack)
        refused = None if taken else StoreAway("RabbitMQ can't keep more at present.")
        if frame.method.multiple:
            numbers = list(takewhile(lambda number: number <= last, self._sent))
        else:
            numbers = [last]
        for number in numbers:
            self._settle(self._sent.pop(number), refused)
        self._go_on()

    def _settle(self, delivery: Delivery, error: StoreAway | None) -> None:
        if error is not None:
            delivery.fail(error)
        if delivery.take():
            self._tell(delivery.end)
