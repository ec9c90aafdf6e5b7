"""Slots change their shards, online: only who writes to the slot that is on its way has to wait.

Each step is durable before the next one, and what was cut short is taken up where it was: nothing
is lost, and nowhere is a slot written to in two places.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from psycopg import sql

from ...errors import Unusable
from ...schemas import Tell, in_silence
from .migrating import EXISTS, FAR, Connection, agreed, all_of, number_of, one, reach, run
from .shards import MAP, prior_of

TABLES = ("applied", "movie", "listed")

COLUMNS = """
    SELECT attname FROM pg_attribute
    WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''"""
OUT = "COPY {table} ({columns}) TO STDOUT (FORMAT binary)"
IN = "COPY {table} ({columns}) FROM STDIN (FORMAT binary)"

# The lock of an update alone would let writers pass.
PAUSE = """
    WITH alone AS (SELECT no FROM slot WHERE no = %s FOR UPDATE)
    UPDATE slot SET moving = true FROM alone WHERE slot.no = alone.no"""
GO_ON = "UPDATE slot SET moving = false WHERE no = %s AND moving"
PLACE = "SELECT epoch, position, mark FROM slot WHERE no = %s"
MOVING = "SELECT moving FROM slot WHERE no = %s"
EPOCH = "SELECT epoch FROM slot WHERE no = %s"
TAKE = "INSERT INTO slot (no, epoch, position, mark) VALUES (%s, %s, %s, %s)"
FLIP = "UPDATE slot_map SET shard = %s, epoch = %s WHERE slot = %s"
MAKE = "SELECT make_slot(%s)"
ATTACH = "SELECT attach_slot(%s)"
DROP = "SELECT drop_slot(%s)"


def move_slots(
    urls: Sequence[str], slots: Iterable[int], to: int, tell: Tell = in_silence
) -> Iterator[str]:
    """Move slots to the shard of this number, one after another; tells each step when it is done.

    Safe to run again after it was cut short, also to the shard from which a slot came. Raises
    ``Unusable``. ``tell``, as in ``migrate``.
    """
    with all_of(urls, tell=tell) as shards:
        check(shards, to)
        for slot in slots:
            yield from Move.of(shards, slot, to).steps()


def check(shards: Sequence[Connection], to: int) -> None:
    if not 0 <= to < len(shards):
        raise Unusable(f"There is no shard {to}: movies_url names {len(shards)}, from 0.")
    home = agreed(shards[0])
    for number, shard in enumerate(shards):
        stands = agreed(shard)
        if number_of(stands) != (home.get("made_at"), str(number)):
            raise Unusable(f"The database number {number + 1} is not that shard: run migrate.")
        if prior_of(stands) != prior_of(home):
            raise Unusable("The shards draw rates by different priors: run migrate first.")


@dataclass(frozen=True)
class Move:
    shards: Sequence[Connection]
    slot: int
    held_by: int
    epoch: int
    to: int

    @classmethod
    def of(cls, shards: Sequence[Connection], slot: int, to: int) -> "Move":
        places = shards[0].execute(MAP).fetchall()
        if not 0 <= slot < len(places):
            raise Unusable(f"There is no slot {slot}: they are 0 to {len(places) - 1}.")
        held_by, epoch = places[slot]
        return cls(shards, slot, held_by, epoch, to)

    def steps(self) -> Iterator[str]:
        slot = self.slot
        if self.held_by != self.to:
            if not self._only_home_is_behind():
                self._pause()
                yield f"slot {slot}: paused"
                self._copy()
                yield f"slot {slot}: copied to shard {self.to}"
            self._flip()
            yield f"slot {slot}: is on shard {self.to} now"
        else:
            self._check_there()
        self._clear_up()
        yield f"slot {slot}: served by shard {self.to} alone"

    def _only_home_is_behind(self) -> bool:
        """Whether the slot has moved already: home was restored from a backup of before."""
        return self._epoch(self.to) > self.epoch and not self._moving(self.held_by)

    def _check_there(self) -> None:
        """Before all else of the slot is dropped. Raises ``Unusable``."""
        if self._epoch(self.to) != self.epoch:
            raise Unusable(f"Shard {self.to} has lost slot {self.slot}: restore a backup of it.")
        later = [n for n in range(len(self.shards)) if self._epoch(n) > self.epoch]
        if later and not self._moving(self.to):
            raise Unusable(
                f"Slot {self.slot} has moved to shard {later[0]} since home was backed up: move it "
                "there to have home know."
            )

    def _epoch(self, shard: int) -> int:
        return one(self.shards[shard], EPOCH, (self.slot,)) or 0

    def _moving(self, shard: int) -> bool:
        return bool(one(self.shards[shard], MOVING, (self.slot,)))

    def _pause(self) -> None:
        """Waits for the writers that are under way; those who come are turned away."""
        self.shards[self.held_by].execute(PAUSE, (self.slot,))

    def _copy(self) -> None:
        source, target = self.shards[self.held_by], self.shards[self.to]
        with target.transaction(), source.transaction():
            (epoch, *position) = source.execute(PLACE, (self.slot,)).fetchone() or (None,)
            if epoch != self.epoch:
                raise Unusable(
                    f"Shard {self.held_by} does not hold slot {self.slot}: see `marquee doctor`."
                )
            target.execute(DROP, (self.slot,))  # what an earlier attempt left
            target.execute(MAKE, (self.slot,))
            for parent in TABLES:
                copy(source, target, parent, self.slot)
            target.execute(TAKE, (self.slot, epoch + 1, *position))
            if self.to != 0:
                target.execute(ATTACH, (self.slot,))

    def _flip(self) -> None:
        """Home reads it there, and its map says so, from one moment on."""
        home = self.shards[0]
        with home.transaction():
            if self.held_by == 0:
                home.execute(DROP, (self.slot,))
            if self.to == 0:
                for parent in FAR:
                    far = sql.Identifier(f"far_{parent}_{self.slot}")
                    run(home, "DROP FOREIGN TABLE {far}", far=far)
                home.execute(ATTACH, (self.slot,))
            else:
                reach(self.shards, self.slot, self.to)
            home.execute(FLIP, (self.to, self._epoch(self.to), self.slot))

    def _clear_up(self) -> None:
        """Only the shard that the map names keeps the slot; when it alone does, it goes on."""
        for number, shard in enumerate(self.shards):
            if number != self.to and one(shard, EXISTS, (f"applied_{self.slot}",)):
                shard.execute(DROP, (self.slot,))
        self.shards[self.to].execute(GO_ON, (self.slot,))


def copy(source: Connection, target: Connection, parent: str, slot: int) -> None:
    names = [name for (name,) in source.execute(COLUMNS, (parent,))]
    parts = {
        "table": sql.Identifier(f"{parent}_{slot}"),
        "columns": sql.SQL(", ").join(map(sql.Identifier, names)),
    }
    with (
        source.cursor().copy(sql.SQL(OUT).format(**parts)) as out,
        target.cursor().copy(sql.SQL(IN).format(**parts)) as into,
    ):
        for block in out:
            into.write(block)
