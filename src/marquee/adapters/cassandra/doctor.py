"""What is wrong with the cluster, and what to do."""

import time
from collections.abc import Callable, Collection

from cassandra import InvalidRequest, Unauthorized
from cassandra.cluster import Session
from cassandra.metadata import protect_name

from ...errors import Finding, MarqueeError
from .address import Address, check_overlap, parse
from .driver import ERRORS, TIME, connected, copies_of, datacenter_of, explained
from .migration import MIGRATE, check_schema, check_whole, floor_name, schema_of, tables

OLDEST = 5
COPIES = 3
CLOCKS_APART = 1.0
"""Seconds."""

AGREED = "SELECT value FROM {keyspace}.agreement WHERE name = %s"
NODE = "SELECT release_version, to_unix_timestamp(now()) FROM system.local"
SYNC = "SELECT value FROM system_views.settings WHERE name = 'commitlog_sync'"
RIGHTS = "LIST ALL PERMISSIONS OF {role}"
ROLES = "LIST ROLES OF {role}"
NEEDED = ("MODIFY", "SELECT")
SWEPT = "SELECT swept FROM {keyspace}.lease"
LONG = 60
"""Minutes without a sweep: more than there are after `migrate`, or a relay's restart."""

Look = Callable[[Session, Address], str | None]


def diagnose(url: str) -> list[Finding]:
    """Each thing that was looked at, and what is wrong with it and what to do; None where nothing
    is. Raises ``Unusable`` for a malformed URL."""
    address = parse(url)
    found: list[Finding] = []
    try:
        with connected(address) as session:
            for name, look in LOOKS.items():
                found.append((f"ratings ({address}): {name}", tried(look, session, address)))
                if look in {keyspace, schema} and found[-1][1]:
                    break  # the rest asks for what it has
    except MarqueeError as error:
        found.append((f"ratings ({address})", str(error)))
    return found


def tried(look: Look, session: Session, address: Address) -> str | None:
    try:
        return look(session, address)
    except Unauthorized as error:
        return f"{address.user or 'we'} may not see it: {error}"
    except MarqueeError as error:
        return str(error)
    except ERRORS as error:
        return str(explained(error, address))


def keyspace(session: Session, address: Address) -> str | None:
    """Its copies."""
    number, datacenter = copies_of(session, address), datacenter_of(session, address)
    if number is None:
        return f"There is no keyspace {address.keyspace}: {MIGRATE}."
    check_overlap(address.consistency, number)
    hosts = session.cluster.metadata.all_hosts()
    there = sum(host.datacenter == datacenter for host in hosts)
    if number > there:
        return f"{number} copies are to be kept, and there are {there} nodes: add nodes."
    if number < min(COPIES, there):
        return (
            f"Of {there} nodes only {number} keep a rating: ALTER KEYSPACE to {COPIES} copies, "
            "then `nodetool repair --full`."
        )
    if not session.cluster.metadata.keyspaces[address.keyspace].durable_writes:
        return "What is acknowledged is not on a disk: ALTER KEYSPACE … durable_writes = true."
    return None


def schema(session: Session, address: Address) -> str | None:
    def agreed(name: str) -> str | None:
        try:
            row = session.execute(AGREED.format(keyspace=address.keyspace), (name,)).one()
        except InvalidRequest:
            return None
        return row[0] if row else None

    there = session.cluster.metadata.keyspaces[address.keyspace].tables
    missing = ", ".join(table for table in tables() if table not in there)
    version = int(agreed("schema") or 0)
    if there and version == 0:
        return f"It is half made, without {missing}: {MIGRATE} again, which goes on from there."
    check_schema(schema_of(version, agreed(floor_name(version))), address)
    if missing:
        return f"It has lost {missing}: restore a backup of the keyspace."
    check_whole(session, address, agreed)
    if agreed("rater_key") is None:
        return f"It is half made, without what all must agree on: {MIGRATE} again."
    return None


def erasures(session: Session, address: Address) -> str | None:
    """They must hide for longer than intents are kept."""
    tables = session.cluster.metadata.keyspaces[address.keyspace].tables
    hides = tables["rating"].options["gc_grace_seconds"]
    kept = tables["outbox"].options["default_time_to_live"]
    if not 0 < kept < hides:
        return (
            f"gc_grace_seconds of rating is {hides}, default_time_to_live of the outbox {kept}: by "
            "ALTER TABLE make the first the larger one, else what was erased may come back."
        )
    return None


def nodes(session: Session, address: Address) -> str | None:
    """All of the datacenter: up, new enough, of one time, and sure of what they acknowledge."""
    datacenter = datacenter_of(session, address)
    hosts = session.cluster.metadata.all_hosts()
    complaints, ahead = [], []
    for host in (host for host in hosts if host.datacenter == datacenter):
        if not host.is_up:
            complaints.append(f"{host.endpoint} is down")
            continue
        before = time.monotonic()
        version, now = session.execute(NODE, host=host).one()
        ahead.append(now / 1000 - (before + time.monotonic()) / 2)
        if int(version.partition(".")[0]) < OLDEST:
            complaints.append(f"{host.endpoint} is {version}, and {OLDEST} is needed")
        if session.execute(SYNC, host=host).one()[0] == "periodic":
            complaints.append(
                f"{host.endpoint} would lose what it has acknowledged if it were killed: set "
                "commitlog_sync to batch or group in its cassandra.yaml"
            )
    if ahead and max(ahead) - min(ahead) > CLOCKS_APART:
        complaints.append("their clocks are more than a second apart: have NTP set them")
    return "; ".join(complaints) + "." if complaints else None


def rights(session: Session, address: Address) -> str | None:
    """Those of the login; where nobody logs in, everybody has them."""
    if not address.user:
        return None
    role = protect_name(address.user)
    try:
        own = {address.user: False} | {
            name: is_super for name, is_super, *_ in session.execute(ROLES.format(role=role))
        }
        if any(own.values()):
            return None
        granted = session.execute(RIGHTS.format(role=role))
    except InvalidRequest:  # nothing is looked at when statements come
        return None
    held = {(resource, right) for *_, resource, right in granted}
    grants = [grant for right in NEEDED for grant in lacking(address.keyspace, right, held)]
    if grants:
        return f"{address.user} lacks rights: " + " ".join(f"{g} TO {role};" for g in grants)
    return None


def lacking(keyspace: str, right: str, held: Collection[tuple[str, str]]) -> list[str]:
    """What is to be granted, so that there is a right on every table."""
    if {("<all keyspaces>", right), (f"<keyspace {keyspace}>", right)} & set(held):
        return []
    wanted = tables()
    without = [table for table in wanted if (f"<table {keyspace}.{table}>", right) not in held]
    if without == wanted:
        return [f"GRANT {right} ON KEYSPACE {keyspace}"]
    return [f"GRANT {right} ON {keyspace}.{table}" for table in without]


def relays(session: Session, address: Address) -> str | None:
    ((now,),) = session.execute(TIME)
    rows = session.execute(SWEPT.format(keyspace=address.keyspace)).all()
    if not rows:
        return f"There are no shards for relays to share: {MIGRATE} again."
    minutes = now // 60_000 - min(minute for (minute,) in rows)
    if minutes > LONG:
        return f"Nobody has swept the outbox for {minutes} minutes: run `marquee serve relay`."
    return None


LOOKS: dict[str, Look] = {
    "nodes": nodes,
    "keyspace": keyspace,
    "rights": rights,
    "schema": schema,
    "erasures": erasures,
    "relays": relays,
}
