"""What only Kafka can show: losses that are told, groups that share, topics that are made right."""

import asyncio
import itertools
import random
import subprocess
import sys
import time
from contextlib import AsyncExitStack, contextmanager

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource

from marquee.adapters import kafka
from marquee.adapters.kafka.administration import settings
from marquee.adapters.kafka.client import Address, facts
from marquee.adapters.kafka.continuity import last_before
from marquee.adapters.kafka.source import SETTINGS
from marquee.adapters.memory import MemoryNotices
from marquee.aggregation import Aggregator
from marquee.errors import LogLost, StoreAway, Unusable
from marquee.model import REMOVED, Rating, RatingChanged, Totals, slot_of
from marquee.ports import Position
from marquee.promises import Promises
from tests.simulator import stores as memory
from tests.support import engine, logs
from tests.support.events import LONG_AGO, counted, many, movies, named, read, running
from tests.support.tasks import until

pytestmark = pytest.mark.servers

SLOTS = 3
RATER = bytes(16)


def agreed(slots):
    async def ask():
        return slots

    return ask


def events_of(number, first=0):
    return [RatingChanged(f"m{n:04}", RATER, LONG_AGO, 5) for n in range(first, first + number)]


class Processes:
    """Producers and consumers of one topic, and the totals that they share, in memory."""

    def __init__(self, url, stack):
        self.url = url
        self.group = logs.unique("group")
        self.movies = memory.MovieDisk()
        self.totals = memory.MemoryTotals(self.movies, itertools.count(1).__next__)
        self._stack = stack

    async def log(self, group="", patience=0.5):
        log = kafka.KafkaLog(
            self.url, self.totals, group or self.group, gather=0.02, patience=patience
        )
        self._stack.push_async_callback(log.close)
        return log

    async def publish(self, events):
        topic = kafka.KafkaTopic(self.url, agreed(SLOTS))
        await topic.publish(events)
        await topic.close()

    def aggregator(self, log):
        return Aggregator(log, self.totals, MemoryNotices())

    def stands(self):
        """By partition, the offset up to which all is folded."""
        return {p: self.movies.positions.get(p, 0) for p in range(SLOTS)}

    def position_of(self, partition, position):
        self.movies.positions[partition] = position.offset
        self.movies.marks[partition] = position.mark


@pytest.fixture
async def processes():
    async with AsyncExitStack() as stack:
        yield Processes(stack.enter_context(logs.kafka_topic(SLOTS)), stack)


async def fold_all(processes, log, number):
    """Fold so many events."""
    for batch in await read(log, number, 1000):
        await processes.totals.fold(batch)


async def found_lost(log):
    """Poll until something is told to be lost; what is told, and what was read meanwhile."""
    batches = []
    async with asyncio.timeout(30):
        while True:
            try:
                if batch := await log.poll(100):
                    batches.append(batch)
            except LogLost as lost:
                return str(lost), batches


def by_partition(events):
    found = {p: [] for p in range(SLOTS)}
    for event in events:
        found[slot_of(event.movie_id, SLOTS)].append(event)
    return found


# ---- what is lost is told ----------------------------------------------------------------------


def drop_before(url, partition, offset):
    """As the time of retention does."""
    address = Address.of(url)
    admin = address.admin()
    place = TopicPartition(address.topic, partition, offset)
    admin.delete_records([place])[place].result(10)


async def test_what_was_dropped_before_it_was_folded_stops_its_partition_alone(processes):
    await processes.publish(events_of(60))
    drop_before(processes.url, 0, 5)
    log = await processes.log()
    told, batches = await found_lost(log)
    assert "partition 0: records 0-4 were dropped" in told
    assert "marquee rebuild" in told
    expected = by_partition(events_of(60))
    while len(movies(batches)) < len(expected[1] + expected[2]):
        if batch := await log.poll(100):
            batches.append(batch)
    assert {batch.partition for batch in batches} == {1, 2}
    assert await log.poll(100) is None
    with pytest.raises(LogLost, match="partition 0"):
        await log.probe()
    with pytest.raises(LogLost, match="partition 0"):
        await log.check()


