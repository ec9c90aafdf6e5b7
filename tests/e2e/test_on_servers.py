"""The command line where stores are on servers, as people run it: migrated, served, looked into."""

import csv
import io
import json
import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest

from marquee.adapters.cassandra import driver
from marquee.adapters.cassandra.address import parse
from marquee.adapters.postgres.charts import REFRESHING
from marquee.events import encode
from marquee.model import RatingChanged
from marquee.wiring.distributed import ANSWER_SECONDS
from tests.api.asking import eventually
from tests.support import commands
from tests.support.commands import in_process
from tests.support.server import START_SECONDS, Server, marquee
from tests.support.system import ROLES, USES, System, stores

pytestmark = pytest.mark.servers

Urls = dict[str, str]

MOVIES = "id,title,year\nm1,Léon,1994\nm2,Heat,1995\nm3,Ran,1985\n"
RATINGS = """movieId,userId,rate,ratedAt
m1,alice,9.5,2020-01-02T03:04:05.678901Z
m2,alice,10,2021-01-02T03:04:05Z
m1,"b, ""the"" second",0.5,2022-02-03T00:00:00Z
"""


def ok(urls: Urls, data: Path, *arguments: object) -> str:
    """What a command prints: on stdout alone."""
    done = marquee(*map(str, arguments), within=120, data=data, **urls)
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def refused(urls: Urls, data: Path, *arguments: str, status: int = 2) -> str:
    """The one line that a command has to say."""
    done = marquee(*arguments, data=data, **urls)
    assert (done.returncode, done.stdout) == (status, ""), done
    said = [line for line in done.stderr.splitlines() if not line.startswith("{")]  # no log
    assert len(said) == 1, done
    assert len(said) == done.stderr.count("\n") or arguments[0] == "serve", done
    return said[0]


@pytest.fixture
def empty() -> Iterator[Urls]:
    """Stores that nobody has migrated."""
    with stores() as urls:
        yield urls


# ---- stores that were migrated by nobody, by several, by others ----------------------------------


def test_migrated_by_several_at_once_and_again(empty, tmp_path):
    told = ("migrate", "--slots", "4", "--shards", "2")
    with ThreadPoolExecutor() as pool:
        migrating = [
            pool.submit(marquee, *told, within=120, data=tmp_path, **empty) for _ in range(3)
        ]
    for done in (each.result() for each in migrating):
        assert done.returncode == 0, done
        waits = done.stderr.splitlines()
        assert all(line.startswith("marquee: Somebody else migrates") for line in waits), done
    again = ok(empty, tmp_path, *told)
    assert ok(empty, tmp_path, "migrate") == again
    found = ok(empty, tmp_path, "doctor").splitlines()
    assert all(line.endswith(": all is well") for line in found)
    for kind in ("ratings", "movies, shard 1", "events", "partitions", "cache", "keys of tokens"):
        assert any(kind in line for line in found), kind
    assert "4 slots, for ever" in refused(empty, tmp_path, "migrate", "--slots", "5")
    assert "2 shards, for ever" in refused(empty, tmp_path, "migrate", "--shards", "3")
    other_prior = empty | {"prior_weight": "3"}
    assert "weight 10" in refused(other_prior, tmp_path, "serve", "--port", "0")
    assert "weight 10" in unwell(other_prior, tmp_path)


@pytest.mark.parametrize("command", ["top", "export ratings", "verify", "erase --user u"])
def test_before_that_a_command_says_what_to_do_at_once(empty, tmp_path, command):
    begun = time.monotonic()
    assert "marquee migrate" in refused(empty, tmp_path, *command.split(), status=1)
    assert time.monotonic() < begun + ANSWER_SECONDS  # as it has for what does not answer


def newer_movies(urls: Urls) -> None:
    with psycopg.connect(urls["movies_url"].split()[1], autocommit=True) as connection:
        connection.execute("INSERT INTO schema_version VALUES (99, now())")


def newer_ratings(urls: Urls) -> None:
    address = parse(urls["ratings_url"])
    table = f"{address.keyspace}.agreement"
    with driver.connected(address) as session:
        session.execute(f"UPDATE {table} SET value = '99' WHERE name = 'schema'")


@pytest.mark.parametrize(
    ("make_newer", "uses"), [(newer_movies, "top"), (newer_ratings, "export ratings")]
)
def test_what_a_newer_marquee_made_is_left_alone(empty, tmp_path, make_newer, uses):
    ok(empty, tmp_path, "migrate", "--slots", "2", "--shards", "1")
    make_newer(empty)
    for command in ("migrate", uses, "serve --port 0"):
        assert "newer Marquee" in refused(empty, tmp_path, *command.split())
    assert "newer Marquee" in unwell(empty, tmp_path)


