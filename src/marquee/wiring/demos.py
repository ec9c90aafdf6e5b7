"""The demo in the stores: when it comes by itself, and whether it is there."""

from .. import demo
from .stores import Stores

NAME = "demo"
"""Under this name the movie store remembers which of these holds."""

BEGUN, LOADED, DECLINED = "begun", "loaded", "declined"


async def load(stores: Stores) -> None:
    """Load it, again at will. One that was cut short counts as there: some of it is."""
    await stores.remember(NAME, BEGUN)
    await demo.load(stores.ratings, stores.catalogue)
    await stores.catch_up()
    await stores.remember(NAME, LOADED)


async def settle(stores: Stores, wanted: bool) -> None:
    """At a start: load it into new stores, or go on where that was cut short. Where it was not
    wanted at first, or somebody's own came before it, it never comes by itself."""
    stands = await stores.recall(NAME)
    if wanted and (stands == BEGUN or (stands is None and await is_empty(stores))):
        await load(stores)
    elif stands is None:
        await stores.remember(NAME, DECLINED)


async def is_there(stores: Stores) -> bool:
    return await stores.recall(NAME) in {BEGUN, LOADED}


async def is_empty(stores: Stores) -> bool:
    async for _ in stores.catalogue.scan():
        return False
    async for _ in stores.ratings.scan():
        return False
    return not await stores.catalogue.nominations()
