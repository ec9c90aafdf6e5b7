"""``ports.Catalogue``: movies and nominations."""

import random
from dataclasses import replace

import pytest

from marquee.errors import Conflict
from marquee.importers.rehearsal import RehearsedCatalogue
from marquee.model import Merged, Movie, Nomination, RatingChanged, Standing, Totals, place_of
from marquee.ports import Batch, Clue

WHOLE = Movie("tt1", "The Third Man", 1949, ("Film-Noir", "Thriller"), 2**53, "tt1", 1092)
BARE = Movie("bare", "Bare")


@pytest.fixture
def store(stores):
    return stores.catalogue


async def all_of(pages):
    return [each async for page in pages for each in page]


async def found_by(store, query="", genre=None, year=None):
    page, _ = await store.search(query, genre, year, None, 100)
    return [standing.movie.id for standing in page]


def nomination(ceremony, title, *, won=False, movie_id=None, info=""):
    label = f"{ceremony + 1927} ({ceremony}th)"
    return Nomination(ceremony, title, ceremony + 1927, label, won, info, movie_id)


class TestWrite:
    async def test_put_says_whether_it_was_added(self, store):
        assert await store.put(WHOLE) is True
        assert await store.put(WHOLE) is False
        assert await store.get("tt1") == Standing(WHOLE, Totals())

    async def test_put_replaces_all_of_it(self, store):
        await store.put(WHOLE)
        await store.put(replace(BARE, id="tt1"))
        assert (await store.get("tt1")).movie == replace(BARE, id="tt1")
        assert await found_by(store, "third") == []
        assert await found_by(store, genre="Thriller") == []
        assert await store.match([Clue("tt1"), Clue(tmdb_id=1092)]) == [("tt1",), ()]

    async def test_add_refuses_an_id_that_is_taken(self, store):
        await store.add(WHOLE)
        with pytest.raises(Conflict):
            await store.add(replace(BARE, id="tt1"))
        assert (await store.get("tt1")).movie == WHOLE

    async def test_delete_says_whether_it_was_there(self, store):
        await store.put(WHOLE)
        assert await store.delete("tt1") is True
        assert await store.delete("tt1") is False
        assert await store.get("tt1") is None
        assert await store.has("tt1") is False
        assert await found_by(store) == await all_of(store.scan()) == []
        await store.add(WHOLE)
        assert await found_by(store, "third") == ["tt1"]

    async def test_ratings_of_a_deleted_movie_go_on_counting_unseen(self, stores):
        store = stores.catalogue
        await store.put(BARE)
        await stores.totals.fold(Batch([RatingChanged("bare", bytes(16), 1, 5)]))
        await store.delete("bare")
        await stores.totals.fold(Batch([RatingChanged("bare", b"x" * 16, 1, 7)]))
        await store.add(BARE)
        assert (await store.get("bare")).totals.total == 12

    async def test_a_read_shows_the_last_write_at_once(self, store):
        for number in range(30):
            await store.put(replace(BARE, title=f"Title {number}"))
            assert (await store.get("bare")).movie.title == f"Title {number}"
            assert await found_by(store, f"title {number}") == ["bare"]

    async def test_ids_are_told_apart_by_case(self, store):
        await store.put(Movie("aA", "One"))
        assert await store.get("aa") is None
        assert await store.put(Movie("aa", "Two"))