async def test_what_was_dropped_after_it_was_folded_is_no_loss(processes):
    events = events_of(30)
    await processes.publish(events)
    log = await processes.log()
    await fold_all(processes, log, 30)
    await log.close()
    for partition, offset in processes.stands().items():
        drop_before(processes.url, partition, offset)
    again = await processes.log()
    await again.check()
    await processes.publish(events_of(10, first=30))
    assert movies(await read(again, 10, 100)) == named(10, first=30)


async def test_another_record_than_the_one_folded_last_stops(processes):
    await processes.publish(events_of(30))
    log = await processes.log()
    await fold_all(processes, log, 30)
    await log.close()
    offset, mark = await processes.totals.position(1)
    topic, key, version = mark.split(" ")
    for other in (f"{topic} {key} {int(version) + 1}", f"{topic} m0000|{RATER.hex()} {version}"):
        processes.position_of(1, Position(offset, other))
        told, _ = await found_lost(await processes.log(logs.unique("group")))
        assert told.count("partition") == 1
        assert f"partition 1: record {offset - 1} is not the one that was folded" in told


async def test_the_last_records_are_found_in_batches_of_any_size():
    slots, number = 16, 50_000
    dice = random.Random(number)
    events = [event._replace(rater=dice.randbytes(16)) for event in many(number)]
    with logs.kafka_topic(slots) as url:
        topic = kafka.KafkaTopic(url, agreed(slots))
        await topic.publish(events)
        await topic.close()
        address = Address.of(url)
        about = facts(address, address.admin())
        found = last_before(address, about, dict.fromkeys(range(slots), 1000))
    behind = {p: [] for p in range(slots)}
    for event in events:
        behind[slot_of(event.movie_id, slots)].append(event)
    assert found == {p: behind[p][999] for p in range(slots)}


async def test_a_log_that_ends_before_the_position_stops(processes):
    await processes.publish(events_of(30))
    processes.position_of(2, Position(1000))
    told, _ = await found_lost(await processes.log())
    assert "partition 2: it ends at" in told


async def test_the_mark_of_poison_is_known_again(processes):
    logs.produce(processes.url, 1, b"no event")
    log = await processes.log()
    (batch,) = [batch async for batch in polled(log, 1)]
    await processes.totals.fold(batch)
    await (await processes.log(logs.unique("group"))).check()
    processes.movies.marks[1] += "0"
    with pytest.raises(LogLost, match="partition 1: record 0"):
        await log.check()


async def polled(log, number):
    """So many batches."""
    async with asyncio.timeout(30):
        while number:
            if batch := await log.poll(1000):
                number -= 1
                yield batch


@pytest.mark.parametrize("at_work", [True, False])
async def test_a_topic_made_anew_stops_all_that_was_folded_until_a_rebuild(processes, at_work):
    ratings = memory.MemoryRatings(memory.RatingDisk(), itertools.count(LONG_AGO).__next__)
    events = events_of(30)
    await ratings.merge([Rating("u", e.movie_id, e.value, e.version) for e in events])
    await processes.publish(sent(ratings))
    log = await processes.log()
    await fold_all(processes, log, 30)
    if not at_work:
        await log.close()
    logs.delete_topic(processes.url)
    # In the new topic there is more than was ever in the old one: nothing but its id tells.
    await made_anew(processes.url)
    more = [Rating("u", f"m{n:04}", 7, LONG_AGO + 1) for n in range(90)]
    await ratings.merge(more)
    await processes.publish(sent(ratings))
    after = log if at_work else await processes.log()
    told, batches = await found_lost(after)
    assert at_work or batches == []  # who is at work may have read on before he looked
    for partition in range(SLOTS):
        assert f"partition {partition}: the topic was deleted and made anew" in told
    with pytest.raises(LogLost):
        await after.probe()

    stage = processes.aggregator(after)
    await Promises(ratings, processes.totals, stage.drain, after).rebuild()
    await after.check()
    last = [Rating("u", f"m{n:04}", 9, LONG_AGO + 2) for n in range(30)]
    await ratings.merge(last)
    await processes.publish(sent(ratings))
    async with running(stage):
        await until(lambda: processes.movies.totals.get("m0029") == one(9))
        await until(lambda: all(processes.movies.totals[name] == one(9) for name in named(30)))
    assert all(processes.movies.totals[name] == one(7) for name in named(60, first=30))
    await after.probe()


