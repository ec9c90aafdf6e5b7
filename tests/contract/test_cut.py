"""Calls of the Cassandra rating store that are cut between any two of their statements, or freeze
there for minutes; and what the sweep makes of it: totals end as the store's ratings say."""

import asyncio
import itertools

import pytest

from marquee.adapters.cassandra import Cassandra, CassandraOutbox, CassandraRatings
from marquee.errors import StoreAway
from marquee.model import REMOVED, Rating, latest
from tests.support import cassandra as keyspaces

pytestmark = pytest.mark.servers

MINUTE = 60_000_000
LONG_AGO = 1_000_000_000_000_000
MOST_STEPS = 20


class Cut:
    """A keyspace that goes away from a call after so many statements, until it is woken."""

    def __init__(self, cassandra: Cassandra, steps: int) -> None:
        self._cassandra = cassandra
        self._left = steps
        self.done = 0
        self._woken = asyncio.Event()
        self.reached = asyncio.Event()
        self._slept = 0

    def __getattr__(self, name):
        return getattr(self._cassandra, name)

    def wake(self, steps: int, slept: int) -> None:
        """For so many statements more, after so many microseconds."""
        self._left, self._slept = steps, slept
        self.reached.clear()
        self._woken.set()

    def now(self):
        return self._cassandra.now() + self._slept

    async def execute(self, *args, **kwargs):
        await self._step()
        return await self._cassandra.execute(*args, **kwargs)

    async def compare_and_set(self, *args):
        await self._step()
        return await self._cassandra.compare_and_set(*args)

    async def pages(self, *args):
        await self._step()
        async for page in self._cassandra.pages(*args):
            yield page

    async def _step(self):
        while self._left == 0:
            self.reached.set()
            self._woken.clear()
            await self._woken.wait()
        self._left -= 1
        self.done += 1


@pytest.fixture
async def cassandra():
    async with keyspaces.emptied() as keyspace:
        yield keyspace


CALLS = {
    "write": lambda store, user: store.write(user, "b", 7),
    "remove": lambda store, user: store.write(user, "a", REMOVED),
    "write above another": lambda store, user: store.write(user, "ahead", 7),
    "import": lambda store, user: store.merge(
        [Rating(user, movie, 9, LONG_AGO + 5) for movie in ("a", "b", "ahead")]
    ),
    "erase": lambda store, user: store.erase(user),
}


async def nothing(store, user): ...


async def erase_and_write(store, user):
    await store.erase(user)
    await store.write(user, "b", 3)


MEANWHILE = {
    "nothing": nothing,
    "a write": lambda store, user: store.write(user, "b", 3),
    "an erasure": lambda store, user: store.erase(user),
    "an erasure and a write": erase_and_write,
}
STEPS_AFTER = {"dies": 0, "dies, its last statement late": 1, "wakes": MOST_STEPS}


@pytest.mark.parametrize("after", STEPS_AFTER)
@pytest.mark.parametrize("call", CALLS)
async def test_cut_anywhere_totals_follow_the_store(cassandra, call, after):
    begun = cassandra.now()
    store = CassandraRatings(cassandra)
    outbox = CassandraOutbox(cassandra, store)
    cuts, calls, others = [], [], []

    def begun_by(user):
        return [Rating(user, "a", 2, LONG_AGO), Rating(user, "ahead", 4, begun + 60 * MINUTE)]

    uncut = Cut(cassandra, MOST_STEPS)
    await store.merge(begun_by("uncut"))
    await CALLS[call](CassandraRatings(uncut), "uncut")
    for steps, meanwhile in itertools.product(range(uncut.done + 2), MEANWHILE):
        user = f"{steps}, {meanwhile}"
        await store.merge(begun_by(user))
        cuts.append(cut := Cut(cassandra, steps))
        calls.append(CALLS[call](CassandraRatings(cut), user))
        others.append(MEANWHILE[meanwhile](store, user))
    before = await sent(outbox, begun)
    told = await swept(outbox, before)

    calls = [asyncio.create_task(coroutine) for coroutine in calls]
    await ended(cuts, calls)
    assert not calls[0].done()
    assert calls[-1].done()

    await asyncio.gather(*others)
    seen = await sent(outbox, begun)
    told += await swept(outbox, [intent for intent in seen if intent not in set(before)])

    now = cassandra.now()
    if STEPS_AFTER[after]:
        for cut in cuts:
            cut.wake(STEPS_AFTER[after], slept=5 * MINUTE)
        await ended(cuts, calls)
    for task in calls:
        task.cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)

    # What came late into a bucket that was swept already is seen by nobody.
    later = [i for i in await sent(outbox, begun) if i not in set(seen) and i.sent_at >= now]
    told += await swept(outbox, later)
    await assert_totals_follow(told, store)
    assert all(is_an_answer(call, answer) for answer in answers)


