"""What a process remembers of the catalogue, so that rating a movie seldom asks for it."""

import asyncio
import itertools

import pytest

from marquee.adapters.memory import MemoryNotices
from marquee.errors import NotFound
from marquee.model import Movie
from marquee.ratings import Ratings
from tests.simulator import stores


@pytest.mark.parametrize("what", ["m", ""], ids=["that movie", "anything"])
async def test_word_of_a_change_has_it_ask_again(what):
    catalogue = stores.MemoryCatalogue(stores.MovieDisk())
    notices = MemoryNotices()
    rating_store = stores.MemoryRatings(stores.RatingDisk(), itertools.count(1).__next__)
    ratings = Ratings(rating_store, catalogue, notices)
    heard = asyncio.Event()
    notices.listen("catalogue", lambda _: heard.set())
    await catalogue.put(Movie("m", "Alien"))
    await ratings.rate("u", "m", 9)
    await catalogue.delete("m")
    await ratings.rate("u", "m", 8)  # nobody told
    notices.tell("catalogue", what)
    await heard.wait()
    with pytest.raises(NotFound):
        await ratings.rate("u", "m", 7)
