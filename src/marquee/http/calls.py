"""A call of the contract, and how every one of them is answered: who asks, how often, is the
question well put, the answer, its line in the log.
"""

import asyncio
import itertools
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.routing import compile_path
from starlette.types import Receive, Scope, Send

from ..errors import Invalid, MarqueeError, StoreAway
from ..model import NO_MOVIE_ID, has_control, is_movie_id
from ..ports import Quota, RateLimiter
from .auth import Caller, Verifier, bearer
from .bodies import Gone, Patience, check_length, read_body
from .limits import LimitExceeded, Network, client_address, tenfold
from .problems import Header, HttpError, escape, invalid, problem

MOST_PARAMETERS = 50
WHOLE = re.compile("-?(0|[1-9][0-9]*)")
HALF_ENCODED = re.compile(rb"%(?![0-9A-Fa-f]{2})")

log = logging.getLogger(__name__)

JSON: Header = (b"content-type", b"application/json")
NOT_ENCODED: Header = (b"accept-encoding", b"identity")
encode = msgspec.json.Encoder().encode


PROCESS = secrets.token_hex(4).encode()
numbers = itertools.count(1)


def request_id() -> bytes:
    return b"%s-%x" % (PROCESS, next(numbers))


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The query of a call that takes none."""


class Answer(msgspec.Struct, frozen=True):
    body: Any = None
    """A struct, sent as JSON; bytes, sent as they are; an iterator of bytes, streamed."""
    status: int = 200
    headers: tuple[Header, ...] = ()


class Call:
    """What a handler sees of a request: everything is decoded and checked."""

    __slots__ = ("_headers", "body", "caller", "path", "query")

    def __init__(self, path: Mapping[str, str], headers: Iterable[Header]) -> None:
        self.path = path
        self._headers = joined(headers)
        self.caller: Caller = NOBODY
        self.query: Any = None
        self.body: Any = None

    @property
    def movie_id(self) -> str:
        return self.path["movieId"]

    @property
    def user_id(self) -> str:
        return self.caller.user_id

    def users(self) -> set[str]:
        """Those whom it is about."""
        return {self.user_id, getattr(self.body, "user_id", "")} - {""}

    def header(self, name: bytes) -> str | None:
        """A header's value; of several, all of them, joined with commas. ``name`` in lower case."""
        found = self._headers.get(name)
        return None if found is None else found.decode("latin-1")


def joined(headers: Iterable[Header]) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        found[name] = found[name] + b"," + value if name in found else value
    return found


class BrokenOff(Exception):
    """An answer that does not come to the end that its head has promised: whoever sends it hangs
    up, so that it is seen. ``status``: the one that it would have, had it not begun."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


ANYTHING = (Exception, asyncio.CancelledError)
NOBODY = Caller("", frozenset())


@dataclass(frozen=True)
class Endpoint:
    """One row of the contract's tables. The OpenAPI document is made of these."""

    method: str
    path: str
    handle: Callable[[Call], Awaitable[Answer]]
    summary: str
    tag: str
    answers: Mapping[int, Any]
    """Each status of success, and the type of its body (None: without one)."""
    errors: tuple[int, ...] = ()
    """The problems it answers with, but for those that go with what it is: see ``openapi``."""
    query: type = Nothing
    body: Any = None
    token: bool = False
    scope: str | None = None
    """The scope without which it is 403."""
    writes_rating_of: Callable[[Call], str] | None = None
    """Whose rating it writes: that user's own limit counts."""
    media: tuple[str, ...] = ("application/json",)
    limited: bool = True
    headers: tuple[str, ...] = ()
    """Those of its answers that its caller may go by."""
    movie: str = "tt0111161"
    """A movie id that works as it stands on the demo catalogue; and a body that does."""
    example: Any = None
    description: str = ""
    name: str = field(kw_only=True)
    """Its own, in the document and in the clients that are made from it."""


