"""Embedded and on servers, each role a process of its own: the same calls, the same answers.

Hypothesis makes the calls up, by a seed that is printed and that ``MARQUEE_TEST_SEED`` sets, in
``MARQUEE_TEST_ROUNDS`` runs. What the contract shows at once is compared at once; totals, lists and
charts when both have followed.
"""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count
from random import Random
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from tests import data
from tests.api.asking import ENTRY_KEYS
from tests.chaos import ledger
from tests.support.both import FOLLOWS, Both, Said, Side
from tests.support.server import marquee, serve
from tests.support.system import HTTP_ROLES, system

pytestmark = pytest.mark.servers

RUNS = ledger.ROUNDS or 4
STEPS = 50

FIGURES = ("rate", "averageRating", "weightedRating", "numberOfRatings", "totalRatingScore")


# ---- the two -------------------------------------------------------------------------------------

NOMINATED = {"b-lighthouse": ("Lighthouse", 1957), "b-ferryman": ("The Ferryman", 1957)}
"""Movies that stay, of titles that the made-up nominations have."""

EDITOR = ("editor", "movies:write")
SERVICE = ("service", "ratings:write:any")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    with ExitStack() as stack:
        alone = stack.enter_context(serve(tmp_path_factory.mktemp("embedded")))
        apart = stack.enter_context(system(tmp_path_factory.mktemp("servers")))
        sides = (
            Side("embedded", dict.fromkeys(HTTP_ROLES, alone)),
            Side("servers", {role: apart.of(role)[0] for role in HTTP_ROLES}),
        )
        for side in sides:
            stack.callback(side.close)
        both = Both(*sides)
        for movie, (title, year) in NOMINATED.items():
            written = {"title": title, "year": year, "boxOffice": 7}
            assert both.ask("PUT", f"/movies/{movie}", *EDITOR, json=written).status == 201
        file = str(data.MADE_UP / "academy_awards.csv")
        told = [
            marquee("import", "academy-awards", file, data=folder, **settings)
            for folder, settings in ((alone.data, {}), (apart.folder / "data", apart.settings))
        ]
        assert [done.returncode for done in told] == [0, 0], told
        assert told[0].stdout == told[1].stdout
        yield both
        for process in (alone, *apart.processes.values()):
            assert "Traceback" not in process.log


# ---- what is made up -----------------------------------------------------------------------------

WORDS = [
    *("The", "a", "Léon", "d'Éclat", "Spider-Man", "M*A*S*H", "L.A.", "ﬁlm", "Straße", "STRASSE"),
    *("Amélie", "Ⅷ", "Λόγος", "日本", "한국", "İstanbul", "ŁÓDŹ", "ก็", "हिन्दी", "עברית", "e\u0301"),
    *("(1995)", "100%", "_", '"x"', "C:\\", "--", "🎬", "&", "'", "''", "|", "!", ":*", "<->"),
    *("a:b", "-the", "x*", "Nº", "½"),
]
GENRES = ["Drama", "drama", "Straße", "STRASSE", "a,b", '{"x"}']
YEARS = range(1950, 1953)

