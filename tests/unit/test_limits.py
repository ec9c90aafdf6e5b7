"""Quotas as they are written, the headers that tell of them, and whose request it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marquee.config import Malformed, load
from marquee.config import quota as quota_of
from marquee.errors import Unusable
from marquee.http.limits import (
    LimitExceeded,
    client_address,
    parse_trusted,
    tenfold,
)
from marquee.ports import Quota


@pytest.mark.parametrize(
    ("text", "quota"),
    [
        ("60/minute", Quota(60, 60, 20)),
        ("10/second", Quota(10, 1, 10)),
        ("1/hour", Quota(1, 3600, 1)),
        ("1000/day", Quota(1000, 86400, 20)),
        ("off", None),
    ],
)
def test_a_rate_limit_as_it_is_written(text, quota):
    assert quota_of(text) == quota


@pytest.mark.parametrize(
    "text",
    ["", "60", "0/minute", "-1/minute", "1.5/minute", "60/fortnight", "60/minutes", "60 / minute",
     "٦٠/minute", "60/minute\n", "1000000000/second", "on", "x" * 10_000],
)  # fmt: skip
def test_any_other_rate_limit_is_refused_in_clear_words(text):
    with pytest.raises(Malformed, match="60/minute"):
        quota_of(text)


def test_by_default_it_is_sixty_a_minute_and_twenty_at_once():
    assert load({}, {})["rate_limit"] == Quota(60, 60, 20)


def test_reads_get_tenfold():
    assert tenfold(Quota(60, 60, 20)) == Quota(600, 60, 200)


def test_headers_of_a_request_refused():
    error = LimitExceeded("ratings", Quota(60, 60, 20), 0.001)
    assert error.status == 429
    assert error.headers == (
        (b"ratelimit", b'"ratings";r=0;t=1'),
        (b"ratelimit-policy", b'"ratings";q=60;w=60'),
        (b"retry-after", b"1"),
    )
    assert str(error) == "Too many requests: try again in 1 s."


PROXIES = parse_trusted(["10.0.0.0/8", "192.0.2.1", " ::1 ", "2001:db8:f::/48"])


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("198.51.100.7", "", "198.51.100.7"),
        ("198.51.100.7", "203.0.113.9", "198.51.100.7"),  # not one of our proxies: it may lie
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9", "203.0.113.9"),
        ("10.0.0.1", "1.1.1.1, 203.0.113.9", "203.0.113.9"),  # 1.1.1.1 is the client's word
        ("10.0.0.1", "1.1.1.1,203.0.113.9 ,192.0.2.1, 10.9.9.9", "203.0.113.9"),
        ("10.0.0.1", "10.0.0.2, 10.0.0.3", "10.0.0.2"),  # a client among the proxies
        ("10.0.0.1", "203.0.113.9:4711", "203.0.113.9"),
        ("10.0.0.1", "[2001:db8::5]:4711", "2001:db8::/64"),
        ("10.0.0.1", "[2001:db8::5]", "2001:db8::/64"),
        ("10.0.0.1", "203.0.113.9, unknown", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.9, unknown, 10.0.0.2", "10.0.0.2"),
        ("10.0.0.1", "203.0.113.9,", "10.0.0.1"),
        ("10.0.0.1", ",,,", "10.0.0.1"),
        ("10.0.0.1", "203.0.113.999", "10.0.0.1"),
        ("10.0.0.1", "x" * 100_000, "10.0.0.1"),
        ("::1", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:f::1", "203.0.113.9", "203.0.113.9"),
        ("::ffff:10.0.0.1", "::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2::1", "", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "", "fe80::/64"),
        ("", "203.0.113.9", ""),  # a Unix socket has no address
    ],
)
def test_only_what_trusted_proxies_wrote_counts(peer, forwarded_for, client):
    assert client_address(peer, forwarded_for, PROXIES) == client


@pytest.mark.parametrize("peer", ["127.0.0.1", "10.0.0.1"])
def test_nobody_is_trusted_by_default(peer):
    assert client_address(peer, "203.0.113.9", ()) == peer


@given(st.text() | st.text("0123456789abcdef.:,[]% "))
def test_any_header_gives_some_client(forwarded_for):
    assert client_address("10.0.0.1", forwarded_for, PROXIES)


@pytest.mark.parametrize("text", ["", "localhost", "10.0.0.1/8", "*", "10.0.0.0/33"])
def test_a_trusted_proxy_is_an_address_or_a_network(text):
    with pytest.raises(Unusable, match="trusted proxy"):
        parse_trusted([text])
