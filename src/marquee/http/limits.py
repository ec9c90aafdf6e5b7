"""How much a caller may ask for: quotas, the headers that tell of them, and whose request it is."""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from math import ceil

from ..errors import Unusable
from ..ports import Quota
from .problems import HttpError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class LimitExceeded(HttpError):
    """429: too many requests, with when to come back, and ``RateLimit`` and ``RateLimit-Policy``
    in the form of draft-ietf-httpapi-ratelimit-headers (-08 and later).

    ``policy`` is a name of ours: plain ASCII, no quotes. ``wait``: seconds.
    """

    def __init__(self, policy: str, quota: Quota, wait: float) -> None:
        # Section 6: Retry-After must not point into the window that RateLimit tells of.
        seconds = ceil(wait)
        headers = [
            (b"ratelimit", f'"{policy}";r=0;t={seconds}'.encode()),
            (b"ratelimit-policy", f'"{policy}";q={quota.number};w={quota.seconds}'.encode()),
            (b"retry-after", b"%d" % seconds),
        ]
        super().__init__(429, f"Too many requests: try again in {seconds} s.", headers)


def tenfold(quota: Quota) -> Quota:
    """What reads, and each client address, get."""
    return Quota(10 * quota.number, quota.seconds, 10 * quota.burst)


def parse_trusted(proxies: Iterable[str]) -> tuple[Network, ...]:
    """The addresses and networks of the proxies in front of us. Raises ``Unusable``."""
    try:
        return tuple(ip_network(proxy.strip()) for proxy in proxies)
    except ValueError as error:
        raise Unusable(f"A trusted proxy must be an IP address or network: {error}.") from error


def client_address(peer: str, forwarded_for: str, trusted: tuple[Network, ...]) -> str:
    """By what a client is limited: its IPv4 address, or the /64 network of its IPv6 address.

    ``peer`` is who connected, ``forwarded_for`` all of ``X-Forwarded-For``, joined with commas.
    Each proxy appends whom it heard from, so the header is read from the right, and only as far
    as those who wrote it are trusted.
    """
    client, rest = peer, forwarded_for
    while rest and is_trusted(client, trusted):
        rest, _, entry = rest.rpartition(",")
        entry = entry.strip()
        if len(entry) > 64 or _parse(entry) is None:
            break
        client = entry
    return _bucket(client)


def is_trusted(client: str, trusted: tuple[Network, ...]) -> bool:
    address = _parse(client)
    return address is not None and any(address in network for network in trusted)


@lru_cache(4096)
def _bucket(client: str) -> str:
    address = _parse(client)
    if isinstance(address, IPv6Address):
        return f"{IPv6Address(int(address) >> 64 << 64)}/64"
    return client if address is None else str(address)


_WITH_PORT = re.compile(r"\[([^\]]*)\](?::[0-9]+)?|([0-9.]+):[0-9]+")


@lru_cache(4096)
def _parse(text: str) -> Address | None:
    """An address, with or without the port that some proxies add."""
    match = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address((match[1] or match[2]) if match else text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
