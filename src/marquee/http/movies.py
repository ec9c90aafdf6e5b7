"""The catalogue's calls: search, read, write."""

from typing import Annotated

from msgspec import UNSET, Meta, UnsetType

from ..errors import NotFound
from ..model import Movie, Standing, Totals
from ..movies import Movies, is_place, new_id
from ..toprated import TopRated
from . import cursors
from .calls import Answer, Call, Endpoint
from .shapes import (
    NO_CONTROL,
    Asked,
    Cursor,
    GenreAsked,
    Limit,
    MovieAnswer,
    MovieList,
    MovieRatings,
    MovieWritten,
    NewMovie,
    Year,
    movie_answer,
    movie_of,
    movie_ratings,
)

SCOPE = "movies:write"
MADE_UP = "the-third-man"
"""What examples may write and delete: no movie of anybody's."""


class Search(Asked, frozen=True):
    query: Annotated[
        str,
        Meta(
            max_length=200,
            description="Words of the title, or beginnings of them.",
            examples=["godfather"],
            extra_json_schema=NO_CONTROL,
        ),
    ] = ""
    genre: GenreAsked | UnsetType = UNSET
    year: Year | UnsetType = UNSET
    cursor: Cursor | UnsetType = UNSET
    limit: Limit = 50


def endpoints(movies: Movies, toprated: TopRated) -> list[Endpoint]:
    async def search(call: Call) -> Answer:
        query: Search = call.query
        genre = None if query.genre is UNSET else query.genre
        year = None if query.year is UNSET else query.year
        question = f"movies {query.query!r} {genre!r} {year}"
        begin = None if query.cursor is UNSET else cursors.after(query.cursor, question, is_place)
        found, last = await movies.search(query.query.strip(), genre, year, begin, query.limit)
        prior = await toprated.prior()
        return Answer(
            MovieList(
                [movie_answer(standing, prior) for standing in found],
                None if last is None else cursors.cursor(last, question),
            )
        )

    async def read(call: Call) -> Answer:
        return Answer(movie_answer(await movies.get(call.movie_id), await toprated.prior()))

    async def ratings(call: Call) -> Answer:
        return Answer(movie_ratings(await movies.get(call.movie_id), await toprated.prior()))

    async def add(call: Call) -> Answer:
        body: NewMovie = call.body
        movie = movie_of(body, new_id(body.imdb_id) if body.id is UNSET else body.id)
        prior = await toprated.prior()  # first: what is answered with a problem was not written
        await movies.add(movie)
        standing = await written(movies, movie)
        location = (b"location", f"/movies/{movie.id}".encode())
        return Answer(movie_answer(standing, prior), 201, (location,))

    async def put(call: Call) -> Answer:
        movie = movie_of(call.body, call.movie_id)
        prior = await toprated.prior()
        added = await movies.put(movie)
        standing = await written(movies, movie)
        return Answer(movie_answer(standing, prior), 201 if added else 200)

    async def delete(call: Call) -> Answer:
        await movies.delete(call.movie_id)
        return Answer(status=204)

    example = {"title": "The Third Man", "year": 1949, "genres": ["Film-Noir"], "boxOffice": 618173}
    one = "/movies/{movieId}"
    return [
        Endpoint(
            "GET",
            "/movies",
            search,
            "Search and list movies, by title",
            "movies",
            {200: MovieList},
            query=Search,
            name="searchMovies",
        ),
        Endpoint(
            "POST",
            "/movies",
            add,
            "Add a movie",
            "movies",
            {201: MovieAnswer},
            (403, 409),
            body=NewMovie,
            token=True,
            scope=SCOPE,
            headers=("Location",),
            example=example,
            name="addMovie",
        ),
        Endpoint(
            "GET",
            one,
            read,
            "Read a movie",
            "movies",
            {200: MovieAnswer},
            (404,),
            name="getMovie",
        ),
        Endpoint(
            "PUT",
            one,
            put,
            "Add or replace a movie",
            "movies",
            {200: MovieAnswer, 201: MovieAnswer},
            (403,),
            body=MovieWritten,
            token=True,
            scope=SCOPE,
            movie=MADE_UP,
            example=example,
            name="putMovie",
        ),
        Endpoint(
            "DELETE",
            one,
            delete,
            "Take a movie out of the catalogue",
            "movies",
            {204: None},
            (403, 404),
            token=True,
            scope=SCOPE,
            movie=MADE_UP,
            description="It leaves the charts. Its ratings stay, and count again if it comes back.",
            name="deleteMovie",
        ),
        Endpoint(
            "GET",
            "/movies/{movieId}/ratings",
            ratings,
            "Read how a movie's ratings are distributed",
            "movies",
            {200: MovieRatings},
            (404,),
            name="getRatings",
        ),
    ]


async def written(movies: Movies, movie: Movie) -> Standing:
    """The movie as it stands after a write; another's delete may have come just behind it."""
    try:
        return await movies.get(movie.id)
    except NotFound:
        return Standing(movie, Totals())
