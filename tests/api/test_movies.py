"""The catalogue: search, read, write."""

import pytest

from marquee.http import cursors
from tests.api.asking import MOVIE_KEYS, assert_problem, eventually, pages

WHOLE = {
    "title": "The Third Man",
    "year": 1949,
    "genres": ["Film-Noir", "Thriller"],
    "boxOffice": 618_173,
    "imdbId": "tt0041959",
    "tmdbId": 1092,
}
UNRATED = {
    "rate": None,
    "averageRating": None,
    "weightedRating": None,
    "numberOfRatings": 0,
    "totalRatingScore": 0,
    "bestPicture": None,
}
BARE = {"year": None, "genres": [], "boxOffice": None, "imdbId": None, "tmdbId": None}


class TestRead:
    def test_shape(self, stage, anyone):
        movie = stage.movie(**WHOLE)
        answer = anyone.get(f"/movies/{movie}")
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/json"
        assert set(answer.json()) == MOVIE_KEYS
        assert answer.json() == {"id": movie} | WHOLE | UNRATED

    def test_with_ratings(self, stage, anyone):
        movie = stage.rated([9, 8.5, 3])
        stage.await_ratings(movie, 3)
        found = anyone.get(f"/movies/{movie}").json()
        assert found["numberOfRatings"] == 3
        assert found["totalRatingScore"] == 20.5
        assert found["averageRating"] == 20.5 / 3
        assert found["weightedRating"] == (20.5 + 65) / 13
        assert found["rate"] == 6.6

    def test_unknown(self, anyone):
        assert_problem(anyone.get("/movies/tt9999999"), 404)

    def test_ids_are_case_sensitive(self, stage, anyone):
        movie = stage.movie(stage.name("CaSe"))
        assert anyone.get(f"/movies/{movie}").status_code == 200
        assert_problem(anyone.get(f"/movies/{movie.lower()}"), 404)

    def test_an_id_may_be_percent_encoded(self, stage, anyone):
        movie = stage.movie()
        encoded = "".join(f"%{ord(letter):02X}" for letter in movie)
        url = anyone.base_url.copy_with(raw_path=f"/movies/{encoded}".encode())
        assert anyone.get(url).json()["id"] == movie

    @pytest.mark.parametrize("id", ["x" * 21, "a.b", "a b", "é", "tt1;", "~", "a:b", "a%01"])
    @pytest.mark.parametrize("under", ["", "/ratings"])
    def test_what_is_no_id(self, anyone, id, under):
        assert anyone.get(f"/movies/{id}{under}").status_code == 400


class TestRatings:
    def test_shape(self, stage, anyone):
        movie = stage.rated([0.5, 10, 10, 7.5])
        ratings = stage.await_ratings(movie, 4)
        assert ratings == {
            "movieId": movie,
            "averageRating": 7.0,
            "weightedRating": (28 + 65) / 14,
            "numberOfRatings": 4,
            "totalRatingScore": 28,
            "distribution": [
                {"score": half / 2, "count": {1: 1, 15: 1, 20: 2}.get(half, 0)}
                for half in range(1, 21)
            ],
        }

    def test_where_there_is_none(self, stage):
        movie = stage.movie()
        ratings = stage.ratings_of(movie)
        assert ratings["averageRating"] is ratings["weightedRating"] is None
        assert ratings["numberOfRatings"] == ratings["totalRatingScore"] == 0
        assert [each["count"] for each in ratings["distribution"]] == [0] * 20

    def test_where_there_is_none_any_more(self, stage, user):
        movie = stage.movie()
        user.post(f"/movies/{movie}/users/rate", json={"rate": 9})
        stage.await_ratings(movie, 1)
        user.delete(f"/movies/{movie}/users/rate")
        ratings = stage.await_ratings(movie, 0)
        assert ratings["averageRating"] is ratings["weightedRating"] is None
        assert ratings["totalRatingScore"] == 0

    def test_of_an_unknown_movie(self, anyone):
        assert_problem(anyone.get("/movies/tt9999999/ratings"), 404)


