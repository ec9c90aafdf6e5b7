"""Every port in memory: the plainest true answer to each contract, and the simulator's stores.

A ``…Disk`` is what outlives a process; a ``Memory…`` is one process's hold on it. A call is one
synchronous effect, hence a transaction, between two *points*. At a point the simulator takes over:
it goes on, crashes the caller, or has the store be away, before the effect or after it (then the
caller can't know). By default a point is nothing, and these are ordinary stores.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from marquee import titles
from marquee.errors import Conflict, PositionMoved
from marquee.model import (
    PLAIN,
    REMOVED,
    TOP_TEN,
    Applied,
    Chart,
    ChartQuery,
    Erasure,
    Merged,
    Movie,
    Nomination,
    Pair,
    Prior,
    Rating,
    RatingChanged,
    Standing,
    Totals,
    VersionClock,
    deltas,
    fold,
    latest,
    place_of,
    rate_tenths,
    rater_of,
    slot_of,
)
from marquee.ports import Batch, Clue, Correction, DeadLetter, Kept, Poison, Position

PAGE = 100
DEFAULT = Prior()

Now = Callable[[], int]
Point = Callable[[str], Awaitable[None]]


async def straight_on(name: str) -> None:
    """The point of no simulation."""


class Store(Protocol):
    _point: Point


S = TypeVar("S", bound=Store)
P = ParamSpec("P")
T = TypeVar("T")


def between_points(
    effect: Callable[Concatenate[S, P], T],
) -> Callable[Concatenate[S, P], Coroutine[Any, Any, T]]:
    """The asynchronous call that has this effect, all of it at once."""
    before, after = f"{effect.__qualname__}, before", f"{effect.__qualname__}, after"

    @wraps(effect)
    async def call(store: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        await store._point(before)
        result = effect(store, *args, **kwargs)
        await store._point(after)
        return result

    return call


def pages_of(items: Sequence[T]) -> Iterable[list[T]]:
    return (list(items[at : at + PAGE]) for at in range(0, len(items), PAGE))


# ---- ratings, by user --------------------------------------------------------------------------


@dataclass
class RatingDisk:
    """``ratings``: by user, then movie, with removals. ``outbox``: events not yet relayed."""

    rater_key: bytes = bytes(32)
    ratings: dict[str, dict[str, Applied]] = field(default_factory=dict)
    erasures: dict[bytes, Erasure] = field(default_factory=dict)
    outbox: dict[int, RatingChanged] = field(default_factory=dict)
    sent: int = 0

    def send(self, event: RatingChanged) -> None:
        self.sent += 1
        self.outbox[self.sent] = event

    def standing(self) -> dict[str, dict[str, Applied]]:
        """What stands, by user, then movie, removals included."""
        return self.ratings

    def current(self) -> dict[tuple[str, str], Applied]:
        """What stands, by user and movie."""
        return {
            (user_id, movie_id): rating
            for user_id, rated in self.standing().items()
            for movie_id, rating in rated.items()
            if rating.value != REMOVED
        }


class MemoryRatings:
    def __init__(self, disk: RatingDisk, now: Now, point: Point = straight_on) -> None:
        self._disk = disk
        self._clock = VersionClock(now)
        self._point = point
        self._raters: dict[str, bytes] = {}

    def rater(self, user_id: str) -> bytes:
        rater = self._raters.get(user_id)
        if rater is None:
            rater = self._raters[user_id] = rater_of(self._disk.rater_key, user_id)
        return rater

    @between_points
    def write(self, user_id: str, movie_id: str, value: int) -> Rating:
        rated = self._disk.ratings.setdefault(user_id, {})
        stored = rated[movie_id].version if movie_id in rated else 0
        version = self._clock.next(max(stored, self._erased(user_id)))
        self._put(Rating(user_id, movie_id, value, version))
        return Rating(user_id, movie_id, value, version)

    @between_points
    def merge(self, ratings: Sequence[Rating]) -> Merged:
        added = replaced = 0
        for rating in ratings:
            above = max(rating.version, self._erased(rating.user_id) + 1)
            change = Applied(above, rating.value)
            stored = self._disk.ratings.get(rating.user_id, {}).get(rating.movie_id)
            if stored is not None and change <= stored:
                continue
            if stored is not None and stored.value != REMOVED:
                replaced += 1
            elif rating.value != REMOVED:
                added += 1
            self._put(rating._replace(version=above))
        return Merged(added, replaced, len(ratings) - added - replaced)

    @between_points
    def stored(self, user_id: str, movie_ids: Sequence[str]) -> tuple[int, dict[str, Applied]]:
        rated = self._disk.ratings.get(user_id, {})
        return self._erased(user_id), {id: rated[id] for id in movie_ids if id in rated}

    @between_points
    def read(self, user_id: str, movie_id: str) -> Rating | None:
        found = self._standing(user_id, (movie_id,))
        return found[0] if found else None

    @between_points
    def page(self, user_id: str, after: str, limit: int) -> list[Rating]:
        rated = self._disk.ratings.get(user_id, {})
        return self._standing(user_id, (movie for movie in rated if movie > after))[:limit]

    @between_points
    def pick(self, user_id: str, movie_ids: Sequence[str]) -> list[Rating]:
        return self._standing(user_id, set(movie_ids))

    @between_points
    def erase(self, user_id: str) -> Erasure:
        rated = self._disk.ratings.pop(user_id, {})
        rater = self.rater(user_id)
        highest = max((rating.version for rating in rated.values()), default=0)
        version = self._clock.next(max(highest, self._erased(user_id)))
        there = [movie_id for movie_id, rating in rated.items() if rating.value != REMOVED]
        for movie_id in there:
            self._disk.send(RatingChanged(movie_id, rater, version, REMOVED))
        receipt = self._disk.erasures[rater] = Erasure(rater, version, len(there))
        return receipt

    async def scan(self, user_id: str | None = None) -> AsyncIterator[list[Rating]]:
        users = sorted(self._disk.ratings) if user_id is None else [user_id]
        for user in users:
            await self._point("MemoryRatings.scan")
            for page in pages_of(self._standing(user, self._disk.ratings.get(user, {}))):
                yield page

    def _erased(self, user_id: str) -> int:
        receipt = self._disk.erasures.get(self.rater(user_id))
        return receipt.version if receipt else 0

    def _put(self, rating: Rating) -> None:
        user_id, movie_id, value, version = rating
        self._disk.ratings.setdefault(user_id, {})[movie_id] = Applied(version, value)
        self._disk.send(RatingChanged(movie_id, self.rater(user_id), version, value))

    def _standing(self, user_id: str, movie_ids: Iterable[str]) -> list[Rating]:
        rated = self._disk.ratings.get(user_id, {})
        return [
            Rating(user_id, movie_id, rated[movie_id].value, rated[movie_id].version)
            for movie_id in sorted(movie_ids)
            if movie_id in rated and rated[movie_id].value != REMOVED
        ]


# ---- the event log -----------------------------------------------------------------------------

Record = RatingChanged | Poison


class LogDisk:
    """``movie_rate_topic``. The position of a partition's first record is 1; None: pruned."""

    def __init__(self, slots: int = 1) -> None:
        self.partitions: list[list[Record | None]] = [[] for _ in range(slots)]

    def publish(self, event: RatingChanged) -> None:
        self.append(slot_of(event.movie_id, len(self.partitions)), event)

    def append(self, partition: int, record: Record) -> None:
        self.partitions[partition].append(record)

    def prune(self, partition: int, end: int) -> None:
        records = self.partitions[partition]
        records[:end] = [None] * end


