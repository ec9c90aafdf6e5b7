"""Movies on PostgreSQL: one server, or several that share the movies by slot.

``server`` is one of them, ``shards`` all of them and the map that says which holds a movie. On
these stand ``totals``, ``catalogue`` and ``charts``; ``migrating`` makes the schema.
"""

from .catalogue import PostgresCatalogue
from .charts import PostgresCharts
from .migrating import migrate, unchanged
from .shards import Postgres
from .totals import PostgresTotals

__all__ = [
    "Postgres",
    "PostgresCatalogue",
    "PostgresCharts",
    "PostgresTotals",
    "migrate",
    "unchanged",
]
