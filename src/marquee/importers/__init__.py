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
from collections.abc import Sequence
from pathlib import Path
from types import MappingProxyType

from ..errors import Invalid
from ..model import is_user_id
from ..ports import Catalogue, RatingStore
from . import academy, imdb, letterboxd, marquee, movielens, movies, tmdb, trakt
from .files import Sheet, find_files
from .loading import Detail, Loader, Progress, Report
from .reading import Reading
from .rehearsal import RehearsedCatalogue, RehearsedRatings
from .rows import Asked

__all__ = ["AUTO", "SOURCES", "Report", "run"]

AUTO = "auto"

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


async def run(
    source: str,
    paths: Sequence[Path],
    ratings: RatingStore,
    catalogue: Catalogue,
    *,
    user_id: str | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
    detail: Detail | None = None,
) -> Report:
    """Import files. Each path may be a folder or a .zip with the files of its source.

    ``user_id``: whose ratings they are, where the files do not say. ``dry_run`` counts the same
    and changes nothing. Raises ``Invalid``, before anything was imported, where a file is not
    there, is not what ``source`` says, or lacks its user.
    """
    readings = [reading for path in paths for reading in _readings(source, path)]
    readings.sort(key=lambda reading: reading.source not in _FIRST)
    _check_user(readings, user_id)
    asked = Asked(user_id or "", time.time_ns() // 1000)
    if dry_run:
        loader = Loader(RehearsedRatings(ratings), RehearsedCatalogue(catalogue), progress, detail)
    else:
        loader = Loader(ratings, catalogue, progress, detail)
    await loader.load(readings, asked)
    return loader.report


def _readings(source: str, path: Path) -> list[Reading]:
    if source != AUTO and source not in _READINGS:
        raise Invalid(f"There is no source {source}: it is one of {', '.join(SOURCES)}.")
    sheets = everything = [Sheet(file) for file in find_files(path)]
    found = []
    for name, reading_of in _READINGS.items():
        if source == AUTO and name == movies.SOURCE:
            sheets = [sheet for sheet in sheets if not movies.may_be_else(sheet)]
        if source in {AUTO, name} and (reading := reading_of(sheets)):
            found.append(reading)
            sheets = [sheet for sheet in sheets if sheet not in reading.sheets]
    if not found:
        raise Invalid(_why_not(source, path, everything))
    return found


def _why_not(source: str, path: Path, sheets: list[Sheet]) -> str:
    if len(sheets) > 1:
        what = "known" if source == AUTO else f"of {source}"
        return f"{path}: none of its {len(sheets)} files is {what}."
    if sheets[0].is_empty:
        return f"{path} is empty."
    names = ", ".join(repr(name)[1:-1] for name in sheets[0].header if name.strip())[:200]
    what = "anything known" if source == AUTO else f"a file of {source}"
    return (
        f"{path} is not {what}: it has the columns {names}." if names else f"{path} is not {what}."
    )


def _check_user(readings: Sequence[Reading], user_id: str | None) -> None:
    for reading in readings:
        if reading.personal and user_id is None:
            name = reading.sheets[0].name
            raise Invalid(f"{name} does not say whose ratings they are: say it with --user.")
    if user_id is None:
        return
    if not is_user_id(user_id):
        raise Invalid("A user's id has 1–128 characters, none of them a control character.")
    for reading in readings:
        if not reading.personal and reading.source in {movielens.SOURCE, marquee.SOURCE}:
            name = reading.sheets[-1].name
            raise Invalid(f"{name} itself says whose ratings they are: leave --user out.")
