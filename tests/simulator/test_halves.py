"""Where a rating and its event are two writes: every call cut, or frozen, between any two of its
statements, and any two calls in every order of theirs. Totals end as the ratings say."""

from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from functools import partial
from itertools import combinations, product
from random import Random
from typing import Any

import pytest

from marquee.errors import StoreAway
from marquee.model import REMOVED, Rating, RatingChanged, latest
from marquee.ports import Intent
from tests.simulator.distributed_mutants import MUTANTS
from tests.simulator.ledger import Broken
from tests.simulator.outbox import MINUTE, IntentDisk
from tests.simulator.processes import WHOLE, Crash, Parts, point
from tests.simulator.stores import LogDisk

pytestmark = pytest.mark.no_cover

START = 1_700_000_000_000_000
SECOND = 1_000_000
LONG_AGO = START - 1_000_000 * SECOND
MOST = 15
"""Statements of a call, at most."""

Call = Coroutine[Any, Any, Any]


class Coin(Random):
    """Always falls on one side."""

    def __init__(self, side: float) -> None:
        super().__init__()
        self.side = side

    def random(self) -> float:
        return self.side


class Scene:
    """A store, a log, and between them a relay when there is to be one. ``side``: of what is done
    at once, which comes first."""

    def __init__(self, parts: Parts, side: float = 0) -> None:
        self.now = START
        self.parts = parts
        self.side = side
        self.disk = IntentDisk(now=self.time, shards=1)
        self.log = LogDisk()
        self.outbox = parts.outbox(self.disk, point)
        self.relays = 0

    def time(self) -> int:
        self.now += 1
        return self.now

    def store(self, ahead: int = 0) -> Any:
        """As a process of its own has it, with a clock that is so far ahead."""
        store = self.parts.two_step_store(self.disk, lambda: self.time() + ahead, point)
        store.random = Coin(self.side)
        return store

    def relay(self) -> Any:
        self.relays += 1
        topic = self.parts.topic(self.log, point)
        topic.random, topic.is_away = Coin(1), lambda: False
        clock = lambda: self.now / SECOND  # noqa: E731
        name = f"relay {self.relays}"
        return self.parts.relay(self.outbox, topic, name, clock=clock, pause=pause)

    def sweep(self) -> None:
        """Minutes later, all is followed and swept."""
        self.follow()
        self.now += 4 * MINUTE
        relay = self.relay()
        finish(relay.attend())
        for shard in relay.shards.values():
            while finish(relay.sweep(shard)):
                pass
        finish(relay.leave())

    def follow(self) -> None:
        relay = self.relay()
        finish(relay.attend())
        for shard in relay.shards.values():
            while finish(relay.poll(shard)):
                pass
        finish(relay.leave())

    def check(self) -> None:
        self.sweep()
        self.sweep()  # a sweep may send, too
        events = [event for event in self.log.partitions[0] if isinstance(event, RatingChanged)]
        told = {pair: word for pair, word in latest(events).items() if word.value != REMOVED}
        rater = self.store().rater
        stands = {(movie, rater(user)): word for (user, movie), word in self.disk.current().items()}
        if told != stands:
            raise Broken(f"told is {told}, and stored {stands}")
        for user_id, rated in self.disk.ratings.items():
            erased = self.disk.erased(user_id)
            if any(word.version <= erased for word in rated.values()):
                raise Broken(f"{user_id} is erased up to {erased}, and has {rated}")


async def pause(seconds: float) -> None:
    """Nobody waits here."""


def advance(call: Call, statements: int = 1) -> bool:
    """Do so many statements of a call; whether there are more. The first time: one less."""
    try:
        for _ in range(statements if call.cr_frame else 0):
            while not call.send(None).endswith("before"):
                pass
    except (StopIteration, StoreAway):
        return False
    return call.cr_frame is not None


def finish(call: Call) -> Any:
    try:
        while call.cr_frame:
            call.send(None)
    except StopIteration as end:
        return end.value


def kill(call: Call) -> None:
    with suppress(Crash, StopIteration):
        if call.cr_frame:
            call.throw(Crash())


# ---- cut ---------------------------------------------------------------------------------------


async def erase_and_write(store: Any) -> None:
    await store.erase("u")
    await store.write("u", "b", 3)


async def nothing(store: Any) -> None:
    """Nobody does anything."""


CALLS: dict[str, Callable[[Any], Call]] = {
    "a write": lambda store: store.write("u", "b", 7),
    "a removal": lambda store: store.write("u", "a", REMOVED),
    "an import": lambda store: store.merge([Rating("u", movie, 9, LONG_AGO + 5) for movie in "ab"]),
    "an erasure": lambda store: store.erase("u"),
}
MEANWHILE = {"nothing": nothing, "erase and write": erase_and_write, **CALLS}


def cut(call: str, parts: Parts) -> None:
    """A call that stops after so many statements, is forgotten for minutes, and maybe goes on."""
    for statements, meanwhile, more, side in product(
        range(1, MOST), MEANWHILE.values(), (0, 1, 2, MOST), (0, 1)
    ):
        scene = Scene(parts, side)
        finish(scene.store().merge([Rating("u", "a", 2, LONG_AGO)]))
        scene.sweep()
        frozen = CALLS[call](scene.store())
        going_on = advance(frozen, statements)
        scene.sweep()
        finish(meanwhile(scene.store()))
        scene.sweep()
        if going_on:
            advance(frozen, more)
        kill(frozen)
        scene.check()


