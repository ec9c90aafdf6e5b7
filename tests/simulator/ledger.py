"""What users were told, and whether the rating store still says so.

An operation *supersedes* those that had ended when it began. What is in the store at the end must
come from an operation that no acknowledged one superseded: one that failed may have happened or
not, one that was acknowledged has, and nothing else may be there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from marquee.model import REMOVED, Applied


class Broken(AssertionError):
    """A promise that did not hold."""


NOT_YET = 1 << 60


@dataclass(slots=True, eq=False)
class Operation:
    """One call. ``begun`` and ``ended`` are steps of the schedule.

    ``changes``: what it says of each movie; the version of a call is known once it is answered.
    An erasure, ``changes`` None, concerns them all.
    """

    user_id: str
    changes: dict[str, Applied] | None
    begun: int
    is_import: bool = False
    ended: int = NOT_YET
    acknowledged: bool = False
    refused: bool = False
    above: int = 0
    on_trust: bool = False

    def concerns(self, movie_id: str) -> bool:
        return not self.refused and (self.changes is None or movie_id in self.changes)

    def value(self, movie_id: str) -> int:
        return REMOVED if self.changes is None else self.changes[movie_id].value

    def supersedes(self, other: "Operation") -> bool:
        """An import brings its own versions: it is sure to count only above an erasure."""
        if not self.acknowledged or other.ended >= self.begun:
            return False
        return other.changes is None or not self.is_import


@dataclass
class Ledger:
    operations: list[Operation] = field(default_factory=list)

    def begin(self, operation: Operation, movie_id: str | None = None) -> Operation:
        operation.above = self.highest(operation.user_id, movie_id) if movie_id else 0
        self.operations.append(operation)
        return operation

    def highest(self, user_id: str, movie_id: str) -> int:
        """The highest version of which the user was told for this movie."""
        told = [
            operation.changes[movie_id].version
            for operation in self.operations
            if operation.acknowledged
            and operation.user_id == user_id
            and operation.changes is not None
            and movie_id in operation.changes
        ]
        return max(told, default=0)

    def check(self, movie_ids: Iterable[str], stored: Mapping[str, Mapping[str, Applied]]) -> None:
        """``stored``: by user, then movie, removals included."""
        by_user: dict[str, list[Operation]] = {user_id: [] for user_id in stored}
        for operation in self.operations:
            by_user.setdefault(operation.user_id, []).append(operation)
        for user_id, operations in by_user.items():
            rated = stored.get(user_id, {})
            for movie_id in movie_ids:
                concern = [each for each in operations if each.concerns(movie_id)]
                self._check(user_id, movie_id, concern, rated.get(movie_id))

    def _check(
        self, user_id: str, movie_id: str, concern: list[Operation], stored: Applied | None
    ) -> None:
        allowed = {
            each.value(movie_id)
            for each in concern
            if not any(other.supersedes(each) for other in concern)
        }
        if not any(each.acknowledged for each in concern):
            allowed.add(REMOVED)
        value = stored.value if stored else REMOVED
        if value not in allowed:
            raise Broken(f"{user_id} has {value} for {movie_id}, and was told {sorted(allowed)}")
        highest = self.highest(user_id, movie_id)
        if stored and stored.version < highest:
            raise Broken(f"{user_id}'s {movie_id} is older, {stored}, than was told, {highest}")
