"""The space that the vectors of a table and their index take."""

from __future__ import annotations

from dataclasses import dataclass

from embedshift.stores.contract import Store
from embedshift.stores.model import Index

_FLOAT32_BYTES = 4


@dataclass(frozen=True, slots=True)
class Space:
    """Bytes for one replica.

    Args:
        rows: the number of vectors.
        dimension: the dimension of each.
        table_bytes: bytes of the vectors in the table, without other columns and before the store compresses them.
        index_bytes: bytes of one copy of the index.
        measured: whether the index was measured; otherwise its size is computed.
        note: how the index's size was found.
    """

    rows: int
    dimension: int
    table_bytes: int
    index_bytes: int
    measured: bool
    note: str


def space_of(store: Store, index: Index, rows: int) -> Space:
    """The space of this many vectors in a table, and of its index."""
    size = store.index_size(index, rows)
    table_bytes = rows * index.dimension * _FLOAT32_BYTES
    return Space(rows, index.dimension, table_bytes, size.bytes, size.measured, size.note)


def in_words(space: Space) -> str:
    """For example ``vectors 307.2 MB, index 351.0 MB``."""
    return f"vectors {_megabytes(space.table_bytes)}, index {_megabytes(space.index_bytes)}"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"
