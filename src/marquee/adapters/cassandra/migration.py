"""The schema: numbered files, and what all processes must agree on, made once."""

import re
import secrets
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib import resources
from typing import Any

from cassandra import InvalidRequest
from cassandra.cluster import Session
from cassandra.query import SimpleStatement

from ...errors import NotMade, StoreAway, Unusable
from ...schemas import Schema, Step, Tell, check_fits, in_silence, read_steps, told
from .address import Address, check_overlap, parse
from .driver import ERRORS, TIME, connected, copies_of, datacenter_of, serial_level

SHARDS = 16
MINUTE = 60_000_000
LOCK_SECONDS = 60
STEP_SECONDS = 30.0
MIGRATE = "run `marquee migrate`"

MAKE_KEYSPACE = """
    CREATE KEYSPACE IF NOT EXISTS {keyspace}
    WITH replication = {{'class': 'NetworkTopologyStrategy', '{datacenter}': {copies}}}"""

# What all processes have in common, and notes. Of two that make a table at once through two nodes
# each makes its own, unless they give it one id. All others are made under a lock that is in this.
MAKE_AGREEMENT = """
    CREATE TABLE IF NOT EXISTS agreement (name text PRIMARY KEY, value text) WITH id = {id}"""

MADE = re.compile(r"CREATE TABLE IF NOT EXISTS (\w+)")

READ = "SELECT value FROM agreement WHERE name = %s"
SETTLE = "INSERT INTO agreement (name, value) VALUES (%s, %s) IF NOT EXISTS"
CHANGE = "UPDATE agreement SET value = %s WHERE name = %s IF value = %s"
LOCK = f"""
    INSERT INTO agreement (name, value) VALUES ('migrating', %s) IF NOT EXISTS
    USING TTL {LOCK_SECONDS}"""
HOLD = f"""
    UPDATE agreement USING TTL {LOCK_SECONDS} SET value = %s WHERE name = 'migrating'
    IF value = %s"""
UNLOCK = "DELETE FROM agreement WHERE name = 'migrating' IF value = %s"
BEGIN_SHARD = """
    INSERT INTO lease (shard, relay, until, swept) VALUES (%s, '', 0, %s) IF NOT EXISTS"""
ANY = "SELECT * FROM {keyspace}.{table} LIMIT 1"
MADE_WITH = {"shards": "lease", "rater_key": "rating"}
"""By what was agreed, the table that is filled only after that."""


def steps() -> list[Step]:
    return read_steps(resources.files(__package__) / "schema")


def floor_name(version: int) -> str:
    """Under which the floor of a version is kept, where it is a lower one."""
    return f"floor_{version}"


def schema_of(version: int, floor: str | None) -> Schema:
    return Schema(version, int(floor or version))


def tables() -> list[str]:
    """All that a keyspace has."""
    return ["agreement", *(name for step in steps() for name in MADE.findall(step.script))]


def check_schema(schema: Schema, address: Address) -> None:
    """Raises ``Unusable`` for what is too new, ``NotMade`` for what is older."""
    known = len(steps())
    check_fits(schema, known, str(address))
    if schema.version < known:
        raise NotMade(
            f"The rating store's schema is {schema.version}, and not {known} yet: {MIGRATE}."
        )


def check_movies(kept: str, ours: str, address: Address) -> None:
    """Raises ``Unusable`` where the ratings are not those of our movie store. Of each: when it was
    made, microseconds since 1970, and its address at that time."""
    (made, name), (our_made, our_name) = kept.split(" ", 1), ours.split(" ", 1)
    if made != our_made:
        raise Unusable(
            f"{address} keeps the ratings of the movie store {name}, made {at(made)}, and "
            f"movies_url names {our_name}, made {at(our_made)}: name two that belong together."
        )


def check_whole(session: Session, address: Address, find: Callable[[str], str | None]) -> None:
    """Raises ``Unusable`` where what was agreed is lost: another one would not fit what stands."""
    for name, table in MADE_WITH.items():
        any_row = ANY.format(keyspace=address.keyspace, table=table)
        if find(name) is None and session.execute(any_row, timeout=STEP_SECONDS).one():
            raise Unusable(
                f"{address} has lost its {name}, with which its table {table} was made: restore a "
                "backup of the table agreement."
            )


def at(made: str) -> str:
    return datetime.fromtimestamp(int(made) / 1e6, UTC).isoformat(" ", "seconds")


def migrate(
    url: str,
    shards: int | None = None,
    slots: int | None = None,
    movies: str = "",
    tell: Tell = in_silence,
) -> list[str]:
    """Make or upgrade the keyspace; what was done. Safe to run twice, and by two at once.

    ``shards``: of the outbox, where it is new; afterwards they stay. ``slots``: of the movies, as
    the movie store has them: told here, too, for those who do not ask that one. ``movies``: which
    that is (``check_movies``). ``tell``: hears of whom it waits for. Raises ``Unusable`` for what
    is too new, or belongs to another movie store, ``StoreAway`` where the cluster can't be asked.
    """
    address = parse(url)
    done = []
    with connected(address) as session:
        if copies_of(session, address) is None:
            make_keyspace(session, address)
            done.append(f"{address}: made the keyspace, {address.replication} copies of each row")
        use_keyspace(session, address)
        check_overlap(address.consistency, copies_of(session, address) or address.replication)
        id = uuid.uuid5(uuid.NAMESPACE_URL, f"marquee:{address.keyspace}.agreement")
        session.execute(MAKE_AGREEMENT.format(id=id), timeout=STEP_SECONDS)
        with Agreed(session, address).alone(tell) as agreed:
            done.append(upgrade(session, agreed, address))
            check_whole(session, address, agreed.find)
            agreed.settle("shards", str(shards or SHARDS))
            check_agreed(agreed, address, shards=shards)
            begin_shards(session, agreed)
            if movies:
                agreed.settle("movies", movies)
                check_movies(agreed.read("movies"), movies, address)
            if slots:
                agreed.settle("slots", str(slots))
            check_agreed(agreed, address, slots=slots)
            agreed.settle("rater_key", secrets.token_hex(32))  # last: nobody begins without it
    return done