async def test_two_erasures_that_are_cut_and_swept_together(cassandra):
    """Whatever became of the second, the first may have been decided."""
    begun = cassandra.now()
    store = CassandraRatings(cassandra)
    outbox = CassandraOutbox(cassandra, store)
    pairs = list(itertools.product(range(MOST_STEPS // 2), repeat=2))
    await store.merge([Rating(str(pair), "m", 7, LONG_AGO) for pair in pairs])
    before = await sent(outbox, begun)
    told = await swept(outbox, before)
    for erasure in (0, 1):
        cuts = [Cut(cassandra, steps[erasure]) for steps in pairs]
        calls = [
            asyncio.create_task(CassandraRatings(cut).erase(str(pair)))
            for pair, cut in zip(pairs, cuts, strict=True)
        ]
        await ended(cuts, calls)
        for task in calls:
            task.cancel()
    told += await swept(outbox, [i for i in await sent(outbox, begun) if i not in set(before)])
    await assert_totals_follow(told, store)


async def test_an_erasure_while_its_ratings_are_swept(cassandra):
    """The sweep of their bucket is the only one: it must tell what became of them."""
    begun = cassandra.now()
    store = CassandraRatings(cassandra)
    outbox = CassandraOutbox(cassandra, store)
    users = [str(steps) for steps in range(MOST_STEPS)]
    for user in users:
        await store.send(Rating(user, "m", 7, begun))
    halves = await sent(outbox, begun)
    cuts = [Cut(cassandra, int(intent.rating.user_id)) for intent in halves]
    sweeps = [
        asyncio.create_task(CassandraOutbox(cut, CassandraRatings(cut)).settle([intent]))
        for cut, intent in zip(cuts, halves, strict=True)
    ]
    await ended(cuts, sweeps)
    for user in users:
        await store.erase(user)
    for cut in cuts:
        cut.wake(MOST_STEPS, slept=0)
    told = [event for events in await asyncio.gather(*sweeps) for event in events]
    told += await swept(outbox, [i for i in await sent(outbox, begun) if i not in set(halves)])
    await assert_totals_follow(told, store)


async def test_from_its_receipt_on_an_erasure_shows(cassandra):
    """Also where it was cut before anything was deleted."""
    store = CassandraRatings(cassandra)
    cuts = [Cut(cassandra, steps) for steps in range(MOST_STEPS)]
    for steps in range(MOST_STEPS):
        await store.write(str(steps), "m", 7)
    calls = [
        asyncio.create_task(CassandraRatings(cut).erase(str(steps)))
        for steps, cut in enumerate(cuts)
    ]
    await ended(cuts, calls)
    shown = []
    for steps in range(MOST_STEPS):
        erased, stored = await store.stored(str(steps), ["m"])
        ratings = [rating async for page in store.scan(str(steps)) for rating in page]
        assert bool(erased) != bool(ratings)
        assert list(map(list, stored.items())) == [
            [r.movie_id, (r.version, r.value)] for r in ratings
        ]
        assert await store.page(str(steps), "", 5) == await store.pick(str(steps), ["m"]) == ratings
        again = await store.write(str(steps), "m", 7)
        assert again.version > erased
        shown.append(bool(erased))
    assert shown == sorted(shown)
    assert True in shown[: calls.index(next(task for task in calls if task.done()))]
    for task in calls:
        task.cancel()


async def test_the_receipt_of_an_erasure_is_kept_though_another_came_between(cassandra):
    store = CassandraRatings(cassandra)
    cuts = [Cut(cassandra, steps) for steps in range(MOST_STEPS)]
    calls = [
        asyncio.create_task(CassandraRatings(cut).erase(str(steps)))
        for steps, cut in enumerate(cuts)
    ]
    await ended(cuts, calls)
    decided = [(await store.stored(str(steps), []))[0] for steps in range(MOST_STEPS)]
    for steps, cut in enumerate(cuts):
        await store.erase(str(steps))
        cut.wake(MOST_STEPS, slept=0)
    answers = await asyncio.gather(*calls, return_exceptions=True)
    kept = {tuple(row) for row in await cassandra.execute("SELECT rater, version FROM erasure")}
    assert any(decided)
    for version, answer in zip(decided, answers, strict=True):
        if version:
            assert answer.version == version
            assert (answer.rater, version) in kept


async def assert_totals_follow(told, store):
    stands = {
        (rating.movie_id, store.rater(rating.user_id)): (rating.version, rating.value)
        async for page in store.scan()
        for rating in page
    }
    assert {p: change for p, change in latest(told).items() if change.value != REMOVED} == stands


async def ended(cuts, calls):
    """Each call has its answer, or came to its cut."""
    for cut, task in zip(cuts, calls, strict=True):
        waiting = asyncio.create_task(cut.reached.wait())
        await asyncio.wait([task, waiting], return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()


async def sent(outbox, begun):
    """Every intent there is."""
    return [
        intent
        for shard in range(len(await outbox.swept_to()))
        for minute in range(begun // MINUTE, begun // MINUTE + 10)
        async for page in outbox.intents(shard, minute)
        for intent in page
    ]


async def swept(outbox, intents):
    """The events of a relay that follows these intents, and then sweeps them."""
    ratings = [intent.rating for intent in intents if intent.rating.movie_id]
    return [outbox.event(rating) for rating in ratings] + list(await outbox.settle(intents))


def is_an_answer(call, answer):
    if isinstance(answer, StoreAway):
        return call == "erase"  # it had been decided that it never is
    return not isinstance(answer, BaseException) or isinstance(answer, asyncio.CancelledError)
