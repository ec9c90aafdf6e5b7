"""What must hold, computed anew: nothing here uses a rule of the code under test."""

from collections.abc import Callable, Iterable
from fractions import Fraction
from math import floor

from marquee.model import REMOVED, Applied, Chart, Movie
from tests.simulator.ledger import Broken
from tests.simulator.processes import is_sound
from tests.simulator.stores import LogDisk, MovieDisk, RatingDisk

SECRET = "@example.org"
"""What every user id ends in, and nothing but the rating store may hold."""

NONE = [0] * 20

Counts = dict[str, list[int]]


def count(scores: Iterable[tuple[str, int]]) -> Counts:
    """How often each movie has each score; a removal is none."""
    counts: Counts = {}
    for movie_id, value in scores:
        of_movie = counts.setdefault(movie_id, [0] * 20)
        if value != REMOVED:
            of_movie[value - 1] += 1
    return counts


def counted(ratings: RatingDisk) -> Counts:
    return count((movie_id, word.value) for (_, movie_id), word in ratings.current().items())


def folded(movies: MovieDisk) -> None:
    """At any time, totals are what is applied: so no count is negative."""
    counts = count((movie_id, word.value) for (movie_id, _), word in movies.applied.items())
    for movie_id in counts | movies.totals:
        totals = movies.totals.get(movie_id)
        if (list(totals.counts) if totals else NONE) != counts.get(movie_id, NONE):
            raise Broken(f"{movie_id} has {totals}, applied are {counts.get(movie_id)}")


def all_counted(ratings: RatingDisk, movies: MovieDisk, rater: Callable[[str], bytes]) -> None:
    """What is applied, removals apart, is what stands in the rating store."""
    stored: dict[tuple[str, bytes], Applied] = {
        (movie_id, rater(user_id)): word for (user_id, movie_id), word in ratings.current().items()
    }
    applied = {pair: word for pair, word in movies.applied.items() if word.value != REMOVED}
    if applied != stored:
        raise Broken(f"applied is {movies.applied}, stored {stored}")


def ten_is_true(ten: Chart | None, ratings: RatingDisk, movies: MovieDisk) -> None:
    expected = naive_ten(ratings, movies)
    shown = [(entry.movie, list(entry.totals.counts)) for entry in ten.entries] if ten else None
    if shown != expected:
        raise Broken(f"the ten is {shown} instead of {expected}")


def naive_ten(ratings: RatingDisk, movies: MovieDisk) -> list[tuple[Movie, list[int]]]:
    """The ten as the contract words it, from the rating store, in fractions."""
    prior = movies.prior
    ranked = []
    for movie_id, counts in counted(ratings).items():
        movie, number = movies.movies.get(movie_id), sum(counts)
        if movie is None or not number:
            continue
        points = sum(Fraction(score * times, 2) for score, times in enumerate(counts, 1))
        weighted = points + prior.weight * Fraction(prior.mean, 100)
        rate = floor(10 * weighted / (number + prior.weight) + Fraction(1, 2))
        unknown = movie.box_office is None
        order = (-rate, unknown, -(movie.box_office or 0), -number, movie_id)
        ranked.append((order, (movie, counts)))
    return [entry for _, entry in sorted(ranked, key=lambda each: each[0])[:10]]


def all_buried(movies: MovieDisk, poison: list[bytes]) -> None:
    """Each poison record is a dead letter, once."""
    buried = [letter.raw for letter in movies.dead_letters.values()]
    if sorted(buried) != sorted(poison):
        raise Broken(f"dead letters are {buried}, poison was {poison}")


def no_user_is_named(log: LogDisk, movies: MovieDisk) -> None:
    """No user id outside of the rating store."""
    raters = {rater for _, rater in movies.applied}
    for records in log.partitions:
        raters.update(record.rater for record in records if is_sound(record))
    if any(len(rater) != 16 or SECRET.encode() in rater for rater in raters):
        raise Broken(f"raters that are no hash: {raters}")
    if SECRET in repr(movies.dead_letters):
        raise Broken(f"a user id in a dead letter: {movies.dead_letters}")
