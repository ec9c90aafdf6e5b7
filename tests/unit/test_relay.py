"""The relay on an outbox in memory, at a time that tests set."""

import asyncio
import time
from itertools import chain

import pytest

from marquee.errors import StoreAway, Unusable
from marquee.model import REMOVED, Rating
from marquee.relay import (
    ATTEND_SECONDS,
    CHUNK,
    LEASE_SECONDS,
    MINUTE,
    PATIENCE,
    SWEEP_AFTER,
    WHOLE_EVERY,
    WINDOW,
    Relay,
    arrive,
)
from tests.simulator.outbox import IntentDisk, MemoryOutbox, MemoryTopic, TwoStepRatings
from tests.simulator.stores import LogDisk, MemoryLog, MemoryTotals, MovieDisk
from tests.support.tasks import until

START = 28_333_333 * MINUTE
SECOND = 1_000_000


class World:
    """One store, one log, one time for all."""

    def __init__(self, shards=1, page=100):
        self.now = START
        self.set_back_by = 0
        self.disk = IntentDisk(now=lambda: self.now, shards=shards)
        self.outbox = Outbox(self.disk, page=page)
        self.topic = Topic(LogDisk())
        self.store = TwoStepRatings(self.disk, lambda: self.now)
        self.paused = []

    def relay(self, name="a"):
        async def pause(seconds):
            self.paused.append(seconds)

        def clock():
            return (self.now + self.set_back_by) / SECOND

        return Relay(self.outbox, self.topic, name, clock=clock, pause=pause)

    async def holder(self, name="a"):
        """A relay that holds its shards."""
        relay = self.relay(name)
        await relay.attend()
        return relay

    async def send(self, *users, ago=0.0):
        """The intents of a rating by each user, sent so many seconds ago, there only now."""
        sent_at = self.now - round(ago * SECOND)
        ratings = [Rating(user, "m", 5, sent_at) for user in users]
        await self.store._send(ratings, sent_at)
        return ratings

    def told(self):
        """The users of whom the log has heard since it was asked last, in its order."""
        raters = {self.store.rater(f"u{n}"): f"u{n}" for n in range(1000)}
        events = self.topic._log.partitions[0]
        users = [raters[event.rater] for event in events]
        events.clear()
        return users

    def pass_time(self, seconds):
        self.now += round(seconds * SECOND)

    def set_back(self, seconds):
        """The store's clock, not the relays'."""
        self.set_back_by += round(seconds * SECOND)
        self.now -= round(seconds * SECOND)


class Outbox(MemoryOutbox):
    """``asked``: the buckets that were read, ``settled``: how many intents at a time. A page may be
    empty, as a server's may."""

    def __init__(self, disk, page):
        super().__init__(disk, page=page)
        self.asked = []
        self.settled = []

    async def intents(self, shard, minute, since=0):
        self.asked.append(minute)
        yield []
        async for page in super().intents(shard, minute, since):
            yield page

    async def settle(self, intents):
        self.settled.append(len(intents))
        return await super().settle(intents)


class Topic(MemoryTopic):
    away = False

    async def publish(self, events):
        if self.away:
            raise StoreAway("The log is away.")
        await super().publish(events)


# ---- sharing -----------------------------------------------------------------------------------


def held(*relays):
    return [sorted(relay.shards) for relay in relays]


async def attend(world, *relays, rounds=3):
    for _ in range(rounds):
        for relay in relays:
            await relay.attend()
        world.pass_time(ATTEND_SECONDS)


def assert_shared(shards, *relays):
    """Every shard is one relay's, and none has more than one above another."""
    assert sorted(chain.from_iterable(held(*relays))) == list(range(shards))
    numbers = [len(relay.shards) for relay in relays]
    assert max(numbers) - min(numbers) <= 1


