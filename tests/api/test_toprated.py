"""``GET /movies/top-rated``: any chart, and the order of every one."""

from fractions import Fraction
from math import floor

import pytest

from tests.api.asking import ENTRY_KEYS, assert_problem

CHART = "/movies/top-rated"


def half_up(rating):
    """Rounded half up to one decimal, exactly."""
    return floor(Fraction(rating) * 10 + Fraction(1, 2)) / 10


class TestOrder:
    def test_rate_then_box_office_then_number_then_id(self, stage):
        """Each stands alone against all that come after it."""
        genre = stage.name("genre")
        for movie_id, (box_office, ratings) in {
            # 20 times 8: 7.5. The mean of what is below is less, or all the same.
            "o-best": (None, [8] * 20),
            "o-rich": (5_000, [6.5]),
            "o-less": (4_999, [6.5] * 5),
            "o-zero": (0, [6.5] * 7),
            "o-many": (None, [6.5] * 3),
            "o-id-A": (None, [6.5] * 2),
            "o-id-B": (None, [6.5] * 2),
            "o-id-_": (None, [6.5] * 2),
            "o-id-a": (None, [6.5] * 2),
            "o-worst": (9_000_000_000_000, [4, 5]),
        }.items():
            stage.movie(movie_id, genres=[genre], boxOffice=box_office)
            stage.rate(movie_id, ratings)
            stage.await_ratings(movie_id, len(ratings))
        chart = stage.chart(genre=genre)
        assert [entry["id"] for entry in chart] == [
            *("o-best", "o-rich", "o-less", "o-zero", "o-many"),
            *("o-id-A", "o-id-B", "o-id-_", "o-id-a", "o-worst"),
        ]
        assert [entry["rank"] for entry in chart] == list(range(1, 11))

    def test_box_office_decides_where_rates_are_equal_only_when_rounded(self, stage):
        """7.14 and 7.11 are both 7.1: what follows the rounding is the box office."""
        genre = stage.name("genre")
        better = stage.rated([9, 9, 8.5], genres=[genre], boxOffice=1)
        richer = stage.rated([9, 9, 8], genres=[genre], boxOffice=2)
        for movie in (better, richer):
            stage.await_ratings(movie, 3)
        chart = stage.chart(genre=genre)
        assert {entry["rate"] for entry in chart} == {7}
        assert [entry["id"] for entry in chart] == [richer, better]
        assert chart[0]["weightedRating"] < chart[1]["weightedRating"]

    @pytest.mark.parametrize(
        "rates",
        [
            [10] * 4 + [4.5] * 2,  # (49 + 65) / 16 = 7.125
            [6.5] * 9 + [7.5],  # (66 + 65) / 20 = 6.55, half up to 6.6
            [6.5] * 9 + [5.5],  # 6.45, half up to 6.5
            [7] * 5 + [7.5] * 5,  # 6.875
            [0.5],
            [10],
            [1, 2, 4.5],
        ],
    )
    def test_rate_is_the_weighted_rating_rounded_half_up(self, stage, rates):
        movie = stage.rated(rates, genres=[(genre := stage.name("genre"))])
        stage.await_ratings(movie, len(rates))
        (entry,) = stage.chart(genre=genre)
        weighted = (Fraction(sum(rates)) + 65) / (len(rates) + 10)
        assert entry["weightedRating"] == float(weighted)
        assert entry["averageRating"] == float(Fraction(sum(rates)) / len(rates))
        assert entry["totalRatingScore"] == sum(rates)
        assert entry["rate"] == half_up(weighted)
        (by_mean,) = stage.chart(genre=genre, ranking="mean")
        assert by_mean["rate"] == half_up(Fraction(sum(rates)) / len(rates))
        assert by_mean | {"rate": 0} == entry | {"rate": 0}
        movie = stage.anyone.get(f"/movies/{movie}").json()
        assert movie["rate"] == entry["rate"]


