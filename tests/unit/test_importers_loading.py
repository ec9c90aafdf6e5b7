"""Rows on their way into the stores: matched, counted, and the second time nothing changes."""

import os
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marquee import demo, exports, importers
from marquee.adapters.sqlite import Database, SqliteCatalogue, SqliteRatings
from marquee.errors import Invalid
from marquee.importers import loading
from marquee.importers.matching import Matcher
from marquee.model import Merged, Movie, Nomination, Rating
from tests.data import data_dir

HEAT = Movie("tt0113277", "Heat", 1995, ("Crime",), None, "tt0113277", 949)
POSTMAN = Movie("m-1", "Il Postino", 1994)
GODFATHER = Movie("tt0068646", "The Godfather", 1972, (), None, "tt0068646")
FIRST_EMMA = Movie("tt0116191", "Emma", 1996, (), None, "tt0116191")
SECOND_EMMA = Movie("tt0118308", "Emma", 1996, (), None, "tt0118308")


class Stores:
    def __init__(self, database: Database, ratings: SqliteRatings) -> None:
        self.ratings = ratings
        self.catalogue = SqliteCatalogue(database)

    async def run(
        self, path: Path, source: str = "auto", user_id=None, **options
    ) -> importers.Report:
        """Import, after a dry run that must foresee it and change nothing."""
        before = await self.all()
        found = importers.find(source, [path], user_id)
        dry = await importers.rehearse(found, self.ratings, self.catalogue, **options)
        assert await self.all() == before
        report = await importers.load(found, self.ratings, self.catalogue, **options)
        assert report == dry
        counted = (report.ratings, report.movies, report.nominations)
        assert report.read == sum(map(sum, counted)) + report.left_out.total()
        return report

    async def all(self) -> tuple[list[Rating], list[Movie], list[Nomination]]:
        ratings = [rating async for page in self.ratings.scan() for rating in page]
        movies = [movie async for page in self.catalogue.scan() for movie, *_ in page]
        return ratings, movies, await self.catalogue.nominations()


@pytest.fixture
async def stores(tmp_path) -> AsyncIterator[Stores]:
    database = await Database.open(tmp_path / "marquee.sqlite3")
    yield Stores(database, await SqliteRatings.open(database))
    await database.close()


@pytest.fixture
async def five(stores) -> Stores:
    await stores.catalogue.merge([HEAT, POSTMAN, GODFATHER, FIRST_EMMA, SECOND_EMMA])
    return stores


