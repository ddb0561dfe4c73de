"""What the catalog knows of rows that one of two tables has and the other lacks. It is read when it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property

from embedshift.catalog.dead_letters import DeadLetter, read_dead_letters
from embedshift.catalog.ledger import Entry, confirm, known_in_both
from embedshift.catalog.raised_cells import RaisedCell, any_raised, raised_cells
from embedshift.catalog.tables import LEDGER, RAISED_CELL
from embedshift.spark.transfer import Transfer
from embedshift.stores.contract import Store


class Known:
    """What is known for the range of a transfer. Rows are named as in ``Layout.names``."""

    def __init__(self, catalog: Store, transfer: Transfer) -> None:
        self._catalog, self._transfer = catalog, transfer

    @cached_property
    def only_copies(self) -> frozenset[str]:
        """Rows that one table has and the other could not be given, whichever way: they are never deleted."""
        letters = [each for each in self._letters if each.of_way_back != self._transfer.backwards and not each.deletes]
        # What a client has deleted since is wanted nowhere.
        return frozenset(letter.id for letter in letters) - set(self.deletions)

    @cached_property
    def never_arrived(self) -> frozenset[str]:
        """Rows that the source has and the target could not be given: they were never in both."""
        letters = [each for each in self._letters if each.of_way_back == self._transfer.backwards and not each.deletes]
        return frozenset(letter.id for letter in letters)

    def deleted(self, table: str, names: Sequence[str], times: Sequence[int]) -> list[bool]:
        """Which rows of a table, or cells of them, that are missing in the other table were deleted there.

        Args:
            table: which has them.
            names: of the rows.
            times: when they were written, in microseconds.
        """
        if not self._has_ledger:
            return [False] * len(names)
        entries = [Entry(*each) for each in zip(names, times, strict=True)]
        in_both = known_in_both(self._catalog, self._transfer.migration, table, entries)
        return [
            known or each.written_us <= self.deletions.get(each.id, -1)
            for known, each in zip(in_both, entries, strict=True)
        ]

    def raised(self, table: str, names: Sequence[str]) -> list[RaisedCell]:
        """The cells of some rows of a table, also deleted ones, that have a later time there than their own."""
        return raised_cells(self._catalog, self._transfer.migration, table, names) if self.any_raised(table) else []

    def any_raised(self, table: str) -> bool:
        """Whether a table has such cells."""
        return table in self._with_raised

    @cached_property
    def _with_raised(self) -> frozenset[str]:
        layout = self._transfer.layout
        if layout.in_place or not self._catalog.records.has(RAISED_CELL):
            return frozenset()
        tables = (layout.source.table, layout.target.table)
        return frozenset(each for each in tables if any_raised(self._catalog, self._transfer.migration, each))

    def seen(self, entries: Sequence[Entry]) -> None:
        """These cells are in both tables."""
        if self._transfer.owner:
            confirm(self._catalog, self._transfer.migration, entries)

    @cached_property
    def deletions(self) -> Mapping[str, int]:
        """Rows that a client has deleted in the source, and could not delete in the target; and when."""
        letters = [each for each in self._letters if each.deletes and each.of_way_back == self._transfer.backwards]
        return {letter.id: letter.at_us for letter in letters}

    @cached_property
    def _letters(self) -> list[DeadLetter]:
        # A table that is repaired from itself belongs to no migration.
        return (
            [] if self._transfer.layout.in_place else list(read_dead_letters(self._catalog, self._transfer.migration))
        )

    @cached_property
    def _has_ledger(self) -> bool:
        # Not in a dry run on a catalog that no run of this version has worked on yet.
        return not self._transfer.layout.in_place and self._catalog.records.has(LEDGER)
