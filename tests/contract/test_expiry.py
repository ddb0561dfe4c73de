"""Time to live: cells and rows that expire, and what is left of their time."""

from __future__ import annotations

import pytest


def test_what_is_left_of_a_cell_is_counted_from_its_write(shelf):
    shelf.write({"id": "a", "title": ("t", 10, 1000), "views": (1, 10)})
    row = shelf.row(id="a")
    assert 900 < row["ttl(title)"] <= 1000
    assert row["ttl(views)"] is None


def test_rows_of_one_batch_have_lives_of_their_own(shelf):
    shelf.write(
        {"id": "a", "title": ("t", 10, 1000)}, {"id": "b", "title": ("t", 10)}, {"id": "c", "title": ("t", 10, 9)}
    )
    left = {id_: shelf.row(id=id_)["ttl(title)"] for id_ in "ab"}
    assert left["a"] > 900
    assert left["b"] is None


def test_a_cell_expires_and_its_row_stays_for_the_others(shelf, eventually):
    shelf.write({"id": "a", "title": ("t", 10, 1), "views": (1, 10)})
    eventually(lambda: shelf.title(id="a") is None)
    row = shelf.row(id="a")
    assert (row["title"], row["writetime(title)"], row["ttl(title)"], row["views"]) == (None, None, None, 1)


def test_a_row_expires_with_its_last_cell(shelf, eventually):
    shelf.write({"id": "a", "title": ("t", 10, 1), "views": (1, 10, 1)}, {"id": "b", "title": ("t", 10)})
    eventually(lambda: shelf.row(id="a") is None)
    assert [row["id"] for row in shelf.scan()] == ["b"]


def test_an_expired_cell_hides_what_was_written_before(shelf, eventually):
    shelf.write({"id": "a", "title": ("t", 20, 1), "views": (1, 10)})
    eventually(lambda: shelf.title(id="a") is None)
    shelf.write({"id": "a", "title": ("early", 15)})
    assert shelf.title(id="a") is None
    shelf.write({"id": "a", "title": ("late", 25)})
    assert shelf.title(id="a") == "late"


def test_a_later_write_without_a_ttl_stays(shelf, eventually):
    shelf.write({"id": "a", "title": ("short", 10, 1)}, {"id": "b", "title": ("short", 10, 1)})
    shelf.write({"id": "a", "title": ("for ever", 20)})
    eventually(lambda: shelf.row(id="b") is None)
    assert shelf.title(id="a") == "for ever"


@pytest.mark.parametrize("order", [0, 1])
def test_at_equal_times_the_value_that_expires_wins(shelf, order):
    writes = [{"id": "a", "title": ("z", 10)}, {"id": "a", "title": ("a", 10, 1000)}]
    shelf.write(writes[order])
    shelf.write(writes[1 - order])
    assert shelf.title(id="a") == "a"


@pytest.mark.parametrize("order", [0, 1])
def test_at_equal_times_the_value_that_expires_later_wins(shelf, order):
    writes = [{"id": "a", "title": ("z", 10, 1000)}, {"id": "a", "title": ("a", 10, 9000)}]
    shelf.write(writes[order])
    shelf.write(writes[1 - order])
    assert shelf.title(id="a") == "a"


@pytest.mark.parametrize("order", [0, 1])
def test_at_equal_times_a_deletion_wins_over_a_value_that_expires(shelf, order):
    writes = [
        {"id": "a", "title": (None, 10), "views": (1, 10)},
        {"id": "a", "title": ("t", 10, 1000), "views": (1, 10)},
    ]
    shelf.write(writes[order])
    shelf.write(writes[1 - order])
    assert shelf.title(id="a") is None
