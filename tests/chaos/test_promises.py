"""What is planted in the database by hand is found, said and put right, beside a running server."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.api.asking import Stage, eventually
from tests.chaos import ledger
from tests.chaos.ledger import Ledger, load, stock
from tests.support.commands import in_process
from tests.support.server import Server, marquee, serve

CLEAN = "all totals are what the ratings say\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("promises")) as server:
        yield server


@pytest.fixture
def stage(server: Server) -> Iterator[Stage]:
    with Stage(server) as stage:
        yield stage


def alter(server: Server, *statements: tuple[str, tuple[object, ...]]) -> None:
    database = server.data / "marquee.db"
    with closing(sqlite3.connect(database, timeout=10)) as connection, connection:
        for statement, values in statements:
            assert connection.execute(statement, values).rowcount, statement


def verify(server: Server) -> tuple[int, list[str]]:
    """The exit status, and of which movies it tells."""
    done = marquee("verify", data=server.data)
    assert not done.stderr
    *lines, last = done.stdout.splitlines()
    found = [line.partition(":")[0] for line in lines]
    movies = "1 movie" if len(found) == 1 else f"{len(found)} movies"
    assert last == (f"{movies} drifted" if found else CLEAN.strip())
    return done.returncode, found


def lost_applied_row(server: Server, movie: str) -> None:
    one = "SELECT min(rater) FROM applied WHERE movie_id = ?"
    alter(server, (f"DELETE FROM applied WHERE movie_id = ? AND rater = ({one})", (movie, movie)))


def lost_event(server: Server, movie: str) -> None:
    none = "number = 0, total = 0, rate = NULL, mean = NULL"
    alter(
        server,
        ("DELETE FROM applied WHERE movie_id = ?", (movie,)),
        (f"UPDATE movie SET distribution = ?, {none} WHERE id = ?", (json.dumps([0] * 20), movie)),
    )


def doubled_count(server: Server, movie: str) -> None:
    double = (
        "distribution = replace(distribution, '1', '2'), number = 2 * number, total = 2 * total"
    )
    alter(server, (f"UPDATE movie SET {double} WHERE id = ?", (movie,)))


def unreadable(server: Server, movie: str) -> None:
    alter(server, ("UPDATE movie SET distribution = '[0, 0,' WHERE id = ?", (movie,)))


def wrong_sum(server: Server, movie: str) -> None:
    alter(server, ("UPDATE movie SET total = total + 20 WHERE id = ?", (movie,)))


def wrong_number(server: Server, movie: str) -> None:
    alter(server, ("UPDATE movie SET number = number + 1 WHERE id = ?", (movie,)))


def wrong_rate(server: Server, movie: str) -> None:
    alter(server, ("UPDATE movie SET rate = 100, mean = 100 WHERE id = ?", (movie,)))


def wrong_value(server: Server, movie: str) -> None:
    alter(server, ("UPDATE applied SET value = value - 1 WHERE movie_id = ?", (movie,)))


def doubled_everywhere(server: Server, movie: str) -> None:
    """Also the applied rows say so: an orphan, long since applied."""
    orphan(server, movie, int(time.time()) - 700)


def orphan(server: Server, movie: str, seconds: int) -> None:
    alter(
        server,
        ("INSERT INTO applied VALUES (?, ?, ?, 20)", (movie, b"o" * 16, seconds * 1_000_000)),
    )


PLANTS = [
    lost_applied_row,
    lost_event,
    doubled_count,
    unreadable,
    wrong_sum,
    wrong_number,
    wrong_rate,
    wrong_value,
    doubled_everywhere,
]


@pytest.fixture
def untouched(stage: Stage) -> Iterator[str]:
    """A movie that nobody plants anything at."""
    movie = stage.rated((3, 9))
    before = stage.await_ratings(movie, 2)
    yield movie
    assert stage.ratings_of(movie) == before


def test_every_drift_is_found_and_put_right(server: Server, stage: Stage, untouched: str):
    movies = {plant: stage.rated((1, 2.5, 10), boxOffice=n) for n, plant in enumerate(PLANTS)}
    right = {movie: stage.await_ratings(movie, 3) for movie in movies.values()}
    young = stage.rated((4, 5.5))
    stage.await_ratings(young, 2)
    assert verify(server) == (0, [])
    for plant, movie in movies.items():
        plant(server, movie)
    orphan(server, young, int(time.time()) - 500)
    done = in_process("verify", data=server.data)
    assert done.returncode == 1
    *lines, last = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == sorted([*movies.values(), young])
    assert last == f"{len(lines)} movies drifted"
    doubled = movies[doubled_count]
    said = "the ratings say 3 of 13.5 points in all, the totals 6 of 27"
    assert f"{doubled}: {said}" in lines

    done = in_process("rebuild", "--movie", doubled, data=server.data)
    assert (done.returncode, done.stdout) == (0, "1 movie was put right\n")
    done = in_process("rebuild", "--drifted", data=server.data)
    assert done.returncode == 0
    # An orphan is left alone for ten minutes: its rating may be about to be stored.
    assert verify(server) == (1, [young])
    for movie, ratings in right.items():
        assert stage.ratings_of(movie) == ratings
    chart = [entry["id"] for entry in stage.chart(limit=250) if entry["id"] in right]
    assert chart == list(reversed(movies.values()))  # all rates are alike: by box office


def test_a_whole_rebuild_puts_right_them_too(server: Server, stage: Stage, untouched: str):
    movies = [stage.rated((4, 5)) for _ in PLANTS]
    right = [stage.await_ratings(movie, 2) for movie in movies]
    for plant, movie in zip(PLANTS, movies, strict=True):
        plant(server, movie)
    done = in_process("rebuild", data=server.data)
    assert (done.returncode, done.stdout) == (0, f"{len(movies)} movies were put right\n")
    assert [stage.ratings_of(movie) for movie in movies] == right


def test_no_false_alarm_under_load_and_drift_is_seen_all_the_same(tmp_path: Path):
    told = Ledger()
    with serve(tmp_path) as server:
        stock(server)
        with Stage(server) as stage, load(server, told, ledger.seed()):
            quiet = stage.rated((4, 5))
            stage.await_ratings(quiet, 2)
            assert verify(server) == (0, [])
            doubled_count(server, quiet)
            lost_event(server, "m1")
            status, found = verify(server)
            assert status == 1
            assert quiet in found
            assert set(found) <= {quiet, "m1"}
            assert marquee("rebuild", data=server.data).returncode == 0
            stage.await_ratings(quiet, 2)
        told.settle(server)
        assert verify(server) == (0, [])


def test_two_aggregators_on_one_file(tmp_path: Path):
    """The server's and an import's, over and over."""
    told = Ledger()
    with serve(tmp_path) as server, Stage(server) as stage:
        stock(server)
        movies = [stage.movie() for _ in range(20)]
        with load(server, told, ledger.seed()):
            for number in range(3):
                file = tmp_path / f"ratings-{number}.csv"
                rows = [
                    f"{user},{movie},{1 + number},2024-01-0{1 + number}T00:00:00Z"
                    for user in range(200)
                    for movie in movies
                ]
                file.write_text("\n".join(["userId,movieId,rate,ratedAt", *rows]))
                done = marquee("import", "ratings", str(file), data=server.data)
                assert done.returncode == 0, done
                for movie in movies:
                    stage.await_ratings(movie, 200)
        told.settle(server)
        for movie in movies:
            assert stage.ratings_of(movie)["totalRatingScore"] == 200 * 3
        assert verify(server) == (0, [])


# ---- poison


def send(server: Server, *row: object) -> None:
    """Into the outbox, as an event; an id of bytes stands there as a text that is no UTF-8."""
    values = "CAST(? AS TEXT), ?, ?, ?"
    alter(server, (f"INSERT INTO outbox (movie_id, rater, version, value) VALUES ({values})", row))


def letters(server: Server) -> list[str]:
    done = in_process("dead-letters", data=server.data)
    assert done.returncode == 0, done
    *lines, last = done.stdout.splitlines()
    assert last == f"{len(lines)} dead letter{'s' * (len(lines) != 1)}"
    return lines


def test_poison_stops_nobody(tmp_path: Path):
    now = time.time_ns() // 1000
    rater = b"p" * 16
    with serve(tmp_path) as server, Stage(server) as stage:
        movie = stage.movie()
        poison = [
            (movie, rater, now, 22),
            (movie, rater, now, -1),
            (movie, rater, 0, 10),
            (movie, b"short", now, 10),
            ("no id!", rater, now, 10),
            ("", rater, now, 10),
            (b"\xff", rater, now, 10),
        ]
        for row in poison:
            send(server, *row)
            stage.rate(movie, (6,))
        stage.rate(movie, (6, 7, 8))
        stage.await_ratings(movie, 3)
        found = letters(server)
        assert len(found) == len(poison)
        assert "the value is not 1-21" in found[0]
        eventually(lambda: server.figure("marquee_dead_letters"), lambda n: n == len(found))
        assert server.figure("marquee_events_behind") == 0
        assert verify(server) == (0, [])

        done = in_process("dead-letters", "retry", data=server.data)
        assert done.returncode == 1
        assert done.stdout.splitlines()[-1] == f"{len(found)} dead letters"
        assert len(letters(server)) == len(found)

        # Mended by hand: the first is the rating of somebody whom the store knows.
        mend(server, movie, value=12)
        done = in_process("dead-letters", "retry", data=server.data)
        assert done.returncode == 1, "the others are as they were"
        assert "Dead letter 1 is folded." in done.stdout
        assert len(letters(server)) == len(found) - 1
        eventually(lambda: server.figure("marquee_dead_letters"), lambda n: n == len(found) - 1)
        stage.await_ratings(movie, 4)


def mend(server: Server, movie: str, value: int) -> None:
    database = server.data / "marquee.db"
    with closing(sqlite3.connect(database, timeout=10)) as connection, connection:
        (raw,) = connection.execute("SELECT raw FROM dead_letter WHERE id = 1").fetchone()
        event = json.loads(raw)
        assert event["movieId"] == movie
        event["value"] = value
        raw = json.dumps(event).encode()
        connection.execute("UPDATE dead_letter SET raw = ? WHERE id = 1", (raw,))
