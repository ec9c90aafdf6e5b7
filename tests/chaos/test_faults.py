"""Each role and each store dies, freezes or errs, on one server of each: nothing that was
acknowledged is lost, nothing is counted twice, and the ten is read throughout."""

import asyncio
import json
import secrets
import time
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Producer

from engine.engine import Engine
from marquee.adapters.kafka import KafkaLog
from marquee.adapters.kafka.client import Address
from marquee.aggregation import Aggregator
from marquee.model import slot_of
from marquee.wiring import Stores
from tests.api.asking import eventually
from tests.chaos.conftest import UnderLoad
from tests.chaos.trial import beside, clock_off, come_and_go, frozen, killed, rated_by
from tests.support.server import Server
from tests.support.system import ROLES, System

pytestmark = pytest.mark.servers

SLOTS = 16

PAST_LEASES = 9
"""Seconds: a relay's lease and an aggregator's session are 6 s long."""

BRIEFLY_AND_LONG = [4, pytest.param(60, marks=pytest.mark.long)]


@pytest.mark.long
def test_nothing_happens(under_load: UnderLoad):
    with under_load("none, to compare"):
        pass


# ---- roles


def test_a_process_of_each_role_killed(system: System, under_load: UnderLoad):
    victims = [system.processes[f"{role}-1"] for role in ROLES]
    fault = "a process of every role: kill -9, 2 s, start"
    with under_load(fault) as trial, killed(*victims):
        trial.last(2)


def test_workers_paused_past_their_leases(system: System, under_load: UnderLoad):
    victims = [system.processes[f"{role}-1"] for role in ("relay", "aggregator", "refresher")]
    fault = f"relay, aggregator and refresher: frozen for {PAST_LEASES} s, woken as zombies"
    with under_load(fault) as trial, frozen(*victims):
        trial.last(PAST_LEASES)


@pytest.mark.long
@pytest.mark.parametrize("role", ROLES)
def test_a_role_killed(system: System, under_load: UnderLoad, role: str):
    fault = f"{role}: one of {len(system.of(role))}, kill -9, start after 10 s"
    with under_load(fault) as trial, killed(system.processes[f"{role}-1"]):
        trial.last(10)


@pytest.mark.long
@pytest.mark.parametrize("role", ROLES)
def test_a_role_frozen(system: System, under_load: UnderLoad, role: str):
    fault = f"{role}: one of {len(system.of(role))}, frozen for 10 s"
    with under_load(fault) as trial, frozen(system.processes[f"{role}-1"]):
        trial.last(10)


@pytest.mark.long
@pytest.mark.parametrize("role", ["relay", "aggregator", "refresher"])
def test_all_of_a_role_killed(system: System, under_load: UnderLoad, role: str):
    with under_load(f"{role}: both, kill -9, start after 10 s") as trial:
        with killed(*system.of(role)):
            trial.last(10)
        trial.over()


@pytest.mark.long
def test_a_rating_cut_in_half_is_swept(system: System, under_load: UnderLoad):
    """Nobody asks again: the second sweep of the outbox alone completes what was begun."""
    fault = "ratings: one of 2, kill -9, three times; nobody asks again, the sweep completes it"
    with under_load(fault, swept=True, within=600) as trial:
        for _ in range(3):
            with killed(system.processes["ratings-1"]):
                trial.last(1)
            trial.go_on()


# ---- who fights, and who comes late


@pytest.mark.long
def test_two_aggregators_hold_the_same_batches(system: System, under_load: UnderLoad):
    """One of another consumer group is given every partition: each batch is folded twice."""
    url = str(system.settings["events_url"])
    folded = 0

    async def fold_all(stores: Stores) -> None:
        nonlocal folded
        log = KafkaLog(url, stores.totals, f"rivals-{secrets.token_hex(4)}")
        rival = Aggregator(log, stores.totals, stores.notices)
        try:
            while True:
                folded += await rival.step()
        finally:
            await log.close()

    fault = "two aggregators hold the same batches for 15 s, each position contested"
    with under_load(fault) as trial, beside(system, ("movies", "cache"), fold_all):
        trial.last(15)
    assert folded, "the rival never came first"


