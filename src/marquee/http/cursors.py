"""Cursors: where a page ended, opaque, and good for the question that it came from alone."""

import base64
import zlib
from collections.abc import Callable

from ..errors import Invalid


def cursor(after: str, question: str) -> str:
    raw = after.encode()
    return _spelled(_seal(raw, question) + raw)


def after(cursor: str, question: str, is_place: Callable[[str], bool]) -> str:
    """What ``cursor`` was made of. Raises ``Invalid`` where it is none of ours for ``question``.

    The seal is no secret: ``is_place`` tells whether the list may have such a place.
    """
    try:
        sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True)
        seal, raw = sealed[:4], sealed[4:]
        # Base64 has several spellings for the same bytes; ours has one.
        if seal == _seal(raw, question) and _spelled(sealed) == cursor and is_place(raw.decode()):
            return raw.decode()
    except ValueError:
        pass
    raise Invalid("This cursor does not come from this list.", "/cursor")


def _seal(raw: bytes, question: str) -> bytes:
    return zlib.crc32(raw, zlib.crc32(question.encode())).to_bytes(4)


def _spelled(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()