def unwell(urls: Urls, data: Path) -> str:
    """What the doctor finds wrong."""
    done = marquee("doctor", within=120, data=data, **urls)
    assert (done.returncode, done.stderr) == (1, ""), done
    lines = done.stdout.splitlines()
    return "\n".join(line for line in lines if not line.endswith(": all is well"))


@pytest.fixture(scope="module")
def two_sets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Urls, Urls]]:
    """Stores that belong together, and others that do, with other slots."""
    data = tmp_path_factory.mktemp("two")
    with stores() as ours, stores() as others:
        ok(ours, data, "migrate", "--slots", "2", "--shards", "1")
        ok(others, data, "migrate", "--slots", "3", "--shards", "1")
        yield ours, others


@pytest.mark.parametrize("command", ["migrate", "verify", "serve ratings --port 0"])
def test_the_movie_store_of_other_ratings_is_refused(two_sets, tmp_path, command):
    ours, others = two_sets
    said = refused(ours | {"movies_url": others["movies_url"]}, tmp_path, *command.split())
    for urls, name in ((ours, "ratings_url"), (ours, "movies_url"), (others, "movies_url")):
        assert urls[name].split()[0].rpartition("/")[2].partition("?")[0] in said, said


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"ratings_url": "cassandra://nowhere.invalid/k"},
        {"events_url": "kafka://127.0.0.1:1?tls=true&ca=/none"},
        {"events_url": "amqp://127.0.0.1:1"},
        {"movies_url": "postgresql://nowhere.invalid/d"},
        {"cache_url": "redis://nowhere.invalid"},
    ],
)
def test_the_doctor_finds_the_store_that_is_not_there(two_sets, tmp_path, elsewhere):
    """In its own words, not in those of the drivers."""
    (name,) = elsewhere
    found = unwell(two_sets[0] | elsewhere, tmp_path)
    assert found.startswith(name.removesuffix("_url")), found


def test_the_doctor_looks_at_the_events_also_without_the_movies(two_sets, tmp_path):
    away = two_sets[0] | {"movies_url": "postgresql://nowhere.invalid/d"}
    done = marquee("doctor", within=120, data=tmp_path, **away)
    assert re.search(r"^events \(kafka.*: all is well$", done.stdout, re.MULTILINE), done


def test_the_doctor_finds_what_does_not_belong_together(two_sets, tmp_path):
    ours, others = two_sets
    assert "belong together" in unwell(ours | {"movies_url": others["movies_url"]}, tmp_path)


@pytest.mark.parametrize("command", ["top", "serve movies --port 0"])
@pytest.mark.parametrize(
    "shards",
    [
        lambda ours, others: [ours[0], others[1]],
        lambda ours, others: [others[0], ours[1]],
        lambda ours, _: [ours[1], ours[0]],
        lambda ours, others: [*ours, others[0]],
        lambda ours, _: ours[:1],
    ],
    ids=["another's second", "another's first", "swapped", "one too many", "one too few"],
)
def test_shards_that_are_no_set_are_refused(two_sets, tmp_path, command, shards):
    ours, others = (urls["movies_url"].split() for urls in two_sets)
    urls = two_sets[0] | {"movies_url": " ".join(shards(ours, others))}
    assert "movies_url" in refused(urls, tmp_path, *command.split())


@pytest.mark.parametrize(
    "command",
    ["migrate", "verify", "serve relay --port 0", "serve aggregator --port 0"],
)
def test_a_topic_of_other_partitions_is_refused(two_sets, tmp_path, command):
    ours, others = two_sets
    urls = ours | {"events_url": others["events_url"]}
    said = refused(urls, tmp_path, *command.split())
    assert "3 partitions" in said
    assert "2 slots" in said


def test_stores_of_before_they_knew_each_other_get_to_know(two_sets, tmp_path):
    ours, others = two_sets
    address = parse(ours["ratings_url"])
    with driver.connected(address) as session:
        agreement = f"{address.keyspace}.agreement"
        session.execute(f"DELETE FROM {agreement} WHERE name = 'movies' IF EXISTS")
        select = f"SELECT value FROM {agreement} WHERE name = 'movies'"
        server = Server(tmp_path, "ratings", **ours).start()
        try:
            eventually(lambda: session.execute(select).one(), lambda row: row is not None)
            server.stop()
        finally:
            server.kill()
    refused(ours | {"movies_url": others["movies_url"]}, tmp_path, "migrate")


