"""Which titles somebody means who has typed one wrong, or not to its end yet.

Two measures, either of which may speak for a title: how much of what was typed it holds, in
trigrams of words as pg_trgm makes them, rare ones counting more ("kings speech", "star wars iv");
and how few letters must be put right until it begins like that ("lord of the rins"). The trigrams
pick a few candidates, and only those are measured by letters, so that the work is bounded whatever
is typed.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable
from heapq import nlargest, nsmallest
from math import log

from .titles import key, words

MEASURED = 32
"""How many candidates are measured by their letters."""

LONGEST = 100
"""Letters of a query that are looked at. The longest title of a Best Picture has 54."""

ALIKE = 0.5
"""How much of a query its trigrams must find for a title to be meant, 0–1."""

FEW = 5
"""Titles that are suggested."""


class Suggestions:
    """Titles, made ready to be searched at every keystroke."""

    def __init__(self, titles: Iterable[str]) -> None:
        shown: dict[str, str] = {}
        for title in titles:
            shown.setdefault(key(title), title)
        self._keys = sorted(shown)
        self._shown = [shown[name] for name in self._keys]
        holders = defaultdict[str, list[int]](list)
        for i, title in enumerate(self._shown):
            for gram in _trigrams(words(title), typing=False):
                holders[gram].append(i)
        self._holders = dict(holders)
        self._unheard = log(1 + len(shown))
        self._worth = {gram: log(1 + len(shown) / len(of)) for gram, of in holders.items()}
        self._weights = [0.0] * len(shown)
        for gram, of in holders.items():
            for i in of:
                self._weights[i] += self._worth[gram]

    def near(self, text: str) -> tuple[str, ...]:
        """A few titles, best first, as they are shown; none rather than far ones."""
        typed = key(text)[:LONGEST]
        if not typed:
            return ()
        start, end = bisect_left(self._keys, typed), bisect_right(self._keys, typed + "\U0010ffff")
        if end - start >= FEW:
            found = nsmallest(FEW, range(start, end), key=lambda i: (len(self._keys[i]), i))
        else:
            found = self._ranked(typed, self._alike(text) | dict.fromkeys(range(start, end), 1.0))
        return tuple(self._shown[i] for i in found[:FEW])

    def _alike(self, text: str) -> dict[int, float]:
        """How much of a text each title holds, 0–1; what the title has besides counts little.

        A Tversky index: shared / (shared + asked only + title only / 20).
        """
        asked = 0.0
        shared = defaultdict[int, float](float)
        for gram in _trigrams(" ".join(words(text))[:LONGEST].split(), typing=True):
            worth = self._worth.get(gram, self._unheard)
            asked += worth
            for i in self._holders.get(gram, ()):
                shared[i] += worth
        return {i: of / (asked + (self._weights[i] - of) / 20) for i, of in shared.items()}

    def _ranked(self, typed: str, alike: dict[int, float]) -> list[int]:
        where = defaultdict[str, int](int)
        for at, letter in enumerate(typed):
            where[letter] |= 1 << at
        may_err = len(typed) // 4
        ranks = []
        for i in nlargest(MEASURED, alike, key=alike.__getitem__):
            name = self._keys[i]
            errors = _errors(where, len(typed), name[: len(typed) + may_err])
            rank = alike[i]
            # A few letters with an error in them begin almost anything: then the ends must meet.
            if errors <= may_err and (not errors or len(typed) > 5 or len(name) < len(typed) + 4):
                rank = max(rank, 1 - errors / len(typed))
            elif len(name) >= 4 and typed.startswith(name):  # "Star Wars: Episode IV"
                rank = max(rank, ALIKE)
            if rank >= ALIKE:
                ranks.append((-rank, len(name), name, i))
        return [rank[-1] for rank in sorted(ranks)]


def _trigrams(of: list[str], typing: bool) -> set[str]:
    """Of each word with two blanks before it and one behind, unless its end is still to come."""
    padded = [f"  {word} " for word in of]
    if typing and padded:
        padded[-1] = padded[-1].rstrip()
    return {word[i : i + 3] for word in padded for i in range(len(word) - 2)}


def _errors(where: dict[str, int], length: int, title: str) -> int:
    """The least number of letters to add, drop, change or swap with their neighbour until a query
    of ``length``, given by the bits ``where`` its letters stand, is a beginning of ``title``.

    Hyyrö, "A bit-vector algorithm for computing Levenshtein and Damerau edit distances" (2003).
    """
    every, last = (1 << length) - 1, 1 << (length - 1)
    plus, minus, same, before = every, 0, 0, 0
    errors = least = length
    for letter in title:
        here = where.get(letter, 0)
        swapped = ((~same & here) << 1) & before
        same = (((here & plus) + plus) ^ plus) | here | minus | swapped
        up, down = minus | (every & ~(same | plus)), plus & same
        errors += bool(up & last) - bool(down & last)
        least = min(least, errors)
        up, down = (up << 1) | 1, down << 1
        plus, minus = every & (down | ~(same | up)), every & up & same
        before = here
    return least