def relay(ratings: RatingDisk, log: LogDisk) -> None:
    """All of the outbox into the log, in order, each once: as nothing in a simulation is."""
    for event in ratings.outbox.values():
        log.publish(event)
    ratings.outbox.clear()


class MemoryLog:
    """``feed`` is called before each poll, to relay what waits. ``keeps``: a record outlives its
    folding, as in a log with a time of retention."""

    def __init__(
        self,
        log: LogDisk,
        movies: "MovieDisk",
        point: Point = straight_on,
        *,
        feed: Callable[[], None] = lambda: None,
        keeps: bool = False,
    ) -> None:
        self._log = log
        self._movies = movies
        self._point = point
        self._feed = feed
        self._keeps = keeps
        self._at: dict[int, int] = {}
        self._turn = 0

    @between_points
    def poll(self, limit: int) -> Batch | None:
        self._feed()
        return self._poll(limit)

    def _poll(self, limit: int) -> Batch | None:
        slots = len(self._log.partitions)
        for turn in range(self._turn, self._turn + slots):
            partition = turn % slots
            start = self._at.get(partition, self._movies.positions.get(partition, 0))
            end = min(start + limit, len(self._log.partitions[partition]))
            if start < end:
                self._turn = partition + 1
                self._at[partition] = end
                return self._batch(partition, start, end)
        self._look_back()
        return None

    def _look_back(self) -> None:
        """Idle: the totals may stand elsewhere by now, restored, or behind a seek that failed."""
        self._at.clear()

    def _batch(self, partition: int, start: int, end: int) -> Batch:
        records = self._log.partitions[partition][start:end]
        events = [record for record in records if isinstance(record, RatingChanged)]
        poison = [record for record in records if isinstance(record, Poison)]
        return Batch(events, poison, partition, start, end)

    def seek(self, partition: int, position: int) -> None:
        self._at[partition] = position

    def again(self, batch: Batch) -> None:
        if batch.start is not None:
            self.seek(batch.partition, batch.start)

    @between_points
    def done(self, batch: Batch) -> None:
        if not self._keeps:
            self._log.prune(batch.partition, batch.end)

    @between_points
    def behind(self) -> int:
        self._feed()
        return sum(
            len(records) - self._movies.positions.get(partition, 0)
            for partition, records in enumerate(self._log.partitions)
        )

    @between_points
    def ends(self) -> dict[int, int]:
        self._feed()
        return {n: len(records) for n, records in enumerate(self._log.partitions)}

    async def check(self) -> None:
        pass

    async def bridges(self) -> Sequence[Batch]:
        return ()


