"""What a process that ends still waits for: told where that takes too long."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_steps: list[Callable[[], str]] = []


@contextmanager
def step(name: str | Callable[[], str]) -> Iterator[None]:
    """For as long as the block lasts, this is waited for; "" from a callable: nothing, just now."""
    told = name if callable(name) else lambda: name
    _steps.append(told)
    try:
        yield
    finally:
        _steps.remove(told)


def is_told() -> bool:
    """Whether the task that asks was told to end: else, what cancels it is a fault of what it waits
    for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def waits_for() -> str:
    return "; ".join(filter(None, (told() for told in _steps))) or "its last tasks"
