"""What the catalog knows of rows that one of two tables has and the other lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from embedshift.catalog.dead_letters import read_dead_letters
from embedshift.catalog.ledger import Entry, confirm, known_in_both
from embedshift.catalog.tables import LEDGER
from embedshift.spark.transfer import Transfer
from embedshift.stores.contract import Store


@dataclass(frozen=True, slots=True)
class Known:
    """Rows are named as in ``Layout.names``.

    Args:
        only_copies: rows that one table has and the other could not be given: they are never deleted.
        deletions: rows that a client has deleted in the other table, and could not delete in this one; and when.
        catalog: has the ledger; None if there is none.
        migration: whose ledger it is.
        confirms: whether rows that are seen in both tables are entered there.
    """

    only_copies: frozenset[str] = frozenset()
    deletions: Mapping[str, int] = field(default_factory=dict)
    catalog: Store | None = None
    migration: str = ""
    confirms: bool = False

    @classmethod
    def of(cls, catalog: Store, transfer: Transfer) -> Known:
        """What is known for a transfer; nothing, if a table is repaired from itself."""
        if transfer.layout.in_place:
            return cls()
        if not catalog.records.has(LEDGER):
            return cls()  # a dry run on a catalog that no run of this version has worked on yet
        letters = list(read_dead_letters(catalog, transfer.migration))
        deletions = {
            letter.id: letter.at_us for letter in letters if letter.deletes and letter.of_way_back == transfer.backwards
        }
        # Whichever way they failed to go: what did not arrive there is only here.
        others = [each for each in letters if each.of_way_back != transfer.backwards and not each.deletes]
        return cls(
            frozenset(letter.id for letter in others), deletions, catalog, transfer.migration, bool(transfer.owner)
        )

    def seen(self, names: Sequence[str], times: Sequence[int]) -> None:
        """These rows are in both tables, their newest cells written at these times."""
        if self.catalog is not None and self.confirms:
            confirm(self.catalog, self.migration, [Entry(*each) for each in zip(names, times, strict=True)])

    def deleted(self, table: str, names: Sequence[str], times: Sequence[int]) -> list[bool]:
        """Which rows of a table, missing in the other one, were deleted there.

        Args:
            table: which has the rows.
            names: of the rows.
            times: when the newest cell of each was written, in microseconds.
        """
        if self.catalog is None:
            return [False] * len(names)
        entries = [Entry(*each) for each in zip(names, times, strict=True)]
        in_both = known_in_both(self.catalog, self.migration, table, entries)
        return [
            known or each.written_us <= self.deletions.get(each.id, -1)
            for known, each in zip(in_both, entries, strict=True)
        ]
