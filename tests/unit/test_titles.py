"""When two titles are the same, and how one reads best."""

import csv
import time
from collections import defaultdict

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from marquee.titles import display, forms, key, split_year, words
from tests.data import data_dir, is_real

SAME = [
    (
        "The Godfather",
        "Godfather, The",
        "Godfather (The)",
        "godfather",
        "THE GODFATHER",
        "Godfather",
    ),
    ("The King's Speech", "Kings Speech", "The King’s Speech", "King`s Speech, The"),
    ("Les Misérables", "Misérables, Les", "les miserables"),
    ("Il Postino", "Postino, Il"),
    ("L'Avventura", "Avventura, L'", "Avventura, L’", "l’avventura"),
    ("La Cité des enfants perdus", "Cité des enfants perdus, La"),
    ("The Postman (Il Postino)", "Postman, The (Postino, Il)", "Postman (Il Postino), The"),
    ("Secrets & Lies", "Secrets and Lies", "Secrets＆Lies"),
    ("L.A. Confidential", "LA Confidential"),
    ("All-American", "All American"),
    ("GoodFellas", "Good Fellas", "Goodfellas"),
    ("WALL·E", "WALL-E", "Walle"),
    ("M*A*S*H", "MASH"),
    ("8½", "8 1/2", "8 ½"),
    ("Alien³", "Alien 3"),
    ("…And Justice for All", "...And Justice for All", "& justice for all"),
    ("Once upon a Time...in Hollywood", "Once Upon a Time in Hollywood"),
    ("Æon Flux", "Aeon Flux"),
    ("Smørrebrød", "Smorrebrod"),
    ("Der Untergang vom Schuß", "DER UNTERGANG VOM SCHUSS"),
    ("Łódź", "lodz"),
    ("Ёлки", "елки"),
    ("The A-Team", "A-Team", "A-Team, The"),
    ("Good, the Bad and the Ugly, The", "The Good, the Bad and the Ugly"),
]

DIFFERENT = [
    ("La La Land", "La Land"),
    ("La La Land", "Land"),
    ("Die Hard", "Hard"),
    ("As Good as It Gets", "Good as It Gets"),
    ("The The", "The"),
    ("L'Amour", "Amour"),
    ("Alien", "Aliens"),
    ("Rocky", "Rocky II"),
    ("がん", "かん"),
    ("की", "का"),
    ("!!!", "???"),
]


@pytest.mark.parametrize("titles", SAME, ids=lambda titles: titles[0])
def test_the_same_title_in_other_letters(titles: tuple[str, ...]) -> None:
    assert len({key(title) for title in titles}) == 1


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_another_title(one: str, other: str) -> None:
    assert key(one) != key(other)


@pytest.mark.parametrize(
    "title", ["A", "The", "The The", "!!!", "Z", "M", "♥", "千と千尋", "π", "&"]
)
def test_every_title_has_a_key(title: str) -> None:
    assert key(title)
    assert words(title)


titles = st.one_of(
    st.text(),
    st.text(alphabet="aAtThHeEnN ,.()'&!-éßİŀ", max_size=30),
    st.text(alphabet=st.characters(categories=["Mn", "Mc", "Lo", "Lm", "No", "Sk", "Po", "Cs"])),
)


@given(titles)
@example("the the the")
@example("か!\u3099")
@example("ᾳ\u0345")
@example("(the")
@example("a, the, an (a) (the)")
@example("x" * 200 + "(" * 90 + ", the" * 40)
@example("x" + ", the(y" * 70)
@example("x" + "(the)" * 90)
def test_a_key_is_its_own_key(title: str) -> None:
    once = key(title)
    assert key(once) == once
    assert " " not in once
    words(title), display(title), forms(title), split_year(title)


@given(titles)
def test_case_and_spaces_around_do_not_matter(title: str) -> None:
    assert key(f"  {title}\n") == key(title)
    if title.isascii():
        assert key(title.upper()) == key(title.lower())


