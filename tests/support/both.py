"""Two Marquees asked the same, which must answer the same: at once, or when both have followed."""

import json
import re
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn, TypeVar

import httpx

from tests.support.server import NO_TLS, Server

FOLLOWS = 60.0
"""Seconds within which what is derived follows; a busy machine gets more than is promised."""

COMPARED = ("content-type", "allow", "location", "etag", "www-authenticate", "cache-control")
"""Headers that are the same. An entity tag is one of the content."""

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")

T = TypeVar("T")
Who = tuple[str, ...]
"""A user, and the scopes of their token; () is anyone."""


class Said(NamedTuple):
    """An answer, without what may differ: times, and the bytes of cursors."""

    status: int
    headers: dict[str, str]
    body: Any


def said(answer: httpx.Response) -> Said:
    kept = {name: answer.headers[name] for name in COMPARED if name in answer.headers}
    body: Any = TIME.sub("(time)", answer.text)
    if "json" in answer.headers.get("content-type", ""):
        body = json.loads(body)
        if "nextCursor" in body:
            body["nextCursor"] = body["nextCursor"] is not None
    return Said(answer.status_code, kept, body)


class Side:
    """One Marquee: its processes by the role that answers a call, and whoever asks."""

    def __init__(self, name: str, roles: dict[str, Server]) -> None:
        self.name = name
        self._clients = {
            role: httpx.Client(base_url=server.url, timeout=30, verify=NO_TLS)
            for role, server in roles.items()
        }
        self._server = next(iter(roles.values()))
        self._tokens: dict[tuple[str, ...], dict[str, str]] = {}

    def ask(self, method: str, path: str, who: Who = (), **told: Any) -> httpx.Response:
        headers = told.pop("headers", {}) | (self._authorization(who) if who else {})
        client = self._clients[role_of(method, path)]
        return client.request(method, path, headers=headers, **told)

    def _authorization(self, who: Who) -> dict[str, str]:
        if who not in self._tokens:
            self._tokens[who] = self._server.authorization(*who)
        return self._tokens[who]

    def close(self) -> None:
        for client in self._clients.values():
            client.close()


def role_of(method: str, path: str) -> str:
    if path in {"/movies/top10", "/movies/top-rated"}:
        return "top-rated"
    if path == "/movies/bestpictures":
        return "best-pictures"
    own = path.startswith("/users/") or path.endswith("/users/rate")
    return "ratings" if own or (method == "POST" and path.endswith("/ratings")) else "movies"


class Both:
    """Both of them, asked the same."""

    def __init__(self, *sides: Side) -> None:
        self.sides = sides

    def ask(self, method: str, path: str, *who: str, late: Sequence[str] = (), **told: Any) -> Said:
        """What both answer, which is the same, but for what may be ``late``."""
        one, other = (said(side.ask(method, path, who, **told)) for side in self.sides)
        for name in late:
            one.body.pop(name, None)
            other.body.pop(name, None)
        print(method, path, *who, told or "", "->", one.status)
        if one != other:
            differ(one, other)
        return one

    def soon(
        self, path: str, *who: str, true: Callable[[Said], bool] = lambda _: True, **query: Any
    ) -> Said:
        """What both answer as soon as it is the same, and ``true``."""

        def look(side: Side) -> Said:
            return said(side.ask("GET", path, who, params=query))

        found = self._same(look, true, f"GET {path} {query or ''}")
        print("GET", path, query or "", "->", found.status)
        return found

    def pages(
        self, path: str, *who: str, limit: int, within: float = FOLLOWS, **query: Any
    ) -> list[Any]:
        """All pages of a list, the same ones as soon as they are."""

        def look(side: Side) -> list[Any]:
            return pages(side, path, who, query | {"limit": limit})

        found = self._same(look, lambda _: True, f"GET {path} {query or ''}", within)
        print("GET", path, *who, query or "", limit, "->", len(found), "pages")
        return found

    def _same(
        self,
        look: Callable[[Side], T],
        true: Callable[[T], bool],
        what: str,
        within: float = FOLLOWS,
    ) -> T:
        end = time.monotonic() + within
        while True:
            one, other = map(look, self.sides)
            if one == other and true(one):
                return one
            if time.monotonic() > end:
                differ(what, one, other)
            time.sleep(0.02)


def differ(*what: object) -> NoReturn:
    """Say so where it is seen, too: Hypothesis tries again, and may tell of another one."""
    told = "\n".join(map(str, what))
    print("DIFFERS", told)
    raise AssertionError(told)


def pages(side: Side, path: str, who: Who, query: dict[str, Any]) -> list[Any]:
    found = []
    while True:
        answer = side.ask("GET", path, who, params=query)
        assert answer.status_code == 200, answer.text
        found.append(said(answer).body["result"])
        query = query | {"cursor": answer.json()["nextCursor"]}
        if query["cursor"] is None:
            return found
