"""A record of the topic: what is in it, and by what it is known again."""

from typing import Any
from zlib import crc32

from ...events import decode
from ...model import RatingChanged, Traced, slot_of
from ...ports import Poison

Content = RatingChanged | Poison


TRACE = "traceparent"
"""The header that tells where an event comes from in a trace, by its name at the W3C."""


def content(message: Any, partition: int, slots: int) -> Content:
    """What is in a record, as the driver brings it."""
    return content_of(message.value() or b"", partition, slots)


def traced_content(message: Any, partition: int, slots: int) -> Content:
    """The same, with where it comes from in a trace: what nobody traces is not looked for."""
    found = content(message, partition, slots)
    trace = dict(message.headers() or ()).get(TRACE)
    if isinstance(found, Poison) or not trace:
        return found
    return Traced.behind(found, trace.decode("ascii", "replace"))


def content_of(raw: bytes, partition: int, slots: int) -> Content:
    try:
        event = decode(raw)
    except ValueError as error:
        return Poison(raw, str(error))
    if slot_of(event.movie_id, slots) != partition:
        return Poison(raw, f"partition {partition} is not its movie's")
    return event


def key_of(event: RatingChanged) -> str:
    return f"{event.movie_id}|{event.rater.hex()}"


def mark_of(topic_id: str, content: Content) -> str:
    """The topic's id, the record's key and version; of poison, which has neither, a sum."""
    if isinstance(content, Poison):
        return f"{topic_id} {crc32(content.raw):08x}"
    return f"{topic_id} {key_of(content)} {content.version}"