def file(folder: Path, text: str, name: str = "file.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    os.utime(path, (1_600_000_000, 1_600_000_000))
    return path


LETTERBOXD = "Date,Name,Year,Letterboxd URI,Rating\n"


async def test_matched_by_id_then_title_and_year_and_what_is_not_is_said(five, tmp_path):
    path = file(
        tmp_path,
        "tmdbID,imdbID,Title,Year,Rating10,WatchedDate\n"
        "949,tt0113277,Anything,1900,9,2020-01-01\n"  # by IMDb id
        "949,,Anything,1900,8,2020-01-02\n"  # by TMDB id: the same again, newer
        ',,"Godfather, The",1972,7,2020-01-01\n'
        ",,The Postman (Il Postino),1995,6,2020-01-01\n"  # one year off, by its other title
        ",,Emma,1996,5,2020-01-01\n"  # two answer to it
        ",tt0000009,The Godfather,1972,4,2020-01-01\n"  # another movie of that title
        ",,The Godfather,1975,4,2020-01-01\n"
        ",,Heat,,4,2020-01-01\n",
    )
    details = []
    report = await five.run(path, user_id="ann", detail=lambda *line: details.append(line))
    assert report.ratings == Merged(added=3)
    assert report.left_out == {
        loading.SAID_AGAIN: 1,
        loading.NO_SUCH_MOVIE: 3,
        loading.SEVERAL_MOVIES: 1,
    }
    again, once = details[:5], details[5:]
    assert again == once
    assert once == [
        ("file.csv", 2, "said again in the same file: tt0113277"),
        ("file.csv", 6, "several movies of that title and year: Emma (1996)"),
        ("file.csv", 7, "no such movie in the catalogue: The Godfather (1972) tt0000009"),
        ("file.csv", 8, "no such movie in the catalogue: The Godfather (1975)"),
        ("file.csv", 9, "no such movie in the catalogue: Heat"),
    ]
    ratings, *_ = await five.all()
    assert [(one.movie_id, one.value) for one in ratings] == [
        ("m-1", 12),
        ("tt0068646", 14),
        ("tt0113277", 16),
    ]


async def test_a_second_run_changes_nothing_and_an_older_file_never_wins(five, tmp_path):
    newer = file(tmp_path, f"{LETTERBOXD}2020-02-01,Heat,1995,u,4\n", "newer.csv")
    older = file(tmp_path, f"{LETTERBOXD}2020-01-01,Heat,1995,u,1\n", "older.csv")
    newest = file(tmp_path, f"{LETTERBOXD}2020-03-01,Heat,1995,u,2\n", "newest.csv")
    assert (await five.run(newer, user_id="ann")).ratings == Merged(added=1)
    assert (await five.run(newer, user_id="ann")).ratings == Merged(unchanged=1)
    assert (await five.run(older, user_id="ann")).ratings == Merged(unchanged=1)
    assert (await five.run(newest, user_id="ann")).ratings == Merged(replaced=1)
    assert (await five.run(newest, user_id="bob")).ratings == Merged(added=1)
    by_hand = await five.ratings.write("ann", HEAT.id, 20)
    assert (await five.run(newest, user_id="ann")).ratings == Merged(unchanged=1)
    assert await five.ratings.read("ann", HEAT.id) == by_hand


async def test_a_file_without_dates_is_as_old_as_itself(five, tmp_path):
    path = file(tmp_path, "movie_id,imdb_id,tmdb_id,rating,average_rating,title\n1,113277,,4,4,H\n")
    await five.run(path, user_id="ann")
    assert (await five.ratings.read("ann", HEAT.id)) == Rating(
        "ann", HEAT.id, 16, 1_600_000_000_000_000
    )


async def test_bad_rows_never_stop_the_rest(five, tmp_path):
    bad = ["x", "2020-01-01,Heat,1995,u,nine", ",,,,", "2999-01-01,Heat,1995,u,4", '"', ""]
    path = file(tmp_path, LETTERBOXD + "\n".join([*bad, "2020-01-01,Heat,1995,u,4\n"]))
    report = await five.run(path, user_id="ann")
    assert report.ratings == Merged(added=1)
    assert report.left_out.total() == 5


async def test_movies_are_completed_never_overwritten(stores, tmp_path):
    await stores.catalogue.put(Movie("mine", "Heat", 1995, ("Noir",)))
    await stores.catalogue.put(replace(FIRST_EMMA, tmdb_id=1))
    path = file(
        tmp_path,
        "title,year,genres,boxOffice,imdbId,tmdbId\n"
        "Heat,1995,Crime,187436818,tt0113277,949\n"
        "Emma,1996,,7,tt0118308,1\n"  # another IMDb id, so another movie
        "Emma,1996,,,tt0116191,\n"
        "New,2001,,5,,\n"
        "New,2001,,6,,\n",
    )
    report = await stores.run(path)
    assert report.movies == Merged(added=2, replaced=1, unchanged=1)
    assert report.left_out == {loading.SAID_AGAIN: 1}
    _, movies, _ = await stores.all()
    assert {movie.id: movie for movie in movies}["mine"] == Movie(
        "mine", "Heat", 1995, ("Noir",), 187_436_818, "tt0113277", 949
    )
    assert [movie.box_office for movie in movies if movie.title == "New"] == [5]
    assert (await stores.run(path)).movies == Merged(unchanged=4)


async def test_a_title_that_became_another_movies_too_is_left_out_not_added(stores, tmp_path):
    first = file(tmp_path, "title,year,imdbId\nEmma,1996,tt0116191\n", "first.csv")
    plain = file(tmp_path, "title,year,boxOffice\nEmma,1996,5\n", "plain.csv")
    second = file(tmp_path, "title,year,imdbId\nEmma,1996,tt0118308\n", "second.csv")
    assert (await stores.run(first)).movies == Merged(added=1)
    assert (await stores.run(plain)).movies == Merged(replaced=1)
    assert (await stores.run(second)).movies == Merged(added=1)
    report = await stores.run(plain)
    assert (report.added, report.replaced) == (0, 0)
    assert report.left_out == {"several movies of that title and year": 1}
    assert (await stores.run(second)).movies == (await stores.run(first)).movies


async def test_of_several_that_share_a_tmdb_id_the_title_tells(stores, tmp_path):
    await stores.catalogue.put(Movie("one", "Emma", 1996, (), None, "tt0000001", 7))
    await stores.catalogue.put(Movie("two", "Emma", 2020, (), None, "tt0000002", 7))
    path = file(
        tmp_path,
        "title,year,boxOffice,tmdbId\nEmma,2020,5,7\nHeat,1995,6,7\n",  # neither of the two
    )
    report = await stores.run(path)
    assert report.movies == Merged(replaced=1)
    assert report.left_out == {loading.SEVERAL_MOVIES: 1}
    # A movie with an id of its own is none of them.
    own = file(tmp_path, "id,title,year,tmdbId\nmine,Heat,1995,7\n", "own.csv")
    assert (await stores.run(own)).movies == Merged(added=1)
    assert (await stores.run(own)).movies == Merged(unchanged=1)


async def test_two_ids_in_one_file_are_two_movies_also_with_one_imdb_id(stores, tmp_path):
    path = file(tmp_path, "id,title,imdbId,tmdbId\none,Emma,tt0116191,3573\ntwo,Emma,tt0116191,\n")
    assert (await stores.run(path)).movies == Merged(added=2)
    assert (await stores.run(path)).movies == Merged(unchanged=2)
    _, movies, _ = await stores.all()
    assert {movie.id for movie in movies} == {"one", "two"}


async def test_a_row_means_a_movie_that_the_same_file_brings(stores, tmp_path):
    path = file(
        tmp_path,
        "title,year,boxOffice,imdbId,tmdbId\n"
        "Heat,1995,,tt0113277,949\n"
        "HEAT,1995,5,,\n"
        "Anything,1900,6,,949\n"
        "Alien,1979,7,,\n"
        "Alien,1979,8,tt0078748,\n",
    )
    report = await stores.run(path)
    assert report.movies.added == 2
    _, movies, _ = await stores.all()
    assert {(one.title, one.imdb_id, one.box_office) for one in movies} == {
        ("Heat", "tt0113277", 5),
        ("Alien", "tt0078748", 7),
    }
    report = await stores.run(path)
    assert (report.added, report.replaced) == (0, 0)


async def test_a_movie_of_which_a_file_tells_twice_stays_one(stores, tmp_path):
    """Also where only what it tells first says which one of the catalogue it is."""
    await stores.catalogue.put(Movie("tmdb-949", "Heat", 1995, (), None, None, 949))
    path = file(
        tmp_path,
        "title,year,boxOffice,imdbId,tmdbId\n"
        "Heat,1995,,tt0113277,949\n"
        "Heat (Director's Cut),1996,5,tt0113277,\n",
    )
    assert (await stores.run(path)).movies == Merged(replaced=2)
    _, movies, _ = await stores.all()
    assert [(movie.id, movie.box_office) for movie in movies] == [("tmdb-949", 5)]
    assert (await stores.run(path)).added == 0


async def test_an_imdb_id_is_known_however_it_is_padded(stores, tmp_path):
    await stores.catalogue.put(Movie("tt0420238", "Despereaux", 2008))
    await stores.catalogue.put(Movie("mine", "Rush", 2007, (), None, "tt0293564"))
    path = file(
        tmp_path, "title,year,gross,imdb\nThe Tale,2009,5,tt420238\nRush 3,2007,6,tt00293564\n"
    )
    assert (await stores.run(path)).movies == Merged(replaced=2)
    path = file(tmp_path, "id,title,year\ntt420238,The Tale,2009\n")
    assert (await stores.run(path)).movies == Merged(unchanged=1)


async def test_a_dry_run_foresees_who_won(stores, tmp_path):
    header = "Year,Category,Nominee,Additional Info,Won?\n"
    won = file(tmp_path, f"{header}1972 (45th),Best Picture,The Godfather,x,YES\n", "won.csv")
    lost = file(tmp_path, f"{header}1972 (45th),Best Picture,The Godfather,x,NO\n", "lost.csv")
    assert (await stores.run(won)).nominations == Merged(added=1)
    assert (await stores.run(lost)).nominations == Merged(unchanged=1)


async def test_a_dry_run_knows_movies_by_their_imdb_id_as_the_stores_do(stores, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    file(folder, "id,title,year\ntt0113277,Heat,1995\n", "a.csv")
    file(folder, "title,year,imdbId\nThe Heat,1996,tt0113277\n", "b.csv")
    assert (await stores.run(folder)).movies == Merged(added=1, replaced=1)


async def test_a_dry_run_knows_long_titles_as_far_as_the_stores_do(stores, tmp_path):
    long = "y" * 300
    folder = tmp_path / "files"
    folder.mkdir()
    file(folder, f"id,title,year\nm-1,{long} one,1995\n", "a.csv")
    file(folder, f"title,year,boxOffice\n{long} two,1995,5\n", "b.csv")
    assert (await stores.run(folder)).movies == Merged(added=1, replaced=1)


@pytest.mark.no_cover
async def test_the_real_files_one_after_the_other_and_again(stores):
    data = data_dir()
    names = ("box-office", "tmdb", "movielens-small", "oscars", "academy_awards.csv")
    for name in names:
        await stores.run(data / name)
    for name in names:
        found = importers.find("auto", [data / name])
        report = await importers.load(found, stores.ratings, stores.catalogue)
        assert (name, report.added, report.replaced) == (name, 0, 0)


async def test_a_file_that_nobody_reads_is_told(five, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    file(folder, f"{LETTERBOXD}2020-02-01,Heat,1995,u,4\n", "ratings.csv")
    file(folder, f"Watched Date,{LETTERBOXD}2020-02-01,2020-02-01,Heat,1995,u,4\n", "diary.csv")
    file(folder, "", "empty.csv")
    file(folder, "Date,Tag\n", "tags.csv")
    details = []
    report = await five.run(
        folder, user_id="ann", detail=lambda name, line, why: details.append((name, line, why))
    )
    assert report.ratings == Merged(added=1)
    assert report.lines()[:4] == [
        "ratings.csv: read as letterboxd",
        "diary.csv: not read: other files of letterboxd beside it say more",
        "empty.csv: not read: it is empty",
        "tags.csv: not read: it is not anything known: it has the columns Date, Tag",
    ]
    assert [(name, line) for name, line, _ in details[:3]] == [
        ("diary.csv", 0),
        ("empty.csv", 0),
        ("tags.csv", 0),
    ]
    assert details[1][2] == "not read: it is empty"


async def test_a_movie_that_comes_later_is_found_by_its_nominations(stores, tmp_path):
    awards = file(
        tmp_path,
        "Year,Category,Nominee,Additional Info,Won?\n"
        "1972 (45th),Best Picture,Cabaret,Cy Feuer,NO\n"
        "1995 (68th),Best Picture,The Postman (Il Postino),Mario Cecchi Gori,NO\n"
        "1996 (69th),Best Picture,Emma,Somebody,YES\n",
        "academy_awards.csv",
    )
    assert (await stores.run(awards)).without_movie == 3
    movies = file(
        tmp_path,
        "id,title,year\nm-1,Il Postino,1994\nm-2,Emma,1996\nm-3,Emma,1997\nm-4,Emma,1932\n",
        "movies.csv",
    )
    report = await stores.run(movies)
    assert report.found_movie == 2
    found = {one.title: one.movie_id for one in await stores.catalogue.nominations()}
    assert found == {"Cabaret": None, "The Postman (Il Postino)": "m-1", "Emma": "m-2"}
    assert (await stores.run(movies)).found_movie == 0
    assert (await stores.run(awards)).replaced == 0


async def test_nominations_find_their_movies_and_two_sources_do_not_double_them(five, tmp_path):
    old = file(
        tmp_path,
        "Year,Category,Nominee,Additional Info,Won?\n"
        "1972 (45th),Best Picture,The Godfather,Albert S. Ruddy,YES\n"
        "1995 (68th),Best Picture,The Postman (Il Postino),Mario Cecchi Gori,NO\n"
        "1972 (45th),Best Picture,Cabaret,Cy Feuer,NO\n",
        "academy_awards.csv",
    )
    report = await five.run(old)
    assert report.nominations == Merged(added=3)
    assert report.without_movie == 1
    found = {one.title: one for one in await five.catalogue.nominations()}
    assert found["The Godfather"] == Nomination(
        45, "The Godfather", 1972, "1972 (45th)", True, "Albert S. Ruddy", "tt0068646"
    )
    assert found["The Postman (Il Postino)"].movie_id == "m-1"
    assert found["Cabaret"].movie_id is None
    await five.catalogue.put(Movie("tt0068327", "Cabaret", 1972, (), None, "tt0068327"))
    new = file(
        tmp_path,
        "Ceremony\tYear\tCanonicalCategory\tFilm\tFilmId\tName\tWinner\tCategory\n"
        "45\t1972\tBEST PICTURE\tThe Godfather\ttt0068646\tOther Words\tTrue\tBEST PICTURE\n"
        "45\t1972\tBEST PICTURE\tCabaret\ttt0068327\tOther Words\t\tBEST PICTURE\n",
        "oscars.csv",
    )
    report = await five.run(new)
    assert report.nominations == Merged(replaced=1, unchanged=1)
    assert (await five.run(new)).nominations == Merged(unchanged=2)
    standing = await five.catalogue.get("tt0068646")
    assert standing is not None
    assert standing.won


async def test_a_nomination_of_two_files_lacks_its_movie_once(stores, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    header = "Year,Category,Nominee,Additional Info,Won?\n"
    cabaret = "1972 (45th),Best Picture,Cabaret,Cy Feuer,NO\n"
    file(folder, header + cabaret, "first.csv")
    file(folder, header + cabaret + "1972 (45th),Best Picture,Sounder,,NO\n", "second.csv")
    assert (await stores.run(folder)).without_movie == 2


async def test_the_nominations_of_a_file_come_at_once(five, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "CHUNK", 2)
    titles = ("The Godfather", "Cabaret", "Deliverance", "Sounder", "Godfather, The")
    path = file(
        tmp_path,
        "Year,Category,Nominee,Additional Info,Won?\n"
        + "".join(f'1972 (45th),Best Picture,"{title}",,NO\n' for title in titles),
    )
    revision = await five.catalogue.revision()
    report = await five.run(path)
    assert report.nominations == Merged(added=4)
    assert report.left_out == {loading.SAID_AGAIN: 1}
    assert await five.catalogue.revision() == revision + 1


async def test_our_own_export_comes_back_to_the_letter(five, tmp_path):
    odd = Movie(
        "odd", 'A  "title", with | and [x]', None, ("A|B", "C, D", "[E]"), 2**53, "tt0000001", 7
    )
    await five.catalogue.put(odd)
    for imdb_id in ("tt420238", "tt00420238"):
        await five.catalogue.put(Movie(imdb_id, "Short and long", 2008, (), None, imdb_id))
    await five.ratings.write('ann, "x"', "odd", 1)
    await five.ratings.write("ann", "tt420238", 2)
    await five.ratings.write("bob", HEAT.id, 20)
    await five.catalogue.put(Movie("gone", "Gone", None))
    await five.ratings.write("bob", "gone", 4)
    await five.catalogue.delete("gone")  # it is still his, and counts if the movie comes back
    ratings, movies, _ = before = await five.all()
    for form, write in (("csv", exports.as_csv), ("json", exports.as_json)):
        folder = tmp_path / form
        folder.mkdir()
        for name, columns, pages in (
            ("movies", exports.MOVIE, exports.movies(five.catalogue)),
            ("ratings", exports.RATING, exports.ratings(five.ratings, None)),
        ):
            text = "".join([part async for part in write(columns, pages)])
            file(folder, text, f"{name}.{form}")
        report = await five.run(folder)
        assert report.movies == Merged(unchanged=len(movies))
        assert report.ratings == Merged(unchanged=len(ratings))
        database = await Database.open(tmp_path / f"{form}.sqlite3")
        other = Stores(database, await SqliteRatings.open(database))
        report = await other.run(folder)
        assert report.files == [
            (f"movies.{form}", "movies"),
            (f"ratings.{form}", "ratings"),
        ]
        assert report.ratings_without_movie == 1
        assert await other.all() == before
        await database.close()


def test_each_source_is_told_by_what_is_in_it():
    data = data_dir()
    for name, source in {
        "academy_awards.csv": "academy-awards",
        "oscars/oscars.csv": "academy-awards",
        "movielens-small/ratings.csv": "movielens",
        "movielens-small/movies.csv": "movielens",
        "tmdb/tmdb_5000_movies.csv": "movies",
        "box-office/vega_movies.json": "movies",
        "box-office/fivethirtyeight_bechdel_movies.csv": "movies",
    }.items():
        readings = importers.find("auto", [data / name]).readings
        assert [reading.source for reading in readings] == [source]


@pytest.mark.parametrize(
    ("name", "text", "options", "told"),
    [
        ("empty.csv", "", {}, "is empty"),
        ("blank.csv", "\n \n", {}, "is empty"),
        ("other.csv", "a,b\n1,2\n", {}, "is not anything known: it has the columns a, b"),
        ("other.csv", "a,b\n1,2\n", {"source": "imdb"}, "is not a file of imdb"),
        ("b.csv", "\x00\x01,\x02,\xff\n", {}, "is not anything known.$"),
        ("NOTE", "What was given to us in the summer of 2018, untouched\n", {}, "thing known.$"),
        ("LICENSE", "BSD 2-Clause License\n", {}, "is not anything known.$"),
        ("x.csv", LETTERBOXD, {}, "x.csv does not say whose ratings they are: .*--user"),
        ("x.csv", LETTERBOXD, {"user_id": "a\nb"}, "A user's id is 1 to 128"),
        ("x.csv", "userId,movieId,rate,ratedAt\n", {"user_id": "a"}, "leave --user out"),
        ("ratings.csv", "userId,movieId,rating,timestamp\n", {}, "links.csv or movies.csv"),
        ("x.csv", "title,year,rating\nHeat,1995,4\n", {}, "is not anything known"),
        ("x.csv", LETTERBOXD, {"source": "netflix"}, "There is no source netflix"),
    ],
)
async def test_what_can_not_be_imported_is_said_in_one_line(
    stores, tmp_path, name, text, options, told
):
    folder = tmp_path / "files"
    folder.mkdir()
    with pytest.raises(Invalid, match=told) as error:
        await stores.run(file(folder, text, name), **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("source", ["auto", "movies", "ratings"])
async def test_an_export_of_nothing_is_no_fault_of_what_is_beside_it(five, tmp_path, source):
    nothing = "".join([part async for part in exports.as_json(exports.MOVIE, pages_of())])
    report = await five.run(file(tmp_path, nothing, "nothing.json"), source=source)
    assert (report.read, report.unread) == (0, [("nothing.json", "it is empty")])


async def pages_of(*pages: exports.Rows):
    for page in pages:
        yield page


async def test_of_what_is_said_again_the_older_is_left_out_wherever_it_stands(five, tmp_path):
    days = {2: 6, 3: 5, 4: 7}
    rows = "".join(f"2020-01-{day:02},Heat,1995,u,{day / 2}\n" for day in days.values())
    told = []
    path = file(tmp_path, LETTERBOXD + rows)
    await five.run(path, user_id="ann", detail=lambda _, line, __: told.append(line))
    assert sorted(set(told)) == [2, 3]
    assert (await five.ratings.read("ann", HEAT.id)).value == 14


async def test_a_header_alone_is_read_as_nothing(stores, tmp_path):
    report = await stores.run(file(tmp_path, LETTERBOXD), user_id="ann")
    assert (report.read, report.added) == (0, 0)
    assert report.lines() == ["file.csv: read as letterboxd", "0 rows read"]


async def test_a_single_row_is_one(five, tmp_path):
    report = await five.run(file(tmp_path, f"{LETTERBOXD}2020-01-01,Heat,1995,u,4\n"), user_id="a")
    assert report.lines()[1] == "1 row read"


async def test_chunks_are_committed_as_they_go(five, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "CHUNK", 2)
    rows = [f"2020-01-01,{movie.title},{movie.year},u,4" for movie in (HEAT, GODFATHER, POSTMAN)]
    path = file(tmp_path, LETTERBOXD + "\n".join(rows))
    seen = []

    def stop(done: int, total: int, read: int) -> None:
        seen.append((done, total, read))
        raise KeyboardInterrupt

    found = importers.find("auto", [path], "ann")
    with pytest.raises(KeyboardInterrupt):
        await importers.load(found, five.ratings, five.catalogue, progress=stop)
    assert seen == [(path.stat().st_size, path.stat().st_size, 2)]
    assert len((await five.all())[0]) == 2
    report = await importers.load(found, five.ratings, five.catalogue)
    assert report.ratings == Merged(added=1, unchanged=2)


async def test_all_ids_of_a_chunk_are_one_question(five):
    """A store with few connections would be busy with thousands for longer than it may."""
    asked = []

    class Catalogue:
        async def match(self, clues):
            asked.append(len(clues))
            return await five.catalogue.match(clues)

    ids = [HEAT.id, "none", *(f"m-{n}" for n in range(50))]
    found = await Matcher(Catalogue()).find(ids, loose=False)
    assert {id: those for id, those in found.items() if those} == {
        movie.id: (movie.id,) for movie in (HEAT, POSTMAN)
    }
    assert asked == [len(ids)]


async def test_a_repeated_pair_is_counted_alike_over_chunks(five, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "CHUNK", 3)
    rows = [f"2020-01-{day:02},Heat,1995,u,{day % 5 + 0.5}" for day in (1, 3, 2, 5, 4, 6, 7)]
    report = await five.run(file(tmp_path, LETTERBOXD + "\n".join(rows)), user_id="ann")
    assert report.ratings == Merged(added=1, replaced=2)
    assert report.left_out == {loading.SAID_AGAIN: 4}
    assert (await five.ratings.read("ann", HEAT.id)).value == 10


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(
        [
            "Const,Your Rating,Date Rated,Title,Year\n",
            LETTERBOXD,
            "userId,movieId,rate,ratedAt\n",
            "id,title,year,genres,boxOffice,imdbId,tmdbId\n",
            "Year,Category,Nominee,Additional Info,Won?\n",
            '[{"rated_at": "2020-01-01", "rating": 5, "type": "movie", "title": "x"},\n',
        ]
    ),
    st.lists(
        st.lists(
            st.sampled_from(
                ["tt0113277", "Heat", "1995", "9", "2020-01-01", '"', "", "-1", "é", "[", "{", "\0"]
            )
            | st.text(max_size=5),
            max_size=7,
        ),
        max_size=8,
    ),
)
def test_whatever_is_in_the_rows_they_are_counted(tmp_path, header, rows):
    """Any rows under a known header: each is taken, or left out with its reason."""
    text = header + "\n".join(",".join(row) for row in rows)
    path = tmp_path / "any.csv"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    for reading in importers._readings("auto", path, importers._sheets(path)):
        for _, part in reading.parts(loading.Asked("ann", 2**51)):
            assert all(isinstance(row.line, int) for row in part)


async def test_the_demo_loads_and_loading_it_again_changes_nothing(stores):
    report = await demo.load(stores.ratings, stores.catalogue)
    assert report.movies == Merged(added=2272)
    assert report.nominations == Merged(added=621)
    assert report.without_movie == 0
    assert 20_000 < report.ratings.added < 40_000
    assert (await demo.load(stores.ratings, stores.catalogue)).added == 0
    ratings, movies, nominations = await stores.all()
    assert {rating.user_id[:11] for rating in ratings} == {"demo-rater-"}
    assert all(movie.year for movie in movies)
    assert Counter(genre for movie in movies for genre in movie.genres) == {
        "Animation": 38,
        "Musical": 10,
    }
    assert {one.ceremony for one in nominations if one.won} == set(range(1, 99))
    assert not any("&" in movie.title and ";" in movie.title for movie in movies)
    assert "made up" in demo.LABEL


def test_the_dice_of_the_demo_always_fall_alike():
    first = [(one.imdb_id, one) for one in demo.fame()]
    assert list(demo.made_up(first)) == list(demo.made_up(first))
    assert [one for _, one in first] == list(demo.fame())


class Heeded(SqliteCatalogue):
    """Remembers how many movies it was given at a time."""

    at_a_time: list[int]

    async def merge(self, movies: Sequence[Movie]) -> Merged:
        self.at_a_time.append(len(movies))
        return await super().merge(movies)


async def test_movies_are_written_a_few_at_a_time(tmp_path):
    """A rating beside them waits for as many."""
    rows = [f"m{number},Movie {number}\n" for number in range(1201)]
    database = await Database.open(tmp_path / "marquee.sqlite3")
    catalogue, ratings = Heeded(database), await SqliteRatings.open(database)
    catalogue.at_a_time = []
    path = file(tmp_path, "id,title\n" + "".join(rows))
    report = await importers.load(importers.find("movies", [path]), ratings, catalogue)
    assert report.movies == Merged(added=1201)
    assert catalogue.at_a_time == [500, 500, 201]
    await database.close()
