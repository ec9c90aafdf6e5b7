"""Refreshing the ten, each time after one of them has changed, whatever the number of movies."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from marquee.adapters.sqlite import Database, SqliteCharts

from .measuring import Row, Size, folder
from .stores import fill

REFRESHES = 100
CHANGE = """
    UPDATE movie SET box_office = box_office + 1 WHERE no =
    (SELECT no FROM movie WHERE title IS NOT NULL AND number > 0
     ORDER BY rate DESC, box_office DESC, number DESC, id LIMIT 1)"""
GOAL = 1.5


def rows(size: Size) -> Iterator[Row]:
    movies = (10**4, 10**5 if size.quick else 10**6)
    with folder() as here:
        files = [here / f"{number}.db" for number in movies]
        for file, number in zip(files, movies, strict=True):
            fill(file, number)
        few, many = asyncio.run(refresh(files))
    yield Row(
        f"refreshing the ten, {movies[1]:,} movies",
        f"{many * 1e3:.2f} ms",
        f"{few * 1e3:.2f} ms with {movies[0]:,}",
        many / few,
        f"≤ {GOAL}",
        many / few <= GOAL,
        {f"ms at {n}": cost * 1e3 for n, cost in zip(movies, (few, many), strict=True)},
    )


async def refresh(files: list[Path]) -> list[float]:
    """Median seconds of a refresh of each, by turns."""
    databases = [await Database.open(file) for file in files]
    charts = [SqliteCharts(database) for database in databases]
    taken: list[list[float]] = [[] for _ in files]
    for _ in range(REFRESHES):
        for database, chart, times in zip(databases, charts, taken, strict=True):
            await database.write(lambda connection: connection.execute(CHANGE))
            start = time.perf_counter()
            await chart.refresh()
            times.append(time.perf_counter() - start)
    for database in databases:
        await database.close()
    return [median(times) for times in taken]
