"""Best Picture: who was nominated, and who won.

Four forms of the Academy's own database, told apart by their columns:

- academy_awards.csv: Year ("1927/28 (1st)"), Category, Nominee, Additional Info, Won? (YES/NO).
  Of the first two ceremonies nominee and additional info changed places.
- oscars.csv: Ceremony, Year, CanonicalCategory, Film, FilmId, Name, Winner. With tabs, and quotes
  that mean nothing.
- the_oscar_award.csv: year_film, ceremony, category, canon_category, name, film, winner; an older
  one without canon_category.

The year of a nomination is that of the films; of "1927/28" it is 1927.
"""

import re
from collections.abc import Sequence
from functools import partial

from ..model import Nomination
from ..ports import Clue
from ..titles import key
from .files import Sheet
from .reading import Reading, each_sheet
from .rows import Asked, BadRow, NominationRow, Record, Skip, first, imdb_id_of, text_of

SOURCE = "academy-awards"

CATEGORIES = frozenset(
    {
        "best picture",
        "best motion picture",
        "outstanding motion picture",
        "outstanding picture",
        "outstanding production",
    }
)
"""What the award was called over the years, and what files call all of it."""

EARLIEST = frozenset(
    key(title)
    for title in (
        *("The Racket", "7th Heaven", "Wings", "Alibi", "In Old Arizona", "The Broadway Melody"),
        *("Hollywood Revue", "The Hollywood Revue of 1929", "The Patriot"),
    )
)
"""The titles of the first two ceremonies: what stands in their place there is the studio."""

SPLIT_YEARS = 6
"""So many ceremonies honoured the films of a season: the first of 1927/28. The seventh: of 1934."""

_LABEL = re.compile(r"([0-9]{4})(?:/[0-9]{2})? ?\(([0-9]{1,3})(?:st|nd|rd|th)\)")
_WON = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False, "": False}


def reading(sheets: Sequence[Sheet]) -> Reading | None:
    forms = {sheet: form for sheet in sheets if (form := _form(sheet))}
    # The files with ids before those without: what is known first, stays.
    found = sorted(forms, key=lambda sheet: not sheet.has("filmid"))
    for sheet in found:
        sheet.quoted = not (sheet.has("filmid") and sheet.delimiter == "\t")

    def read(sheet: Sheet, _: Asked) -> "partial[NominationRow]":
        if forms[sheet] == "film":
            return partial(_film_row)
        return partial(_nominee_row, _won_column(sheet))

    return each_sheet(SOURCE, found, read)


def _form(sheet: Sheet) -> str:
    if sheet.has("ceremony", "category", "film"):
        return "film"
    return "nominee" if sheet.has("year", "category", "nominee") else ""


def year_label(ceremony: int) -> str:
    """A ceremony as the Academy writes it: "1957 (30th)", "1927/28 (1st)"."""
    year = year_of_films(ceremony)
    years = f"{year}/{(year + 1) % 100}" if ceremony <= SPLIT_YEARS else str(year)
    ending = {1: "st", 2: "nd", 3: "rd"}.get(ceremony % 10, "th")
    return f"{years} ({ceremony}{'th' if ceremony % 100 in {11, 12, 13} else ending})"


def year_of_films(ceremony: int) -> int:
    return 1926 + ceremony + (ceremony > SPLIT_YEARS)


def _film_row(line: int, record: Record) -> NominationRow:
    category = first(record, "canonicalcategory", "canoncategory", "category")
    if text_of(category).casefold() not in CATEGORIES:
        raise Skip(_NOT_IT)
    ceremony = text_of(record.get("ceremony"))
    if not re.fullmatch("[0-9]{1,3}", ceremony):
        raise BadRow("the ceremony is none", ceremony)
    try:
        imdb_id = imdb_id_of(record.get("filmid"))
    except BadRow:  # of several films; never of Best Picture so far
        imdb_id = None
    title = text_of(record.get("film"))
    return _row(line, int(ceremony), title, record.get("winner"), record.get("name"), imdb_id)


def _nominee_row(won: str, line: int, record: Record) -> NominationRow:
    if text_of(record.get("category")).casefold() not in CATEGORIES:
        raise Skip(_NOT_IT)
    year = text_of(record.get("year"))
    if not (label := _LABEL.fullmatch(year)):
        raise BadRow("the year is none of the Academy's", year)
    title, info = text_of(record.get("nominee")), text_of(record.get("additionalinfo"))
    if int(label[2]) <= 2 and key(title) not in EARLIEST:
        title, info = info, title
    return _row(line, int(label[2]), title, record.get(won), info, None)


def _won_column(sheet: Sheet) -> str:
    """The column that says who won: the one of that name, or the one that says yes and no."""
    for name in ("won", "winner"):
        if sheet.has(name):
            return name
    rows = [record for _, record in sheet.sample()]
    for name in sheet.columns:
        cells = {text_of(record.get(name)).casefold() for record in rows}
        if len(cells & {"yes", "no", "true", "false"}) * 2 >= len(cells):
            return name
    return ""


def _row(
    line: int, ceremony: int, title: str, won: object, info: object, imdb_id: str | None
) -> NominationRow:
    year = year_of_films(ceremony)
    if not 1 <= len(title) <= 500 or not 1 <= ceremony <= 173:
        raise BadRow("the nomination has no title, or no ceremony", title)
    answer = text_of(won).casefold()
    if answer not in _WON:
        raise BadRow("who won is neither yes nor no", answer)
    nomination = Nomination(
        ceremony, title, year, year_label(ceremony), _WON[answer], text_of(info)
    )
    return NominationRow(line, nomination, Clue(imdb_id, None, title, year))


_NOT_IT = "no Best Picture nomination"
