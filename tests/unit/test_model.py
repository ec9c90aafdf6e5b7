"""The rules of the model: by example where one says it best, else as properties."""

import hashlib
import hmac
import itertools
import sys
import tracemalloc
import unicodedata
from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marquee.model import (
    MAX_VERSION,
    NEVER,
    PLAIN,
    REMOVED,
    RESERVED_IDS,
    Applied,
    Pair,
    Prior,
    RatingChanged,
    Totals,
    VersionClock,
    fold,
    has_control,
    is_movie_id,
    is_user_id,
    latest,
    mean_rating,
    rate_tenths,
    rater_of,
    slot_of,
)

ALICE, BOB = b"alice", b"bob"

values = st.integers(1, REMOVED)
events = st.builds(
    RatingChanged,
    movie_id=st.sampled_from(["m1", "m2", "m3"]),
    rater=st.sampled_from([ALICE, BOB]),
    version=st.integers(1, 6),  # few, so that many are equal
    value=values,
)
streams = st.lists(events, max_size=30)


class Store:
    """The plainest totals store: what any other has to agree with."""

    def __init__(self) -> None:
        self.applied: dict[Pair, Applied] = {}
        self.totals: dict[str, Totals] = {}

    def fold(self, batch: list[RatingChanged]) -> set[str]:
        newer, deltas = fold(self.applied, latest(batch))
        self.applied |= newer
        for movie_id, delta in deltas.items():
            self.totals[movie_id] = self.totals.get(movie_id, Totals()).plus(delta)
        return set(deltas)


def naive(stream: list[RatingChanged]) -> dict[str, list[int]]:
    """The counts by the rule as it is told: newest version, of equals the largest value."""
    counts: dict[str, list[int]] = {}
    for movie, rater in {(e.movie_id, e.rater) for e in stream}:
        words = [e for e in stream if (e.movie_id, e.rater) == (movie, rater)]
        newest = max(e.version for e in words)
        value = max(e.value for e in words if e.version == newest)
        of_movie = counts.setdefault(movie, [0] * 20)
        if value != REMOVED:
            of_movie[value - 1] += 1
    return {movie: of_movie for movie, of_movie in counts.items() if any(of_movie)}


# ---- the last-writer rule ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "change", "wins"),
    [
        (NEVER, Applied(1, 1), True),
        (NEVER, Applied(1, REMOVED), True),  # a removal of nothing stays as a marker
        (Applied(5, 9), Applied(6, 3), True),
        (Applied(5, 9), Applied(4, 20), False),
        (Applied(5, 9), Applied(5, 10), True),  # of equal versions the larger value
        (Applied(5, 9), Applied(5, 8), False),
        (Applied(5, 20), Applied(5, REMOVED), True),  # so a removal beats a score
        (Applied(5, REMOVED), Applied(5, 20), False),
        (Applied(5, REMOVED), Applied(4, 20), False),  # and stays
        (Applied(5, REMOVED), Applied(6, 1), True),
        (Applied(5, 9), Applied(5, 9), False),  # twice is once
    ],
)
def test_newest_version_wins_and_of_equal_ones_the_larger_value(
    known: Applied, change: Applied, wins: bool
) -> None:
    newer, _ = fold({("m", ALICE): known}, {("m", ALICE): change})
    assert newer == ({("m", ALICE): change} if wins else {})


def test_latest_keeps_one_change_per_pair_in_key_order() -> None:
    stream = [
        RatingChanged("m2", BOB, 3, 7),
        RatingChanged("m1", BOB, 2, 4),
        RatingChanged("m1", BOB, 1, 9),
        RatingChanged("m1", ALICE, 2, 4),
        RatingChanged("m1", ALICE, 2, REMOVED),
        RatingChanged("m1", BOB, 2, 4),
    ]
    assert list(latest(stream).items()) == [
        (("m1", ALICE), Applied(2, REMOVED)),
        (("m1", BOB), Applied(2, 4)),
        (("m2", BOB), Applied(3, 7)),
    ]


@pytest.mark.parametrize(
    ("version", "value"), [(1, 0), (1, 22), (1, -1), (0, 5), (-1, REMOVED), (2**63, 5)]
)
def test_latest_refuses_what_would_miscount_or_never_count(version: int, value: int) -> None:
    with pytest.raises(ValueError, match="no rating has"):
        latest([RatingChanged("m", ALICE, 1, 5), RatingChanged("m", BOB, version, value)])


# ---- the fold ----------------------------------------------------------------------------------


