"""A record of the topic: what is in it, and by what it is known again."""

from typing import NamedTuple
from zlib import crc32

from confluent_kafka import Message

from ...events import decode
from ...model import RatingChanged, slot_of
from ...ports import Poison


class Record(NamedTuple):
    offset: int
    content: RatingChanged | Poison

    def mark(self, topic_id: str) -> str:
        """The topic's id, the record's key and version; of poison, which has neither, a sum."""
        content = self.content
        if isinstance(content, Poison):
            return f"{topic_id} {crc32(content.raw):08x}"
        return f"{topic_id} {key_of(content)} {content.version}"


def key_of(event: RatingChanged) -> str:
    return f"{event.movie_id}|{event.rater.hex()}"


def read(message: Message, slots: int) -> Record:
    raw = message.value() or b""
    return Record(message.offset(), content_of(raw, message.partition(), slots))


def content_of(raw: bytes, partition: int, slots: int) -> RatingChanged | Poison:
    try:
        event = decode(raw)
    except ValueError as error:
        return Poison(raw, str(error))
    if slot_of(event.movie_id, slots) != partition:
        return Poison(raw, f"partition {partition} is not its movie's")
    return event