@pytest.mark.long
def test_aggregators_fight_over_partitions(system: System, under_load: UnderLoad):
    fault = "aggregators join and die (kill -9) every 3 s, eight times: partitions change hands"
    third = Server(system.folder, "aggregator", name="aggregator-3", **system.settings)
    with under_load(fault) as trial:
        come_and_go(third, trial)


@pytest.mark.long
def test_a_refresher_woken_with_an_old_ten(system: System, under_load: UnderLoad):
    """It was frozen between the database and the cache: nobody takes what it brings."""

    async def bring_it_late(stores: Stores) -> None:
        while True:
            old = await stores.charts.refresh()
            await asyncio.sleep(3)
            await stores.cache.put(old)
            stores.notices.tell("ten")
            kept = await stores.cache.get()
            assert kept is not None
            assert kept.refreshed_at > old.refreshed_at

    fault = "a refresher brings tens of 3 s ago, again and again; another is frozen for 9 s"
    with under_load(fault) as trial, beside(system, ("movies", "cache"), bring_it_late):
        for _ in range(10):
            with frozen(system.processes["refresher-1"]):
                trial.last(0.3)
        with frozen(system.processes["refresher-1"]):
            trial.last(9)


# ---- stores


@pytest.mark.parametrize("seconds", BRIEFLY_AND_LONG)
def test_kafka_away(servers: Engine, under_load: UnderLoad, seconds: int):
    with under_load(f"Kafka: kill -9, start after {seconds} s") as trial:
        with killed(servers.server("kafka")):
            trial.last(seconds)
        trial.over()
    assert not trial.cost.errors


@pytest.mark.long
def test_kafka_frozen(servers: Engine, under_load: UnderLoad):
    with under_load("Kafka: frozen for 60 s") as trial, frozen(servers.server("kafka")):
        trial.last(60)
    assert not trial.cost.errors


@pytest.mark.parametrize("seconds", BRIEFLY_AND_LONG)
def test_postgres_away(servers: Engine, under_load: UnderLoad, seconds: int):
    shards = [servers.server(f"postgres-{number}") for number in (1, 2)]
    with under_load(f"PostgreSQL: both shards, kill -9, start after {seconds} s") as trial:
        with killed(*shards):
            trial.last(seconds)
        trial.over()
    assert not trial.cost.errors


@pytest.mark.long
def test_postgres_frozen(servers: Engine, under_load: UnderLoad):
    shards = [servers.server(f"postgres-{number}") for number in (1, 2)]
    with under_load("PostgreSQL: both shards, frozen for 60 s") as trial, frozen(*shards):
        trial.last(60)
    assert not trial.cost.errors


@pytest.mark.long
def test_one_shard_away(servers: Engine, under_load: UnderLoad):
    with under_load("PostgreSQL: the second shard, kill -9, start after 20 s") as trial:
        with killed(servers.server("postgres-2")):
            trial.last(20)
        trial.over()
    assert not trial.cost.errors


def test_redis_away(servers: Engine, under_load: UnderLoad):
    fault = "all of Redis: kill -9, start after 4 s"
    with under_load(fault) as trial, killed(servers.server("redis")):
        trial.last(4)
    assert not trial.cost.errors


@pytest.mark.long
def test_redis_frozen(servers: Engine, under_load: UnderLoad):
    with under_load("all of Redis: frozen for 20 s") as trial, frozen(servers.server("redis")):
        trial.last(20)
    assert not trial.cost.errors


def test_cassandra_away(servers: Engine, under_load: UnderLoad):
    with under_load("the only node of Cassandra: kill -9, start after 4 s") as trial:
        with killed(servers.server("cassandra")):
            trial.last(4)
        trial.over()


@pytest.mark.long
def test_cassandra_frozen(servers: Engine, under_load: UnderLoad):
    fault = "the only node of Cassandra: frozen for 20 s"
    with under_load(fault) as trial, frozen(servers.server("cassandra")):
        trial.last(20)