# ---- totals, catalogue and chart: one database -------------------------------------------------


@dataclass
class MovieDisk:
    """``movies`` and ``totals`` are apart, so that totals without a movie are its stub."""

    prior: Prior = DEFAULT
    movies: dict[str, Movie] = field(default_factory=dict)
    nominations: dict[tuple[int, str], Nomination] = field(default_factory=dict)
    revision: int = 0
    applied: dict[Pair, Applied] = field(default_factory=dict)
    totals: dict[str, Totals] = field(default_factory=dict)
    positions: dict[int, int] = field(default_factory=dict)
    marks: dict[int, str] = field(default_factory=dict)
    dead_letters: dict[int, DeadLetter] = field(default_factory=dict)
    died: int = 0
    ten: Chart | None = None

    def copy(self) -> "MovieDisk":
        """A backup: as of one moment, and never touched by what comes after."""
        return replace(
            self,
            movies=dict(self.movies),
            nominations=dict(self.nominations),
            applied=dict(self.applied),
            totals=dict(self.totals),
            positions=dict(self.positions),
            marks=dict(self.marks),
            dead_letters=dict(self.dead_letters),
        )

    def restore(self, backup: "MovieDisk") -> None:
        self.__dict__.update(backup.copy().__dict__)

    def standing(self, movie: Movie) -> Standing:
        won = [n.won for n in self.nominations.values() if n.movie_id == movie.id]
        totals = self.totals.get(movie.id, Totals())
        return Standing(movie, totals, any(won) if won else None)

    def recounted(self, movie_id: str) -> Totals:
        counts = [0] * 20
        for (movie, _), (_, value) in self.applied.items():
            if movie == movie_id and value != REMOVED:
                counts[value - 1] += 1
        return Totals(tuple(counts))


