"""The one way in: rows from any source, chunk after chunk, through the ports into the stores."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Protocol, TypeVar

from ..model import Merged, Movie, Nomination, Rating, place_of
from ..movies import nominate
from ..ports import Clue
from .matching import CatalogueSink, Matcher, clues_of
from .reading import Reading
from .rows import Asked, MovieRow, NominationRow, RatingRow, Row, RowError, Skipped, shown

CHUNK = 5000
"""Rows that are read, then committed, at a time: what an interruption loses at most."""

MOVIES = 500
"""Movies that are written at a time: a rating beside them waits a tenth of a second, not a whole
one."""

NO_SUCH_MOVIE = "no such movie in the catalogue"
SEVERAL_MOVIES = "several movies of that title and year"
SAID_AGAIN = "said again in the same file"
NOTHING = Merged()

T = TypeVar("T")

Progress = Callable[[int, int, int], None]
"""Called with the bytes read, the bytes to be read, and the rows read."""

Detail = Callable[[str, int, str], None]
"""Called with file, line and reason for each row that was left out, at once; with line 0 for a
whole file."""

Nominations = dict[tuple[int, str], Nomination]
"""Those of one file, by ceremony and title. They are few, and committed at once: a reader sees the
list from before the file, or the one with all of it."""


class RatingSink(Protocol):
    """What an import needs of a ``RatingStore``."""

    async def merge(self, ratings: Sequence[Rating], /) -> Merged: ...


@dataclass
class Report:
    """What became of each row: read = ratings + movies + nominations + left out.

    ``files``: each file that was read, and as what; ``unread``: those that were not, and why.
    ``ratings_without_movie``: rows of ratings whose movie the catalogue does not have (yet), where
    they name it by our own id; ``without_movie``: nominations of which it does not have theirs;
    ``found_movie``: earlier ones whose movie came.
    """

    files: list[tuple[str, str]] = field(default_factory=list)
    unread: list[tuple[str, str]] = field(default_factory=list)
    read: int = 0
    ratings: Merged = NOTHING
    movies: Merged = NOTHING
    nominations: Merged = NOTHING
    ratings_without_movie: int = 0
    without_movie: int = 0
    found_movie: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def added(self) -> int:
        return self.ratings.added + self.movies.added + self.nominations.added

    @property
    def replaced(self) -> int:
        return self.ratings.replaced + self.movies.replaced + self.nominations.replaced

    def lines(self) -> list[str]:
        """The report for people, a line each."""
        lines = [f"{name}: read as {source}" for name, source in self.files]
        lines += (f"{name}: not read: {why}" for name, why in self.unread)
        lines.append(f"{self.read:,} {'row' if self.read == 1 else 'rows'} read")
        for what, merged in (
            ("movies", self.movies),
            ("nominations", self.nominations),
            ("ratings", self.ratings),
        ):
            if any(merged):
                lines.append(
                    f"{what}: {merged.added:,} added, {merged.replaced:,} replaced, "
                    f"{merged.unchanged:,} unchanged"
                )
        if self.ratings_without_movie:
            lines.append(
                f"{self.ratings_without_movie:,} ratings have no movie in the catalogue yet: "
                "they count once it is there"
            )
        if self.without_movie:
            lines.append(f"{self.without_movie:,} nominations have no movie in the catalogue yet")
        if self.found_movie:
            lines.append(f"{self.found_movie:,} nominations of before have found their movie")
        lines += (f"{count:,} left out: {why}" for why, count in self.left_out.most_common())
        return lines


class Loader:
    """Takes readings into the stores, and counts."""

    def __init__(
        self,
        ratings: RatingSink,
        catalogue: CatalogueSink,
        progress: Progress | None,
        detail: Detail | None,
    ) -> None:
        self.report = Report()
        self._ratings = ratings
        self._catalogue = catalogue
        self._progress = progress
        self._detail = detail
        self._without_movie: set[tuple[int, str]] = set()

    def leave_unread(self, name: str, why: str) -> None:
        self.report.unread.append((name, why))
        if self._detail:
            self._detail(name, 0, f"not read: {why}")

    async def load(self, readings: Sequence[Reading], asked: Asked) -> None:
        files = [sheet.file for reading in readings for sheet in reading.sheets]
        total = sum(file.size for file in files)
        for file in files:
            file.done = 0
        for reading in readings:
            matcher = Matcher(self._catalogue)
            for sheet, rows in reading.parts(asked):
                self.report.files.append((sheet.name, reading.source))
                gathered: Nominations = {}
                for chunk in chunks(rows, CHUNK):
                    self.report.read += len(chunk)
                    await self._take(sheet.name, chunk, matcher, gathered)
                    if self._progress:
                        self._progress(sum(file.done for file in files), total, self.report.read)
                if gathered:
                    await self._take_nominations(gathered)

    async def _take(
        self, name: str, rows: list[Row], matcher: Matcher, gathered: Nominations
    ) -> None:
        ratings: list[RatingRow] = []
        movies: list[MovieRow] = []
        nominations: list[NominationRow] = []
        for row in rows:
            if isinstance(row, RatingRow):
                ratings.append(row)
            elif isinstance(row, MovieRow):
                movies.append(row)
            elif isinstance(row, NominationRow):
                nominations.append(row)
            else:
                self._leave_out(name, row)
        for group in _apart(movies):
            await self._take_movies(name, group, matcher)
        if nominations:
            await self._gather(name, nominations, matcher, gathered)
        if ratings:
            await self._take_ratings(name, ratings, matcher)

    async def _take_ratings(self, name: str, rows: list[RatingRow], matcher: Matcher) -> None:
        found = await matcher.find((row.movie for row in rows), loose=True)
        newest: dict[tuple[str, str], tuple[int, int, int]] = {}
        for row in rows:
            movie_ids = found[row.movie]
            if not movie_ids and isinstance(row.movie, str):
                # It was somebody's rating before its movie was deleted, or comes before its movie.
                movie_ids = (row.movie,)
                self.report.ratings_without_movie += 1
            if len(movie_ids) != 1:
                why = SEVERAL_MOVIES if movie_ids else NO_SUCH_MOVIE
                self._leave_out(name, RowError(row.line, why, _named(row.movie)))
                continue
            pair, said = (row.user_id, movie_ids[0]), (row.version, row.value, row.line)
            if pair in newest:
                said, older = max(newest[pair], said), min(newest[pair], said)
                self._leave_out(name, RowError(older[2], SAID_AGAIN, pair[1]))
            newest[pair] = said
        if newest:
            merged = await self._ratings.merge(
                [Rating(*pair, value, version) for pair, (version, value, _) in newest.items()]
            )
            self.report.ratings = self.report.ratings.plus(merged)

    async def _take_movies(self, name: str, rows: list[MovieRow], matcher: Matcher) -> None:
        whole: dict[str, Movie] = {}
        for row, movie_ids in zip(rows, await self._known(rows, matcher), strict=True):
            if len(movie_ids) > 1:
                self._leave_out(name, RowError(row.line, SEVERAL_MOVIES, _named(_clue(row.movie))))
                continue
            movie = replace(row.movie, id=movie_ids[0]) if movie_ids else row.movie
            before = whole.get(movie.id)
            if before is not None:
                self._leave_out(name, RowError(row.line, SAID_AGAIN, movie.id))
                movie = before.completed_by(movie)
            whole[movie.id] = movie
            matcher.remember(_clue(row.movie), movie.id)
            if row.own:
                matcher.remember(row.movie.id, movie.id)
        for part in chunks(iter(whole.values()), MOVIES):
            merged = await self._catalogue.merge(part)
            self.report.movies = self.report.movies.plus(merged)
        self.report.found_movie += await nominate(self._catalogue, whole.values())

    async def _known(self, rows: list[MovieRow], matcher: Matcher) -> list[tuple[str, ...]]:
        """Which movies of the catalogue these are."""
        clues: list[Clue | str] = []
        own = await matcher.find((row.movie.id for row in rows if row.own), loose=False)
        for row in rows:
            clue = _clue(row.movie)
            if row.own:
                clues.append(row.movie.id if own[row.movie.id] else clue._replace(title=None))
            else:
                clues.append(clue)
        found = await matcher.find(clues, loose=False)
        known = [found[clue] for clue in clues]
        for at, row in enumerate(rows):
            # Who has an id of its own is none of several, and none that the file has by its id.
            if row.own and not own[row.movie.id]:
                ids = known[at]
                known[at] = () if len(ids) > 1 or any(map(matcher.has_met, ids)) else ids
        return known

    async def _gather(
        self, name: str, rows: list[NominationRow], matcher: Matcher, gathered: Nominations
    ) -> None:
        found = await matcher.find((row.clue for row in rows), loose=True)
        for row in rows:
            movie_ids = found[row.clue]
            movie_id = movie_ids[0] if len(movie_ids) == 1 else None
            nomination = replace(row.nomination, movie_id=movie_id)
            place = place_of(nomination)
            before = gathered.get(place)
            if before is not None:
                self._leave_out(name, RowError(row.line, SAID_AGAIN, nomination.title))
                nomination = before.completed_by(nomination)
            gathered[place] = nomination

    async def _take_nominations(self, gathered: Nominations) -> None:
        without = {place for place, one in gathered.items() if one.movie_id is None}
        self._without_movie -= gathered.keys() - without  # another file may tell more of it
        self._without_movie |= without
        self.report.without_movie = len(self._without_movie)
        merged = await self._catalogue.merge_nominations(list(gathered.values()))
        self.report.nominations = self.report.nominations.plus(merged)

    def _leave_out(self, name: str, row: RowError | Skipped) -> None:
        self.report.left_out[row.why] += 1
        if self._detail:
            what = row.what if isinstance(row, RowError) else ""
            self._detail(name, row.line, f"{row.why}: {what}" if what else row.why)


def chunks(items: Iterator[T], size: int) -> Iterator[list[T]]:
    """All items, so many at a time; fewer at the end."""
    while chunk := list(islice(items, size)):
        yield chunk


def _apart(rows: list[MovieRow]) -> Iterator[list[MovieRow]]:
    """In groups: a row that may mean a movie which another one brings comes in a later group."""
    group: list[MovieRow] = []
    brought: dict[Clue | str, tuple[str, Clue]] = {}
    for row in rows:
        told = row.movie.id, _clue(row.movie)
        clues: list[Clue | str] = [row.movie.id, *clues_of(row.movie)]
        if any(brought.get(clue, told) != told for clue in clues):
            yield group
            group, brought = [], {}
        group.append(row)
        brought.update((clue, told) for clue in clues)
    if group:
        yield group


def _clue(movie: Movie) -> Clue:
    return Clue(movie.imdb_id, movie.tmdb_id, movie.title, movie.year)


def _named(movie: Clue | str) -> str:
    if isinstance(movie, str):
        return movie
    title = f"{movie.title} ({movie.year})" if movie.title and movie.year else movie.title
    return shown(" ".join(filter(None, (title, movie.imdb_id))) or f"TMDB {movie.tmdb_id}")
