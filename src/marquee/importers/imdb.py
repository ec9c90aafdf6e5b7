"""IMDb: the ratings of one person, 1–10, as "Your ratings" exports them.

Three generations: "position", "const", "created", …, "You rated", … (until 2017; also "NAME
rated"); Const, Your Rating, Date Rated, Title, …; and lists with both at their end. The names of
the columns follow the language of the account. Where one is not known, the column's values tell:
the one of ``tt`` ids, the whole numbers from 1 to 10, and of two dates the later.
"""

from collections.abc import Callable, Sequence
from functools import partial

from .files import Sheet, fold_name
from .reading import Reading, each_sheet
from .rows import (
    WHOLE_TEN,
    Asked,
    RatingRow,
    Record,
    clue_of,
    half_points,
    moment_of,
    text_of,
    version_of,
)

SOURCE = "imdb"

Columns = dict[str, str]
"""What we look for → the folded name of its column."""

_NAMES = {
    "const": ("const", "imdbid", "tconst"),
    "rating": ("yourrating", "yourated"),
    "date": ("daterated", "created"),
    "title": (
        *("title", "titel", "título", "titulo", "titre", "titolo", "tytuł", "otsikko", "başlık"),
        *("название", "タイトル", "标题", "제목"),
    ),
    "year": ("year", "jahr", "año", "année", "anno", "ano", "rok", "år", "vuosi", "yıl", "год"),
    "type": ("titletype",),
}
_RATED = ("rat", "bewert", "calific", "puntu", "note", "voto", "valut", "nota", "avalia", "ocen")
_SERIES = ("tvseries", "tvminiseries", "tvepisode", "videogame", "podcast", "musicvideo")


def reading(sheets: Sequence[Sheet]) -> Reading | None:
    found = {sheet: columns for sheet in sheets if (columns := _columns(sheet))}
    return each_sheet(
        SOURCE, found, lambda sheet, asked: partial(_row, found[sheet], sheet, asked), personal=True
    )


def _row(columns: Columns, sheet: Sheet, asked: Asked, line: int, record: Record) -> RatingRow:
    cells = {wanted: record.get(name) for wanted, name in columns.items()}
    value = half_points(cells["rating"], WHOLE_TEN)
    # An episode may be called like a movie of the same year.
    is_series = fold_name(text_of(cells.get("type"))).startswith(_SERIES)
    title = None if is_series else cells.get("title")
    clue = clue_of(cells["const"], None, title, cells.get("year"))
    version = version_of(cells.get("date"), asked, sheet.file.modified)
    return RatingRow(line, asked.user_id, clue, value, version)


def _columns(sheet: Sheet) -> Columns | None:
    """Where things are in an export of IMDb; None if this is none."""
    if sheet.is_json or sheet.has("tmdbid") or sheet.has("movieid"):
        return None
    columns = {
        wanted: name
        for wanted, names in _NAMES.items()
        if (name := next(filter(sheet.columns.__contains__, names), None))
    }
    if "const" in columns and "rating" in columns:
        return columns
    values: dict[str, list[str]] = {name: [] for name in sheet.columns}
    for _, record in sheet.sample():
        for name, cell in record.items():
            if text := text_of(cell):
                values[name].append(text)
    columns.setdefault("const", _find(values, _are_ids))
    left = {name: cells for name, cells in values.items() if name not in columns.values()}
    columns.setdefault("rating", _find(left, _are_ratings))
    dates = {name: when for name, cells in left.items() if (when := _mean_date(cells))}
    columns.setdefault("date", max(dates, key=dates.__getitem__, default=""))
    return columns if columns["const"] and columns["rating"] and columns["date"] else None


def _find(values: dict[str, list[str]], fits: Callable[[list[str]], bool]) -> str:
    """The column whose values fit; of several one that is called a rating, or the first."""
    names = [name for name, cells in values.items() if cells and fits(cells)]
    named = [name for name in names if any(word in name for word in _RATED)]
    return (named or names or [""])[0]


def _are_ids(cells: list[str]) -> bool:
    ids = sum(cell[:2] == "tt" and cell[2:].isdecimal() for cell in cells)
    return ids * 5 >= len(cells) * 4


def _are_ratings(cells: list[str]) -> bool:
    positions = [str(n) for n in range(1, len(cells) + 1)]
    ratings = sum(cell.isdecimal() and len(cell) <= 2 and 1 <= int(cell) <= 10 for cell in cells)
    return ratings * 5 >= len(cells) * 4 and cells != positions


def _mean_date(cells: list[str]) -> int:
    """The mean day of a column of dates; 0 where most are none. Somebody rates a movie after its
    release, so that this tells the two apart."""
    days = [moment.toordinal() for cell in cells if len(cell) >= 8 and (moment := moment_of(cell))]
    return sum(days) // len(days) if len(days) * 5 >= len(cells) * 4 and days else 0
