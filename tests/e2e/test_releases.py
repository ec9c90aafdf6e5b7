"""Two releases on the same stores: the newer one migrates while the older one serves, both take
ratings and count those of the other, and the older one goes on when the newer one is gone.

The newer one is this one, copied, with one more step in each schema.
"""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import marquee as this_one
from tests.chaos.ledger import Ledger, load, seed, stock
from tests.support.server import Server, marquee, serve
from tests.support.system import stores

STEPS = {
    "sqlite": """
        ALTER TABLE rating ADD COLUMN device TEXT;
        ALTER TABLE nomination ADD COLUMN category TEXT;
        CREATE TABLE device (name TEXT PRIMARY KEY) STRICT;""",
    "postgres": """
        ALTER TABLE movie ADD COLUMN runtime integer;
        CREATE TABLE device (name text PRIMARY KEY);""",
    "cassandra": """
        ALTER TABLE rating ADD IF NOT EXISTS device text;
        CREATE TABLE IF NOT EXISTS device (name text PRIMARY KEY);""",
}
LEFT_ALONE = re.compile(r"the schema is newer \(schema (\d+), this Marquee knows \d+\)")
OTHERS = tuple(f"other-{number}" for number in range(4))
"""Users of the newer release, while the older one has its own."""


def newer(folder: Path, *, floor: bool) -> Path:
    """Make the newer release; the folder from which it is imported."""
    package = folder / "newer" / "marquee"
    shutil.copytree(Path(this_one.__file__).parent, package)
    told = package / "__init__.py"
    told.write_text(told.read_text().replace(this_one.__version__, "99.0.0"))
    for store, statements in STEPS.items():
        *_, last = sorted((package / "adapters" / store / "schema").iterdir())
        step = last.with_stem(f"{int(last.stem) + 1:04}")
        said = f"-- floor: {int(last.stem)}\n" if floor else ""
        step.write_text(f"-- What the next release needs.\n{said}{statements}\n")
    return package.parent


@contextmanager
def released(folder: Path) -> Iterator[None]:
    """What is started within is of that release."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(folder))
        assert "99.0.0" in marquee("--version").stdout
        yield


def command(*arguments: str, **settings: object) -> str:
    done = marquee(*arguments, within=120, **settings)
    assert done.returncode == 0, done
    return done.stdout


@pytest.mark.no_cover
def test_embedded_one_after_the_other(tmp_path: Path):
    next_one = newer(tmp_path, floor=True)
    told = Ledger()
    with serve(tmp_path) as server:
        stock(server)
        with load(server, told, seed()) as under:
            with released(next_one):
                assert "up to date" in command("migrate", data=server.data)
            under.await_answers(50)
        told.settle(server)
        server.stop()
        with released(next_one):
            server.start()
        with load(server, told, seed()) as under:
            under.await_answers(50)
        told.settle(server)
        server.stop()
        server.start()
        with load(server, told, seed()) as under:
            assert LEFT_ALONE.search(command("migrate", data=server.data))
            under.await_answers(50)
        told.settle(server)
    command("verify", data=server.data)
    with released(next_one):
        command("verify", data=server.data)


def test_without_a_floor_the_older_one_refuses(tmp_path: Path):
    backup = tmp_path / "backup.zip"
    with released(newer(tmp_path, floor=False)):
        command("migrate", data=tmp_path)
        command("backup", backup, data=tmp_path)
    data = tmp_path / "marquee.db"
    for refused, store in (("migrate", data), ("serve", data), (f"restore {backup}", backup)):
        done = marquee(*refused.split(), data=tmp_path)
        assert done.returncode == 2
        assert f"{store} was made by a newer Marquee" in done.stderr


@pytest.mark.servers
def test_on_servers_side_by_side(tmp_path: Path):
    next_one = newer(tmp_path, floor=True)
    mine, others = Ledger(), Ledger(OTHERS, [f"other-{number}" for number in range(8)])
    with stores() as urls:
        command("migrate", "--slots", "4", "--shards", "4", data=tmp_path / "data", **urls)
        older = Server(tmp_path, name="older", **urls)
        younger = Server(tmp_path, name="newer", **urls)
        try:
            older.start()
            stock(older, mine.movies + others.movies)
            with load(older, mine, seed()) as under:
                with released(next_one):
                    done = command("migrate", data=older.data, **urls)
                    assert done.count("up to date") == 3
                    younger.start()
                with load(younger, others, seed()) as beside:
                    beside.await_answers(100)
                    under.await_answers(100)
            # What the one was told the other one knows, and counts.
            mine.settle(younger)
            others.settle(older)

            younger.stop()
            older.stop()
            assert len(LEFT_ALONE.findall(command("migrate", data=older.data, **urls))) == 3
            older.start()
            with load(older, others, seed()) as under:
                under.await_answers(50)
            others.settle(older)
            older.stop()
            command("verify", data=older.data, **urls)
            with released(next_one):
                command("verify", data=older.data, **urls)
        finally:
            older.kill()
            younger.kill()
