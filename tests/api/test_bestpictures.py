"""``GET /movies/bestpictures``: of a title, or the list; and ``bestPicture`` wherever it shows."""

import pytest

from tests.api.asking import NOMINATION_KEYS, Stage, assert_problem, eventually, pages
from tests.data import data_dir, is_real
from tests.support.server import marquee, serve

BEST = "/movies/bestpictures"

AWARDS = """\
Year,Category,Nominee,Additional Info,Won?
2012 (85th),Best Picture,Les Misérables,"Tim Bevan, Producer",NO
1997 (70th),Best Picture,Titanic,"James Cameron and Jon Landau, Producers",YES
1997 (70th),Best Picture,Good Will Hunting,"Lawrence Bender, Producer",NO
1964 (37th),Best Picture,Dr. Strangelove or: How I Learned to Stop Worrying,Kubrick,NO
1962 (35th),Best Picture,Mutiny on the Bounty,"Aaron Rosenberg, Producer",NO
1935 (8th),Best Picture,Mutiny on the Bounty,Metro-Goldwyn-Mayer,YES
1935 (8th),Best Picture,Les Miserables,20th Century,NO
1935 (8th),Best Picture,The Informer,RKO Radio,NO
1935 (8th),Best Picture,Naughty & Nice,RKO Radio,NO
1997 (70th),Directing,Some Other Movie,Somebody,YES
"""


@pytest.fixture(scope="module")
def academy(tmp_path_factory):
    """A server of its own with nine nominations, and the movies of three."""
    folder = tmp_path_factory.mktemp("academy")
    (folder / "awards.csv").write_text(AWARDS)
    with serve(folder) as server, Stage(server) as stage:
        stage.movie("tt0120338", title="Titanic", year=1997)
        stage.movie("tt0119217", title="Good Will Hunting", year=1997)
        stage.movie("tt0026752", title="Mutiny on the Bounty", year=1935)
        stage.movie("tt0056264", title="Mutiny on the Bounty", year=1962)
        stage.movie("tt0133093", title="The Matrix", year=1999)
        done = marquee("import", "academy-awards", folder / "awards.csv", data=server.data)
        assert done.returncode == 0, done.stderr
        eventually(lambda: len(listed(stage)["result"]), lambda number: number == 9)
        yield stage