def test_roles_come_by_themselves_when_their_stores_do(empty, tmp_path):
    """Started in any order, before anybody migrated."""
    system = System(tmp_path, **empty)
    try:
        for role in reversed(ROLES):
            system.of(role)[0].start()
        for process in system.processes.values():
            eventually(
                lambda p=process: ready(p),
                lambda said: said.status_code == 503 and "marquee migrate" in said.text,
            )
        (aggregator,) = system.of("aggregator")
        assert "\nmarquee_events_behind " not in metrics(aggregator)
        system.command("migrate")
        for process in system.processes.values():
            with process.client() as client:
                eventually(lambda c=client: status(c), "ok".__eq__)
        eventually(lambda: metrics(aggregator), lambda text: "\nmarquee_events_behind 0" in text)
        rate_the_first_movie(system)
        system.stop()
        for process in system.processes.values():
            waits = [said for said in warnings(process.log) if UNMADE.search(said)]
            assert len(waits) < 20, process.log
    finally:
        system.kill()


UNMADE = re.compile("does not exist|marquee migrate")
"""What is logged of stores that nobody has migrated: once and again, and not at every try."""


def ready(process: Server) -> httpx.Response:
    with process.client() as client:
        return client.get("/health/ready")


def metrics(process: Server) -> str:
    with process.client() as client:
        return client.get("/metrics").text


def status(client: httpx.Client) -> str:
    found: str = client.get("/health/ready").json()["status"]
    return found


def test_a_ten_that_nobody_refreshes_is_told(empty, tmp_path):
    """What can be answered is, and that it is not all is no secret."""

    def told(process: Server) -> tuple[int, str, str]:
        with process.client() as client:
            ready = client.get("/health/ready")
        its = ready.json()
        detail = its["dependencies"]["refresher"].get("detail", "")
        return ready.status_code, its["status"], detail

    def tells(process: Server, words: str) -> None:
        eventually(lambda: told(process), lambda t: t[:2] == (200, "degraded") and words in t[2])

    system = System(tmp_path, **empty)
    (reader,), (refresher,) = system.of("top-rated"), system.of("refresher")
    try:
        system.command("migrate")
        reader.start()
        tells(reader, "Nobody has refreshed the ten yet")
        with reader.client() as client:
            assert client.get("/movies/top-rated").json()["result"] == []
        refresher.start()
        for process in (reader, refresher):
            eventually(lambda p=process: told(p), (200, "ok", "").__eq__)
        with psycopg.connect(empty["movies_url"].split()[0]) as holder:
            holder.execute("SELECT pg_advisory_lock(%s)", (REFRESHING,))
            for process in (reader, refresher):
                tells(process, "Nobody has refreshed the ten for")
            reader.stop()
            reader.start()
            tells(reader, "Nobody has refreshed the ten for")
        for process in (reader, refresher):
            eventually(lambda p=process: told(p), (200, "ok", "").__eq__)
            process.stop()
    finally:
        system.kill()


def test_dead_letters_need_the_movie_store_alone(two_sets, tmp_path):
    ours, _ = two_sets
    nowhere = {"ratings_url": "cassandra://127.0.0.1:1/k", "events_url": "kafka://127.0.0.1:1"}
    urls = ours | nowhere | {"cache_url": "redis://127.0.0.1:1"}
    event = encode(RatingChanged("m", bytes(16), 1, 10))
    with psycopg.connect(ours["movies_url"].split()[0], autocommit=True) as connection:
        bury = "INSERT INTO dead_letter VALUES (%s, %s, 'why', 0)"
        connection.cursor().executemany(bury, [(1, event), (2, b"nonsense")])
    assert "why  nonsense\n2 dead letters\n" in ok(urls, tmp_path, "dead-letters")
    retried = marquee("dead-letters", "retry", data=tmp_path, **urls)
    assert retried.returncode == 1
    assert "Dead letter 1 is folded." in retried.stdout
    assert "1 dead letter\n" in retried.stdout


def rate_the_first_movie(system: System) -> None:
    (ratings,), (movies,), (toprated,) = map(system.of, ("ratings", "movies", "top-rated"))
    with (
        movies.client("editor", "movies:write") as editor,
        ratings.client("alice") as alice,
        toprated.client() as anyone,
    ):
        assert editor.put("/movies/m1", json={"title": "Léon"}).status_code == 201
        assert alice.post("/movies/m1/users/rate", json={"rate": 9}).status_code == 200
        ten = eventually(lambda: anyone.get("/movies/top10").json()["result"], bool)
    assert [entry["title"] for entry in ten] == ["Léon"]


