"""Rows that seem to differ, until they are looked at again."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import pyarrow as pa


@dataclass(slots=True)
class Doubts:
    """Keys of rows that seem to differ, and the wait before they are looked at again: once, however many come.

    Args:
        wait_s: how old the newest of them must be when the first ones are looked at again.
    """

    wait_s: float
    rows: int = 0
    _keys: list[pa.RecordBatch] = field(default_factory=list)
    _seen_at: float = 0.0
    _waited: bool = False

    def add(self, keys: pa.RecordBatch) -> None:
        """Hold the keys of a batch."""
        if keys.num_rows:
            self._keys.append(keys)
            self.rows += keys.num_rows
            self._seen_at = time.monotonic()

    def ripe(self) -> pa.RecordBatch | None:
        """All of them, after the wait; None where there are none."""
        if not self._keys:
            return None
        if not self._waited:
            time.sleep(max(0.0, self._seen_at + self.wait_s - time.monotonic()))
            self._waited = True
        keys, self._keys, self.rows = self._keys, [], 0
        return pa.concat_batches(keys)
