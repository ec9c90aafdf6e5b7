"""``GET /movies/top10``: the ten, their order and ties, and its headers."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from tests.api.asking import ENTRY_KEYS, MOVIE_KEYS, Stage, assert_problem, eventually
from tests.support.server import serve

TEN = "/movies/top10"
MAX_AGE = re.compile(r"public, max-age=\d+, stale-while-revalidate=\d+")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A server whose ten belong to this module's tests, with three movies on it."""
    folder = tmp_path_factory.mktemp("alone")
    with serve(folder, refresh_seconds=0.05) as server, Stage(server) as stage:
        for movie, rate in {"gold": 10, "silver": 9, "bronze": 8}.items():
            stage.movie(movie, title=movie.title(), year=1950, boxOffice=3_000_000_000)
            stage.rate(movie, [rate] * 3)
        stage.movie("unrated")
        eventually(lambda: ids(stage), lambda ids: ids == ["gold", "silver", "bronze"])
        yield stage


def ten(stage):
    answer = stage.anyone.get(TEN)
    assert answer.status_code == 200
    return answer.json()


def ids(stage):
    return [entry["id"] for entry in ten(stage)["result"]]


class TestShape:
    def test_of_the_answer_and_its_entries(self, alone):
        answer = ten(alone)
        assert set(answer) == {"updatedAt", "result"}
        for entry in answer["result"]:
            assert set(entry) == ENTRY_KEYS

    def test_of_an_entry(self, alone):
        assert ten(alone)["result"][0] == {
            "rank": 1,
            "id": "gold",
            "title": "Gold",
            "year": 1950,
            "rate": 7.3,
            "averageRating": 10,
            "weightedRating": (30 + 65) / 13,
            "numberOfRatings": 3,
            "totalRatingScore": 30,
            "boxOffice": 3_000_000_000,
        }

    def test_ranks_count_from_one(self, alone):
        assert [entry["rank"] for entry in ten(alone)["result"]] == [1, 2, 3]

    def test_a_movie_without_a_rating_is_not_in_it(self, alone):
        assert "unrated" not in ids(alone)

    def test_nobody_need_have_rated_anything(self, tmp_path):
        with serve(tmp_path) as server, Stage(server) as stage:
            assert ten(stage)["result"] == []
            assert updated_at(ten(stage)) <= datetime.now(UTC)

    def test_without_parameters_the_chart_is_the_same_ten(self, alone):
        chart = alone.anyone.get("/movies/top-rated")
        assert chart.json() == ten(alone)
        assert alone.anyone.get("/movies/top-rated?limit=10").json() == ten(alone)

    def test_it_takes_no_parameters(self, alone):
        assert_problem(alone.anyone.get(f"{TEN}?limit=10"), 400, "/limit")


def updated_at(answer):
    assert answer["updatedAt"].endswith("Z")
    return datetime.fromisoformat(answer["updatedAt"])


class TestHeaders:
    def test_of_the_whole_answer(self, alone):
        headers = alone.anyone.get(TEN).headers
        assert headers["content-type"] == "application/json"
        assert MAX_AGE.fullmatch(headers["cache-control"])
        assert re.fullmatch(r'"[^"]+"', headers["etag"])
        assert 0 <= int(headers["age"]) <= 30

    def test_age_follows_the_refreshes_and_not_the_changes(self, alone):
        """A list that has not changed for long is found true again and again."""
        before = ten(alone)

        def age():
            return int(alone.anyone.get(TEN).headers["age"])

        oldest = eventually(age, lambda age: age >= 1)
        eventually(age, lambda age: age < oldest)
        assert ten(alone) == before

    def test_the_etag_is_by_content(self, alone):
        assert alone.anyone.get(TEN).headers["etag"] == alone.anyone.get(TEN).headers["etag"]

    @pytest.mark.parametrize("method", ["GET", "HEAD"])
    @pytest.mark.parametrize(
        "form",
        ["{0}", "W/{0}", "*", '"other", {0}', 'W/"other",W/{0}', ' "a" ,\t{0} , "b"', '"a",,{0},'],
    )
    @pytest.mark.parametrize("path", [TEN, "/movies/top-rated", "/movies/top-rated?limit=2"])
    def test_304_where_the_caller_has_it(self, alone, method, form, path):
        def ask():
            etag = alone.anyone.get(path).headers["etag"]
            asked = {"If-None-Match": form.format(etag).strip()}
            return etag, alone.anyone.request(method, path, headers=asked)

        # What another test has rated may come into the list between the two.
        _, answer = eventually(ask, lambda found: found[1].headers["etag"] == found[0])
        assert answer.status_code == 304
        assert answer.content == b""
        assert int(answer.headers["age"]) < 60
        assert MAX_AGE.fullmatch(answer.headers["cache-control"])
        assert "content-type" not in answer.headers

    def test_304_where_one_of_several_headers_says_so(self, alone):
        etag = alone.anyone.get(TEN).headers["etag"]
        asked = [("If-None-Match", '"other"'), ("If-None-Match", etag)]
        assert alone.anyone.get(TEN, headers=asked).status_code == 304

    @pytest.mark.parametrize("form", ['"other"', "", '"', "{0}x", '"*"', "W/*", '"x{0}"'])
    @pytest.mark.parametrize("path", [TEN, "/movies/top-rated"])
    def test_200_where_the_caller_has_another(self, alone, form, path):
        etag = alone.anyone.get(path).headers["etag"]
        asked = {"If-None-Match": form.format(etag)}
        assert alone.anyone.get(path, headers=asked).status_code == 200

    def test_bare_etag_is_none(self, alone):
        etag = alone.anyone.get(TEN).headers["etag"]
        asked = {"If-None-Match": etag.strip('"')}
        assert alone.anyone.get(TEN, headers=asked).status_code == 200

    def test_head(self, alone):
        got, head = alone.anyone.get(TEN), alone.anyone.head(TEN)
        assert head.status_code == 200
        assert head.content == b""
        for name in ("etag", "content-type", "content-length", "cache-control"):
            assert head.headers[name] == got.headers[name]


