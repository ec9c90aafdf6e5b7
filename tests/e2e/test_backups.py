"""Servers that are set back to an older state, by the scripts that ship where there are any: what
is made of ratings catches up or is made anew; of ratings that are set back, the totals are made
true. A damaged backup is refused."""

import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import datetime
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from engine.cassandra import Cassandra, CassandraRing, Node
from engine.engine import default_engine
from engine.kafka import Broker
from engine.ports import Ports
from tests.api.asking import eventually
from tests.chaos.ledger import Ledger, load, seed, stock, totals
from tests.support import engine
from tests.support.server import Server, marquee, serve
from tests.support.system import stores

SCRIPTS = Path(__file__).parents[2] / "deploy" / "backup"
MINUTE = 60.0
SWEPT = 400.0
"""Within so long what was published in the last minutes, and lost, is published once more. A
rebuild leaves removals so young to that."""

RELAYED = "marquee_events_relayed_total"
MOVIE = "kept"
"""Whose totals are known exactly, beside those of the load."""

pytestmark = [pytest.mark.servers, pytest.mark.long, pytest.mark.timeout(1800)]


def script(name: str, *words: object, status: int = 0, **variables: object) -> str:
    """What it says; where it fails, what it complains of."""
    done = subprocess.run(
        [SCRIPTS / name, *map(str, words)],
        check=False,
        env=os.environ | {key: str(value) for key, value in variables.items()},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == status, done
    return done.stderr if status else done.stdout


def damaged(backup: Path, pattern: str) -> Path:
    """A copy of which one byte is another one."""
    copy = backup.with_name("damaged")
    shutil.copytree(backup, copy)
    file = max(copy.rglob(pattern), key=lambda file: file.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    return copy


def command(*words: str, status: int = 0, **settings: object) -> str:
    done = marquee(*words, within=900, **settings)
    assert done.returncode == status, done
    return done.stdout


# ---- PostgreSQL ----------------------------------------------------------------------------------


def made_anew(url: str) -> None:
    """A shard's database is gone, and there is an empty one in its place."""
    name = conninfo_to_dict(url)["dbname"]
    with psycopg.connect(make_conninfo(url, dbname="postgres"), autocommit=True) as beside:
        beside.execute(f"DROP DATABASE {name} WITH (FORCE)")
        beside.execute(f"CREATE DATABASE {name} ENCODING 'UTF8'")


def folded(url: str) -> int:
    """How far a shard has come in the log."""
    with psycopg.connect(url) as shard:
        row = shard.execute("SELECT sum(position) FROM slot").fetchone()
    assert row is not None
    return int(row[0])


def test_a_postgres_that_is_set_back_catches_up_by_itself(tmp_path: Path):
    told, backup = Ledger(), tmp_path / "backup"
    with stores() as urls:
        shards = urls["movies_url"].split()
        told_to = {"MARQUEE_MOVIES_URL": urls["movies_url"]}
        command("migrate", "--slots", "4", data=tmp_path / "data", **urls)
        with serve(tmp_path, **urls) as server:
            stock(server)
            with load(server, told, seed()) as under:
                under.await_answers(100)
                script("postgres.sh", "backup", backup, **told_to)
                under.await_answers(100)
                assert "there already" in script(
                    "postgres.sh", "backup", backup, status=1, **told_to
                )
                assert "not empty" in script("postgres.sh", "restore", backup, status=1, **told_to)
            told.settle(server)
            came_to = [folded(url) for url in shards]
            server.stop()

            for url in shards:
                made_anew(url)
            copy = damaged(backup, "shard-1.dump")
            assert "damaged" in script("postgres.sh", "restore", copy, status=1, **told_to)
            script("postgres.sh", "restore", backup, **told_to)
            assert all(folded(url) < before for url, before in zip(shards, came_to, strict=True))
            server.start()
            told.count(server, within=MINUTE)

            # One of them alone, while everything goes on.
            with load(server, told, seed()) as under:
                made_anew(shards[1])
                script("postgres.sh", "restore", backup, 1, **told_to)
                under.await_answers(100)
            told.read_back(server)
            told.count(server, within=MINUTE)
            command("migrate", data=server.data, **urls)
            command("verify", data=server.data, **urls)


# ---- Kafka ---------------------------------------------------------------------------------------


def test_a_kafka_that_is_set_back_stops_and_a_rebuild_bridges_it(tmp_path: Path):
    """Its folder as of some time ago, with everything running: what comes in meanwhile fills it up
    again beyond where it was folded, with other events."""
    told, copy = Ledger(), tmp_path / "copy"
    with engine.own(tmp_path / "engine", "kafka") as own:
        servers = engine.need("cassandra", "postgres", "redis") | own.variables(["kafka"])
        broker = own.server("kafka")
        assert isinstance(broker, Broker)
        with stores(servers=servers) as urls:
            command("migrate", "--slots", "4", data=tmp_path / "data", **urls)
            with serve(tmp_path, **urls) as server:
                stock(server)
                with load(server, told, seed()) as under:
                    under.await_answers(100)
                    broker.stop()
                    shutil.copytree(broker.data, copy)
                    broker.start()
                    under.await_answers(100)
                told.settle(server)

                broker.stop()
                shutil.rmtree(broker.data)
                shutil.move(copy, broker.data)
                with load(server, told, seed()) as under:
                    under.await_answers(500)
                    broker.start()
                    eventually(lambda: log_of(server), lambda why: "marquee rebuild" in why, MINUTE)
                    under.await_answers(100)
                    command("rebuild", data=server.data, **urls)
                told.read_back(server)
                told.count(server, within=SWEPT)
                assert log_of(server) == ""
                command("verify", data=server.data, **urls)


def log_of(server: Server) -> str:
    """What is wrong with the event log, as the server says."""
    with server.client() as client:
        events = client.get("/health/ready").json()["dependencies"]["events"]
    return str(events.get("detail", ""))


# ---- RabbitMQ ------------------------------------------------------------------------------------


def test_a_rabbitmq_that_is_set_back_brings_old_events_and_the_sweep_new_ones(tmp_path: Path):
    """It has no positions: what comes again changes nothing, and what is missing, being of the last
    minutes, is published once more."""
    told, copy = Ledger(), tmp_path / "copy"
    with engine.own(tmp_path / "engine", "rabbitmq") as own, ExitStack() as stack:
        servers = engine.need("cassandra", "postgres", "redis") | own.variables(["rabbitmq"])
        broker = own.server("rabbitmq")
        data = broker.folder / "data"
        urls = stack.enter_context(stores(events="rabbitmq", servers=servers))
        command("migrate", data=tmp_path / "data", **urls)
        takes = Server(tmp_path, "ratings", "movies", "relay", name="takes", **urls)
        folds = Server(tmp_path, "aggregator", name="folds", **urls)
        for process in (takes, folds):
            stack.callback(process.kill)
            process.start()
        stock(takes)
        rate_unfolded(takes, folds, told)
        broker.stop()
        shutil.copytree(data, copy)
        broker.start()
        folds.start()
        told.settle(takes)

        rate_unfolded(takes, folds, told)
        broker.stop()
        shutil.rmtree(data)
        shutil.move(copy, data)
        broker.start()
        folds.start()
        told.read_back(takes)
        told.count(takes, within=SWEPT)
        command("verify", data=tmp_path / "data", **urls)
        for process in (takes, folds):
            process.stop()


def rate_unfolded(takes: Server, folds: Server, told: Ledger) -> None:
    """Have events in the queue which nobody folds: there is no aggregator any more."""
    folds.stop()
    with load(takes, told, seed()) as under:
        before = takes.figure(RELAYED)
        under.await_answers(100)
        eventually(lambda: takes.figure(RELAYED), lambda number: number > before + 50)


# ---- Cassandra -----------------------------------------------------------------------------------


class Store:
    """A Cassandra of this test's own, which has the ratings."""

    def __init__(self, node: Node, keyspace: str) -> None:
        self.node = node
        self._keyspace = keyspace

    def back_up(self, backup: Path) -> None:
        nodetool = {"NODETOOL": self.node.nodetool}
        script("cassandra.sh", "backup", self.node.data, backup, self._keyspace, **nodetool)

    def lose(self, but: str = "") -> None:
        """All that the node has, but that."""
        self.node.stop()
        for name in {"data", "commitlog", "hints", "saved_caches"} - {but}:
            shutil.rmtree(self.node.folder / name, ignore_errors=True)

    def restore(self, backup: Path, status: int = 0) -> str:
        return script("cassandra.sh", "restore", backup, self.node.data, status=status)


class Archiving(Node):
    """Copies what is full of its commit log into a folder; starts with what it is told of that."""

    restores = ""

    @property
    def archive(self) -> Path:
        return self.folder / "archive"

    @property
    def commitlog(self) -> Path:
        return self.folder / "commitlog"

    def prepare(self) -> None:
        super().prepare()
        file = self.folder / "cassandra.yaml"
        file.write_text(file.read_text().replace("segment_size: 8MiB", "segment_size: 1MiB"))
        self._settings.mkdir(exist_ok=True)
        self.archive.mkdir(exist_ok=True)
        (self._settings / "commitlog_archiving.properties").write_text(
            f"archive_command={SCRIPTS}/cassandra.sh archive %path {self.archive}\n{self.restores}"
        )

    @property
    def _settings(self) -> Path:
        return self.folder / "conf"

    def command(self) -> list[str]:
        *java, main = super().command()
        return [*java, f"-Xbootclasspath/a:{self._settings}", main]

    def restore_log(self, until: str = "") -> None:
        """Start once with what was archived, of all times or until then; then as before."""
        self.restores = (
            "restore_command=/bin/cp -f %from %to\n"
            f"restore_directories={self.archive},{self.archive}.open\n"
            f"restore_point_in_time={until}\n"
        )
        self.start()
        self.stop()
        self.restores = ""
        self.start()


class ArchivingCassandra(Cassandra):
    node, names = Archiving, ("archiving",)


class Told(Node):
    """Has its place in the ring from the engine's template, or from what it is told instead."""

    told = ""

    def prepare(self) -> None:
        super().prepare()
        file = self.folder / "cassandra.yaml"
        if self.told:
            yaml, found = OWN_PLACE.subn(lambda _: self.told, file.read_text())
            assert found == 1
            file.write_text(yaml)


OWN_PLACE = re.compile("^num_tokens: .+\ninitial_token: .+\nauto_bootstrap: .+\n", re.MULTILINE)
"""What the engine's own template says of a node's place in the ring."""


class ToldRing(CassandraRing):
    node = Told


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[ToldRing]:
    folder = tmp_path / "engine"
    part = ToldRing(folder, default_engine().cache, Ports(folder / "ports.json"))
    folder.mkdir()

    def start() -> None:
        part.fetch()
        part.start()

    with engine.running(start, part.stop):
        yield part


@pytest.fixture
def archiving(tmp_path: Path) -> Iterator[tuple[dict[str, str], Store, Archiving]]:
    servers = engine.need("cassandra", "kafka", "postgres", "redis")
    folder = tmp_path / "engine"
    part = ArchivingCassandra(folder, default_engine().cache, Ports(folder / "ports.json"))
    folder.mkdir()
    try:
        part.start()
        (node,) = part.servers
        assert isinstance(node, Archiving)
        with stores(servers=servers | part.variables()) as urls:
            yield urls, Store(node, keyspace_of(urls)), node
    finally:
        part.stop()


def keyspace_of(urls: dict[str, str]) -> str:
    return urls["ratings_url"].partition("?")[0].rpartition("/")[2]


@pytest.fixture
def urls_and_store(tmp_path: Path) -> Iterator[tuple[dict[str, str], Store]]:
    with engine.own(tmp_path / "engine", "cassandra") as own:
        servers = engine.need("kafka", "postgres", "redis") | own.variables(["cassandra"])
        with stores(servers=servers) as urls:
            node = own.server("cassandra")
            assert isinstance(node, Node)
            yield urls, Store(node, keyspace_of(urls))


def rating(server: Server, user: str) -> float | None:
    """Of the movie that the load leaves alone, once the store answers."""
    with server.client(user) as client:
        answer = eventually(
            lambda: client.get(f"/movies/{MOVIE}/users/rate"),
            lambda answer: answer.status_code in {200, 404},
            MINUTE,
        )
    return answer.json().get("rate")


def await_totals(server: Server, expected: dict[float, int]) -> None:
    with server.client() as client:
        eventually(lambda: totals(client, MOVIE), lambda found: found == expected, MINUTE)


def test_a_cassandra_that_is_set_back_lacks_what_came_later(tmp_path: Path, urls_and_store):
    urls, store = urls_and_store
    told, first, second = Ledger(), tmp_path / "first", tmp_path / "second"
    command("migrate", "--slots", "4", "--shards", "4", data=tmp_path / "data", **urls)
    with serve(tmp_path, **urls) as server:
        stock(server, [*told.movies, MOVIE])
        with load(server, told, seed()) as under:
            under.await_answers(100)
            store.back_up(first)
            under.await_answers(100)
        server.stop()

        # With the commit log on top of it nothing is lost.
        store.node.stop()
        assert "not empty" in store.restore(first, status=1)
        store.lose(but="commitlog")
        store.restore(first)
        store.node.start()
        server.start()
        rating(server, "early")
        told.read_back(server)
        told.count(server, within=MINUTE)

        rate(server, "early", 8)
        await_totals(server, {8: 1})
        store.back_up(second)
        # Of long ago: what is younger than ten minutes a rebuild leaves alone.
        late = tmp_path / "late.csv"
        late.write_text(f"movieId,userId,rate,ratedAt\n{MOVIE},late,9,2020-01-02T03:04:05Z\n")
        command("import", "auto", str(late), data=server.data, **urls)
        await_totals(server, {8: 1, 9: 1})
        server.stop()

        # Without it, what came after the backup is.
        store.lose()
        assert "damaged" in store.restore(damaged(second, "*-Data.db"), status=1)
        assert not store.node.data.exists()
        store.restore(second)
        store.node.start()
        server.start()
        assert (rating(server, "early"), rating(server, "late")) == (8, None)
        await_totals(server, {8: 1, 9: 1})
        assert command("rebuild", data=server.data, **urls) == "1 movie was put right\n"
        await_totals(server, {8: 1})
        told.read_back(server)
        told.count(server, within=MINUTE)
        command("verify", data=server.data, **urls)


def test_a_ring_that_is_restored_asks_nobody_for_what_it_has(tmp_path: Path, ring: ToldRing):
    """Each rating is on one node alone here: the ring is whole when each has what it had."""
    told = Ledger()
    servers = engine.need("kafka", "postgres", "redis") | ring.variables()
    with stores(servers=servers) as urls:
        urls["ratings_url"] = f"{urls['ratings_url'].partition('?')[0]}?replication=1"
        nodes = [(Store(node, keyspace_of(urls)), tmp_path / node.name) for node in ring.servers]
        command("migrate", "--slots", "4", "--shards", "4", data=tmp_path / "data", **urls)
        with serve(tmp_path, **urls) as server:
            stock(server)
            with load(server, told, seed()) as under:
                under.await_answers(200)
            told.settle(server)
            for store, backup in nodes:
                store.back_up(backup)
            server.stop()

            ring.stop()
            for store, backup in nodes:
                store.lose()
                store.node.told = store.restore(backup)
            ring.start()
            server.start()
            told.read_back(server)
            told.count(server, within=MINUTE)
            server.stop()

            # Afterwards they know their places.
            ring.stop()
            for store, _ in nodes:
                store.node.told = "num_tokens: 1\n"
            ring.start()
            server.start()
            told.read_back(server)
            command("verify", data=server.data, **urls)


def test_a_segment_is_archived_whole_or_not_at_all(tmp_path: Path):
    """Half of one would stop the start of a node that is restored."""
    segment, archive = tmp_path / "CommitLog-7-1.log", tmp_path / "archive"
    segment.write_bytes(bytes(10_000))
    archive.mkdir()
    words = [str(SCRIPTS / "cassandra.sh"), "archive", str(segment), str(archive)]
    small = ["sh", "-c", 'ulimit -f 1; exec "$@"', "-", *words]  # as where a disk is full
    assert subprocess.run(small, check=False, capture_output=True).returncode != 0
    assert sorted(tmp_path.rglob("*")) == sorted([segment, archive])
    script("cassandra.sh", "archive", segment, archive)
    assert (archive / segment.name).read_bytes() == segment.read_bytes()


def test_a_folder_without_a_commit_log_takes_nothing_away(tmp_path: Path):
    """A path that is wrong, in a crontab, would leave a backup of nothing."""
    log, archive, wrong = (tmp_path / name for name in ("commitlog", "archive", "data"))
    for folder in (log, archive, wrong):
        folder.mkdir()
    segment = log / "CommitLog-7-1.log"
    segment.write_bytes(b"rated")
    script("cassandra.sh", "log", log, archive)
    assert "no commit log" in script("cassandra.sh", "log", wrong, archive, status=1)
    assert (tmp_path / "archive.open" / segment.name).read_bytes() == b"rated"
    assert sorted(tmp_path.iterdir()) == [archive, tmp_path / "archive.open", log, wrong]


def test_a_commit_log_brings_back_what_came_later(tmp_path: Path, archiving):
    urls, store, node = archiving
    told, backup = Ledger(), tmp_path / "backup"
    command("migrate", "--slots", "4", "--shards", "4", data=tmp_path / "data", **urls)
    with serve(tmp_path, **urls) as server:
        stock(server, [*told.movies, MOVIE])
        with load(server, told, seed()) as under:
            under.await_answers(100)
            store.back_up(backup)
            eventually(lambda: list(node.archive.iterdir()), bool, 2 * MINUTE)
            under.await_answers(100)
        told.settle(server)
        early = rate(server, "early", 8)
        rate(server, "late", 9)
        script("cassandra.sh", "log", node.commitlog, node.archive)
        server.stop()

        # All of it.
        store.lose()
        store.restore(backup)
        node.restore_log()
        server.start()
        assert (rating(server, "early"), rating(server, "late")) == (8, 9)
        told.read_back(server)
        told.count(server, within=MINUTE)
        command("verify", data=server.data, **urls)
        server.stop()

        # Until somebody rated.
        store.lose()
        store.restore(backup)
        node.restore_log(until=early)
        server.start()
        assert (rating(server, "early"), rating(server, "late")) == (8, None)
        told.read_back(server)
        rate(server, "again", 7)
        node.kill()
        node.start()
        assert rating(server, "again") == 7


def rate(server: Server, user: str, score: float) -> str:
    """When that was, as Cassandra is told of a point in time."""
    with server.client(user) as client:
        answer = client.post(f"/movies/{MOVIE}/users/rate", json={"rate": score})
    assert answer.is_success, answer.text
    moment = datetime.fromisoformat(answer.json()["ratedAt"])
    return moment.strftime("%Y:%m:%d %H:%M:%S.%f")


# ---- the key of the rater hash -------------------------------------------------------------------


@pytest.mark.parametrize("embedded", [True, False], ids=["embedded", "on servers"])
def test_a_move_to_new_stores_takes_all_but_the_names_of_raters(tmp_path: Path, embedded: bool):
    told = Ledger()
    ratings, movies = tmp_path / "ratings.csv", tmp_path / "movies.json"
    folder = tmp_path / "new"
    with ExitStack() as stack:
        old, new = ({} if embedded else stack.enter_context(stores()) for _ in range(2))
        command("migrate", data=tmp_path / "data", **old)
        with serve(tmp_path, **old) as server:
            stock(server)
            with load(server, told, seed()) as under:
                under.await_answers(200)
            told.settle(server)
            former = raters(server, old)
        ratings.write_text(command("export", "ratings", data=server.data, **old))
        movies.write_text(command("export", "movies", "--format", "json", data=server.data, **old))

        shutil.copytree(server.data / "keys", folder / "data" / "keys")
        command("migrate", data=folder / "data", **new)
        command("import", "movies", str(movies), data=folder / "data", **new)
        command("import", "ratings", str(ratings), data=folder / "data", **new)
        with serve(folder, **new) as moved:
            with moved.client() as client:
                token = server.authorization(told.users[0])
                assert client.get("/users/me/ratings", headers=token).is_success
            told.read_back(moved)
            told.count(moved, within=MINUTE)
            command("verify", data=moved.data, **new)
            assert former
            assert not former & raters(moved, new)


def raters(server: Server, urls: dict[str, str]) -> set[bytes]:
    """As the totals know them."""
    found: set[bytes] = set()
    if not urls:
        with closing(sqlite3.connect(server.data / "marquee.db")) as file:
            return {rater for (rater,) in file.execute("SELECT rater FROM applied")}
    for url in urls["movies_url"].split():
        with psycopg.connect(url) as shard:
            found.update(bytes(rater) for (rater,) in shard.execute("SELECT rater FROM applied"))
    return found