words, genres, years = (st.sampled_from(some) for some in (WORDS, GENRES, YEARS))
odd = st.text(max_size=4)
titles = st.one_of(
    st.lists(words, min_size=1, max_size=3).map(" ".join),
    st.sampled_from(["Same", "SAME!", "y" * 250 + "b", "y" * 250 + "a", "x" * 500]),
    st.text(st.characters(categories=["L", "M", "N", "P", "S"]), min_size=1, max_size=8),
)
queries = st.one_of(
    words,
    st.builds(lambda word, length: word[:length], words, st.integers(1, 4)),
    words.map(str.upper),
    st.lists(words, min_size=2, max_size=3).map(" ".join),
    odd,
    st.sampled_from(["", " ", "same", "y" * 200, "x" * 201]),
)
movies_written = st.fixed_dictionaries(
    {"title": titles},
    optional={
        "year": st.none() | years,
        "genres": st.lists(genres, max_size=3),
        "boxOffice": st.none() | st.sampled_from([0, 1, 2**31, 2**53]),
        "imdbId": st.none() | st.sampled_from(["tt1", "tt0000002"]),
        "tmdbId": st.none() | st.sampled_from([1, 2**53]),
    },
)
badly_written = st.one_of(
    st.fixed_dictionaries({"title": st.sampled_from(["", " ", "x" * 501, "\0", 1, None])}),
    st.fixed_dictionaries(
        {"title": titles},
        optional={
            "year": st.sampled_from([1869, 2101, "1950", 1950.5]),
            "genres": st.sampled_from([[""], [" "], ["x" * 51], ["x"] * 21, "x", ["\n"]]),
            "boxOffice": st.sampled_from([-1, 2**53 + 1, "1", 0.5]),
            "imdbId": st.sampled_from(["nm1", "", "tt", 1]),
            "tmdbId": st.sampled_from([0, 2**53 + 1, "1"]),
            "rank": st.just(1),
        },
    ),
)
searches = st.fixed_dictionaries(
    {}, optional={"query": queries, "genre": genres | odd, "year": years | st.just(1869)}
)
charts = st.fixed_dictionaries(
    {},
    optional={
        "limit": st.sampled_from([0, 1, 2, 3, 250, 251]),
        "genre": genres | odd,
        "yearFrom": years,
        "yearTo": years,
        "minRatings": st.integers(0, 3),
        "bestPicture": st.sampled_from(["won", "nominated", "lost"]),
        "ranking": st.sampled_from(["weighted", "mean"]),
    },
)
EVERY_CHART = [
    {name: value}
    for name, values in {
        "limit": [1, 2],
        "genre": GENRES,
        "yearFrom": YEARS,
        "yearTo": YEARS,
        "minRatings": [1, 2],
        "bestPicture": ["won", "nominated"],
        "ranking": ["weighted", "mean"],
    }.items()
    for value in values
]
EVERY_LIST = [{"genre": genre} for genre in GENRES] + [{"year": year} for year in YEARS] + [{}]

rates = st.integers(1, 20).map(lambda half: half / 2)
NO_RATES = ['"9"', "true", "null", "NaN", "9.25", "0", "10.5", "1e400", "-1", "[]", '9, "x": 1']
no_rates = st.sampled_from(NO_RATES).map('{{"rate": {}}}'.format) | st.sampled_from(
    ["", "{}", "[]", "9", '{"rate": 9', '{"Rate": 9}']
)
ASTRAY = [
    *("/", "/movies/!", "/movies/none", "/movies/none/ratings", "/movies/none/users"),
    *("/movies/none/users/rate", "/movies/top10/x", "/movies/bestpictures", "/users/me/ratings"),
]

USERS, OWN = range(4), range(4)
users, own_movies, movies = st.sampled_from(USERS), st.sampled_from(OWN), st.integers(0, 6)
limits = st.integers(1, 7)
runs = count(1)