class TestFollowing:
    """In an order of their own: each test goes on from any ten."""

    def test_a_change_changes_the_etag_and_when_it_was(self, alone):
        before, asked = ten(alone), datetime.now(UTC)
        etag = alone.anyone.get(TEN).headers["etag"]
        movie = alone.rated([10] * 5, title="Newcomer")
        after = eventually(lambda: ten(alone), lambda ten: ten["result"][0]["id"] == movie)
        assert alone.anyone.get(TEN).headers["etag"] != etag
        assert updated_at(before) < updated_at(after)
        assert asked <= updated_at(after) <= datetime.now(UTC) + timedelta(seconds=1)
        alone.editor.delete(f"/movies/{movie}")
        eventually(lambda: ids(alone), lambda ids: movie not in ids)

    def test_a_deleted_movie_leaves_and_comes_back_with_its_ratings(self, alone):
        movie = alone.rated([10, 9.5, 10], boxOffice=1)
        whole = eventually(lambda: entry(alone, movie), lambda e: e and e["numberOfRatings"] == 3)
        assert alone.editor.delete(f"/movies/{movie}").status_code == 204
        eventually(lambda: ids(alone), lambda ids: movie not in ids)
        alone.movie(movie, boxOffice=1)
        again = eventually(lambda: entry(alone, movie), bool)
        assert again | {"rank": 0} == whole | {"rank": 0}
        alone.editor.delete(f"/movies/{movie}")
        eventually(lambda: ids(alone), lambda ids: movie not in ids)

    def test_what_its_movies_are_called_follows(self, alone):
        alone.movie("bronze", title="Brass", year=1951)
        eventually(
            lambda: entry(alone, "bronze"),
            lambda e: (e["title"], e["year"], e["boxOffice"]) == ("Brass", 1951, None),
        )
        alone.movie("bronze", title="Bronze", year=1950, boxOffice=3_000_000_000)
        eventually(lambda: entry(alone, "bronze"), lambda e: e["title"] == "Bronze")

    def test_it_is_of_ten(self, alone):
        movies = [alone.rated([10] * 4) for _ in range(8)]
        eventually(lambda: ids(alone), lambda ids: ids == [*sorted(movies), "gold", "silver"])
        for movie in movies:
            alone.editor.delete(f"/movies/{movie}")
        eventually(lambda: ids(alone), lambda ids: not set(movies) & set(ids))


def entry(stage, movie_id):
    return next((e for e in ten(stage)["result"] if e["id"] == movie_id), None)


def test_a_movie_is_as_its_entry(alone):
    found = alone.anyone.get("/movies/gold").json()
    first = ten(alone)["result"][0]
    assert set(found) == MOVIE_KEYS
    assert {name: found[name] for name in first if name != "rank"} == {
        name: value for name, value in first.items() if name != "rank"
    }


def test_when_it_changed_survives_a_restart(tmp_path):
    with serve(tmp_path) as server:
        with Stage(server) as stage:
            stage.rated([9])
            eventually(lambda: ids(stage), bool)
            before = stage.anyone.get(TEN)
        server.stop()
        server.start()
        with server.client() as client:
            after = client.get(TEN)
        assert after.json() == before.json()
        assert after.headers["etag"] == before.headers["etag"]
