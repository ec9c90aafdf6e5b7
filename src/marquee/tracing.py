"""How a trace goes on: from a call through the stores and the event log to every reader's ten.

A place in a trace travels as W3C's ``traceparent``, a text of 55 characters. It stands beside what
it is of, and no rule ever looks at it: with a trace or without, the totals are the same.
"""

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

MOST = 100
"""Places that are carried on by what is done for many at once; of more, the first."""


class Answered(Protocol):
    def __call__(self, route: str, status: int) -> None:
        """Say what became of a request: the template of its route, and its status."""
        ...


class Tracer(Protocol):
    """Tells some collector what took how long. Never waits, never fails."""

    def here(self) -> str:
        """The place where we are; "" where nothing is traced."""
        ...

    def trace_id(self) -> str:
        """Of the trace that we are in, as 32 hex digits; "" where nothing is traced."""
        ...

    def request(self, method: str, parent: str) -> AbstractContextManager[Answered]:
        """A span around a request, and a trace with it where ``parent`` is no place in one."""
        ...

    def step(self, name: str) -> AbstractContextManager[None]:
        """A span around what is done; none where we are in no trace."""
        ...

    def steps(
        self, name: str, places: Collection[str]
    ) -> AbstractContextManager[Mapping[str, str]]:
        """A span behind each of these places, of at most ``MOST``, around what is done for all of
        them at once; by each, where it goes on."""
        ...

    def close(self) -> None:
        """Tell what is not told yet; may take seconds."""
        ...


def nobody_asks(route: str, status: int) -> None:
    pass


class Untraced:
    """``Tracer`` where nothing is traced."""

    def here(self) -> str:
        return ""

    def trace_id(self) -> str:
        return ""

    def request(self, method: str, parent: str) -> AbstractContextManager[Answered]:
        return nullcontext(nobody_asks)

    def step(self, name: str) -> AbstractContextManager[None]:
        return nullcontext()

    def steps(
        self, name: str, places: Collection[str]
    ) -> AbstractContextManager[Mapping[str, str]]:
        return nullcontext({})

    def close(self) -> None:
        pass


UNTRACED = Untraced()
