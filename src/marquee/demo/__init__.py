"""The demo: 2,272 real movies, all Best Picture nominations, and ratings that are made up.

Movies and nominations are facts from two free sources; NOTICE tells which, scripts/make_demo.py
how. Nobody gave the ratings: 500 made-up raters give them by a rule with dice, always the same, in
which well-known movies are rated often and those that the Academy honoured are rated well.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import NamedTuple

from .. import importers
from ..importers.loading import CHUNK, chunks
from ..model import Rating
from ..ports import Catalogue, Clue, RatingStore

LABEL = "Demo data: movies and nominations are real, every rating is made up."

FILES = tuple(Path(__file__).with_name(name) for name in ("movies.csv", "nominations.csv"))

RATERS = 500
SEED = 1953  # the first ceremony on television
FIRST, LAST = 1_704_067_200, 1_767_225_599
"""The ratings are dated 2024 and 2025, to the second: the demo loaded again changes nothing."""


class Fame(NamedTuple):
    """What the dice are loaded with: how many raters know a movie, how good it is in points."""

    imdb_id: str
    raters: int
    quality: float


async def load(ratings: RatingStore, catalogue: Catalogue) -> importers.Report:
    """Put the demo into the stores, by the ways on which anybody's data come in.

    Where it is there already nothing changes; what was deleted of it comes back.
    """
    report = await importers.load(importers.find(importers.AUTO, FILES), ratings, catalogue)
    movies = list(fame())
    known = await catalogue.match([Clue(imdb_id=movie.imdb_id) for movie in movies])
    found = made_up([(ids[0], movie) for ids, movie in zip(known, movies, strict=True) if ids])
    for chunk in chunks(found, CHUNK):
        report.read += len(chunk)
        report.ratings = report.ratings.plus(await ratings.merge(chunk))
    return report


def fame() -> Iterator[Fame]:
    """How the demo's movies are known and liked; box office and honours count."""
    movies, nominations = (_rows(file) for file in FILES)
    honours = {row["filmId"]: row["winner"] == "True" for row in nominations}
    dice = Random(SEED)
    for row in movies:
        won = honours.get(row["imdbId"])
        millions = int(row["boxOffice"] or 0) / 1e6
        quality = min(7.2, dice.gauss(6, 0.7))
        if won is not None:
            millions += 400 if won else 60
            quality = dice.gauss(8.1, 0.4) if won else dice.gauss(7.4, 0.4)
        raters = min(RATERS - 50, int(millions**0.7 * dice.lognormvariate(0, 0.3) / 2))
        yield Fame(row["imdbId"], raters, quality)


def made_up(movies: list[tuple[str, Fame]]) -> Iterator[Rating]:
    """The ratings, each a rater's own view of a movie in whole points, at times a half more."""
    for movie_id, movie in movies:
        dice = Random(f"{SEED} {movie.imdb_id}")
        for rater in dice.sample(range(1, RATERS + 1), movie.raters):
            points = movie.quality + (rater % 7 - 3) / 4 + dice.gauss(0, 1.1)
            value = 2 * round(points) + (dice.random() < 0.2)
            version = dice.randint(FIRST, LAST) * 1_000_000
            yield Rating(f"demo-rater-{rater:03}", movie_id, min(20, max(1, value)), version)


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as text:
        return list(csv.DictReader(text))
