"""Files as they come: one, those of a folder or of a .zip; in any encoding, as a table or as JSON.

All is streamed: however large a file, and however broken, what is held at a time is bounded.
"""

import codecs
import csv
import io
import json
import lzma
import re
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any, TextIO, TypeVar

from ..errors import Invalid
from .rows import Record, RowError

HEAD = 65_536
LONGEST = 1 << 20
"""Characters of a line, or of an object of JSON."""
LINES_OF_A_ROW = 200
SAMPLE = 200
"""Rows that are looked at to learn what is in the columns."""

T = TypeVar("T")


# ---- bytes -------------------------------------------------------------------------------------


class File:
    """A file, or a member of an archive. ``modified`` in microseconds; ``done``: bytes read."""

    def __init__(self, path: Path, member: zipfile.ZipInfo | None = None) -> None:
        self.path = path
        self.member = member
        self.done = 0
        stat = path.stat()
        self.name, self.size, self.modified = path.name, stat.st_size, stat.st_mtime_ns // 1000
        if member is not None:
            self.name, self.size = member.filename.rpartition("/")[2], member.file_size
            with suppress(ValueError):  # whoever packed it may have left the date out
                date = datetime(*member.date_time, tzinfo=UTC)
                self.modified = int(date.timestamp()) * 1_000_000
        if not self.name.isprintable():  # whoever packed it may want a terminal to obey it
            self.name = repr(self.name)[1:-1]

    def open(self) -> IO[bytes]:
        self.done = 0
        if self.member is None:
            return self.path.open("rb")
        return zipfile.ZipFile(self.path).open(self.member)


class _Counted(io.RawIOBase):
    """The bytes of a file, counted on it."""

    def __init__(self, file: File) -> None:
        super().__init__()
        self._file = file
        self._stream = _readable(file.name, file.open)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = _readable(self._file.name, lambda: self._stream.read(len(buffer)))
        buffer[: len(data)] = data
        self._file.done += len(data)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


_DAMAGED = (
    *(zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, lzma.LZMAError),
    *(EOFError, ValueError, NotImplementedError, RuntimeError),  # the last: a password is needed
)


def _readable(name: str, act: Callable[[], T]) -> T:
    """What ``act`` gives, or in one line why there is nothing to read."""
    try:
        return act()
    except OSError as error:
        raise Invalid(f"{name} can't be read: {error.strerror or error}.") from error
    except _DAMAGED as error:
        raise Invalid(f"{name} can't be read from its archive: {error}.") from error


def find_files(path: Path) -> list[File]:
    """The file, or those that lie highest in a folder or .zip, by name.

    Raises ``Invalid`` where there is none.
    """
    return _readable(str(path), lambda: _find(path))


def _find(path: Path) -> list[File]:
    if path.is_dir():
        files = _highest([path])
    elif not path.is_file():
        raise Invalid(f"{path} is no file." if path.exists() else f"There is no file {path}.")
    elif zipfile.is_zipfile(path):
        files = _members(path)
    else:
        files = [File(path)]
    if not files:
        raise Invalid(f"There is no file in {path}.")
    return files


def _highest(folders: list[Path]) -> list[File]:
    inside = sorted(p for folder in folders for p in folder.iterdir() if p.name[0] != ".")
    files = [File(p) for p in inside if p.is_file()]
    deeper = [p for p in inside if p.is_dir() and not p.is_symlink()]  # a link may lead back
    return _highest(deeper) if deeper and not files else files


def _members(path: Path) -> list[File]:
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if not member.is_dir()]
    members = [m for m in members if not re.search(r"(^|/)(\.|__MACOSX/)", m.filename)]
    highest = min((member.filename.count("/") for member in members), default=0)
    files = [File(path, member) for member in members if member.filename.count("/") == highest]
    return sorted(files, key=lambda file: file.name)


# ---- text --------------------------------------------------------------------------------------


