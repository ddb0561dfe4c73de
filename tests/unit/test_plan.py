"""How the ring is cut: the whole ring, once, never in more ranges than the rows deserve."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedshift.spark.ranges import cut, ranges_for
from embedshift.stores.model import Piece
from embedshift.tokens import MAX_TOKEN, MIN_TOKEN, WHOLE_RING, from_ring, unite

rings = st.lists(st.integers(MIN_TOKEN, MAX_TOKEN), max_size=40).map(
    lambda tokens: [Piece(each) for each in from_ring(tokens)]
)


@given(rings, st.integers(1, 200))
def test_the_cut_ring_is_the_whole_ring_once_in_order(pieces, wanted):
    ranges = cut(pieces, wanted)
    assert (ranges[0].start, ranges[-1].end) == (MIN_TOKEN, MAX_TOKEN)
    assert all(one.end == two.start for one, two in pairwise(ranges))
    assert unite(ranges) == [WHOLE_RING]


@given(rings, st.integers(1, 200))
def test_ranges_are_about_as_many_as_wanted(pieces, wanted):
    found = len(cut(pieces, wanted))
    if len(pieces) < wanted:
        # Each piece is rounded up by less than one.
        assert wanted <= found < wanted + len(pieces)
    else:
        assert 1 <= found <= wanted


@given(rings, st.integers(1, 200))
def test_a_range_never_crosses_the_edge_of_a_piece_unless_pieces_are_joined_whole(pieces, wanted):
    edges = {piece.range.start for piece in pieces}
    ranges = cut(pieces, wanted)
    if len(pieces) < wanted:
        assert edges <= {each.start for each in ranges}
    else:
        assert {each.start for each in ranges} <= edges


def test_ranges_of_an_even_ring_are_of_like_width():
    ranges = cut([Piece(WHOLE_RING)], 7)
    widths = [each.width for each in ranges]
    assert len(ranges) == 7
    assert max(widths) - min(widths) <= 1


@pytest.mark.parametrize(
    ("rows", "ranges"),
    [(0, 1), (1, 1), (49, 1), (100, 2), (216, 4), (1_400, 16), (50_000, 16), (100_000, 20), (10**9, 100_000)],
)
def test_a_table_is_cut_into_as_many_ranges_as_its_rows_deserve(rows, ranges):
    """cassandra-data-migrator #341: a table of 1,000 rows cut into 50,000 parts takes hours."""
    assert ranges_for(rows) == ranges


@given(st.integers(0, 10**12))
def test_a_range_has_rows_enough_and_ranges_are_bounded(rows):
    assert 1 <= ranges_for(rows) <= 100_000
    assert ranges_for(rows) <= max(1, rows // 50)
