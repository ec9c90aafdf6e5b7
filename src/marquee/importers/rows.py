"""What readers give: plain rows; and how the cells of a file become their fields.

A cell that can't be read raises ``BadRow``, whose reason is one of few sentences (they are counted)
and whose detail is the cell.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from ..model import Movie, Nomination, is_movie_id
from ..ports import Clue

T = TypeVar("T")

Record = Mapping[str, Any]
"""A row's cells by the folded names of their columns: texts from tables, any value from JSON."""


class RatingRow(NamedTuple):
    """A rating. ``movie``: what the file says of the movie, or its id where that is our own.
    ``value`` in half points, ``version`` in microseconds."""

    line: int
    user_id: str
    movie: Clue | str
    value: int
    version: int


class MovieRow(NamedTuple):
    """A movie, under the id that it gets if it is new. ``own``: that id is the file's own word,
    and ids alone tell which movie it is."""

    line: int
    movie: Movie
    own: bool = False


class NominationRow(NamedTuple):
    """A nomination; ``clue`` tells its movie."""

    line: int
    nomination: Nomination
    clue: Clue


class RowError(NamedTuple):
    """Something is wrong with a row: it is left out."""

    line: int
    why: str
    what: str = ""


class Skipped(NamedTuple):
    """Nothing is wrong with a row, but there is nothing in it for us."""

    line: int
    why: str


Row = RatingRow | MovieRow | NominationRow | RowError | Skipped

NOT_RATED = "not rated"
NOT_A_MOVIE = "not a movie"


class Asked(NamedTuple):
    """What the caller asks of a reader: whose ratings they are, where the file does not say;
    the time by which dates are in the future, in microseconds."""

    user_id: str
    now: int


class BadRow(Exception):
    def __init__(self, why: str, what: object = "") -> None:
        super().__init__(why)
        self.why = why
        self.what = shown(what)


class Skip(Exception):
    """Raised where a row turns out to hold nothing for us; its text is the reason."""


def shown(what: object) -> str:
    """A cell as a report shows it: short, on one line."""
    text = str(what)
    return repr(text if len(text) <= 60 else f"{text[:60]}…")[1:-1]


# ---- cells -------------------------------------------------------------------------------------

UNKNOWN = frozenset({"", "#n/a", "n/a", "na", "nan", "none", "null", "unknown", "-", "\\n", "?"})
"""How files write that they do not know."""

NOT_THERE = UNKNOWN - {"nan"}

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_STARS = re.compile(r"(★*|[0-9]{0,2})\s*(½?)")
_NUMBER = re.compile(r"[0-9]{1,3}(?:[.,][0-9]{1,20})?")
_WHOLE = re.compile(r"[$€£]?\s*([0-9]{1,20}|[0-9]{1,3}(?:[, ][0-9]{3}){1,6})(?:\.0*)?")
_IMDB = re.compile(r"(?:.*/title/)?(?:tt)?([0-9]{1,10})/?(?:[?#].*)?", re.IGNORECASE)
_C_DATE = re.compile(  # "Sun Mar 10 00:00:00 2013", "Jun 12 1998"
    r"(?:[A-Z][a-z]{2},? )?([A-Z][a-z]{2}) +([0-9]{1,2}),?(?: ([0-9:]{8}))? ([0-9]{4})"
)
_ISO_DATE = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9].*)?")
_DOTTED = re.compile(r"([0-9]{1,2})\.([0-9]{1,2})\.([0-9]{4})")
_MONTHS = {"JanFebMarAprMayJunJulAugSepOctNovDec"[3 * n : 3 * n + 3]: n + 1 for n in range(12)}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
DAY = 86_400_000_000


def text_of(cell: Any) -> str:
    """A cell as text on one line, without control characters; empty where it is unknown."""
    if cell is None or isinstance(cell, (bool, list, dict)):
        return ""
    if isinstance(cell, float) and cell.is_integer():
        cell = int(cell)
    return " ".join(_CONTROLS.sub(" ", str(cell)).split())


def first(record: Record, *names: str) -> Any:
    """The first of these cells that holds something, "" if none does."""
    for name in names:
        cell = record.get(name)
        if cell is not None and cell != "":
            return cell
    return ""


class Scale(NamedTuple):
    """How a source rates: ``unit``, so many half points is one of it; ``step``, the half points
    between two ratings."""

    unit: int
    step: int


HALF_STARS = Scale(4, 2)
"""0.5–5"""
WHOLE_TEN = Scale(2, 2)
"""1–10"""
HALVES_OF_TEN = Scale(2, 1)
"""0.5–10"""


@lru_cache(4096)
def _half_points(text: str, scale: Scale) -> int:
    if (stars := _STARS.fullmatch(text)) and (stars[2] or "★" in text):
        whole = len(stars[1]) if "★" in text else int(stars[1] or 0)
        number = Decimal(whole) + (Decimal("0.5") if stars[2] else 0)
    elif _NUMBER.fullmatch(text):
        number = Decimal(text.replace(",", "."))
    else:
        raise BadRow("the rating is no number", text)
    value = number * scale.unit
    if not 1 <= value <= 20 or value % scale.step:
        raise BadRow("the rating is off its scale", text)
    return int(value)