class TestWrite:
    def test_post(self, stage, editor, anyone):
        movie = stage.name("posted")
        answer = editor.post("/movies", json={"id": movie} | WHOLE)
        assert answer.status_code == 201
        assert answer.headers["location"] == f"/movies/{movie}"
        assert answer.json() == {"id": movie} | WHOLE | UNRATED
        assert anyone.get(answer.headers["location"]).json() == answer.json()

    def test_post_of_an_id_that_exists(self, stage, editor, anyone):
        movie = stage.movie(title="The first")
        assert_problem(editor.post("/movies", json={"id": movie, "title": "Another"}), 409)
        assert anyone.get(f"/movies/{movie}").json()["title"] == "The first"

    def test_post_without_an_id_takes_the_imdb_id(self, editor):
        body = {"title": "Alien", "imdbId": "tt0078748"}
        assert editor.post("/movies", json=body).json()["id"] == "tt0078748"
        assert_problem(editor.post("/movies", json=body), 409)

    def test_post_without_any_id_makes_one(self, editor, anyone):
        first, second = (editor.post("/movies", json={"title": "x"}) for _ in range(2))
        assert first.status_code == second.status_code == 201
        assert first.json()["id"] != second.json()["id"]
        assert anyone.get(first.headers["location"]).json() == first.json()

    def test_put(self, stage, editor, anyone):
        movie = stage.name("put")
        added = editor.put(f"/movies/{movie}", json=WHOLE)
        assert added.status_code == 201
        replaced = editor.put(f"/movies/{movie}", json={"title": "Bare"})
        assert replaced.status_code == 200
        assert replaced.json() == {"id": movie, "title": "Bare"} | BARE | UNRATED
        assert anyone.get(f"/movies/{movie}").json() == replaced.json()

    def test_put_keeps_the_ratings(self, stage, editor):
        movie = stage.rated([9])
        stage.await_ratings(movie, 1)
        answer = editor.put(f"/movies/{movie}", json={"title": "Another"})
        assert answer.json()["numberOfRatings"] == 1

    def test_delete(self, stage, editor, anyone):
        movie = stage.movie(title="Zyzzyva leaves")
        answer = editor.delete(f"/movies/{movie}")
        assert answer.status_code == 204
        assert answer.content == b""
        for path in ("", "/ratings"):
            assert_problem(anyone.get(f"/movies/{movie}{path}"), 404)
        assert anyone.get("/movies?query=zyzzyva").json()["result"] == []
        assert_problem(editor.delete(f"/movies/{movie}"), 404)

    def test_a_deleted_movie_can_come_back(self, stage, editor):
        movie = stage.rated([9, 8])
        stage.await_ratings(movie, 2)
        editor.delete(f"/movies/{movie}")
        again = editor.post("/movies", json={"id": movie, "title": "Again"})
        assert again.status_code == 201
        assert again.json()["numberOfRatings"] == 2
        assert again.json()["totalRatingScore"] == 17

    @pytest.mark.parametrize(
        ("name", "values"),
        {
            "title": ["x", "x" * 500, "😀" * 500, "七人の侍", 'Amélie & "Co" <b>\'s', "  x "],
            "year": [1870, 2100, None],
            "genres": [[], ["x"] * 20, ["x" * 50], ["Science Fiction"], ["Ænigma"]],
            "boxOffice": [0, 2**31, 2**53, None],
            "imdbId": [None, "tt0111161", "tt10872600"],
            "tmdbId": [None, 1, 2**40],
        }.items(),
    )
    def test_what_may_be_written(self, stage, editor, anyone, name, values):
        movie = stage.movie()
        for value in values:
            body = {"title": "x"} | {name: value}
            answer = editor.put(f"/movies/{movie}", json=body)
            assert answer.status_code == 200, (value, answer.text)
            assert answer.json()[name] == value
            assert anyone.get(f"/movies/{movie}").json()[name] == value

    @pytest.mark.parametrize(
        ("name", "values"),
        {
            "title": ["", "x" * 501, "😀" * 501, None, 1, ["x"], "a\x00b", "a\nb", "\x7f", "   "],
            "year": [1869, 2101, "1999", 1999.5, True, [], -1, 10**30],
            "genres": [None, "Drama", ["x"] * 21, [""], ["x" * 51], [None], [1], ["a\tb"], {}],
            "boxOffice": [-1, 2**53 + 1, "1", 0.5, True, 10**400],
            "imdbId": ["", 1, "tt", "tt1\n", "tt1\x00", True],
            "tmdbId": ["1", 0.5, True, -1],
        }.items(),
    )
    @pytest.mark.parametrize("method", ["POST", "PUT"])
    def test_what_may_not(self, stage, editor, anyone, method, name, values):
        movie = stage.name("never")
        for value in values:
            if method == "POST":
                body = {"id": movie, "title": "x"} | {name: value}
                answer = editor.post("/movies", json=body)
            else:
                answer = editor.put(f"/movies/{movie}", json={"title": "x"} | {name: value})
            problem = assert_problem(answer, 400)
            assert problem["errors"][0]["pointer"].startswith(f"/{name}"), value
        assert_problem(anyone.get(f"/movies/{movie}"), 404)

    def test_the_title_is_required(self, stage, editor):
        assert_problem(editor.post("/movies", json={}), 400, "/title")
        assert_problem(editor.put(f"/movies/{stage.name('m')}", json={"year": 1}), 400)

    @pytest.mark.parametrize(
        "id", ["", "x" * 21, "a b", "é", "a\n", None, 1, "top10", "top-rated", "bestpictures"]
    )
    def test_what_is_no_id(self, editor, id):
        assert_problem(editor.post("/movies", json={"id": id, "title": "x"}), 400, "/id")

    @pytest.mark.parametrize("id", ["x" * 20, "_", "-", "0", "aZ09_-", "TOP10"])
    def test_what_is_an_id(self, editor, anyone, id):
        assert editor.put(f"/movies/{id}", json={"title": "x"}).status_code == 201
        assert anyone.get(f"/movies/{id}").json()["id"] == id
        assert editor.delete(f"/movies/{id}").status_code == 204

    @pytest.mark.parametrize("name", ["top10", "top-rated", "bestpictures"])
    @pytest.mark.parametrize("method", ["PUT", "DELETE"])
    def test_the_names_in_the_paths_are_none(self, editor, method, name):
        assert_problem(editor.request(method, f"/movies/{name}", json={"title": "x"}), 405)

    @pytest.mark.parametrize(
        "name", [*(MOVIE_KEYS - WHOLE.keys() - {"id"}), "nope", "Title", "box_office", ""]
    )
    def test_nothing_else_is_written(self, stage, editor, name):
        body = {"title": "x", name: None}
        assert_problem(editor.post("/movies", json=body), 400, f"/{name}")
        assert_problem(editor.put(f"/movies/{stage.name('m')}", json=body), 400, f"/{name}")

    def test_put_has_its_id_in_the_path_alone(self, stage, editor):
        movie = stage.name("m")
        answer = editor.put(f"/movies/{movie}", json={"id": movie, "title": "x"})
        assert_problem(answer, 400, "/id")


