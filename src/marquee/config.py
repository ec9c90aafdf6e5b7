"""Settings: each with a name, a default and a help line; from flags, then the environment, then a
TOML file or a folder of them, then the defaults."""

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus, urlsplit

from .errors import Unusable
from .model import Prior
from .ports import Quota

PREFIX = "MARQUEE_"
CONFIG = f"{PREFIX}CONFIG"
"""The variable that names the file, or the folder, in which settings are."""
SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
BURST = 20

RATE = re.compile(rf"([1-9][0-9]{{0,8}})/({'|'.join(SECONDS)})")
WHOLE = re.compile("[0-9]{1,20}")
NUMBER = re.compile(r"(?:[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})(?:[eE][+-]?[0-9]{1,3})?")
URL = re.compile(r"\S+://\S+")
LOGIN = re.compile("(://[^/:@]*):(?:[^?]*|[^/@]*)@")
"""Up to a password's end. PostgreSQL takes one with a ? in it."""
NAMES = "pass(?!file)|pwd|secret|token|credential|api_?key"
SECRET = re.compile(NAMES, re.IGNORECASE)
"""What is in the name of a parameter whose value is nobody's to see: of a URL, or of what somebody
has put in the place of one, as PostgreSQL's own tools take it."""
WORD = re.compile(rf"(?<!\S)(\w*(?:{NAMES})\w*\s*=\s*)(?:'[^']*'|\S+)", re.IGNORECASE)


class Malformed(ValueError):
    """Says what a value should have been."""