@pytest.mark.parametrize("number", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("shards", [1, 4, 7, 16])
async def test_relays_share_the_shards_fairly(shards, number):
    world = World(shards)
    relays = [world.relay(f"relay {n}") for n in range(number)]
    await attend(world, *relays)
    assert_shared(shards, *relays)


async def test_nobody_asks_for_what_another_holds_once_all_is_shared():
    world = World(16)
    relays = [world.relay(f"relay {n}") for n in range(3)]
    await attend(world, *relays)
    shared = held(*relays)
    refused = []

    async def lease(shard, relay, seconds):
        lease = await MemoryOutbox.lease(world.outbox, shard, relay, seconds)
        refused.append(lease is None)
        return lease

    world.outbox.lease = lease
    await attend(world, *relays, rounds=4)
    assert held(*relays) == shared
    assert refused
    assert not any(refused)


async def test_one_that_comes_gets_its_share_and_the_others_keep_theirs():
    world = World(12)
    old = [world.relay("a"), world.relay("b")]
    await attend(world, *old)
    before = held(*old)
    new = world.relay("c")
    await attend(world, *old, new)
    assert_shared(12, *old, new)
    assert all(set(now) <= set(then) for now, then in zip(held(*old), before, strict=True))


async def test_what_a_dead_relay_had_is_anothers_within_ten_seconds():
    world = World(8)
    dead, alive = world.relay("a"), world.relay("b")
    await attend(world, dead, alive)
    await attend(world, dead, rounds=1)
    died_at = world.now
    while len(alive.shards) < 8:
        await attend(world, alive, rounds=1)
    assert world.now - died_at <= 10 * SECOND


async def test_who_leaves_gives_all_back_at_once():
    world = World(8)
    leaving, staying = world.relay("a"), world.relay("b")
    await attend(world, leaving, staying)
    await leaving.leave()
    assert held(leaving) == [[]]
    await staying.attend()
    assert len(staying.shards) == 8


async def test_a_lease_that_was_kept_goes_on_where_it_was():
    world = World()
    relay = await world.holder()
    shard = relay.shards[0]
    for _ in range(20):
        world.pass_time(ATTEND_SECONDS)
        await relay.attend()
    assert relay.shards[0] is shard


async def test_one_that_lapsed_begins_again():
    """Another may have had the shard meanwhile, and been the one that was heard."""
    world = World()
    relay = await world.holder()
    shard = relay.shards[0]
    world.pass_time(LEASE_SECONDS + 1)
    await relay.attend()
    assert relay.shards[0] is not shard


# ---- following ---------------------------------------------------------------------------------


async def test_relays_what_appears_once_and_in_its_order():
    world = World(page=2)
    relay = await world.holder()
    (shard,) = relay.shards.values()
    for n in range(5):
        await world.send(f"u{n}")
        world.pass_time(0.1)
    assert await relay.poll(shard) == 5
    assert world.told() == ["u0", "u1", "u2", "u3", "u4"]
    await world.send("u5")
    assert await relay.poll(shard) == 1
    assert world.told() == ["u5"]
    assert await relay.poll(shard) == 0
    assert relay.relayed == 6


async def test_relays_what_shows_up_late():
    world = World()
    world.pass_time(59)
    relay = await world.holder()
    (shard,) = relay.shards.values()
    await world.send("u0")
    await relay.poll(shard)
    world.pass_time(2)  # into the next bucket
    await world.send("u1", ago=2.5)
    await world.send("u2")
    assert await relay.poll(shard) == 2
    assert world.told() == ["u0", "u1", "u2"]


@pytest.mark.parametrize(("late", "within"), [(0.9, 0.05), (30.0, 5.05)])
async def test_what_is_very_late_waits_a_moment(late, within):
    """Each poll reads again what was sent just now, and one now and then what was sent before."""
    world = World()
    world.pass_time(40)
    relay = await world.holder()
    (shard,) = relay.shards.values()
    await relay.poll(shard)
    world.pass_time(0.05)
    await world.send("u0", ago=late)
    appeared = world.now
    while not await relay.poll(shard):
        world.pass_time(0.05)
    assert world.now - appeared < within * SECOND


async def test_relays_what_comes_from_a_clock_that_is_ahead():
    world = World()
    world.pass_time(59.5)
    relay = await world.holder()
    (shard,) = relay.shards.values()
    await world.send("u0", ago=-0.9)
    assert await relay.poll(shard) == 1
    for _ in range(10):
        world.pass_time(0.4)
        assert await relay.poll(shard) == 0


async def test_remembers_no_more_than_it_reads_again():
    world = World()
    relay = await world.holder()
    (shard,) = relay.shards.values()
    for n in range(100):
        await world.send(f"u{n}")
        await relay.poll(shard)
        world.pass_time(1)
    assert len(shard.seen) <= (WINDOW + WHOLE_EVERY) / SECOND + 1
    assert world.told() == [f"u{n}" for n in range(100)]


async def test_reads_what_is_open_and_no_more():
    world = World()
    relay = await world.holder()
    (shard,) = relay.shards.values()
    await relay.poll(shard)
    world.pass_time(30)
    await relay.poll(shard)
    world.outbox.asked.clear()
    await relay.poll(shard)
    assert world.outbox.asked == [world.now // MINUTE]


async def test_says_again_what_the_log_did_not_keep():
    world = World()
    relay = await world.holder()
    (shard,) = relay.shards.values()
    await world.send("u0")
    world.topic.away = True
    with pytest.raises(StoreAway):
        await relay.poll(shard)
    world.topic.away = False
    assert await relay.poll(shard) == 1
    assert world.told() == ["u0"]


async def test_a_new_holder_says_all_that_is_not_swept_a_bucket_at_a_time():
    world = World()
    for n in range(5):
        await world.send(f"u{n}")
        world.pass_time(60)
    relay = await world.holder()
    (shard,) = relay.shards.values()
    assert [await relay.poll(shard) for _ in range(6)] == [1, 1, 1, 1, 1, 0]
    assert world.told() == ["u0", "u1", "u2", "u3", "u4"]


async def test_goes_on_in_a_backlog_where_it_stopped():
    world = World(page=2)
    for n in range(5):
        await world.send(f"u{n}")
        world.pass_time(0.1)
    world.pass_time(60)
    relay = await world.holder()
    (shard,) = relay.shards.values()
    publish, left = world.topic.publish, [2]

    async def publish_twice(events):
        left[0] -= 1
        if left[0] < 0:
            raise StoreAway("The log is away.")
        await publish(events)

    world.topic.publish = publish_twice
    with pytest.raises(StoreAway):
        await relay.poll(shard)
    world.topic.publish = publish
    await relay.poll(shard)
    told = world.told()
    assert sorted(set(told)) == ["u0", "u1", "u2", "u3", "u4"]
    assert told.count("u0") == 1  # of the page before, no more than its last comes again


async def test_what_an_erasure_takes_away_is_told_once_it_is_sent():
    world = World()
    relay = await world.holder()
    (shard,) = relay.shards.values()
    await world.store.write("u1", "m", 5)
    await world.store.erase("u1")
    await relay.poll(shard)
    values = [event.value for event in world.topic._log.partitions[0]]
    assert values == [5, REMOVED]


# ---- sweeping ----------------------------------------------------------------------------------


async def test_sweeps_each_bucket_once_two_minutes_after_it_closed():
    world = World()
    relay = await world.holder()
    (shard,) = relay.shards.values()
    (half,) = await world.send("u0")
    sweepable = START + MINUTE + SWEEP_AFTER
    while world.now < sweepable - SECOND:
        world.pass_time(1)
        await relay.attend()
        await relay.sweep(shard)
    assert world.outbox.settled == []
    assert await world.store.read("u0", "m") is None
    world.pass_time(1)
    await relay.attend()
    while await relay.sweep(shard):
        pass
    assert world.outbox.settled == [1]
    assert await world.store.read("u0", "m") == half
    assert world.told() == ["u0"]
    assert await world.outbox.swept_to() == [START // MINUTE]


async def test_passes_over_what_is_empty_in_one_go():
    world = World()
    world.pass_time(86400)
    await world.send("u0", ago=600)
    relay = await world.holder()
    (shard,) = relay.shards.values()
    kept = []

    async def swept(number, name, minute):
        kept.append(minute)
        return await MemoryOutbox.swept(world.outbox, number, name, minute)

    world.outbox.swept = swept
    while await relay.sweep(shard):
        pass
    assert kept == [(world.now - 600 * SECOND) // MINUTE, world.now // MINUTE - 3]


async def test_what_is_sent_after_the_stores_clock_was_set_back():
    """It was an hour ahead, and what that hour will hold was swept while it was empty."""
    world = World()
    world.pass_time(3600)
    relay = await world.holder()
    await relay.poll(relay.shards[0])
    while await relay.sweep(relay.shards[0]):
        pass
    world.set_back(3600)
    rating = await world.store.write("u0", "m", 5)
    (half,) = await world.send("u1")
    for _ in range(3):
        await relay.attend()
        await relay.sweep(relay.shards[0])
    await relay.attend()
    await relay.poll(relay.shards[0])
    assert world.told() == ["u0", "u1"], "it does not wait for an hour to pass"
    world.pass_time(300)
    await relay.attend()
    while await relay.sweep(relay.shards[0]):
        pass
    assert world.told() == ["u0", "u1"]
    assert [await world.store.read(user, "m") for user in ("u0", "u1")] == [rating, half]


async def test_what_was_not_kept_is_not_swept():
    world = World()
    await world.send("u0")
    world.pass_time(300)
    relay = await world.holder()
    (shard,) = relay.shards.values()
    before = await world.outbox.swept_to()
    world.topic.away = True
    with pytest.raises(StoreAway):
        await relay.sweep(shard)
    assert await world.outbox.swept_to() == before


async def test_who_lost_the_shard_meanwhile_lets_go_of_it():
    world = World()
    world.pass_time(600)
    zombie = await world.holder("a")
    (shard,) = zombie.shards.values()
    world.disk.holders[0] = "b", world.now + 60 * SECOND
    before = await world.outbox.swept_to()
    await zombie.sweep(shard)
    assert zombie.shards == {}
    assert await world.outbox.swept_to() == before


async def test_leaves_the_ratings_half_of_the_time():
    world = World(page=3 * CHUNK)
    relay = await world.holder()
    (shard,) = relay.shards.values()
    await world.send(*(f"u{n}" for n in range(2 * CHUNK + 1)))
    world.pass_time(200)
    await relay.attend()
    shard = relay.shards[0]
    settle = world.outbox.settle

    async def settle_slowly(intents):
        world.pass_time(0.25)
        return await settle(intents)

    world.outbox.settle = settle_slowly
    while await relay.sweep(shard):
        pass
    assert world.outbox.settled == [CHUNK, CHUNK, 1]
    assert world.paused == [0.25, 0.25, 0.25]


async def test_hurries_when_it_is_late():
    world = World()
    await world.send("u0")
    world.pass_time(3600)
    relay = await world.holder()
    (shard,) = relay.shards.values()
    while await relay.sweep(shard):
        pass
    assert world.paused == []


async def test_tells_for_how_long_a_bucket_waits_to_be_swept():
    world = World(2)
    relay = await world.holder()
    assert relay.unswept <= 60
    world.pass_time(3600)
    await relay.attend()
    assert 3600 <= relay.unswept <= 3660
    for shard in relay.shards.values():
        while await relay.sweep(shard):
            pass
    await relay.attend()
    assert 60 <= relay.unswept <= 120


# ---- run ---------------------------------------------------------------------------------------


async def test_runs_until_it_is_told_to_end():
    world = World(4)
    relay = Relay(world.outbox, world.topic, "a", clock=time.monotonic)
    running = asyncio.create_task(relay.run())
    await world.send("u0", "u1")
    await until(lambda: relay.relayed == 2)
    world.topic.away = True
    await world.send("u2")
    await asyncio.sleep(0.1)
    world.topic.away = False
    await until(lambda: relay.relayed == 3)
    world.now += 5 * MINUTE
    await until(lambda: min(world.disk.swept) == world.now // MINUTE - 3)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert world.disk.holders == {}
    assert await world.outbox.attend("b", 1) == ["b"]


async def test_ends_where_it_must_not_go_on():
    world = World(2)

    async def publish(events):
        raise Unusable("The topic is another one.")

    world.topic.publish = publish
    await world.send("u0", "u1", "u2")
    with pytest.raises(Unusable):
        await world.relay().run()
    assert world.disk.holders == {}


# ---- the other end -----------------------------------------------------------------------------


class End:
    """A relay and an aggregator that are at work whenever somebody pauses, or are not."""

    def __init__(self, world, *, relays=True, folds=True):
        self.world, self.relays, self.folds = world, relays, folds
        self.movies = MovieDisk()
        self.events = MemoryLog(world.topic._log, self.movies, keeps=True)
        self.totals = MemoryTotals(self.movies, lambda: world.now)
        self.paused = 0.0
        self.relay = world.relay()

    async def arrive(self):
        await arrive(self.world.outbox, self.events, self.totals, self.pause)

    async def pause(self, seconds):
        self.paused += seconds
        self.world.pass_time(seconds)
        if self.relays:
            await self.relay.attend()
            for shard in list(self.relay.shards.values()):
                await self.relay.poll(shard)
                await self.relay.sweep(shard)
        batch = await self.events.poll(100) if self.folds else None
        if batch:
            await self.totals.fold(batch)


@pytest.mark.parametrize("ahead", [-1, 0, 0.9])
async def test_all_has_arrived_that_was_acknowledged_before(ahead):
    world = World(3)
    world.pass_time(59.5)
    world.store = TwoStepRatings(world.disk, lambda: world.now + round(ahead * SECOND))
    written = [await world.store.write(f"u{n}", "m", 5) for n in range(9)]
    end = End(world)
    await end.arrive()
    assert min(world.disk.swept) >= written[-1].version // MINUTE
    assert (await end.totals.totals(["m"]))[0].number == 9
    assert end.paused < 240


async def test_waits_for_what_went_before_and_not_for_what_comes():
    world = World()
    await world.store.write("u0", "m", 5)
    end = End(world)
    pause, sent = end.pause, 0

    async def pause_and_write(seconds):
        nonlocal sent
        sent += 1
        await world.store.write(f"u{sent}", "m", 5)
        await pause(seconds)

    end.pause = pause_and_write
    await end.arrive()


class Queue(MemoryLog):
    """Without positions. All that comes is taken by one who is frozen, and for 20 s after it was
    asked for its ends nobody knows."""

    def __init__(self, end):
        super().__init__(end.world.topic._log, end.movies, keeps=True)
        self.end = end
        self.held_until = float("inf")

    async def ends(self):
        self.held_until = self.end.paused + 20
        return {}

    async def behind(self):
        return await super().behind() if self.end.paused >= self.held_until else 0

    async def poll(self, limit):
        return await super().poll(limit) if self.end.paused >= self.held_until else None


async def test_what_was_taken_and_not_folded_is_waited_for():
    world = World()
    await world.store.write("u", "m", 5)
    end = End(world)
    end.events = Queue(end)
    await end.arrive()
    assert (await end.totals.totals(["m"]))[0].number == 1


@pytest.mark.parametrize(
    ("who", "is_missing"), [("relays", "No relay"), ("folds", "No aggregator")]
)
async def test_gives_up_where_nobody_is_at_work(who, is_missing):
    world = World()
    await world.store.write("u0", "m", 5)
    end = End(world, **{who: False})
    with pytest.raises(StoreAway, match=is_missing):
        await end.arrive()
    assert end.paused >= PATIENCE