def searched(client, limit, **query):
    """All pages of a search, each with the movies' ids."""
    found = pages(client, "/movies", limit=limit, **query)
    return [[movie["id"] for movie in page] for page in found]


@pytest.fixture(scope="module")
def shelf(stage):
    """A genre of 23 movies, most of the same title."""
    genre = stage.name("genre")
    for number in range(23):
        title = "The Same Title" if number % 4 else f"Sibling {number}"
        stage.movie(f"shelf-{number}", title=title, genres=[genre, "Western"], year=1990)
    return genre


class TestSearch:
    def test_shape(self, stage, anyone):
        movie = stage.movie(
            title="Xylophonic Shape", **{k: WHOLE[k] for k in WHOLE if k != "title"}
        )
        answer = anyone.get("/movies?query=xylophonic").json()
        assert answer == {"result": [anyone.get(f"/movies/{movie}").json()], "nextCursor": None}

    @pytest.mark.parametrize("limit", [1, 2, 5, 22, 23, 24, 250])
    def test_no_duplicate_and_no_gap_across_pages(self, anyone, shelf, limit):
        found = searched(anyone, limit, genre=shelf)
        (whole,) = searched(anyone, 250, genre=shelf)
        assert [id for page in found for id in page] == whole
        assert len(whole) == len(set(whole)) == 23
        assert all(len(page) == limit for page in found[:-1])
        assert found[-1]

    def test_pages_go_on_though_movies_come_and_go(self, stage, anyone, editor):
        genre = stage.name("genre")
        for letter in "bcdf":
            stage.movie(title=letter, genres=[genre])
        first = anyone.get("/movies", params={"genre": genre, "limit": 2}).json()
        last = first["result"][-1]
        editor.delete(f"/movies/{last['id']}")
        stage.movie(title="a", genres=[genre])
        stage.movie(title="e", genres=[genre])
        query = {"genre": genre, "cursor": first["nextCursor"]}
        rest = anyone.get("/movies", params=query).json()
        assert [movie["title"] for movie in rest["result"]] == ["d", "e", "f"]

    def test_fifty_without_a_limit(self, stage, anyone):
        genre = stage.name("genre")
        for _ in range(51):
            stage.movie(genres=[genre])
        answer = anyone.get("/movies", params={"genre": genre}).json()
        assert len(answer["result"]) == 50
        assert answer["nextCursor"]

    def test_it_all_without_a_question(self, stage, anyone):
        movie = stage.movie()
        assert movie in [id for page in searched(anyone, 250) for id in page]

    def test_words_of_the_title(self, stage, anyone):
        movie = stage.movie(title="Les Quatre-Vingts Coups: Éclat, Épisode IV")
        for query in (
            *("vingts", "Éclat", "eclat", "ECLAT episode", "coups quatre", "epis", "IV coups"),
            *("quatre-vingts", " eclat ", "(coups)"),
        ):
            found = anyone.get("/movies", params={"query": query}).json()["result"]
            assert [each["id"] for each in found] == [movie], query
        for query in ("eclats", "clat", "eclat vertigo", "zzz"):
            found = anyone.get("/movies", params={"query": query}).json()["result"]
            assert found == [], query

    @pytest.mark.parametrize(
        "query",
        ['"', "'", '" OR 1', "*", "a* OR b*", "NEAR(a b)", "words:a", "^a", "-", "(", "😀", "%"],
    )
    def test_a_query_is_words_and_no_language(self, anyone, query):
        assert anyone.get("/movies", params={"query": query}).status_code == 200

    def test_genre_and_year(self, stage, anyone, shelf):
        one = stage.movie(title="Wanted", genres=[shelf.upper()], year=1991)
        try:
            for query in ({"year": 1991}, {"query": "wanted"}, {"query": "wan", "year": 1991}):
                assert searched(anyone, 50, genre=shelf, **query) == [[one]]
            assert searched(anyone, 50, genre=shelf, year=1992) == [[]]
        finally:
            stage.editor.delete(f"/movies/{one}")

    def test_what_was_deleted_is_in_no_list(self, stage, anyone, editor):
        genre = stage.name("genre")
        movie = stage.movie(genres=[genre])
        editor.delete(f"/movies/{movie}")
        eventually(lambda: searched(anyone, 50, genre=genre), lambda pages: pages == [[]])

    def test_a_cursor_that_we_did_not_make(self, anyone, shelf):
        query = {"genre": shelf, "limit": 2}
        real = anyone.get("/movies", params=query).json()["nextCursor"]
        swapped = real[:-1] + ("A" if real[-1] != "A" else "B")
        for cursor in ("", "x", "é", "AAAA", real + "=", real + "A", real[1:], swapped, "9" * 9999):
            answer = anyone.get("/movies", params=query | {"cursor": cursor})
            assert_problem(answer, 400, "/cursor")
        assert anyone.get("/movies", params=query | {"cursor": real}).status_code == 200

    @pytest.mark.parametrize("place", ["", "key", "key\n", "key\nno id", "k\0ey\nid", "key\nid\0"])
    def test_a_cursor_to_no_place(self, anyone, place):
        """Whoever knows how they are sealed may lead themselves through the list, no further."""
        forged = cursors.cursor(place, "movies '' None None")
        assert_problem(anyone.get("/movies", params={"cursor": forged}), 400, "/cursor")
        true = cursors.cursor("key\nid", "movies '' None None")
        assert anyone.get("/movies", params={"cursor": true}).status_code == 200

    def test_a_cursor_of_another_list(self, anyone, user, shelf):
        real = anyone.get("/movies", params={"genre": shelf, "limit": 2}).json()["nextCursor"]
        for query in ({}, {"genre": "Western"}, {"genre": shelf, "query": "the"}):
            answer = anyone.get("/movies", params=query | {"cursor": real})
            assert_problem(answer, 400, "/cursor")
        for path in ("/movies/bestpictures", "/users/me/ratings"):
            assert_problem(user.get(path, params={"cursor": real}), 400, "/cursor")

    @pytest.mark.parametrize(
        ("name", "values"),
        {"year": ["", "x", "19.5"], "genre": [""], "query": ["a\x00b", "x" * 201]}.items(),
    )
    def test_what_may_not_be_asked(self, anyone, name, values):
        for value in values:
            assert_problem(anyone.get("/movies", params={name: value}), 400, f"/{name}")
