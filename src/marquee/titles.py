"""Titles as people type them: when two are the same, and how one reads best.

**The rule of ``key``.** Letters and digits count, nothing else does: case, accents, punctuation and
spaces do not ("GoodFellas", "Good Fellas"; "L.A. Confidential", "LA Confidential"), and "&" is
"and". An article that was moved behind, as catalogues do ("Godfather, The", "Godfather (The)",
"Postino, Il"), is moved back to the front first. Then an English article at the front is dropped,
if anything but an article is left: "The Godfather" is "Godfather", but "The The" stays. Articles of
other languages are moved, never dropped, for at the front one can't tell them from other words:
"La La Land", "Die Hard", "As Good as It Gets". So "Misérables, Les" meets "Les Misérables".

Keys have no spaces. A list in the order of its keys is ordered letter by letter, as encyclopedias
are.
"""

import re
from unicodedata import category, normalize

ENGLISH = frozenset({"a", "an", "the"})
"""Articles that say nothing, wherever they stand."""

LONGEST_PLACE = 250

_MOVED = (
    "da das de den der det die een ein eine el en et ett gli het i il l' la las le les lo los o os "
    "um uma un una une uno"
)
ARTICLES = ENGLISH | frozenset(_MOVED.split())
"""Articles that catalogues move behind; those of MovieLens and a few of their kin."""

