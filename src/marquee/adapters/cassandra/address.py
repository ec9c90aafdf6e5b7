"""``cassandra://[user:password@]host[:port],…/keyspace?…`` taken apart."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from ...errors import Unusable

FORM = "cassandra://[user:password@]host[:port],host[:port]/keyspace"
PORT = 9042
KEYSPACE = re.compile(r"[a-z][a-z0-9_]{0,47}")
HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
OPTIONS = ("datacenter", "consistency", "replication", "tls", "names")
LEVELS = {"LOCAL_ONE", "ONE", "TWO", "THREE", "LOCAL_QUORUM", "QUORUM", "ALL"}


@dataclass(frozen=True, slots=True)
class Address:
    """Where a keyspace is and how it is asked.

    ``datacenter``: whose nodes are asked, "" for that of the first host. ``replication``: copies in
    that datacenter, where the keyspace is yet to be made. ``tls``: "", "on", or a file of the
    certificates that are trusted instead of the system's. ``names``: whether a node's certificate
    has to name the address at which it answers.
    """

    hosts: tuple[tuple[str, int], ...]
    keyspace: str
    user: str = ""
    password: str = ""
    datacenter: str = ""
    consistency: str = "LOCAL_QUORUM"
    replication: int = 3
    tls: str = ""
    names: bool = True

    def __str__(self) -> str:
        """As people may see it: without the password."""
        hosts = ",".join(f"{host}:{port}" for host, port in self.hosts)
        return f"cassandra://{hosts}/{self.keyspace}"


def parse(url: str) -> Address:
    """Raises ``Unusable``, saying what is wrong; nothing is asked of the network."""
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    keyspace = parts.path.removeprefix("/")
    if parts.scheme != "cassandra" or not hosts or parts.fragment:
        raise Unusable(f"The rating store's URL must be {FORM}.")
    if not KEYSPACE.fullmatch(keyspace):
        raise Unusable(
            f"The rating store's URL must be {FORM}, the keyspace 1 to 48 of a-z, 0-9 and _, first "
            "a letter; a / or @ in a password is written %2F or %40."
        )
    address = Address(
        hosts=tuple(parse_host(host) for host in hosts.split(",")),
        keyspace=keyspace,
        user=unquote(user),
        password=unquote(password),
        **parse_options(parts.query),
    )
    check_overlap(address.consistency, address.replication)
    if not address.names and address.tls in {"", "on"}:
        raise Unusable("names=off in the rating store's URL goes with tls=FILE alone.")
    return address


def parse_host(text: str) -> tuple[str, int]:
    found = HOST.fullmatch(text)
    if not found or not 0 < int(found[2] or PORT) < 1 << 16:
        raise Unusable(f"{text!r} in the rating store's URL is no host[:port].")
    return found[1].strip("[]"), int(found[2] or PORT)


def parse_options(query: str) -> dict[str, Any]:
    try:
        options = dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError:
        raise Unusable(f"?{query} in the rating store's URL is not ?name=value&….") from None
    for name in options:
        if name not in OPTIONS:
            known = ", ".join(OPTIONS)
            raise Unusable(f"{name!r} in the rating store's URL is none of {known}.")
    return {name: parse_option(name, text) for name, text in options.items()}


def parse_option(name: str, text: str) -> str | int | bool:
    if name == "replication":
        if not re.fullmatch(r"[1-9][0-9]?", text):
            raise Unusable(f"replication in the rating store's URL must be 1-99, and is {text!r}.")
        return int(text)
    if name == "consistency" and text not in LEVELS:
        known = ", ".join(sorted(LEVELS))
        raise Unusable(
            f"consistency in the rating store's URL must be of {known}, and is {text!r}."
        )
    if name == "names":
        if text not in {"on", "off"}:
            raise Unusable(f"names in the rating store's URL is on or off, and not {text!r}.")
        return text == "on"
    if name == "tls" and text not in {"", "off", "on"} and not Path(text).is_file():
        raise Unusable(f"tls in the rating store's URL is on, off or a file, and {text} is none.")
    return "" if text == "off" else text


def check_overlap(level: str, copies: int) -> None:
    """Refuse a level at which a read may miss what was written: R + W > N must hold."""
    quorum = copies // 2 + 1
    asked = {"TWO": 2, "THREE": 3, "LOCAL_QUORUM": quorum, "QUORUM": quorum, "ALL": copies}
    number = asked.get(level, 1)
    if number > copies:
        raise Unusable(f"consistency={level} can't be had of {copies} copies: take LOCAL_QUORUM.")
    if 2 * number <= copies:
        raise Unusable(
            f"With {copies} copies and consistency={level} a read may miss what was written: "
            "take LOCAL_QUORUM."
        )
