"""Where a Redis is, and how it is entered: what a URL says."""

from typing import NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from ...errors import Unusable

PORT = 6379
SCHEMES = {
    "redis": (False, False),
    "rediss": (True, False),
    "redis+cluster": (False, True),
    "rediss+cluster": (True, True),
}
"""With TLS, a Cluster."""

FORM = "redis://HOST:PORT/0 or redis+cluster://HOST:PORT,HOST:PORT"
PREFIX = "marquee"

Node = tuple[str, int]


class Address(NamedTuple):
    """``nodes``: of a Cluster some, the others are found through them; else the one. ``prefix``:
    how all keys and channels begin."""

    nodes: tuple[Node, ...]
    user: str | None = None
    password: str | None = None
    tls: bool = False
    cluster: bool = False
    database: int = 0
    prefix: str = PREFIX


def parse(url: str) -> Address:
    """``redis[s]://[user:password@]host[:port][/database]``, or
    ``redis[s]+cluster://[user:password@]host[:port],host[:port]…``; behind either ``?prefix=…``,
    where one Redis serves several. Raises ``Unusable``."""
    try:
        parts = urlsplit(url)
        tls, cluster = SCHEMES[parts.scheme]
        entry, _, hosts = parts.netloc.rpartition("@")
        user, _, password = entry.partition(":")
        nodes = tuple(map(node, hosts.split(",")))
        database = int(parts.path.strip("/") or 0)
        options = dict(parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except (KeyError, ValueError):
        raise Unusable(f"cache_url must be {FORM}.") from None
    prefix = options.pop("prefix", PREFIX)
    if options or parts.fragment or (len(nodes) > 1 and not cluster):
        raise Unusable(f"cache_url must be {FORM}, and no more than ?prefix=NAME behind it.")
    if cluster and database:
        raise Unusable("A Redis Cluster has no databases: leave the path out of cache_url.")
    entry_by = unquote(user) or None, unquote(password) or None
    return Address(nodes, *entry_by, tls, cluster, database, prefix)


def node(text: str) -> Node:
    """``host``, ``host:port`` or ``[IPv6]:port``."""
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("it has no host")
    return parts.hostname, PORT if parts.port is None else parts.port