def whole(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not WHOLE.fullmatch(text) or not least <= int(text) <= most:
            raise Malformed(f"a whole number from {least} to {most}")
        return int(text)

    return parse


def number(least: float, most: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        if not NUMBER.fullmatch(text) or not least <= float(text) <= most:
            raise Malformed(f"a number from {least:g} to {most:g}")
        return float(text)

    return parse


def hundredths(least: float, most: float) -> Callable[[str], int]:
    """A number, as so many hundredths: they alone are computed with."""

    def parse(text: str) -> int:
        value = 100 * Decimal(text if NUMBER.fullmatch(text) else -1)
        if not 100 * least <= value <= 100 * most or value % 1:
            raise Malformed(f"a number from {least:g} to {most:g}, with two decimals at most")
        return int(value)

    return parse


def one_of(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in choices:
            raise Malformed(f"one of {', '.join(choices)}")
        return text

    return parse


def quota(text: str) -> Quota | None:
    """``60/minute`` as a quota, of which at most 20 may come at once; None for ``off``."""
    if text == "off":
        return None
    rate = RATE.fullmatch(text)
    if rate is None:
        raise Malformed('1 to 999999999 per second, minute, hour or day, as in 60/minute, or "off"')
    most = int(rate[1])
    return Quota(most, SECONDS[rate[2]], min(most, BURST))


def urls(text: str) -> str:
    """One or several, or what is none at all: as it stands, if it can be taken apart."""
    try:
        for url in text.split():
            urlsplit(url)
    except ValueError:
        raise Malformed("a URL, with %5B for [ and %5D for ] in a password") from None
    return text


def words(text: str) -> tuple[str, ...]:
    return tuple(text.replace(",", " ").split())


@dataclass(frozen=True)
class Setting:
    name: str
    default: str
    help: str
    parse: Callable[[str], Any] = str
    unset: str = "none"
    """What holds where nothing is said."""

    @property
    def variable(self) -> str:
        return PREFIX + self.name.upper()


SETTINGS = (
    Setting("data", "./marquee-data", "the data folder of the embedded stores, and of our own keys", Path),
    Setting("host", "127.0.0.1", "the address that HTTP is served at"),
    Setting("port", "8080", "the port that HTTP is served at; 0 picks a free one", whole(0, 65535)),
    Setting("workers", "1", "HTTP processes; above 1 needs stores on servers", whole(1, 256)),
    Setting("ratings_url", "", "the rating store: sqlite:///FILE, or cassandra://HOST:PORT,…/KEYSPACE; by default in the data folder", urls, unset="marquee.db in the data folder"),
    Setting("events_url", "outbox:", "the event log: outbox: is the rating store's own; kafka://HOST:PORT,… or amqp://…", urls),
    Setting("movies_url", "", "totals and catalogue: sqlite:///FILE, by default the rating store's; or postgresql://…, several separated by spaces: shards", urls, unset="as ratings_url"),
    Setting("movies_read_url", "", "where lists and search may read: a replica of the first postgresql:", urls),
    Setting("cache_url", "memory:", "the ten between processes, and the rate limits: memory:, redis://HOST:PORT or redis+cluster://HOST:PORT,…", urls),
    Setting("jwks", "", "the keys of tokens: a JWKS file or URL; by default our own key pair", urls, unset="our own key pair"),
    Setting("issuer", "marquee", "the issuer (iss) that tokens must have"),
    Setting("audience", "marquee", "the audience (aud) that tokens must have"),
    Setting("prior_weight", "", "how many ratings of the prior mean each movie begins with: 0 is the plain mean; 10 unless set at the first start", whole(0, 1_000_000), "as the stores have it; 10 in new ones"),
    Setting("prior_mean", "", "the prior mean, in points, to hundredths; 6.5 unless set at the first start", hundredths(0.5, 10), "as the stores have it; 6.5 in new ones"),
    Setting("refresh_seconds", "1", "the least time between two refreshes of the ten", number(0.05, 3)),
    Setting("rate_limit", "60/minute", "writes of one user: N/second, minute, hour or day, of which 20 may come at once, or off; reads and each client address get ten times as much", quota),
    Setting("trusted_proxies", "", "addresses or networks of proxies whose X-Forwarded-For counts", words),
    Setting("cors_origins", "", "origins whose pages may call us, or *; none by default", words),
    Setting("traces_url", "", "where traces are told, by OTLP over HTTP: http://HOST:4318/v1/traces; nothing is traced by default, and it takes the extra [traces] of the wheel", urls, unset="nothing is traced"),
    Setting("traces_share", "0.01", "which share of the calls is traced, 0 to 1; where a trusted proxy has begun the trace, it has decided", number(0, 1)),
    Setting("log_format", "auto", "auto (human-readable on a terminal, else JSON), console or json", one_of("auto", "console", "json")),
    Setting("log_level", "info", "debug, info, warning or error", one_of("debug", "info", "warning", "error")),
    Setting("log_share", "1", "which share of the requests gets its line, 0 to 1; those that failed, and those that are traced, always do", number(0, 1)),
)  # fmt: skip
BY_NAME = {setting.name: setting for setting in SETTINGS}


@dataclass(frozen=True)
class Settings:
    """Every setting's text, and where it comes from; parsed when it is asked for."""

    texts: Mapping[str, str]
    sources: Mapping[str, str]

    def __getitem__(self, name: str) -> Any:
        return BY_NAME[name].parse(self.texts[name])

    def prior(self, stands: Prior) -> Prior:
        """The prior that stands, with what is set in its place."""
        weight = self["prior_weight"] if self.texts["prior_weight"] else stands.weight
        mean = self["prior_mean"] if self.texts["prior_mean"] else stands.mean
        return Prior(weight, mean)

    def shown(self, name: str) -> str:
        """The text, without what is secret in URLs; in brackets what holds without one."""
        text = self.texts[name] or f"({BY_NAME[name].unset})"
        return without_passwords(text)


def without_passwords(text: str) -> str:
    return WORD.sub(r"\1***", URL.sub(lambda url: masked(url[0]), text))


def masked(url: str) -> str:
    """A URL, or several with commas between, without its passwords."""
    place, mark, query = LOGIN.sub(r"\1:***@", url).partition("?")
    parts = (
        f"{part.partition('=')[0]}=***"
        if SECRET.search(unquote_plus(part.partition("=")[0]))
        else part
        for part in query.split("&")
    )
    return place + mark + "&".join(parts)


def load(
    flags: Mapping[str, object],
    environ: Mapping[str, str],
    file: Path | None = None,
    warn: Callable[[str], None] = lambda _: None,
) -> Settings:
    """Gather the settings. A flag that is None was not given; ``file`` may be a folder. Raises
    ``Unusable``."""
    for name in sorted(environ):
        if name.startswith(PREFIX) and not known(name):
            close = nearest(name, [setting.variable for setting in SETTINGS])
            warn(f"{name} is no setting of Marquee's{close}")
    written = read(file) if file else {}
    texts, sources = {}, {}
    for setting in SETTINGS:
        if flags.get(setting.name) == "":  # of a shell's variable that is not set, most likely
            raise Unusable(f"--{setting.name} is empty: say what it is, or leave it away.")
        layers = (
            ("flag", flags.get(setting.name)),
            (setting.variable, environ.get(setting.variable)),
            written.get(setting.name, ("", None)),
            ("default", setting.default),
        )
        source, value = next(
            (s, v) for s, v in layers if (v is not None and v != "") or s == "default"
        )
        texts[setting.name], sources[setting.name] = str(value), source
        if "\0" in texts[setting.name]:  # no file, host or server has it in its name
            raise Unusable(f"{setting.name} ({source}) must be without NUL.")
        if texts[setting.name]:
            try:
                setting.parse(texts[setting.name])
            except Malformed as expected:
                is_now = repr(without_passwords(texts[setting.name]))
                raise Unusable(
                    f"{setting.name} ({source}) must be {expected}, and is {is_now:.100}."
                ) from None
    return Settings(texts, sources)


def known(variable: str) -> bool:
    """To the letter, as it is looked up."""
    # What the tests and the image set for themselves is none of the program's concern.
    if variable.removeprefix(PREFIX).startswith(("TEST_", "FUZZ_")):
        return True
    return variable in {CONFIG, *(setting.variable for setting in SETTINGS)}


def read(path: Path) -> dict[str, tuple[str, Any]]:
    """What is written in a file, or in all those of a folder, each with the name of its file."""
    found = dict[str, tuple[str, Any]]()
    for file in files_of(path):
        for name, value in read_file(file).items():
            if name in found:
                raise Unusable(f"{name!r} is in {found[name][0]} and in {file}: leave one out.")
            found[name] = str(file), value
    return found


def files_of(path: Path) -> list[Path]:
    try:
        files = sorted(file for file in path.iterdir() if file.match("[!.]*.toml"))
    except (FileNotFoundError, NotADirectoryError):  # it is a file, or who reads it finds none
        return [path]
    except OSError as error:
        raise Unusable(f"The settings in {path} can't be read: {error.strerror}.") from error
    if not files:
        raise Unusable(f"There are no settings in {path}: it has no file *.toml.")
    return files


def read_file(file: Path) -> dict[str, Any]:
    try:
        written = tomllib.loads(file.read_text("utf-8-sig"))  # Windows marks UTF-8
    except OSError as error:
        raise Unusable(f"The settings in {file} can't be read: {error.strerror}.") from error
    except ValueError as error:
        raise Unusable(f"{file} is no TOML: {error}.") from error
    for name, value in written.items():
        if name not in BY_NAME:
            raise Unusable(f"{name!r} in {file} is no setting{nearest(name, list(BY_NAME))}")
        if isinstance(value, list):
            written[name] = " ".join(map(str, value))
        elif isinstance(value, dict):
            raise Unusable(f"{name!r} in {file} must be a value, not a table.")
    return written


def nearest(name: str, names: list[str]) -> str:
    """The end of a sentence about a name that is none: the one that it is most like."""
    asked = difflib.SequenceMatcher(b=name.casefold())

    def likeness(known: str) -> float:
        asked.set_seq1(known.casefold())
        return asked.ratio()

    return f": did you mean {max(names, key=likeness)}?"
