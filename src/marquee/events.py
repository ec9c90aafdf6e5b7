"""A ``RatingChanged`` as bytes: how it stands in event logs and dead letters.

JSON, version 1: ``{"v": 1, "movieId": "tt0111161", "rater": "<32 hex digits>", "version":
<microseconds>, "value": <1-21>}``.
"""

import json
from typing import Any

from .model import MAX_VERSION, REMOVED, RatingChanged, is_movie_id

SCHEMA = 1


def encode(event: RatingChanged) -> bytes:
    movie_id, rater, version, value = event
    members = {"v": SCHEMA, "movieId": movie_id, "rater": rater.hex()}
    return json.dumps({**members, "version": version, "value": value}).encode()


def decode(raw: bytes) -> RatingChanged:
    """Raises ``ValueError``, saying what is wrong, where the bytes are no event."""
    try:
        members = json.loads(raw)
        if members["v"] != SCHEMA:
            raise ValueError(f"schema {members['v']!r} is not known")
        rater = bytes.fromhex(members["rater"])
        event = RatingChanged(members["movieId"], rater, members["version"], members["value"])
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(f"no event: {error!r}") from error
    if (wrong := fault(event)) is not None:
        raise ValueError(wrong)
    return event


def fault(event: tuple[Any, ...]) -> str | None:
    """What makes these values no event; None where they are one."""
    movie_id, rater, version, value = event
    if not isinstance(movie_id, str) or not is_movie_id(movie_id):
        return "the movie's id is none"
    if not isinstance(rater, bytes) or len(rater) != 16:
        return "the rater is not 16 bytes"
    if type(value) is not int or not 1 <= value <= REMOVED:
        return "the value is not 1-21"
    if type(version) is not int or not 1 <= version <= MAX_VERSION:
        return "the version is no time"
    return None
