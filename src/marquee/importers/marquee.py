"""Marquee's own ratings, as ``marquee export ratings`` and ``GET /users/me/ratings`` write them.

userId, movieId, rate (in points), ratedAt. Without userId they are the ratings of one person.
"""

from collections.abc import Iterator, Sequence

from ..model import is_movie_id, is_user_id
from .files import Sheet
from .reading import Part, Reading, read_each
from .rows import HALVES_OF_TEN, Asked, BadRow, RatingRow, Record, half_points, text_of, version_of

SOURCE = "ratings"


def reading(sheets: Sequence[Sheet]) -> Reading | None:
    found = [sheet for sheet in sheets if sheet.has("movieid", "rate", "ratedat")]
    named = [sheet for sheet in found if sheet.has("userid")]
    found = named or found

    def parts(asked: Asked) -> Iterator[Part]:
        def read(line: int, record: Record) -> RatingRow:
            user_id = str(record.get("userid", "")) if named else asked.user_id
            movie_id = text_of(record.get("movieid"))
            if not is_user_id(user_id):
                raise BadRow("the user is none", user_id)
            if not is_movie_id(movie_id):
                raise BadRow("the movie's id is none", movie_id)
            if not text_of(record.get("ratedat")):
                raise BadRow("the date is missing")
            value = half_points(record.get("rate"), HALVES_OF_TEN)
            return RatingRow(
                line, user_id, movie_id, value, version_of(record.get("ratedat"), asked, 0)
            )

        for sheet in found:
            yield sheet, read_each(sheet.records(), read)

    return Reading(SOURCE, tuple(found), not named, parts) if found else None
