"""The prior of the weighted rating: chosen at the first start, and then agreed."""

import pytest

from tests.api.asking import Stage
from tests.support.server import Server, serve


def test_weight_0_is_the_plain_mean(tmp_path):
    with serve(tmp_path, prior_weight=0, refresh_seconds=0.05) as server, Stage(server) as stage:
        one = stage.rated([10])
        many = stage.rated([9.5] * 20)
        third = stage.rated([7, 7.5, 7.5])
        for movie, number in {one: 1, many: 20, third: 3}.items():
            stage.await_ratings(movie, number)
        chart = stage.chart(limit=3)
        assert [entry["id"] for entry in chart] == [one, many, third]
        for entry in chart:
            assert entry["weightedRating"] == entry["averageRating"]
        assert [entry["rate"] for entry in chart] == [10, 9.5, 7.3]
        assert stage.chart(limit=3, ranking="mean") == chart
        ratings = stage.ratings_of(third)
        assert ratings["weightedRating"] == ratings["averageRating"] == 22 / 3


def test_another_weight_and_mean(tmp_path):
    with serve(tmp_path, prior_weight=3, prior_mean=7.25) as server, Stage(server) as stage:
        movie = stage.rated([10])
        ratings = stage.await_ratings(movie, 1)
        assert ratings["weightedRating"] == (10 + 3 * 7.25) / 4
        assert ratings["averageRating"] == 10


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({}, {"prior_weight": 0}),
        ({}, {"prior_mean": 7}),
    ],
    ids=str,
)
def test_changed_at_a_second_start_it_is_refused(tmp_path, first, then):
    with serve(tmp_path, **first):
        pass
    with pytest.raises(RuntimeError, match="does not start") as refused:
        Server(tmp_path, **then).start()
    line = str(refused.value).splitlines()[-1]
    assert "prior" in line
    assert "marquee migrate" in line
    assert "Traceback" not in str(refused.value)


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ({"prior_weight": 0}, {}),
        ({}, {"prior_weight": 10, "prior_mean": 6.5}),
    ],
    ids=str,
)
def test_unsaid_or_said_again_it_stays(tmp_path, first, then):
    with serve(tmp_path, **first) as server, Stage(server) as stage:
        movie = stage.rated([10])
        before = stage.await_ratings(movie, 1)
    with serve(tmp_path, **then) as server, Stage(server) as stage:
        assert stage.ratings_of(movie) == before
