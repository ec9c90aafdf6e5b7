"""One seed, one schedule: the real stages over stores in memory, and everything that can go wrong.

No event loop. A stage's coroutine stops at each *point* of a store (see ``stores``); the simulator
holds them all and decides, by its seeded dice, who goes on, who dies there, who freezes and wakes
as a zombie, whose store is away, before the effect or after. In between, users rate and erase,
movies come and go, clocks jump, and the movie database is restored from an older copy.

Then all faults stop. One aggregator, whatever it went through, must drain the log, and all that
was promised is checked, against computations that share nothing with the code under test.
"""

import logging
from asyncio import CancelledError
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

from marquee.aggregation import Aggregator
from marquee.errors import NotFound, StoreAway
from marquee.events import encode
from marquee.model import PLAIN, REMOVED, Applied, Movie, Prior, Rating, RatingChanged
from marquee.ports import Poison
from marquee.promises import Promises
from marquee.ratings import Ratings
from marquee.toprated import Refresher, TopRated
from tests.simulator import checks
from tests.simulator.checks import SECRET
from tests.simulator.ledger import Broken, Ledger, Operation
from tests.simulator.processes import POISON, WHOLE, Parts, Process, Task, is_sound, kill, point
from tests.simulator.stores import (
    CacheDisk,
    LogDisk,
    MemoryCache,
    MemoryCatalogue,
    MemoryCharts,
    MemoryNotices,
    MemoryRatings,
    MovieDisk,
    Now,
    RatingDisk,
)

HOUR = 3_600_000_000
START = 1_700_000_000_000_000
FOLDED = "MemoryTotals.fold, after"


