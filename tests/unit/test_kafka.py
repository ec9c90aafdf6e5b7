"""From where a consumer of Kafka reads on, without one."""

import asyncio
from collections import deque

import pytest

from marquee.adapters.kafka import KafkaLog, continuity, log
from marquee.adapters.kafka.client import Facts
from marquee.adapters.kafka.source import Given, Run
from marquee.adapters.memory import MemoryNotices
from marquee.aggregation import Aggregator
from marquee.errors import LogLost, Unusable
from marquee.model import RatingChanged
from tests.simulator.stores import MemoryTotals, MovieDisk


class Topic:
    """One partition, of which a consumer gets all that is behind where it is to read from."""

    def __init__(self):
        self.facts = Facts("one", 1)
        self.records = [RatingChanged("m", bytes(16), version, 5) for version in range(1, 10)]

    def losses(self, _address, _admin, facts, positions):
        found = {
            partition: continuity.loss(at, 0, len(self.records), facts, self.records[at.offset - 1])
            for partition, at in positions.items()
        }
        return {partition: why for partition, why in found.items() if why}


class Source:
    broken = False

    def __init__(self, topic):
        self._topic = topic
        self.arrivals = deque([Given([0])])

    async def fetch(self, most, seconds):
        await asyncio.sleep(0 if self.arrivals else min(seconds, 0.01))

    async def read_from(self, offsets):
        for partition, at in offsets.items():
            self.arrivals.append(Run(partition, at, self._topic.records[at:]))

    async def leave_out(self, partitions): ...

    async def close(self): ...


@pytest.fixture
def topic(monkeypatch):
    topic = Topic()
    monkeypatch.setattr(log, "Source", lambda *_, **__: Source(topic))
    monkeypatch.setattr(log, "facts", lambda *_: topic.facts)
    monkeypatch.setattr(log, "partitions", lambda *_: topic.facts.partitions)
    monkeypatch.setattr(continuity, "losses", topic.losses)
    return topic


@pytest.fixture
def movies():
    return MovieDisk()


@pytest.fixture
async def events(topic, movies):
    events = KafkaLog("kafka://nowhere", MemoryTotals(movies, int), gather=0, patience=0.5)
    yield events
    await events.close()


@pytest.mark.parametrize("position", [2, 8])
async def test_totals_restored_from_before_the_topic_was_made_anew_stop_who_is_at_work(
    events, movies, position
):
    """Their position is in the former topic: whoever read on from there would miss what is before
    it in this one, and what was behind it in that one."""
    stage = Aggregator(events, MemoryTotals(movies, int), MemoryNotices())
    assert await stage.step(3) == 3
    movies.positions[0], movies.marks[0] = position, "former m|00 1"
    assert await stage.step(3) == 0
    with pytest.raises(LogLost, match="made anew"):
        await stage.step(3)
    assert movies.positions[0] == position


async def test_so_does_who_has_nothing_to_do_and_happens_to_stand_there(events, movies):
    stage = Aggregator(events, MemoryTotals(movies, int), MemoryNotices())
    assert await stage.step() == 9
    movies.marks[0] = "former m|00 1"
    assert await stage.step() == 0
    with pytest.raises(LogLost, match="made anew"):
        await stage.step()


async def test_a_position_that_was_moved_in_this_topic_is_read_on_from(events, movies):
    stage = Aggregator(events, MemoryTotals(movies, int), MemoryNotices())
    for _ in range(2):
        await stage.step(3)
    movies.positions[0], movies.marks[0] = 1, f"one m|{bytes(16).hex()} 1"
    assert [await stage.step(3) for _ in range(4)] == [0, 3, 3, 2]
    assert movies.positions[0] == 9


async def test_a_topic_with_other_partitions_than_were_agreed_is_refused(events, topic, movies):
    """Else half of its events would be in partitions that are not theirs, and poison."""
    await events.agree(1)
    assert (await events.poll(3)).end == 3
    topic.facts = Facts("another", 2)
    stage = Aggregator(events, MemoryTotals(movies, int), MemoryNotices())
    async with asyncio.timeout(10):
        with pytest.raises(Unusable, match="has 2 partitions"):
            await stage.run()
