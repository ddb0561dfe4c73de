"""Merging two scans: every row's fate is found once, however the scans are cut into batches."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from embedshift.stores.merge_join import merge
from embedshift.stores.model import TOKEN
from embedshift.tokens import MAX_TOKEN, MIN_TOKEN

ONE = pa.schema([(TOKEN, pa.int64()), ("id", pa.string()), ("side", pa.string())])
TWO = pa.schema([(TOKEN, pa.int64()), ("id", pa.string()), ("place", pa.int32()), ("side", pa.string())])

# A token follows from the partition's key; some partitions share one, and each has several rows.
TOKENS = {"a": MIN_TOKEN + 1, "b": -5, "c": 0, "d": 0, "e": 1, "f": MAX_TOKEN, "g": MAX_TOKEN}
keys = st.lists(st.tuples(st.sampled_from("abcdefg"), st.integers(0, 3)), unique=True, max_size=25).map(
    lambda found: [(TOKENS[id_], id_, place) for id_, place in found]
)
cuts = st.lists(st.integers(1, 6), max_size=25)


def scan(rows: list[tuple[int, str, int]], schema: pa.Schema, side: str, sizes: list[int]) -> Iterator[pa.RecordBatch]:
    """The rows in token order, in batches of the sizes given, and of 4 beyond them."""
    rows = sorted(rows)
    at, sizes = 0, list(sizes)
    while at < len(rows):
        part = rows[at : at + (sizes.pop(0) if sizes else 4)]
        at += len(part)
        values = {TOKEN: [r[0] for r in part], "id": [r[1] for r in part], "place": [r[2] for r in part]}
        values["side"] = [side] * len(part)
        yield pa.RecordBatch.from_arrays([pa.array(values[f.name], f.type) for f in schema], schema=schema)


def names(rows: pa.RecordBatch, keys: list[str]) -> list[tuple[object, ...]]:
    return list(zip(*(rows.column(name).to_pylist() for name in (TOKEN, *keys)), strict=True))


@settings(max_examples=300)
@given(keys, keys, cuts, cuts)
def test_pairs_and_lonely_rows_are_found_exactly_with_a_compound_key(left, right, left_cuts, right_cuts):
    pairs: Counter[object] = Counter()
    alone: list[Counter[object]] = [Counter(), Counter()]
    columns = ["id", "place"]
    for each in merge(
        scan(left, TWO, "left", left_cuts), scan(right, TWO, "right", right_cuts), schemas=(TWO, TWO), keys=columns
    ):
        assert each.left.num_rows == each.right.num_rows
        assert set(each.left.column("side").to_pylist()) <= {"left"}
        assert set(each.right.column("side").to_pylist()) <= {"right"}
        assert names(each.left, columns) == names(each.right, columns)
        pairs.update(names(each.left, columns))
        alone[0].update(names(each.left_only, columns))
        alone[1].update(names(each.right_only, columns))
    assert pairs == Counter(set(left) & set(right))
    assert alone[0] == Counter(set(left) - set(right))
    assert alone[1] == Counter(set(right) - set(left))


@settings(max_examples=200)
@given(keys, keys, cuts, cuts)
def test_pairs_and_lonely_rows_are_found_exactly_with_a_single_key(left, right, left_cuts, right_cuts):
    ours, theirs = ([(token, f"{id_}{place}", 0) for token, id_, place in rows] for rows in (left, right))
    found: list[list[object]] = [[], [], []]
    for each in merge(
        scan(ours, ONE, "left", left_cuts), scan(theirs, ONE, "right", right_cuts), schemas=(ONE, ONE), keys=["id"]
    ):
        for place, rows in enumerate((each.left, each.left_only, each.right_only)):
            found[place] += names(rows, ["id"])
    keys_of = [{(row[0], row[1]) for row in rows} for rows in (ours, theirs)]
    assert sorted(found[0]) == sorted(keys_of[0] & keys_of[1])
    assert sorted(found[1]) == sorted(keys_of[0] - keys_of[1])
    assert sorted(found[2]) == sorted(keys_of[1] - keys_of[0])


def test_what_is_held_is_bounded_by_the_batches():
    """Invariant 8: a row leaves as soon as the other side has passed it."""
    rows = [(token, "a", 0) for token in range(0, 3000, 2)]
    others = [(token, "a", 0) for token in range(1, 3000, 2)]
    most = 0
    ours, theirs = scan(rows, TWO, "left", [100] * 15), scan(others, TWO, "right", [100] * 15)
    for each in merge(ours, theirs, schemas=(TWO, TWO), keys=["id", "place"]):
        most = max(most, each.left_only.num_rows, each.right_only.num_rows)
    assert most <= 200


def test_two_empty_scans_merge_to_nothing():
    assert list(merge(iter(()), iter(()), schemas=(ONE, ONE), keys=["id"])) == []


def test_keys_that_look_alike_in_parts_are_told_apart():
    schema = pa.schema([(TOKEN, pa.int64()), ("id", pa.string()), ("place", pa.string())])
    left = pa.RecordBatch.from_arrays([pa.array([1]), pa.array(["a', 'b"]), pa.array(["c"])], schema=schema)
    right = pa.RecordBatch.from_arrays([pa.array([1]), pa.array(["a"]), pa.array(["b', 'c"])], schema=schema)
    merged = list(merge(iter([left]), iter([right]), schemas=(schema, schema), keys=["id", "place"]))
    assert sum(each.left.num_rows for each in merged) == 0


@pytest.mark.parametrize("empty", ["left", "right"])
def test_a_side_without_rows_leaves_the_other_alone(empty):
    rows = [(1, "a", 0), (2, "b", 0)]
    sides = {"left": scan(rows, TWO, "left", []), "right": scan(rows, TWO, "right", [])} | {empty: iter(())}
    merged = list(merge(sides["left"], sides["right"], schemas=(TWO, TWO), keys=["id", "place"]))
    lonely = [(each.left_only, each.right_only)[empty == "left"].num_rows for each in merged]
    assert sum(lonely) == 2
