"""The driver, set up as Marquee needs it."""

import logging
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from cassandra import ConsistencyLevel, DriverException, UnresolvableContactPoints
from cassandra.auth import PlainTextAuthProvider
from cassandra.cluster import (
    EXEC_PROFILE_DEFAULT,
    Cluster,
    ExecutionProfile,
    NoHostAvailable,
    Session,
)
from cassandra.connection import ConnectionException
from cassandra.io.libevreactor import LibevConnection
from cassandra.policies import (
    ConstantReconnectionPolicy,
    ConstantSpeculativeExecutionPolicy,
    DCAwareRoundRobinPolicy,
    TokenAwarePolicy,
)
from cassandra.protocol import ErrorMessage
from cassandra.query import tuple_factory

from ...errors import MarqueeError, StoreAway, Unusable
from .address import Address

PROTOCOL = 4
REQUEST_SECONDS = 3.0
CONNECT_SECONDS = 3.0
SCHEMA_SECONDS = 20
HEARTBEAT_SECONDS = 5
SPECULATE_AFTER, SPECULATIONS = 0.25, 2

ERRORS = (DriverException, NoHostAvailable, ConnectionException, ErrorMessage, OSError)
"""Whatever the driver raises: these have no base in common."""

TIME = "SELECT to_unix_timestamp(now()) FROM system.local"
"""A node's, in milliseconds."""

AWAY = "The rating store can't be reached at present."


def make_cluster(address: Address, schema_seconds: float = 1) -> Cluster:
    """The driver for a cluster, not connected yet. ``schema_seconds``: for which a change of the
    schema, and the end of it all, wait until every node has heard of a change."""
    # It tells of every attempt, with a traceback; what matters we say ourselves.
    logging.getLogger("cassandra").setLevel(logging.CRITICAL)
    profile = ExecutionProfile(
        load_balancing_policy=TokenAwarePolicy(DCAwareRoundRobinPolicy(address.datacenter)),
        consistency_level=ConsistencyLevel.name_to_value[address.consistency],
        serial_consistency_level=serial_level(address),
        request_timeout=REQUEST_SECONDS,
        row_factory=tuple_factory,
        speculative_execution_policy=ConstantSpeculativeExecutionPolicy(
            SPECULATE_AFTER, SPECULATIONS
        ),
    )
    return Cluster(
        contact_points=list(address.hosts),
        port=address.hosts[0][1],
        protocol_version=PROTOCOL,
        auth_provider=(
            PlainTextAuthProvider(address.user, address.password) if address.user else None
        ),
        ssl_context=tls_context(address.tls, address.names) if address.tls else None,
        execution_profiles={EXEC_PROFILE_DEFAULT: profile},
        reconnection_policy=ConstantReconnectionPolicy(1, max_attempts=None),
        connection_class=LibevConnection,
        connect_timeout=CONNECT_SECONDS,
        control_connection_timeout=CONNECT_SECONDS,
        max_schema_agreement_wait=schema_seconds,
        prepare_on_all_hosts=False,  # it would wait for each; who does not know one is told it
        idle_heartbeat_interval=HEARTBEAT_SECONDS,
        idle_heartbeat_timeout=HEARTBEAT_SECONDS,
        monitor_reporting_enabled=False,
    )


def connect(cluster: Cluster) -> Session:
    session = cluster.connect()
    session.use_client_timestamp = False  # this process's clock decides nothing
    return session


@contextmanager
def connected(address: Address) -> Iterator[Session]:
    """A session for as long as the block lasts. Raises ``StoreAway``, saying why, where there is
    nothing to be had."""
    try:
        with make_cluster(address, SCHEMA_SECONDS) as cluster:
            yield connect(cluster)
    except ERRORS as error:
        raise explained(error, address) from error


def explained(error: BaseException, address: Address) -> MarqueeError:
    """For whoever sets things up: what is wrong, and what to do."""
    why = "; ".join(sorted(reasons(error, address)))
    return StoreAway(f"{address} can't be asked ({why}): is it running, and is the login right?")


def reasons(error: BaseException, address: Address) -> set[str]:
    if isinstance(error, UnresolvableContactPoints):
        return {"there is no such host"}
    if not isinstance(error, NoHostAvailable):
        return {str(error)}
    if isinstance(error.errors, dict):  # by node
        return set(map(str, error.errors.values()))
    return {f"no node answers in the datacenter {address.datacenter or 'of these hosts'}"}


def tls_context(trusted: str, names: bool) -> ssl.SSLContext:
    """``trusted``: "on" for the system's certificates, or a file of those to trust."""
    try:
        context = ssl.create_default_context(cafile=None if trusted == "on" else trusted)
    except OSError as error:
        raise Unusable(f"{trusted} has no certificates to trust: {error.strerror}.") from error
    context.check_hostname = names
    return context


def serial_level(address: Address) -> int:
    """For what is compared and set: in the one datacenter, or in all."""
    local = address.consistency.startswith("LOCAL")
    level: int = ConsistencyLevel.LOCAL_SERIAL if local else ConsistencyLevel.SERIAL
    return level


def datacenter_of(session: Session, address: Address) -> str:
    """The one that is asked: as the address says, or that of the node that answers."""
    if address.datacenter:
        return address.datacenter
    ((name,),) = session.execute("SELECT data_center FROM system.local")
    return str(name)


def copies_of(session: Session, address: Address) -> int | None:
    """Copies of the keyspace that count for the consistency level: those in its datacenter, or all.
    None where there is no such keyspace."""
    keyspace = session.cluster.metadata.keyspaces.get(address.keyspace)
    if keyspace is None:
        return None
    strategy = keyspace.replication_strategy
    factors = getattr(strategy, "dc_replication_factors", None)
    if factors is None:
        return int(strategy.replication_factor)
    if address.consistency.startswith("LOCAL"):
        return int(factors.get(datacenter_of(session, address), 0))
    return sum(map(int, factors.values()))