class TestSearch:
    @pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
    async def test_by_title_then_id_without_duplicate_or_gap(self, store, limit):
        titles = ["Beta", "alpha", "Alpha", "beta", "Álpha", "Gamma 2"]
        movies = [Movie(f"m{n}", title) for n, title in enumerate(titles)]
        for movie in reversed(movies):
            await store.put(movie)
        found, after = [], None
        while True:
            page, after = await store.search("", None, None, after, limit)
            assert len(page) <= limit
            found += [standing.movie.id for standing in page]
            if after is None:
                break
        assert found == ["m1", "m2", "m4", "m0", "m3", "m5"]

    @pytest.mark.parametrize("genre", [None, "Drama"])
    async def test_long_titles_stand_where_they_stand_elsewhere(self, store, genre):
        """Those that begin alike are ordered by id, however they go on; and letters may expand."""
        for movie_id, title in [
            ("m0", "y" * 499 + "b"),
            ("m1", "y" * 499 + "a"),
            ("m2", "\ufdfa" * 500),
            ("m3", "\ufdfa" * 499 + "a"),
            ("m4", "Y" * 250),
        ]:
            await store.put(Movie(movie_id, title, genres=("Drama",)))
        found, after = [], None
        for _ in range(5):
            page, after = await store.search("", genre, None, after, 1)
            found += [standing.movie.id for standing in page]
            assert after is None or len(after) < 300
        assert (found, after) == (["m0", "m1", "m4", "m2", "m3"], None)

    async def test_none_beside_the_last_page(self, store):
        for n in range(4):
            await store.put(Movie(f"m{n}", f"Title {n}"))
        page, after = await store.search("", None, None, None, 4)
        assert (len(page), after) == (4, None)

    async def test_every_word_as_a_prefix(self, store):
        await store.put(Movie("m", "Amélie of Montmartre, Part 2"))
        for query in ("amelie", "MONT am", "part\t2", "Amé mont of", "a"):
            assert await found_by(store, query) == ["m"], query
        for query in ("melie", "amelie x", "part 3", "montmartres"):
            assert await found_by(store, query) == [], query

    @pytest.mark.parametrize("query", ['"', "*", "a* OR b", "NEAR(a)", "-", "()", "😀", "words:x"])
    async def test_a_query_is_no_language(self, store, query):
        await store.put(Movie("m", "Title"))
        assert await found_by(store, query) == []

    async def test_signs_where_a_title_is_nothing_else(self, store):
        for movie_id, title in {"m1": "$", "m2": "!!!", "m3": "$9.99"}.items():
            await store.put(Movie(movie_id, title, genres=("Comedy",)))
        for query, found in {"$": ["m1"], "!": ["m2"], "!!!": ["m2"]}.items():
            assert await found_by(store, query) == found, query
        for query in ("!!!!", "\u200b"):
            assert await found_by(store, query) == [], query
        assert await found_by(store, "$", "comedy") == ["m1"]

    async def test_genre_and_year(self, store):
        await store.put(WHOLE)
        await store.put(replace(BARE, genres=("Thriller",)))
        assert await found_by(store, genre="THRILLER") == ["bare", "tt1"]
        assert await found_by(store, genre="Thrill") == []
        assert await found_by(store, year=1949) == ["tt1"]
        assert await found_by(store, "man", "film-noir", 1949) == ["tt1"]
        assert await found_by(store, "man", "film-noir", 1950) == []


class TestScan:
    async def test_every_movie_by_id(self, store):
        ids = [f"{letter}{n}" for n in range(500) for letter in "aB_"]
        await store.merge([Movie(id, "Title") for id in ids])
        assert [standing.movie.id for standing in await all_of(store.scan())] == sorted(ids)


class TestMatch:
    async def test_by_imdb_id_else_tmdb_id_else_title_and_year(self, store):
        await store.put(WHOLE)
        await store.put(Movie("own", "Alien", 1979, imdb_id="tt0078748", tmdb_id=348))
        clues = [
            *(Clue("tt1"), Clue("tt0078748"), Clue(None, 348), Clue("tt9", 348)),
            *(Clue(title="alien", year=1979), Clue(title="The Alien", year=1979)),
            *(Clue("tt9", 9, "Third Man, The", 1949), Clue(title="Alien", year=1980)),
            *(Clue(title="Alien"), Clue(year=1979), Clue(), Clue("tt9")),
        ]
        assert await store.match(clues) == [
            *(("tt1",), ("own",), ("own",), ("own",), ("own",), ("own",), ("tt1",)),
            *((), (), (), (), ()),
        ]

    async def test_the_imdb_id_before_what_else_is_said(self, store):
        await store.put(WHOLE)
        await store.put(Movie("own", "Alien", 1979, tmdb_id=348))
        assert await store.match([Clue("tt1", 348, "Alien", 1979)]) == [("tt1",)]

    async def test_an_id_of_the_catalogue_is_one_before_it_is_anothers_imdb_id(self, store):
        await store.put(Movie("own", "Alien", 1979, imdb_id="tt0078748"))
        await store.put(Movie("tt0078748", "Aliens", 1986))
        assert await store.match([Clue("own"), Clue("tt0078748")]) == [("own",), ("tt0078748",)]

    async def test_several_are_not_none(self, store):
        await store.put(Movie("one", "Hamlet", 1948, tmdb_id=1))
        await store.put(Movie("two", "HAMLET", 1948, tmdb_id=1))
        clues = [Clue(title="Hamlet", year=1948), Clue(None, 1, "Hamlet", 1948), Clue(None, 2)]
        by_title, by_tmdb_id, by_none = await store.match(clues)
        assert set(by_title) == set(by_tmdb_id) == {"one", "two"}
        assert by_none == ()

    async def test_none(self, store):
        assert await store.match([]) == []


