"""The topic as its producer sees it: idempotent, kept by all replicas before it counts.

The driver gathers what is published into requests of its own and tells of each record when Kafka
has it. Records of one partition keep their order, also where a request has to be repeated; so
those of a pair do, for a movie has one partition.
"""

import asyncio
import threading
from collections.abc import Sequence
from contextlib import suppress

from confluent_kafka import KafkaError, KafkaException, Producer

from ...errors import StoreAway
from ...events import encode
from ...model import RatingChanged, slot_of
from ...ports import Slots
from .client import Address, check_slots, partitions
from .records import TRACE, key_of

SETTINGS = {
    "acks": "all",
    "enable.idempotence": True,
    # A request for each partition: the fewer of them, the less three brokers have to do.
    "linger.ms": 25,
    "compression.type": "lz4",
    # Room for what comes while a leader is elected, with much to spare.
    "queue.buffering.max.messages": 500_000,
    "queue.buffering.max.kbytes": 256 * 1024,
    "message.timeout.ms": 30_000,
    "request.timeout.ms": 3000,
    "retry.backoff.ms": 50,
    "retry.backoff.max.ms": 500,
}


class KafkaTopic:
    """``ports.Topic``. ``slots``: as the stores have agreed on."""

    def __init__(self, url: str, slots: Slots) -> None:
        self._address = Address.of(url)
        self._agreed_slots = slots
        self._slots = 0
        self._outlet: Outlet | None = None
        self._opening = asyncio.Lock()

    async def publish(self, events: Sequence[RatingChanged]) -> None:
        if not events:
            return
        outlet = await self._open()
        delivery = Delivery(len(events))
        try:
            self._send(outlet.producer, events, delivery)
            await delivery.future
        except BufferError:
            raise StoreAway("Kafka is behind: it takes no more at present.") from None
        except KafkaException as failed:
            error: KafkaError = failed.args[0]
            if error.fatal() or error.code() == KafkaError._FATAL:
                self._outlet = None  # this producer is done for; the next call makes another
                outlet.leave()
            raise self._address.away(error) from failed

    async def close(self) -> None:
        """What was published is kept or refused by now: nobody waits any more."""
        if self._outlet is not None:
            self._outlet.leave()
            await asyncio.to_thread(self._outlet.thread.join)

    async def _open(self) -> "Outlet":
        async with self._opening:
            if self._outlet is None:
                self._slots = await self._agreed_slots()
                found = await asyncio.to_thread(partitions, self._address, self._address.admin())
                check_slots(self._address, found, self._slots)
                self._outlet = Outlet(self._address)
            return self._outlet

    def _send(
        self, producer: Producer, events: Sequence[RatingChanged], delivery: "Delivery"
    ) -> None:
        topic, slots, produce = self._address.topic, self._slots, producer.produce
        for event in events:
            produce(
                topic,
                encode(event),
                key_of(event),
                slot_of(event.movie_id, slots),
                on_delivery=delivery,
                headers={TRACE: event.trace} if event.trace else None,
            )


class Delivery:
    """Counts the records of one call as Kafka takes them, in the thread that hears of it."""

    def __init__(self, records: int) -> None:
        self._left = records
        self._failed: KafkaError | None = None
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self._loop.create_future()

    def __call__(self, error: KafkaError | None, _: object) -> None:
        self._failed = self._failed or error
        self._left -= 1
        if not self._left:
            with suppress(RuntimeError):  # the loop is closed: nobody waits
                self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        if self.future.done():
            return
        if self._failed is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(KafkaException(self._failed))


class Outlet:
    """A producer, and the thread in which it tells what became of the records."""

    def __init__(self, address: Address) -> None:
        self.producer = Producer(address.settings | SETTINGS)
        self.thread = threading.Thread(target=self._hear, name="kafka-topic", daemon=True)
        self._leaving = False
        self.thread.start()

    def leave(self) -> None:
        self._leaving = True

    def _hear(self) -> None:
        # What is still on its way is heard of, too, so that nobody waits in vain.
        while not self._leaving or len(self.producer):
            self.producer.poll(0.1)
