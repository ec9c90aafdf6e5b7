"""Whether the log is still the one that was folded.

A position says how far the log was folded, and its mark what stood there last. Where the log has
dropped what comes behind the position, ends before it, or has something else in front of it, then
reading on would lose what is missing, without a word. All of this blocks: call it in a thread.
"""

import time
from collections.abc import Iterable, Mapping
from contextlib import closing

from confluent_kafka import Consumer, KafkaError, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from ...errors import StoreAway
from ...ports import Batch, Position
from .client import CALL_SECONDS, Address, Facts, patiently
from .records import Content, content_of, mark_of

PAUSE = 0.1

READER = {
    "group.id": "marquee-reader",  # the driver wants one; nothing joins it, nothing is committed
    "auto.offset.reset": "error",
    "enable.auto.commit": False,
    "isolation.level": "read_uncommitted",
    # Not less than a batch of records: of those that are larger, an answer holds but the first.
    "fetch.message.max.bytes": 1024 * 1024,
    "queued.min.messages": 1,
}


def ends(
    address: Address, admin: AdminClient, partitions: Iterable[int], which: OffsetSpec
) -> dict[int, int]:
    """Each partition's first offset, or the one behind its last."""
    wanted = {TopicPartition(address.topic, partition): which for partition in partitions}

    def ask() -> dict[int, int]:
        found = admin.list_offsets(wanted, request_timeout=CALL_SECONDS)
        return {place.partition: future.result().offset for place, future in found.items()}

    return patiently(address, ask)


def last_before(address: Address, facts: Facts, offsets: Mapping[int, int]) -> dict[int, Content]:
    """The record before an offset, by partition; left out where there is none any more."""
    waiting = {partition: offset - 1 for partition, offset in offsets.items()}
    places = [TopicPartition(address.topic, *place) for place in waiting.items()]
    found: dict[int, Content] = {}
    until = time.monotonic() + CALL_SECONDS
    with closing(Consumer(address.settings | READER)) as consumer:
        consumer.assign(places)
        while waiting:
            if time.monotonic() > until:
                raise StoreAway("Kafka does not answer.")
            message = consumer.poll(PAUSE)
            partition = -1 if message is None else message.partition()
            if partition not in waiting:
                continue
            if message.error() is None:
                raw = message.value() or b""
                found[partition] = content_of(raw, partition, facts.partitions)
            elif message.error().code() != KafkaError._AUTO_OFFSET_RESET:
                raise address.away(message.error())
            del waiting[partition]
    return found


def losses(
    address: Address, admin: AdminClient, facts: Facts, positions: Mapping[int, Position]
) -> dict[int, str]:
    """The partitions that can't be read on from these positions, and why."""
    first = ends(address, admin, positions, OffsetSpec.earliest())
    behind = ends(address, admin, positions, OffsetSpec.latest())
    there = {p: at.offset for p, at in positions.items() if first[p] < at.offset <= behind[p]}
    marked = {p: offset for p, offset in there.items() if positions[p].mark}
    before = last_before(address, facts, marked) if marked else {}
    found = {
        partition: loss(position, first[partition], behind[partition], facts, before.get(partition))
        for partition, position in positions.items()
    }
    return {partition: why for partition, why in found.items() if why}


def loss(at: Position, first: int, behind: int, facts: Facts, before: Content | None) -> str | None:
    """What is missing between a position and a partition from ``first`` to ``behind``."""
    offset, mark = at
    if is_of_another(at, facts):
        return "the topic was deleted and made anew"
    if offset < first:
        return f"records {offset}-{first - 1} were dropped before they were folded"
    if offset > behind:
        return f"it ends at {behind}, and was folded up to {offset}"
    # At the very first record what stood before it is gone by time, with nothing of ours.
    if mark and offset > first and (before is None or mark_of(facts.id, before) != mark):
        return f"record {offset - 1} is not the one that was folded"
    return None


def is_of_another(at: Position, facts: Facts) -> bool:
    """Whether a position is in a topic that was there before this one."""
    return bool(at.mark) and at.mark.split(" ")[0] != facts.id


def bridges(
    address: Address, admin: AdminClient, facts: Facts, positions: Mapping[int, Position]
) -> list[Batch]:
    """Empty batches over what is lost, to where the log begins now. All that is in it is folded: it
    may hold removals of what a rebuild leaves alone, being too young to judge."""
    lost = losses(address, admin, facts, positions)
    if not lost:
        return []
    first = ends(address, admin, lost, OffsetSpec.earliest())
    return [
        Batch((), (), partition, positions[partition].offset, first[partition], facts.id)
        for partition in lost
    ]
