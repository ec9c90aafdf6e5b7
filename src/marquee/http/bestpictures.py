"""Who was nominated for Best Picture, and who won."""

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from ..bestpictures import LONGEST_TITLE, BestPictures, is_place
from ..errors import Invalid
from . import cursors
from .calls import Answer, Call, Endpoint
from .shapes import (
    NOT_BLANK,
    Asked,
    BestPicture,
    Cursor,
    Limit,
    NominationList,
    Year,
    nomination_answer,
)


class NominationsAsked(Asked, frozen=True):
    title: (
        Annotated[
            str,
            Meta(
                description="Case, accents, punctuation and articles do not matter.",
                examples=["Parasite"],
                extra_json_schema={"maxLength": LONGEST_TITLE, **NOT_BLANK},
            ),
        ]
        | UnsetType
    ) = UNSET
    won: Literal["true", "false"] | UnsetType = UNSET
    year: Year | UnsetType = UNSET
    cursor: Cursor | UnsetType = UNSET
    limit: Limit | UnsetType = UNSET


def endpoints(bestpictures: BestPictures) -> list[Endpoint]:
    async def ask(call: Call) -> Answer:
        query: NominationsAsked = call.query
        if query.title is UNSET:
            return nominations(query)
        for name in ("won", "year", "cursor", "limit"):
            if getattr(query, name) is not UNSET:
                raise Invalid("This goes with the list, and not with a title.", f"/{name}")
        found = bestpictures.find(query.title)
        won = any(nomination.won for nomination in found)
        return Answer(BestPicture(query.title, won, [nomination_answer(n) for n in found]))

    def nominations(query: NominationsAsked) -> Answer:
        won = None if query.won is UNSET else query.won == "true"
        year = None if query.year is UNSET else query.year
        question = f"nominations {won} {year}"
        begin = "" if query.cursor is UNSET else cursors.after(query.cursor, question, is_place)
        limit = 50 if query.limit is UNSET else query.limit
        page, last = bestpictures.list(won, year, begin, limit)
        next_cursor = None if last is None else cursors.cursor(last, question)
        return Answer(NominationList([nomination_answer(n) for n in page], next_cursor))

    return [
        Endpoint(
            "GET",
            "/movies/bestpictures",
            ask,
            "Whether a movie won the Oscar for Best Picture",
            "best pictures",
            {200: BestPicture | NominationList},
            (404,),
            query=NominationsAsked,
            description="With `title`: every Best Picture nomination of a movie of that title "
            "(case, accents, punctuation and articles do not matter); 404 with `suggestions` where "
            "it was never nominated. Without: all nominations, newest first, by default 50 a page.",
            name="getBestPictures",
        )
    ]
