"""The token ring: Murmur3 as Cassandra computes it, and ranges that cover each token once."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from cassandra.murmur3 import murmur3 as drivers_murmur3
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from embedshift.tokens import (
    MAX_TOKEN,
    MIN_TOKEN,
    WHOLE_RING,
    TokenRange,
    from_ring,
    murmur3,
    subtract,
    uncovered,
    unite,
)

unhurried = settings(deadline=None)
tokens = st.one_of(
    st.integers(MIN_TOKEN, MAX_TOKEN),
    st.integers(-20, 20),
    st.sampled_from([MIN_TOKEN, MIN_TOKEN + 1, MAX_TOKEN - 1, MAX_TOKEN]),
)


@st.composite
def a_range(draw: st.DrawFn) -> TokenRange:
    start, end = sorted((draw(tokens), draw(tokens)))
    assume(start < end)
    return TokenRange(start, end)


ranges = st.lists(a_range(), max_size=8)


def witnesses(*groups: list[TokenRange]) -> set[int]:
    """Tokens that tell sets of ranges apart: their edges and the neighbours of these."""
    edges = {edge for group in groups for each in group for edge in (each.start, each.end)}
    near = {edge + step for edge in edges | {0, MIN_TOKEN, MAX_TOKEN} for step in (-1, 0, 1)}
    return {token for token in near if MIN_TOKEN < token <= MAX_TOKEN}


def holds(group: list[TokenRange], token: int) -> int:
    """How many of the ranges hold the token."""
    return sum(token in each for each in group)


@unhurried
@given(st.lists(st.binary(max_size=70), max_size=30))
def test_tokens_are_those_of_the_driver(keys):
    expected = [drivers_murmur3(key) for key in keys]
    assert murmur3(keys).tolist() == [MAX_TOKEN if token == MIN_TOKEN else token for token in expected]


@pytest.mark.parametrize("length", range(34))
def test_high_bytes_in_the_tail_count_as_negative(length):
    """CASSANDRA-2975: the tail is read as signed bytes, and data on disk depends on it."""
    keys = [bytes([byte]) * length for byte in (0x00, 0x7F, 0x80, 0xFF)]
    assert murmur3(keys).tolist() == [drivers_murmur3(key) for key in keys]


def test_known_tokens_of_cassandra():
    """From ``SELECT token(key)`` of Cassandra."""
    assert murmur3([b"123"]).tolist() == [-7468325962851647638]
    assert murmur3([b"\x00\xff\x10\xfa\x99" * 10]).tolist() == [5837342703291459765]
    assert murmur3([b"\xfe" * 8]).tolist() == [-8927430733708461935]
    assert murmur3([b"\x10" * 8]).tolist() == [1446172840243228796]
    assert murmur3([b"9223372036854775807"]).tolist() == [7162290910810015547]


def test_tokens_of_no_keys_are_none():
    assert murmur3([]).shape == (0,)
    assert murmur3([]).dtype == np.int64


@pytest.mark.parametrize(("start", "end"), [(0, 0), (1, 0), (MIN_TOKEN - 1, 0), (0, MAX_TOKEN + 1)])
def test_a_range_that_holds_nothing_or_leaves_the_ring_is_refused(start, end):
    with pytest.raises(ValueError, match="is not a token range"):
        TokenRange(start, end)


def test_a_range_holds_its_end_and_not_its_start():
    assert 5 not in TokenRange(5, 7)
    assert 7 in TokenRange(5, 7)
    assert 8 not in TokenRange(5, 7)
    assert "6" not in TokenRange(5, 7)
    assert TokenRange(5, 7).width == 2


def test_the_whole_ring_holds_every_token_of_a_key():
    assert MIN_TOKEN + 1 in WHOLE_RING
    assert MAX_TOKEN in WHOLE_RING
    assert WHOLE_RING.width == 2**64 - 1


def test_a_range_says_what_it_holds_as_in_mathematics():
    assert str(TokenRange(-1, 2)) == "(-1, 2]"


@unhurried
@given(a_range(), st.integers(1, 50))
def test_split_covers_each_token_once_in_order_and_evenly(whole, parts):
    pieces = whole.split(parts)
    assert len(pieces) == min(parts, whole.width)
    assert (pieces[0].start, pieces[-1].end) == (whole.start, whole.end)
    assert all(left.end == right.start for left, right in pairwise(pieces))
    widths = [piece.width for piece in pieces]
    assert max(widths) - min(widths) <= 1


@unhurried
@given(ranges)
def test_unite_keeps_the_tokens_in_the_fewest_ranges(group):
    united = unite(group)
    assert all(left.end < right.start for left, right in pairwise(united))
    for token in witnesses(group):
        assert holds(united, token) == (1 if holds(group, token) else 0)


@unhurried
@given(ranges)
def test_unite_of_what_is_united_changes_nothing(group):
    assert unite(unite(group)) == unite(group)


@unhurried
@given(ranges, ranges)
def test_subtract_leaves_exactly_what_is_not_covered(group, covered):
    left = subtract(group, covered)
    assert left == unite(left)
    for token in witnesses(group, covered):
        assert holds(left, token) == (1 if holds(group, token) and not holds(covered, token) else 0)


@unhurried
@given(st.lists(tokens, max_size=8).map(from_ring), ranges)
def test_pieces_that_are_not_covered_stay_apart(pieces, covered):
    assert uncovered(pieces, covered) == [part for piece in pieces for part in subtract([piece], covered)]


@given(ranges, ranges)
def test_what_is_left_and_what_is_covered_make_the_whole(group, covered):
    assert unite([*subtract(group, covered), *covered]) == unite([*group, *covered])


@unhurried
@given(a_range(), st.integers(1, 20))
def test_nothing_is_left_when_all_pieces_are_covered(whole, parts):
    assert subtract([whole], reversed(whole.split(parts))) == []
    assert subtract([whole], []) == [whole]


@unhurried
@given(st.lists(tokens, max_size=10))
def test_the_ranges_between_tokens_are_the_whole_ring_once(owned):
    pieces = from_ring(owned)
    assert unite(pieces) == [WHOLE_RING]
    assert sum(piece.width for piece in pieces) == WHOLE_RING.width
    assert {piece.end for piece in pieces} == {*owned, MAX_TOKEN} - {MIN_TOKEN}