@pytest.mark.parametrize("call", CALLS)
def test_cut_anywhere_and_frozen_for_minutes(call: str) -> None:
    cut(call, WHOLE)


def cut_again(first: str, second: str, parts: Parts) -> None:
    """A call that dies after so many statements, and the next one, too: one sweep sees both."""
    for *statements, side in product(range(1, MOST), range(1, MOST), (0, 1)):
        scene = Scene(parts, side)
        finish(scene.store().merge([Rating("u", "a", 2, LONG_AGO)]))
        scene.sweep()
        for name, number in zip((first, second), statements, strict=True):
            call = CALLS[name](scene.store())
            advance(call, number)
            kill(call)
        scene.check()


@pytest.mark.parametrize("second", CALLS)
@pytest.mark.parametrize("first", CALLS)
def test_cut_and_cut_again(first: str, second: str) -> None:
    cut_again(first, second, WHOLE)


# ---- side by side ------------------------------------------------------------------------------


def orders(first: int, second: int) -> Iterator[list[int]]:
    """Every order of so many steps of one and so many of another."""
    for places in combinations(range(first + second), first):
        yield [0 if step in places else 1 for step in range(first + second)]


def length(call: Call) -> int:
    steps = 0
    while advance(call):
        steps += 1
    return steps


Pair = Callable[[Scene], tuple[Call, Call]]


def half_done(scene: Scene) -> Intent:
    """A rating that stands, and one of which there is only the intent, in a bucket that is due."""
    finish(scene.store().merge([Rating("u", "a", 2, LONG_AGO)]))
    scene.sweep()
    call = scene.store().write("u", "b", 7)
    while not any(minute > scene.disk.swept[0] for _, minute in scene.disk.buckets):
        advance(call)
    kill(call)
    scene.follow()
    scene.now += 4 * MINUTE
    swept = scene.disk.swept[0]
    (intent,) = (row for (_, at), rows in scene.disk.buckets.items() for row in rows if at > swept)
    return intent


async def sweep(scene: Scene, intent: Intent) -> None:
    """The only one that its bucket sees."""
    for event in await scene.outbox.settle([intent]):
        scene.log.publish(event)
    scene.disk.swept[0] = intent.sent_at // MINUTE


def swept_beside(other: str, scene: Scene) -> tuple[Call, Call]:
    intent = half_done(scene)
    return sweep(scene, intent), CALLS[other](scene.store())


def called_beside(first: str, second: str, scene: Scene) -> tuple[Call, Call]:
    finish(scene.store().merge([Rating("u", "a", 2, LONG_AGO)]))
    return CALLS[first](scene.store()), CALLS[second](scene.store())


PAIRS: dict[str, Pair] = {
    **{f"a sweep, {other}": partial(swept_beside, other) for other in CALLS},
    **{
        f"{first}, {second}": partial(called_beside, first, second)
        for first, second in (
            ("a write", "an erasure"),
            ("a removal", "an erasure"),
            ("a removal", "an import"),
        )
    },
}


def side_by_side(pair: str, parts: Parts) -> None:
    """Every order of the statements of two calls."""
    first, second = map(length, PAIRS[pair](Scene(parts)))
    for order in orders(first, second):
        scene = Scene(parts)
        calls = PAIRS[pair](scene)
        for call in calls:
            advance(call)
        for which in order:
            advance(calls[which])
        for call in calls:
            finish(call)
        scene.check()


@pytest.mark.parametrize("pair", PAIRS)
def test_in_every_order(pair: str) -> None:
    side_by_side(pair, WHOLE)


# ---- versions ----------------------------------------------------------------------------------


def dated_ahead(parts: Parts) -> None:
    """A rating from the future makes nobody else's later, not even one that is cut in half."""
    for statements in range(1, MOST):
        scene = Scene(parts)
        one, other = scene.store(), scene.store()
        finish(one.merge([Rating("u", "a", 2, START + 60 * MINUTE)]))
        finish(one.write("u", "a", 3))
        call = one.write("v", "b", 7)
        advance(call, statements)
        kill(call)
        scene.now += 5 * SECOND
        told = finish(other.write("v", "b", 4))
        scene.check()
        stands = scene.disk.current()["v", "b"]
        if stands != (told.version, told.value):
            raise Broken(f"{told} was told, and {stands} stands")


def test_dated_ahead() -> None:
    dated_ahead(WHOLE)


FOUND = {
    "RatesFirst": partial(cut, "a write"),
    "TakesAnyTime": partial(cut, "a write"),
    "LeavesHalves": partial(cut, "a write"),
    "ErasesWithoutIntent": partial(cut, "an erasure"),
    "ErasesInSilence": partial(cut, "an erasure"),
    "SettlesNoErasure": partial(cut, "an erasure"),
    "SettlesTheNewestAlone": partial(cut_again, "an erasure", "an erasure"),
    "ErasesWhatWasDeclined": partial(cut, "an erasure"),
    "ReadsNothingBack": partial(side_by_side, "a sweep, an erasure"),
    "SeesNoErasure": partial(side_by_side, "a sweep, an erasure"),
    "DatesEverybodyAhead": dated_ahead,
}


@pytest.mark.parametrize("mutant", FOUND)
def test_what_is_broken_on_purpose_is_found(mutant: str) -> None:
    with pytest.raises(Broken) as found:
        FOUND[mutant](MUTANTS[mutant])
    print(f"{mutant}: {found.value}"[:200])
