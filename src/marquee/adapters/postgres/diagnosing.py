"""What an administrator should know of the shards, and what to do about it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg

from ...errors import Finding, Unusable
from .migrating import (
    EXISTS,
    FAR,
    Connection,
    agreed,
    first_line,
    number_of,
    one,
    open_shard,
    read_schema,
)
from .server import parameters
from .shards import MAP, prior_of
from .versions import named, steps

DURABLE = ("fsync", "full_page_writes", "synchronous_commit")
SETTING = "SELECT current_setting(%s)"
RECOVERY = "SELECT pg_is_in_recovery()"
SLOTS = "SELECT no, epoch, moving FROM slot"
RIGHTS = {
    "agreed": "SELECT",
    "dead_letter": "SELECT, INSERT, DELETE",
    "note": "SELECT, INSERT, UPDATE",
    "schema_version": "SELECT",
    "slot": "SELECT, UPDATE",
}
RIGHTS_AT_HOME = {
    "listed": "SELECT",
    "movie": "SELECT",
    "nomination": "SELECT, INSERT, UPDATE",
    "revision": "SELECT, UPDATE",
    "slot_map": "SELECT",
    "ten": "SELECT, UPDATE",
    "top10_rated_movie": "SELECT",
}
RIGHTS_OF_SLOT = {
    "applied_{}": "SELECT, INSERT, UPDATE",
    "listed_{}": "SELECT, INSERT, UPDATE, DELETE",
    "movie_{}": "SELECT, INSERT, UPDATE",
}
"""What serving takes, by table; `migrate` and `move-slots`, which make tables, take more."""

# Each by itself: of several, one is enough for has_table_privilege.
LACKING = """
    SELECT wanted, string_agg(lacks, ', ' ORDER BY no)
    FROM unnest(%s::text[], %s::text[]) WITH ORDINALITY AS asked (wanted, lacks, no)
    WHERE NOT has_table_privilege(to_regclass(wanted)::oid, lacks)
    GROUP BY wanted ORDER BY min(no)"""
GONE = "SELECT wanted FROM unnest(%s::text[]) AS wanted WHERE to_regclass(wanted) IS NULL"
MAY_BURY = "SELECT has_sequence_privilege('dead_letter_no', 'USAGE')"
MAY_REFRESH = """
    SELECT pg_has_role(relowner, 'USAGE') FROM pg_class
    WHERE oid = to_regclass('top10_rated_movie')"""
IS_UNIQUE = """
    SELECT EXISTS (SELECT FROM pg_index
        WHERE indrelid = to_regclass('top10_rated_movie') AND indisunique AND indisvalid)"""
SINGLE_ROWS = {
    "ten": "INSERT INTO ten VALUES ('', 0, 0);",
    "revision": "INSERT INTO revision VALUES (0);",
}
"""Tables of one row, and what puts it there."""
NO_ROW = "SELECT NOT EXISTS (SELECT FROM {table})"
MAY_READ = "SELECT count(*) FROM (SELECT FROM {table} LIMIT 1) AS first"
FOLLOWS = "SELECT NOT pg_is_in_recovery() OR EXISTS (SELECT FROM pg_stat_wal_receiver)"
LAG = """
    SELECT extract(epoch FROM now() - pg_last_xact_replay_timestamp())::integer
    WHERE pg_last_wal_receive_lsn() <> pg_last_wal_replay_lsn()"""
LATE = 60


def diagnose(urls: Sequence[str], read_url: str = "") -> list[Finding]:
    """Each server, and what is wrong with it and what to do; None where nothing is. Raises
    ``Unusable`` where an address is none."""
    for url in (*urls, *read_url.split()):
        parameters(url, {})
    home: dict[str, Any] = {}
    shards = [
        (f"movies, shard {number} ({named(url)})", trouble(url, number, home))
        for number, url in enumerate(urls)
    ]
    replicas = [
        (f"movies, replica ({named(url)})", trouble_of_replica(url)) for url in read_url.split()[:1]
    ]
    return [*shards, *replicas]


def trouble(url: str, number: int, home: dict[str, Any]) -> str | None:
    """``home``: what is agreed there, put in by the first shard and read for the others."""
    try:
        with open_shard(url) as shard:
            return next(troubles(shard, url, number, home), None)
    except Unusable as unusable:
        return str(unusable)
    except psycopg.Error as error:
        return f"It refuses: {first_line(error)}"


def troubles(shard: Connection, url: str, number: int, home: dict[str, Any]) -> Iterator[str]:
    if one(shard, RECOVERY):
        yield "It is a replica: name its primary, or promote it."
    if one(shard, SETTING, ("default_transaction_read_only",)) == "on":
        yield "It takes no writes: set default_transaction_read_only off."
    if not one(shard, EXISTS, ("schema_version",)):
        yield "It has no schema: run `marquee migrate`."
    yield from troubles_of_rights(shard, RIGHTS | (RIGHTS_AT_HOME if number == 0 else {}))
    if read_schema(shard, url).version < len(steps()):
        yield "Its schema is older than this Marquee: run `marquee migrate`."
    stands = agreed(shard)
    if not stands:
        yield "It is half made: run `marquee migrate` again, which goes on from there."
    if number == 0:
        home |= {"made_at": stands["made_at"], "prior": prior_of(stands)}
        home |= {"places": shard.execute(MAP).fetchall()}
        yield from troubles_of_the_ten(shard)
    if not home:
        return  # what the first shard would tell is not known
    if number_of(stands) != (home["made_at"], str(number)):
        yield "It is not that shard of this Marquee: name all in the order of the first `migrate`."
    if prior_of(stands) != home["prior"]:
        yield "It draws rates by an older prior: run `marquee migrate` again."
    yield from troubles_of_slots(shard, number, home["places"])
    yield from (
        f"{name} is off: what was acknowledged may be lost. Set it on."
        for name in DURABLE
        if one(shard, SETTING, (name,)) == "off"
    )


def troubles_of_the_ten(home: Connection) -> Iterator[str]:
    """What a refresh takes, besides rights."""
    if not one(home, IS_UNIQUE):
        yield (
            "The ten can't be refreshed while it is read: "
            "CREATE UNIQUE INDEX ON top10_rated_movie (id);"
        )
    for table, insert in SINGLE_ROWS.items():
        if one(home, NO_ROW.format(table=table)):
            yield f"{table} has lost its row: {insert}"


def troubles_of_slots(shard: Connection, number: int, places: Sequence[Any]) -> Iterator[str]:
    held = {slot: (epoch, moving) for slot, epoch, moving in shard.execute(SLOTS)}
    for slot, (holder, epoch) in enumerate(places):
        if holder == number and held.get(slot) != (epoch, False):
            yield f"Slot {slot} is paused or incomplete: run `marquee move-slots` for it again."
        if holder != number and slot in held:
            yield f"Slot {slot} was left behind by a move: run `marquee move-slots` for it again."
        if holder == number:
            wanted = {table.format(slot): rights for table, rights in RIGHTS_OF_SLOT.items()}
            yield from troubles_of_rights(shard, wanted)
        for table in FAR if number == 0 and holder != 0 else ():
            yield from troubles_of_reading(shard, f"far_{table}_{slot}", holder)


def troubles_of_rights(shard: Connection, wanted: Mapping[str, str]) -> Iterator[str]:
    if gone := [table for (table,) in shard.execute(GONE, (list(wanted),))]:
        yield f"It lacks {', '.join(gone)}: restore a backup of it."
    user, pairs = shard.info.user, [(t, r) for t, rs in wanted.items() for r in rs.split(", ")]
    lacking = shard.execute(LACKING, tuple(map(list, zip(*pairs, strict=True)))).fetchall()
    if lacking:
        grants = " ".join(f"GRANT {rights} ON {table} TO {user};" for table, rights in lacking)
        yield f"{user} lacks rights: {grants}"
    if "dead_letter" in wanted and not one(shard, MAY_BURY):
        yield f"{user} lacks rights: GRANT USAGE ON SEQUENCE dead_letter_no TO {user};"
    if "top10_rated_movie" in wanted and not one(shard, MAY_REFRESH):
        yield (
            f"{user} may not refresh the ten, which takes its owner: "
            f"ALTER MATERIALIZED VIEW top10_rated_movie OWNER TO {user};"
        )


def troubles_of_reading(home: Connection, table: str, holder: int) -> Iterator[str]:
    try:
        one(home, MAY_READ.format(table=table))
    except psycopg.Error as error:
        yield (
            f"It can't read shard {holder} ({first_line(error)}): let it connect there, and run "
            "`marquee migrate` where address or password have changed."
        )


def trouble_of_replica(url: str) -> str | None:
    try:
        with open_shard(url) as replica:
            for table in ("listed", "movie", "nomination", "ten"):
                one(replica, MAY_READ.format(table=table))
            if not one(replica, FOLLOWS):
                return "It does not follow its primary: see its log."
            lag = one(replica, LAG) or 0
    except Unusable as unusable:
        return str(unusable)
    except psycopg.Error as error:
        return f"It can't be read: {first_line(error)}. Run `marquee migrate`, which grants that."
    if lag > LATE:
        return f"It is {lag} s behind its primary: lists are read from the primary meanwhile."
    return None