def listed(stage, **query):
    answer = stage.anyone.get(BEST, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


class TestOfATitle:
    def test_shape(self, academy):
        assert listed(academy, title="Titanic") == {
            "title": "Titanic",
            "won": True,
            "result": [
                {
                    "movieId": "tt0120338",
                    "title": "Titanic",
                    "year": 1997,
                    "yearLabel": "1997 (70th)",
                    "ceremony": 70,
                    "won": True,
                    "additionalInfo": "James Cameron and Jon Landau, Producers",
                }
            ],
        }

    def test_every_nomination_of_a_movie_of_that_title(self, academy):
        answer = listed(academy, title="Mutiny on the Bounty")
        assert answer["won"] is True
        found = {(n["movieId"], n["year"], n["ceremony"], n["won"]) for n in answer["result"]}
        assert found == {("tt0026752", 1935, 8, True), ("tt0056264", 1962, 35, False)}

    def test_nominated_only(self, academy):
        answer = listed(academy, title="Good Will Hunting")
        assert answer["won"] is False
        assert [nomination["won"] for nomination in answer["result"]] == [False]

    def test_the_movie_need_not_be_known(self, academy):
        (nomination,) = listed(academy, title="The Informer")["result"]
        assert nomination["movieId"] is None
        assert set(nomination) == NOMINATION_KEYS

    @pytest.mark.parametrize(
        ("title", "number"),
        {
            "titanic": 1,
            "TITANIC!": 1,
            " Titanic ": 1,
            "The Titanic": 1,
            "Titanic, The": 1,
            "Títäniç": 1,
            "LES MISERABLES": 2,
            "Les Misérables": 2,
            "informer": 1,
            "Informer, The": 1,
            "the informer": 1,
            "Dr Strangelove, or how I learned to stop worrying": 1,
            "Naughty and Nice": 1,
            "naughty nice": 1,
            "Naughty & Nice": 1,
            "Titanic The": 1,
            "Titanic the (1997)": 1,
            "Miserables Les": 2,
            "mutiny on the bounty": 2,
        }.items(),
    )
    def test_what_does_not_matter(self, academy, title, number):
        answer = listed(academy, title=title)
        assert answer["title"] == title
        assert len(answer["result"]) == number

    def test_never_nominated(self, academy):
        for title in ("The Matrix", "Some Other Movie", "zzz", "!!!", "x" * 200, "%"):
            problem = assert_problem(academy.anyone.get(BEST, params={"title": title}), 404)
            assert isinstance(problem["suggestions"], list)
            assert len(problem["suggestions"]) <= 5

    def test_close_titles_are_suggested(self, academy):
        for title, meant in {
            "Titanik": "Titanic",
            "Mutny on the Bounty": "Mutiny on the Bounty",
            "good will huntin": "Good Will Hunting",
        }.items():
            problem = assert_problem(academy.anyone.get(BEST, params={"title": title}), 404)
            assert problem["suggestions"][0] == meant
        problem = assert_problem(academy.anyone.get(BEST, params={"title": "qqqqqqqq"}), 404)
        assert problem["suggestions"] == []

    @pytest.mark.parametrize("title", ["", " ", "\t", "\u3000", "x" * 201, "é" * 201])
    def test_what_is_no_title(self, academy, title):
        assert_problem(academy.anyone.get(BEST, params={"title": title}), 400, "/title")

    def test_a_title_of_200_characters_is_one(self, academy):
        assert_problem(academy.anyone.get(BEST, params={"title": "é" * 200}), 404)

    def test_a_title_takes_no_other_parameter(self, academy):
        answer = academy.anyone.get(BEST, params={"title": "Titanic", "nope": 1})
        assert_problem(answer, 400, "/nope")


class TestList:
    def test_shape(self, academy):
        answer = listed(academy)
        assert set(answer) == {"result", "nextCursor"}
        assert answer["nextCursor"] is None
        for nomination in answer["result"]:
            assert set(nomination) == NOMINATION_KEYS

    def test_newest_first(self, academy):
        ceremonies = [nomination["ceremony"] for nomination in listed(academy)["result"]]
        assert ceremonies == [85, 70, 70, 37, 35, 8, 8, 8, 8]

    def test_won_and_year(self, academy):
        def titles(**query):
            return [nomination["title"] for nomination in listed(academy, **query)["result"]]

        assert titles(won="true") == ["Titanic", "Mutiny on the Bounty"]
        assert len(titles(won="false")) == 7
        assert set(titles(year=1997)) == {"Titanic", "Good Will Hunting"}
        assert titles(year=1997, won="false") == ["Good Will Hunting"]
        assert titles(year=1998) == []

    @pytest.mark.parametrize("limit", [1, 2, 4, 8, 9, 10])
    @pytest.mark.parametrize("query", [{}, {"won": "false"}, {"year": 1935}], ids=str)
    def test_pages(self, academy, limit, query):
        found = pages(academy.anyone, BEST, limit=limit, **query)
        assert all(len(page) <= limit for page in found)
        assert [each for page in found for each in page] == listed(academy, **query)["result"]

    def test_cursors(self, academy):
        real = listed(academy, limit=2)["nextCursor"]
        for cursor in ("", "x", real[:-1], real + "A"):
            assert_problem(academy.anyone.get(BEST, params={"cursor": cursor}), 400, "/cursor")
        for other in ({"won": "true"}, {"year": 1935}):
            answer = academy.anyone.get(BEST, params={"cursor": real} | other)
            assert_problem(answer, 400, "/cursor")

    @pytest.mark.parametrize(
        ("name", "values"),
        {"won": ["", "yes", "1", "TRUE"], "year": ["", "x"], "limit": ["0", "251", ""]}.items(),
    )
    def test_what_may_not_be_asked(self, academy, name, values):
        for value in values:
            answer = academy.anyone.get(BEST, params={name: value})
            assert_problem(answer, 400, f"/{name}")


class TestOfAMovie:
    def test_best_picture(self, academy):
        for movie, best_picture in {
            "tt0120338": "won",
            "tt0119217": "nominated",
            "tt0026752": "won",
            "tt0056264": "nominated",
            "tt0133093": None,
        }.items():
            assert academy.anyone.get(f"/movies/{movie}").json()["bestPicture"] == best_picture

    def test_the_chart_of_them(self, academy):
        academy.rate("tt0120338", [9, 9])
        academy.rate("tt0119217", [8])
        academy.rate("tt0133093", [10])
        for movie, number in {"tt0120338": 2, "tt0119217": 1, "tt0133093": 1}.items():
            academy.await_ratings(movie, number)
        for best_picture, expected in {"won": "tt0120338", "nominated": "tt0119217"}.items():
            chart = academy.chart(bestPicture=best_picture)
            assert [entry["id"] for entry in chart] == [expected]
        assert len(academy.chart(limit=3)) == 3

    def test_a_nomination_outlives_its_movie(self, academy):
        movie = academy.anyone.get("/movies/tt0056264").json()
        academy.editor.delete("/movies/tt0056264")
        assert len(listed(academy, title="Mutiny on the Bounty")["result"]) == 2
        academy.movie("tt0056264", title=movie["title"], year=movie["year"])
        found = academy.anyone.get("/movies/tt0056264").json()
        assert found["bestPicture"] == "nominated"


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_movie_that_comes_after_its_nomination(tmp_path, method):
    (tmp_path / "awards.csv").write_text(AWARDS)
    with serve(tmp_path) as server, Stage(server) as stage:
        done = marquee("import", "academy-awards", tmp_path / "awards.csv", data=server.data)
        assert done.returncode == 0, done.stderr
        for id, year, best in [("a", 1962, "nominated"), ("b", 1936, "won"), ("c", 1950, None)]:
            body = {"title": "Mutiny on the Bounty", "year": year}
            if method == "PUT":
                answer = stage.editor.put(f"/movies/{id}", json=body)
            else:
                answer = stage.editor.post("/movies", json=body | {"id": id})
            assert answer.status_code == 201
            assert answer.json()["bestPicture"] == best
        eventually(
            lambda: listed(stage, title="Mutiny on the Bounty")["result"],
            lambda result: [each["movieId"] for each in result] == ["a", "b"],
        )


def test_every_ceremony_has_one_winner(tmp_path):
    """On the Academy's own data, or on the made-up file that has its quirks."""
    with serve(tmp_path) as server, Stage(server) as stage:
        file = data_dir() / "academy_awards.csv"
        done = marquee("import", "academy-awards", file, data=server.data)
        assert done.returncode == 0, done.stderr
        least = 83 if is_real() else 4
        winners = eventually(
            lambda: listed(stage, won="true", limit=250)["result"],
            lambda found: len(found) >= least,
            within=60,
        )
        ceremonies = [winner["ceremony"] for winner in winners]
        assert ceremonies == sorted(set(ceremonies), reverse=True)
        if is_real():
            assert ceremonies == list(range(83, 0, -1))
            assert listed(stage, title="Wings")["result"][0]["yearLabel"] == "1927/28 (1st)"
            for title in ("Casablanca", "the godfather", "King's Speech, The", "marty"):
                assert listed(stage, title=title)["won"] is True
            for title in ("Citizen Kane", "Avatar", "Star Wars"):
                assert listed(stage, title=title)["won"] is False
