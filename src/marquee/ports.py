"""What the stages ask of a store: one Protocol per role, its contract in prose.

Every call that is asynchronous ends within the store's time limit, and raises ``StoreAway`` where
the store can't be reached or can't keep what it is given; nothing has then been promised. What
returns has been done durably. The others never wait. All are safe to call from many tasks of one
event loop.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from .model import (
    Applied,
    Chart,
    ChartQuery,
    Erasure,
    Merged,
    Movie,
    Nomination,
    Pair,
    Rating,
    RatingChanged,
    Standing,
    Totals,
)

# ---- ratings, by user --------------------------------------------------------------------------


class RatingStore(Protocol):
    """The truth: one rating per user and movie, partitioned by user, and the outbox beside it.

    Whatever changes a rating makes sure, before it returns, that its ``RatingChanged`` will reach
    the event log at least once, also through a crash at any moment.
    """

    async def write(self, user_id: str, movie_id: str, value: int) -> Rating:
        """Put ``value`` (or ``REMOVED``) in place of what was there, with a version above it.

        A removal of what is not there is written all the same: it must beat what is on its way.
        """
        ...

    async def merge(self, ratings: Sequence[Rating]) -> Merged:
        """Take ratings that bring their own versions, as from a file: the last writer wins.

        A version at or below the user's last erasure is lifted to just above it, one below 1 to 1.
        """
        ...

    async def stored(
        self, user_id: str, movie_ids: Sequence[str]
    ) -> tuple[int, dict[str, Applied]]:
        """What a ``merge`` would meet: the version of the user's last erasure, 0 where there was
        none, and what is kept of these movies, removals too."""
        ...

    async def read(self, user_id: str, movie_id: str) -> Rating | None:
        """The user's rating as it stands, own writes included; None where there is none."""
        ...

    async def page(self, user_id: str, after: str, limit: int) -> list[Rating]:
        """At most ``limit`` of a user's ratings, by movie id (bytewise), those above ``after``."""
        ...

    async def pick(self, user_id: str, movie_ids: Sequence[str]) -> list[Rating]:
        """A user's ratings of these movies, by movie id."""
        ...

    async def erase(self, user_id: str) -> Erasure:
        """Remove every rating of a user: a removal for each is sent, then they are gone."""
        ...

    def scan(self, user_id: str | None = None) -> AsyncIterator[list[Rating]]:
        """All ratings as they stand, in pages, removals left out; what is written meanwhile may be
        seen or not."""
        ...

    def rater(self, user_id: str) -> bytes:
        """The keyed hash that stands for a user outside of this store."""
        ...


# ---- the outbox, where a store can't keep a rating and its event at once -----------------------


class Intent(NamedTuple):
    """A row of the outbox, written before what it tells of: a rating, or the erasure of all that a
    user has up to its version (``movie_id`` "", ``REMOVED``). ``sent_at``: when, by the store's
    time; it may never have come to be, or be another one by now. ``trace``: where the call was in a
    trace, where it was in one."""

    rating: Rating
    sent_at: int
    trace: str = ""


class Lease(NamedTuple):
    """A relay's hold on a shard. ``swept``: the last bucket (minutes since 1970) that was swept,
    and with it all before."""

    shard: int
    swept: int


class Outbox(Protocol):
    """The intents of a rating store, in buckets: one for each shard and minute of sending.

    A bucket is read as often as its reader likes; nothing is ever taken out, the store forgets it
    after days. A row may show up late: long after its ``sent_at``. But a writer whose intent took
    more than 30 s to be kept sends it anew before it does what the intent tells of: what was done
    has an intent that a sweep, two minutes after its bucket closed, was sure to see.
    """

    async def now(self) -> int:
        """The store's time."""
        ...

    async def attend(self, relay: str, seconds: float) -> list[str]:
        """Say that this relay lives, for so long (0: no more); the names of all that do, in
        order."""
        ...

    async def lease(self, shard: int, relay: str, seconds: float) -> Lease | None:
        """Take a shard, or keep it, for so long from now; None where another relay holds it."""
        ...

    async def release(self, shard: int, relay: str) -> None:
        """Let a shard go before its time, if this relay holds it."""
        ...

    def intents(self, shard: int, minute: int, since: int = 0) -> AsyncIterator[list[Intent]]:
        """A bucket's rows that were sent at ``since`` or later, in the order of ``sent_at``, in
        pages."""
        ...

    async def settle(self, intents: Sequence[Intent]) -> list[RatingChanged]:
        """See to it that these are no longer half done, and tell what the store holds of their
        pairs now.

        Where a pair is older than its intent, the rating is written with the intent's version, and
        read back; where it is gone (erased), the event is a removal of that version. An erasure is
        carried to its end, and tells a removal for each rating that it meets.
        """
        ...

    async def swept(self, shard: int, relay: str, minute: int) -> bool:
        """Keep that all buckets up to this one are swept; whether the relay still holds the shard:
        where not, nothing is kept."""
        ...

    async def swept_to(self) -> list[int]:
        """Of each shard, in order, the last bucket that was swept, whoever holds it."""
        ...

    def event(self, rating: Rating) -> RatingChanged:
        """What leaves the store of a rating: its event, the user hidden."""
        ...