def _as_windows_1252(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("cp1252", "replace"), error.end


# What is not UTF-8 is taken for Windows-1252, byte by byte. So files that are one, the other, both
# or broken are read in one pass. (ISO-8859-1 differs from it only in control characters.)
codecs.register_error("marquee-windows-1252", _as_windows_1252)


def open_text(file: File) -> TextIO:
    """A file's text, with its line ends as they are."""
    stream = io.BufferedReader(_Counted(file), HEAD)
    head = stream.peek(4)
    encoding, errors = "utf-8-sig", "marquee-windows-1252"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding, errors = "utf-16", "replace"
    elif re.match(rb"[^\0]\0[^\0]\0", head):
        encoding, errors = "utf-16-le", "replace"
    elif re.match(rb"\0[^\0]\0[^\0]", head):
        encoding, errors = "utf-16-be", "replace"
    return io.TextIOWrapper(stream, encoding, errors, newline="")


class _Lines:
    """The lines of a text, none longer than ``LONGEST``: the rest of one that is, is dropped.

    ``number`` is that of the line given last. Lines can be put back.
    """

    def __init__(self, text: TextIO) -> None:
        self._text = text
        self._back: deque[str] = deque()
        self._cut = False
        self.number = 0

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        if self._back:
            line = self._back.popleft()
        else:
            line = self._text.readline(LONGEST)
            while self._cut and line:
                self._cut = not line.endswith(("\n", "\r"))
                line = self._text.readline(LONGEST)
            self._cut = len(line) == LONGEST and not line.endswith(("\n", "\r"))
        if not line:
            raise StopIteration
        self.number += 1
        return line.replace("\0", "") if "\0" in line else line

    def put_back(self, lines: list[str]) -> None:
        self._back.extendleft(reversed(lines))
        self.number -= len(lines)


# ---- rows --------------------------------------------------------------------------------------

_NOTHING = " \t\r\n\ufeff\0"
_SEPARATOR = re.compile(r"\ufeff?\"?sep=.\"?\s*", re.IGNORECASE)
"""A first line that Excel writes for itself."""


_GENRES = (
    "Action Adventure Animation Children's Comedy Crime Documentary Drama Fantasy Film-Noir "
    "Horror Musical Mystery Romance Sci-Fi Thriller War Western"
)
_NAMELESS = (
    (re.compile(r"[0-9]+::[0-9]+::[0-9.]+::[0-9]+\s*"), "::", "userId movieId rating timestamp"),
    (re.compile(r"[0-9]+::(?:(?!::).)*\([0-9]{4}\)::[^:]*"), "::", "movieId title genres"),
    (re.compile(r"[0-9]+\t[0-9]+\t[1-5]\t[0-9]+\s*"), "\t", "userId movieId rating timestamp"),
    (
        re.compile(r"[0-9]+(?:\|[^|]*){4}(?:\|[01]){19}\s*"),
        "|",
        f"movieId title released video page unknown {_GENRES}",
    ),
)
"""First lines that name no columns, how they are divided, and these: MovieLens' until 2009."""


def fold_name(name: str) -> str:
    """A column's name as we look for it: "Won?", "imdb_id" and "Date Rated" are "won", "imdbid"
    and "daterated"."""
    return "".join(filter(str.isalnum, name)).casefold()


class Sheet:
    """A file as rows with named cells. ``columns``: the folded names, with their places.

    The names of a table stand in its first line, unless it is ``nameless``. Those of JSON are its
    objects' keys; keys of objects inside of objects follow theirs ("movieidsimdb"). With ``quoted``
    off, a table's quotes mean nothing.
    """

    def __init__(self, file: File) -> None:
        self.file = file
        self.quoted = True
        self.nameless = False
        self.delimiter = ","
        self.header: list[str] = []
        with open_text(file) as text:
            head = text.read(HEAD).lstrip(_NOTHING)
        self.is_json = head[:1] in {"[", "{"}
        self.is_empty_list = not head.strip(_NOTHING + "[]") and head[:1] == "["
        self.is_empty = not head or self.is_empty_list
        if self.is_json:
            self.header = list(dict.fromkeys(n for _, record in self.sample() for n in record))
        elif head:
            with open_text(file) as text:
                lines = _Lines(text)
                line = _first_line(lines)
                known = next((told for form, *told in _NAMELESS if form.fullmatch(line)), None)
                if known:
                    self.nameless, self.quoted = True, False
                    self.delimiter, names = known
                    self.header = names.split()
                else:
                    self.delimiter = max(",;\t|", key=lambda mark: len(_cells(line, mark)))
                    self.header = self._quoted_cells(line, lines, 0) or _cells(line, self.delimiter)
        self.columns: dict[str, int] = {}
        for place, name in enumerate(map(fold_name, self.header)):
            if name:
                self.columns.setdefault(name, place)

    @property
    def name(self) -> str:
        return self.file.name

    def has(self, *names: str) -> bool:
        return all(name in self.columns for name in names)

    def sample(self, number: int = SAMPLE) -> list[tuple[int, Record]]:
        """The first records, the broken ones left out."""
        return [row for row in islice(self.records(), number) if not isinstance(row, RowError)]

    def records(self) -> Iterator[tuple[int, Record] | RowError]:
        """Each row's number (its line, or its place in JSON), and its cells by name."""
        if self.is_json:
            yield from self._objects()
            return
        columns = list(self.columns.items())
        width = len(self.header)
        for row in self.rows():
            if isinstance(row, RowError):
                yield row
                continue
            line, cells = row
            if len(cells) >= width:
                if len(cells) > width and any(cells[width:]):
                    yield RowError(line, "more cells than columns", cells[width])
                else:
                    yield line, {name: cells[place] for name, place in columns}
            else:
                have = len(cells)
                yield line, {name: cells[place] for name, place in columns if place < have}

    def rows(self) -> Iterator[tuple[int, list[str]] | RowError]:
        """A table's rows with their cells by place: what ``records`` is made of, in less time."""
        delimiter, quoted = self.delimiter, self.quoted
        with open_text(self.file) as text:
            lines = _Lines(text)
            if not self.nameless:
                self._quoted_cells(_first_line(lines), lines, 0)  # the header
            for line in lines:
                number = lines.number
                if len(line) == LONGEST:
                    yield RowError(number, "the line is too long")
                elif quoted and '"' in line:
                    cells = self._quoted_cells(line, lines, len(self.header))
                    yield (number, cells) if cells else RowError(number, "a quote is never closed")
                elif bare := line.rstrip("\r\n"):
                    yield number, bare.split(delimiter)

    def _quoted_cells(self, line: str, lines: _Lines, width: int) -> list[str] | None:
        """The cells of a row that begins with ``line``; None where a quote in it is never closed.

        A row over several lines must be right to the letter, and ``width`` cells wide (0: any):
        else it is one broken line, and the next ones are rows of their own.
        """
        if not self.quoted or line.count('"') % 2 == 0:
            return _cells(line, self.delimiter, self.quoted)
        if cells := _strict_cells([line], self.delimiter):
            return cells
        taken: list[str] = []
        quotes = size = 1
        for more in islice(lines, LINES_OF_A_ROW):
            taken.append(more)
            size += len(more)
            quotes += more.count('"')
            if quotes % 2 == 0 and '"' in more:
                cells = _strict_cells([line, *taken], self.delimiter)
                if cells and len(cells) == (width or len(cells)):
                    return cells
            if size > HEAD:
                break
        lines.put_back(taken)
        return None

    def _objects(self) -> Iterator[tuple[int, Record] | RowError]:
        with open_text(self.file) as text:
            values = (one for value in _json_values(text) for one in _results(value))
            for number, value in enumerate(values, 1):
                if isinstance(value, dict):
                    yield number, _flat(value)
                else:
                    yield RowError(number, "the JSON is broken here, or no object")


def _first_line(lines: _Lines) -> str:
    for line in lines:
        if line.strip(_NOTHING) and not _SEPARATOR.fullmatch(line):
            return line
    return ""


def _cells(line: str, delimiter: str, quoted: bool = True) -> list[str]:
    """The cells of one line, whatever is wrong with its quotes."""
    if not quoted:
        return line.rstrip("\r\n").split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:  # a cell over the csv module's limit
        return line.rstrip("\r\n").split(delimiter)


def _strict_cells(lines: list[str], delimiter: str) -> list[str] | None:
    """The cells of a row if its quotes are right to the letter."""
    try:
        rows = list(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    return rows[0] if len(rows) == 1 else None


# ---- JSON --------------------------------------------------------------------------------------

_BETWEEN = re.compile(f"[,\\[\\]{_NOTHING}]*")
_NEXT_OBJECT = re.compile(r"[\r\n][ \t]*(?=\{)")
_decode = json.JSONDecoder().raw_decode


def _json_values(text: TextIO) -> Iterator[Any]:
    """The values of a list, or those that follow each other, as in JSON lines.

    None where one is broken; the next is then looked for at the beginning of a line.
    """
    buffer, at, step = "", 0, HEAD
    broken = ended = False
    while True:
        if broken:
            if found := _NEXT_OBJECT.search(buffer, at):
                at, broken = found.end(), False
                continue
            at = len(buffer)
        else:
            between = _BETWEEN.match(buffer, at)
            at = between.end() if between else at
            try:
                value, at = _decode(buffer, at)
            except (ValueError, RecursionError):  # broken, or not yet whole
                pass
            else:
                yield value
                step = HEAD
                continue
        if not ended and len(buffer) - at < LONGEST:
            more = text.read(step)
            step = min(2 * step, LONGEST)
            ended = not more
            buffer, at = buffer[at:] + more, 0
        elif at < len(buffer):
            yield None
            broken = True
        elif ended:
            return


def _results(value: Any) -> list[Any]:
    """The values in a page of them, as APIs answer, our own among them; else the value itself."""
    page = value if isinstance(value, dict) else {}
    inside = page.get("results", page.get("result"))
    return inside if isinstance(inside, list) else [value]


def _flat(value: dict[str, Any], prefix: str = "", depth: int = 3) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, cell in value.items():
        name = prefix + fold_name(key)
        if isinstance(cell, dict) and depth:
            for inner, inside in _flat(cell, name, depth - 1).items():
                flat.setdefault(inner, inside)
        else:
            flat.setdefault(name, cell)
    return flat
