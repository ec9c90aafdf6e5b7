"""What a store was made with, and who goes on with it: the numbered steps of its schema, its prior.

A step is a file, ``0004.sql``, and a store's version is how many it has had. A release goes on with
a version that it does not know where the newer one let it: the line ``-- floor: 3`` in a step says
that whoever knows step 3 can. A step without that line is one for which all have to know it.
"""

import re
from collections.abc import Callable, Iterable
from importlib.resources.abc import Traversable
from typing import NamedTuple

from .errors import Unusable
from .model import Prior

FLOOR = re.compile(r"^-- floor: (\d+)$", re.MULTILINE)


class Step(NamedTuple):
    """``floor``: how many steps a release must know to go on with a store that has had this one,
    and so all before it."""

    number: int
    floor: int
    script: str


class Schema(NamedTuple):
    """What a store has had: so many steps, and the floor of the last one."""

    version: int
    floor: int


def read_steps(folder: Traversable) -> list[Step]:
    """A schema's files, in order."""
    files = sorted(folder.iterdir(), key=lambda file: file.name)
    return parse(file.read_text("utf-8") for file in files)


def parse(scripts: Iterable[str]) -> list[Step]:
    steps: list[Step] = []
    floor = 0
    for number, script in enumerate(scripts, 1):
        said = FLOOR.search(script)
        floor = max(floor, int(said[1]) if said else number)
        steps.append(Step(number, floor, script))
    return steps


def fits(schema: Schema, known: int) -> bool:
    """Whether a release that knows so many steps can go on with a store."""
    return schema.floor <= known


def check_fits(schema: Schema, known: int, store: str) -> None:
    """Raises ``Unusable`` where it can't."""
    if not fits(schema, known):
        raise Unusable(
            f"{store} was made by a newer Marquee (schema {schema.version}, this one knows "
            f"{known}): upgrade Marquee, or restore a backup of that time."
        )


def told(schema: Schema, known: int) -> str:
    """What ``migrate`` says of a store when it is done with it."""
    if schema.version > known:
        return (
            f"the schema is newer (schema {schema.version}, this Marquee knows {known}), and left "
            "as it is"
        )
    return "the schema is up to date"


Tell = Callable[[str], None]
"""Takes a line for whoever waits."""


def in_silence(_: str) -> None:
    pass


# ---- the prior ---------------------------------------------------------------------------------

Priors = Callable[[Prior], Prior]
"""What settings make of the prior that stands."""


def unchanged(prior: Prior) -> Prior:
    return prior


def check_prior(stands: Prior, prior: Priors) -> None:
    """Raises ``Unusable`` where the settings make another one of the prior that stands."""
    wanted = prior(stands)
    if wanted != stands:
        raise Unusable(
            f"The totals were made with the prior {stands}, and the settings say {wanted}: run "
            "`marquee migrate` to change it, or take the setting away."
        )