_LETTERS = str.maketrans(
    {"æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "ı": "i"}
    | {"ħ": "h", "ŧ": "t", "&": " and "}
)
"""Letters that do not decompose, though people type them without their stroke."""

# The accents of Latin, Greek and Cyrillic. The marks of other scripts are vowels and consonants.
_ACCENTS = re.compile("[\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\ufe20-\ufe2f]")
_APOSTROPHES = re.compile("['’‘`´ʼʻ′＇]")
_INITIALS = re.compile(r"(?<=\b\w)[.*·](?=\w\b)")
_PARENTHESES = re.compile(r"([()])")
_LEADING = re.compile(r"\A\W*(?:a|an|the)\s+(?=\S)")
_YEAR = re.compile(r"(?P<title>.*\S)\s*\((?P<year>[0-9]{4})(?:[/–-][^()]*)?\)\s*", re.DOTALL)
_OR = re.compile(r"(?P<one>.*\S),?\s+or\s*(?::\s*(?P<other>\S.*))?", re.DOTALL | re.IGNORECASE)


def key(title: str) -> str:
    """The form under which titles compare, and by which lists are sorted; see above.

    Takes any text, never raises, and ``key(key(title)) == key(title)``. Empty only for a title
    without a printable character: one of nothing but punctuation keeps it.
    """
    folded = _fold(title)
    moved = _in_front(folded)
    rest = _LEADING.sub("", moved, count=1)
    if rest.strip() in ENGLISH:
        rest = moved
    return _glue(rest) or _glue(moved) or "".join(c for c in folded if c > " " and c.isprintable())


def place(title: str) -> str:
    """Where a title stands in lists, in every store alike: the beginning of its key, so that an
    index and a cursor can hold it, whatever letters expand to."""
    return key(title)[:LONGEST_PLACE]


def words(title: str) -> list[str]:
    """A title's words for search, folded as in ``key``, articles included.

    Initials are one word ("L.A." is "la", "M*A*S*H" is "mash"), as is what an apostrophe divides.
    """
    text = _INITIALS.sub("", _APOSTROPHES.sub("", _fold(title)))
    found = "".join(c if _counts(c) else " " for c in text).split()
    return [normalize("NFC", word) for word in found] or text.split()


def findable(title: str) -> list[str]:
    """The words under which search finds a title: its ``words``, and those that apostrophes and
    hyphens leave apart or together ("d'Éclat", "Spider-Man" by "eclat", "spiderman")."""
    readings = (title, _APOSTROPHES.sub(" ", title), title.replace("-", ""))
    return list(dict.fromkeys(word for reading in readings for word in words(reading)))


def display(title: str) -> str:
    """A title as people read it: its articles in front, single spaces.

    "City of Lost Children, The (Cité des enfants perdus, La)" becomes "The City of Lost Children
    (La Cité des enfants perdus)".
    """
    return _in_front(" ".join(title.split()))


def split_year(text: str) -> tuple[str, int | None]:
    """A title and the year behind it: "Heat (1995)" is ("Heat", 1995).

    Of a range the first: "(2006–2007)". None where there is no year of a film, 1870–2100.
    """
    found = _YEAR.fullmatch(text)
    if found is None or not 1870 <= int(found["year"]) <= 2100:
        return text.strip(), None
    return found["title"].strip(), int(found["year"])


def forms(title: str) -> tuple[str, ...]:
    """The titles that one title names, for display; the whole of it first.

    "The Postman (Il Postino)" names "The Postman" and "Il Postino" too; "(a.k.a. …)" and "X or: Y"
    are read alike. What stands behind a bare colon is a part of the title: "Dune: Part Two" is not
    "Dune".
    """
    whole = display(title)
    head, *inner = (part.strip() for part in re.split(r"[()]", whole))
    if not head or not whole.endswith(")"):
        inner = []
    if (either := _OR.fullmatch(head if inner else whole)) and (inner or either["other"]):
        head, inner = either["one"], [either["other"] or "", *inner]
    found = [whole, head, *(re.sub(r"^(?:a\.?k\.?a\.?|or) ", "", name) for name in inner)]
    return tuple(dict.fromkeys(name for name in found if name)) if inner else (whole,)


def loose_keys(title: str) -> set[str]:
    """The keys of all that a title may be where neither "&" nor an article at either end matters,
    however many there are and whatever punctuation holds them.

    "Naughty & Nice" is "Naughty Nice" too, and "Godfather The", "the-godfather" and "The Godfather,
    The" are "The Godfather". Not a matter for ``key``: under that one movies are kept, and
    "Plan A" is not "Plan".
    """
    bare = normalize("NFKD", title).replace("&", " ")
    spelled = [title, _without_articles(title), *([bare] if bare.strip() else [])]
    return {key(each) for text in spelled for each in (text, _last_in_front(text))} - {""}


def _without_articles(title: str) -> str:
    """A title's words, but for the English articles at either end."""
    found = words(title)
    while found and found[0] in ENGLISH:
        found.pop(0)
    while found and found[-1] in ENGLISH:
        found.pop()
    return " ".join(found)


def _last_in_front(text: str) -> str:
    """With the article that stands last, without a comma before it, in front."""
    name, _, last = " ".join(text.split()).rpartition(" ")
    last = last.strip(".,:;!?()[]")
    return _joined(last, name) if name and is_article(last) else text


def _fold(text: str) -> str:
    """Lower case without accents; punctuation and spaces as they were, "&" as a word."""
    plain = _ACCENTS.sub("", normalize("NFKD", text)).casefold().translate(_LETTERS)
    return plain if plain.isascii() else _ACCENTS.sub("", normalize("NFKD", plain))


def _counts(char: str) -> bool:
    return char.isalnum() or category(char)[0] == "M"


def _glue(text: str) -> str:
    return normalize("NFC", "".join(filter(_counts, text)))


def is_article(text: str) -> bool:
    return _APOSTROPHES.sub("'", text).casefold() in ARTICLES


def _in_front(text: str) -> str:
    """Every article behind, in the title and in its parentheses, put in front."""
    while (moved := _moved_once(text)) != text:
        text = moved
    return text


def _moved_once(text: str) -> str:
    parts = _PARENTHESES.split(_led(text.strip()))
    for i, part in enumerate(parts):
        if i >= 2 and parts[i - 1] == "(" and is_article(part.strip()) and parts[i - 2].strip():
            name = _joined(part.strip(), parts[i - 2].strip())  # "Godfather (The)"
            # With what is behind, for that may be another one: a look at the whole for each of many
            # would take seconds.
            parts[i - 2 : i + 3] = ["", "", "", "", name + "".join(parts[i + 2 : i + 3])]
        elif (led := _led(part.strip())) != part.strip():
            parts[i] = led + part[len(part.rstrip()) :]
    return "".join(parts).strip()


def _led(text: str) -> str:
    while True:
        name, _, last = (part.strip() for part in text.rpartition(","))
        if not name or not is_article(last):
            return text
        text = _joined(last, name)


def _joined(article: str, name: str) -> str:
    return f"{article}{name}" if article[-1] in "'’" else f"{article} {name}"
