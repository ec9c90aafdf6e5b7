"""What to install where something is missing."""

from collections.abc import Iterable

from .. import __version__


def to_install(extras: Iterable[str]) -> str:
    """Of the release's wheel: by the name alone an index would give somebody else's package."""
    wheel = f"marquee-{__version__}-py3-none-any.whl"
    return f"pip install '{wheel}[{','.join(extras)}]', or `make distributed` in a clone."
