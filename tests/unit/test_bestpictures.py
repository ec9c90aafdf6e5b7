"""Who was nominated for Best Picture, asked by whatever title people type."""

import asyncio
import csv
import random
from collections.abc import Callable
from contextlib import suppress
from itertools import groupby
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marquee import bestpictures, titles
from marquee.bestpictures import BestPictures, Nominees
from marquee.errors import Invalid, NotFound, StoreAway
from marquee.model import Nomination
from marquee.suggestions import Suggestions, _errors
from tests.data import data_dir, is_real

if TYPE_CHECKING:
    from marquee.ports import Catalogue


class Store:
    """A catalogue of nominations alone, and the notices of their changes."""

    def __init__(self, *nominations: Nomination) -> None:
        self.held = list(nominations)
        self.number = 1
        self.reads = 0
        self.away = False
        self.heard: list[Callable[[str], None]] = []

    async def revision(self) -> int:
        if self.away:
            raise StoreAway("away")
        return self.number

    async def nominations(self) -> list[Nomination]:
        self.reads += 1
        return list(self.held)

    def listen(self, topic: str, heard: Callable[[str], None]) -> None:
        self.heard.append(heard)

    def tell(self, topic: str, what: str = "") -> None:
        for heard in self.heard:
            heard(what)

    def put(self, *nominations: Nomination) -> None:
        self.held = list(nominations)
        self.number += 1


def nomination(title: str, ceremony: int = 70, won: bool = False) -> Nomination:
    return Nomination(ceremony, title, ceremony + 1927, f"{ceremony + 1927} ({ceremony}th)", won)


async def loaded(store: Store) -> BestPictures:
    pictures = BestPictures(cast("Catalogue", store), store)
    await pictures.step()
    return pictures


def real() -> list[Nomination]:
    path = data_dir() / "oscars" / "oscars.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [
            Nomination(
                int(row["Ceremony"]),
                row["Film"],
                int(row["Year"][:4]),
                f"{row['Year']} ({row['Ceremony']})",
                row["Winner"] == "True",
                row["Name"],
                row["FilmId"],
            )
            for row in rows
            if row["CanonicalCategory"] == "BEST PICTURE"
        ]


@pytest.fixture(scope="module")
def academy() -> Nominees:
    return Nominees(real())


# ---- by title ----------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_every_nomination_of_that_title_newest_first() -> None:
    store = Store(
        nomination("Cleopatra", 7),
        nomination("Cleopatra", 36),
        nomination("The Postman (Il Postino)"),
        nomination("L’Atalante"),
    )
    pictures = await loaded(store)
    assert [found.ceremony for found in pictures.find("CLÉOPATRA!")] == [36, 7]
    assert [found.ceremony for found in pictures.find("Cleopatra (1935)")] == [7], "a year off"
    for title in ("The Postman (Il Postino)", "Postman", "Postman, The", "Il Postino", "Postino"):
        assert pictures.find(title) == (store.held[2],)
    for title in ("L'Atalante", "Atalante, L’", "Atalante", "The Atalante"):
        assert pictures.find(title) == (store.held[3],)
    with pytest.raises(NotFound) as missed:
        pictures.find("Cleopatra (1999)")
    assert missed.value.suggestions == ("Cleopatra",)


def test_an_article_at_either_end_and_an_ampersand_do_not_matter() -> None:
    stored = ("Naughty & Nice", "Gift Horse", "Plan A", "The King and I", "Les Miserables", "& Son")
    nominees = Nominees(nomination(title) for title in stored)
    for asked, title in {
        "Naughty Nice": "Naughty & Nice",
        "naughty＆nice the": "Naughty & Nice",
        "Gift & Horse": "Gift Horse",
        "Gift Horse A": "Gift Horse",
        "gift horse (the)": "Gift Horse",
        "Gift Horse, an!": "Gift Horse",
        "Gift Horse The (1997)": "Gift Horse",
        "Plan": "Plan A",
        "Plan A": "Plan A",
        "King and I The": "The King and I",
        "Miserables Les": "Les Miserables",
        "son": "& Son",
        "the-king-and-i": "The King and I",
        "King-and-I-The": "The King and I",
        '"The" King and I': "The King and I",
        "an... gift_horse": "Gift Horse",
        "the-naughty-&-nice": "Naughty & Nice",
        "The King and I, The": "The King and I",
        "A The King and I": "The King and I",
        "TheKingAndI": "The King and I",
        "T?he King and I": "The King and I",
    }.items():
        assert [found.title for found in nominees.find(asked)] == [title], asked
    for asked in ("The King and", "Gift and Horse", "Gift", "The", "&", "& the"):
        assert nominees.find(asked) == (), asked