class SideBySide(RuleBasedStateMachine):
    """``there``: the movies that are in the catalogue; ``rated``: by movie and user what counts."""

    both: ClassVar[Both]

    def __init__(self) -> None:
        super().__init__()
        self.run = next(runs)
        self.there = set(NOMINATED)
        self.rated: dict[str, dict[str, float]] = {}

    # ---- names

    def user(self, number: int) -> str:
        return ("Zoë", 'b, "the" 2nd', "c" * 120, "d=&/?#%")[number] + f"-{self.run}"

    def movie(self, number: int) -> str:
        """The run's own, those that stay, and one that is never there."""
        ids = [f"{first}-{self.run}" for first in "Aa_-"]
        return [*ids, *NOMINATED, "nowhere"][number]

    def own(self, movie: int) -> str:
        return f"/movies/{self.movie(movie)}/users/rate"

    # ---- ratings

    @rule(user=users, movie=movies, rate=rates)
    def rate(self, user: int, movie: int, rate: float) -> None:
        answer = self.both.ask("POST", self.own(movie), self.user(user), json={"rate": rate})
        self.is_rated(answer, 200, user, movie, rate)

    @rule(user=users, movie=movies, rate=rates)
    def rate_for(self, user: int, movie: int, rate: float) -> None:
        told = {"userId": self.user(user), "ratingScore": rate}
        path = f"/movies/{self.movie(movie)}/ratings"
        self.is_rated(self.both.ask("POST", path, *SERVICE, json=told), 201, user, movie, rate)

    def is_rated(self, answer: Said, status: int, user: int, movie: int, rate: float) -> None:
        id = self.movie(movie)
        assert answer.status == (status if id in self.there else 404)
        if id in self.there:
            self.rated.setdefault(id, {})[self.user(user)] = rate

    @rule(user=users, movie=movies)
    def remove(self, user: int, movie: int) -> None:
        self.both.ask("DELETE", self.own(movie), self.user(user))
        self.rated.get(self.movie(movie), {}).pop(self.user(user), None)

    @rule(user=users, movie=movies)
    def read(self, user: int, movie: int) -> None:
        answer = self.both.ask("GET", self.own(movie), self.user(user))
        rate = self.rated.get(self.movie(movie), {}).get(self.user(user))
        assert (answer.status, answer.body.get("rate")) == (200 if rate else 404, rate)

    @rule(user=users, limit=limits)
    def list_mine(self, user: int, limit: int) -> None:
        who = self.user(user)
        pages = self.both.pages("/users/me/ratings", who, limit=limit, within=0)
        found = {rating["movieId"]: rating["rate"] for page in pages for rating in page}
        assert found == self.rated_by(user)

    def rated_by(self, user: int) -> dict[str, float]:
        name = self.user(user)
        return {movie: rates[name] for movie, rates in self.rated.items() if name in rates}

    @rule(user=users, limit=limits, asked=st.lists(movies, min_size=1, max_size=8))
    def list_picked(self, user: int, limit: int, asked: list[int]) -> None:
        ids = ",".join(map(self.movie, asked))
        who = self.user(user)
        self.both.pages("/users/me/ratings", who, limit=limit, within=0, movieIds=ids)

    @rule(user=users)
    def list_as_csv(self, user: int) -> None:
        self.both.ask("GET", "/users/me/ratings", self.user(user), headers={"Accept": "text/csv"})

    @rule(user=users)
    def erase(self, user: int) -> None:
        answer = self.both.ask("DELETE", "/users/me/ratings", self.user(user))
        assert answer.body == {"erased": len(self.rated_by(user))}
        for rates in self.rated.values():
            rates.pop(self.user(user), None)

    # ---- movies

    @initialize(written=st.lists(movies_written, min_size=4, max_size=4), dice=st.randoms())
    def begin(self, written: list[dict[str, Any]], dice: Random) -> None:
        for movie, told in enumerate(written):
            self.put(movie, told)
            self.rate(dice.choice(USERS), movie, dice.randint(1, 20) / 2)

    @rule(movie=own_movies, written=movies_written)
    def put(self, movie: int, written: dict[str, Any]) -> None:
        self.write("PUT", f"/movies/{self.movie(movie)}", movie, written)

    @rule(movie=own_movies, written=movies_written)
    def post(self, movie: int, written: dict[str, Any]) -> None:
        self.write("POST", "/movies", movie, written | {"id": self.movie(movie)})

    @rule(movie=own_movies, written=badly_written)
    def write_badly(self, movie: int, written: dict[str, Any]) -> None:
        self.write("PUT", f"/movies/{self.movie(movie)}", movie, written)

    def write(self, method: str, path: str, movie: int, written: dict[str, Any]) -> None:
        answer = self.both.ask(method, path, *EDITOR, json=written, late=FIGURES)
        if answer.status in {200, 201}:
            self.there.add(self.movie(movie))

    @rule(movie=own_movies)
    def delete(self, movie: int) -> None:
        id = self.movie(movie)
        self.both.ask("DELETE", f"/movies/{id}", *EDITOR)
        if id in self.there:
            self.there.discard(id)
            self.await_its_end(id)

    def await_its_end(self, movie: str) -> None:
        """Until whoever takes ratings has heard of it, too."""
        path, who = f"/movies/{movie}/users/rate", ("nobody",)
        for side in self.both.sides:
            end = time.monotonic() + FOLLOWS
            while side.ask("POST", path, who, json={"rate": 1}).status_code != 404:
                side.ask("DELETE", path, who)
                assert time.monotonic() < end, f"{side.name} never hears that {movie} is gone"

    # ---- what follows

    @rule(asked=searches, limit=limits)
    def search(self, asked: dict[str, Any], limit: int) -> None:
        if self.both.soon("/movies", **asked).status == 200:
            self.both.pages("/movies", limit=limit, **asked)

    @rule(asked=charts)
    def chart(self, asked: dict[str, Any]) -> None:
        self.both.soon("/movies/top-rated", **asked)

    @rule(movie=movies)
    def totals(self, movie: int) -> None:
        self.follow(self.movie(movie))

    def follow(self, movie: str) -> dict[str, Any]:
        """The movie, when it counts what was told."""
        counts = Counter(self.rated.get(movie, {}).values())
        expected = {n / 2: counts[n / 2] for n in range(1, 21)}

        def counted(answer: Said) -> bool:
            if answer.status == 404:
                return movie not in self.there
            return expected == {
                each["score"]: each["count"] for each in answer.body["distribution"]
            }

        self.both.soon(f"/movies/{movie}/ratings", true=counted)
        found: dict[str, Any] = self.both.ask("GET", f"/movies/{movie}").body
        return found

    @rule()
    def the_ten(self) -> None:
        standing = [self.follow(movie) for movie in sorted(self.there)]
        rated = [movie for movie in standing if movie["numberOfRatings"]]
        rated.sort(key=place)
        expected = [
            {"rank": rank} | {name: movie[name] for name in ENTRY_KEYS - {"rank"}}
            for rank, movie in enumerate(rated, 1)
        ]
        ten = self.both.soon("/movies/top10", true=lambda ten: ten.body["result"] == expected[:10])
        tag = {"If-None-Match": ten.headers["etag"]}
        assert self.both.ask("GET", "/movies/top10", headers=tag).status == 304
        self.both.soon("/movies/top-rated", limit=250, true=lambda c: c.body["result"] == expected)

    @rule(title=titles | st.sampled_from(["lighthouse", "the  LIGHT-house!", "Les Emigres"]))
    def best_picture(self, title: str) -> None:
        self.both.ask("GET", "/movies/bestpictures", params={"title": title})

    @rule(limit=limits, won=st.none() | st.booleans(), year=st.sampled_from([None, 1957, 1928, 1]))
    def best_pictures(self, limit: int, won: bool | None, year: int | None) -> None:
        asked = {} if won is None else {"won": str(won).lower()}
        asked |= {} if year is None else {"year": str(year)}
        if self.both.ask("GET", "/movies/bestpictures", params=asked).status == 200:
            self.both.pages("/movies/bestpictures", limit=limit, **asked)

    # ---- errors

    @rule(user=users, movie=movies, body=no_rates)
    def rate_badly(self, user: int, movie: int, body: str) -> None:
        told = {"content": body, "headers": {"Content-Type": "application/json"}}
        self.both.ask("POST", self.own(movie), self.user(user), **told)

    @rule(
        method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH"]),
        path=st.sampled_from(ASTRAY),
        who=st.sampled_from([(), ("reader",), EDITOR, SERVICE]),
        body=st.sampled_from([None, "{}", "[", '{"rate": 9}', '{"title": "x", "y": 1}']),
        form=st.sampled_from([None, "application/json", "text/plain"]),
    )
    def go_astray(
        self, method: str, path: str, who: tuple[str, ...], body: str | None, form: str | None
    ) -> None:
        told = {"content": body, "headers": {"Content-Type": form} if form else {}}
        self.both.ask(method, path, *who, **told)

    @rule(path=st.sampled_from(["/movies", "/users/me/ratings", "/movies/bestpictures"]))
    def make_a_cursor_up(self, path: str) -> None:
        self.both.ask("GET", path, "reader", params={"cursor": "bm9uZQ"})

    @rule(user=users, other=users, movie=movies)
    def rate_for_another(self, user: int, other: int, movie: int) -> None:
        told = {"userId": self.user(other), "ratingScore": 5}
        path = f"/movies/{self.movie(movie)}/ratings"
        answer = self.both.ask("POST", path, self.user(user), json=told)
        if user == other:
            self.is_rated(answer, 201, user, movie, 5)
        else:
            assert answer.status == 403

    # ---- the end

    @rule()
    def be_idle(self) -> None:
        """The simplest step: Hypothesis begins with a run of nothing else."""

    def teardown(self) -> None:
        try:
            self.the_ten()
            for asked in EVERY_CHART:
                self.both.soon("/movies/top-rated", **asked)
            for asked in EVERY_LIST:
                self.both.pages("/movies", limit=2, **asked)
        finally:
            for user in USERS:
                self.erase(user)
            for movie in OWN:
                self.both.ask("DELETE", f"/movies/{self.movie(movie)}", *EDITOR)


def place(movie: dict[str, Any]) -> tuple[Any, ...]:
    """In the order of the chart."""
    office = movie["boxOffice"]
    known = -1 if office is None else office
    return -movie["rate"], -known, -movie["numberOfRatings"], movie["id"]


def test_the_same_calls_the_same_answers(both: Both) -> None:
    class Machine(SideBySide):
        pass

    Machine.both = both
    first = ledger.seed()
    for number in range(RUNS):
        run_state_machine_as_test(
            seed(first + number)(Machine),
            settings=settings(
                max_examples=2,  # the first of them is idle
                stateful_step_count=STEPS,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
                database=None,
                deadline=None,
            ),
        )
