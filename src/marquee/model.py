"""The terms of the field and the rules between them: plain data and pure functions.

Scores are **half points** throughout: 1–20 for the scores 0.5–10, so that sums are exact on every
store. Times and versions are microseconds since 1970, UTC.
"""

import hmac
import re
import zlib
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from operator import add, mul
from typing import NamedTuple, TypeVar

from . import titles

REMOVED = 21
"""The value of a rating that was taken back. Above every score, so that of two changes with one
version the removal wins, in every store alike."""

SCORES = range(1, REMOVED)
"""The scores 0.5-10, in half points."""

MOVIE_ID = re.compile(r"[A-Za-z0-9_-]{1,20}")
RESERVED_IDS = frozenset({"top10", "top-rated", "bestpictures"})
NO_MOVIE_ID = (
    "A movie's id is 1 to 20 of A-Z, a-z, 0-9, _ and -, but not top10, top-rated or bestpictures."
)
NO_USER_ID = "A user's id is 1 to 128 characters, none of them a control character."
MAX_VERSION = 2**63 - 1


def is_movie_id(text: str) -> bool:
    return len(text) <= 20 and is_short_movie_id(text)  # else whatever is asked would be kept


@lru_cache(10_000)  # asked of every call and every event, mostly of the same few
def is_short_movie_id(text: str) -> bool:
    return MOVIE_ID.fullmatch(text) is not None and text not in RESERVED_IDS


def has_control(text: str) -> bool:
    """Whether a text holds a control character or a lone surrogate, which no store is to keep."""
    return not text.isprintable() and any(
        c < " " or "\x7f" <= c < "\xa0" or "\ud800" <= c <= "\udfff" for c in text
    )


def is_user_id(text: str) -> bool:
    """A token's ``sub``: 1–128 characters, none of them a control character."""
    return 0 < len(text) <= 128 and not has_control(text)


def time_of(version: int) -> str:
    """Microseconds since 1970 in RFC 3339."""
    seconds, micros = divmod(version, 1_000_000)
    return f"{second_of(seconds)}.{micros:06d}Z"