@dataclass
class Guard:
    """What stands before every call."""

    verifier: Verifier
    limiter: RateLimiter
    quota: Quota | None
    trusted: tuple[Network, ...] = ()
    patience: Patience = field(default_factory=Patience)
    tenfold: Quota | None = field(init=False)

    def __post_init__(self) -> None:
        self.tenfold = tenfold(self.quota) if self.quota else None

    async def _take(self, policy: str, key: str, quota: Quota | None) -> None:
        if quota is None:
            return
        wait = await self.limiter.take(f"{policy}:{key}", quota)
        if wait > 0:
            raise LimitExceeded(policy, quota, wait)

    async def admit_address(self, scope: Scope) -> None:
        if self.tenfold is None:
            return
        peer = scope["client"][0] if scope.get("client") else "unknown"
        forwarded = ""
        if self.trusted:
            forwarded = ",".join(
                value.decode("latin-1")
                for name, value in scope["headers"]
                if name == b"x-forwarded-for"
            )
        address = client_address(peer, forwarded, self.trusted)
        await self._take("address", address, self.tenfold)

    async def admit_caller(self, call: Call, endpoint: Endpoint) -> None:
        token = bearer(call.header(b"authorization"))
        known = self.verifier.cached(token)
        call.caller = known if known is not None else await self.verifier.verify(token)
        if endpoint.scope is not None and endpoint.scope not in call.caller.scopes:
            raise HttpError(403, f"This needs a token with the scope {endpoint.scope}.")
        if endpoint.writes_rating_of is None:
            await self._take("reads", call.user_id, self.tenfold)

    async def admit_rating(self, user_id: str) -> None:
        """One more rating of this user's written."""
        await self._take("ratings", user_id, self.quota)


Observe = Callable[[Scope, str, int, float], None]
"""Told of each answer: the request, the template of its route, the status, the seconds."""


class Resource:
    """All calls of one path, as an ASGI application."""

    def __init__(
        self,
        path: str,
        endpoints: Iterable[Endpoint],
        elsewhere: Iterable[str],
        guard: Guard,
        observe: Observe,
    ) -> None:
        """``elsewhere``: methods of this path that another process answers."""
        self.path = path
        self.pattern, *_ = compile_path(path)
        self._endpoints = {endpoint.method: endpoint for endpoint in endpoints}
        if "GET" in self._endpoints:
            self._endpoints["HEAD"] = self._endpoints["GET"]
        head = ["HEAD"] * ("GET" in elsewhere)
        allow = sorted({*self._endpoints, *elsewhere, *head})
        self._allow = ", ".join(allow).encode()
        self._decoders = {
            endpoint.method: msgspec.json.Decoder(endpoint.body)
            for endpoint in self._endpoints.values()
            if endpoint.body is not None
        }
        self._guard = guard
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        scope["marquee.id"] = request_id()
        try:
            answer = await self._answer(scope, receive)
            status, headers, body = rendered(answer)
            if not isinstance(body, bytes) and scope["http_version"] == "1.0":  # it has no chunks
                body = b"".join([part async for part in body])
                headers.append((b"content-length", b"%d" % len(body)))
        except Gone:
            return
        except ANYTHING as error:  # the one place where everything has an answer
            status, headers, body = failure(error, scope)
        try:
            await respond(scope, send, status, headers, body)
        except ANYTHING as error:
            status = failure(error, scope)[0]
            raise BrokenOff(status) from error
        finally:
            self._observe(scope, self.path, status, time.perf_counter() - started)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        endpoint = self._endpoints.get(scope["method"])
        if endpoint is None or endpoint.limited:
            await self._guard.admit_address(scope)
        if endpoint is None:
            raise HttpError(405, f"Here one can {self._allow.decode()}.", [(b"allow", self._allow)])
        call = scope["marquee.call"] = Call(scope["path_params"], scope["headers"])
        if endpoint.token:
            await self._guard.admit_caller(call, endpoint)
        call.query = read_query(scope["query_string"], endpoint.query)
        if "movieId" in call.path and not is_movie_id(call.movie_id):
            raise Invalid(NO_MOVIE_ID, "/movieId")
        if endpoint.body is None:
            check_length(call.header(b"content-length"))
        else:
            call.body = await self._body(call, endpoint.method, receive)
        if endpoint.writes_rating_of is not None:
            await self._guard.admit_rating(endpoint.writes_rating_of(call))
        return await endpoint.handle(call)

    async def _body(self, call: Call, method: str, receive: Receive) -> Any:
        if not is_json(call.header(b"content-type")):
            raise HttpError(415, "The body must be application/json, in UTF-8.")
        if (call.header(b"content-encoding") or "identity").strip().lower() != "identity":
            raise HttpError(415, "The body must not be compressed.", [NOT_ENCODED])
        length = call.header(b"content-length")
        body = await self._guard.patience.wait(read_body(length, receive))
        try:
            return self._decoders[method].decode(body)
        except msgspec.MsgspecError as error:
            raise invalid(error) from error
        except (UnicodeDecodeError, RecursionError) as error:
            raise Invalid("The body is no JSON in UTF-8.") from error