async def test_a_removal_in_the_new_topic_is_folded_after_a_rebuild(processes):
    """To the rebuild what was rated just now may be a rating whose row is about to come."""
    ratings, log = await removed_behind_a_loss(processes, time.time_ns() // 1000)
    await processes.publish(sent(ratings))
    await found_lost(log)

    stage = processes.aggregator(log)
    await Promises(ratings, processes.totals, stage.drain, log).rebuild()
    async with running(stage):
        await until(lambda: all(processes.movies.totals[name] == Totals() for name in named(20)))
    assert all(processes.movies.totals[name] == one(5) for name in named(10, first=20))


@pytest.mark.parametrize("from_the_start", [False, True])
async def test_old_removals_that_were_lost_are_made_good_by_a_rebuild(processes, from_the_start):
    """The store no longer tells of them, and no event ever will; also where the totals were set
    back and nothing seems to be missing."""
    ratings, log = await removed_behind_a_loss(processes, LONG_AGO)
    sent(ratings)
    if from_the_start:
        processes.movies.positions.clear()
        processes.movies.marks.clear()
    settled = []

    async def settle():
        settled.append(await processes.totals.totals([]))

    await Promises(ratings, processes.totals, log.check, log, settle).rebuild()
    assert bool(settled) != from_the_start
    await log.check()
    assert all(processes.movies.totals[name] == Totals() for name in named(20))
    assert all(processes.movies.totals[name] == one(5) for name in named(10, first=20))


async def removed_behind_a_loss(processes, then):
    """30 ratings, folded; then the topic is lost and made anew, and 20 of them are removed. The
    ratings, whose last events are not sent yet, and the log."""
    ratings = memory.MemoryRatings(memory.RatingDisk(), itertools.count(then).__next__)
    await ratings.merge([Rating("u", movie, 5, then) for movie in named(30)])
    await processes.publish(sent(ratings))
    log = await processes.log()
    await fold_all(processes, log, 30)
    logs.delete_topic(processes.url)
    await made_anew(processes.url)
    await ratings.merge([Rating("u", movie, REMOVED, then + 1) for movie in named(20)])
    return ratings, log


def sent(ratings):
    outbox = ratings._disk.outbox
    events = list(outbox.values())
    outbox.clear()
    return events


def one(value):
    return Totals(tuple(int(value == each) for each in range(1, 21)))


async def made_anew(url):
    """Deleting takes the brokers a moment."""
    async with asyncio.timeout(20):
        while True:
            done = await asyncio.to_thread(kafka.migrate, url, SLOTS)
            if "made" in done[0]:
                return
            await asyncio.sleep(0.05)


# ---- poison ------------------------------------------------------------------------------------


async def test_an_event_in_a_partition_that_is_not_its_movies_is_poison(processes):
    (event,) = events_of(1)
    wrong = (slot_of(event.movie_id, SLOTS) + 1) % SLOTS
    raw = kafka.topic.encode(event)
    logs.produce(processes.url, wrong, raw)
    (batch,) = [batch async for batch in polled(await processes.log(), 1)]
    assert (batch.events, batch.partition) == ([], wrong)
    (poison,) = batch.poison
    assert poison == (raw, f"partition {wrong} is not its movie's")


@pytest.mark.parametrize("raw", [None, b"", b"\x00", b"{}", b"x" * 100_000])
async def test_a_record_of_any_bytes_is_poison_at_worst(processes, raw):
    logs.produce(processes.url, 0, raw)
    (batch,) = [batch async for batch in polled(await processes.log(), 1)]
    assert [poison.raw for poison in batch.poison] == [raw or b""]


# ---- several consumers -------------------------------------------------------------------------


async def test_two_aggregators_share_and_one_inherits_when_the_other_leaves(processes):
    first, second = await processes.log(), await processes.log()
    stages = processes.aggregator(first), processes.aggregator(second)
    async with running(*stages) as (one, _):
        await until(lambda: first._held and second._held)
        await until(lambda: len(first._held) + len(second._held) == SLOTS)
        await processes.publish(many(2000))
        await counted(processes.movies, 2000)
        one.cancel()
        await first.close()
        await until(lambda: len(second._held) == SLOTS)
        await processes.publish(many(1000, first=2000))
        await counted(processes.movies, 3000)


async def test_what_a_dead_aggregator_held_is_anothers_before_long(processes):
    log = await processes.log()
    async with running(processes.aggregator(log)):
        await until(lambda: len(log._held) == SLOTS)
        with taker(processes.url, processes.group) as other:
            await until(lambda: len(log._held) < SLOTS)
            await processes.publish(many(2000))
            assert await asyncio.to_thread(other.stdout.readline) == b"took some\n"
            other.kill()
        await counted(processes.movies, 2000)
        assert len(log._held) == SLOTS


def test_a_dead_aggregator_is_missed_within_ten_seconds():
    """Where brokers are at rest: on a busy machine that takes longer."""
    assert SETTINGS["session.timeout.ms"] + SETTINGS["heartbeat.interval.ms"] < 10_000


@contextmanager
def taker(url, group):
    """A process that joins the group, and takes what it is given without ever folding it."""
    command = [sys.executable, "-m", "tests.support.taker", url, group]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


async def test_two_that_fight_over_all_partitions_count_each_event_once(processes):
    """A zombie that was never told: here, by a group of its own."""
    rivals = [await processes.log(logs.unique("group")) for _ in range(2)]
    async with running(*map(processes.aggregator, rivals)):
        for first in range(0, 5000, 500):
            await processes.publish(many(500, first))
        await counted(processes.movies, 5000)


async def test_totals_restored_from_a_backup_catch_up(processes):
    log = await processes.log()
    async with running(processes.aggregator(log)):
        await processes.publish(many(500))
        await counted(processes.movies, 500)
        backup = processes.movies.copy()
        await processes.publish(many(500, first=500))
        await counted(processes.movies, 1000)
        processes.movies.restore(backup)
        await counted(processes.movies, 1000)


async def test_a_batch_that_cannot_be_folded_at_first_comes_again(processes):
    log = await processes.log()
    failures = iter([StoreAway("away"), RuntimeError("odd"), StoreAway("away")])
    fold = processes.totals.fold

    async def unsteady(batch):
        if batch.start is not None and (failure := next(failures, None)):
            raise failure
        return await fold(batch)

    processes.totals.fold = unsteady
    async with running(processes.aggregator(log)):
        await processes.publish(many(300))
        await counted(processes.movies, 300)


# ---- the producer ------------------------------------------------------------------------------


async def test_twenty_thousand_at_once_each_in_its_partition_and_in_order(processes):
    events = many(20_000)
    await processes.publish(events)
    log = await processes.log()
    found = {p: [] for p in range(SLOTS)}
    async for batch in until_all(log, 20_000):
        found[batch.partition] += batch.events
    assert found == by_partition(events)


async def until_all(log, number):
    async with asyncio.timeout(30):
        while number:
            if batch := await log.poll(1000):
                number -= len(batch.events)
                yield batch


async def test_nothing_to_publish(processes):
    await kafka.KafkaTopic("kafka://127.0.0.1:1", agreed(SLOTS)).publish([])


async def test_a_topic_of_other_slots_is_refused(processes):
    topic = kafka.KafkaTopic(processes.url, agreed(SLOTS + 1))
    with pytest.raises(Unusable, match=r"3 partitions.*4 slots"):
        await topic.publish(events_of(1))


# ---- the topic's making ------------------------------------------------------------------------


@pytest.fixture
def no_topic():
    """The URL of a topic that is not there."""
    url = f"{engine.need('kafka')['MARQUEE_EVENTS_URL']}?topic={logs.unique('topic')}"
    yield url
    logs.delete_topic(url)


async def test_made_once_by_two_at_once_and_right(no_topic):
    done = await asyncio.gather(
        *(asyncio.to_thread(kafka.migrate, no_topic, SLOTS) for _ in range(2))
    )
    assert sorted("made" in lines[0] for lines in done) == [False, True]
    assert "as it should be" in kafka.migrate(no_topic, SLOTS)[0]
    assert all(wrong is None for _, wrong in kafka.diagnose(no_topic, SLOTS))
    address = Address.of(no_topic)
    kept = settings(address, address.admin())
    assert (kept["cleanup.policy"], kept["retention.ms"]) == ("delete", str(30 * 86_400_000))
    assert kept["message.timestamp.type"] == "LogAppendTime"


async def test_another_number_of_partitions_is_refused_and_told(processes):
    with pytest.raises(Unusable, match=r"3 partitions.*5 slots"):
        kafka.migrate(processes.url, 5)
    found = dict(kafka.diagnose(processes.url, 5))
    assert [what for what, wrong in found.items() if wrong] == [
        f"{Address.of(processes.url).topic}: partitions"
    ]


async def test_settings_that_were_changed_are_told_and_put_right(processes):
    address = Address.of(processes.url)
    admin = address.admin()
    changes = {"cleanup.policy": "compact", "retention.ms": "1000"}
    resource = ConfigResource(
        ConfigResource.Type.TOPIC,
        address.topic,
        incremental_configs=[
            ConfigEntry(*change, incremental_operation=AlterConfigOpType.SET)
            for change in changes.items()
        ],
    )
    admin.incremental_alter_configs([resource])[resource].result(10)
    wrong = {what.split(": ")[1]: why for what, why in kafka.diagnose(processes.url, SLOTS) if why}
    assert wrong.keys() == {"settings", "retention"}
    assert "cleanup.policy" in wrong["settings"]
    assert kafka.migrate(processes.url, SLOTS) == [f"{address.topic}: cleanup.policy is delete now"]


async def test_a_topic_that_is_not_there_is_told_with_what_to_do():
    url = f"{engine.need('kafka')['MARQUEE_EVENTS_URL']}?topic={logs.unique('none')}"
    log = kafka.KafkaLog(url, memory.MemoryTotals(memory.MovieDisk(), lambda: 0))
    topic = kafka.KafkaTopic(url, agreed(1))
    for call in (log.poll(1), log.behind(), log.probe(), topic.publish(many(1))):
        with pytest.raises(StoreAway, match=r"no such topic.*marquee migrate"):
            await call
    await log.close()


# ---- its URL -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("kafka://one,two:9", {"bootstrap.servers": "one:9092,two:9"}),
        ("kafka://one", {"security.protocol": "PLAINTEXT"}),
        ("kafka://[::1]", {"bootstrap.servers": "[::1]:9092"}),
        (
            "kafka://u%40x:p%3A%2F@one:1?tls=true&ca=/ca.pem",
            {
                "security.protocol": "SASL_SSL",
                "sasl.username": "u@x",
                "sasl.password": "p:/",
                "sasl.mechanism": "SCRAM-SHA-512",
                "ssl.ca.location": "/ca.pem",
            },
        ),
        ("kafka://u:p@one?mechanism=PLAIN", {"sasl.mechanism": "PLAIN"}),
        (
            "kafka://one?tls=true&cert=c&key=k",
            {"security.protocol": "SSL", "ssl.certificate.location": "c", "ssl.key.location": "k"},
        ),
    ],
)
def test_url(url, expected):
    address = Address.of(url)
    assert expected.items() <= address.settings.items()
    assert address.topic == "movie_rate_topic"


