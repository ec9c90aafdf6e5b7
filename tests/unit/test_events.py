"""Events as bytes: what was written yesterday is read for ever."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marquee.events import decode, encode, fault, faultless
from marquee.model import MAX_VERSION, REMOVED, RESERVED_IDS, RatingChanged

RATER = bytes(range(16))

# Written down, never computed: in logs and dead letters stand exactly these.
GOLDEN = {
    b'{"v": 1, "movieId": "tt0111161", "rater": "000102030405060708090a0b0c0d0e0f", '
    b'"version": 1700000000000000, "value": 18}': (
        RatingChanged("tt0111161", RATER, 1_700_000_000_000_000, 18)
    ),
    b'{"v": 1, "movieId": "A-z_9", "rater": "ffffffffffffffffffffffffffffffff", '
    b'"version": 1, "value": 21}': RatingChanged("A-z_9", b"\xff" * 16, 1, REMOVED),
    b'{"v": 1, "movieId": "m", "rater": "00000000000000000000000000000000", '
    b'"version": 9223372036854775807, "value": 1}': RatingChanged("m", bytes(16), 2**63 - 1, 1),
}

events = st.builds(
    RatingChanged,
    st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True).filter(lambda i: i not in RESERVED_IDS),
    st.binary(min_size=16, max_size=16),
    st.integers(1, MAX_VERSION),
    st.integers(1, REMOVED),
)


@pytest.mark.parametrize(("raw", "event"), GOLDEN.items())
def test_yesterdays_bytes(raw, event):
    assert decode(raw) == event
    assert encode(event) == raw


@given(events)
def test_every_event_comes_back(event):
    assert decode(encode(event)) == event
    assert list(json.loads(encode(event))) == ["v", "movieId", "rater", "version", "value"]


def members(**changes):
    found = json.loads(next(iter(GOLDEN)))
    return json.dumps({n: v for n, v in (found | changes).items() if v is not None}).encode()


def test_members_that_are_not_known_are_passed_over():
    assert decode(members(source="import", trace={"id": [1]})) == next(iter(GOLDEN.values()))


def test_neither_their_order_nor_spaces_matter():
    found = json.loads(next(iter(GOLDEN)))
    raw = json.dumps(dict(reversed(found.items())), indent=2).encode()
    assert decode(raw) == next(iter(GOLDEN.values()))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"v": 2}, "schema 2 is not known"),
        ({"v": 2, "rater": None, "who": "u"}, "schema 2 is not known"),
        ({"v": "1"}, "schema '1' is not known"),
        ({"v": None}, "no event"),
        ({"movieId": "top10"}, "the movie's id is none"),
        ({"movieId": "a b"}, "the movie's id is none"),
        ({"movieId": 7}, "no event"),
        ({"rater": "00"}, "the rater is not 16 bytes"),
        ({"rater": "x" * 32}, "no event"),
        ({"version": 0}, "the version is no time"),
        ({"version": 2**63}, "the version is no time"),
        ({"version": True}, "no event"),
        ({"value": 0}, "the value is not 1-21"),
        ({"value": 22}, "the value is not 1-21"),
        ({"value": 9.5}, "no event"),
        ({"value": None}, "no event"),
    ],
)
def test_what_is_no_event_says_why(changes, error):
    with pytest.raises(ValueError, match=error):
        decode(members(**changes))


@given(st.binary() | st.sampled_from([b"[" * 100_000, b'{"v":' * 100_000, b"null", b'"v"', b"[1]"]))
def test_other_bytes_are_no_event_and_nothing_worse(raw):
    with pytest.raises(ValueError, match=r"^(no event|schema)"):
        decode(raw)


def test_what_is_faulty_still_has_bytes_for_its_dead_letter():
    """Embedded, poison stands in a table: its letter is to show what stood there."""
    raw = encode(RatingChanged('no "movie"', b"x", -1, 99))
    assert json.loads(raw) == {
        "v": 1,
        "movieId": 'no "movie"',
        "rater": "78",
        "version": -1,
        "value": 99,
    }


@given(
    st.lists(
        st.builds(
            RatingChanged,
            st.sampled_from(["m", "tt0111161", "top10", "", "a b", "x" * 21]) | st.text(max_size=3),
            st.binary(min_size=15, max_size=17),
            st.sampled_from([-1, 0, 1, MAX_VERSION, MAX_VERSION + 1]),
            st.integers(-1, REMOVED + 1),
        )
        | events
    )
)
def test_all_at_once_are_without_fault_where_each_is(several):
    assert faultless(several) == all(fault(event) is None for event in several)