# ---- the event log -----------------------------------------------------------------------------


class Topic(Protocol):
    """``movie_rate_topic`` as its producer sees it."""

    async def publish(self, events: Sequence[RatingChanged]) -> None:
        """Have the log keep all of them, those of one pair in this order; returns when it does.

        Where an event comes from in a trace (``trace``) goes along. Raises ``StoreAway`` where the
        log does not keep them; some may be kept all the same, some twice.
        """
        ...


Slots = Callable[[], Awaitable[int]]
"""Into how many slots the movies are divided, as the stores agree. Raises ``StoreAway``."""


class Position(NamedTuple):
    """How far a consumer has come. ``mark``: by what the log knows the last record before it, ""
    where it marks none; a log that has another one there is not the log that was folded."""

    offset: int = 0
    mark: str = ""


class Poison(NamedTuple):
    """A record of the log that is no event: its bytes as they came, and what is wrong with them."""

    raw: bytes
    error: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Consecutive records of one partition: those in (start, end]. Positions are the log's own.

    ``start`` None: the batch has no place in a log (a rebuild, a retry, a log without positions),
    and no position is kept. ``mark``: the ``Position.mark`` of ``end``.
    """

    events: Sequence[RatingChanged]
    poison: Sequence[Poison] = ()
    partition: int = 0
    start: int | None = None
    end: int = 0
    mark: str = ""


class EventLog(Protocol):
    """``movie_rate_topic`` as its consumer sees it: at least once, in any order."""

    async def poll(self, limit: int) -> Batch | None:
        """The next records of one partition, at most ``limit``; None after a while without any.

        Lets records gather for a moment: the more there are, the less a fold costs of each.

        Begins at the position that the totals hold, and goes on behind what it gave last; where
        that gave nothing, it begins again: the totals may have been restored meanwhile. Raises
        ``LogLost``, once, for what can't be read on; the rest goes on with the next call.
        """
        ...

    def seek(self, partition: int, position: int) -> None:
        """Go on from behind ``position``. Only remembers it: never waits, never fails."""
        ...

    def again(self, batch: Batch) -> None:
        """The batch was not folded: its records come again. Only remembers it, as ``seek``."""
        ...

    async def done(self, batch: Batch) -> None:
        """The batch's effects are durable: the log need not keep it for this consumer."""
        ...

    async def behind(self) -> int:
        """How many records still wait to be folded."""
        ...

    async def ends(self) -> dict[int, int]:
        """Where the log ends: by partition, the offset at which its consumer stands that has folded
        all that is in it now. Empty where it knows no positions."""
        ...

    async def check(self) -> None:
        """Raises ``LogLost`` where any partition, whoever reads it, can't be read on."""
        ...

    async def bridges(self) -> Sequence[Batch]:
        """Where the log can't be read on (``LogLost``): empty batches from where the totals stand
        to where the log begins now. A rebuild asks for them first and folds them last."""
        ...


# ---- totals, by movie --------------------------------------------------------------------------


class DeadLetter(NamedTuple):
    id: int
    raw: bytes
    error: str
    died_at: int


class Correction(NamedTuple):
    """What a pair was seen to hold, and what it should."""

    pair: Pair
    seen: Applied
    right: Applied


class TotalsStore(Protocol):
    """Per pair what was applied, per movie its totals, and the consumer's position beside them."""

    async def fold(self, batch: Batch) -> int:
        """Apply a batch in one transaction, or a large one in several, of which each keeps totals
        true and the last moves the position; how many movies' totals changed in each, added up.

        Deltas come from the locked rows alone (``model.fold``), poison goes to the dead letters,
        the position becomes that of ``batch.end``. Raises ``PositionMoved`` where it is not at
        ``batch.start``. An event of a movie that the catalogue lacks makes a stub.
        """
        ...

    async def position(self, partition: int) -> Position:
        """The position behind the last record folded; at 0 where none was."""
        ...

    async def totals(self, movie_ids: Sequence[str]) -> list[Totals]:
        """Totals in the order of the ids; of an unknown movie: none counted."""
        ...

    def scan_applied(
        self, movie_id: str | None = None
    ) -> AsyncIterator[list[tuple[Pair, Applied]]]:
        """All applied pairs, by movie then rater, in pages, removal markers included."""
        ...

    def scan_totals(self) -> AsyncIterator[list[tuple[str, Totals | None, Totals]]]:
        """Each movie's id, its totals (None where sums or rates that are kept beside them do not
        follow from them), and those recounted from its applied rows, as of one
        moment; in pages, by id."""
        ...

    async def correct(self, corrections: Sequence[Correction]) -> int:
        """Put applied pairs right where they still are as they were seen, in one transaction, the
        totals with them; how many. Unlike ``fold`` it can go back: for repairs alone."""
        ...

    async def recount(self, movie_id: str) -> bool:
        """Count a movie's totals anew from its applied rows, under its lock; whether they
        changed."""
        ...

    async def dead_letters(self, after: int = 0, limit: int = 100) -> list[DeadLetter]: ...

    async def bury(self, letter: DeadLetter, batch: Batch | None) -> None:
        """Replace a dead letter by the effect of its retry, or (None) just take it away."""
        ...

    async def count_dead_letters(self) -> int: ...


