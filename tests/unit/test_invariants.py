"""The page of invariants: each is defended by tests that name it, and the table is that of the present tests."""

from __future__ import annotations

import pytest

from scripts.invariants import PAGE, defenders, made, numbers_in, stated


def test_every_invariant_is_defended_and_no_test_names_another():
    page = PAGE.read_text("utf-8")
    assert sorted(stated(page)) == list(range(1, 15))
    assert {number for number, _ in defenders()} == set(stated(page))


def test_the_table_is_up_to_date():
    page = PAGE.read_text("utf-8")
    assert made(page) == page


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("Memory is bounded. Invariant 8.", {8}),
        ("Defends invariants 1, 2 and 3: whatever", {1, 2, 3}),
        ("Defends invariants 1 to 4 and 7.", {1, 2, 3, 4, 7}),
        ("Nothing of the kind, in 3 words.", set()),
    ],
)
def test_numbers_are_read_from_docstrings(text, numbers):
    assert numbers_in(text) == numbers
