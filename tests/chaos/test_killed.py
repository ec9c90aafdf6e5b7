"""Whatever happens to the process, nothing acknowledged is lost and nothing is counted twice."""

import os
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from random import Random

import pytest

from tests.api.asking import eventually
from tests.chaos import ledger
from tests.chaos.ledger import ROUNDS, Ledger, load, stock, totals
from tests.support.commands import in_process
from tests.support.server import COMMAND, Server, environment, marquee, serve

pytestmark = pytest.mark.no_cover


def verify(server: Server) -> None:
    done = in_process("verify", data=server.data)
    assert (done.returncode, done.stdout) == (0, "all totals are what the ratings say\n"), done


def start_and_kill(server: Server, after: float) -> None:
    """A start that is cut short: it may be in the middle of its recovery."""
    process = subprocess.Popen(
        [COMMAND, "serve", "--data", server.data, "--port", "0", "--no-demo"],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        process.wait(after)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def test_kill_9_under_load(tmp_path):
    seed = ledger.seed()
    dice = Random(seed)
    told = Ledger()
    with serve(tmp_path) as server:
        stock(server)
        for number in range(ROUNDS or 5):
            with load(server, told, f"{seed} {number}") as under:
                under.await_answers(20)
                time.sleep(dice.uniform(0, 0.5))  # the moment at which it dies
                server.kill()
            if dice.random() < 0.3:
                start_and_kill(server, dice.uniform(0.2, 1.0))
            if number % 2:
                verify(server)  # with nobody there who folds what was left
            server.start()
            told.settle(server)
        verify(server)


def test_an_import_killed_and_gone_on(tmp_path):
    """Beside a server, again and again: in the end each rating of the file is there once."""
    users, movies = 2000, 10
    file = tmp_path / "ratings.csv"
    rows = [
        f"u{user},m{movie},{1 + user % 10},2024-01-01T00:00:00Z"
        for user in range(users)
        for movie in range(movies)
    ]
    file.write_text("\n".join(["userId,movieId,rate,ratedAt", *rows]))
    dice = Random(ledger.seed())
    with serve(tmp_path) as server, server.client() as client:
        with server.client("editor", "movies:write") as editor:
            for movie in range(movies):
                assert editor.put(f"/movies/m{movie}", json={"title": "M"}).is_success
        for share in sorted(dice.uniform(0, 0.9) for _ in range(ROUNDS or 3)):
            process = subprocess.Popen(
                [COMMAND, "import", "ratings", file],
                env=environment(data=server.data),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            while process.poll() is None and stored(server) <= share * users * movies:
                time.sleep(0.001)
            process.kill()
            process.wait()
        done = marquee("import", "ratings", str(file), data=server.data)
        assert done.returncode == 0, done
        each = {float(1 + rate): users // 10 for rate in range(10)}
        for movie in range(movies):
            eventually(lambda m=movie: totals(client, f"m{m}"), lambda t: t == each)
        verify(server)


def stored(server: Server) -> int:
    with closing(sqlite3.connect(server.data / "marquee.db", timeout=10)) as connection:
        (count,) = connection.execute("SELECT count(*) FROM rating").fetchone()
    return count


def test_frozen_under_load(tmp_path):
    told = Ledger()
    with serve(tmp_path) as server:
        stock(server)
        with load(server, told, ledger.seed()) as under:
            for seconds in (1, 12) if ROUNDS else (0.5, 1.5):
                os.kill(server.process.pid, signal.SIGSTOP)
                time.sleep(seconds)
                os.kill(server.process.pid, signal.SIGCONT)
                under.await_answers(100)
        told.settle(server)
        verify(server)


def test_stopped_under_load(tmp_path):
    told = Ledger()
    with serve(tmp_path) as server:
        stock(server)
        with load(server, told, ledger.seed()) as under:
            under.await_answers(100)
            server.stop()  # exit status 0, it says
        assert not under.refusals
        server.start()
        told.settle(server)
        verify(server)
