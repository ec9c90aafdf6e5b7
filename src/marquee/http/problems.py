"""Errors on the wire: problem documents (RFC 9457), from one table."""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import msgspec

from ..errors import Conflict, Invalid, MarqueeError, NotFound, StoreAway

Header = tuple[bytes, bytes]

RETRY_SECONDS = 2
"""What a 503 asks its caller to wait."""


class HttpError(MarqueeError):
    """What only the wire knows: a status of its own, and headers that go with it."""

    def __init__(self, status: int, detail: str, headers: Iterable[Header] = ()) -> None:
        super().__init__(detail)
        self.status = status
        self.headers = tuple(headers)


class FieldError(msgspec.Struct, frozen=True):
    pointer: str
    detail: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 9457. ``type`` is "about:blank": the status says it all."""

    title: str
    status: int
    detail: str
    instance: str
    type: str = "about:blank"
    errors: tuple[FieldError, ...] = ()
    suggestions: tuple[str, ...] | None = None


KINDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}
"""What is asked for, and what came, in words."""

STATUS: dict[type[MarqueeError], int] = {
    Invalid: 400,
    NotFound: 404,
    Conflict: 409,
    StoreAway: 503,
}


def title(status: int) -> str:
    """As RFC 9110 has it: Python knew 413 by its former one until 3.13."""
    return "Content Too Large" if status == 413 else HTTPStatus(status).phrase


def problem(error: Exception, path: bytes) -> tuple[int, list[Header], bytes]:
    """Status, headers and body for an error. What is none of ours says nothing of the inside.

    ``path``: as it was asked for, percent-encoded.
    """
    headers: list[Header] = [(b"content-type", b"application/problem+json")]
    fields: dict[str, Any] = {}
    if isinstance(error, HttpError):
        status = error.status
        headers += error.headers
    else:
        status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)
    if isinstance(error, Invalid):
        fields["errors"] = (FieldError(error.pointer, str(error)),)
    if isinstance(error, NotFound) and error.suggestions is not None:
        fields["suggestions"] = error.suggestions
    if status == 503:
        headers.append((b"retry-after", b"%d" % RETRY_SECONDS))
    detail = str(error) if isinstance(error, MarqueeError) else "Something went wrong on our side."
    instance = quote(unquote_to_bytes(path)[:500], safe="/:@!$&'()*+,;=~")
    body = encode(Problem(title(status), status, detail, instance, **fields))
    headers.append((b"content-length", b"%d" % len(body)))
    return status, headers, body


def encode(document: Problem) -> bytes:
    members = msgspec.to_builtins(document)
    return msgspec.json.encode({"type": document.type, **members})


def invalid(error: msgspec.MsgspecError, part: str = "field") -> Invalid:
    """A decoder's complaint in our terms: "Expected `float`, got `str` - at `$.rate`"."""
    text, _, at = str(error).partition(" - at `")
    names = re.findall(r"\.([^.\[\]`]+)|\[(\d+|\.\.\.)\]", at)
    pointer = "".join(f"/{name or index}" for name, index in names)
    if unknown := re.fullmatch(r"Object contains unknown field `(.*)`", text, re.DOTALL):
        return Invalid(f"There is no such {part}.", f"{pointer}/{escape(unknown[1])}")
    if missing := re.fullmatch(r"Object missing required field `(.*)`", text):
        return Invalid("This field is required.", f"{pointer}/{escape(missing[1])}")
    if text == "Input data was truncated":
        return Invalid("The body ends before its JSON does.")
    told = re.sub(
        "`([^`]*)`", lambda kinds: " or ".join(map(in_words, kinds[1].split(" | "))), text
    )
    return Invalid(f"{told}.", pointer)


def in_words(kind: str) -> str:
    return KINDS.get(kind, kind)


def escape(name: str) -> str:
    """A name as a part of a JSON pointer (RFC 6901), without what can't be in an answer."""
    clean = name[:100].encode("utf-8", "replace").decode()
    return clean.replace("~", "~0").replace("/", "~1")
