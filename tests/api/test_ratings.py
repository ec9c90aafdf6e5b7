"""Rating a movie: by its user, or by a service that they trust."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from tests.api.asking import assert_problem, eventually

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
JSON = {"Content-Type": "application/json"}

NO_RATES = [
    *('"9"', "true", "false", "null", "NaN", "Infinity", "-Infinity", "9.25", "0", "-0", "0.0"),
    *("10.5", "1e400", "-1e400", "1e-400", "-9", "0.49999", "10.000001", "11", "[9]", "{}", '""'),
    *("9" * 400, "0x9", "09", "+9", "9.", ".5", "9,5", "0.25", "5e-324", '"NaN"'),
]


@pytest.fixture(scope="module")
def movie(stage):
    return stage.movie()


class TestRate:
    def test_shape(self, user, movie):
        before = datetime.now(UTC)
        answer = user.post(f"/movies/{movie}/users/rate", json={"rate": 9})
        assert answer.status_code == 200
        body = answer.json()
        assert set(body) == {"movieId", "userId", "rate", "ratedAt"}
        assert (body["movieId"], body["userId"], body["rate"]) == (movie, user.user, 9)
        assert TIME.fullmatch(body["ratedAt"])
        rated_at = datetime.fromisoformat(body["ratedAt"])
        slack = timedelta(seconds=1)
        assert before - slack <= rated_at <= datetime.now(UTC) + slack

    def test_reads_your_own_write_at_once(self, user, movie):
        path = f"/movies/{movie}/users/rate"
        for half in range(1, 21):
            written = user.post(path, json={"rate": half / 2})
            assert written.json()["rate"] == half / 2
            read = user.get(path)
            assert read.status_code == 200
            assert read.json() == written.json()

    @pytest.mark.parametrize("rate", ["9", "9.0", "9.50", "95e-1", "1e1", "0.5", "10.0", "10"])
    def test_a_number_may_be_written_in_any_way(self, user, movie, rate):
        answer = user.post(
            f"/movies/{movie}/users/rate", content=f'{{"rate": {rate}}}', headers=JSON
        )
        assert answer.json()["rate"] == float(rate)

    @pytest.mark.parametrize("rate", NO_RATES)
    def test_what_is_no_rate(self, stage, user, movie, rate):
        path = f"/movies/{movie}/users/rate"
        assert_problem(user.post(path, content=f'{{"rate": {rate}}}', headers=JSON), 400)
        body = f'{{"userId": "{user.user}", "ratingScore": {rate}}}'
        assert_problem(user.post(f"/movies/{movie}/ratings", content=body, headers=JSON), 400)
        assert_problem(user.get(path), 404)

    @pytest.mark.parametrize(
        "body",
        [{}, {"rate": 9, "x": 1}, {"Rate": 9}, {"ratingScore": 9}, {"rate": 9, "userId": "u"}],
    )
    def test_one_field_and_no_other(self, user, movie, body):
        assert_problem(user.post(f"/movies/{movie}/users/rate", json=body), 400)
        assert_problem(user.get(f"/movies/{movie}/users/rate"), 404)

    def test_of_a_name_given_twice_the_last_counts(self, user, movie):
        """As JSON's readers do it (RFC 8259, 4); that it is one of them is what matters."""
        body = '{"rate": 9, "rate": 3}'
        answer = user.post(f"/movies/{movie}/users/rate", content=body, headers=JSON)
        assert answer.json()["rate"] == 3
        assert_problem(
            user.post(
                f"/movies/{movie}/users/rate", content='{"rate": "9", "rate": 3}', headers=JSON
            ),
            400,
        )

    def test_again_is_in_place_of_before(self, stage, user):
        movie = stage.movie()
        times = [
            user.post(f"/movies/{movie}/users/rate", json={"rate": rate}).json()["ratedAt"]
            for rate in (3, 3, 9.5, 1, 8)
        ]
        assert times == sorted(set(times))
        ratings = stage.await_ratings(movie, 1)
        assert user.get("/users/me/ratings").json()["result"][0]["rate"] == 8
        stage.rate(movie, [2])
        ratings = stage.await_ratings(movie, 2)
        assert ratings["totalRatingScore"] == 10

    def test_an_unknown_movie(self, user):
        assert_problem(user.post("/movies/tt9999999/users/rate", json={"rate": 9}), 404)
        assert_problem(user.get("/movies/tt9999999/users/rate"), 404)
        answer = user.post(
            "/movies/tt9999999/ratings", json={"userId": user.user, "ratingScore": 9}
        )
        assert_problem(answer, 404)
        assert user.get("/users/me/ratings").json()["result"] == []

    @pytest.mark.parametrize("id", ["top10", "top-rated", "bestpictures", "x" * 21, "a.b", "%01"])
    def test_what_is_no_id(self, user, id):
        for method in ("POST", "GET", "DELETE"):
            answer = user.request(method, f"/movies/{id}/users/rate", json={"rate": 9})
            assert_problem(answer, 400, "/movieId")

    def test_not_rated(self, user, movie):
        assert_problem(user.get(f"/movies/{movie}/users/rate"), 404)

    def test_a_rating_is_its_users_alone(self, stage, user, movie):
        user.post(f"/movies/{movie}/users/rate", json={"rate": 9})
        with stage.user() as other:
            assert_problem(other.get(f"/movies/{movie}/users/rate"), 404)
            other.delete(f"/movies/{movie}/users/rate")
        with stage.user(id=user.user.upper()) as other:
            assert_problem(other.get(f"/movies/{movie}/users/rate"), 404)
        assert user.get(f"/movies/{movie}/users/rate").json()["rate"] == 9

    @pytest.mark.parametrize("id", ["a b", "ü|x", "😀", "x" * 128, "a/b", "'; --", "%", "me"])
    def test_whoever_the_user_is(self, stage, movie, id):
        with stage.user(id=id) as user:
            answer = user.post(f"/movies/{movie}/users/rate", json={"rate": 9})
            assert answer.json()["userId"] == id
            assert user.get(f"/movies/{movie}/users/rate").json() == answer.json()
            assert user.get("/users/me/ratings").json()["result"] == [answer.json()]
            user.delete(f"/movies/{movie}/users/rate")