class TestMerge:
    async def test_adds(self, store):
        assert await store.merge([WHOLE, BARE]) == Merged(added=2)
        assert await store.merge([WHOLE, BARE]) == Merged(unchanged=2)
        assert (await store.get("tt1")).movie == WHOLE

    async def test_fills_in_only_what_was_unknown(self, store):
        known = Movie("tt1", "As it was", None, ("Drama",), 5, None, None)
        await store.put(known)
        assert await store.merge([WHOLE]) == Merged(replaced=1)
        expected = replace(known, year=1949, imdb_id="tt1", tmdb_id=1092)
        assert (await store.get("tt1")).movie == expected

    async def test_nothing_is_unknown_about_zero(self, store):
        await store.put(replace(WHOLE, box_office=0))
        assert await store.merge([WHOLE]) == Merged(unchanged=1)

    async def test_brings_back_what_was_deleted(self, store):
        await store.put(WHOLE)
        await store.delete("tt1")
        assert await store.merge([WHOLE]) == Merged(added=1)

    async def test_a_dry_run_foresees_it_all(self, store):
        """Of any files, one after the other, and what then stands there."""
        dice = random.Random(20)
        for deleted in "abc":
            files = [
                [
                    Movie(
                        dice.choice("abcd"),
                        dice.choice(("One", "Two")),
                        dice.choice((None, 1949, 1950)),
                        dice.choice(((), ("Drama",), ("Noir", "Drama"))),
                        dice.choice((None, 0, 2**53)),
                        dice.choice((None, "tt1", "tt2")),
                        dice.choice((None, 1, 2)),
                    )
                    for _ in range(dice.randrange(4))
                ]
                for _ in range(5)
            ]
            rehearsed = RehearsedCatalogue(store)
            foreseen = [await rehearsed.merge(file) for file in files]
            stands = [await rehearsed.get(movie_id) for movie_id in "abcd"]
            assert [await store.merge(file) for file in files] == foreseen
            assert [await store.get(movie_id) for movie_id in "abcd"] == stands
            await store.delete(deleted)


class TestNominations:
    async def test_newest_ceremony_first_the_winner_before_the_others_then_by_title(self, store):
        nominations = [
            nomination(1, "B"),
            nomination(1, "A"),
            nomination(1, "Z", won=True),
            nomination(10, "A"),
            nomination(9, "The Á"),
        ]
        assert await store.merge_nominations(nominations) == Merged(added=5)
        found = [(n.ceremony, n.title) for n in await store.nominations()]
        assert found == [(10, "A"), (9, "The Á"), (1, "Z"), (1, "A"), (1, "B")]

    async def test_again_changes_nothing(self, store):
        nominations = [nomination(1, "A", won=True, movie_id="m", info="x"), nomination(1, "B")]
        await store.merge_nominations(nominations)
        revision = await store.revision()
        assert await store.merge_nominations(nominations) == Merged(unchanged=2)
        assert await store.revision() == revision
        assert await store.nominations() == nominations

    async def test_a_title_is_known_by_its_letters(self, store):
        await store.merge_nominations([nomination(1, "Les Misérables")])
        other = nomination(1, "les miserables", won=True, movie_id="m", info="x")
        assert await store.merge_nominations([other]) == Merged(replaced=1)
        (found,) = await store.nominations()
        assert (found.title, found.won, found.movie_id) == ("Les Misérables", True, "m")

    async def test_it_is_won_where_any_source_says_so(self, store):
        won, lost = nomination(1, "A", won=True), nomination(1, "A")
        await store.merge_nominations([lost])
        assert await store.merge_nominations([won]) == Merged(replaced=1)
        assert await store.merge_nominations([lost]) == Merged(unchanged=1)
        assert await store.nominations() == [won]

    async def test_a_dry_run_foresees_them_all(self, store):
        dice = random.Random(20)
        for _ in range(3):
            files = [
                [
                    nomination(
                        dice.choice((1, 2)),
                        dice.choice(("Emma", "EMMA", "Heat")),
                        won=dice.random() < 0.2,
                        movie_id=dice.choice((None, None, "a", "b")),
                        info=dice.choice(("", "", "x", "y")),
                    )
                    for _ in range(dice.randrange(4))
                ]
                for _ in range(5)
            ]
            rehearsed = RehearsedCatalogue(store)
            foreseen = [await rehearsed.merge_nominations(file) for file in files]
            assert [await store.merge_nominations(file) for file in files] == foreseen
            stands = await rehearsed.nominations()
            assert sorted(await store.nominations(), key=place_of) == sorted(stands, key=place_of)

    async def test_a_standing_says_whether_it_won(self, store):
        for id in ("won", "nominated", "never"):
            await store.put(Movie(id, id))
        await store.merge_nominations(
            [
                nomination(1, "A", won=True, movie_id="won"),
                nomination(2, "B", movie_id="won"),
                nomination(2, "C", movie_id="nominated"),
            ]
        )
        found = {id: (await store.get(id)).won for id in ("won", "nominated", "never")}
        assert found == {"won": True, "nominated": False, "never": None}


async def test_the_revision_changes_with_every_change(store):
    seen = [await store.revision()]
    for change in (
        lambda: store.put(BARE),
        lambda: store.put(WHOLE),
        lambda: store.put(replace(WHOLE, title="Another")),
        lambda: store.delete("tt1"),
        lambda: store.add(WHOLE),
        lambda: store.merge([Movie("m", "M")]),
        lambda: store.merge_nominations([nomination(1, "A")]),
        lambda: store.merge_nominations([nomination(1, "A", won=True)]),
    ):
        await change()
        seen.append(await store.revision())
    assert len(set(seen)) == len(seen)
    assert await store.revision() == seen[-1]
