"""Checks what people read: links, tests that are named, decision records; and that the lock files
name no server."""

import re
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("*.md", "docs/**/*.md", "deploy/**/*.md")
DECISIONS = ROOT / "docs/decisions"
HEADINGS = ["Context", "Decision", "Consequences", "Alternatives"]

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ +(.+?) *$", re.MULTILINE)


def anchors(text: str) -> set[str]:
    """The names that a page's headings can be linked by, as Git hosts make them."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in HEADING.findall(text)
    }


def broken_links(page: Path) -> Iterator[str]:
    """Links of the page to files or headings of ours that do not exist."""
    for link in LINK.findall(CODE.sub("", page.read_text("utf-8"))):
        if "://" in link or link.startswith("mailto:"):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists():
            yield f"the link {link} leads nowhere"
        elif anchor and anchor not in anchors(target.read_text("utf-8")):
            yield f"the link {link} names no heading there"


def missing_targets(page: Path) -> Iterator[str]:
    """Commands `make …` that the page tells of and the Makefile does not know."""
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    told = set(re.findall(r"`make ([a-z-]+)", page.read_text("utf-8")))
    yield from (f"there is no `make {target}`" for target in sorted(told - known))


def missing_tests(page: Path) -> Iterator[str]:
    """Tests `file::name` that the page points to and that are not there, and lines of a table of
    tests without any."""
    text = page.read_text("utf-8")
    for rows in re.findall(r"^\|.+\| test \|\n\|[-|]+\|\n((?:\|.+\|\n)+)", text, re.MULTILINE):
        for row in rows.splitlines():
            if not re.search(r"`tests/[\w/]+\.py::\w+` \|$", row):
                yield f"no test is named for {row}"
    for file, name in re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", text):
        path = ROOT / file
        if not path.exists() or not re.search(rf"\bdef {name}\(", path.read_text("utf-8")):
            yield f"there is no test {file}::{name}"


def bad_decision(page: Path) -> Iterator[str]:
    """What a decision record lacks."""
    text = page.read_text("utf-8")
    if re.findall(r"^## (.+)$", text, re.MULTILINE) != HEADINGS:
        yield f"its headings are not {', '.join(HEADINGS)}"
    if not re.search(r"^Status: (proposed|accepted|superseded)", text, re.MULTILINE):
        yield "it has no line 'Status: …'"
    if page.name not in (DECISIONS / "README.md").read_text("utf-8"):
        yield "docs/decisions/README.md does not list it"


def complaints() -> Iterator[str]:
    """Every fault, as `file: what is wrong`."""
    for page in chain.from_iterable(map(ROOT.glob, PAGES)):
        for fault in [*broken_links(page), *missing_targets(page), *missing_tests(page)]:
            yield f"{page.relative_to(ROOT)}: {fault}"
    for page in sorted(DECISIONS.glob("[0-9]*.md")):
        for fault in bad_decision(page):
            yield f"{page.relative_to(ROOT)}: {fault}"
    for lock in ROOT.glob("requirements/*.txt"):
        if "://" in lock.read_text("utf-8"):
            yield f"{lock.relative_to(ROOT)}: a lock file names no server"


if __name__ == "__main__":
    found = list(complaints())
    print(*found, sep="\n", end="\n" if found else "")
    sys.exit(bool(found))