# ---- the catalogue -----------------------------------------------------------------------------


class Clue(NamedTuple):
    """What a file says of a movie. ``title`` and ``year`` count where the ids find nothing."""

    imdb_id: str | None = None
    tmdb_id: int | None = None
    title: str | None = None
    year: int | None = None


class Catalogue(Protocol):
    """Movies and nominations. A read shows the last write at once."""

    async def put(self, movie: Movie) -> bool:
        """Add or replace; whether it was added."""
        ...

    async def add(self, movie: Movie) -> None:
        """Raises ``Conflict`` where the id is taken."""
        ...

    async def delete(self, movie_id: str) -> bool:
        """Take a movie out; whether it was there. Its ratings go on counting, unseen."""
        ...

    async def has(self, movie_id: str) -> bool: ...

    async def get(self, movie_id: str) -> Standing | None: ...

    def scan(self) -> AsyncIterator[list[Standing]]:
        """Every movie, by id, in pages."""
        ...

    async def match(self, clues: Sequence[Clue]) -> list[tuple[str, ...]]:
        """The movies that each clue may mean, by the first that any answers to: IMDb id, which
        may be a movie's id here, too, and is that before others'; TMDB id; title key and year. Of
        several two are enough to tell."""
        ...

    async def merge(self, movies: Sequence[Movie]) -> Merged:
        """Add movies in bulk; where one is there, fill in only what was unknown."""
        ...

    async def merge_nominations(self, nominations: Sequence[Nomination]) -> Merged:
        """Add nominations in bulk; where one is there, fill in what was unknown. It is won where
        any source says so."""
        ...

    async def nominations(self) -> list[Nomination]:
        """All of them, newest ceremony first, the winner before the others, then by title."""
        ...

    async def revision(self) -> int:
        """A number that changes with every change of movies or nominations."""
        ...

    async def search(
        self, query: str, genre: str | None, year: int | None, after: str | None, limit: int
    ) -> tuple[list[Standing], str | None]:
        """Movies by title, then id: those with every word of ``query`` (as a prefix) in the title.

        ``after`` is the key of the last movie seen, as given beside the page before; None beside
        the last page.
        """
        ...


class Charts(Protocol):
    """The chart as the database of the totals orders it. Reads may come from a replica."""

    async def refresh(self) -> Chart:
        """Bring ``top10_rated_movie`` up to date and give it; costs the same however many movies.

        ``refreshed_at`` is above every one before, also where the store's clock was set back.
        """
        ...

    async def ten(self) -> Chart | None:
        """The ten as it was last refreshed; None where it never was."""
        ...

    async def chart(self, query: ChartQuery) -> Chart:
        """Any other chart, computed at once."""
        ...


# ---- between processes -------------------------------------------------------------------------


class Kept(NamedTuple):
    """What a cache has of a chart; None where it has none. ``fresh``: for how many seconds more it
    is good, below 0 where it no longer is. ``turn``: the caller is to draw it anew, nobody else."""

    chart: Chart | None
    fresh: float
    turn: bool


class Cache(Protocol):
    """The ten, where every reader finds it; and some of the other charts that were asked for last,
    so that each is drawn once for all."""

    async def put(self, chart: Chart) -> None:
        """Keep the ten, unless what is kept was refreshed later."""
        ...

    async def get(self) -> Chart | None:
        """The ten."""
        ...

    async def look(self, query: ChartQuery, turn: float) -> Kept:
        """Another chart. Where it is not fresh, one caller gets the turn to draw it: for ``turn``
        seconds, or until it is kept."""
        ...

    async def keep(self, query: ChartQuery, chart: Chart | None, fresh: float = 0) -> None:
        """End the turn. Keep the chart, unless what is kept was refreshed later: good for ``fresh``
        seconds, and as an old one for about a minute more. None: it could not be drawn."""
        ...


class Notices(Protocol):
    """Word that something changed. A hint, never the truth: one may be lost, or come twice."""

    def tell(self, topic: str, what: str = "") -> None:
        """Never waits, never fails. Without ``what``: anything may have changed."""
        ...

    def listen(self, topic: str, heard: Callable[[str], None]) -> None:
        """``heard`` is called in the event loop with each ``what``, and must not block."""
        ...


class Quota(NamedTuple):
    """``burst`` at once, refilled evenly at ``number`` per ``seconds``."""

    number: int
    seconds: int
    burst: int


class RateLimiter(Protocol):
    async def take(self, key: str, quota: Quota) -> float:
        """Let one more of this key through: 0; or else the seconds until one will be."""
        ...
