"""The schema of the shards, from numbered files; what is agreed on; and how home reads the others.

Everything here is done by commands, one at a time (an advisory lock at home), and looks first at
what stands: it can be run again after it was cut short anywhere.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ...errors import StoreAway, Unusable
from ...model import Prior
from ...schemas import Priors, Schema, Tell, in_silence, told, unchanged
from .server import parameters
from .shards import AGREED, MAP, dict_of, prior_of
from .versions import VERSION, check_known, named, schema_of, steps

SLOTS = 16
OLDEST = 15
MIGRATING = 0x4D525146

TRY_LOCK = "SELECT pg_try_advisory_lock(%s)"
LOCK = "SELECT pg_advisory_lock(%s)"
LOCK_TIMEOUT = "60s"
EXISTS = "SELECT to_regclass(%s) IS NOT NULL"
EMPTY = """
    SELECT NOT EXISTS (
        SELECT FROM pg_class WHERE relnamespace = current_schema::regnamespace AND NOT EXISTS (
            SELECT FROM pg_depend  -- of an extension
            WHERE classid = 'pg_class'::regclass AND objid = pg_class.oid AND deptype = 'e'))"""
ENCODING = "SHOW server_encoding"
KEEP_VERSIONS = "CREATE TABLE schema_version (number integer NOT NULL, at timestamptz NOT NULL)"
KEEP_FLOORS = "ALTER TABLE schema_version ADD COLUMN IF NOT EXISTS floor integer"
KEEP_VERSION = "INSERT INTO schema_version (number, floor, at) VALUES (%s, %s, now())"

KEEP = """
    INSERT INTO agreed VALUES (%s, %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value"""
PLACE = "INSERT INTO slot_map (slot, shard, epoch) VALUES (%s, %s, %s)"
HELD = "SELECT no FROM slot ORDER BY no"
HELD_ALONE = f"{HELD} FOR UPDATE"
TAKE = "SELECT make_slot(%(no)s), attach_slot(%(no)s)"
HOLD = "INSERT INTO slot (no, epoch) VALUES (%s, %s)"

RATE = """
    CREATE OR REPLACE FUNCTION rate_tenths(number bigint, total bigint) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN CASE WHEN number > 0
        THEN (50 * total + {mean} + 5 * (number + {weight})) / (10 * (number + {weight})) END"""
DRAW_ANEW = "UPDATE {table} SET number = number WHERE number > 0"

EXTENSION = "CREATE EXTENSION IF NOT EXISTS postgres_fdw"
SERVER_OPTIONS = "SELECT srvoptions FROM pg_foreign_server WHERE srvname = %s"
CREATE_SERVER = "CREATE SERVER {server} FOREIGN DATA WRAPPER postgres_fdw"
ALTER_SERVER = "ALTER SERVER {server} OPTIONS ({options})"
FORGET_LOGIN = "DROP USER MAPPING IF EXISTS FOR {user} SERVER {server}"
KEEP_LOGIN = "CREATE USER MAPPING FOR {user} SERVER {server} OPTIONS ({options})"
FAR_TABLES = """
    SELECT ftrelid::regclass::text, srvname
    FROM pg_foreign_table JOIN pg_foreign_server AS server ON ftserver = server.oid"""
FAR_TABLE = """
    CREATE FOREIGN TABLE {far} PARTITION OF {parent} FOR VALUES IN ({slot}) SERVER {server}
    OPTIONS (schema_name {schema}, table_name {table}, fetch_size {rows})"""
FAR = {"movie": "50", "listed": "500"}
"""What home reads of other shards, and how many rows at a time: the ten need few."""

FAR_SETTINGS = {
    "statement_timeout": "8s",
    "jit": "off",
    # Who asks in order wants the first rows soon; who does not, wants the few that there are.
    "cursor_tuple_fraction": "0.001",
    "enable_seqscan": "off",
}
LOGIN = ("user", "password", "passfile", "sslpassword", "sslcert", "sslkey")
"""Of an address, what belongs to the user mapping."""

GRANTS = """
    GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {reader};
    GRANT USAGE ON SCHEMA {schema} TO {reader}"""

Connection = psycopg.Connection[tuple[Any, ...]]


def migrate(
    urls: Sequence[str],
    slots: int | None = None,
    prior: Priors = unchanged,
    read_url: str = "",
    tell: Tell = in_silence,
) -> list[str]:
    """Make or upgrade the schema of every shard, home first; what was done.

    ``slots``: their number, which is settled for ever when the stores are made (16). ``prior``:
    what settings make of the one that stands; where it is another one, every rate is drawn anew.
    ``tell``: hears of whom it waits for. Raises ``Unusable``, ``StoreAway`` where that takes long.
    """
    with all_of(urls, make=True, tell=tell) as shards:
        home = shards[0]
        done = [upgrade(shard, url) for shard, url in zip(shards, urls, strict=True)]
        places = settle(shards, slots, prior)
        for number, shard in enumerate(shards):
            hold(home, shard, number, places)
        let_home_read(shards, urls, places, read_url)
        now = prior(prior_of(agreed(home)))
        drawn = [draw_anew(shard, now) for shard in reversed(shards)]  # home last: it is asked
        if any(drawn):
            done.append(f"every rate is drawn by the prior {now}")
        return done


@contextmanager
def all_of(
    urls: Sequence[str], *, make: bool = False, tell: Tell = in_silence
) -> Iterator[list[Connection]]:
    """Connections to all shards, while nobody else migrates or moves. Raises ``Unusable``, and
    ``StoreAway`` where somebody else does for long."""
    for url in urls:
        parameters(url, {})
    with ExitStack() as stack:
        shards: list[Connection] = []
        try:
            for url in urls:
                shards.append(stack.enter_context(open_shard(url, make=make)))
                if len(shards) == 1:
                    take_turn(shards[0], tell)
            yield shards
        except psycopg.Error as error:
            raise Unusable(f"The movie store refuses: {first_line(error)}") from error


def take_turn(home: Connection, tell: Tell) -> None:
    if one(home, TRY_LOCK, (MIGRATING,)):
        return
    tell("Somebody else migrates the movie store, or moves its slots: waiting until that is done.")
    try:
        home.execute(LOCK, (MIGRATING,))
    except psycopg.errors.LockNotAvailable as error:
        raise StoreAway(
            "Somebody else still migrates the movie store, or moves its slots: try again when that "
            "is done."
        ) from error


@contextmanager
def open_shard(url: str, *, make: bool = False) -> Iterator[Connection]:
    try:
        connection = connect(url)
    except psycopg.OperationalError as error:
        if not make or "does not exist" not in str(error):
            raise Unusable(f"{named(url)} can't be used: {first_line(error)}") from error
        create_database(url)
        connection = connect(url)
    with connection:
        yield connection


def connect(url: str) -> Connection:
    theirs = conninfo_to_dict(url).get("options") or ""
    options = f"{theirs} -c lock_timeout={LOCK_TIMEOUT} -c statement_timeout=0".strip()
    return psycopg.connect(
        url, autocommit=True, connect_timeout=5, options=options, application_name="marquee migrate"
    )


def create_database(url: str) -> None:
    name = conninfo_to_dict(url).get("dbname")
    if not name:
        raise Unusable(f"{named(url)} names no database: postgresql://…/DATABASE.")
    make = sql.SQL("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    try:
        with connect(make_conninfo(url, dbname="postgres")) as beside:
            beside.execute(make.format(name=sql.Identifier(str(name))))
    except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
        return  # another one was quicker
    except psycopg.Error as error:
        raise Unusable(
            f"There is no {named(url)}, and it can't be made: {first_line(error)}"
        ) from error


# ---- each shard --------------------------------------------------------------------------------


def upgrade(shard: Connection, url: str) -> str:
    with shard.transaction():
        schema, known = read_schema(shard, url), steps()
        missing = known[schema.version :]
        if missing:
            shard.execute(KEEP_FLOORS)
        for step in missing:
            shard.execute(step.script)
            shard.execute(KEEP_VERSION, (step.number, step.floor))
    return f"{named(url)}: {told(schema, len(known))}"


def read_schema(shard: Connection, url: str) -> Schema:
    """What a database has had. Raises ``Unusable`` where it is none of ours, or too new."""
    if shard.info.server_version < 10_000 * OLDEST:
        raise Unusable(f"{named(url)} is older than PostgreSQL {OLDEST}: upgrade it.")
    if one(shard, ENCODING) != "UTF8":
        raise Unusable(f"{named(url)} does not keep UTF-8: make it anew with ENCODING 'UTF8'.")
    if not one(shard, EXISTS, ("schema_version",)):
        if not one(shard, EMPTY):
            raise Unusable(f"{named(url)} is a database, but not one of Marquee's.")
        shard.execute(KEEP_VERSIONS)
    schema = schema_of(shard.execute(VERSION).fetchall())
    check_known(schema, url)
    return schema


def settle(shards: Sequence[Connection], slots: int | None, prior: Priors) -> list[tuple[int, int]]:
    """Agree on slots, their map and the numbers of the shards; what stands there is not changed.
    The map: of each slot its shard and epoch."""
    home = shards[0]
    with home.transaction():
        if "made_at" not in agreed(home):
            # Also where each slot's epochs begin: those of another set of shards never match.
            made_at = time.time_ns() // 1000
            number = slots or SLOTS
            first = {"made_at": made_at, "shard": 0, "slots": number} | prior_rows(Prior())
            keep(home, first)
            rows = [(slot, slot % len(shards), made_at) for slot in range(number)]
            home.cursor().executemany(PLACE, rows)
            draw_anew(home, prior(Prior()))  # at once: nobody ever meets another one
    stands = agreed(home)
    if slots is not None and slots != int(stands["slots"]):
        raise Unusable(
            f"The movie store was made with {stands['slots']} slots, for ever: it can't have "
            f"{slots}."
        )
    for number, shard in enumerate(shards):
        found = agreed(shard)
        if not found:
            keep(shard, {"made_at": stands["made_at"], "shard": number} | prior_rows(Prior()))
        elif number_of(found) != (stands["made_at"], str(number)):
            raise Unusable(
                f"The database number {number + 1} of movies_url is not that shard of this "
                "Marquee: name them in the order in which `marquee migrate` met them, new ones "
                "last."
            )
    places = [(shard, epoch) for shard, epoch in home.execute(MAP)]
    if max(shard for shard, _ in places) >= len(shards):
        raise Unusable("movies_url lacks a shard that holds movies: name all of them.")
    return places


def hold(
    home: Connection, shard: Connection, number: int, places: Sequence[tuple[int, int]]
) -> None:
    """Make the slots of a shard that is met for the first time. Raises ``Unusable`` where one that
    was met before has lost some."""
    held = {slot for (slot,) in shard.execute(HELD)}
    met = f"met_{number}"
    for slot, (holder, epoch) in enumerate(places):
        if holder != number or slot in held:
            continue
        if met in agreed(home):
            raise Unusable(
                f"The database number {number + 1} of movies_url lacks slot {slot}, which is its "
                "own: restore a backup of it."
            )
        with shard.transaction():
            shard.execute(TAKE, {"no": slot})
            shard.execute(HOLD, (slot, epoch))
    keep(home, {met: "yes"})


def draw_anew(shard: Connection, prior: Prior) -> bool:
    """Have a shard draw its rates by another prior; whether it is another one."""
    if prior_of(agreed(shard)) == prior:
        return False
    with shard.transaction():
        slots = shard.execute(HELD_ALONE).fetchall()  # else who is writing draws as before, unseen
        shard.execute(RATE.format(weight=prior.weight, mean=prior.weight * prior.mean))
        for (slot,) in slots:
            shard.execute(DRAW_ANEW.format(table=f"movie_{slot}"))
        keep(shard, prior_rows(prior))
    return True


# ---- home reads the others ---------------------------------------------------------------------


def let_home_read(
    shards: Sequence[Connection],
    urls: Sequence[str],
    places: Sequence[tuple[int, int]],
    read_url: str,
) -> None:
    home = shards[0]
    users = {home.info.user}
    if read_url and (reader := conninfo_to_dict(read_url.split(maxsplit=1)[0]).get("user")):
        users.add(str(reader))
    if len(urls) > 1:
        allow_reading_elsewhere(home)
    with home.transaction():
        for number, url in enumerate(urls[1:], 1):
            know_server(home, server_of(number), url, users)
        there = dict_of(home.execute(FAR_TABLES))
        for slot, (shard, _) in enumerate(places):
            far = {there.get(f"far_{parent}_{slot}") for parent in FAR}
            if shard and far != {server_of(shard)}:
                reach(shards, slot, shard)
        for reader in users - {home.info.user}:
            grant(home, reader)


def allow_reading_elsewhere(home: Connection) -> None:
    try:
        home.execute(EXTENSION)
    except psycopg.errors.InsufficientPrivilege as error:
        raise Unusable(
            "Several shards need the extension postgres_fdw at the first: have an administrator "
            f"run CREATE EXTENSION postgres_fdw; GRANT USAGE ON FOREIGN DATA WRAPPER postgres_fdw "
            f"TO {home.info.user}; there."
        ) from error


def know_server(home: Connection, name: str, url: str, users: set[str]) -> None:
    """Write down a shard's address at home, and how its users log in there."""
    told = {key: str(value) for key, value in conninfo_to_dict(url).items() if value is not None}
    login = {key: told.pop(key) for key in LOGIN if key in told}
    options = " ".join(f"-c {key}={value}" for key, value in FAR_SETTINGS.items())
    wanted = told | {"options": options, "connect_timeout": "2", "keep_connections": "on"}
    there = home.execute(SERVER_OPTIONS, (name,)).fetchone()
    if there is None:
        run(home, CREATE_SERVER, server=sql.Identifier(name))
    stands = dict(option.split("=", 1) for option in (there and there[0]) or ())
    changed = [
        sql.SQL("SET {} {}" if key in stands else "ADD {} {}").format(
            sql.Identifier(key), sql.Literal(value)
        )
        for key, value in wanted.items()
    ]
    changed += [sql.SQL("DROP {}").format(sql.Identifier(key)) for key in stands.keys() - wanted]
    run(home, ALTER_SERVER, server=sql.Identifier(name), options=sql.SQL(", ").join(changed))
    pairs = [sql.SQL("{} {}").format(sql.Identifier(k), sql.Literal(v)) for k, v in login.items()]
    for user in users:
        which = {"user": sql.Identifier(user), "server": sql.Identifier(name)}
        run(home, FORGET_LOGIN, **which)
        run(home, KEEP_LOGIN, **which, options=sql.SQL(", ").join(pairs))


def reach(shards: Sequence[Connection], slot: int, shard: int) -> None:
    """Have home read a slot from its shard, wherever it read it from before."""
    home, schema = shards[0], schema_in(shards[shard])
    for parent, rows in FAR.items():
        far = sql.Identifier(f"far_{parent}_{slot}")
        run(home, "DROP FOREIGN TABLE IF EXISTS {far}", far=far)
        run(
            home,
            FAR_TABLE,
            far=far,
            parent=sql.Identifier(parent),
            slot=sql.Literal(slot),
            server=sql.Identifier(server_of(shard)),
            schema=sql.Literal(schema),
            table=sql.Literal(f"{parent}_{slot}"),
            rows=sql.Literal(rows),
        )


def schema_in(shard: Connection) -> str:
    return str(one(shard, "SELECT current_schema"))


def grant(home: Connection, reader: str) -> None:
    schema = sql.Identifier(schema_in(home))
    run(home, GRANTS, schema=schema, reader=sql.Identifier(reader))


def server_of(shard: int) -> str:
    return f"shard_{shard}"


# ---- small things ------------------------------------------------------------------------------


def one(connection: Connection, query: str, values: Sequence[Any] = ()) -> Any:
    row = connection.execute(query, values).fetchone()
    return row and row[0]


def run(connection: Connection, query: str, **parts: sql.Composable) -> None:
    connection.execute(sql.SQL(query).format(**parts))


def agreed(shard: Connection) -> dict[str, str]:
    return dict_of(shard.execute(AGREED))


def keep(shard: Connection, values: Mapping[str, Any]) -> None:
    shard.cursor().executemany(KEEP, [(name, str(value)) for name, value in values.items()])


def number_of(agreed: Mapping[str, str]) -> tuple[str | None, str | None]:
    """Of which set of shards one is, and its number there."""
    return agreed.get("made_at"), agreed.get("shard")


def prior_rows(prior: Prior) -> dict[str, int]:
    return {"prior_weight": prior.weight, "prior_mean": prior.mean}


def first_line(error: psycopg.Error) -> str:
    return str(error).strip().partition("\n")[0]
