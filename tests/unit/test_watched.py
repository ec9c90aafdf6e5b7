"""A store's calls, counted and timed: the store itself hears and says what it would without."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import contextmanager
from typing import Protocol

import pytest
from prometheus_client.parser import text_string_to_metric_families

from marquee.errors import NotFound, StoreAway
from marquee.http.metrics import Metrics
from marquee.tracing import UNTRACED, Untraced
from marquee.wiring.watched import Watched


class Port(Protocol):
    async def write(self, value: int) -> int: ...

    async def poll(self) -> None: ...

    def scan(self, pages: int) -> AsyncIterator[list[int]]: ...

    def plain(self) -> str: ...


class Store:
    closed = False

    async def write(self, value):
        if isinstance(value, BaseException):
            raise value
        return value + 1

    async def poll(self):
        return None

    async def scan(self, pages):
        try:
            for page in range(pages):
                if page == 3:
                    raise StoreAway("gone")
                yield [page]
        finally:
            self.closed = True

    def plain(self):
        return "as it is"


class Noting(Untraced):
    def __init__(self):
        self.steps_taken = []

    @contextmanager
    def step(self, name):
        self.steps_taken.append(name)
        yield


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def store(metrics):
    return Watched(Store(), Port, "ratings", metrics, UNTRACED)


def told(metrics, name, **labels):
    text = metrics.exposition(None)[0].decode()
    samples = [s for f in text_string_to_metric_families(text) for s in f.samples]
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())


async def test_a_call_is_what_it_was_and_is_counted(store, metrics):
    assert await store.write(1) == 2
    assert store.plain() == "as it is"
    assert told(metrics, "marquee_store_seconds_count", store="ratings", call="write") == 1
    assert told(metrics, "marquee_store_errors_total") == 0


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (StoreAway("gone"), "away"),
        (RuntimeError("a fault"), "failed"),
        (asyncio.CancelledError(), "cut"),
    ],
    ids=["away", "failed", "cut"],
)
async def test_what_fails_is_counted_by_its_kind(store, metrics, error, kind):
    with pytest.raises(type(error)):
        await store.write(error)
    labels = {"store": "ratings", "call": "write"}
    assert told(metrics, "marquee_store_errors_total", **labels, error=kind) == 1
    assert told(metrics, "marquee_store_errors_total") == 1
    assert told(metrics, "marquee_store_seconds_count", **labels) == 1


async def test_a_no_is_no_failure(store, metrics):
    with pytest.raises(NotFound):
        await store.write(NotFound("There is none."))
    assert told(metrics, "marquee_store_errors_total") == 0


async def test_waiting_is_no_call(store, metrics):
    await store.poll()
    assert told(metrics, "marquee_store_seconds_count") == 0


async def test_each_page_is_a_call(store, metrics):
    assert [page async for page in store.scan(2)] == [[0], [1]]
    assert told(metrics, "marquee_store_seconds_count", call="scan") == 3  # and the end
    with pytest.raises(StoreAway):
        [page async for page in store.scan(9)]
    assert told(metrics, "marquee_store_errors_total", call="scan", error="away") == 1


async def test_who_stops_reading_lets_go_of_the_store(metrics):
    inner = Store()
    pages = Watched(inner, Port, "ratings", metrics, UNTRACED).scan(2)
    await anext(pages)
    await pages.aclose()
    assert inner.closed


async def test_where_something_is_traced_each_is_a_step(metrics):
    tracer = Noting()
    store = Watched(Store(), Port, "ratings", metrics, tracer)
    await store.write(1)
    assert tracer.steps_taken == ["ratings write"]
    assert told(metrics, "marquee_store_seconds_count", call="write") == 1
