"""An aggregator drains what there is, and asks for no more than that takes."""

from marquee.adapters import sqlite
from marquee.adapters.memory import MemoryNotices
from marquee.aggregation import BATCH, Aggregator
from marquee.model import Rating


class Asked(sqlite.SqliteOutbox):
    """Counts how often it was asked how much waits: of a log on servers a call a partition."""

    times = 0

    async def behind(self):
        self.times += 1
        return await super().behind()


async def test_how_much_waits_is_not_asked_between_batches(tmp_path):
    database = await sqlite.Database.open(tmp_path / "marquee.db")
    ratings = await sqlite.SqliteRatings.open(database)
    totals = sqlite.SqliteTotals(database)
    await ratings.merge([Rating("u", f"m{n}", 5, 1 + n) for n in range(3 * BATCH)])
    outbox = Asked(database)
    await Aggregator(outbox, totals, MemoryNotices()).drain()
    left = await sqlite.SqliteOutbox(database).behind()
    await database.close()
    assert left == 0
    assert outbox.times == 1
