"""``python -m engine``: starts what is missing, stops what it started, signals no stranger; and how
tests get their servers from it. Every adapter's tests show that the servers are of use."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from engine.engine import Engine, default_engine
from engine.errors import EngineError
from engine.server import Server
from tests.api.asking import eventually
from tests.data import MADE_UP, ROOT
from tests.support.engine import LOUDLY, UNMARKED, own

pytestmark = pytest.mark.servers

CACHE = default_engine().cache
SERVERS = ["postgres-1", "postgres-2", "redis"]


def run(folder, *arguments, **environment):
    return subprocess.run(
        [sys.executable, *arguments],
        check=False,
        cwd=ROOT,
        env=os.environ
        | {"MARQUEE_TEST_ENGINE": str(folder), "MARQUEE_TEST_ENGINE_CACHE": str(CACHE)}
        | environment,
        capture_output=True,
        text=True,
        timeout=110,
    )


def command(folder, *arguments):
    done = run(folder, "-m", "engine", *arguments)
    assert done.returncode == 0, done
    return done.stdout


def pids(folder):
    """As people find them."""
    return {file.parent.name: int(file.read_text()) for file in folder.glob("*/pid")}


def lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where two parts run."""
    folder = tmp_path_factory.mktemp("engine")
    try:
        command(folder, "start", "postgres", "redis")
        yield folder
    finally:
        command(folder, "stop")


def test_each_has_its_folder_and_its_variables(folder):
    assert sorted(pids(folder)) == SERVERS
    assert all(map(lives, pids(folder).values()))
    told = command(folder, "env").splitlines()
    assert [line.partition("=")[0] for line in told] == [
        "MARQUEE_MOVIES_URL",
        "MARQUEE_TEST_POSTGRES_ADMIN_URL",
        "MARQUEE_CACHE_URL",
        "MARQUEE_TEST_REDIS_URL",
    ]


def test_only_what_is_missing_is_started(folder):
    before, told = pids(folder), command(folder, "env")
    command(folder, "start", "postgres", "redis")
    assert pids(folder) == before
    os.kill(before["postgres-2"], signal.SIGKILL)
    command(folder, "start", "postgres", "redis")
    after = pids(folder)
    assert {name for name in SERVERS if after[name] != before[name]} == {"postgres-2"}
    assert command(folder, "env") == told


def test_a_frozen_one_goes_on(folder):
    os.kill(pids(folder)["redis"], signal.SIGSTOP)
    before = pids(folder)
    command(folder, "start", "redis")
    assert pids(folder) == before


def test_no_stranger_is_signalled(tmp_path):
    with own(tmp_path, "redis") as engine:
        stranger = subprocess.Popen(["sleep", "100"])  # begun later than redis
        try:
            redis = engine.server("redis")
            redis.kill()
            # The number has gone to somebody else meanwhile.
            (redis.folder / "pid").write_text(str(stranger.pid))
            assert redis.pid is None
            redis.start()
            ours = redis.pid
            assert ours not in (None, stranger.pid)
            engine.stop()
            assert not lives(ours)
            assert stranger.poll() is None
        finally:
            stranger.kill()
            stranger.wait()


def test_stop_ends_ours_and_forgets_them(tmp_path, folder):
    with own(tmp_path, "redis") as engine:
        (pid,) = pids(tmp_path).values()
        assert engine.wanted == ["redis"]
    assert not lives(pid)
    assert pids(tmp_path) == {}
    assert engine.wanted == []
    assert all(map(lives, pids(folder).values()))


def test_one_that_cannot_start_says_why(tmp_path):
    class Broken(Server):
        def command(self):
            return ["sh", "-c", "echo no such luck; exit 3"]

        def answers(self):
            return False

    done = run(tmp_path, "-m", "engine", "start", "rediss")
    assert done.returncode == 2
    assert "there is no 'rediss'" in done.stderr
    with pytest.raises(EngineError, match="no such luck"):
        Broken(tmp_path / "broken").start()


# ---- for tests ---------------------------------------------------------------------------------

NEEDY = """
import pytest
from tests.support import engine

@pytest.mark.servers
@pytest.mark.parametrize("n", range(4))
def test_needs_redis(n):
    assert engine.need("redis")["MARQUEE_CACHE_URL"].startswith("redis://")
"""


def session(folder, *arguments, needy=NEEDY, **environment):
    """Run a session of two processes that needs Redis."""
    file = folder / "test_needy.py"
    file.write_text(needy)
    options = "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", "-o", "addopts="
    return run(folder, *options, *arguments, "--rootdir", folder, file, **environment)


def test_a_session_stops_what_it_started(tmp_path):
    done = session(tmp_path, "-n2")
    assert "4 passed" in done.stdout, done
    assert (tmp_path / "redis" / "log").exists()
    assert pids(tmp_path) == {}


def test_sessions_may_end_at_once(tmp_path):
    mark = tmp_path / "borrowed" / "redis"
    mark.parent.mkdir()
    mark.touch()
    end = "-c", "from tests.support import engine; engine.stop_unused()"
    with ThreadPoolExecutor() as pool:
        with Engine(tmp_path).borrowing():
            sessions = [pool.submit(run, tmp_path, *end) for _ in range(2)]
            eventually(lambda: waiting(tmp_path / "borrowed.lock"), (2).__eq__, 60)
        assert [session.result().stderr for session in sessions] == ["", ""]
    assert not mark.exists()


def waiting(lock):
    """How many processes wait for it."""
    locks = Path("/proc/locks").read_text().splitlines()
    return sum("->" in line and f":{lock.stat().st_ino} " in line for line in locks)


def test_a_session_leaves_what_ran_before(tmp_path):
    with own(tmp_path, "redis"):
        before = pids(tmp_path)
        assert "4 passed" in session(tmp_path).stdout
        assert pids(tmp_path) == before
        assert Engine(tmp_path).server("redis").pid == before["redis"]


@pytest.mark.parametrize(("ci", "outcome"), [("", "4 skipped"), ("true", "4 failed")])
def test_what_cannot_be_had_is_said_loudly(tmp_path, ci, outcome):
    done = session(tmp_path, PATH="/nowhere", CI=ci, MARQUEE_TEST_DATA=str(MADE_UP))
    assert outcome in done.stdout
    assert "redis-server must be installed first" in done.stdout
    assert ci or LOUDLY in done.stdout


def test_who_is_not_marked_has_none(tmp_path):
    done = session(tmp_path, needy=NEEDY.replace("@pytest.mark.servers\n", ""))
    assert "4 failed" in done.stdout
    assert UNMARKED in done.stdout
