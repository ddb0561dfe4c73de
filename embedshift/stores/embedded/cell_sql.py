"""Cassandra's cell model in SQL: which write wins, and what is alive.

A cell is three columns: its value, its write time in microseconds, and its expiry in seconds since the epoch. The
expiry is ``NO_EXPIRY`` for a cell without a TTL and ``DELETED`` for a deletion. All three are null if the cell was
never written. So of two writes of one cell the one with the greater (write time, expiry, value) wins: at equal times a
deletion, then the value that expires (the later one), then the greater value. Cassandra's ``Cells.reconcile`` and
ScyllaDB's ``compare_atomic_cell_for_merge`` decide in the same way. A row deletion removes the cells that it covers at
once. Its time remains, and hides older writes that arrive later.
"""

from __future__ import annotations

from collections.abc import Sequence

from embedshift.stores.model import Column, Table, remaining_ttl, write_time

NO_EXPIRY = 0
DELETED = 2**63 - 1
_BEGINNING = -(2**63)
_INTEGERS = frozenset({"int", "bigint", "smallint", "tinyint", "timestamp", "boolean"})
_TEXTS = frozenset({"text", "varchar", "ascii"})


def quoted(name: str) -> str:
    """A name in SQL.

    In backticks: SQLite reads an unknown name in double quotes as a text.
    """
    return "`" + name.replace("`", "``") + "`"


def rows_table(table: str) -> str:
    """The SQLite table of a table's rows, quoted."""
    return quoted(f"rows:{table}")


def key(column: str) -> str:
    """The SQLite column of a primary key's column, quoted."""
    return quoted(f"k:{column}")


def cell(column: str) -> tuple[str, str, str]:
    """The SQLite columns of a cell, quoted: value, write time, expiry."""
    return quoted(f"v:{column}"), quoted(f"w:{column}"), quoted(f"e:{column}")


def affinity(column: Column) -> str:
    """The SQLite type of a column: TEXT and INTEGER for types that they hold exactly, BLOB for all others."""
    if column.type in _TEXTS:
        return "TEXT"
    return "INTEGER" if column.type in _INTEGERS else "BLOB"


def created(table: Table) -> list[str]:
    """The statements that create a table's rows, with the order for scans and the order of changes."""
    name = rows_table(table.name)
    keys = ", ".join(key(c.name) for c in table.keys)
    # Vectors last: SQLite then does not read them to get at the other cells.
    others = sorted(table.others, key=lambda c: affinity(c) == "BLOB")
    parts = [
        "row INTEGER PRIMARY KEY AUTOINCREMENT",
        "token INTEGER NOT NULL",
        "sequence INTEGER NOT NULL",
        f"deleted INTEGER NOT NULL DEFAULT ({_BEGINNING})",
        "marker_time INTEGER",
        "marker_expiry INTEGER",
        *(f"{key(c.name)} {affinity(c)} NOT NULL" for c in table.keys),
        *(f"{part} INTEGER" for c in others for part in cell(c.name)[1:]),
        *(f"{cell(c.name)[0]} {affinity(c)}" for c in others),
        f"UNIQUE (token, {keys})",
    ]
    changes = quoted(f"changes:{table.name}")
    return [f"CREATE TABLE {name} ({', '.join(parts)})", f"CREATE INDEX {changes} ON {name} (sequence)"]


def added(table: str, column: Column) -> list[str]:
    """The statements that add a cell to every row."""
    value, time, expiry = cell(column.name)
    types = ((time, "INTEGER"), (expiry, "INTEGER"), (value, affinity(column)))
    return [f"ALTER TABLE {rows_table(table)} ADD COLUMN {name} {type_}" for name, type_ in types]


def alive(expiry: str) -> str:
    """The condition that something with this expiry is alive at ``:now`` (seconds)."""
    return f"({expiry} = {NO_EXPIRY} OR {expiry} > :now AND {expiry} < {DELETED})"