@pytest.mark.anyio
async def test_a_title_must_be_told() -> None:
    pictures = await loaded(Store(nomination("Z")))
    for title in ("", " \t", "\u2003", "z" * 201):
        with pytest.raises(Invalid) as refused:
            pictures.find(title)
        assert refused.value.pointer == "/title"
    for title in ("z" * 200, "\ufdfa" * 200, "\x00", "!", "🎬"):
        with pytest.raises(NotFound):
            pictures.find(title)


def test_every_real_title_is_found_in_all_its_spellings(academy: Nominees) -> None:
    assert len(academy.all) == 621 or not is_real()
    for each in academy.all:
        article, _, rest = each.title.partition(" ")
        spellings = [each.title, each.title.upper(), titles.key(each.title)]
        spellings += [f"{each.title} ({each.year})"]
        if article in {"The", "A"}:
            spellings += [rest, f"{rest}, {article}"]
            spellings += [f"{rest} ({article})", f"{rest} {article}"] * (")" not in rest)
        spellings += [each.title.replace(" & ", " and "), each.title.replace(" & ", " ")]
        spellings += [each.title.replace("'", "’")]
        for spelling in spellings:
            assert each in academy.find(spelling), spelling


def test_the_older_file_asks_for_the_same_movies(academy: Nominees) -> None:
    path = data_dir() / "academy_awards.csv"
    count = 0
    with path.open(encoding="iso-8859-1", newline="") as file:
        for year, category, nominee, info, *_ in csv.reader(file):
            if category == "Best Picture":
                count += 1
                ceremony = int(year.partition("(")[2][:-3])
                title = info if ceremony <= 2 else nominee
                assert ceremony in {found.ceremony for found in academy.find(title)}
    assert count == 485 or not is_real()


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("asked", "title"),
    [
        ("Good Fellas", "GoodFellas"),
        ("Miserables, Les", "Les Misérables"),
        ("Miserables", "Les Misérables"),
        ("birdman", "Birdman or (The Unexpected Virtue of Ignorance)"),
        ("ET The Extraterrestrial", "E.T. The Extra-Terrestrial"),
        ("one flew over the cuckoos nest", "One Flew over the Cuckoo's Nest"),
        ("Godfather: Part III, The", "The Godfather, Part III"),
        ("tar", "Tár"),
        ("LA confidential", "L.A. Confidential"),
        ("Frost / Nixon", "Frost/Nixon"),
    ],
)
def test_other_spellings_of_real_titles(academy: Nominees, asked: str, title: str) -> None:
    assert titles.key(title) in {titles.key(found.title) for found in academy.find(asked)}


def test_a_sequel_is_not_its_forerunner(academy: Nominees) -> None:
    asked = "Dune" if is_real() else "The Mapmaker"
    assert {found.title for found in academy.find(asked)} <= {asked}
    assert academy.find("La Land") == ()


# ---- suggestions -------------------------------------------------------------------------------


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("godfa", "The Godfather"),
        ("the g", "Gigi"),
        ("lord of the rins", "The Lord of the Rings: The Two Towers"),
        ("schindlers lits", "Schindler's List"),
        ("parasit", "Parasite"),
        ("shawshenk", "The Shawshank Redemption"),
        ("speech king", "The King's Speech"),
        ("no country old men", "No Country for Old Men"),
        ("cukoos nest", "One Flew over the Cuckoo's Nest"),
        ("jwas", "Jaws"),
        ("postin", "The Postman (Il Postino)"),
        ("Star Wars: Episode IV - A New Hope", "Star Wars"),
        ("precious", "Precious: Based on the Novel 'Push' by Sapphire"),
        ("teh godfather", "The Godfather"),
    ],
)
def test_the_first_suggestion(academy: Nominees, typed: str, first: str) -> None:
    assert academy.near(typed)[0] == first


@pytest.mark.parametrize(
    "typed", ["asdfgh", "xyzzy", "zzzzzz", "!!!", "♥", "千と千尋", "q" * 200, "\x00", " "]
)
def test_nothing_far_away_is_suggested(academy: Nominees, typed: str) -> None:
    assert academy.near(typed) == ()


@pytest.mark.real_data
@pytest.mark.parametrize("typed", ["The Matrix", "Die Hard", "Alien", "Frozen", "Shrek"])
def test_a_movie_never_nominated_is_not_mistaken(academy: Nominees, typed: str) -> None:
    assert academy.near(typed) == ()


@pytest.mark.no_cover
def test_a_slip_of_the_finger_is_forgiven(academy: Nominees) -> None:
    dice = random.Random(3)
    slips = met = 0
    for each in academy.all:
        title = each.title
        if len(titles.key(title)) < 5:
            continue
        at = dice.randrange(len(title) - 1)
        for slip in (
            title[:at] + title[at + 1 :],
            title[:at] + title[at + 1] + title[at] + title[at + 2 :],
            title[:at] + dice.choice("etaoin") + title[at + 1 :],
        ):
            if not academy.find(slip):
                slips += 1
                met += titles.key(title) in map(titles.key, academy.near(slip))
    assert met >= 0.97 * slips


