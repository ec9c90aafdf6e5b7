"""Makes the data of the demo from its two sources.

scripts/make_demo.py DATA

DATA is a folder with oscars/oscars.csv (github.com/DLu/oscar_data) and
box-office/fivethirtyeight_bechdel_movies.csv (github.com/fivethirtyeight/data, bechdel/movies.csv).
The same sources give the same files, to the byte.
"""

import csv
import sys
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from marquee.importers import academy, movies
from marquee.importers.files import Sheet, find_files
from marquee.importers.reading import Reading
from marquee.importers.rows import Asked, MovieRow, NominationRow
from marquee.model import Movie

GENRES = {"ANIMATED FEATURE FILM": "Animation", "Musical Picture": "Musical"}
"""What an award's category says of the movies that were nominated in it."""

DEMO = Path(__file__).parents[1] / "src" / "marquee" / "demo"


def main(data: Path) -> None:
    oscars = data / "oscars" / "oscars.csv"
    nominations = [
        row for row in rows(academy.reading(sheets(oscars))) if isinstance(row, NominationRow)
    ]
    box_office = data / "box-office" / "fivethirtyeight_bechdel_movies.csv"
    known = {
        row.movie.id: row.movie
        for row in rows(movies.reading(sheets(box_office)))
        if isinstance(row, MovieRow)
    }
    both = 0
    for row in nominations:
        title, imdb_id, year = row.nomination.title, row.clue.imdb_id, row.nomination.year
        if not imdb_id:
            sys.exit(f"{title} has no IMDb id")
        movie = known.get(imdb_id)
        both += movie is not None
        if movie is None:
            known[imdb_id] = Movie(imdb_id, title, year, imdb_id=imdb_id)
        elif "(" in movie.title or not title.isascii():
            # One title is in another language, or has lost its accents: the Academy's is neither.
            known[imdb_id] = replace(movie, title=title)
    genres = genres_in(oscars)
    with (DEMO / "movies.csv").open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["imdbId", "title", "year", "boxOffice", "genres"])
        for imdb_id, movie in sorted(known.items()):
            of = "|".join(sorted(genres.get(imdb_id, ())))
            out.writerow([imdb_id, movie.title, movie.year, movie.box_office, of])
    with (DEMO / "nominations.csv").open("w", encoding="utf-8", newline="") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["ceremony", "category", "film", "filmId", "name", "winner"])
        for row in nominations:
            it = row.nomination
            won = "True" if it.won else ""
            cells = it.ceremony, "Best Picture", it.title, row.clue.imdb_id, it.additional_info, won
            out.writerow(cells)
    print(f"{len(nominations)} nominations, {sum(row.nomination.won for row in nominations)} won")
    earning = sum(movie.box_office is not None for movie in known.values())
    print(f"{len(known)} movies, {earning} with box office, {both} of those nominated")
    print(f"{len(known.keys() & genres.keys())} of a genre")


def genres_in(oscars: Path) -> dict[str, set[str]]:
    """Of all that were ever nominated, by their IMDb ids."""
    found = defaultdict[str, set[str]](set)
    with oscars.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            category = f"{row['CanonicalCategory']} {row['Category']}"
            for words, genre in GENRES.items():
                if words in category:
                    for imdb_id in row["FilmId"].split("|"):
                        found[imdb_id].add(genre)
    return found


def sheets(path: Path) -> list[Sheet]:
    return [Sheet(file) for file in find_files(path)]


def rows(reading: Reading | None) -> list[object]:
    if reading is None:
        sys.exit("the sources are not what they were")
    return [row for _, part in reading.parts(Asked("", 0)) for row in part]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