def make_keyspace(session: Session, address: Address) -> None:
    datacenter = datacenter_of(session, address)
    hosts = session.cluster.metadata.all_hosts()
    nodes = sum(host.datacenter == datacenter for host in hosts)
    if nodes < address.replication:
        raise Unusable(
            f"There are {nodes} nodes in {datacenter}, too few for {address.replication} copies: "
            "add nodes, or take fewer copies with ?replication= in the rating store's URL."
        )
    statement = MAKE_KEYSPACE.format(
        keyspace=address.keyspace, datacenter=datacenter, copies=address.replication
    )
    session.execute(statement, timeout=STEP_SECONDS)


def use_keyspace(session: Session, address: Address) -> None:
    """Some node may not have heard of a new keyspace yet."""
    end = time.monotonic() + STEP_SECONDS
    while time.monotonic() < end:
        with suppress(InvalidRequest):
            session.set_keyspace(address.keyspace)
            return
        time.sleep(0.2)
    raise StoreAway(f"Some nodes of {address} do not know the keyspace: look at their logs.")


def upgrade(session: Session, agreed: "Agreed", address: Address) -> str:
    agreed.settle("schema", "0")
    version, known = int(agreed.read("schema")), steps()
    for step in known[version:]:
        for statement in statements(step.script):
            agreed.hold()
            session.execute(statement, timeout=STEP_SECONDS)
        if step.floor < step.number:  # first: nobody meets the version without it
            agreed.settle(floor_name(step.number), str(step.floor))
        agreed.change("schema", str(step.number - 1), str(step.number))
    version = int(agreed.read("schema"))
    schema = schema_of(version, agreed.find(floor_name(version)))
    check_schema(schema, address)
    return f"{address}: {told(schema, len(known))}"


def statements(script: str) -> list[str]:
    """A script's statements one by one, without its comments."""
    lines = (line.partition("--")[0] for line in script.splitlines())
    return [text.strip() for text in "\n".join(lines).split(";") if text.strip()]


def check_agreed(agreed: "Agreed", address: Address, **asked: int | None) -> None:
    """Raises ``Unusable`` where something else stands."""
    for name, number in asked.items():
        if number and agreed.read(name) != str(number):
            raise Unusable(
                f"{address} was made with {agreed.read(name)} {name}, for ever: it can't have "
                f"{number}."
            )


def begin_shards(session: Session, agreed: "Agreed") -> None:
    """A new outbox is swept up to before anything can have been sent."""
    ((now,),) = session.execute(TIME)
    before = now * 1000 // MINUTE - 10
    for shard in range(int(agreed.read("shards"))):
        agreed.ask(BEGIN_SHARD, shard, before)


class Agreed:
    """The table of agreements, in which each change is compared and set."""

    def __init__(self, session: Session, address: Address) -> None:
        self._session = session
        self._serial = SimpleStatement(READ, consistency_level=serial_level(address))
        self._me = secrets.token_hex(8)

    def ask(self, cql: str, *values: object) -> bool:
        """Whether the condition held."""
        row: Any = self._session.execute(cql, values, timeout=STEP_SECONDS).one()
        return bool(row[0])

    def read(self, name: str) -> str:
        return str(self._session.execute(self._serial, (name,)).one()[0])

    def find(self, name: str) -> str | None:
        row: Any = self._session.execute(self._serial, (name,)).one()
        return row and str(row[0])

    def settle(self, name: str, value: str) -> None:
        """What stands there is not changed."""
        self.ask(SETTLE, name, value)

    def change(self, name: str, before: str, after: str) -> None:
        if not self.ask(CHANGE, after, name, before):
            raise lost()

    @contextmanager
    def alone(self, tell: Tell) -> Iterator["Agreed"]:
        """One at a time. The lock of one who died falls after a minute."""
        end = time.monotonic() + 2 * LOCK_SECONDS
        if waits := not self.ask(LOCK, self._me):
            tell("Somebody else migrates the rating store: waiting until that is done.")
        while waits:
            if time.monotonic() > end:
                raise lost()
            time.sleep(0.2)
            waits = not self.ask(LOCK, self._me)
        try:
            yield self
        finally:
            with suppress(*ERRORS):  # it falls by itself; what has the body end is to be told
                self.ask(UNLOCK, self._me)

    def hold(self) -> None:
        """Keep the lock for another minute."""
        if not self.ask(HOLD, self._me, self._me):
            raise lost()


def lost() -> StoreAway:
    return StoreAway("Somebody else migrates the rating store: try again in a minute.")