def test_fold_moves_counts_from_the_old_score_to_the_new() -> None:
    applied = {("m1", ALICE): Applied(1, 8), ("m1", BOB): Applied(1, 3), ("m2", BOB): Applied(4, 4)}
    changes = {
        ("m1", ALICE): Applied(2, 20),
        ("m1", BOB): Applied(2, REMOVED),
        ("m2", ALICE): Applied(1, 4),
        ("m2", BOB): Applied(3, 9),
    }
    newer, deltas = fold(applied, changes)
    assert newer == {pair: change for pair, change in changes.items() if pair != ("m2", BOB)}
    one, two = [0] * 20, [0] * 20
    one[19], one[7], one[2] = 1, -1, -1
    two[3] = 1
    assert deltas == {"m1": one, "m2": two}


def test_the_same_score_again_is_newer_and_changes_no_totals() -> None:
    newer, deltas = fold({("m", BOB): Applied(1, 8)}, {("m", BOB): Applied(2, 8)})
    assert newer == {("m", BOB): Applied(2, 8)}
    assert deltas == {}


@given(streams, st.randoms(use_true_random=False), st.data())
def test_any_order_duplication_and_batching_gives_the_same_totals(
    stream: list[RatingChanged], random: object, data: st.DataObject
) -> None:
    again = data.draw(st.lists(st.sampled_from(stream), max_size=10)) if stream else []
    disordered = data.draw(st.permutations(stream + again))
    cuts = data.draw(st.lists(st.integers(0, len(disordered)), max_size=8).map(sorted))
    at_once, in_batches = Store(), Store()
    at_once.fold(stream)
    for start, end in itertools.pairwise([0, *cuts, len(disordered)]):
        in_batches.fold(disordered[start:end])
        assert all(min(t.counts) >= 0 for t in in_batches.totals.values())
    for store in (at_once, in_batches):
        assert {m: list(t.counts) for m, t in store.totals.items() if t.number} == naive(stream)
    assert in_batches.applied == at_once.applied


@given(streams, streams)
def test_what_was_folded_already_changes_nothing(
    stream: list[RatingChanged], more: list[RatingChanged]
) -> None:
    store = Store()
    store.fold(stream)
    store.fold(more)
    assert store.fold(stream) == set()
    assert store.fold(stream + more) == set()


@given(streams)
def test_totals_are_the_sums_of_what_is_applied(stream: list[RatingChanged]) -> None:
    store = Store()
    store.fold(stream)
    for movie, totals in store.totals.items():
        scores = [a.value for (m, _), a in store.applied.items() if m == movie]
        scores = [value for value in scores if value != REMOVED]
        assert totals.number == len(scores)
        assert totals.total == sum(scores)


def test_fold_leaves_what_it_is_given_alone() -> None:
    applied = {("m", ALICE): Applied(1, 8)}
    changes = {("m", ALICE): Applied(2, 9)}
    fold(applied, changes)
    assert applied == {("m", ALICE): Applied(1, 8)}
    assert changes == {("m", ALICE): Applied(2, 9)}


# ---- versions ----------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(-(10**6), 10**6), st.integers(0, 10**6), st.integers(0, 10**6))),
    st.integers(0, 10**6),
)
def test_versions_never_go_back_whatever_the_clock_does(
    steps: list[tuple[int, int, int]], last: int
) -> None:
    now = 0
    clock = VersionClock(lambda: now)
    clock.seen(last)
    for moved, stored, seen in steps:
        now += moved
        clock.seen(seen)
        version = clock.next(stored)
        assert version > max(last, stored, seen)
        assert version >= now
        last = clock.last


def test_a_version_is_the_time_where_nothing_is_above_it() -> None:
    clock = VersionClock(lambda: 1_000)
    assert [clock.next(), clock.next(), clock.next(5_000), clock.next()] == [
        1_000,
        1_001,
        5_001,
        1_003,
    ]


def test_versions_fit_a_signed_64_bit_column() -> None:
    assert MAX_VERSION.bit_length() == 63


# ---- means and rates ---------------------------------------------------------------------------

priors = st.builds(Prior, weight=st.integers(0, 1_000), mean=st.integers(50, 1_000))


@st.composite
def tallies(draw: st.DrawFn) -> tuple[int, int]:
    """A number of ratings and a total that they can have."""
    number = draw(st.one_of(st.integers(1, 300), st.integers(1, 10**9)))
    return number, draw(st.integers(number, 20 * number))


def exact(number: int, total: int, prior: Prior) -> Fraction:
    """The formula of the contract, literally, in points."""
    points = Fraction(total, 2) + prior.weight * Fraction(prior.mean, 100)
    return points / (number + prior.weight)


@given(tallies(), priors)
def test_mean_is_the_exact_fraction_rounded_to_a_double(
    tally: tuple[int, int], prior: Prior
) -> None:
    assert mean_rating(*tally, prior) == float(exact(*tally, prior))


