"""A write as rows of the log (ScyllaDB's documentation, "The CDC Log Table")."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from tests.scylla.catalog import Table
from tests.scylla.frames import Unset, Value
from tests.scylla.statements import Change, Term

UPDATE, INSERT, ROW_DELETE, PARTITION_DELETE = 1, 2, 3, 4
#: Of rows that the server deletes by itself, since their time has passed.
SERVICE_ROW_DELETE, SERVICE_PARTITION_DELETE = -3, -4
#: How a range of deleted rows begins and ends: at a bound that belongs to it, or beside it.
_BEGINS, _ENDS = {">=": 5, ">": 6}, {"<=": 7, "<": 8}


@dataclass(frozen=True)
class Cell:
    """A term of the log's INSERT, and the values of its markers."""

    text: str
    values: tuple[Value, ...] = ()


@dataclass(frozen=True)
class Row:
    """A row of the log: its operation, and its cells by column."""

    operation: int
    cells: dict[str, Cell]


def rows_of(change: Change, table: Table, values: Sequence[Value]) -> list[Row]:
    """What the log says of a write."""
    fixed: dict[str, list[Cell]] = {name: [_cell(term, values)] for name, term in change.sets.items()}
    if change.verb != "insert":
        fixed = {
            each.column: [_cell(term, values) for term in each.terms]
            for each in change.where
            if each.sign in ("=", "IN")
        }
    named = [name for name in table.keys if name in fixed]
    rows = []
    for chosen in product(*(fixed[name] for name in named)):
        key = dict(zip(named, chosen, strict=True))
        rows += _deletion(change, table, key, values) if _deletes_rows(change) else [_write(change, table, key, values)]
    return rows


def _deletes_rows(change: Change) -> bool:
    return change.verb == "delete" and not change.parts


def _write(change: Change, table: Table, key: dict[str, Cell], values: Sequence[Value]) -> Row:
    """Cells that are set, and a flag for each that is removed; one that was left out is not mentioned."""
    cells = dict(key)
    for name in change.deletes:
        cells[f"cdc$deleted_{name}"] = Cell("true")
    for name, term in change.sets.items():
        if name in table.keys:
            continue
        cell = _cell(term, values)
        if cell.values == (Unset.UNSET,):
            continue
        if cell.text.lower() == "null" or (cell.text == "?" and cell.values == (None,)):
            cells[f"cdc$deleted_{name}"] = Cell("true")
        else:
            cells[name] = cell
    ttl = number(change.ttl, values)
    if ttl:
        cells["cdc$ttl"] = Cell(str(ttl))
    return Row(INSERT if change.verb == "insert" else UPDATE, cells)


def _deletion(change: Change, table: Table, key: dict[str, Cell], values: Sequence[Value]) -> list[Row]:
    """A row, a partition, or a range of rows by its two ends. Without a clustering key each row is a partition."""
    if all(name in key for name in table.keys):
        return [Row(ROW_DELETE if table.clustering else PARTITION_DELETE, key)]
    bounds = [each for each in change.where if each.sign in _BEGINS | _ENDS and each.column in table.clustering]
    if not bounds and len(key) == len(table.partition):
        return [Row(PARTITION_DELETE, key)]
    begin, end = Row(_BEGINS[">="], key), Row(_ENDS["<="], key)
    for each in bounds:
        cells = key | {each.column: _cell(each.terms[0], values)}
        if each.sign in _BEGINS:
            begin = Row(_BEGINS[each.sign], cells)
        else:
            end = Row(_ENDS[each.sign], cells)
    return [begin, end]


def _cell(term: Term, values: Sequence[Value]) -> Cell:
    return Cell(term.text, tuple(values[at] for at in term.markers))


def number(term: Term | None, values: Sequence[Value]) -> int | None:
    """A whole number, in the text or bound; None if it was left out."""
    if term is None:
        return None
    if not term.markers:
        return int(term.text.replace(" ", ""))
    value = values[term.markers[0]]
    return int.from_bytes(value, "big", signed=True) if isinstance(value, bytes) else None
