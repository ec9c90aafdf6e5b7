"""What tests of the wire ask, and what they expect."""

import itertools
import time
from collections.abc import Callable, Iterable
from typing import Any, Self, TypeVar

import httpx
import pytest

from marquee.http.problems import title
from tests.support.server import NO_TLS, Served

T = TypeVar("T")

MOVIE_KEYS = {
    *("id", "title", "year", "rate", "averageRating", "weightedRating", "numberOfRatings"),
    *("totalRatingScore", "boxOffice", "genres", "imdbId", "tmdbId", "bestPicture"),
}
ENTRY_KEYS = {
    *("rank", "id", "title", "year", "rate", "averageRating", "weightedRating"),
    *("numberOfRatings", "totalRatingScore", "boxOffice"),
}
NOMINATION_KEYS = {
    *("movieId", "title", "year", "yearLabel", "ceremony", "won", "additionalInfo"),
}

only_together = pytest.mark.parametrize("server", ["together"], indirect=True, scope="session")
"""For what a gateway answers in its own words, and for what is of one process."""

numbers = itertools.count(1)


class User(httpx.Client):
    user: str


class Stage:
    """Movies and users of one's own on a server that others use, too."""

    def __init__(self, server: Served) -> None:
        self.server = server
        self.anyone = server.client()
        self.editor = server.client("editor", "movies:write")
        self.service = server.client("service", "ratings:write:any")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in (self.anyone, self.editor, self.service):
            client.close()

    def user(self, *scopes: str, id: str | None = None) -> User:
        name = id or self.name("user")
        headers = self.server.authorization(name, *scopes)
        client = User(base_url=self.server.url, headers=headers, timeout=30, verify=NO_TLS)
        client.user = name
        return client

    @staticmethod
    def name(kind: str) -> str:
        """A name that nobody else uses."""
        return f"{kind}-{next(numbers)}"

    def movie(self, id: str | None = None, **written: Any) -> str:
        """Put a movie into the catalogue, rated by nobody; its id."""
        movie_id = id or self.name("m")
        answer = self.editor.put(f"/movies/{movie_id}", json={"title": movie_id} | written)
        assert answer.status_code in {200, 201}, answer.text
        return movie_id

    def rate(self, movie_id: str, rates: Iterable[float]) -> None:
        """Have so many users rate a movie."""
        for number, rate in enumerate(rates):
            body = {"userId": f"rater-{number}", "ratingScore": rate}
            answer = self.service.post(f"/movies/{movie_id}/ratings", json=body)
            assert answer.status_code == 201, answer.text

    def rated(self, rates: Iterable[float], **written: Any) -> str:
        movie_id = self.movie(**written)
        self.rate(movie_id, rates)
        return movie_id

    def ratings_of(self, movie_id: str) -> Any:
        answer = self.anyone.get(f"/movies/{movie_id}/ratings")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def await_ratings(self, movie_id: str, number: int, total: float | None = None) -> Any:
        """A movie's totals as soon as so many ratings, and so many points, are in them."""
        return eventually(
            lambda: self.ratings_of(movie_id),
            lambda ratings: (
                ratings["numberOfRatings"] == number
                and total in (None, ratings["totalRatingScore"])
            ),
        )

    def chart(self, **query: Any) -> Any:
        answer = self.anyone.get("/movies/top-rated", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]


def eventually(look: Callable[[], T], true: Callable[[T], bool], within: float = 60) -> T:
    """What is seen as soon as it is so; fails where that takes longer."""
    end = time.monotonic() + within
    while not true(seen := look()):
        assert time.monotonic() < end, f"after {within} s still: {seen}"
        time.sleep(0.01)
    return seen


def pages(client: httpx.Client, path: str, **query: Any) -> list[list[Any]]:
    """All pages of a list."""
    found = []
    cursor: dict[str, str] | None = {}
    while cursor is not None:
        answer = client.get(path, params=query | cursor)
        assert answer.status_code == 200, answer.text
        assert set(answer.json()) == {"result", "nextCursor"}
        found.append(answer.json()["result"])
        following = answer.json()["nextCursor"]
        cursor = following and {"cursor": following}
    return found


def assert_problem(answer: httpx.Response, status: int, pointer: str | None = None) -> Any:
    """That an answer is a problem document as RFC 9457 and our contract want it; its members."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    expected = {"type", "title", "status", "detail", "instance"}
    if status == 400:
        expected.add("errors")
    assert set(problem) - {"suggestions"} == expected
    assert problem["status"] == status
    assert problem["instance"] == answer.request.url.raw_path.decode().partition("?")[0]
    assert problem["type"] == "about:blank"
    assert problem["title"] == title(status)
    assert problem["detail"]
    assert "Traceback" not in answer.text
    for error in problem.get("errors", ()):
        assert set(error) == {"pointer", "detail"}
    if pointer is not None:
        assert [error["pointer"] for error in problem["errors"]] == [pointer]
    return problem