@given(st.text(alphabet="aAtThHeEnN ,.()'&!-éß", max_size=40))
@example("X, A, The")
@example("X (The), A (An)")
@example("X ((the))")
def test_what_is_displayed_is_the_same_title(title: str) -> None:
    assert key(display(title)) == key(title)


@pytest.mark.parametrize("article", ["(the)", " (a) ", ", a", "⒜"])
def test_many_articles_are_no_more_work_than_many_words(article: str) -> None:
    began = time.process_time()
    key("x" + 2000 * article)
    assert time.process_time() - began < 1


def test_words() -> None:
    assert words("The Godfather, Part II") == ["the", "godfather", "part", "ii"]
    assert words("L.A. Confidential") == ["la", "confidential"]
    assert words("M*A*S*H") == ["mash"]
    assert words("Schindler's List & Émigrés") == ["schindlers", "list", "and", "emigres"]
    assert words("Once upon a Time...in Hollywood")[3:] == ["time", "in", "hollywood"]
    assert words("!!!") == ["!!!"]
    assert words(" ") == []


@pytest.mark.parametrize(
    ("listed", "shown"),
    [
        ("Shawshank Redemption, The", "The Shawshank Redemption"),
        ("École de la chair, L'", "L'École de la chair"),
        (
            "City of Lost Children, The (Cité des enfants perdus, La)",
            "The City of Lost Children (La Cité des enfants perdus)",
        ),
        ("Blind Side, The ", "The Blind Side"),
        ("Godfather (The)", "The Godfather"),
        ("Paris, Texas", "Paris, Texas"),
        ("I, Robot", "I, Robot"),
        ("(500)  Days of Summer", "(500) Days of Summer"),
        (", The", ", The"),
        ("", ""),
    ],
)
def test_display(listed: str, shown: str) -> None:
    assert display(listed) == shown


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("Heat (1995)", ("Heat", 1995)),
        ("Blind Side, The  (2009) ", ("Blind Side, The", 2009)),
        ("Murmur (2006–2007)", ("Murmur", 2006)),
        ("Gemini (1999/II)", ("Gemini", 1999)),
        ("Contempt (Mépris, Le) (1963)", ("Contempt (Mépris, Le)", 1963)),
        ("2012 (2009)", ("2012", 2009)),
        ("1917", ("1917", None)),
        ("(1994)", ("(1994)", None)),
        ("Far Away (9999)", ("Far Away (9999)", None)),
        ("Arabic Digits (١٩٩٥)", ("Arabic Digits (١٩٩٥)", None)),
        ("", ("", None)),
    ],
)
def test_split_year(text: str, split: tuple[str, int | None]) -> None:
    assert split_year(text) == split


@pytest.mark.parametrize(
    ("title", "named"),
    [
        ("The Postman (Il Postino)", ["The Postman", "Il Postino"]),
        ("Postman, The (Postino, Il)", ["The Postman", "Il Postino"]),
        ("8 ½ Women (a.k.a. 8 1/2 Women)", ["8 ½ Women", "8 1/2 Women"]),
        ("Birdman or (The Unexpected)", ["Birdman", "The Unexpected"]),
        ("Dr. Strangelove or: How I Learned", ["Dr. Strangelove", "How I Learned"]),
        ("Dune: Part Two", []),
        ("Sink or Swim", []),
        ("(500) Days of Summer", []),
    ],
)
def test_forms(title: str, named: list[str]) -> None:
    assert list(forms(title)) == [display(title), *named]


def test_no_two_movies_of_a_year_get_one_key_by_mistake() -> None:
    spelled = defaultdict[tuple[str, int | None], set[str]](set)
    with (data_dir() / "movielens-small" / "movies.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            title, year = split_year(row["title"])
            assert key(title)
            spelled[key(title), year].add(title)
    assert [titles for titles in spelled.values() if len(titles) > 1] == []
    if is_real():
        assert len(spelled) == 9737, "9,742 movies, five titles of a year used twice"