def warnings(log: str) -> list[str]:
    """What is not just told, but wrong."""
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    return [line["event"] for line in lines if line["level"] not in {"info", "debug"}]


# ---- settings that do not go together ------------------------------------------------------------

KINDS = {
    "ratings_url": "cassandra://127.0.0.1:1/marquee",
    "events_url": "kafka://127.0.0.1:1",
    "movies_url": "postgresql://127.0.0.1:1/movieratedb",
    "cache_url": "redis://127.0.0.1:1",
}


NEEDS = {
    "serve": {*KINDS},
    "doctor": {*KINDS},
    "verify": {"ratings_url", "events_url", "movies_url"},
    "migrate": {"ratings_url", "events_url", "movies_url"},
    "demo": {"ratings_url", "movies_url"},
    "move-slots 0 --to 1": {"movies_url"},
}
"""What each command is told of stores."""


@pytest.mark.parametrize(
    ("command", "missing"),
    [(command, name) for command in NEEDS for name in sorted(NEEDS[command])],
)
def test_some_of_both_is_refused(tmp_path, missing, command):
    some = {name: url for name, url in KINDS.items() if name != missing}
    said = commands.refused(in_process(*command.split(), data=tmp_path / "data", **some))
    assert f"set {missing}" in said
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("role", "missing"),
    [(role, name) for role in USES for name in sorted(USES[role] & KINDS.keys())],
)
def test_a_role_without_one_of_its_stores_is_refused(tmp_path, role, missing):
    some = {name: url for name, url in KINDS.items() if name != missing}
    said = commands.refused(in_process("serve", role, data=tmp_path / "data", **some))
    assert f"set {missing}" in said


@pytest.mark.parametrize(
    ("command", "status"), [("migrate", 2), ("demo", 1), ("move-slots 0 --to 1", 2)]
)
def test_a_command_is_not_asked_for_stores_that_it_does_not_use(tmp_path, command, status):
    its = {name: KINDS[name] for name in NEEDS[command]}
    said = refused(its, tmp_path / "data", *command.split(), status=status)
    assert re.search("connection failed|can't be reached", said)


def test_what_is_for_embedded_stores_alone_is_refused(tmp_path):
    for command in ("backup", "restore"):
        assert "embedded" in refused(KINDS, tmp_path / "data", command, str(tmp_path / "file.zip"))


