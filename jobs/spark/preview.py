"""What a transfer would do: the same comparison, range by range, and nothing written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from jobs.spark.reader import difference_of
from jobs.spark.spread import spread
from jobs.spark.transfer import Transfer
from jobs.stores.contract import Store
from jobs.tokens import TokenRange

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True, slots=True)
class Preview:
    """Rows compared, rows of which something would be written, and rows that would be deleted."""

    read: int = 0
    written: int = 0
    deleted: int = 0

    def __add__(self, other: Preview) -> Preview:
        """The sum over ranges that share no row."""
        return Preview(self.read + other.read, self.written + other.written, self.deleted + other.deleted)


def preview(session: SparkSession, transfer: Transfer, ranges: Sequence[TokenRange]) -> Preview:
    """Compare every range and count."""
    return spread(session, transfer.store_settings, ranges, partial(_preview, transfer.to_json()))


def _preview(text: str, store: Store, within: TokenRange) -> Preview:
    difference = difference_of(store, Transfer.from_json(text))
    rows = sum(batch.num_rows for batch in difference.batches(within))
    return Preview(difference.read, rows - difference.deleted, difference.deleted)
