"""Where each store is several servers, one of them may die or freeze: ratings are accepted
throughout, and totals hardly late."""

from collections.abc import Sequence

import pytest
import redis

from engine.engine import Engine
from engine.server import Server
from marquee.adapters.kafka.client import Address
from marquee.model import slot_of
from tests.chaos.conftest import UnderLoad
from tests.chaos.trial import Trial, frozen, killed
from tests.support.system import System

pytestmark = [pytest.mark.servers, pytest.mark.long]

PARTS = ("cassandra-ring", "kafka-cluster", "postgres-replicated", "redis-cluster")
PER_SECOND = 50
"""Sixteen servers on one machine leave little for it."""

SLOTS = 16


def test_nothing_happens(under_load: UnderLoad):
    with under_load("servers in threes: none, to compare"):
        pass


# ---- Cassandra


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_node_killed(servers: Engine, under_load: UnderLoad, number: int):
    fault = f"Cassandra: node {number} of 3, kill -9, start after 15 s"
    with under_load(fault) as trial, killed(servers.server(f"cassandra-{number}")):
        trial.last(15)
    assert not trial.cost.errors


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_node_frozen(servers: Engine, under_load: UnderLoad, number: int):
    fault = f"Cassandra: node {number} of 3, frozen for 15 s"
    with under_load(fault) as trial, frozen(servers.server(f"cassandra-{number}")):
        trial.last(15)
    assert not trial.cost.errors


def test_two_nodes_killed(servers: Engine, under_load: UnderLoad):
    """No quorum: ratings are refused, and nothing that was told is lost."""
    nodes = [servers.server(f"cassandra-{number}") for number in (2, 3)]
    with under_load("Cassandra: two nodes of 3, kill -9, start after 10 s") as trial:
        with killed(*nodes):
            trial.last(10)
        servers.start(["cassandra-ring"])
        trial.over()


# ---- Kafka


def test_the_leader_of_a_busy_partition_killed(
    system: System, servers: Engine, under_load: UnderLoad
):
    fault = "Kafka: a broker of 3, leader of a busy partition, kill -9, start after 15 s"
    with under_load(fault) as trial, killed(leader(system, servers, trial)):
        trial.last(15)
    assert not trial.cost.errors


def test_the_leader_of_a_busy_partition_frozen(
    system: System, servers: Engine, under_load: UnderLoad
):
    fault = "Kafka: a broker of 3, leader of a busy partition, frozen for 15 s"
    with under_load(fault) as trial, frozen(leader(system, servers, trial)):
        trial.last(15)
    assert not trial.cost.errors


def leader(system: System, servers: Engine, trial: Trial) -> Server:
    """The broker that has the partition of a canary's movie."""
    address = Address.of(str(system.settings["events_url"]))
    topic = address.admin().list_topics(address.topic, timeout=10).topics[address.topic]
    partition = topic.partitions[slot_of(trial.canaries[0].movie, SLOTS)]
    return servers.server(f"kafka-{partition.leader + 1}")


def test_two_brokers_killed(servers: Engine, under_load: UnderLoad):
    """Too few in sync: events wait in the outbox."""
    brokers = [servers.server(f"kafka-{number}") for number in (1, 2)]
    with under_load("Kafka: two brokers of 3, kill -9, start after 15 s") as trial:
        with killed(*brokers):
            trial.last(15)
        trial.over()
    assert not trial.cost.errors


# ---- PostgreSQL


@pytest.mark.parametrize("number", [1, 2])
def test_a_primary_killed_and_back(servers: Engine, under_load: UnderLoad, number: int):
    with under_load(f"PostgreSQL: primary of shard {number}, kill -9, start after 5 s") as trial:
        with killed(servers.server(f"postgres-{number}-primary")):
            trial.last(5)
        trial.over()
    assert not trial.cost.errors


def test_the_replicas_killed(servers: Engine, under_load: UnderLoad):
    replicas = [servers.server(f"postgres-{number}-replica") for number in (1, 2)]
    fault = "PostgreSQL: both replicas, kill -9, start after 10 s"
    with under_load(fault) as trial, killed(*replicas):
        trial.last(10)
    assert not trial.cost.errors


# ---- Redis


def test_primaries_killed_one_after_another(servers: Engine, under_load: UnderLoad):
    fault = "Redis Cluster: each of 3 primaries in turn, kill -9, start after 8 s"
    with under_load(fault) as trial:
        for primary in primaries(servers):
            with killed(primary):
                trial.last(8)
            trial.last(4)
    assert not trial.cost.errors


def test_primaries_frozen_one_after_another(servers: Engine, under_load: UnderLoad):
    fault = "Redis Cluster: each of 3 primaries in turn, frozen for 8 s"
    with under_load(fault) as trial:
        for primary in primaries(servers):
            with frozen(primary):
                trial.last(8)
            trial.last(4)
    assert not trial.cost.errors


def test_all_of_redis_killed(servers: Engine, under_load: UnderLoad):
    nodes = [servers.server(f"redis-{number}") for number in range(1, 7)]
    with under_load("Redis Cluster: all 6 nodes, kill -9, start after 5 s") as trial:
        with killed(*nodes):
            trial.last(5)
        trial.over()
    assert not trial.cost.errors


def primaries(servers: Engine) -> Sequence[Server]:
    found = []
    for number in range(1, 7):
        server = servers.server(f"redis-{number}")
        with redis.Redis(port=server.port, socket_timeout=5) as node:
            if node.role()[0] == b"master":
                found.append(server)
    assert len(found) == 3
    return found
