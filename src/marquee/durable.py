"""Files that are there whole, or not at all: also after a power cut."""

import os
from pathlib import Path


def put(draft: Path, path: Path) -> None:
    """Give what is written its name. Raises ``FileExistsError`` where something has that already:
    it stays as it is."""
    flush(draft)
    try:
        os.link(draft, path)  # a rename would take the place of what is there
    except FileExistsError:
        raise
    except OSError:  # no links are to be had there, as on many a stick
        if path.exists():
            raise FileExistsError(path) from None
        draft.rename(path)
    flush(path.parent)


def flush(path: Path) -> None:
    """Have the disk keep a file, or what names there are in a folder."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