def cell_alive(column: str) -> str:
    """The condition that a cell holds a value at ``:now`` (seconds)."""
    return alive(cell(column)[2])


def row_alive(table: Table) -> str:
    """The condition that a row exists at ``:now``: its marker or any of its cells is alive."""
    return f"({' OR '.join([alive('marker_expiry'), *(cell_alive(c.name) for c in table.others)])})"


def selected(table: Table, values: Sequence[str], times: Sequence[str]) -> str:
    """The columns of a scan: token, keys, live values, then write time and remaining seconds of live cells."""
    parts = ["token", *(key(c.name) for c in table.keys)]
    for name in values:
        parts.append(f"CASE WHEN {cell_alive(name)} THEN {cell(name)[0]} END AS {quoted(name)}")
    for name in times:
        _, time, expiry = cell(name)
        parts.append(f"CASE WHEN {cell_alive(name)} THEN {time} END AS {quoted(write_time(name))}")
        parts.append(
            f"CASE WHEN {expiry} > :now AND {expiry} < {DELETED} THEN {expiry} - :now END"
            f" AS {quoted(remaining_ttl(name))}"
        )
    return ", ".join(parts)


def _cell_wins(column: Column) -> str:
    value, time, expiry = cell(column.name)
    new, old = (
        [f"excluded.{time}", f"excluded.{expiry}"],
        [f"coalesce({time}, deleted)", f"coalesce({expiry}, {DELETED})"],
    )
    if affinity(column) == "INTEGER":
        # Values compare as unsigned bytes, so a negative number is greater than a positive one.
        new.append(f"excluded.{value} < 0")
        old.append(f"{value} < 0")
    return f"({', '.join([*new, f'excluded.{value}'])}) > ({', '.join([*old, value])})"


_MARKER_WINS = (
    "(excluded.marker_time, 0, excluded.marker_expiry)"
    " > (coalesce(marker_time, deleted), marker_time IS NULL, coalesce(marker_expiry, 0))"
)


def upsert(table: Table, columns: Sequence[Column]) -> str:
    """The statement that writes a row's marker and cells, each only if it wins.

    Its parameters: sequence, token, keys, the marker's time and expiry, and value, time and expiry of each column.
    """
    keys = [key(c.name) for c in table.keys]
    cells = [part for c in columns for part in cell(c.name)]
    names = ["sequence", "token", *keys, "marker_time", "marker_expiry", *cells]
    changes = ["sequence = excluded.sequence"]
    wins = [_MARKER_WINS]
    changes += [
        f"{n} = CASE WHEN {_MARKER_WINS} THEN excluded.{n} ELSE {n} END" for n in ("marker_time", "marker_expiry")
    ]
    for column in columns:
        wins.append(_cell_wins(column))
        changes += [f"{n} = CASE WHEN {wins[-1]} THEN excluded.{n} ELSE {n} END" for n in cell(column.name)]
    return (
        f"INSERT INTO {rows_table(table.name)} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
        f" ON CONFLICT (token, {', '.join(keys)}) DO UPDATE SET {', '.join(changes)} WHERE {' OR '.join(wins)}"
    )


def deletion(table: Table) -> str:
    """The statement that deletes a row at a time; parameters: sequence, token, keys, time."""
    keys = [key(c.name) for c in table.keys]
    names = ["sequence", "token", *keys, "deleted"]
    parts: list[tuple[str, tuple[str, ...]]] = [("marker_time", ("marker_time", "marker_expiry"))]
    parts += [(cell(c.name)[1], cell(c.name)) for c in table.others]
    changes = ["sequence = excluded.sequence", "deleted = excluded.deleted"]
    changes += [f"{n} = CASE WHEN {time} > excluded.deleted THEN {n} END" for time, wiped in parts for n in wiped]
    return (
        f"INSERT INTO {rows_table(table.name)} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})"
        f" ON CONFLICT (token, {', '.join(keys)}) DO UPDATE SET {', '.join(changes)}"
        " WHERE excluded.deleted > deleted"
    )