@lru_cache(1000)  # most of what is told happened just now
def second_of(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


# ---- a rating and its change -------------------------------------------------------------------


class Rating(NamedTuple):
    """What one user thinks of one movie. ``value`` is 1–20, or ``REMOVED``."""

    user_id: str
    movie_id: str
    value: int
    version: int


class RatingChanged(NamedTuple):
    """The event: a rater's word on a movie is now ``value``. Carries no user id, only its hash."""

    movie_id: str
    rater: bytes
    version: int
    value: int

    @property
    def trace(self) -> str:
        """The place in a trace (``tracing``) that it comes from: no part of what it says."""
        return ""


class Traced(RatingChanged):
    """The same event, of which it is known where it comes from."""

    trace = ""

    @classmethod
    def behind(cls, event: RatingChanged, place: str) -> RatingChanged:
        if not place:
            return event
        traced = cls(*event)
        traced.trace = place
        return traced


class Erasure(NamedTuple):
    """The receipt of an erasure: so many ratings of ``rater``, all up to ``version``, are gone."""

    rater: bytes
    version: int
    ratings: int


def rater_of(key: bytes, user_id: str) -> bytes:
    """The keyed hash under which a user's ratings leave the store: HMAC-SHA-256, 128 bits."""
    return hmac.digest(key, user_id.encode(), "sha256")[:16]


def slot_of(movie_id: str, slots: int) -> int:
    return zlib.crc32(movie_id.encode()) % slots


class VersionClock:
    """Versions of which a later one is above: ``max(now, last of this process + 1, stored + 1)``.

    ``now`` gives the store's time in microseconds. What is stored raises only the version that goes
    above it: a date in the future dates nobody else's rating. Belongs to one thread.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self.last = 0

    def next(self, stored: int = 0) -> int:
        self.last = max(self._now(), self.last + 1)
        return max(self.last, stored + 1)

    def seen(self, version: int) -> None:
        """A version that the store gave: what comes later is above it."""
        self.last = max(self.last, version)


# ---- the fold ----------------------------------------------------------------------------------

Pair = tuple[str, bytes]
"""(movie id, rater)"""


class Applied(NamedTuple):
    """What the totals hold of one pair. Compared as a tuple, this is the last-writer rule itself:
    the newer version wins, of equal versions the larger value."""

    version: int
    value: int


NEVER = Applied(0, REMOVED)
"""What is applied of a pair of which nothing was ever heard."""

Delta = list[int]
"""20 changes of the distribution, by half points."""


def check(events: Iterable[RatingChanged]) -> None:
    """Raises ``ValueError`` for what no store may ever apply: it would miscount, or never count."""
    for _, _, version, value in events:
        if not (0 < value <= REMOVED and 0 < version <= MAX_VERSION):
            raise ValueError(f"no rating has the value {value} and the version {version}")


def latest(events: Iterable[RatingChanged]) -> dict[Pair, Applied]:
    """One change per pair, in key order: however often, late or disordered the events came.

    Raises ``ValueError`` as ``check`` does.
    """
    ordered = sorted(events)  # of a pair the last one is the newest, and stays
    check(ordered)
    return {
        (movie_id, rater): Applied(version, value) for movie_id, rater, version, value in ordered
    }


def fold(
    applied: Mapping[Pair, Applied], changes: Mapping[Pair, Applied]
) -> tuple[dict[Pair, Applied], dict[str, Delta]]:
    """What ``changes`` alter: the pairs that are newer than applied, and each movie's delta."""
    newer = {pair: change for pair, change in changes.items() if change > applied.get(pair, NEVER)}
    return newer, deltas(applied, newer)


def deltas(applied: Mapping[Pair, Applied], changes: Mapping[Pair, Applied]) -> dict[str, Delta]:
    """How each movie's distribution changes where ``changes`` take the place of what is applied."""
    found: dict[str, Delta] = {}
    for pair, change in changes.items():
        before = applied.get(pair, NEVER)
        if change.value == before.value:
            continue
        delta = found.get(pair[0])
        if delta is None:
            delta = found[pair[0]] = [0] * 20
        if before.value != REMOVED:
            delta[before.value - 1] -= 1
        if change.value != REMOVED:
            delta[change.value - 1] += 1
    return found


class Totals(NamedTuple):
    """How a movie's ratings are distributed over the 20 scores; everything else follows."""

    counts: tuple[int, ...] = (0,) * 20

    @property
    def number(self) -> int:
        return sum(self.counts)

    @property
    def total(self) -> int:
        """In half points."""
        return sum(map(mul, SCORES, self.counts))

    def plus(self, delta: Delta) -> "Totals":
        return Totals(tuple(map(add, self.counts, delta)))


# ---- the chart ---------------------------------------------------------------------------------


class Prior(NamedTuple):
    """What a movie is taken for before anybody rated it: ``weight`` ratings of ``mean`` hundredths
    of a point. Weight 0 is the plain mean."""

    weight: int = 10
    mean: int = 650

    def __str__(self) -> str:
        return f"weight {self.weight}, mean {self.mean / 100:g}"


PLAIN = Prior(weight=0)


def mean_rating(number: int, total: int, prior: Prior = PLAIN) -> float | None:
    """The (weighted) mean in points, unrounded: (total + weight x mean) / (number + weight)."""
    if not number:
        return None
    return (50 * total + prior.weight * prior.mean) / (100 * (number + prior.weight))


def rate_tenths(number: int, total: int, prior: Prior = PLAIN) -> int | None:
    """``mean_rating`` rounded half up to tenths of a point, in integers: all stores order alike."""
    if not number:
        return None
    points = 50 * total + prior.weight * prior.mean
    voters = number + prior.weight
    return (points + 5 * voters) // (10 * voters)


@dataclass(frozen=True, slots=True)
class Movie:
    """A movie of the catalogue. ``box_office`` in whole US dollars; None is unknown."""

    id: str
    title: str
    year: int | None = None
    genres: tuple[str, ...] = ()
    box_office: int | None = None
    imdb_id: str | None = None
    tmdb_id: int | None = None

    def completed_by(self, other: "Movie") -> "Movie":
        """This movie, with what is unknown of it taken from another source's word."""
        return replace(
            self,
            year=other.year if self.year is None else self.year,
            genres=self.genres or other.genres,
            box_office=other.box_office if self.box_office is None else self.box_office,
            imdb_id=self.imdb_id or other.imdb_id,
            tmdb_id=other.tmdb_id if self.tmdb_id is None else self.tmdb_id,
        )


class Standing(NamedTuple):
    """A movie with what its ratings say. ``won``: None where it was never nominated for Best
    Picture."""

    movie: Movie
    totals: Totals
    won: bool | None = None


@dataclass(frozen=True, slots=True)
class ChartQuery:
    """Which movies a chart is of. The default is the ten."""

    limit: int = 10
    genre: str | None = None
    year_from: int | None = None
    year_to: int | None = None
    min_ratings: int = 1
    won: bool | None = None
    by_mean: bool = False


TOP_TEN = ChartQuery()


@dataclass(frozen=True, slots=True)
class Chart:
    """Movies in the order of the chart: rate, box office, number of ratings (each descending,
    unknown last), id. ``changed_at``: when this list last changed; ``refreshed_at``: when it was
    last found true, by the clock of its store."""

    entries: tuple[Standing, ...]
    changed_at: int
    refreshed_at: int
    prior: Prior


# ---- Best Picture ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Nomination:
    """One nomination for Best Picture. ``year`` is the year of the films, ``year_label`` as the
    Academy writes it: "1927/28 (1st)". ``place_of`` tells it from others."""

    ceremony: int
    title: str
    year: int
    year_label: str
    won: bool
    additional_info: str = ""
    movie_id: str | None = None

    def completed_by(self, other: "Nomination") -> "Nomination":
        """This nomination, with what it lacks taken from another source, and won where either
        says so."""
        return replace(
            self,
            won=self.won or other.won,
            additional_info=self.additional_info or other.additional_info,
            movie_id=self.movie_id or other.movie_id,
        )


def place_of(nomination: Nomination) -> tuple[int, str]:
    """What tells a nomination from others: its ceremony, and its title's key."""
    return nomination.ceremony, titles.key(nomination.title)


# ---- a bulk of things, as from a file ----------------------------------------------------------

Key = TypeVar("Key", bound=Hashable)
Told = TypeVar("Told", Movie, Nomination)


class Merged(NamedTuple):
    """What became of a bulk of things: new, put in place of others, already there."""

    added: int = 0
    replaced: int = 0
    unchanged: int = 0

    def plus(self, other: "Merged") -> "Merged":
        return Merged(*(a + b for a, b in zip(self, other, strict=True)))


def merge(
    ratings: Sequence[Rating],
    stored: Mapping[tuple[str, str], Applied],
    erased: Mapping[str, int],
) -> tuple[Merged, list[Rating]]:
    """What becomes of ratings that bring their own versions, and what is to be kept of them.

    ``stored``: what is kept of each user's movies, removals too; ``erased``: the version of each
    user's last erasure, above which a rating is lifted.
    """
    added = replaced = 0
    newest: dict[tuple[str, str], Applied] = {}
    for user_id, movie_id, value, dated in ratings:
        pair, change = (user_id, movie_id), Applied(max(dated, erased[user_id] + 1), value)
        before = newest.get(pair) or stored.get(pair, NEVER)
        if change <= before:
            continue
        added += before.value == REMOVED and value != REMOVED
        replaced += before.value != REMOVED
        newest[pair] = change
    kept = [Rating(*pair, value, version) for pair, (version, value) in newest.items()]
    return Merged(added, replaced, len(ratings) - added - replaced), kept


def complete(
    known: Mapping[Key, Told], told: Sequence[Told], key: Callable[[Told], Key]
) -> tuple[Merged, dict[Key, Told]]:
    """What becomes of movies, or of nominations, that a source tells of, and what of them is to be
    written: what is new, and what is known where something unknown of it is filled in."""
    added = replaced = 0
    changed: dict[Key, Told] = {}
    for one in told:
        place = key(one)
        before = changed.get(place) or known.get(place)
        after = before.completed_by(one) if before else one
        if after != before:
            changed[place] = after
            added += before is None
            replaced += before is not None
    return Merged(added, replaced, len(told) - added - replaced), changed
