"""Side room: the catalogue. Who writes a movie tells the others."""

import secrets
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from . import titles
from .errors import Invalid, NotFound, StoreAway
from .model import NO_MOVIE_ID, Merged, Movie, Nomination, Standing, has_control, is_movie_id
from .ports import Catalogue, Notices


class Nominations(Protocol):
    """What a ``Catalogue`` has of them."""

    async def nominations(self) -> Sequence[Nomination]: ...
    async def merge_nominations(self, nominations: Sequence[Nomination], /) -> Merged: ...


class Movies:
    """What is asked of the catalogue, and what is written to it."""

    def __init__(self, catalogue: Catalogue, notices: Notices) -> None:
        self._catalogue = catalogue
        self._notices = notices

    async def get(self, movie_id: str) -> Standing:
        standing = await self._catalogue.get(movie_id)
        if standing is None:
            raise NotFound(f"There is no movie {movie_id}.")
        return standing

    async def search(
        self, query: str, genre: str | None, year: int | None, after: str | None, limit: int
    ) -> tuple[list[Standing], str | None]:
        """See ``Catalogue.search``."""
        return await self._catalogue.search(query, genre, year, after, limit)

    async def add(self, movie: Movie) -> None:
        """Raises ``Conflict`` where the id is taken, ``Invalid`` where the movie breaks a rule."""
        check(movie)
        await self._catalogue.add(movie)
        await self._nominate(movie)
        self._notices.tell("catalogue", movie.id)

    async def put(self, movie: Movie) -> bool:
        """Add or replace; whether it was added. Raises ``Invalid``."""
        check(movie)
        added = await self._catalogue.put(movie)
        await self._nominate(movie)
        self._notices.tell("catalogue", movie.id)
        return added

    async def delete(self, movie_id: str) -> None:
        """Take it out of catalogue and charts; its ratings stay its users'."""
        there = await self._catalogue.delete(movie_id)
        self._notices.tell("catalogue", movie_id)
        if not there:
            raise NotFound(f"There is no movie {movie_id}.")

    async def _nominate(self, movie: Movie) -> None:
        with suppress(StoreAway):  # they are kept elsewhere: the movie itself is written
            await nominate(self._catalogue, [movie])


async def nominate(catalogue: Nominations, movies: Collection[Movie]) -> int:
    """Give nominations that came before these movies theirs; how many it was."""
    waiting = [each for each in await catalogue.nominations() if each.movie_id is None]
    found = list(nominated(waiting, movies)) if waiting else []
    if found:
        await catalogue.merge_nominations(found)
    return len(found)


def nominated(nominations: Iterable[Nomination], movies: Iterable[Movie]) -> Iterator[Nomination]:
    """Those of the nominations that have a movie among these, with it: by title and year, or where
    that is nobody's by a year that is one off. Of several movies it is none."""
    named = defaultdict[str, list[Movie]](list)
    for movie in movies:
        for key in set(map(titles.key, titles.forms(movie.title))):
            named[key].append(movie)
    for nomination in nominations:
        keys = map(titles.key, titles.forms(nomination.title))
        off = {m.id: abs((m.year or 0) - nomination.year) for key in keys for m in named[key]}
        nearest = min(off.values(), default=2)
        ids = [movie_id for movie_id, years in off.items() if years == nearest]
        if nearest <= 1 and len(ids) == 1:
            yield replace(nomination, movie_id=ids[0])


def is_place(after: str) -> bool:
    """Whether a list may have ended there: at a title's key and, on a line of its own, an id."""
    title_key, line, movie_id = after.rpartition("\n")
    return bool(line) and is_movie_id(movie_id) and not has_control(title_key)


def new_id(imdb_id: str | None) -> str:
    """The id of a movie that comes without one: its IMDb id, else one made up."""
    return imdb_id or f"m-{secrets.token_hex(8)}"


def check(movie: Movie) -> None:
    """What a store must be able to rely on. Raises ``Invalid``."""
    if not is_movie_id(movie.id):
        raise Invalid(NO_MOVIE_ID, "/id")
    texts = [("/title", movie.title), *(("/genres", genre) for genre in movie.genres)]
    if movie.imdb_id is not None:
        texts.append(("/imdbId", movie.imdb_id))
    for pointer, text in texts:
        if has_control(text):
            raise Invalid("Control characters can't be kept.", pointer)
        if not text.strip():
            raise Invalid("A blank one says nothing.", pointer)
