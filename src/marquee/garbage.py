"""Python's collector of garbage, in a process that serves."""

import gc

SELDOM = 10_000
"""Objects that may come to be between two looks. An answer leaves hardly a cycle behind, but it has
hundreds of objects while it is made: a look at every 700, the default, cost a rating a tenth."""


def settle() -> None:
    """What is here now stays: no need to look at it again and again."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(SELDOM)
