"""A dry run: the same run, on stores that only pretend to write.

They answer from the real ones, or from none that are there yet, and from what they would have
written, and count alike.
"""

from collections import ChainMap, defaultdict
from collections.abc import Sequence
from itertools import groupby
from typing import Protocol

from ..model import (
    Applied,
    Merged,
    Movie,
    Nomination,
    Rating,
    Standing,
    Totals,
    complete,
    merge,
    place_of,
)
from ..ports import Clue
from ..titles import place
from .matching import clues_of

MOST_PAIRS = 200_000
"""So many ratings are kept at least. What a file says again after more than that counts as new."""


class StoredRatings(Protocol):
    """What a dry run asks of a ``RatingStore``."""

    async def stored(
        self, user_id: str, movie_ids: Sequence[str], /
    ) -> tuple[int, dict[str, Applied]]: ...


class StoredMovies(Protocol):
    """What a dry run asks of a ``Catalogue``."""

    async def get(self, movie_id: str, /) -> Standing | None: ...
    async def match(self, clues: Sequence[Clue], /) -> list[tuple[str, ...]]: ...
    async def nominations(self) -> list[Nomination]: ...


class NoRatings:
    """In the place of a rating store that was never made."""

    async def stored(self, _: str, __: Sequence[str]) -> tuple[int, dict[str, Applied]]:
        return 0, {}


class NoMovies:
    """In the place of a catalogue that was never made."""

    async def get(self, _: str) -> Standing | None:
        return None

    async def match(self, clues: Sequence[Clue]) -> list[tuple[str, ...]]:
        return [() for _ in clues]

    async def nominations(self) -> list[Nomination]:
        return []


class RehearsedRatings:
    def __init__(self, store: StoredRatings) -> None:
        self._store = store
        self._written: dict[tuple[str, str], Applied] = {}
        self._written_before: dict[tuple[str, str], Applied] = {}

    async def merge(self, ratings: Sequence[Rating]) -> Merged:
        erased: dict[str, int] = {}
        stored: dict[tuple[str, str], Applied] = {}
        for user_id, theirs in groupby(sorted(ratings), lambda rating: rating.user_id):
            movie_ids = [rating.movie_id for rating in theirs]
            erased[user_id], kept = await self._store.stored(user_id, movie_ids)
            stored.update(((user_id, movie_id), before) for movie_id, before in kept.items())
        stands = ChainMap(self._written, self._written_before, stored)
        merged, written = merge(ratings, stands, erased)
        for user_id, movie_id, value, version in written:
            self._written[user_id, movie_id] = Applied(version, value)
        if len(self._written) > MOST_PAIRS:
            self._written_before, self._written = self._written, {}
        return merged


class RehearsedCatalogue:
    def __init__(self, catalogue: StoredMovies) -> None:
        self._catalogue = catalogue
        self._movies: dict[str, Movie] = {}
        self._answers: dict[Clue, set[str]] = defaultdict(set)
        self._nominations: dict[tuple[int, str], Nomination] | None = None

    async def get(self, movie_id: str) -> Standing | None:
        movie = self._movies.get(movie_id)
        return Standing(movie, Totals()) if movie else await self._catalogue.get(movie_id)

    async def match(self, clues: Sequence[Clue]) -> list[tuple[str, ...]]:
        """As the matcher asks: by one thing at a time."""
        answers: list[tuple[str, ...]] = []
        for clue, real in zip(clues, await self._catalogue.match(clues), strict=True):
            if clue.imdb_id and (clue.imdb_id in self._movies or clue.imdb_id in real):
                answers.append((clue.imdb_id,))
            else:
                answers.append(tuple(self._answers.get(_folded(clue), set()).union(real)))
        return answers

    async def merge(self, movies: Sequence[Movie]) -> Merged:
        standings = [await self.get(movie.id) for movie in movies]
        known = {standing.movie.id: standing.movie for standing in standings if standing}
        merged, changed = complete(known, movies, lambda movie: movie.id)
        self._movies.update(changed)
        for movie in changed.values():
            for clue in clues_of(movie):
                self._answers[clue].add(movie.id)
        return merged

    async def nominations(self) -> list[Nomination]:
        return list((await self._all_nominations()).values())

    async def merge_nominations(self, nominations: Sequence[Nomination]) -> Merged:
        known = await self._all_nominations()
        merged, changed = complete(known, nominations, place_of)
        known.update(changed)
        return merged

    async def _all_nominations(self) -> dict[tuple[int, str], Nomination]:
        if self._nominations is None:
            real = await self._catalogue.nominations()
            self._nominations = {place_of(each): each for each in real}
        return self._nominations


def _folded(clue: Clue) -> Clue:
    return clue._replace(title=place(clue.title)) if clue.title else clue
