"""The same with RabbitMQ in the place of Kafka: it keeps what nobody has acknowledged."""

from datetime import UTC, datetime, timedelta

import pika
import pytest

from engine.engine import Engine
from marquee.adapters.rabbitmq import RabbitLog
from marquee.wiring import Stores
from tests.chaos.conftest import UnderLoad
from tests.chaos.trial import beside, clock_off, come_and_go, frozen, killed, rated_by
from tests.support.server import Server
from tests.support.system import System

pytestmark = [pytest.mark.servers, pytest.mark.long]

PARTS = ("cassandra", "rabbitmq", "postgres", "redis")

PAST_LEASES = 9


@pytest.mark.parametrize("seconds", [4, 60])
def test_rabbitmq_away(servers: Engine, under_load: UnderLoad, seconds: int):
    with under_load(f"RabbitMQ: kill -9, start after {seconds} s") as trial:
        with killed(servers.server("rabbitmq")):
            trial.last(seconds)
        trial.over()
    assert not trial.cost.errors


def test_rabbitmq_frozen(servers: Engine, under_load: UnderLoad):
    fault = "RabbitMQ: frozen for 60 s"
    with under_load(fault) as trial, frozen(servers.server("rabbitmq")):
        trial.last(60)
    assert not trial.cost.errors


def test_a_relay_and_an_aggregator_killed(system: System, under_load: UnderLoad):
    victims = [system.processes[f"{role}-1"] for role in ("relay", "aggregator")]
    fault = "with RabbitMQ: a relay and an aggregator, kill -9, start after 2 s"
    with under_load(fault) as trial, killed(*victims):
        trial.last(2)


def test_workers_paused_past_their_leases(system: System, under_load: UnderLoad):
    victims = [system.processes[f"{role}-1"] for role in ("relay", "aggregator")]
    fault = f"with RabbitMQ: relay and aggregator frozen for {PAST_LEASES} s, woken as zombies"
    with under_load(fault) as trial, frozen(*victims):
        trial.last(PAST_LEASES)


@pytest.mark.parametrize("role", ["relay", "aggregator"])
def test_all_of_a_role_killed(system: System, under_load: UnderLoad, role: str):
    with under_load(f"with RabbitMQ: both {role}s, kill -9, start after 10 s") as trial:
        with killed(*system.of(role)):
            trial.last(10)
        trial.over()


def test_a_rating_cut_in_half_is_swept(system: System, under_load: UnderLoad):
    fault = "with RabbitMQ: ratings, one of 2, kill -9; nobody asks again, the sweep completes it"
    with under_load(fault, swept=True, within=600) as trial, killed(system.processes["ratings-1"]):
        trial.last(1)


def test_postgres_away_with_a_batch_in_hand(servers: Engine, under_load: UnderLoad):
    shards = [servers.server(f"postgres-{number}") for number in (1, 2)]
    with under_load("with RabbitMQ: PostgreSQL, both shards, kill -9, start after 20 s") as trial:
        with killed(*shards):
            trial.last(20)
        trial.over()
    assert not trial.cost.errors


def test_postgres_frozen(servers: Engine, under_load: UnderLoad):
    shards = [servers.server(f"postgres-{number}") for number in (1, 2)]
    fault = "with RabbitMQ: PostgreSQL, both shards, frozen for 60 s"
    with under_load(fault) as trial, frozen(*shards):
        trial.last(60)
    assert not trial.cost.errors


@pytest.mark.parametrize("offset", ["+1h", "-1h"])
def test_a_clock_an_hour_off(
    system: System, under_load: UnderLoad, monkeypatch: pytest.MonkeyPatch, offset: str
):
    victim = system.processes["ratings-1"]
    fault = f"with RabbitMQ: ratings, one of 2, its clock {offset}"
    with clock_off(victim, offset, monkeypatch), under_load(fault) as trial:
        trial.last(10)
        assert abs(datetime.now(UTC) - rated_by(victim, system)) < timedelta(minutes=1)


def test_two_aggregators_fold_the_same_batches(system: System, under_load: UnderLoad):
    """A rival folds what it takes, and leaves without acknowledging it: it all comes again."""
    url = str(system.settings["events_url"])
    folded = 0

    async def fold_and_leave(stores: Stores) -> None:
        nonlocal folded
        while True:
            log = RabbitLog(url)
            try:
                for _ in range(3):
                    if batch := await log.poll(100):
                        await stores.totals.fold(batch)
                        folded += len(batch.events)
            finally:
                await log.close()

    fault = "with RabbitMQ: two aggregators fold the same batches for 15 s, one acknowledges none"
    with under_load(fault) as trial, beside(system, ("movies", "cache"), fold_and_leave):
        trial.last(15)
    assert folded, "the rival was never given any"


def test_aggregators_fight_over_the_queue(system: System, under_load: UnderLoad):
    fault = "with RabbitMQ: aggregators join and die (kill -9) every 3 s, eight times"
    third = Server(system.folder, "aggregator", name="aggregator-3", **system.settings)
    with under_load(fault) as trial:
        come_and_go(third, trial)


def test_a_restored_postgres_is_made_whole_by_a_rebuild(
    system: System, servers: Engine, under_load: UnderLoad
):
    """There are no positions: what was acknowledged is gone from the queue."""
    shards = [servers.server(f"postgres-{number}") for number in (1, 2)]
    fault = "with RabbitMQ: PostgreSQL restored from backups of 10 s ago; `marquee rebuild`"
    with under_load(fault, restored=True, within=600) as trial:
        for shard in shards:
            shard.back_up()
        trial.last(10)
        for shard in shards:
            shard.restore()
        system.command("rebuild")
        trial.over()


def test_poison_in_the_queue(system: System, under_load: UnderLoad):
    before = system.command("dead-letters").count("\n")
    with under_load("with RabbitMQ: 20 messages that are no events") as trial:
        url, _, queue = str(system.settings["events_url"]).partition("?queue=")
        connection = pika.BlockingConnection(pika.URLParameters(url))
        for _ in range(5):
            for poison in (b"", b"\xff", b"{", b'{"v": 99}'):
                connection.channel().basic_publish("", queue, poison)
            trial.last(0.5)
        connection.close()
        trial.until(lambda: system.command("dead-letters").count("\n") == before + 20)
