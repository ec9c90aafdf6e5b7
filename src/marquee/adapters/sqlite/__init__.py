"""Every store in one file: the embedded default.

``database`` is the file itself: one writer that commits in groups, readers beside it. On it stand
``ratings`` (the rating store with its outbox), ``events`` (the outbox as event log), ``totals``,
``catalogue`` and ``charts``.
"""

from .catalogue import SqliteCatalogue
from .charts import SqliteCharts
from .database import Database
from .events import SqliteOutbox
from .ratings import SqliteRatings
from .totals import SqliteTotals

__all__ = [
    "Database",
    "SqliteCatalogue",
    "SqliteCharts",
    "SqliteOutbox",
    "SqliteRatings",
    "SqliteTotals",
]
