"""Importers: files of other services, and our own, as ratings, movies and nominations.

``files`` opens whatever comes (a file, a folder, a .zip; any encoding, tables and JSON) as sheets
of rows with named cells. A module for each source tells by the columns which sheets are its own,
and turns them into a stream of plain ``rows``; one bad row never stops the rest. ``loading`` sends
the rows through the ports into the stores, in chunks, and counts; ``matching`` finds the movie that
a row means. A dry run is the same run on the stores of ``rehearsal``.

All of it can be run again: versions are the dates of the file, and a movie that is there is only
completed.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ..errors import Invalid
from ..model import NO_USER_ID, is_user_id
from ..ports import Catalogue, RatingStore
from . import academy, imdb, letterboxd, marquee, movielens, movies, tmdb, trakt
from .files import Sheet, find_files
from .loading import Detail, Loader, Progress, Report
from .reading import Reading
from .rehearsal import (
    NoMovies,
    NoRatings,
    RehearsedCatalogue,
    RehearsedRatings,
    StoredMovies,
    StoredRatings,
)
from .rows import Asked

__all__ = [
    "AUTO",
    "SOURCES",
    "Found",
    "NoMovies",
    "NoRatings",
    "Report",
    "find",
    "load",
    "rehearse",
]

AUTO = "auto"

LONGEST_COLUMN = 40
"""Characters of a column's name, where what a file has are columns."""

_READINGS = MappingProxyType(
    {
        module.SOURCE: module.reading
        for module in (academy, marquee, movielens, letterboxd, tmdb, trakt, imdb, movies)
    }
)
"""In the order in which ``auto`` asks."""

_FIRST = (movies.SOURCE, movielens.SOURCE)
"""What brings movies is read before what names them."""

SOURCES = (AUTO, *sorted(_READINGS))


@dataclass(frozen=True, slots=True)
class Found:
    """What is to be imported. ``unread``: the files that nobody reads, and why."""

    readings: list[Reading]
    unread: list[tuple[Sheet, str]]
    user_id: str | None

    def reads(self, path: Path) -> bool:
        """Whether this is one of the files, by whatever name."""
        sheets = [sheet for reading in self.readings for sheet in reading.sheets]
        sheets += (sheet for sheet, _ in self.unread)
        return path.exists() and any(path.samefile(sheet.file.path) for sheet in sheets)


def find(source: str, paths: Sequence[Path], user_id: str | None = None) -> Found:
    """What is in the files. Each path may be a folder or a .zip with the files of its source.

    ``user_id``: whose ratings they are, where the files do not say. Raises ``Invalid`` where a
    file is not there, is not what ``source`` says, or lacks its user.
    """
    if source not in SOURCES:
        raise Invalid(f"There is no source {source}: it is one of {', '.join(SOURCES)}.")
    found = Found([], [], user_id)
    for path in paths:
        sheets = _sheets(path)
        readings = _readings(source, path, sheets)
        found.readings.extend(readings)
        found.unread.extend(_unread(source, sheets, readings))
    found.readings.sort(key=lambda reading: reading.source not in _FIRST)
    _check_user(found.readings, user_id)
    return found


async def load(
    found: Found,
    ratings: RatingStore,
    catalogue: Catalogue,
    *,
    progress: Progress | None = None,
    detail: Detail | None = None,
) -> Report:
    """Import what was found."""
    return await _load(found, Loader(ratings, catalogue, progress, detail))


async def rehearse(
    found: Found,
    ratings: StoredRatings,
    catalogue: StoredMovies,
    *,
    progress: Progress | None = None,
    detail: Detail | None = None,
) -> Report:
    """Count the same as ``load``, and change nothing."""
    rehearsed = RehearsedRatings(ratings), RehearsedCatalogue(catalogue)
    return await _load(found, Loader(*rehearsed, progress, detail))


async def _load(found: Found, loader: Loader) -> Report:
    for sheet, why in found.unread:
        loader.leave_unread(sheet.name, why)
    await loader.load(found.readings, Asked(found.user_id or "", time.time_ns() // 1000))
    return loader.report


def _sheets(path: Path) -> list[Sheet]:
    return [Sheet(file) for file in find_files(path)]


def _readings(source: str, path: Path, sheets: list[Sheet]) -> list[Reading]:
    everything = sheets
    found = []
    for name, reading_of in _READINGS.items():
        if source == AUTO and name == movies.SOURCE:
            sheets = [sheet for sheet in sheets if not movies.may_be_else(sheet)]
        elif source == tmdb.SOURCE and name == movies.SOURCE:  # TMDB has ratings, and it has movies
            sheets = [sheet for sheet in sheets if movies.is_of_tmdb(sheet)]
        elif source not in {AUTO, name}:
            continue
        if reading := reading_of(sheets):
            found.append(reading)
            sheets = [sheet for sheet in sheets if sheet not in reading.sheets]
    if not found and not all(sheet.is_empty_list for sheet in everything):  # an export may be so
        raise Invalid(_why_not(source, path, everything))
    return found


def _why_not(source: str, path: Path, sheets: list[Sheet]) -> str:
    if len(sheets) > 1:
        what = "known" if source == AUTO else f"of {source}"
        return f"{path}: none of its {len(sheets)} files is {what}."
    if sheets[0].is_empty:
        return f"{path} is empty."
    return f"{path} is {_what_else(source, sheets[0])}."


def _what_else(source: str, sheet: Sheet) -> str:
    what = "not anything known" if source == AUTO else f"not a file of {source}"
    names = [name for name in sheet.header if name.strip()]
    if len(names) > 1 and all(map(_may_be_a_column, names)):
        return f"{what}: it has the columns {', '.join(names)[:200]}"
    return what


def _may_be_a_column(name: str) -> bool:
    """Or else it is prose, or no text at all."""
    return len(name) <= LONGEST_COLUMN and name.isprintable()


def _unread(
    source: str, sheets: list[Sheet], readings: list[Reading]
) -> Iterator[tuple[Sheet, str]]:
    read = [sheet for reading in readings for sheet in reading.sheets]
    for sheet in sheets:
        if sheet in read:
            continue
        for reading in readings:
            if _READINGS[reading.source]([sheet]):
                yield sheet, f"other files of {reading.source} beside it say more"
                break
        else:
            yield sheet, "it is empty" if sheet.is_empty else f"it is {_what_else(source, sheet)}"


def _check_user(readings: Sequence[Reading], user_id: str | None) -> None:
    for reading in readings:
        if reading.personal and user_id is None:
            name = reading.sheets[0].name
            raise Invalid(f"{name} does not say whose ratings they are: say it with --user.")
    if user_id is None:
        return
    if not is_user_id(user_id):
        raise Invalid(NO_USER_ID)
    for reading in readings:
        if not reading.personal and reading.source in {movielens.SOURCE, marquee.SOURCE}:
            name = reading.sheets[-1].name
            raise Invalid(f"{name} itself says whose ratings they are: leave --user out.")