@given(tallies(), priors)
def test_rate_is_the_exact_fraction_rounded_half_up(tally: tuple[int, int], prior: Prior) -> None:
    assert rate_tenths(*tally, prior) == floor(exact(*tally, prior) * 10 + Fraction(1, 2))


@given(tallies(), st.integers(50, 1_000))
def test_without_a_prior_weight_it_is_the_plain_mean(tally: tuple[int, int], mean: int) -> None:
    number, total = tally
    for prior in (PLAIN, Prior(weight=0, mean=mean)):
        assert exact(number, total, prior) == Fraction(total, 2 * number)
        assert mean_rating(number, total, prior) == total / (2 * number)
        assert rate_tenths(number, total, prior) == rate_tenths(number, total)


@given(tallies(), priors)
def test_both_stay_within_the_scale(tally: tuple[int, int], prior: Prior) -> None:
    mean, rate = mean_rating(*tally, prior), rate_tenths(*tally, prior)
    assert mean is not None
    assert rate is not None
    assert 0.5 <= mean <= 10
    assert 5 <= rate <= 100


@pytest.mark.parametrize(
    ("number", "total", "prior", "tenths"),
    [
        (1, 20, Prior(), 68),  # (10 + 65) / 11 = 6.818…
        (1, 20, PLAIN, 100),
        (20, 20 * 17 + 1, PLAIN, 85),  # 8.525
        (10, 10 * 17 + 1, PLAIN, 86),  # 8.55: half, so up
        (10, 10 * 17 - 1, PLAIN, 85),  # 8.45: half, so up
        (3, 50, PLAIN, 83),  # 8.333…
        (1, 1, PLAIN, 5),
    ],
)
def test_rates(number: int, total: int, prior: Prior, tenths: int) -> None:
    assert rate_tenths(number, total, prior) == tenths


def test_nothing_rated_has_no_mean_and_no_rate() -> None:
    for prior in (PLAIN, Prior()):
        assert mean_rating(0, 0, prior) is None
        assert rate_tenths(0, 0, prior) is None


def test_totals_follow_from_the_distribution() -> None:
    totals = Totals().plus([1, 2] + [0] * 17 + [3])
    assert totals.number == 6
    assert totals.total == 1 + 4 + 60
    assert totals.plus([-1] + [0] * 19).counts == (0, 2, *[0] * 17, 3)
    assert Totals() == Totals((0,) * 20)


# ---- names -------------------------------------------------------------------------------------


def test_rater_is_128_bits_of_a_keyed_hash() -> None:
    # RFC 4231, test case 2.
    known = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert rater_of(b"Jefe", "what do ya want for nothing?") == bytes.fromhex(known)[:16]


@given(st.binary(min_size=32, max_size=32), st.text().filter(is_user_id))
def test_rater_depends_on_key_and_user_alone(key: bytes, user_id: str) -> None:
    rater = rater_of(key, user_id)
    assert rater == hmac.new(key, user_id.encode(), hashlib.sha256).digest()[:16]
    assert rater != rater_of(key, user_id + "x")
    assert rater != rater_of(bytes(32) if any(key) else b"k" * 32, user_id)


@pytest.mark.parametrize("text", ["tt0111161", "a", "0", "-", "_", "A-z_9", "x" * 20])
def test_movie_ids(text: str) -> None:
    assert is_movie_id(text)


@pytest.mark.parametrize(
    "text", ["", "x" * 21, "a b", "a/b", "é", "１", "a\n", "\na", "a\0", "a.b", *RESERVED_IDS]
)
def test_no_movie_ids(text: str) -> None:
    assert not is_movie_id(text)


def test_what_is_no_movie_id_is_not_kept() -> None:
    tracemalloc.start()
    try:
        assert not any(is_movie_id(f"{number}{'x' * 50_000}") for number in range(100))
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("text", ["alice", " ", "a b", "é", "😀", "日本", "\u200b", "x" * 128])
def test_user_ids(text: str) -> None:
    assert is_user_id(text)


@pytest.mark.parametrize(
    "text", ["", "x" * 129, "a\0", "a\n", "\x7f", "\x85", "\ud800", "a\udfffb"]
)
def test_no_user_ids(text: str) -> None:
    assert not is_user_id(text)


@pytest.mark.no_cover
def test_control_characters_are_those_of_unicode_and_lone_surrogates() -> None:
    for code in range(sys.maxunicode + 1):
        assert has_control(chr(code)) == (unicodedata.category(chr(code)) in {"Cc", "Cs"})


@given(st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True), st.integers(1, 64))
def test_a_slot_is_one_of_its_number(movie_id: str, slots: int) -> None:
    assert 0 <= slot_of(movie_id, slots) < slots


def test_slots_are_the_same_in_every_process_and_language() -> None:
    assert slot_of("123456789", 2**32) == 0xCBF43926  # the check value of CRC-32
