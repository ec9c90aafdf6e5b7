"""MovieLens whole: what the stores count is what one counts in the file."""

import csv
from collections import defaultdict
from pathlib import Path

import pytest

from marquee.adapters.sqlite import Database, SqliteCatalogue, SqliteTotals
from marquee.model import Totals, mean_rating
from tests.data import data_dir, is_real
from tests.support.server import marquee

pytestmark = pytest.mark.no_cover

FOLDER = data_dir() / "movielens-small"


def table(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def expected() -> dict[str, list[int]]:
    """Each movie's ratings in half points, straight from the files, by IMDb id."""
    imdb_ids = {row["movieId"]: f"tt{row['imdbId']}" for row in table("links.csv")}
    ratings: dict[str, list[int]] = {imdb_ids[row["movieId"]]: [] for row in table("movies.csv")}
    for row in table("ratings.csv"):
        ratings[imdb_ids[row["movieId"]]].append(int(float(row["rating"]) * 4))
    return ratings


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("movielens")
    found = marquee("import", "movielens", str(FOLDER), data=folder)
    assert found.returncode == 0, found.stderr
    return folder


async def test_every_movie_counts_what_the_file_says(data):
    ratings = expected()
    database = await Database.open(data / "marquee.db")
    movies = [s.movie async for page in SqliteCatalogue(database).scan() for s in page]
    totals = await SqliteTotals(database).totals([movie.id for movie in movies])
    await database.close()
    assert {movie.id for movie in movies} == set(ratings)
    for movie, found in zip(movies, totals, strict=True):
        values = ratings[movie.id]
        assert found == Totals(tuple(map(values.count, range(1, 21))))
        assert (found.number, found.total) == (len(values), sum(values))
        mean = sum(values) / 2 / len(values) if values else None
        assert mean_rating(found.number, found.total) == pytest.approx(mean)
    if is_real():
        assert (len(movies), sum(map(len, ratings.values()))) == (9742, 100_836)


async def test_movies_are_as_the_file_says_and_read_well(data):
    database = await Database.open(data / "marquee.db")
    movies = {s.movie.id: s.movie async for page in SqliteCatalogue(database).scan() for s in page}
    await database.close()
    genres = defaultdict(tuple)
    tmdb_ids = {}
    for row, links in zip(table("movies.csv"), table("links.csv"), strict=True):
        listed = row["genres"]
        genres[f"tt{links['imdbId']}"] = () if "(" in listed else tuple(listed.split("|"))
        tmdb_ids[f"tt{links['imdbId']}"] = int(links["tmdbId"]) if links["tmdbId"] else None
    for movie in movies.values():
        assert movie.imdb_id == movie.id
        assert movie.genres == genres[movie.id]
        assert movie.tmdb_id == tmdb_ids[movie.id]
    if is_real():
        assert (movies["tt0068646"].title, movies["tt0068646"].year) == ("The Godfather", 1972)
        assert sum(movie.year is None for movie in movies.values()) == 12
        assert not any(movie.title.endswith((", The", ")  ")) for movie in movies.values())


def test_once_more_changes_nothing(data):
    found = marquee("import", "auto", str(FOLDER / "ratings.csv"), data=data)
    assert found.returncode == 0
    assert found.stdout.count("0 added, 0 replaced") == 2
    assert marquee("verify", data=data).returncode == 0
