"""The chart's calls; and the ten as bytes that are ready before anybody asks."""

import hashlib
import time
from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType
from starlette.types import Scope

from ..errors import StoreAway
from ..model import TOP_TEN, Chart, ChartQuery
from ..toprated import TopRated
from .calls import JSON, Answer, Call, Endpoint, encode
from .prepared import Messages, Prepared
from .problems import Header, problem
from .shapes import Asked, ChartList, GenreAsked, Limit, Year, chart_list

TEN = "/movies/top10"
MAX_AGE = 1
STALE_WHILE_REVALIDATE = 60
CACHING: Header = (
    b"cache-control",
    b"public, max-age=%d, stale-while-revalidate=%d" % (MAX_AGE, STALE_WHILE_REVALIDATE),
)


class ChartAsked(Asked, frozen=True):
    limit: Limit = 10
    genre: GenreAsked | UnsetType = UNSET
    year_from: Annotated[Year, Meta(examples=[1990])] | UnsetType = UNSET
    year_to: Annotated[Year, Meta(examples=[1999])] | UnsetType = UNSET
    min_ratings: Annotated[
        int, Meta(ge=0, le=2**53, description="Movies with at least so many.")
    ] = 1
    best_picture: Literal["won", "nominated"] | UnsetType = UNSET
    ranking: Literal["weighted", "mean"] = "weighted"

    def query(self) -> ChartQuery:
        return ChartQuery(
            limit=self.limit,
            genre=None if self.genre is UNSET else self.genre,
            year_from=None if self.year_from is UNSET else self.year_from,
            year_to=None if self.year_to is UNSET else self.year_to,
            min_ratings=max(1, self.min_ratings),
            won=None if self.best_picture is UNSET else self.best_picture == "won",
            by_mean=self.ranking == "mean",
        )


def endpoints(toprated: TopRated) -> list[Endpoint]:
    async def ten(call: Call) -> Answer:
        return await answer(call, TOP_TEN)

    async def chart(call: Call) -> Answer:
        return await answer(call, call.query.query())

    async def answer(call: Call, query: ChartQuery) -> Answer:
        found = await toprated.chart(query)
        body, etag = content(found, by_mean=query.by_mean)
        age = max(0, int(time.time() - found.refreshed_at / 1e6))
        headers: tuple[Header, ...] = (CACHING, (b"etag", etag), (b"age", b"%d" % age))
        if matches(call.header(b"if-none-match"), etag):
            return Answer(status=304, headers=headers)
        return Answer(body, headers=(*headers, JSON))

    return [
        Endpoint(
            "GET",
            TEN,
            ten,
            "The ten top-rated movies",
            "charts",
            {200: ChartList, 304: None},
            headers=("ETag", "Age", "Cache-Control"),
            description="From memory, whatever is down: `Age` tells the seconds since it was "
            "last found true, `updatedAt` when it last changed.",
            name="getTopTen",
        ),
        Endpoint(
            "GET",
            "/movies/top-rated",
            chart,
            "Any chart",
            "charts",
            {200: ChartList, 304: None},
            headers=("ETag", "Age", "Cache-Control"),
            query=ChartAsked,
            description="Ordered by `rate`, box office, number of ratings (each descending), id.",
            name="getChart",
        ),
    ]


def content(chart: Chart, *, by_mean: bool = False) -> tuple[bytes, bytes]:
    """The body, and its entity tag: of the entries alone, so that all processes give the same."""
    answer = chart_list(chart, by_mean=by_mean)
    return encode(answer), entity_tag(encode(answer.result))


def entity_tag(body: bytes) -> bytes:
    return b'"%s"' % hashlib.sha256(body).hexdigest()[:32].encode()


def matches(if_none_match: str | None, etag: bytes) -> bool:
    """Weak comparison, as ``If-None-Match`` asks for (RFC 9110, 13.1.2)."""
    if if_none_match is None:
        return False
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag.decode() in tags or if_none_match.strip() == "*"


class Ten:
    """``GET /movies/top10``, ready before anybody asks; its ``Age`` is made anew every second."""

    def __init__(self, toprated: TopRated) -> None:
        self._toprated = toprated
        self._until = 0.0
        self._body = b""
        self._etag = b""
        self._full = self._unchanged = Prepared(
            *problem(StoreAway("The ten is not there yet."), TEN.encode())
        )
        toprated.on_taken(self._take)

    def answer(self, scope: Scope) -> Messages:
        if time.monotonic() >= self._until:
            self._prepare()
        for name, value in scope["headers"]:
            if name == b"if-none-match" and (
                value == self._etag or matches(value.decode("latin-1"), self._etag)
            ):
                return self._unchanged.answer(scope)
        return self._full.answer(scope)

    def _take(self, chart: Chart) -> None:
        self._body, self._etag = content(chart)
        self._until = 0.0

    def _prepare(self) -> None:
        if self._toprated.ten is None:
            return
        age = self._toprated.age()
        headers = [CACHING, (b"etag", self._etag), (b"age", b"%d" % age)]
        length = (b"content-length", b"%d" % len(self._body))
        self._full = Prepared(200, [*headers, JSON, length], self._body)
        self._unchanged = Prepared(304, headers, b"")
        self._until = time.monotonic() + 1 - age % 1
