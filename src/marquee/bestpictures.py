"""A side room: who was nominated for Best Picture, and who won, from memory."""

import asyncio
import logging
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice

from . import titles
from .errors import Invalid, NotFound, StoreAway
from .model import Nomination, has_control
from .ports import Catalogue, Notices
from .suggestions import Suggestions
from .troubles import Trouble

AT_LEAST_EVERY = 1.0
AT_MOST_EVERY = 0.1
"""Seconds between two looks at the store, so that a burst of changes is read once."""

LONGEST_TITLE = 200

_AFTER_FIRST = re.compile(r" |(?<=['’])")
"""Where a first word ends: "Il Postino", "L'Avventura"."""

log = logging.getLogger(__name__)


def place(nomination: Nomination) -> str:
    """Where a nomination stands: newest ceremony first, its winner first, then by title.

    As text, so that a page can go on behind it whatever has come or gone since.
    """
    newest_first = f"{99999 - nomination.ceremony:05}{'' if nomination.won else '~'}"
    return f"{newest_first} {titles.key(nomination.title)} {nomination.title}"


def is_place(after: str) -> bool:
    return re.match("[0-9]{5}~? .", after) is not None and not has_control(after)


class Nominees:
    """All nominations at one moment, ready to be asked. Never changed, only replaced."""

    def __init__(self, nominations: Iterable[Nomination]) -> None:
        self.all = tuple(sorted(nominations, key=place))
        self._places = [place(nomination) for nomination in self.all]
        by_title = defaultdict[str, list[Nomination]](list)
        for nomination in self.all:
            for key in _keys(nomination.title):
                by_title[key].append(nomination)
        self._by_title = {key: tuple(of) for key, of in by_title.items()}
        self._suggestions = Suggestions(nomination.title for nomination in self.all)

    def find(self, title: str) -> tuple[Nomination, ...]:
        """The nominations of every movie of that title, or title and year: "Titanic (1997)".

        A year may be one off: the Academy's is that of the award, others tell the release.
        """
        if found := self._named(title):
            return found
        name, year = titles.split_year(title)
        return tuple(each for each in self._named(name) if year and abs(each.year - year) <= 1)

    def _named(self, title: str) -> tuple[Nomination, ...]:
        found = {each for key in titles.loose_keys(title) for each in self._by_title.get(key, ())}
        return tuple(sorted(found, key=place))

    def near(self, title: str) -> tuple[str, ...]:
        return self._suggestions.near(titles.split_year(title)[0])

    def behind(self, after: str) -> Iterator[Nomination]:
        return islice(self.all, bisect_right(self._places, after), None)


class BestPictures:
    """Serves the nominees as they were last read from the catalogue, whatever is down.

    Raises ``StoreAway`` until they were read once: nobody is told "never nominated" on no ground.
    """

    def __init__(self, catalogue: Catalogue, notices: Notices) -> None:
        self._catalogue = catalogue
        self._told = asyncio.Event()
        self._revision: int | None = None
        self._read: Sequence[Nomination] | None = None
        self.nominees: Nominees | None = None
        for topic in ("catalogue", "nominations"):
            notices.listen(topic, lambda _: self._told.set())

    def find(self, title: str) -> tuple[Nomination, ...]:
        """Every nomination of a movie of that title, newest first; see ``titles.loose_keys``.

        Raises ``Invalid`` for a blank title or one of over 200 characters, and ``NotFound``, with
        suggestions, for one that was never nominated.
        """
        if not title.strip():
            raise Invalid("The title is empty.", "/title")
        if len(title) > LONGEST_TITLE:
            raise Invalid(f"The title has over {LONGEST_TITLE} characters.", "/title")
        nominees = self._loaded()
        if found := nominees.find(title):
            return found
        raise NotFound(
            "No movie of that title was nominated for Best Picture.", nominees.near(title)
        )

    def list(
        self, won: bool | None = None, year: int | None = None, after: str = "", limit: int = 50
    ) -> tuple[tuple[Nomination, ...], str | None]:
        """A page of nominations, newest first, and the ``after`` of the next; None at the end."""
        wanted = (
            nomination
            for nomination in self._loaded().behind(after)
            if won in {None, nomination.won} and year in {None, nomination.year}
        )
        page = tuple(islice(wanted, limit))
        return page, place(page[-1]) if next(wanted, None) is not None else None

    async def step(self) -> None:
        """Read the nominations anew where the catalogue has changed."""
        self._told.clear()
        revision = await self._catalogue.revision()
        if revision == self._revision:
            return
        read = await self._catalogue.nominations()
        if read != self._read:  # most changes of the catalogue are of movies
            self.nominees, self._read = Nominees(read), read
        self._revision = revision

    async def run(self) -> None:
        """Follow the catalogue: at each notice, and every second in case one was lost."""
        trouble = Trouble(log, "the nominations are served as they were")
        while True:
            with trouble:
                await self.step()
            await asyncio.sleep(AT_MOST_EVERY)
            with suppress(TimeoutError):
                async with asyncio.timeout(AT_LEAST_EVERY - AT_MOST_EVERY):
                    await self._told.wait()

    def _loaded(self) -> Nominees:
        if self.nominees is None:
            raise StoreAway("The nominations have not been read yet.")
        return self.nominees


def _keys(title: str) -> set[str]:
    """Under which keys a title is found: each of its forms, and those without a foreign article.

    Here, unlike in ``titles.key``, one may be dropped: it is known to be of the title.
    """
    keys = set()
    for form in titles.forms(title):
        keys |= titles.loose_keys(form)
        keys.add("".join(titles.words(form)))  # "TheGodfather", whose article stands out no more
        first, *after = _AFTER_FIRST.split(form, maxsplit=1)
        rest = "".join(after)
        if titles.is_article(first) and not titles.is_article(rest.split(" ")[0]):
            keys.add(titles.key(rest))
    return keys - {""}
