"""``/users/me/ratings``: all of one's own, page by page or as CSV; and their erasure."""

import csv
import io

import pytest
from msgspec import UNSET

from marquee.http import cursors
from tests.api.asking import assert_problem, eventually, only_together, pages
from tests.api.raw import exchange, request

MINE = "/users/me/ratings"
CSV = {"Accept": "text/csv"}


@pytest.fixture(scope="module")
def movies(stage):
    """Ids whose order by bytes is not that by letters."""
    names = [f"mine-{letter}" for letter in "AZ_az09-"]
    return sorted(stage.movie(name) for name in names)


@pytest.fixture
def rater(stage, user, movies):
    """Somebody who has rated them all."""
    user.rated = {}
    for number, movie in enumerate(movies):
        answer = user.post(f"/movies/{movie}/users/rate", json={"rate": number + 0.5})
        user.rated[movie] = answer.json()
    return user


class TestList:
    def test_shape_and_order(self, rater, movies):
        answer = rater.get(MINE)
        assert answer.status_code == 200
        assert answer.json() == {
            "result": [rater.rated[movie] for movie in movies],
            "nextCursor": None,
        }

    def test_of_nobody(self, user):
        assert user.get(MINE).json() == {"result": [], "nextCursor": None}

    @pytest.mark.parametrize("headers", [{}, CSV])
    def test_no_cache_that_others_share_may_keep_it(self, rater, movies, headers):
        """An answer to a token may be kept by such a one only if it says so (RFC 9111, 3.5)."""
        for path in (MINE, f"/movies/{movies[0]}/users/rate"):
            answer = rater.get(path, headers=headers)
            assert answer.status_code == 200
            said = answer.headers.get("cache-control", "")
            assert not any(word in said for word in ("public", "s-maxage", "must-revalidate"))

    @pytest.mark.parametrize("limit", [1, 3, 7, 8, 9])
    def test_pages(self, rater, movies, limit):
        found = pages(rater, MINE, limit=limit)
        assert [each for page in found for each in page] == [rater.rated[m] for m in movies]
        assert all(len(page) == limit for page in found[:-1])
        assert found[-1]

    def test_pages_go_on_though_ratings_come_and_go(self, rater, movies):
        first = rater.get(MINE, params={"limit": 2}).json()
        for movie in (movies[0], movies[1], movies[3]):
            rater.delete(f"/movies/{movie}/users/rate")
        rest = rater.get(MINE, params={"cursor": first["nextCursor"]}).json()
        assert [each["movieId"] for each in rest["result"]] == [movies[2], *movies[4:]]

    def test_fifty_without_a_limit(self, stage, user):
        for _ in range(51):
            user.post(f"/movies/{stage.movie()}/users/rate", json={"rate": 5})
        answer = user.get(MINE).json()
        assert len(answer["result"]) == 50
        assert answer["nextCursor"]

    def test_cursors(self, rater, movies):
        real = rater.get(MINE, params={"limit": 2}).json()["nextCursor"]
        for cursor in ("", "x", real + "A", real[:-1], real.swapcase(), movies[1]):
            assert_problem(rater.get(MINE, params={"cursor": cursor}), 400, "/cursor")
        forged = cursors.cursor("no id", f"my ratings {UNSET}")
        assert_problem(rater.get(MINE, params={"cursor": forged}), 400, "/cursor")
        picked = {"movieIds": ",".join(movies), "cursor": real}
        assert_problem(rater.get(MINE, params=picked), 400, "/cursor")
        assert_problem(rater.get("/movies", params={"cursor": real}), 400, "/cursor")


class TestMovieIds:
    def test_those_alone(self, rater, movies):
        wanted = [movies[4], movies[1], "tt9999999", movies[1], movies[1].swapcase()]
        answer = rater.get(MINE, params={"movieIds": ",".join(wanted)}).json()
        expected = sorted({movies[1], movies[4]} | ({wanted[-1]} & set(movies)))
        assert answer == {"result": [rater.rated[m] for m in expected], "nextCursor": None}

    @pytest.mark.parametrize("limit", [1, 3, 250])
    def test_pages(self, rater, movies, limit):
        found = pages(rater, MINE, limit=limit, movieIds=",".join(movies[::-1]))
        assert [each["movieId"] for page in found for each in page] == movies

    def test_their_cursor_is_theirs(self, rater, movies):
        query = {"movieIds": ",".join(movies), "limit": 1}
        real = rater.get(MINE, params=query).json()["nextCursor"]
        assert_problem(rater.get(MINE, params={"cursor": real}), 400, "/cursor")

    @pytest.mark.parametrize(
        "ids", ["", ",", "a,", ",a", "a,,b", "a b", "a.b", "x" * 21, "é", "top10"]
    )
    def test_what_is_no_list_of_ids(self, user, ids):
        assert_problem(user.get(MINE, params={"movieIds": ids}), 400, "/movieIds")