@contextmanager
def quiet() -> Iterator[None]:
    """The stages log what goes wrong; here that is everything."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


class Simulator:
    """``loud``: print the schedule. ``steps`` and ``events`` tell afterwards how long it was."""

    skews: Sequence[int] = (0, 0, HOUR, -HOUR)
    """How far the clock of a process that takes ratings may be off."""

    eventful = 0.12
    """The part of the steps in which something happens that is no stage's."""

    def __init__(self, seed: int, parts: Parts = WHOLE, *, loud: bool = False) -> None:
        self.random = random = Random(seed)
        self.dice = random.random
        self.parts = parts
        self.loud = loud
        self.steps = 0
        self.events = 0

        self.users = [f"user-{n}{SECRET}" for n in range(random.choice((1, 1, 2, 3)))]
        movies = random.choice((1, 1, 2, 3, 14))
        self.catalogue_of = {f"m{n}": self._movie(f"m{n}") for n in range(movies)}
        self.movie_ids = list(self.catalogue_of)
        self.rating_disk = self._rating_disk()
        self.movie_disk = MovieDisk(prior=random.choice((PLAIN, Prior(), Prior(3, 725))))
        self.movie_disk.movies.update(self.catalogue_of)
        self.log_disk = LogDisk(slots=random.choice((1, 1, 3)))
        self.cache_disk = CacheDisk()
        self.keeps_log = self.dice() < 0.7
        self.file_dates = (
            START + random.choice((-HOUR, 0, HOUR)),
            *random.choice(((), (0, START))),
        )
        self.backups: list[MovieDisk] = []
        self.movie_skew = 0
        self.movie_clock_floor = 0
        self.gone: dict[str, tuple[int, int]] = {}
        self.cached_at = 0
        self.dead: list[bytes] = []
        self.ledger = Ledger()

        self.notices = MemoryNotices()
        self.ratings = [Process(f"ratings-{n}", self._ratings) for n in range(2)]
        self.aggregators = [Process(f"aggregator-{n}", self._aggregator) for n in range(2)]
        self.refreshers = [Process(f"refresher-{n}", self._refresher) for n in range(2)]
        self.readers = [Process(f"reader-{n}", self._reader) for n in range(2)]
        self.keeper = Process("keeper", self._promises)
        self.workers = [*self.aggregators * 2, *self.refreshers, *self.readers]
        self.running: list[Task] = []
        self.frozen: list[Task] = []
        self.catalogue = MemoryCatalogue(self.movie_disk, point)

    # ---- the processes -------------------------------------------------------------------------

    def now(self) -> int:
        """The true time, in microseconds."""
        return START + 1000 * self.steps

    def _rating_disk(self) -> RatingDisk:
        return RatingDisk()

    def _movie_now(self) -> int:
        return max(self.now() + self.movie_skew, self.movie_clock_floor)

    def _ratings(self, process: Process) -> Ratings:
        process.skew = self.random.choice(self.skews)

        def now() -> int:
            return self.now() + process.skew

        catalogue = MemoryCatalogue(self.movie_disk, point)
        return self.parts.ratings(self._rating_store(now), catalogue, self.notices, known=2)

    def _rating_store(self, now: Now) -> MemoryRatings:
        return self.parts.rating_store(self.rating_disk, now, point)

    def _aggregator(self, process: Process) -> Aggregator:
        log = self.parts.log(self.log_disk, self.movie_disk, point, keeps=self.keeps_log)
        log.random = self.random
        totals = self.parts.totals(self.movie_disk, self._movie_now, point)
        return self.parts.aggregator(log, totals, MemoryNotices())

    def _promises(self, process: Process) -> Promises:
        totals = self.parts.totals(self.movie_disk, self._movie_now, point)
        drain = self._aggregator(process).drain
        return self.parts.promises(self._rating_store(self.now), totals, drain)

    def _charts(self) -> MemoryCharts:
        return self.parts.charts(self.movie_disk, self._movie_now, point)

    def _cache(self) -> MemoryCache:
        return self.parts.cache(self.cache_disk, point)

    def _refresher(self, process: Process) -> Refresher:
        return self.parts.refresher(self._charts(), self._cache(), MemoryNotices(), 1)

    def _reader(self, process: Process) -> TopRated:
        return self.parts.reader(self._charts(), self._cache(), MemoryNotices())

    # ---- the schedule --------------------------------------------------------------------------

    def run(self) -> None:
        """Raises ``Broken`` where a promise does not hold."""
        try:
            events = self.random.randint(20, 40)
            while self.events < events:
                self.step()
            self.calm_down()
            self.check()
        finally:
            for task in (*self.running, *self.frozen):
                kill(task)

    def step(self) -> None:
        self.steps += 1
        turn = self.dice()
        if turn < 0.66 and self.running:
            self.go_on(self._pick(self.running))
        elif turn < 0.76:
            self.relay()
        elif turn < 1 - self.eventful:
            self.work(self._pick(self.workers))
        else:
            self.events += 1
            self.happen()

    def _pick(self, among: Sequence[Any]) -> Any:
        return among[int(self.dice() * len(among))]

    def say(self, *words: object) -> None:
        if self.loud:
            print(f"{self.steps:5}", *words)

    def start(
        self,
        process: Process,
        label: str,
        coroutine: Coroutine[Any, Any, Any],
        operation: Operation | None = None,
    ) -> Task:
        task = Task(process, label, coroutine, operation)
        process.tasks.append(task)
        self.running.append(task)
        self.resume(task)
        return task

    def work(self, process: Process) -> None:
        """A worker's next step; now and then beside one that it has not ended yet."""
        if not process.tasks or (len(process.tasks) == 1 and self.dice() < 0.2):
            self.start(process, *self._step_of(process))

    def _step_of(self, process: Process) -> tuple[str, Coroutine[Any, Any, Any]]:
        return "step", process.stage.step()

    def go_on(self, task: Task) -> None:
        turn = self.dice()
        if turn < 0.92:
            self.resume(task)
        elif turn < 0.96:
            self.resume(task, self._failure())
        elif turn < 0.975:
            self.freeze(task)
        elif turn < 0.99:
            self.crash(task.process)
        elif task.operation is None:
            self.resume(task, CancelledError())

    def _failure(self) -> StoreAway:
        return StoreAway("a store is away")

    def resume(self, task: Task, error: BaseException | None = None) -> None:
        if self.loud:
            self.say(f"{task.process.name}: {task.label}, at {task.at}", repr(error or ""))
        try:
            if error is None:
                task.at = task.coroutine.send(None)
            else:
                if task.operation:
                    task.operation.on_trust = True
                task.at = task.coroutine.throw(error)
        except StopIteration as end:
            self.end(task, end.value)
        except NotFound:
            self.end(task, None, refused=True)
        except (StoreAway, CancelledError) as why:
            self.say(f"{task.process.name}: {task.label} fails: {why!r}")
            self.end(task, None, failed=True)
        except Exception as why:
            self.end(task, None, failed=True)
            raise Broken(f"{task.process.name} raised {why!r}") from why
        if task.at == FOLDED:
            checks.folded(self.movie_disk)

    def end(self, task: Task, result: Any, *, failed: bool = False, refused: bool = False) -> None:
        self.running.remove(task)
        task.process.tasks.remove(task)
        task.result = result
        operation = task.operation
        if operation is None:
            self._check_order(task.process)
            return
        operation.ended = self._ended(operation) if failed else self.steps
        operation.refused = refused
        operation.acknowledged = not failed and not refused
        if isinstance(result, Rating):
            self._check_answer(operation, result)
            operation.changes = {result.movie_id: Applied(result.version, result.value)}

    def _ended(self, operation: Operation) -> int:
        """From which step on nothing comes any more of an operation that failed."""
        return self.steps

    # ---- faults --------------------------------------------------------------------------------

    def freeze(self, task: Task) -> None:
        self.say(f"{task.process.name}: {task.label} freezes at {task.at}")
        self.running.remove(task)
        self.frozen.append(task)
        # Taken for dead: another takes its place, and it will wake as a zombie.
        if task.operation is None:
            task.process.tasks.remove(task)
            stage = task.process.stage
            zombie = Process(f"{task.process.name}, zombie", lambda _: stage)
            zombie.tasks.append(task)
            task.process.restart()
            task.process = zombie

    def wake(self) -> None:
        if self.frozen:
            task = self.frozen.pop(int(self.dice() * len(self.frozen)))
            self.say(f"{task.process.name}: {task.label} wakes")
            self.running.append(task)

    def crash(self, process: Process) -> None:
        self.say(f"{process.name} crashes")
        for task in process.tasks:
            kill(task)
            if task.operation:
                task.operation.ended = self._ended(task.operation)
            (self.frozen if task in self.frozen else self.running).remove(task)
        process.tasks.clear()
        process.restart()

    def jump(self) -> None:
        self.movie_skew = self.random.choice((0, HOUR, -HOUR))
        process = self._pick(self.ratings)
        process.skew = self.random.choice(self.skews)
        self.say(f"clocks jump: {process.name} {process.skew}, movies {self.movie_skew}")

    def back_up(self) -> None:
        self.say("the movie database is backed up")
        self.backups.append(self.movie_disk.copy())

    def restore(self) -> None:
        if not self.backups or not self.keeps_log:
            return
        self.say("the movie database is restored from a backup")
        # Readers take what is refreshed later: a restored clock must not be behind them.
        if self.movie_disk.ten:
            refreshed_at = self.movie_disk.ten.refreshed_at
            self.movie_clock_floor = max(self.movie_clock_floor, refreshed_at + 1)
        self.movie_disk.restore(self._pick(self.backups))
        self.gone.clear()

    def lose_cache(self) -> None:
        self.say("the cache is lost")
        self.cache_disk.chart = None
        self.cached_at = 0

    def poison(self) -> None:
        partition = int(self.dice() * len(self.log_disk.partitions))
        number = len(self.dead)
        if self.dice() < 0.5:
            raw = b"%d, no event" % number
            record: Poison | RatingChanged = Poison(raw, "broken")
        else:
            version, value = self.random.choice(((1, 0), (0, 5), (1, 22), (2**63, 5), (1, -1)))
            record = RatingChanged("m0", POISON + b"%8d" % number, version, value)
            raw = encode(record)
        self.dead.append(raw)
        self.say("a poison record:", record)
        self.log_disk.append(partition, record)

    def relay(self) -> None:
        """One event on its way: any of the outbox, once or twice, or forgetting that it went; or
        one from long ago, by a relay that was taken for dead."""
        outbox = self.rating_disk.outbox
        if not outbox:
            return
        turn = self.dice()
        number = next(iter(outbox)) if turn < 0.5 else self._pick(list(outbox))
        event = outbox[number]
        if turn % 0.1 < 0.07:
            del outbox[number]
        elif turn % 0.1 < 0.08:
            self.log_disk.publish(event)
        elif turn % 0.1 < 0.09:
            ago = self._pick(self._pick(self.log_disk.partitions) or [event])
            event = ago if is_sound(ago) else event
        self.say("relayed:", event)
        self.log_disk.publish(event)

    def relay_all(self) -> None:
        while self.rating_disk.outbox:
            self.relay()

    # ---- what people do ------------------------------------------------------------------------

    def happen(self) -> None:
        self._pick(HAPPENINGS)(self)

    def rate(self) -> None:
        self._change(1 + int(self.dice() * 20))

    def remove(self) -> None:
        self._change(REMOVED)

    def _change(self, value: int) -> None:
        process, user_id = self._pick(self.ratings), self._pick(self.users)
        movie_id = self._pick(self.movie_ids)
        operation = Operation(user_id, {movie_id: Applied(0, value)}, self.steps)
        self.ledger.begin(operation, movie_id)
        if value == REMOVED:
            call = process.stage.remove(user_id, movie_id)
        else:
            call = process.stage.rate(user_id, movie_id, value)
        self.start(process, f"{user_id} says {value} of {movie_id}", call, operation)

    def erase(self) -> None:
        process, user_id = self._pick(self.ratings), self._pick(self.users)
        operation = self.ledger.begin(Operation(user_id, None, self.steps))
        self.start(process, f"{user_id} erases", process.stage.erase(user_id), operation)

    def import_file(self) -> None:
        """Ratings with versions of their own: old, equal, or of the future."""
        process, user_id = self._pick(self.ratings), self._pick(self.users)
        date = self._pick(self.file_dates)
        movie_ids = self.random.sample(self.movie_ids, 1 + int(self.dice() * len(self.movie_ids)))
        ratings = [
            Rating(user_id, movie_id, 1 + int(self.dice() * 20), date + int(self.dice() * 2))
            for movie_id in movie_ids
        ]
        changes = {rating.movie_id: Applied(rating.version, rating.value) for rating in ratings}
        operation = Operation(user_id, changes, self.steps, is_import=True)
        self.ledger.begin(operation)
        call = self._rating_store(self.now).merge(ratings)
        self.start(process, f"{user_id} imports {ratings}", call, operation)

    def _movie(self, movie_id: str) -> Movie:
        box_office = self.random.choice((None, 0, 5_000_000, 2**40))
        return Movie(movie_id, f"Movie {movie_id}", box_office=box_office)

    def change_catalogue(self) -> None:
        """Takes a movie out, or puts it (back) in; the notice of it may be lost."""
        process, movie_id = self._pick(self.ratings), self._pick(self.movie_ids)

        async def change() -> None:
            if movie_id in self.movie_disk.movies and self.dice() < 0.5:
                await self.catalogue.delete(movie_id)
            else:
                await self.catalogue.put(self._movie(movie_id))
            if self.dice() < 0.8:
                self.notices.tell("catalogue", movie_id)
                if movie_id not in self.movie_disk.movies:
                    self.gone[movie_id] = (self.steps, self.movie_disk.revision)

        self.start(process, f"{movie_id} comes or goes", change())

    def rebuild(self) -> None:
        if not self.keeper.tasks:
            self.start(self.keeper, "rebuild", self.keeper.stage.rebuild())

    def crash_one(self) -> None:
        self.crash(self._pick(self.ratings + self.workers))

    def freeze_one(self) -> None:
        if self.running:
            self.freeze(self._pick(self.running))

    # ---- the end -------------------------------------------------------------------------------

    def calm_down(self) -> None:
        """No more faults: what runs or sleeps comes to its end, and the log is drained by one."""
        self.say("no more faults")
        while self.frozen:
            self.wake()
        while self.running:
            self.steps += 1
            self.resume(self._pick(self.running))
        self.relay_all()
        survivor = self._pick(self.aggregators)
        survivor.stage._events.calm = True
        for _ in range(200 + self._behind()):
            if not self._behind():
                break
            self._to_the_end(survivor, survivor.stage.step())
        else:
            raise Broken(f"{survivor.name} never drains the log")
        for process in (self._pick(self.refreshers), *self.readers):
            self._to_the_end(process, process.stage.step())

    def check(self) -> None:
        self.ledger.check(self.movie_ids, self.rating_disk.standing())
        checks.folded(self.movie_disk)
        rater = self._rating_store(self.now).rater
        checks.all_counted(self.rating_disk, self.movie_disk, rater)
        checks.all_buried(self.movie_disk, self.dead)
        checks.no_user_is_named(self.log_disk, self.movie_disk)
        for reader in self.readers:
            checks.ten_is_true(reader.stage.ten, self.rating_disk, self.movie_disk)

    def _behind(self) -> int:
        return sum(
            len(records) - self.movie_disk.positions.get(partition, 0)
            for partition, records in enumerate(self.log_disk.partitions)
        )

    def _to_the_end(self, process: Process, coroutine: Coroutine[Any, Any, Any]) -> Any:
        task = self.start(process, "the last step", coroutine)
        while task in self.running:
            self.steps += 1
            self.resume(task)
        return task.result

    def _check_order(self, process: Process) -> None:
        """The ten never goes back, neither in the cache nor in a reader."""
        cached = self.cache_disk.chart
        cached_at = cached.refreshed_at if cached else 0
        if cached_at < self.cached_at:
            raise Broken(f"the cache had the ten of {self.cached_at}, and now of {cached_at}")
        self.cached_at = cached_at
        ten = process.stage.ten if isinstance(process.stage, TopRated) else None
        if ten is None:
            return
        if ten.refreshed_at < process.seen:
            raise Broken(f"{process.name} had the ten of {process.seen}, and now {ten}")
        if ten.changed_at > ten.refreshed_at:
            raise Broken(f"a ten that changed after it was true: {ten}")
        process.seen = ten.refreshed_at

    def _check_answer(self, operation: Operation, rating: Rating) -> None:
        """A later call has the higher version, and movies that are gone are not rated."""
        if rating.version <= operation.above:
            raise Broken(f"{rating} is a later call, yet not above {operation.above}")
        told_at, revision = self.gone.get(rating.movie_id, (self.steps, 0))
        still_gone = told_at < operation.begun and revision == self.movie_disk.revision
        if still_gone and not operation.on_trust:
            raise Broken(f"{rating} of a movie that all were told is gone")


HAPPENINGS: list[Callable[[Simulator], None]] = [
    *[Simulator.rate] * 20,
    *[Simulator.remove] * 6,
    *[Simulator.erase] * 3,
    *[Simulator.import_file] * 8,
    *[Simulator.change_catalogue] * 5,
    *[Simulator.crash_one] * 3,
    *[Simulator.freeze_one] * 4,
    *[Simulator.wake] * 3,
    *[Simulator.jump] * 2,
    *[Simulator.back_up] * 2,
    *[Simulator.restore] * 3,
    *[Simulator.lose_cache] * 1,
    *[Simulator.poison] * 2,
    *[Simulator.rebuild] * 2,
]