# ---- one process with all roles, and the commands beside it --------------------------------------


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[Server]:
    """With three movies, rated; ``settings`` lead commands to its stores."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "movies.csv").write_text(MOVIES)
    (folder / "ratings.csv").write_text(RATINGS)
    with stores() as urls:
        ok(urls, folder / "data", "migrate")
        server = Server(folder, **urls)
        try:
            server.start()
            for kind in ("movies", "ratings"):
                told = ok(urls, server.data, "import", "auto", folder / f"{kind}.csv")
                assert f"{kind}: 3 added" in told
            await_number(server, "m1", 2)
            yield server
            server.stop()
        finally:
            server.kill()


def await_number(server: Server, movie: str, number: int) -> None:
    def counted() -> int:
        found: int = client.get(f"/movies/{movie}/ratings").json()["numberOfRatings"]
        return found

    with server.client() as client:
        eventually(counted, number.__eq__)


def run(server: Server, *arguments: object) -> str:
    return ok(server.settings, server.data, *arguments)


def test_the_same_import_again_changes_nothing(served):
    for kind in ("movies", "ratings"):
        file = served.data.parent / f"{kind}.csv"
        for dry in (["--dry-run"], []):
            assert f"{kind}: 0 added, 0 replaced" in run(served, "import", "auto", file, *dry)


def test_what_is_exported_is_what_was_imported(served):
    rows = list(csv.DictReader(io.StringIO(run(served, "export", "ratings", "--user", "alice"))))
    assert [(row["movieId"], row["rate"], row["ratedAt"]) for row in rows] == [
        ("m1", "9.5", "2020-01-02T03:04:05.678901Z"),
        ("m2", "10.0", "2021-01-02T03:04:05.000000Z"),
    ]
    movies = json.loads(run(served, "export", "movies", "--format", "json"))
    assert [movie["title"] for movie in movies] == ["Léon", "Heat", "Ran"]


def test_top_is_the_chart(served):
    _, first, second, *_ = run(served, "top").splitlines()
    assert re.match(r" 1  Heat +1995  ", first)
    assert re.match(r" 2  Léon +1994  ", second)


def test_all_is_as_promised(served):
    assert run(served, "verify") == "all totals are what the ratings say\n"
    assert run(served, "rebuild", "--drifted") == "0 movies were put right\n"
    assert run(served, "dead-letters") == "0 dead letters\n"
    assert run(served, "dead-letters", "retry") == "0 dead letters\n"


def test_an_erasure_that_came_by_mail(served):
    with served.client("carol") as client:
        for movie in ("m2", "m3"):
            assert client.post(f"/movies/{movie}/users/rate", json={"rate": 1}).status_code == 200
        await_number(served, "m3", 1)
        assert run(served, "erase", "--user", "carol").startswith("2 ratings erased; the receipt: ")
        assert client.get("/users/me/ratings").json()["result"] == []
    await_number(served, "m3", 0)
    await_number(served, "m2", 1)


def test_a_second_process_in_the_same_folder_is_welcome(served, tmp_path):
    other = beside(served, tmp_path)
    try:
        with other.start().client("alice") as client:
            assert client.get("/movies/m1/users/rate").json()["rate"] == 9.5
        other.stop()
    finally:
        other.kill()


def beside(served: Server, folder: Path, **settings: object) -> Server:
    """Another one, on the same stores and data folder."""
    other = Server(folder, **served.settings, **settings)
    other.data = served.data
    return other


@pytest.mark.long
def test_a_rebuild_beside_the_server_finds_all_right(served):
    """It waits for what is on its way: that is what takes minutes."""
    done = marquee("rebuild", within=600, data=served.data, **served.settings)
    assert (done.returncode, done.stdout) == (0, "0 movies were put right\n")


@pytest.mark.long
def test_the_demo_is_the_same_on_servers(empty, tmp_path):
    ok(empty, tmp_path, "migrate")
    server = Server(tmp_path, "relay", "aggregator", **empty)
    try:
        server.start()
        assert "made up" in ok(empty, server.data, "demo")
        ok({}, tmp_path / "embedded", "demo")
        expected = ok({}, tmp_path / "embedded", "top", "250")
        eventually(lambda: ok(empty, server.data, "top", "250"), expected.__eq__, within=120)
        server.stop()
    finally:
        server.kill()


# ---- several processes at one port ---------------------------------------------------------------


@pytest.fixture
def three(served, tmp_path) -> Iterator[Server]:
    server = beside(served, tmp_path, workers=3)
    try:
        server.start()
        eventually(lambda: server.log.count("serving at"), (3).__eq__, within=START_SECONDS)
        yield server
    finally:
        server.kill()


def workers(server: Server) -> set[int]:
    pid = server.process.pid
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


def gone(*pids: int) -> bool:
    """A dead one that nobody has buried is gone, too."""
    stats = [Path(f"/proc/{pid}/stat") for pid in pids]
    return all(not stat.exists() or ") Z " in stat.read_text() for stat in stats)


def rated(client: httpx.Client, rate: float) -> bool:
    """One who is killed may have had the connection."""
    try:
        answer = client.post("/movies/m1/users/rate", json={"rate": rate})
    except httpx.TransportError:
        return False
    return answer.status_code == 200


def test_one_that_is_killed_comes_back_and_a_stop_drains_all(three):
    before = workers(three)
    assert len(before) == 3
    killed = min(before)
    os.kill(killed, signal.SIGKILL)
    with three.client("dora") as client:
        for rate in range(1, 11):
            eventually(lambda rate=rate: rated(client, rate), bool)
        assert client.get("/movies/m1/users/rate").json()["rate"] == 10
        assert client.delete("/movies/m1/users/rate").status_code == 204
    eventually(lambda: three.log.count("serving at"), (4).__eq__, within=START_SECONDS)
    after = workers(three)
    assert len(after) == 3
    assert before - after == {killed}
    three.stop()
    assert gone(*before, *after)


def test_ctrl_c_drains_all_once(three):
    """It reaches the whole group of a terminal: the parent tells the others, who else would hear
    it twice, and go at once."""
    found = workers(three)
    assert {os.getpgid(pid) for pid in found} == found  # what a terminal sends is not for them
    three.process.send_signal(signal.SIGINT)
    assert three.process.wait(15) == 0
    assert gone(*found)


def test_without_their_parent_they_stop(three):
    found = workers(three)
    three.kill()
    eventually(lambda: gone(*found), bool)
