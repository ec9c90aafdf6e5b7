"""The embedded store's file: copied while it is written, and read by whoever can."""

import asyncio
import errno
import os
import sqlite3
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from marquee.adapters import sqlite
from marquee.adapters.keys import OwnKeys
from marquee.adapters.sqlite import database as database_module
from marquee.adapters.sqlite.database import connect
from marquee.errors import Conflict, Invalid, StoreAway, Unusable
from marquee.model import Rating, RatingChanged, Totals
from marquee.ports import Batch
from tests.api.asking import eventually

LARGE = 48 << 20
"""Bytes: more than were ever copied at a time."""


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "data" / "marquee.db"
    sqlite.prepare(found)
    return found


@contextmanager
def written_all_the_while(path):
    """By another connection, without a pause."""
    enough = threading.Event()

    def write():
        with closing(connect(path)) as connection:
            while not enough.is_set():
                connection.execute("UPDATE revision SET number = number + 1")

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        try:
            yield
        finally:
            enough.set()
        writing.result(60)


def test_a_large_store_is_backed_up_however_much_is_written_meanwhile(path, tmp_path):
    with closing(connect(path)) as connection:
        connection.execute("CREATE TABLE filler AS SELECT zeroblob(?)", (LARGE,))
    with ThreadPoolExecutor(1) as pool, written_all_the_while(path):
        backing = pool.submit(sqlite.back_up, path, tmp_path / "keys", tmp_path / "backup")
        assert backing.result(120) > 0
    assert sqlite.check_backup(tmp_path / "backup") == ["marquee.db"]


def open_to_others(folder):
    """What others than its owner could read."""
    for entry in os.scandir(folder):
        mode = entry.stat().st_mode
        if stat.S_ISREG(mode) and mode & 0o077:
            yield entry.name
        elif stat.S_ISDIR(mode) and mode & 0o077:
            yield from open_to_others(entry)


def test_nobody_else_can_read_a_backup_not_even_while_it_is_made(path, tmp_path):
    """A key that is a pipe has it wait, first where it is summed up, then where it is packed."""
    (keys := tmp_path / "keys").mkdir(mode=0o700)
    os.mkfifo(keys / "slow.pem")
    (shared := tmp_path / "shared").mkdir()
    shared.chmod(0o755)

    found = set()

    def fed():
        """Whether it has come to its end; what it waits for, it gets."""
        with suppress(OSError):  # nobody reads it just now
            pipe = os.open(keys / "slow.pem", os.O_WRONLY | os.O_NONBLOCK)
            found.update(open_to_others(shared))
            os.close(pipe)
        return backing.done()

    with ThreadPoolExecutor(1) as pool:
        backing = pool.submit(sqlite.back_up, path, keys, shared / "backup")
        eventually(fed, lambda done: done, 60)
        assert backing.result() > 0
    assert found == set()
    assert stat.S_IMODE((shared / "backup").stat().st_mode) == 0o600


@pytest.fixture(params=[True, False], ids=["links", "no links"])
def links(request, monkeypatch):
    """Whether the file system has them: of a stick or a share, nobody can make one here."""

    def none(*_):
        raise PermissionError

    if not request.param:
        monkeypatch.setattr(os, "link", none)


def test_a_backup_is_there_under_its_name(links, path, tmp_path):
    assert sqlite.back_up(path, tmp_path / "none", tmp_path / "backup") > 0
    assert (tmp_path / "backup").exists()


def test_what_is_restored_survives_a_power_cut(path, tmp_path, monkeypatch):
    keys, there = tmp_path / "keys", tmp_path / "there"
    OwnKeys(keys)
    sqlite.back_up(path, keys, tmp_path / "backup")
    flushed, fsync = set(), os.fsync

    def flush(opened):
        flushed.add(os.fstat(opened).st_ino)
        fsync(opened)

    monkeypatch.setattr(os, "fsync", flush)
    members = sqlite.check_backup(tmp_path / "backup")
    sqlite.restore(tmp_path / "backup", members, there / "marquee.db", there / "keys")
    named = (there, there / "keys", *(there / "keys").iterdir())
    assert all(each.stat().st_ino in flushed for each in named)


def test_keys_may_be_on_another_disk_than_the_database(path, tmp_path, monkeypatch):
    keys = tmp_path / "elsewhere" / "keys"
    OwnKeys(keys)
    sqlite.back_up(path, keys, tmp_path / "backup")
    rename = os.rename

    def within(old, new):
        if len({keys in (Path(each), *Path(each).parents) for each in (old, new)}) > 1:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(old, new)

    monkeypatch.setattr(os, "rename", within)
    kept = (keys / "ed25519.pem").read_bytes()
    aside = sqlite.restore(
        tmp_path / "backup", sqlite.check_backup(tmp_path / "backup"), path, keys
    )
    for restored in (path, aside / path.name):
        sqlite.prepare(restored)
    for folder in (keys, aside / "keys"):
        assert (folder / "ed25519.pem").read_bytes() == kept
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_no_backup_is_made_of_what_is_not_ours(tmp_path):
    path = tmp_path / "others.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE theirs (one)")
    before = path.read_bytes()
    with pytest.raises(Unusable, match="not one of Marquee's"):
        sqlite.back_up(path, tmp_path / "none", tmp_path / "backup")
    assert path.read_bytes() == before
    assert not (tmp_path / "backup").exists()


