"""What can go wrong, in the domain's terms. ``http/problems.py`` gives each its status, once."""


class MarqueeError(Exception):
    """Anything that Marquee itself reports, in one sentence that the caller may read."""


class Invalid(MarqueeError):
    """Input that breaks a rule. ``pointer`` is the JSON pointer of the field, "" for the whole."""

    def __init__(self, detail: str, pointer: str = "") -> None:
        super().__init__(detail)
        self.pointer = pointer


class NotFound(MarqueeError):
    """No such movie, rating or nomination. ``suggestions``: close titles, where asked for."""

    def __init__(self, detail: str, suggestions: tuple[str, ...] | None = None) -> None:
        super().__init__(detail)
        self.suggestions = suggestions


class Conflict(MarqueeError):
    """It exists already."""


class StoreAway(MarqueeError):
    """A store can't be reached, or can't write, at present. Nothing was promised; try again."""


class NotMade(StoreAway):
    """A store is there, and lacks what `marquee migrate` makes. A server waits until it has it; to
    a command it is said at once."""


class LogLost(StoreAway):
    """The event log is not, or not all of it, the one that was folded: reading on would lose what
    is missing. Stays so until `marquee rebuild`; what else can go on goes on."""


class PositionMoved(MarqueeError):
    """A batch begins elsewhere than its consumer stands: it was folded already, or skips events.

    ``position`` is where the consumer stands: read on from there.
    """

    def __init__(self, position: int) -> None:
        super().__init__(f"the consumer stands at {position}")
        self.position = position


class Unusable(MarqueeError):
    """A store or a setting with which Marquee must not start: corrupt, newer, or disagreeing."""


Finding = tuple[str, str | None]
"""What `marquee doctor` looked at, and what is wrong with it and what to do; None where nothing
is."""