@pytest.fixture(scope="module")
def films(stage):
    """Six movies of a genre: id → (year, rates)."""
    genre = stage.name("genre")
    films = {
        "f-1931": (1931, [9, 9]),
        "f-1960": (1960, [8] * 30),
        "f-1961": (1961, [10]),
        "f-1980": (1980, [7, 7, 7]),
        "f-2020": (2020, [2]),
        "f-none": (None, [9.5]),
    }
    for movie_id, (year, rates) in films.items():
        stage.movie(movie_id, year=year, genres=["Drama", genre])
        stage.rate(movie_id, rates)
    for movie_id, (_, rates) in films.items():
        stage.await_ratings(movie_id, len(rates))
    return genre


class TestParameters:
    def ids(self, stage, **query):
        return [entry["id"] for entry in stage.chart(**query)]

    def test_entries_are_those_of_the_ten(self, stage, films):
        answer = stage.anyone.get(CHART, params={"genre": films}).json()
        assert set(answer) == {"updatedAt", "result"}
        assert answer["updatedAt"].endswith("Z")
        for entry in answer["result"]:
            assert set(entry) == ENTRY_KEYS

    def test_limit(self, stage, films):
        assert len(stage.chart(genre=films, limit=2)) == 2
        assert stage.chart(genre=films, limit=2) == stage.chart(genre=films, limit=250)[:2]

    def test_ten_without_a_limit(self, stage):
        genre = stage.name("genre")
        for movie in [stage.rated([5], genres=[genre]) for _ in range(11)]:
            stage.await_ratings(movie, 1)
        assert len(stage.chart(genre=genre)) == 10

    def test_weighted_and_mean(self, stage, films):
        weighted = ["f-1960", "f-1931", "f-none", "f-1961", "f-1980", "f-2020"]
        by_mean = ["f-1961", "f-none", "f-1931", "f-1960", "f-1980", "f-2020"]
        assert sorted(self.ids(stage, genre=films)[:1]) == weighted[:1]
        assert self.ids(stage, genre=films) == self.ids(stage, genre=films, ranking="weighted")
        assert self.ids(stage, genre=films, ranking="mean") == by_mean
        rates = [entry["rate"] for entry in stage.chart(genre=films, ranking="mean")]
        assert rates == [10, 9.5, 9, 8, 7, 2]

    def test_years(self, stage, films):
        assert set(self.ids(stage, genre=films, yearFrom=1961)) == {"f-1961", "f-1980", "f-2020"}
        assert set(self.ids(stage, genre=films, yearTo=1960)) == {"f-1931", "f-1960"}
        assert self.ids(stage, genre=films, yearFrom=1960, yearTo=1960) == ["f-1960"]
        assert self.ids(stage, genre=films, yearFrom=1961, yearTo=1960) == []

    def test_least_number_of_ratings(self, stage, films):
        assert self.ids(stage, genre=films, minRatings=3) == ["f-1960", "f-1980"]
        assert self.ids(stage, genre=films, minRatings=31) == []
        assert len(self.ids(stage, genre=films, minRatings=0)) == 6

    def test_they_go_together(self, stage, films):
        assert self.ids(
            stage, genre=films, minRatings=1, yearFrom=1931, yearTo=1980, ranking="mean", limit=2
        ) == ["f-1961", "f-1931"]

    def test_a_genre_that_nothing_is_of(self, stage):
        assert stage.chart(genre="Nothing is of this") == []

    @pytest.mark.parametrize(
        ("name", "values"),
        {
            "genre": ["", "x" * 51],
            "yearFrom": ["", "x", "1869", "2101", "1999.5"],
            "yearTo": ["", "x", "1869", "2101"],
            "minRatings": ["", "x", "-1", "1.5", "9" * 30],
            "bestPicture": ["", "WON", "true", "lost"],
            "ranking": ["", "Mean", "bayes"],
        }.items(),
    )
    def test_what_they_may_not_be(self, anyone, name, values):
        for value in values:
            assert_problem(anyone.get(CHART, params={name: value}), 400, f"/{name}")

    def test_what_it_takes_of_a_few_words_is_told(self, anyone):
        answer = anyone.get(CHART, params={"bestPicture": "lost"})
        assert answer.json()["detail"] == "Expected nominated or won."

    def test_cursors_are_none_of_its(self, anyone):
        assert_problem(anyone.get(f"{CHART}?cursor=x"), 400, "/cursor")
