"""Which movie of the catalogue a row means."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from .. import titles
from ..model import Merged, Movie, Standing
from ..movies import Nominations
from ..ports import Clue

MOST_REMEMBERED = 300_000


class CatalogueSink(Nominations, Protocol):
    """What an import needs of a ``Catalogue``."""

    async def get(self, movie_id: str, /) -> Standing | None: ...
    async def match(self, clues: Sequence[Clue], /) -> list[tuple[str, ...]]: ...
    async def merge(self, movies: Sequence[Movie], /) -> Merged: ...


class Matcher:
    """Finds movies by IMDb id, then TMDB id, then title and year, and remembers what it found.

    A movie whose ids are known, and are others, is another movie.
    """

    def __init__(self, catalogue: CatalogueSink) -> None:
        self._catalogue = catalogue
        self._known: dict[Clue | str, tuple[str, ...]] = {}

    def remember(self, clue: Clue | str, movie_id: str) -> None:
        self._known[clue] = (movie_id,)

    def has_met(self, movie_id: str) -> bool:
        """Whether an id was asked for as such, or remembered."""
        return movie_id in self._known

    async def find(
        self, clues: Iterable[Clue | str], *, loose: bool
    ) -> dict[Clue | str, tuple[str, ...]]:
        """For each clue the ids of the movies that it may mean: of none, of the one, or of several
        where nothing tells which. A clue may be an id itself.

        ``loose``: the year may be one off, for some date a film by its first night, others by its
        release; and a title in parentheses counts too. One movie alone must answer to it.
        """
        if len(self._known) > MOST_REMEMBERED:
            self._known.clear()
        wanted = dict.fromkeys(clues)
        new = [clue for clue in wanted if clue not in self._known]
        await self._look_up_ids([clue for clue in new if isinstance(clue, str)])
        await self._look_up({c: _attempts(c, loose) for c in new if isinstance(c, Clue)})
        return {clue: self._known[clue] for clue in wanted}

    async def _look_up_ids(self, ids: list[str]) -> None:
        """In one question: of what answers to a clue, the movie of that very id comes first."""
        found = await self._catalogue.match([Clue(imdb_id=id) for id in ids]) if ids else []
        self._known.update(
            (id, (id,) if id in any_of else ()) for id, any_of in zip(ids, found, strict=True)
        )

    async def _look_up(self, searches: dict[Clue, Iterator[list[Clue]]]) -> None:
        """Each clue's attempts one after the other, those of all clues together."""
        several: dict[Clue, tuple[str, ...]] = {}
        while searches:
            tried = {clue: next(attempts, []) for clue, attempts in searches.items()}
            answers = iter(await self._catalogue.match([c for few in tried.values() for c in few]))
            for clue, few in tried.items():
                found = {id for _ in few for id in next(answers)}
                if len(found) == 1 and await self._can_be(clue, few[0], *found):
                    self._known[clue] = tuple(found)
                    continue
                if len(found) > 1 and few[0][:2] == clue[:2]:  # nothing surer is said
                    several[clue] = tuple(found)
                if not few or (clue in several and few[0].title):
                    self._known[clue] = several.get(clue, ())
            searches = {clue: s for clue, s in searches.items() if clue not in self._known}

    async def _can_be(self, clue: Clue, attempt: Clue, movie_id: str) -> bool:
        if attempt.imdb_id or not (clue.imdb_id or clue.tmdb_id):
            return True
        standing = await self._catalogue.get(movie_id)
        return standing is not None and not contradict(clue, standing.movie)


def _attempts(clue: Clue, loose: bool) -> Iterator[list[Clue]]:
    """Narrower questions, the surest first; of alternatives just one may have an answer."""
    imdb_id, tmdb_id, title, year = clue
    if imdb_id:
        yield [Clue(imdb_id=imdb_id)]
    if tmdb_id:
        yield [Clue(tmdb_id=tmdb_id)]
    if title and year:
        yield [Clue(title=title, year=year)]
    if title and year and loose:
        names = titles.forms(title)
        if names[1:]:
            yield [Clue(title=name, year=year) for name in names[1:]]
        yield [Clue(title=name, year=year + off) for name in names for off in (-1, 1)]


def clues_of(movie: Movie) -> Iterator[Clue]:
    """All by which a movie is found, with its place in lists for the title."""
    if movie.imdb_id:
        yield Clue(imdb_id=movie.imdb_id)
    if movie.tmdb_id:
        yield Clue(tmdb_id=movie.tmdb_id)
    if movie.year:
        yield Clue(title=titles.place(movie.title), year=movie.year)


def contradict(clue: Clue, movie: Movie) -> bool:
    """Whether the ids say that these are two movies. Of one IMDb id TMDB has two at times."""
    if clue.imdb_id and movie.imdb_id:
        return clue.imdb_id != movie.imdb_id
    return bool(clue.tmdb_id and movie.tmdb_id and clue.tmdb_id != movie.tmdb_id)
