"""How soon everybody sees what somebody wrote, and that they never see a half of it."""

import threading
import time
from contextlib import contextmanager

from tests.api.asking import assert_problem, eventually


def test_a_movie_shows_its_last_write_at_once(stage, anyone, editor):
    movie = stage.movie()
    for number in range(20):
        editor.put(f"/movies/{movie}", json={"title": f"Title {number}"})
        assert anyone.get(f"/movies/{movie}").json()["title"] == f"Title {number}"
    editor.delete(f"/movies/{movie}")
    assert_problem(anyone.get(f"/movies/{movie}"), 404)
    editor.post("/movies", json={"id": movie, "title": "Back"})
    assert anyone.get(f"/movies/{movie}").json()["title"] == "Back"


def test_a_movie_can_be_rated_as_soon_as_it_is_there(stage, user, editor):
    for _ in range(20):
        movie = stage.movie()
        assert user.post(f"/movies/{movie}/users/rate", json={"rate": 9}).status_code == 200
        editor.delete(f"/movies/{movie}")
        answer = eventually(  # word of it may have to come from another process
            lambda movie=movie: user.post(f"/movies/{movie}/users/rate", json={"rate": 9}),
            lambda answer: answer.status_code != 200,
        )
        assert_problem(answer, 404)


def test_totals_follow(stage, user):
    for rate in (9, 3, None):
        movie = stage.movie()
        path = f"/movies/{movie}/users/rate"
        user.post(path, json={"rate": 10})
        number = 1
        if rate is None:
            user.delete(path)
            number = 0
        else:
            user.post(path, json={"rate": rate})
        eventually(
            lambda movie=movie: stage.ratings_of(movie),
            lambda ratings, total=rate or 0, number=number: (
                (ratings["totalRatingScore"], ratings["numberOfRatings"]) == (total, number)
            ),
        )


def test_lists_and_search_follow(stage, anyone, editor):
    genre = stage.name("genre")

    def titles():
        found = anyone.get("/movies", params={"genre": genre, "query": "fresh"}).json()["result"]
        return [movie["title"] for movie in found]

    assert titles() == []
    movie = stage.movie(title="Fresh", genres=[genre])
    eventually(titles, lambda titles: titles == ["Fresh"])
    stage.movie(movie, title="Fresher", genres=[genre])
    eventually(titles, lambda titles: titles == ["Fresher"])
    stage.movie(movie, title="Stale", genres=[genre])
    eventually(titles, lambda titles: titles == [])


def test_charts_follow(stage, editor):
    """Of a write of the catalogue at once; of a rating, after the totals."""
    genre = stage.name("genre")

    def titles():
        return [entry["title"] for entry in stage.chart(genre=genre)]

    movie = stage.movie(title="First", genres=[genre])
    assert titles() == []
    stage.rate(movie, [9])
    eventually(titles, lambda titles: titles == ["First"])
    stage.movie(movie, title="Second", genres=[genre])
    eventually(titles, lambda titles: titles == ["Second"])
    editor.delete(f"/movies/{movie}")
    eventually(titles, lambda titles: titles == [])


@contextmanager
def meanwhile(act):
    """``act`` again and again, until the block is over."""
    over = threading.Event()
    failures = []

    def run():
        try:
            while not over.is_set():
                act()
        except Exception as error:  # noqa: BLE001
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(60)
    assert not thread.is_alive()
    assert not failures


def test_the_distribution_always_adds_up(stage):
    movie = stage.movie()
    rates = iter(range(10**9))

    def write():
        number = next(rates)
        body = {"userId": f"rater-{number % 50}", "ratingScore": number % 20 / 2 + 0.5}
        assert stage.service.post(f"/movies/{movie}/ratings", json=body).status_code == 201

    seen = set()
    with meanwhile(write):
        end = time.monotonic() + 10
        while len(seen) < 10 and time.monotonic() < end:
            ratings = stage.ratings_of(movie)
            counts = [each["count"] for each in ratings["distribution"]]
            total = sum(each["score"] * each["count"] for each in ratings["distribution"])
            number = ratings["numberOfRatings"]
            assert sum(counts) == number
            assert total == ratings["totalRatingScore"]
            if number:
                assert ratings["averageRating"] == total / number
                assert ratings["weightedRating"] == (total + 65) / (number + 10)
            else:
                assert ratings["averageRating"] is None
            seen.add((number, total))
    assert len(seen) > 2


def test_a_movie_is_always_whole(stage, anyone, editor):
    """Of two versions a reader sees one or the other, in lists and charts too."""
    genre = stage.name("genre")
    versions = [
        {"title": letter * 50, "year": 1900 + number, "boxOffice": number, "genres": [genre]}
        for number, letter in enumerate("AB")
    ]
    movie = stage.movie(**versions[0])
    stage.rate(movie, [9])
    turn = iter(range(10**9))

    def write():
        editor.put(f"/movies/{movie}", json=versions[next(turn) % 2])

    whole = {(version["title"], version["year"], version["boxOffice"]) for version in versions}
    seen = set()
    with meanwhile(write):
        for _ in range(100):
            found = [anyone.get(f"/movies/{movie}").json()]
            found += anyone.get("/movies", params={"genre": genre}).json()["result"]
            found += stage.chart(genre=genre)
            seen |= {(each["title"], each["year"], each["boxOffice"]) for each in found}
    assert seen == whole
