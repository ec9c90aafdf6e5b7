"""What stands in the log, and what never does: a hundred thousand lines of a load in which all
goes right and wrong that can, through the whole app and the log as it is set up."""

import asyncio
import io
import itertools
import json
import logging
import random
import re
from collections import Counter
from dataclasses import replace

import pytest

from marquee import config, logs
from marquee.wiring import HTTP_ROLES, Marquee, open_stores, own_keys
from tests.support.commands import logging_as_it_was

LINES = 100_000
USERS = 300
AT_ONCE = 64


@pytest.fixture
def log():
    """Where all loggers write to, as they would to stderr, for as long as a test."""
    stream = io.StringIO()
    with logging_as_it_was():
        logs.configure("json", "info", stream)
        yield stream


class Asking:
    """Asks an app without a socket between them."""

    def __init__(self, app):
        self._app = app
        self.statuses = Counter()

    async def __call__(self, method, path, token="", body=b"", query=b""):
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        if token:
            headers.append((b"authorization", f"Bearer {token}".encode()))
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive():
            return messages.pop() if messages else {"type": "http.disconnect"}

        async def send(message):
            if message["type"] == "http.response.start":
                self.statuses[message["status"]] += 1

        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query,
            "headers": headers,
            "client": ("192.0.2.77", 1),
        }
        await self._app(scope, receive, send)


def calls(movies, people, dice):
    """Without an end: what people do, and what they get wrong."""
    while True:
        user, token = dice.choice(people)
        movie = dice.choice(movies)
        own = f"/movies/{movie}/users/rate"
        for_one = f"/movies/{movie}/ratings"
        body = json.dumps({"userId": user, "ratingScore": 7}).encode()
        yield "GET", own, token
        yield "POST", own, token, b'{"rate": 9.5}'
        yield "POST", own, token, b'{"rate": "a secret that is no number"}'
        yield "POST", own, token[:-5], b'{"rate": 9}'
        yield "POST", own, "", b'{"rate": 9}'
        yield "POST", for_one, token, body
        yield "POST", for_one, dice.choice(people)[1], body
        yield "GET", "/users/me/ratings", token, b"", f"cursor={token}".encode()
        yield "GET", f"/{user}/{token}", token
        yield "GET", "/movies", "", b"", f"query={user}".encode()
        yield "GET", own, token
        yield "DELETE", own, "eyJ.eyJ.x"


class Quoting:
    """A store that fails now and then, as a driver may: its error quotes what it was given."""

    def __init__(self, store):
        self._store = store
        self._writes = itertools.count(1)

    def __getattr__(self, name):
        return getattr(self._store, name)

    async def write(self, user_id, movie_id, value):
        if next(self._writes) % 500 == 0:
            raise RuntimeError(f"could not bind ({user_id!r}, {movie_id}, {value})")
        return await self._store.write(user_id, movie_id, value)


async def load(folder, lines, **more):
    """Have so many calls answered; who made them, and how many answers had which status."""
    found = config.load({"data": folder, "rate_limit": "off", **more}, {})
    async with open_stores(found, make=True) as stores:
        failing = replace(stores, ratings=Quoting(stores.ratings))
        marquee = Marquee(found, failing, HTTP_ROLES)
        await marquee.start()
        keys, dice = own_keys(found), random.Random(5)
        names = [f"person{n:04}@{dice.getrandbits(48):012x}" for n in range(USERS)]
        people = [(n, keys.sign(n, (), 3600, "marquee", "marquee")) for n in names]
        ask = Asking(marquee.app())
        editor = keys.sign("editor", ("movies:write",), 3600, "marquee", "marquee")
        movies = [f"m{n}" for n in range(50)]
        for movie in movies:
            await ask("PUT", f"/movies/{movie}", editor, b'{"title": "T"}')
        left = itertools.islice(calls(movies, people, dice), lines)

        async def work():
            for call in left:
                await ask(*call)

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        await asyncio.sleep(2 * logs.GATHER)  # the last lines gather for so long
        await marquee.stop()
    return people, ask.statuses


@pytest.mark.parametrize("user", ["corp\\ann", "both ' and \" ann", "ann\u200b", "ann"])
def test_a_user_is_hidden_however_it_is_quoted(user, log):
    error = RuntimeError(f"could not bind {user!r}: {user}")
    logging.getLogger("calls").error("a call failed", exc_info=error, extra={"users": {user}})
    assert "could not bind '***': ***" in log.getvalue().replace('\\"', "'")
    assert "ann" not in log.getvalue()


@pytest.mark.no_cover
async def test_no_token_and_no_user_in_a_hundred_thousand_lines(tmp_path, log):
    people, statuses = await load(tmp_path, LINES)
    text = log.getvalue()
    lines = text.splitlines()
    assert len(lines) >= LINES
    assert {200, 201, 400, 401, 403, 404, 500} <= statuses.keys()
    assert text.count('"event":"a call failed"') == statuses[500] > 10
    assert "could not bind ('***', m" in text
    assert "eyJ" not in text
    found = set(re.findall(r"person\d+@[0-9a-f]+|a secret that is no number|192\.0\.2\.77", text))
    assert not found
    assert not [user for user, token in people if token[:40] in text or user in text]
    json.loads(lines[0])
    json.loads(lines[-1])


async def test_some_lines_are_left_out_and_no_failure_is(tmp_path, log):
    _, statuses = await load(tmp_path, 6000, log_share="0.1")
    told = Counter(json.loads(line).get("status") for line in log.getvalue().splitlines())
    for status, answers in statuses.items():
        if status >= 400:
            assert told[status] == answers
    went_well = sum(answers for status, answers in statuses.items() if status < 400)
    told_well = sum(number for status, number in told.items() if status and status < 400)
    assert 0.05 * went_well < told_well < 0.2 * went_well


def test_who_seldom_has_something_to_log_says_the_same(log):
    def line():
        log.seek(0)
        log.truncate()
        logging.getLogger("marquee.x").warning("said of %s", "eyJa.b.c")
        said = json.loads(log.getvalue())
        del said["timestamp"]
        return said

    at_once = line()
    logs.configure("json", "info", log, seldom=True)
    assert line() == at_once
    assert at_once["event"] == "said of ***"
