"""Ratings by user on Apache Cassandra 5, and the outbox beside them.

``cluster`` is the keyspace: connected for ever, its time, what was agreed upon. On it stand
``ratings`` (the rating store) and ``outbox`` (its intents, which relays bring to the event log, and
sweep). ``migration`` makes the schema, ``doctor`` says what is wrong; by ``driver`` and ``address``
the cluster is reached.
"""

from .cluster import Cassandra
from .doctor import diagnose
from .migration import migrate
from .outbox import CassandraOutbox
from .ratings import CassandraRatings

__all__ = ["Cassandra", "CassandraOutbox", "CassandraRatings", "diagnose", "migrate"]