@pytest.mark.long
def test_everything_away(system: System, servers: Engine, under_load: UnderLoad):
    """The ten is read all the same."""
    stores = [servers.server(name) for name in ("kafka", "postgres-1", "postgres-2", "redis")]
    stores.append(servers.server("cassandra"))
    with under_load("every store at once: kill -9, start after 20 s") as trial:
        with killed(*stores):
            trial.last(20)
        trial.over()


# ---- what errs


def test_poison_in_the_topic(system: System, under_load: UnderLoad):
    before = len(dead_letters(system))
    with under_load("poison: 48 records that are no events") as trial:
        movie = trial.canaries[0].movie
        rater, version = "0" * 32, time.time_ns() // 1000
        event = {"v": 1, "movieId": movie, "rater": rater, "version": version, "value": 10}
        poison = [
            b"",
            b"\xff\x00 no text at all",
            b"{",
            json.dumps(event | {"value": 22}).encode(),
            json.dumps(event | {"rater": "short"}).encode(),
            json.dumps(event | {"v": 99}).encode(),
        ]
        partition = slot_of(movie, SLOTS)
        for slot in (partition, (partition + 1) % SLOTS):
            for _ in range(4):
                produce(system, slot, poison)
                trial.last(0.5)
        eventually(lambda: len(dead_letters(system)), lambda n: n == before + 48, 30)
    figures = [process.figure("marquee_dead_letters") for process in system.of("aggregator")]
    assert max(figures) == before + 48


def produce(system: System, partition: int, records: list[bytes]) -> None:
    address = Address.of(str(system.settings["events_url"]))
    producer = Producer(address.settings)
    for record in records:
        producer.produce(address.topic, record, "a key", partition)
    assert producer.flush(10) == 0


def dead_letters(system: System) -> list[str]:
    *lines, last = system.command("dead-letters").splitlines()
    assert last == f"{len(lines)} dead letter{'s' * (len(lines) != 1)}"
    return lines


@pytest.mark.long
def test_the_topic_deleted_and_made_anew(system: System, under_load: UnderLoad):
    """It says so, and goes on after a rebuild: that events were lost costs no rating. Removals of
    the last minutes, too young for the rebuild, come with the sweep."""
    address = Address.of(str(system.settings["events_url"]))
    admin = address.admin()
    fault = "the topic deleted and made anew, 2 s of events in it not folded; `marquee rebuild`"
    with under_load(fault, swept=True, within=400) as trial:
        trial.last(1)
        with frozen(*system.of("aggregator")):
            trial.last(2)  # events that nobody folds are in it
            admin.delete_topics([address.topic])[address.topic].result(10)
        system.command("migrate")
        trial.until(lambda: any("marquee rebuild" in why for why in complaints(system)))
        system.command("rebuild")
        trial.over()


def complaints(system: System) -> list[str]:
    """What the aggregators say is wrong with their log."""
    found = []
    for process in system.of("aggregator"):
        with process.client() as client:
            told = client.get("/health/ready").json()["dependencies"]["events"]
        found.append(told.get("detail", ""))
    return found


@pytest.mark.long
def test_postgres_restored_from_a_backup(servers: Engine, under_load: UnderLoad):
    """It goes on from the positions in it, by itself, and has everything again."""
    shards = [servers.server(f"postgres-{number}") for number in (1, 2)]
    fault = "PostgreSQL: both shards restored from backups of 15 s ago"
    with under_load(fault, restored=True) as trial:
        for shard in shards:
            shard.back_up()
        trial.last(15)
        for shard in shards:
            shard.restore()
        trial.over()
    assert not trial.cost.errors


@pytest.mark.long
@pytest.mark.parametrize("offset", ["+1h", "-1h"])
def test_a_clock_an_hour_off(
    system: System, under_load: UnderLoad, monkeypatch: pytest.MonkeyPatch, offset: str
):
    """The rating store's time counts, whatever a process believes."""
    victim = system.processes["ratings-1"]
    fault = f"ratings: one of 2, its clock {offset}"
    with clock_off(victim, offset, monkeypatch), under_load(fault) as trial:
        trial.last(10)
        assert abs(datetime.now(UTC) - rated_by(victim, system)) < timedelta(minutes=1)
