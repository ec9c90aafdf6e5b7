"""Movies on PostgreSQL: one server, or several that share the movies by slot.

``server`` is one of them, ``shards`` all of them and the map that says which holds a movie. On
these stand ``totals``, ``catalogue`` and ``charts``; ``migrating`` makes the schema,
``moving`` takes slots from shard to shard.
"""

from .catalogue import PostgresCatalogue
from .charts import PostgresCharts
from .diagnosing import diagnose
from .migrating import migrate
from .moving import move_slots
from .shards import Postgres
from .totals import PostgresTotals

__all__ = [
    "Postgres",
    "PostgresCatalogue",
    "PostgresCharts",
    "PostgresTotals",
    "diagnose",
    "migrate",
    "move_slots",
]
