"""The rating calls: one's own, or by a trusted service for its users."""

import csv
import io
from collections.abc import AsyncIterator, Iterable
from functools import partial
from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from ..errors import Invalid
from ..model import NO_USER_ID, Rating, is_movie_id, is_user_id, time_of
from ..ratings import Ratings
from . import cursors
from .calls import Answer, Call, Endpoint
from .problems import Header, HttpError
from .shapes import (
    Asked,
    Cursor,
    Erased,
    Limit,
    NewRating,
    Rate,
    RateAnswer,
    RateList,
    RatingAnswer,
    half_points,
    rate_answer,
)

FOR_ANYONE = "ratings:write:any"
CSV_COLUMNS = ("movieId", "userId", "rate", "ratedAt")
BY_ACCEPT: Header = (b"vary", b"accept")
PICKED = 250
ID = "[A-Za-z0-9_-]{1,20}"


class MyRatings(Asked, frozen=True):
    cursor: Cursor | UnsetType = UNSET
    limit: Limit = 50
    movie_ids: (
        Annotated[
            str,
            Meta(
                description=f"At most {PICKED} movie ids, separated by commas.",
                examples=["tt0111161,tt0068646"],
                extra_json_schema={
                    "pattern": rf"^{ID}(,{ID}){{0,{PICKED - 1}}}$",
                },
            ),
        ]
        | UnsetType
    ) = UNSET


def endpoints(ratings: Ratings) -> list[Endpoint]:
    async def rate(call: Call) -> Answer:
        rating = await ratings.rate(call.user_id, call.movie_id, half_points(call.body.rate))
        return Answer(rate_answer(rating))

    async def read(call: Call) -> Answer:
        return Answer(rate_answer(await ratings.read(call.user_id, call.movie_id)))

    async def remove(call: Call) -> Answer:
        await ratings.remove(call.user_id, call.movie_id)
        return Answer(status=204)

    async def rate_for(call: Call) -> Answer:
        body: NewRating = call.body
        if body.user_id != call.user_id and FOR_ANYONE not in call.caller.scopes:
            raise HttpError(403, f"To rate for others takes a token with the scope {FOR_ANYONE}.")
        if not is_user_id(body.user_id):
            raise Invalid(NO_USER_ID, "/userId")
        rating = await ratings.rate(body.user_id, call.movie_id, half_points(body.rating_score))
        answer = RatingAnswer(
            rating.movie_id, rating.user_id, rating.value / 2, time_of(rating.version)
        )
        return Answer(answer, 201)

    async def erase(call: Call) -> Answer:
        erasure = await ratings.erase(call.user_id)
        return Answer(Erased(erasure.ratings), 202)

    own = "/movies/{movieId}/users/rate"
    return [
        Endpoint(
            "POST",
            own,
            rate,
            "Rate a movie, or change the rating",
            "ratings",
            {200: RateAnswer},
            (404,),
            body=Rate,
            token=True,
            writes_rating_of=lambda call: call.user_id,
            example={"rate": 9},
            description="One rating per user and movie: the last one stands, however often sent.",
            name="rate",
        ),
        Endpoint(
            "GET",
            own,
            read,
            "Read one's rating of a movie",
            "ratings",
            {200: RateAnswer},
            (404,),
            token=True,
            name="getRating",
        ),
        Endpoint(
            "DELETE",
            own,
            remove,
            "Take one's rating back",
            "ratings",
            {204: None},
            token=True,
            writes_rating_of=lambda call: call.user_id,
            name="deleteRating",
        ),
        Endpoint(
            "POST",
            "/movies/{movieId}/ratings",
            rate_for,
            "Rate a movie for a user",
            "ratings",
            {201: RatingAnswer},
            (403, 404),
            body=NewRating,
            token=True,
            writes_rating_of=lambda call: (
                call.body.user_id if FOR_ANYONE in call.caller.scopes else call.user_id
            ),
            example={"userId": "you", "ratingScore": 9},
            description="`userId` is the token's `sub`, or anyone with the scope "
            f"`{FOR_ANYONE}`: a trusted service that acts for its users.",
            name="rateFor",
        ),
        Endpoint(
            "GET",
            "/users/me/ratings",
            partial(list_mine, ratings),
            "List one's ratings, by movie id",
            "ratings",
            {200: RateList},
            query=MyRatings,
            token=True,
            media=("application/json", "text/csv"),
            description="With `Accept: text/csv` all of them, streamed.",
            name="listRatings",
        ),
        Endpoint(
            "DELETE",
            "/users/me/ratings",
            erase,
            "Erase all of one's ratings, everywhere",
            "ratings",
            {202: Erased},
            token=True,
            writes_rating_of=lambda call: call.user_id,
            name="eraseRatings",
        ),
    ]


async def list_mine(ratings: Ratings, call: Call) -> Answer:
    query: MyRatings = call.query
    picked = None if query.movie_ids is UNSET else movie_ids(query.movie_ids)
    question = f"my ratings {query.movie_ids}"
    begin = "" if query.cursor is UNSET else cursors.after(query.cursor, question, is_movie_id)
    if prefers_csv(call.header(b"accept")):
        if picked is None:
            pages = ratings.all_of(call.user_id)
        else:
            pages = one(await ratings.pick(call.user_id, picked))
        # A store that is away shows here, before anything is sent.
        first: list[Rating] = await anext(pages, [])
        media = (b"content-type", b"text/csv; charset=utf-8")
        return Answer(as_csv(first, pages), headers=(media, BY_ACCEPT))
    if picked is None:
        found = await ratings.page(call.user_id, begin, query.limit + 1)
    else:
        found = await ratings.pick(call.user_id, [id for id in picked if id > begin])
    page = found[: query.limit]
    more = len(found) > len(page)
    next_cursor = cursors.cursor(page[-1].movie_id, question) if more else None
    answer = RateList([rate_answer(rating) for rating in page], next_cursor)
    return Answer(answer, headers=(BY_ACCEPT,))


def movie_ids(text: str) -> list[str]:
    """The ids of a comma-separated list, each once, in order. Raises ``Invalid``."""
    found = sorted(set(text.split(",")))
    if len(found) > PICKED or not all(map(is_movie_id, found)):
        raise Invalid(f"These must be 1-{PICKED} movie ids, separated by commas.", "/movieIds")
    return found


def prefers_csv(accept: str | None) -> bool:
    """Whether CSV is asked for by name, at least as much as JSON (RFC 9110, 12.5.1)."""
    wanted = {"text/csv": 0.0, "application/json": 0.0}
    for entry in (accept or "").lower().split(","):
        media, *parameters = (part.strip() for part in entry.split(";"))
        if media in wanted:
            weight = next((p[2:] for p in parameters if p.startswith("q=")), "1")
            try:
                wanted[media] = float(weight)
            except ValueError:
                wanted[media] = 0.0
    return wanted["text/csv"] > 0 and wanted["text/csv"] >= wanted["application/json"]


async def one(page: list[Rating]) -> AsyncIterator[list[Rating]]:
    yield page


async def as_csv(first: list[Rating], rest: AsyncIterator[list[Rating]]) -> AsyncIterator[bytes]:
    yield csv_lines([CSV_COLUMNS, *map(csv_row, first)])
    async for page in rest:
        yield csv_lines(map(csv_row, page))


def csv_row(rating: Rating) -> tuple[str, ...]:
    user_id, movie_id, value, version = rating
    return movie_id, user_id, f"{value / 2:g}", time_of(version)


def csv_lines(rows: Iterable[tuple[str, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()