class TestCsv:
    def rows(self, answer):
        assert answer.status_code == 200
        assert answer.headers["content-type"].partition(";")[0] == "text/csv"
        assert answer.content.decode().endswith("\r\n")
        return list(csv.DictReader(io.StringIO(answer.content.decode(), newline="")))

    def test_all_of_them(self, rater, movies):
        rows = self.rows(rater.get(MINE, headers=CSV))
        assert [row["movieId"] for row in rows] == movies
        for row in rows:
            assert row | {"rate": float(row["rate"])} == rater.rated[row["movieId"]]

    def test_whatever_the_limit(self, stage, user):
        movies = [stage.movie() for _ in range(60)]
        for movie in movies:
            user.post(f"/movies/{movie}/users/rate", json={"rate": 5})
        assert len(self.rows(user.get(MINE, headers=CSV))) == 60

    def test_whatever_the_cursor_if_it_is_ours(self, rater, movies):
        real = rater.get(MINE, params={"limit": 1}).json()["nextCursor"]
        assert len(self.rows(rater.get(MINE, params={"cursor": real}, headers=CSV))) == len(movies)
        assert_problem(rater.get(MINE, params={"cursor": "AAAA"}, headers=CSV), 400, "/cursor")

    def test_of_nobody_it_is_the_header_alone(self, user):
        answer = user.get(MINE, headers=CSV)
        assert self.rows(answer) == []
        assert answer.headers["vary"] == user.get(MINE).headers["vary"] == "accept"
        assert answer.text == "movieId,userId,rate,ratedAt\r\n"

    @only_together
    def test_in_one_piece_for_who_knows_no_chunks(self, server, user):
        """HTTP/1.0 has none (RFC 9112, 6.1)."""
        authorization = f"Authorization: {user.headers['authorization']}".encode()
        line = b"GET /users/me/ratings HTTP/1.0"
        answer = exchange(server, request(line, authorization, b"Accept: text/csv"))
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"transfer-encoding" not in head.lower()
        assert body == b"movieId,userId,rate,ratedAt\r\n"

    def test_what_needs_quotes_has_them(self, stage, movies):
        with stage.user(id='a,"b" c') as user:
            user.post(f"/movies/{movies[0]}/users/rate", json={"rate": 5})
            (row,) = self.rows(user.get(MINE, headers=CSV))
            assert row["userId"] == 'a,"b" c'

    @pytest.mark.parametrize(
        "accept",
        ["text/csv", "TEXT/CSV", "text/csv, */*;q=0.1", "application/json;q=0.5, text/csv"],
    )
    def test_for_who_asks_for_it(self, rater, accept):
        assert len(self.rows(rater.get(MINE, headers={"Accept": accept}))) == 8

    @pytest.mark.parametrize(
        "accept",
        [
            *("*/*", "application/json", "text/html", "", "text/csv;q=0", "text/csvx"),
            *("text/csv;q=0.5, application/json", "text/csv;q=x"),
        ],
    )
    def test_for_nobody_else(self, rater, accept):
        answer = rater.get(MINE, headers={"Accept": accept})
        assert answer.headers["content-type"] == "application/json"

    def test_of_some_movies(self, rater, movies):
        rows = self.rows(rater.get(MINE, params={"movieIds": movies[2]}, headers=CSV))
        assert [row["movieId"] for row in rows] == [movies[2]]


class TestErasure:
    def test_everything_goes_everywhere(self, stage, user):
        genre = stage.name("genre")
        shared = stage.rated([4], genres=[genre])
        own = stage.movie(genres=[genre])
        removed = stage.movie(genres=[genre])
        for movie in (shared, own, removed):
            user.post(f"/movies/{movie}/users/rate", json={"rate": 10})
        user.delete(f"/movies/{removed}/users/rate")
        stage.await_ratings(shared, 2)
        stage.await_ratings(own, 1)
        stage.await_ratings(removed, 0)

        answer = user.delete(MINE)
        assert answer.status_code == 202
        assert answer.json() == {"erased": 2}

        assert user.get(MINE).json()["result"] == []
        assert user.get(MINE, headers=CSV).text.count("\r\n") == 1
        assert_problem(user.get(f"/movies/{own}/users/rate"), 404)
        stage.await_ratings(shared, 1, total=4)
        stage.await_ratings(own, 0)
        eventually(
            lambda: [entry["id"] for entry in stage.chart(genre=genre)], lambda ids: ids == [shared]
        )

    def test_of_nothing(self, user):
        assert user.delete(MINE).json() == {"erased": 0}

    def test_others_keep_theirs(self, stage, user, rater, movies):
        with stage.user() as other:
            other.post(f"/movies/{movies[0]}/users/rate", json={"rate": 3})
            assert rater.delete(MINE).json() == {"erased": 8}
            assert other.get(MINE).json()["result"][0]["rate"] == 3

    def test_afterwards_one_can_rate_again(self, stage, user):
        movie = stage.movie()
        path = f"/movies/{movie}/users/rate"
        for rate in (9, 8):
            user.post(path, json={"rate": rate})
            assert user.delete(MINE).json() == {"erased": 1}
            assert user.delete(MINE).json() == {"erased": 0}
        last = user.post(path, json={"rate": 7}).json()
        stage.await_ratings(movie, 1, total=7)
        assert user.get(MINE).json()["result"] == [last]

    def test_ratings_of_a_movie_that_is_away_go_too(self, stage, user, editor):
        movie = stage.rated([4])
        user.post(f"/movies/{movie}/users/rate", json={"rate": 10})
        editor.delete(f"/movies/{movie}")
        assert user.delete(MINE).json() == {"erased": 1}
        stage.movie(movie)
        stage.await_ratings(movie, 1, total=4)
