"""How a source offers what it found: which files it reads, and their rows when asked for."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from .files import Sheet
from .rows import Asked, BadRow, Record, Row, RowError, Skip, Skipped

Part = tuple[Sheet, Iterator[Row]]


@dataclass(frozen=True, slots=True)
class Reading:
    """What a source makes of the files of one folder.

    ``personal``: they are the ratings of one person, whom they do not name. ``parts``: the rows,
    file after file, in the order in which they build on each other.
    """

    source: str
    sheets: tuple[Sheet, ...]
    personal: bool
    parts: Callable[[Asked], Iterator[Part]]


def each_sheet(
    source: str,
    sheets: Iterable[Sheet],
    read: Callable[[Sheet, Asked], Callable[[int, Record], Row]],
    *,
    personal: bool = False,
) -> Reading | None:
    """A reading of files of which each stands for itself; None of no file.

    ``read`` is given a file, and returns what makes a row of each of its records.
    """
    found = tuple(sheets)

    def parts(asked: Asked) -> Iterator[Part]:
        for sheet in found:
            yield sheet, read_each(sheet.records(), read(sheet, asked))

    return Reading(source, found, personal, parts) if found else None


def read_each(
    records: Iterable[tuple[int, Record] | RowError], read: Callable[[int, Record], Row]
) -> Iterator[Row]:
    """Each record as ``read`` understands it; a bad one does not stop the rest."""
    for record in records:
        if isinstance(record, RowError):
            yield record
            continue
        try:
            yield read(*record)
        except BadRow as bad:
            yield RowError(record[0], bad.why, bad.what)
        except Skip as skip:
            yield Skipped(record[0], str(skip))