@pytest.mark.parametrize(
    "url",
    ["kafka://", "kafka://a,,b", "kafka://a?tls=yes", "kafka://a?x=1", "amqp://a", "kafka:",
     "kafka://a:b", "kafka://a:99999", "kafka://a:0", "kafka://:9"],
)  # fmt: skip
def test_a_url_that_is_none(url):
    with pytest.raises(Unusable, match="kafka://"):
        Address.of(url)


@pytest.mark.parametrize("what", ["ca", "cert", "key"])
def test_what_is_for_tls_alone_is_not_passed_over(what):
    with pytest.raises(Unusable, match=f"{what}= goes with tls=true"):
        Address.of(f"kafka://a?{what}=file")


@pytest.mark.parametrize("option", ["tls=true&ca=/none", "mechanism=NONE"])
async def test_settings_that_the_driver_refuses_are_told(option):
    url = f"kafka://u:secret@127.0.0.1:1?{option}"
    totals = memory.MemoryTotals(memory.MovieDisk(), itertools.count(1).__next__)
    log, topic = kafka.KafkaLog(url, totals), kafka.KafkaTopic(url, agreed(SLOTS))
    calls = (log.poll(1), log.probe(), log.agree(SLOTS), topic.publish(events_of(1)))
    for call in calls:
        with pytest.raises(Unusable, match="Kafka's URL") as refused:
            await call
        assert "secret" not in str(refused.value)
    for command in (kafka.migrate, kafka.diagnose):
        with pytest.raises(Unusable, match="Kafka's URL"):
            command(url, SLOTS)
    await log.close()
