"""The shapes of the wire: JSON in camelCase, as the contract writes it."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from ..model import (
    PLAIN,
    RESERVED_IDS,
    Chart,
    Movie,
    Nomination,
    Prior,
    Rating,
    Standing,
    mean_rating,
    rate_tenths,
    time_of,
)


class Shape(msgspec.Struct, frozen=True, rename="camel"):
    """What we answer."""


class Asked(msgspec.Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """What we are asked: a body or a query. What it does not name is an error."""


# What the stages check themselves stands here as a schema alone, for the document.
NO_CONTROL = {"pattern": r"^[^\x00-\x1f\x7f-\x9f]*$"}
NOT_BLANK = {"pattern": r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"}

MovieId = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9_-]{1,20}$",
        examples=["tt0111161"],
        extra_json_schema={"not": {"enum": sorted(RESERVED_IDS)}},
    ),
]
Score = Annotated[float, Meta(ge=0.5, le=10, multiple_of=0.5, examples=[9])]
GenreAsked = Annotated[str, Meta(min_length=1, max_length=50, extra_json_schema=NO_CONTROL)]
Year = Annotated[int, Meta(ge=1870, le=2100)]
Title = Annotated[str, Meta(min_length=1, max_length=500, extra_json_schema=NOT_BLANK)]
Genre = Annotated[str, Meta(min_length=1, max_length=50, extra_json_schema=NOT_BLANK)]
BoxOffice = Annotated[int, Meta(ge=0, le=2**53, description="Whole US dollars.")]
ImdbId = Annotated[str, Meta(pattern=r"^tt[0-9]{1,10}$", examples=["tt0111161"])]
TmdbId = Annotated[int, Meta(ge=1, le=2**53)]
Limit = Annotated[int, Meta(ge=1, le=250, description="How many at most.")]
Cursor = Annotated[
    str, Meta(min_length=1, max_length=4000, description="The `nextCursor` of the page before.")
]
Time = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]

# And what we answer with.
Rounded = Annotated[
    float, Meta(ge=0.5, le=10, description="The weighted rating, rounded half up to tenths.")
]
Mean = Annotated[float, Meta(ge=0.5, le=10, description="The plain mean, unrounded.")]
Weighted = Annotated[
    float, Meta(ge=0.5, le=10, description="The mean drawn towards the prior, unrounded.")
]
Count = Annotated[int, Meta(ge=0)]
Total = Annotated[float, Meta(ge=0, multiple_of=0.5, description="All scores, added up.")]
NextCursor = Annotated[
    str, Meta(description="Asks for the next page, as `cursor`; null on the last.")
]

# ---- movies and charts -------------------------------------------------------------------------


class MovieEntry(Shape, frozen=True):
    """A movie on a chart. ``rate`` is what the chart is ordered by: by means, the rounded mean."""

    rank: Annotated[int, Meta(ge=1)]
    id: str
    title: str
    year: int | None
    rate: Rounded
    average_rating: Mean
    weighted_rating: Weighted
    number_of_ratings: Count
    total_rating_score: Total
    box_office: BoxOffice | None


class ChartList(Shape, frozen=True):
    """A chart, best first."""

    updated_at: Annotated[Time, Meta(description="When this list last changed.")]
    result: list[MovieEntry]


class MovieAnswer(Shape, frozen=True):
    """A movie with what its ratings say: null where nobody rated it."""

    id: str
    title: str
    year: int | None
    rate: Rounded | None
    average_rating: Mean | None
    weighted_rating: Weighted | None
    number_of_ratings: Count
    total_rating_score: Total
    box_office: BoxOffice | None
    genres: tuple[str, ...]
    imdb_id: str | None
    tmdb_id: int | None
    best_picture: Literal["nominated", "won"] | None


class MovieList(Shape, frozen=True):
    result: list[MovieAnswer]
    next_cursor: NextCursor | None


class ScoreCount(Shape, frozen=True):
    score: Score
    count: Count


class MovieRatings(Shape, frozen=True):
    """How often each score was given, from 0.5 up; the counts add up to ``numberOfRatings``."""

    movie_id: str
    average_rating: Mean | None
    weighted_rating: Weighted | None
    number_of_ratings: Count
    total_rating_score: Total
    distribution: Annotated[list[ScoreCount], Meta(min_length=20, max_length=20)]


class MovieWritten(Asked, frozen=True):
    """What may be written of a movie."""

    title: Title
    year: Year | None = None
    genres: Annotated[list[Genre], Meta(max_length=20)] = []
    box_office: BoxOffice | None = None
    imdb_id: ImdbId | None = None
    tmdb_id: TmdbId | None = None


class NewMovie(MovieWritten, frozen=True):
    """``id``: by default its IMDb id, else one is made."""

    id: MovieId | UnsetType = UNSET


# ---- ratings -----------------------------------------------------------------------------------


class Rate(Asked, frozen=True):
    rate: Score


class RateAnswer(Shape, frozen=True):
    """A rating as it is stored."""

    movie_id: str
    user_id: str
    rate: Score
    rated_at: Time


class RateList(Shape, frozen=True):
    result: list[RateAnswer]
    next_cursor: NextCursor | None


class NewRating(Asked, frozen=True):
    user_id: Annotated[str, Meta(min_length=1, max_length=128, extra_json_schema=NO_CONTROL)]
    rating_score: Score


class RatingAnswer(Shape, frozen=True):
    movie_id: str
    user_id: str
    rating_score: Score
    rated_at: Time


class Erased(Shape, frozen=True):
    erased: Annotated[int, Meta(ge=0, description="How many ratings there were.")]


# ---- Best Picture ------------------------------------------------------------------------------


class NominationAnswer(Shape, frozen=True):
    """``year`` is that of the films, ``yearLabel`` as the Academy writes it; ``movieId`` is null
    where it is not known."""

    movie_id: str | None
    title: str
    year: int
    year_label: str
    ceremony: int
    won: bool
    additional_info: str


class BestPicture(Shape, frozen=True):
    """``won``: whether any of the nominations of that title won."""

    title: str
    won: bool
    result: list[NominationAnswer]


class NominationList(Shape, frozen=True):
    result: list[NominationAnswer]
    next_cursor: NextCursor | None


# ---- from the model ----------------------------------------------------------------------------


def half_points(score: float) -> int:
    return int(score * 2)


def tenths(rate: int | None) -> float | None:
    return None if rate is None else rate / 10


def figures(standing: Standing, prior: Prior) -> dict[str, Any]:
    number, total = standing.totals.number, standing.totals.total
    return {
        "average_rating": mean_rating(number, total),
        "weighted_rating": mean_rating(number, total, prior),
        "number_of_ratings": number,
        "total_rating_score": total / 2,
    }


def chart_list(chart: Chart, *, by_mean: bool) -> ChartList:
    ranked_by = PLAIN if by_mean else chart.prior
    return ChartList(
        time_of(chart.changed_at),
        [
            MovieEntry(
                rank=rank,
                id=standing.movie.id,
                title=standing.movie.title,
                year=standing.movie.year,
                rate=(rate_tenths(standing.totals.number, standing.totals.total, ranked_by) or 0)
                / 10,
                box_office=standing.movie.box_office,
                **figures(standing, chart.prior),
            )
            for rank, standing in enumerate(chart.entries, 1)
        ],
    )


def movie_answer(standing: Standing, prior: Prior) -> MovieAnswer:
    movie, totals, won = standing
    return MovieAnswer(
        id=movie.id,
        title=movie.title,
        year=movie.year,
        rate=tenths(rate_tenths(totals.number, totals.total, prior)),
        box_office=movie.box_office,
        genres=movie.genres,
        imdb_id=movie.imdb_id,
        tmdb_id=movie.tmdb_id,
        best_picture=None if won is None else "won" if won else "nominated",
        **figures(standing, prior),
    )


def movie_ratings(standing: Standing, prior: Prior) -> MovieRatings:
    counts = enumerate(standing.totals.counts, 1)
    return MovieRatings(
        movie_id=standing.movie.id,
        distribution=[ScoreCount(value / 2, count) for value, count in counts],
        **figures(standing, prior),
    )


def movie_of(written: MovieWritten, movie_id: str) -> Movie:
    return Movie(
        movie_id,
        written.title,
        written.year,
        tuple(written.genres),
        written.box_office,
        written.imdb_id,
        written.tmdb_id,
    )


def rate_answer(rating: Rating) -> RateAnswer:
    return RateAnswer(rating.movie_id, rating.user_id, rating.value / 2, time_of(rating.version))


def nomination_answer(nomination: Nomination) -> NominationAnswer:
    return NominationAnswer(
        movie_id=nomination.movie_id,
        title=nomination.title,
        year=nomination.year,
        year_label=nomination.year_label,
        ceremony=nomination.ceremony,
        won=nomination.won,
        additional_info=nomination.additional_info,
    )
