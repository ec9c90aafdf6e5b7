"""Every store in one file: the embedded default.

``database`` is the file itself: one writer that commits in groups, readers beside it. On it stand
``ratings`` (the rating store with its outbox), ``events`` (the outbox as event log), ``totals``,
``catalogue`` and ``charts``.
"""

from .backup import back_up, check_backup, restore
from .catalogue import SqliteCatalogue
from .charts import SqliteCharts
from .database import Database, change_prior, prepare
from .diagnosing import diagnose
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
    "back_up",
    "change_prior",
    "check_backup",
    "diagnose",
    "prepare",
    "restore",
]
