"""A backup: one .zip with a consistent copy of the file, the keys, and checksums of both."""

import hashlib
import json
import shutil
import sqlite3
import tempfile
import time
import zipfile
import zlib
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import IO

from ... import durable
from ...errors import Invalid, Unusable
from .database import ASIDE, connect, is_full, prepare, read_schema, unusable

DATABASE = "marquee.db"
SUMS = "SHA256SUMS.json"
BLOCK = 1 << 20
THERE = "{file} is there already: name another file."
NO_ZIP = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


def back_up(database: Path, keys: Path, file: Path) -> int:
    """Copy a database, also one that is being written, and its keys; the size of the backup.

    ``file`` is there whole, or not at all. Raises ``Invalid`` where something of that name is
    there already, ``Unusable`` where it can't be made, or could not be restored.
    """
    if file.exists():
        raise Invalid(THERE.format(file=file))
    if not database.exists():
        raise Unusable(f"There is nothing to back up: {database} does not exist.")
    try:
        with closing(sqlite3.connect(database)) as source:
            read_schema(source, database)  # no other would come back, nor is it ours to touch
        # Nobody else can look into it: the keys are in there, and who rated what.
        with tempfile.TemporaryDirectory(prefix="backing-up-", dir=file.parent) as folder:
            copy, draft = Path(folder) / DATABASE, Path(folder) / "backup.zip"
            with (
                closing(connect(database, read_only=True)) as source,
                closing(sqlite3.connect(copy)) as target,
            ):
                source.backup(target)  # in one step: between two, a write has it start anew
            check(copy)
            members = {DATABASE: copy}
            if keys.exists():  # listed, not matched: that would take what is denied for nothing
                members |= {f"keys/{key.name}": key for key in keys.iterdir() if key.match("*.pem")}
            sums = {}
            for name, path in members.items():
                with path.open("rb") as member:
                    sums[name] = digest(member)
            draft.touch(mode=0o600)
            with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
                archive.writestr(SUMS, json.dumps(sums, indent=1))
                for name, path in members.items():
                    archive.write(path, name)
            durable.put(draft, file)
    except FileExistsError as error:
        raise Invalid(THERE.format(file=file)) from error
    except sqlite3.Error as error:
        raise unusable(file if is_full(error) else database, error) from error  # we only write one
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise Unusable(f"The backup {file} can't be made: {error.strerror}{where}.") from error
    return file.stat().st_size


def restore(file: Path, members: Sequence[str], database: Path, keys: Path) -> Path | None:
    """Put a backup in place; where what was there went, if anything was.

    ``members``: what ``check_backup`` has found in it. The database itself is checked, too, before
    anything is touched. Raises ``Invalid`` where it is damaged, ``Unusable`` where it is too new,
    or somebody is at the data. Nobody may begin to meanwhile.
    """
    database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="restoring-", dir=database.parent) as folder:
        fresh = Path(folder)
        try:
            with zipfile.ZipFile(file) as archive:
                archive.extractall(fresh, members)
            check(fresh / DATABASE)
            with closing(sqlite3.connect(fresh / DATABASE)) as connection:
                read_schema(connection, file)
        except OSError as error:
            raise Unusable(f"{file} can't be unpacked: {error.strerror}.") from error
        except sqlite3.Error as error:
            if is_full(error):  # of what is unpacked nothing is known then
                raise unusable(database, error) from error
            raise Invalid(f"The database in {file} is damaged: {error}.") from error
        prepare(fresh / DATABASE)
        check_alone(database)
        return _exchange(fresh, database, keys)


def check_backup(file: Path) -> list[str]:
    """What is in a backup. Raises ``Invalid`` where it is none, or not as it was written."""
    try:
        with zipfile.ZipFile(file) as archive:
            sums: dict[str, str] = json.loads(archive.read(SUMS))
            for name, expected in sums.items():
                with archive.open(name) as member:
                    if digest(member) != expected:
                        raise Invalid(f"{name} in {file} is damaged: its checksum is wrong.")
    except OSError as error:
        raise Invalid(f"The backup {file} can't be read: {error.strerror}.") from error
    except (*NO_ZIP, ValueError, KeyError, AttributeError) as error:
        raise Invalid(f"{file} is no backup of Marquee's: {error}.") from error
    if DATABASE not in sums:
        raise Invalid(f"{file} is no backup of Marquee's: there is no {DATABASE} in it.")
    return list(sums)


def _exchange(fresh: Path, database: Path, keys: Path) -> Path | None:
    """The keys first, which may be on another disk: the database is away for a moment only."""
    there = [path for end in ("", "-wal", "-shm") if (path := Path(f"{database}{end}")).exists()]
    former = list(keys.iterdir()) if keys.exists() else []
    aside = None
    if there or former:
        now = time.strftime("%Y%m%d-%H%M%S")
        aside = Path(tempfile.mkdtemp(prefix=f"{ASIDE}{now}-", dir=database.parent))
    if aside and former:
        (aside / keys.name).mkdir(mode=0o700)
        for key in former:
            shutil.move(key, aside / keys.name)
    if (fresh / "keys").exists():
        keys.mkdir(mode=0o700, exist_ok=True)
        for key in (fresh / "keys").iterdir():
            key.chmod(0o600)
            shutil.move(key, keys)
            durable.flush(keys / key.name)  # what the database holds, SQLite has flushed
        durable.flush(keys)
    if aside:
        for path in there:
            path.rename(aside / path.name)
    (fresh / DATABASE).chmod(0o600)  # as it was: in it are who rated what
    (fresh / DATABASE).rename(database)
    durable.flush(database.parent)
    return aside


def check_alone(database: Path) -> None:
    """Raises ``Unusable`` where another process has the database open: what it wrote from then on
    would be kept aside with the file, and missed."""
    if not database.exists() or not database.stat().st_size:  # of an empty one SQLite drops the log
        return
    try:
        with closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as connection:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute("BEGIN IMMEDIATE")
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
            raise Unusable(
                f"Another command is at {database}: restore when it has come to its end."
            ) from error
        # Damaged, most likely: that is what backups are for.


def check(path: Path) -> None:
    """Raises ``sqlite3.DatabaseError`` where the file is damaged."""
    with closing(sqlite3.connect(path)) as connection:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if found != "ok":
        damaged = sqlite3.DatabaseError(found)
        damaged.sqlite_errorname = "SQLITE_CORRUPT"  # as where SQLite meets it by itself
        raise damaged


def digest(file: IO[bytes]) -> str:
    found = hashlib.sha256()
    while block := file.read(BLOCK):
        found.update(block)
    return found.hexdigest()
