"""Marquee's own ratings, as ``marquee export ratings`` and ``GET /users/me/ratings`` write them.

userId, movieId, rate (in points), ratedAt. Without userId they are the ratings of one person.

Dates are versions. Where a server's clock was ahead they still are, and an export of all of it
comes back as it was, whatever the time is here.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from ..model import is_movie_id, is_user_id
from .files import Sheet
from .reading import Part, Reading, read_each
from .rows import (
    DAY,
    HALVES_OF_TEN,
    Asked,
    BadRow,
    RatingRow,
    Record,
    half_points,
    text_of,
    version_of,
)

SOURCE = "ratings"

AHEAD = 36_525 * DAY
"""So far a clock may have been: a century."""


def _to_the_letter(cell: Any) -> str:
    return cell if isinstance(cell, str) else text_of(cell)


def reading(sheets: Sequence[Sheet]) -> Reading | None:
    found = [sheet for sheet in sheets if sheet.has("movieid", "rate", "ratedat")]
    named = [sheet for sheet in found if sheet.has("userid")]
    found = named or found

    def parts(asked: Asked) -> Iterator[Part]:
        dated = asked._replace(now=asked.now + AHEAD) if named else asked

        def read(line: int, record: Record) -> RatingRow:
            user_id = _to_the_letter(record.get("userid")) if named else asked.user_id
            movie_id = text_of(record.get("movieid"))
            if not is_user_id(user_id):
                raise BadRow("the user is none", user_id)
            if not is_movie_id(movie_id):
                raise BadRow("the movie's id is none", movie_id)
            if not text_of(record.get("ratedat")):
                raise BadRow("the date is missing")
            value = half_points(record.get("rate"), HALVES_OF_TEN)
            version = version_of(record.get("ratedat"), dated, 0)
            return RatingRow(line, user_id, movie_id, value, version)

        for sheet in found:
            yield sheet, read_each(sheet.records(), read)

    return Reading(SOURCE, tuple(found), not named, parts) if found else None