@given(st.text(max_size=200))
def test_suggestions_are_few_unique_and_known(academy: Nominees, typed: str) -> None:
    near = academy.near(typed)
    assert len(near) <= 5
    assert len({titles.key(title) for title in near}) == len(near)
    assert set(near) <= {each.title for each in academy.all}


@given(st.text(alphabet="abc", min_size=1, max_size=9), st.text(alphabet="abc", max_size=9))
def test_errors_are_counted_as_by_the_textbook(typed: str, title: str) -> None:
    table = [
        [i + j if not i or not j else 0 for j in range(len(title) + 1)]
        for i in range(len(typed) + 1)
    ]
    for i, a in enumerate(typed, 1):
        for j, b in enumerate(title, 1):
            least = min(table[i - 1][j] + 1, table[i][j - 1] + 1, table[i - 1][j - 1] + (a != b))
            if i > 1 and j > 1 and typed[i - 2 : i] == b + title[j - 2]:
                least = min(least, table[i - 2][j - 2] + 1)
            table[i][j] = least
    where = {letter: sum(1 << i for i, c in enumerate(typed) if c == letter) for letter in typed}
    assert _errors(where, len(typed), title) == min(table[-1])


def test_no_titles_no_suggestions() -> None:
    assert Suggestions([]).near("anything") == ()


# ---- the list ----------------------------------------------------------------------------------


@pytest.mark.anyio
async def test_pages_without_gap_or_duplicate() -> None:
    pictures = await loaded(Store(*random.Random(5).sample(real(), len(real()))))
    for won, year, limit in [(None, None, 7), (True, None, 5), (False, None, 50), (None, 1957, 2)]:
        wanted = [
            each
            for each in sorted(real(), key=lambda n: (-n.ceremony, not n.won, titles.key(n.title)))
            if won in {None, each.won} and year in {None, each.year}
        ]
        seen: list[Nomination] = []
        after: str | None = ""
        while after is not None:
            page, after = pictures.list(won, year, after, limit)
            assert len(page) == limit or after is None
            seen += page
        assert seen == wanted


def test_a_list_goes_on_from_a_place_alone() -> None:
    assert bestpictures.is_place(bestpictures.place(nomination("Wings")))
    for no_place in ("", "Wings", "00001 ", "1 wings Wings", "00001 wings\0", "00001 wings\nWings"):
        assert not bestpictures.is_place(no_place)


@pytest.mark.anyio
async def test_a_page_goes_on_where_the_list_has_changed() -> None:
    a, b, c, d = (nomination(title) for title in "ABCD")
    store = Store(a, b, d)
    pictures = await loaded(store)
    page, after = pictures.list(limit=2)
    assert (page, after is not None) == ((a, b), True)
    store.put(a, c, d)
    await pictures.step()
    assert pictures.list(after=cast("str", after), limit=2) == ((c, d), None)


def test_one_winner_a_ceremony_and_it_comes_first(academy: Nominees) -> None:
    for _, nominees in groupby(academy.all, lambda each: each.ceremony):
        first, *rest = nominees
        assert first.won
        assert not any(each.won for each in rest)


# ---- following the store -----------------------------------------------------------------------


@pytest.mark.anyio
async def test_until_loaded_nothing_is_claimed() -> None:
    pictures = BestPictures(cast("Catalogue", Store()), Store())
    with pytest.raises(StoreAway):
        pictures.find("Wings")
    with pytest.raises(StoreAway):
        pictures.list()
    with pytest.raises(Invalid):
        pictures.find("")


@pytest.mark.anyio
async def test_only_a_change_is_read_and_only_of_nominations_taken() -> None:
    store = Store(nomination("Wings"))
    pictures = await loaded(store)
    held = pictures.nominees
    await pictures.step()
    assert store.reads == 1
    store.put(*store.held)
    await pictures.step()
    assert store.reads == 2
    assert pictures.nominees is held
    store.put(nomination("Sunrise"))
    await pictures.step()
    assert pictures.find("sunrise")
    with pytest.raises(NotFound):
        pictures.find("Wings")


@pytest.mark.anyio
async def test_a_notice_is_followed_and_an_absence_outlived(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bestpictures, "AT_LEAST_EVERY", 600)  # no look without a notice
    store = Store(nomination("Wings"))
    store.away = True
    pictures = BestPictures(cast("Catalogue", store), store)
    following = asyncio.create_task(pictures.run())
    await until(lambda: "served as they were" in caplog.text)
    assert pictures.nominees is None
    store.away = False
    store.tell("catalogue")
    await until(lambda: pictures.nominees is not None)
    store.put(nomination("Sunrise"))
    store.tell("nominations")
    await until(lambda: pictures.nominees is not None and pictures.nominees.find("Sunrise") != ())
    following.cancel()
    with suppress(asyncio.CancelledError):
        await following


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - it is not ours to tell
            await asyncio.sleep(0.005)