class MemoryTotals:
    """``fold`` and ``latest`` are the model's, or those that a test has broken on purpose."""

    latest = staticmethod(latest)
    folded = staticmethod(fold)

    def __init__(self, disk: MovieDisk, now: Now, point: Point = straight_on) -> None:
        self._disk = disk
        self._now = now
        self._point = point

    @between_points
    def fold(self, batch: Batch) -> int:
        return self._fold(batch)

    @between_points
    def position(self, partition: int) -> Position:
        disk = self._disk
        return Position(disk.positions.get(partition, 0), disk.marks.get(partition, ""))

    @between_points
    def totals(self, movie_ids: Sequence[str]) -> list[Totals]:
        return [self._disk.totals.get(movie_id, Totals()) for movie_id in movie_ids]

    async def scan_applied(
        self, movie_id: str | None = None
    ) -> AsyncIterator[list[tuple[Pair, Applied]]]:
        wanted = [
            (pair, change)
            for pair, change in sorted(self._disk.applied.items())
            if movie_id in (None, pair[0])
        ]
        for page in pages_of(wanted):
            await self._point("MemoryTotals.scan_applied")
            yield page

    async def scan_totals(self) -> AsyncIterator[list[tuple[str, Totals, Totals]]]:
        ids = {movie_id for movie_id, _ in self._disk.applied}
        for page in pages_of(sorted(ids | self._disk.movies.keys() | self._disk.totals.keys())):
            await self._point("MemoryTotals.scan_totals")
            yield [
                (
                    movie_id,
                    self._disk.totals.get(movie_id, Totals()),
                    self._disk.recounted(movie_id),
                )
                for movie_id in page
            ]

    @between_points
    def correct(self, corrections: Sequence[Correction]) -> int:
        disk = self._disk
        right = {pair: right for pair, seen, right in corrections if disk.applied.get(pair) == seen}
        for movie_id, delta in deltas(disk.applied, right).items():
            disk.totals[movie_id] = disk.totals.get(movie_id, Totals()).plus(delta)
        disk.applied.update(right)
        return len(right)

    @between_points
    def recount(self, movie_id: str) -> bool:
        counted = self._disk.recounted(movie_id)
        if counted == self._disk.totals.get(movie_id, Totals()):
            return False
        self._disk.totals[movie_id] = counted
        return True

    @between_points
    def dead_letters(self, after: int = 0, limit: int = 100) -> list[DeadLetter]:
        return [letter for id, letter in self._disk.dead_letters.items() if id > after][:limit]

    @between_points
    def bury(self, letter: DeadLetter, batch: Batch | None) -> None:
        if batch is not None:
            self._fold(batch)
        self._disk.dead_letters.pop(letter.id, None)

    @between_points
    def count_dead_letters(self) -> int:
        return len(self._disk.dead_letters)

    def _fold(self, batch: Batch) -> int:
        self._check(batch)
        disk = self._disk
        changes = self.latest(batch.events)
        before = {pair: disk.applied[pair] for pair in changes if pair in disk.applied}
        newer, deltas = self.folded(before, changes)
        disk.applied.update(newer)
        for movie_id, delta in deltas.items():
            disk.totals[movie_id] = disk.totals.get(movie_id, Totals()).plus(delta)
        for raw, error in batch.poison:
            disk.died += 1
            disk.dead_letters[disk.died] = DeadLetter(disk.died, raw, error, self._now())
        if batch.start is not None:
            disk.positions[batch.partition] = batch.end
            disk.marks[batch.partition] = batch.mark
        return len(deltas)

    def _check(self, batch: Batch) -> None:
        position = self._disk.positions.get(batch.partition, 0)
        if batch.start is not None and batch.start != position:
            raise PositionMoved(position)