def half_points(cell: Any, scale: Scale) -> int:
    """A rating in half points. "3.5", "3,5", "3½" and "★★★½" are the same. Skips what is empty."""
    text = cell if isinstance(cell, str) else str(cell) if _is_number(cell) else text_of(cell)
    text = text.strip()
    if text.casefold() in NOT_THERE:
        raise Skip(NOT_RATED)
    return _half_points(text[:100], scale)


def version_of(cell: Any, asked: Asked, otherwise: int) -> int:
    """The moment of a rating, ``otherwise`` where the cell is empty, in microseconds."""
    text = text_of(cell)
    version = _microseconds(text) if text else otherwise
    return checked(version, asked, text)


def checked(version: int, asked: Asked, text: str) -> int:
    if version <= 0:
        raise BadRow("the date lies before 1970", text)
    if version > asked.now + DAY:
        raise BadRow("the date lies in the future", text)
    return version


def _microseconds(text: str) -> int:
    moment = moment_of(text)
    if moment is None:
        raise BadRow("the date can't be read", text)
    return (moment - _EPOCH) // _MICROSECOND


def moment_of(text: str) -> datetime | None:
    """A date in any of the ways in which the sources write theirs; UTC where it does not say."""
    try:
        if found := _C_DATE.fullmatch(text):
            month, day, time, year = found.groups()
            text = f"{year}-{_MONTHS[month]:02}-{int(day):02}T{time or '00:00:00'}"
        elif found := _DOTTED.fullmatch(text):
            text = f"{found[3]}-{int(found[2]):02}-{int(found[1]):02}"
        elif text[4:5] == "/":
            text = text.replace("/", "-")
        elif text.endswith(" UTC"):
            text = text[:-4]
        if not _ISO_DATE.fullmatch(text):  # fromisoformat knows stranger ones
            return None
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, KeyError, OverflowError):
        return None


def year_of(cell: Any) -> int | None:
    """The year of a movie; None where it is unknown."""
    text = text_of(cell)
    if text.casefold() in UNKNOWN:
        return None
    year = int(found[1]) if (found := re.fullmatch(r"([0-9]{4})(?:\.0)?", text)) else 0
    if not 1870 <= year <= 2100:
        raise BadRow("the year is none from 1870 to 2100", text)
    return year


def imdb_id_of(cell: Any) -> str | None:
    """An IMDb id: "tt0114709", also from its bare number or its address."""
    text = text_of(cell)
    if text.casefold() in UNKNOWN:
        return None
    if not (found := _IMDB.fullmatch(text)):
        raise BadRow("the IMDb id is none", text)
    number = int(found[1])
    return f"tt{number:07}" if number else None  # files have "tt420238" and "tt00293564", too


def tmdb_id_of(cell: Any) -> int | None:
    number = whole_of(cell, "the TMDB id is no number")
    return number or None


def whole_of(cell: Any, why: str) -> int | None:
    """A whole number from 0 to 2^53, also "$1,234,567"; None where it is unknown."""
    text = text_of(cell)
    if text.casefold() in UNKNOWN:
        return None
    if not (found := _WHOLE.fullmatch(text)):
        raise BadRow(why, text)
    number = int(found[1].replace(",", "").replace(" ", ""))
    if number > 2**53:
        raise BadRow(why, text)
    return number


def check_movie(movie: Movie) -> None:
    """The contract of the API, for what the cells did not check already."""
    if not is_movie_id(movie.id):
        raise BadRow("the id is none of a movie", movie.id)
    if not movie.title.strip() or len(movie.title) > 500:
        raise BadRow("the title is missing, or longer than 500 characters", movie.title)
    if len(movie.genres) > 20 or any(len(genre) > 50 for genre in movie.genres):
        raise BadRow("the genres are over 20, or longer than 50 characters")


def clue_of(imdb: Any, tmdb: Any, title: Any, year: Any) -> Clue:
    """What a row says of its movie. An id that can't be read is none: the others may do; and with
    one that can, the year does not matter."""
    imdb_id, tmdb_id = _or_none(imdb_id_of, imdb), _or_none(tmdb_id_of, tmdb)
    name = text_of(title) or None
    if imdb_id or tmdb_id:
        return Clue(imdb_id, tmdb_id, name, _or_none(year_of, year))
    if not name:
        raise BadRow("no movie is named")
    return Clue(title=name, year=year_of(year))


def _or_none(read: Callable[[Any], T | None], cell: Any) -> T | None:
    try:
        return read(cell)
    except BadRow:
        return None


def _is_number(cell: Any) -> bool:
    return isinstance(cell, (int, float)) and not isinstance(cell, bool)
