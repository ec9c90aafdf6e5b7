"""The same schedules where rating and event are two writes, and relays bring the one to the other.

Time matters here: buckets close, leases end, rows show up late, and clocks that should agree are a
second apart. What is cut in half stays so until a relay sweeps its bucket.
"""

from collections.abc import Callable, Coroutine, Iterable
from functools import partial
from typing import Any

from marquee.errors import StoreAway
from marquee.model import NEVER, REMOVED, Applied, Erasure, slot_of
from marquee.ports import Intent
from marquee.promises import Promises
from marquee.relay import AHEAD, MINUTE, WHOLE_EVERY, WINDOW, Relay, Shard
from tests.simulator.ledger import NOT_YET, Broken, Operation
from tests.simulator.outbox import IntentDisk, TimedOut
from tests.simulator.processes import WHOLE, Parts, Process, Task, point
from tests.simulator.simulator import HAPPENINGS, Simulator
from tests.simulator.stores import Now

SECOND = 1_000_000
PAUSE = "a pause"
DRAWN_OUT = [round(SECOND * seconds) for seconds in (0.5, 2, 7, 20, 28, 40, 70, 130, 200)]


async def pause(seconds: float) -> None:
    await point(PAUSE)


class Distributed(Simulator):
    skews = (0, 0, SECOND, -SECOND)
    eventful = 0.08
    rating_disk: IntentDisk

    def __init__(self, seed: int, parts: Parts = WHOLE, *, loud: bool = False) -> None:
        self.passed = 0
        self.log_away_until = 0
        self.names = 0
        super().__init__(seed, parts, loud=loud)
        self.passed = self.random.choice((0, 38_000_000, 39_990_000, 45_000_000))
        self.relays = [Process(f"relay-{n}", self._relay) for n in range(2)]
        self.waiter = Process("waiter", lambda _: None)
        self.workers = [*self.aggregators, *self.refreshers, *self.readers, *self.relays * 6]
        self.failed: list[tuple[int, Operation]] = []
        self.erasures: list[tuple[Operation, int]] = []
        self.restored = 0
        self.awaited: dict[Task, tuple[int, list[tuple[str, str | None, Applied]]]] = {}

    def now(self) -> int:
        return super().now() + self.passed

    def _rating_disk(self) -> IntentDisk:
        return IntentDisk(now=self.now, shards=self.random.choice((1, 1, 2, 3)))

    # ---- the processes -------------------------------------------------------------------------

    def _rating_store(self, now: Now) -> Any:
        store = self.parts.two_step_store(self.rating_disk, now, point)
        store.random = self.random
        return store

    def _outbox(self) -> Any:
        return self.parts.outbox(self.rating_disk, point, page=3)

    def _relay(self, process: Process) -> Relay:
        self.names += 1
        topic = self.parts.topic(self.log_disk, point)
        topic.random = self.random
        topic.is_away = lambda: self.now() < self.log_away_until
        return self.parts.relay(
            self._outbox(),
            topic,
            f"{process.name}, {self.names}",
            clock=lambda: self.now() / SECOND,
            pause=pause,
        )

    def _promises(self, process: Process) -> Promises:
        aggregator = self._aggregator(process)
        totals = aggregator._totals
        drain = partial(self.parts.arrive, self._outbox(), aggregator._events, totals, pause)
        return self.parts.promises(self._rating_store(self.now), totals, drain)

    def _step_of(self, process: Process) -> tuple[str, Coroutine[Any, Any, Any]]:
        stage = process.stage
        if not isinstance(stage, Relay):
            return super()._step_of(process)
        turn = self.dice()
        if turn < 0.25 or not stage.shards:
            return "attends", stage.attend()
        shard = self._pick(list(stage.shards.values()))
        if turn < 0.65:
            return f"polls {shard.number}", stage.poll(shard)
        return f"sweeps {shard.number}", stage.sweep(shard)

    # ---- the schedule --------------------------------------------------------------------------

    def step(self) -> None:
        super().step()
        while self.failed and self.failed[0][0] < self.now():
            self.failed.pop(0)[1].ended = self.steps

    def happen(self) -> None:
        self._pick(EVERYTHING)(self)

    def relay(self) -> None:
        self.work(self._pick(self.relays))

    def relay_in_peace(self) -> None:
        """One relay has all the time that it needs, and somebody else a little."""
        process = self._pick(self.relays)
        self._let(process, process.stage.attend())
        for shard in list(process.stage.shards.values()):
            for step in (process.stage.poll, process.stage.sweep):
                if self.dice() < 0.2:
                    self.erase()
                while self._let(process, step(shard)):
                    pass

    def _let(self, process: Process, coroutine: Coroutine[Any, Any, Any]) -> Any:
        beside = self.running[-1] if self.running else None
        task = self.start(process, "goes on", coroutine)
        while task in self.running:
            self.steps += 1
            self.resume(beside if beside in self.running and self.dice() < 0.5 else task)
        return task.result

    def cut(self) -> None:
        """A call comes so far, and no farther; or it goes on when nobody thinks of it any more."""
        before = len(self.running)
        if self.frozen and self.dice() < 0.4:
            self.wake()
        else:
            self._pick(
                (Distributed.rate, Distributed.rate, Distributed.erase, Distributed.import_file)
            )(self)
        if len(self.running) == before:
            return
        task = self.running[-1]
        for _ in range(2 + int(self.dice() * 10)):
            self.resume(task)
            if task not in self.running:
                return
        if self.dice() < 0.5:
            self.freeze(task)
        else:
            self.crash(task.process)

    def _failure(self) -> StoreAway:
        return super()._failure() if self.dice() < 0.5 else TimedOut("nobody knows")

    def _ended(self, operation: Operation) -> int:
        """What was cut in half is completed minutes later, with the version that it had: above that
        of a call which came soon after, on a slower clock, or after a date in the future."""
        user_id = operation.user_id
        rated = self.rating_disk.ratings.get(user_id, {})
        versions = [word.version for word in (*rated.values(), *(operation.changes or {}).values())]
        if max(versions, default=0) <= self.now() + SECOND >= self.rating_disk.erased(user_id):
            self.failed.append((self.now() + 2 * SECOND, operation))
        return NOT_YET

    def end(self, task: Task, result: Any, *, failed: bool = False, refused: bool = False) -> None:
        super().end(task, result, failed=failed, refused=refused)
        if task.operation and isinstance(result, Erasure):
            self.erasures.append((task.operation, result.version))
        if task in self.awaited:
            restored, told = self.awaited.pop(task)
            if not failed and restored == self.restored:
                self._check_arrived(told)

    def restore(self) -> None:
        super().restore()
        self.restored += 1

    def pass_time(self) -> None:
        passes = self._pick(DRAWN_OUT)
        self.say(f"{passes / SECOND} s pass")
        self.passed += passes

    def land(self) -> None:
        """A write that timed out is done after all."""
        if self.rating_disk.on_their_way:
            number = int(self.dice() * len(self.rating_disk.on_their_way))
            write = self.rating_disk.on_their_way.pop(number)
            self.say("done after all:", write)
            write()

    def lose_log(self) -> None:
        self.log_away_until = self.now() + self._pick(DRAWN_OUT)
        self.say(f"the log is away until {self.log_away_until}")

    def await_arrival(self) -> None:
        if not self.waiter.tasks:
            self._await_arrival()

    def _await_arrival(self) -> Task:
        told: list[tuple[str, str | None, Applied]] = [
            (operation.user_id, None, Applied(version, REMOVED))
            for operation, version in self.erasures
        ]
        for operation in self.ledger.operations:
            if operation.acknowledged and not operation.is_import:
                changes = (operation.changes or {}).items()
                told += [(operation.user_id, movie_id, word) for movie_id, word in changes]
        task = self.start(self.waiter, "waits for all to arrive", self.keeper.stage._drain())
        self.awaited[task] = self.restored, told
        return task

    # ---- the end -------------------------------------------------------------------------------

    def relay_all(self) -> None:
        """One relay survives, and takes all shards when the leases of the others have ended."""
        self.log_away_until = 0
        self.waiting = self._await_arrival()
        self._wait_on(self.waiting)
        goal = (self.now() + AHEAD) // MINUTE
        survivor = self._pick(self.relays)
        while self.rating_disk.on_their_way and self.dice() < 0.7:
            self.land()
        for _ in range(40):
            for passes in (0, WHOLE_EVERY):  # what is late is looked for now and then
                self.passed += passes
                self._to_the_end(survivor, survivor.stage.attend())
                for shard in survivor.stage.shards.values():
                    while self._to_the_end(survivor, survivor.stage.poll(shard)):
                        pass
            for shard in list(survivor.stage.shards.values()):
                self._check_relayed(shard)
                while self._to_the_end(survivor, survivor.stage.sweep(shard)):
                    pass
            if min(self.rating_disk.swept) >= goal:
                break
            self._wait_on(self.waiting)
            self.passed += self.random.choice((10, 70, 130)) * SECOND
        else:
            raise Broken(f"{survivor.name} never has all buckets swept")
        while self.rating_disk.on_their_way:
            self.land()

    def _wait_on(self, task: Task) -> None:
        """Until the next pause."""
        while task in self.running:
            self.resume(task)
            if task.at == PAUSE:
                return

    def check(self) -> None:
        for _ in range(20):
            self._wait_on(self.waiting)
        if self.waiting in self.running:
            raise Broken("all has arrived, and one still waits for it")
        super().check()
        for user_id, rated in self.rating_disk.ratings.items():
            erased = self.rating_disk.erased(user_id)
            if any(word.version <= erased for word in rated.values()):
                raise Broken(f"{user_id} was erased up to {erased}, and has {rated}")

    def _check_relayed(self, shard: Shard) -> None:
        """What stood soon after it was sent is in the log, without a sweep."""
        if not self.keeps_log:
            return
        for intent in self._intents(shard):
            movie_id = intent.rating.movie_id
            if (
                movie_id
                and self._event(intent)
                not in self.log_disk.partitions[slot_of(movie_id, len(self.log_disk.partitions))]
            ):
                raise Broken(f"{intent} was never relayed")

    def _intents(self, shard: Shard) -> Iterable[Intent]:
        for (number, minute), rows in self.rating_disk.buckets.items():
            if number == shard.number and minute > shard.swept:
                yield from (row for row, stood in rows.items() if stood - row.sent_at <= WINDOW)

    def _event(self, intent: Intent) -> Any:
        return self._outbox().event(intent.rating)

    def _check_arrived(self, told: list[tuple[str, str | None, Applied]]) -> None:
        """What was acknowledged before the wait is in the totals after it."""
        rater = self._rating_store(self.now).rater
        for user_id, movie_id, word in told:
            pairs = self.movie_disk.applied.items()
            if movie_id:
                applied = self.movie_disk.applied.get((movie_id, rater(user_id)), NEVER)
                if applied < word:
                    raise Broken(f"{user_id}'s {word} of {movie_id} is awaited, not {applied}")
            elif any(
                pair[1] == rater(user_id) and stands.value != REMOVED and stands[0] <= word.version
                for pair, stands in pairs
            ):
                raise Broken(f"{user_id} was erased up to {word.version}, but not in {pairs}")


EVERYTHING: list[Callable[[Distributed], None]] = [
    *HAPPENINGS,
    *[Distributed.pass_time] * 16,
    *[Distributed.land] * 4,
    *[Distributed.lose_log] * 2,
    *[Distributed.relay_in_peace] * 8,
    *[Distributed.cut] * 8,
    *[Distributed.await_arrival] * 2,
]