class MemoryCatalogue:
    def __init__(self, disk: MovieDisk, point: Point = straight_on) -> None:
        self._disk = disk
        self._point = point

    @between_points
    def put(self, movie: Movie) -> bool:
        return self._put(movie)

    @between_points
    def add(self, movie: Movie) -> None:
        if movie.id in self._disk.movies:
            raise Conflict(f"There is a movie {movie.id} already.")
        self._put(movie)

    @between_points
    def delete(self, movie_id: str) -> bool:
        self._disk.revision += 1
        return self._disk.movies.pop(movie_id, None) is not None

    @between_points
    def has(self, movie_id: str) -> bool:
        return movie_id in self._disk.movies

    @between_points
    def get(self, movie_id: str) -> Standing | None:
        movie = self._disk.movies.get(movie_id)
        return self._disk.standing(movie) if movie else None

    @between_points
    def search(
        self, query: str, genre: str | None, year: int | None, after: str | None, limit: int
    ) -> tuple[list[Standing], str | None]:
        words = titles.words(query)
        if query and not words:
            return [], None
        found = {
            f"{titles.place(movie.title)}\n{movie.id}": movie
            for movie in self._disk.movies.values()
            if all(any(own.startswith(w) for own in titles.words(movie.title)) for w in words)
            and is_of(genre, movie)
            and year in (None, movie.year)
        }
        keys = sorted(found, key=lambda key: key.split("\n"))
        if after is not None:
            keys = [key for key in keys if key.split("\n") > after.split("\n")]
        page = [self._disk.standing(found[key]) for key in keys[:limit]]
        return page, keys[limit - 1] if len(keys) > limit else None

    async def scan(self) -> AsyncIterator[list[Standing]]:
        movies = [self._disk.movies[movie_id] for movie_id in sorted(self._disk.movies)]
        for page in pages_of(movies):
            await self._point("MemoryCatalogue.scan")
            yield [self._disk.standing(movie) for movie in page]

    @between_points
    def match(self, clues: Sequence[Clue]) -> list[tuple[str, ...]]:
        return [self._match(clue) for clue in clues]

    @between_points
    def merge(self, movies: Sequence[Movie]) -> Merged:
        added = replaced = 0
        for movie in movies:
            known = self._disk.movies.get(movie.id)
            if known is None:
                added += 1
                self._put(movie)
            elif (whole := known.completed_by(movie)) != known:
                replaced += 1
                self._put(whole)
        return Merged(added, replaced, len(movies) - added - replaced)

    @between_points
    def merge_nominations(self, nominations: Sequence[Nomination]) -> Merged:
        added = replaced = 0
        for other in nominations:
            key = place_of(other)
            known = self._disk.nominations.get(key)
            new = other
            if known is not None:
                new = replace(
                    known,
                    won=known.won or other.won,
                    additional_info=known.additional_info or other.additional_info,
                    movie_id=known.movie_id or other.movie_id,
                )
            if new != known:
                self._disk.nominations[key] = new
                self._disk.revision += 1
                added += known is None
                replaced += known is not None
        return Merged(added, replaced, len(nominations) - added - replaced)

    @between_points
    def nominations(self) -> list[Nomination]:
        found = self._disk.nominations.items()
        return [n for _, n in sorted(found, key=lambda f: (-f[0][0], not f[1].won, f[0][1]))]

    @between_points
    def revision(self) -> int:
        return self._disk.revision

    def _put(self, movie: Movie) -> bool:
        added = movie.id not in self._disk.movies
        self._disk.movies[movie.id] = movie
        self._disk.revision += 1
        return added

    def _match(self, clue: Clue) -> tuple[str, ...]:
        def those(is_meant: Callable[[Movie], bool]) -> tuple[str, ...]:
            found = [movie.id for movie in self._disk.movies.values() if is_meant(movie)]
            return tuple(found[:2])

        ids: tuple[str, ...] = ()
        if clue.imdb_id is not None:
            ids = those(lambda m: m.id == clue.imdb_id) or those(
                lambda m: m.imdb_id == clue.imdb_id
            )
        if not ids and clue.tmdb_id is not None:
            ids = those(lambda m: m.tmdb_id == clue.tmdb_id)
        if not ids and clue.title and clue.year is not None:
            key = titles.place(clue.title)
            ids = those(lambda m: (titles.place(m.title), m.year) == (key, clue.year))
        return ids


