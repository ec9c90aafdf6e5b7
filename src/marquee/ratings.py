"""First: a user rates a movie. The rating is kept by user, durably, with its event beside it."""

from collections.abc import AsyncIterator, Sequence

from .errors import NotFound, StoreAway
from .model import REMOVED, Erasure, Rating
from .ports import Catalogue, Notices, RatingStore


class Ratings:
    """What users do with their ratings.

    ``known``: at most so many movie ids are remembered as being in the catalogue, so that rating
    a movie seldom asks for it. ``accepted``: ratings that were acknowledged.
    """

    def __init__(
        self, store: RatingStore, catalogue: Catalogue, notices: Notices, known: int = 100_000
    ) -> None:
        self._store = store
        self._catalogue = catalogue
        self._known = set[str]()
        self._most_known = known
        self._changes = 0
        self.accepted = 0
        notices.listen("catalogue", self._forget)

    async def rate(self, user_id: str, movie_id: str, value: int) -> Rating:
        """Keep a score of 1–20 half points in place of what the user said before of the movie.

        Raises ``NotFound`` where the catalogue has no such movie. A catalogue that is away is
        taken at the caller's word: ratings go on.
        """
        if movie_id not in self._known:
            await self._look_up(movie_id)
        rating = await self._store.write(user_id, movie_id, value)
        self.accepted += 1
        return rating

    async def remove(self, user_id: str, movie_id: str) -> None:
        """Take a rating back; where there was none, that is so already."""
        await self._store.write(user_id, movie_id, REMOVED)

    async def read(self, user_id: str, movie_id: str) -> Rating:
        rating = await self._store.read(user_id, movie_id)
        if rating is None:
            raise NotFound("You have not rated this movie.")
        return rating

    async def page(self, user_id: str, after: str, limit: int) -> list[Rating]:
        return await self._store.page(user_id, after, limit)

    async def pick(self, user_id: str, movie_ids: Sequence[str]) -> list[Rating]:
        return await self._store.pick(user_id, movie_ids)

    def all_of(self, user_id: str) -> AsyncIterator[list[Rating]]:
        return self._store.scan(user_id)

    async def erase(self, user_id: str) -> Erasure:
        return await self._store.erase(user_id)

    async def _look_up(self, movie_id: str) -> None:
        changes = self._changes
        try:
            there = await self._catalogue.has(movie_id)
        except StoreAway:
            return
        if not there:
            raise NotFound(f"There is no movie {movie_id}.")
        if changes != self._changes:
            return  # it may have been taken out since it was seen, and nobody would tell again
        if len(self._known) >= self._most_known:
            self._known.clear()
        self._known.add(movie_id)

    def _forget(self, movie_id: str) -> None:
        self._changes += 1
        if movie_id:
            self._known.discard(movie_id)
        else:
            self._known.clear()