def failure(
    error: Exception | asyncio.CancelledError, scope: Scope
) -> tuple[int, list[Header], bytes]:
    if isinstance(error, asyncio.CancelledError):  # we are stopping, and waited as long as we may
        error = StoreAway("This server is stopping.")
    elif isinstance(error, TimeoutError):
        error = StoreAway("This took too long.")
    elif not isinstance(error, MarqueeError):
        call: Call | None = scope.get("marquee.call")
        users = call.users() if call is not None else set()
        log.error("a call failed", exc_info=error, extra={"users": users})
    return problem(error, scope["raw_path"])


def rendered(answer: Answer) -> tuple[int, list[Header], bytes | AsyncIterator[bytes]]:
    headers = list(answer.headers)
    body = answer.body
    if body is None:
        return answer.status, headers, b""
    if isinstance(body, msgspec.Struct):
        body = encode(body)
        headers.append(JSON)
    if isinstance(body, bytes):
        headers.append((b"content-length", b"%d" % len(body)))
    return answer.status, headers, body


async def respond(
    scope: Scope,
    send: Send,
    status: int,
    headers: list[Header],
    body: bytes | AsyncIterator[bytes],
) -> None:
    headers.append((b"x-request-id", scope["marquee.id"]))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    if isinstance(body, bytes):
        if scope["method"] == "HEAD":
            body = b""
        await send({"type": "http.response.body", "body": body})
        return
    if scope["method"] != "HEAD":
        async for chunk in body:
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def read_query(raw: bytes, into: type) -> Any:
    """A query string as a struct. What is unknown, given twice or malformed is ``Invalid``."""
    if not raw:
        return nothing_asked(into)
    if HALF_ENCODED.search(raw):
        raise Invalid("The query is malformed.")
    try:
        pairs = parse_qsl(
            raw.decode("ascii"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=MOST_PARAMETERS,
        )
    except ValueError as error:
        raise Invalid("The query is malformed.") from error
    parameters: dict[str, str] = {}
    for name, text in pairs:
        if name in parameters:
            raise Invalid("This parameter is given twice.", f"/{escape(name)}")
        if has_control(text):
            raise Invalid("Control characters are in nothing that we have.", f"/{escape(name)}")
        if name in whole_numbers(into) and not WHOLE.fullmatch(text):
            raise Invalid("Expected a whole number.", f"/{name}")
        if text not in choices(into).get(name, (text,)):
            raise Invalid(f"Expected {' or '.join(choices(into)[name])}.", f"/{name}")
        parameters[name] = text
    return convert(parameters, into)


@cache
def nothing_asked(into: type) -> Any:
    return convert({}, into)


@cache
def whole_numbers(into: type) -> frozenset[str]:
    """A query's parameters of that kind: the decoder would take "1.0" and "1e1" for them."""
    return frozenset(
        name for name, kind in parameters_of(into) if isinstance(kind, msgspec.inspect.IntType)
    )


@cache
def choices(into: type) -> dict[str, tuple[str, ...]]:
    """A query's parameters that take one of a few words: the decoder would not tell which."""
    return {
        name: tuple(map(str, kind.values))
        for name, kind in parameters_of(into)
        if isinstance(kind, msgspec.inspect.LiteralType)
    }


def parameters_of(into: type) -> Iterator[tuple[str, msgspec.inspect.Type]]:
    """Each by its name, once for each kind that it may be of."""
    found: Any = msgspec.inspect.type_info(into)
    for field_ in found.fields:
        yield from ((field_.encode_name, kind) for kind in kinds_of(field_.type))


def kinds_of(kind: msgspec.inspect.Type) -> Iterator[msgspec.inspect.Type]:
    match kind:
        case msgspec.inspect.Metadata(type=inner):
            yield from kinds_of(inner)
        case msgspec.inspect.UnionType(types=kinds):
            for one in kinds:
                yield from kinds_of(one)
        case _:
            yield kind


def convert(parameters: Mapping[str, str], into: type) -> Any:
    try:
        return msgspec.convert(parameters, into, strict=False)
    except msgspec.ValidationError as error:
        raise invalid(error, "parameter") from error


@lru_cache(100)  # asked of every body, mostly of one and the same
def is_json(content_type: str | None) -> bool:
    """Whether a body is said to be JSON, in UTF-8 where it says in what."""
    media, *parameters = (part.strip().lower() for part in (content_type or "").split(";"))
    charsets = {part[8:].strip('"') for part in parameters if part.startswith("charset=")}
    return media == "application/json" and charsets <= {"utf-8", "utf8"}