def is_of(genre: str | None, movie: Movie) -> bool:
    return genre is None or genre.casefold() in map(str.casefold, movie.genres)


class MemoryCharts:
    def __init__(self, disk: MovieDisk, now: Now, point: Point = straight_on) -> None:
        self._disk = disk
        self._now = now
        self._point = point

    @between_points
    def refresh(self) -> Chart:
        before = self._disk.ten
        now = self._refreshed_at(before)
        entries = self._entries(TOP_TEN)
        changed_at = before.changed_at if before and before.entries == entries else now
        self._disk.ten = Chart(entries, changed_at, now, self._disk.prior)
        return self._disk.ten

    @between_points
    def ten(self) -> Chart | None:
        return self._disk.ten

    @between_points
    def chart(self, query: ChartQuery) -> Chart:
        changed_at = self._disk.ten.changed_at if self._disk.ten else 0
        return Chart(self._entries(query), changed_at, self._now(), self._disk.prior)

    def _refreshed_at(self, before: Chart | None) -> int:
        """Whatever the clock does, later than before: else nobody would take it."""
        return max(self._now(), before.refreshed_at + 1) if before else self._now()

    def _entries(self, query: ChartQuery) -> tuple[Standing, ...]:
        prior = PLAIN if query.by_mean else self._disk.prior
        standings = map(self._disk.standing, self._disk.movies.values())
        wanted = [standing for standing in standings if is_wanted(query, standing)]
        wanted.sort(key=lambda standing: self._place(standing, prior))
        return tuple(wanted[: query.limit])

    def _place(self, standing: Standing, prior: Prior) -> tuple[float | str, ...]:
        number, total = standing.totals.number, standing.totals.total
        rate = rate_tenths(number, total, prior) or 0
        box_office = -1 if standing.movie.box_office is None else standing.movie.box_office
        return (-rate, -box_office, -number, standing.movie.id)


def is_wanted(query: ChartQuery, standing: Standing) -> bool:
    year = standing.movie.year
    return (
        standing.totals.number >= max(1, query.min_ratings)
        and is_of(query.genre, standing.movie)
        and (query.year_from is None or (year is not None and year >= query.year_from))
        and (query.year_to is None or (year is not None and year <= query.year_to))
        and query.won in (None, standing.won)
    )


# ---- between processes -------------------------------------------------------------------------


@dataclass
class CacheDisk:
    chart: Chart | None = None


class MemoryCache:
    def __init__(self, disk: CacheDisk, point: Point = straight_on) -> None:
        self._disk = disk
        self._point = point

    @between_points
    def put(self, chart: Chart) -> None:
        kept = self._disk.chart
        if kept is None or kept.refreshed_at < chart.refreshed_at:
            self._disk.chart = chart

    @between_points
    def get(self) -> Chart | None:
        return self._disk.chart

    async def look(self, query: ChartQuery, turn: float) -> Kept:
        """The least that a cache may do: it keeps no other charts."""
        return Kept(None, 0, turn=True)

    async def keep(self, query: ChartQuery, chart: Chart | None, fresh: float = 0) -> None:
        pass


class MemoryNotices:
    def __init__(self) -> None:
        self._heard: dict[str, list[Callable[[str], None]]] = {}

    def tell(self, topic: str, what: str = "") -> None:
        for heard in self._heard.get(topic, ()):
            heard(what)

    def listen(self, topic: str, heard: Callable[[str], None]) -> None:
        self._heard.setdefault(topic, []).append(heard)