def test_a_backup_takes_the_place_of_nothing_that_came_meanwhile(links, path, tmp_path):
    """A key that is a pipe has it wait until something is there."""
    (keys := tmp_path / "keys").mkdir()
    os.mkfifo(keys / "slow.pem")

    def fed():
        with suppress(OSError):
            pipe = os.open(keys / "slow.pem", os.O_WRONLY | os.O_NONBLOCK)
            (tmp_path / "backup").write_text("mine")
            os.close(pipe)
        return backing.done()

    with ThreadPoolExecutor(1) as pool:
        backing = pool.submit(sqlite.back_up, path, keys, tmp_path / "backup")
        eventually(fed, lambda done: done, 60)
    with pytest.raises(Invalid, match="there already"):
        backing.result()
    assert (tmp_path / "backup").read_text() == "mine"


def test_what_is_committed_is_kept_by_the_disk_of_a_mac_too(path):
    with closing(connect(path)) as connection:
        for pragma in ("fullfsync", "checkpoint_fullfsync"):
            assert connection.execute(f"PRAGMA {pragma}").fetchone() == (1,)


async def test_a_file_that_could_not_be_read_once_is_read_again(path):
    database = await sqlite.Database.open(path)
    elsewhere = path.parent.rename(path.parent.with_name("elsewhere"))
    for _ in range(2):
        with pytest.raises(StoreAway):
            await database.probe_reads()
    await database.probe()
    elsewhere.rename(path.parent)
    await database.probe_reads()
    await database.close()


async def test_nobody_waits_for_ever_for_a_disk_that_stands_still(path, monkeypatch):
    monkeypatch.setattr(database_module, "CALL_SECONDS", 0.1)
    goes_on = threading.Event()
    database = await sqlite.Database.open(path)
    try:
        stands = database.write(lambda _: goes_on.wait(60))
        waits = asyncio.create_task(database.remember("name", "value"))
        for answer in (stands, waits):
            with pytest.raises(StoreAway, match="does not answer"):
                await answer
        goes_on.set()
        await database.remember("another", "value")
        assert await database.recall("name") == "value"  # what was asked is done all the same
    finally:
        goes_on.set()
        await database.close()


async def test_one_that_fails_costs_the_others_of_its_commit_little(path):
    """They are answered all the same; but a commit for each would be as many flushes of the disk,
    and whoever asks meanwhile would wait for them, too."""

    def refuse(_):
        raise Conflict("There is one already.")

    begun = []
    database = await sqlite.Database.open(path)
    try:
        database.around(begun.append, lambda _: None)
        jobs = [lambda _, number=number: number for number in range(128)]
        jobs[77] = refuse
        answers = await asyncio.gather(*map(database.write, jobs), return_exceptions=True)
    finally:
        await database.close()
    assert isinstance(answers.pop(77), Conflict)
    assert answers == [number for number in range(128) if number != 77]
    assert len(begun) == 15  # all, then twice a half of what had failed


async def test_each_rating_of_a_commit_goes_above_the_one_before_it(path):
    """Also above one from the future, where no clock keeps them apart."""
    future = 2**52
    database = await sqlite.Database.open(path)
    try:
        store = await sqlite.SqliteRatings.open(database)
        await store.merge([Rating("u", "m", 5, future)])
        written = await asyncio.gather(*(store.write("u", "m", value) for value in (6, 7)))
        assert [rating.version for rating in written] == [future + 1, future + 2]
        assert await store.read("u", "m") == written[-1]
    finally:
        await database.close()


@pytest.mark.parametrize("damaged", ["[0, 0,", "[1]", "[]", "{}"])
async def test_totals_that_can_not_be_read_stop_no_event(path, damaged):
    """They count none, until a rebuild; what is rated meanwhile is no dead letter."""
    database = await sqlite.Database.open(path)
    try:
        totals = sqlite.SqliteTotals(database)
        await totals.fold(Batch([RatingChanged("m", bytes(16), 1, 20)]))
        with closing(connect(path)) as connection:
            connection.execute("UPDATE movie SET distribution = ?", (damaged,))
        assert await totals.fold(Batch([RatingChanged("m", b"x" * 16, 1, 20)])) == 1
        assert await totals.totals(["m"]) == [Totals((*[0] * 19, 1))]
        assert await totals.recount("m")
        assert await totals.totals(["m"]) == [Totals((*[0] * 19, 2))]
    finally:
        await database.close()