class TestRemove:
    def test_it_is_gone(self, stage, user):
        movie = stage.movie()
        path = f"/movies/{movie}/users/rate"
        user.post(path, json={"rate": 9})
        stage.await_ratings(movie, 1)
        answer = user.delete(path)
        assert answer.status_code == 204
        assert answer.content == b""
        assert_problem(user.get(path), 404)
        assert user.get("/users/me/ratings").json()["result"] == []
        stage.await_ratings(movie, 0)

    def test_also_where_there_was_none(self, user, movie):
        for _ in range(2):
            assert user.delete(f"/movies/{movie}/users/rate").status_code == 204

    def test_and_one_can_rate_again(self, stage, user):
        movie = stage.movie()
        path = f"/movies/{movie}/users/rate"
        for rate in (9, 8, 7):
            user.post(path, json={"rate": rate})
            user.delete(path)
        assert user.post(path, json={"rate": 6}).status_code == 200
        stage.await_ratings(movie, 1, total=6)

    def test_neither_reading_nor_removing_asks_the_catalogue(self, stage, user, editor):
        movie = stage.movie()
        path = f"/movies/{movie}/users/rate"
        user.post(path, json={"rate": 9})
        editor.delete(f"/movies/{movie}")
        assert user.get(path).json()["rate"] == 9
        assert user.get("/users/me/ratings").json()["result"][0]["movieId"] == movie
        refused = eventually(  # word of it may have to come from another process
            lambda: user.post(path, json={"rate": 8}), lambda answer: answer.status_code != 200
        )
        assert_problem(refused, 404)
        assert user.delete(path).status_code == 204
        assert_problem(user.get(path), 404)
        assert user.delete("/movies/tt9999999/users/rate").status_code == 204

    def test_a_removal_while_the_movie_is_away_counts_when_it_is_back(self, stage, user, editor):
        movie = stage.rated([4])
        path = f"/movies/{movie}/users/rate"
        user.post(path, json={"rate": 10})
        stage.await_ratings(movie, 2)
        editor.delete(f"/movies/{movie}")
        user.delete(path)
        stage.movie(movie)
        stage.await_ratings(movie, 1, total=4)


class TestRateFor:
    def path(self, movie):
        return f"/movies/{movie}/ratings"

    def test_oneself(self, user, movie):
        answer = user.post(self.path(movie), json={"userId": user.user, "ratingScore": 8.5})
        assert answer.status_code == 201
        body = answer.json()
        assert set(body) == {"movieId", "userId", "ratingScore", "ratedAt"}
        assert TIME.fullmatch(body.pop("ratedAt"))
        assert body == {"movieId": movie, "userId": user.user, "ratingScore": 8.5}
        assert user.get(f"/movies/{movie}/users/rate").json()["rate"] == 8.5

    def test_others_takes_the_scope(self, stage, user, movie):
        other = {"userId": stage.name("other"), "ratingScore": 9}
        assert_problem(user.post(self.path(movie), json=other), 403)
        for scopes in (("movies:write",), ("ratings:write",), ("RATINGS:WRITE:ANY",)):
            with stage.user(*scopes) as client:
                assert_problem(client.post(self.path(movie), json=other), 403)
        with stage.user("movies:write", "ratings:write:any") as service:
            answer = service.post(self.path(movie), json=other)
            assert answer.status_code == 201
            assert answer.json()["userId"] == other["userId"]
            assert service.get("/users/me/ratings").json()["result"] == []
        with stage.user(id=other["userId"]) as rated:
            assert rated.get(f"/movies/{movie}/users/rate").json()["rate"] == 9

    def test_both_ways_are_one_rating(self, stage, user):
        movie = stage.movie()
        user.post(f"/movies/{movie}/users/rate", json={"rate": 9})
        stage.service.post(self.path(movie), json={"userId": user.user, "ratingScore": 4})
        stage.rate(movie, [2])
        stage.await_ratings(movie, 2, total=6)
        assert user.get(f"/movies/{movie}/users/rate").json()["rate"] == 4

    @pytest.mark.parametrize(
        "body",
        [
            *({}, {"userId": "u"}, {"ratingScore": 9}, {"userId": "u", "rate": 9}),
            *({"userId": "u", "ratingScore": 9, "x": 1}, {"userId": "", "ratingScore": 9}),
            *({"userId": 1, "ratingScore": 9}, {"userId": None, "ratingScore": 9}),
            *({"userId": "x" * 129, "ratingScore": 9}, {"userId": "a\nb", "ratingScore": 9}),
            *({"userId": "\x00", "ratingScore": 9}, {"userId": "\x7f", "ratingScore": 9}),
        ],
        ids=str,
    )
    def test_what_it_may_not_say(self, stage, movie, body):
        assert_problem(stage.service.post(self.path(movie), json=body), 400)

    def test_an_unknown_movie(self, stage):
        body = {"userId": "u", "ratingScore": 9}
        assert_problem(stage.service.post(self.path("tt9999999"), json=body), 404)
