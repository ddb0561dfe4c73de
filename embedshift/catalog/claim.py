"""The claim on an alias: the right to move it next. It is a number in the alias's row that only grows.

Whoever wants to move the alias, or to drop a table of its migrations, takes the next number first, then makes sure that
the reasons for it still hold, and moves the alias only under that number. A run that was paused meanwhile, and whose
reasons no longer hold, finds that somebody else has taken a number since.
"""

from __future__ import annotations

from dataclasses import dataclass

from embedshift.catalog.actor import shown, whoami
from embedshift.catalog.tables import CLAIM
from embedshift.errors import RefusedError, StateError
from embedshift.stores.contract import Store
from embedshift.stores.records import Record

#: How many rivals may take a number between our look at the row and our change of it.
_TRIES = 20


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to move an alias, as long as nobody else claims it. ``version`` is that of the alias's last move."""

    alias: str
    version: int
    number: int

    @property
    def expected(self) -> Record:
        """What the alias's row must hold for the claim to be good."""
        return {"version": self.version, "claim": self.number}


def claim_alias(store: Store, alias: str, migration: str) -> Claim:
    """Take the next number; whoever had one can no longer move the alias.

    Args:
        store: has the catalog.
        alias: its name.
        migration: for which the alias is to be moved, or a table dropped; empty if for none.

    Raises:
        StateError: there is no such alias.
    """
    for _ in range(_TRIES):
        row = _row(store, alias)
        number = (row["claim"] or 0) + 1
        if _change(store, row, number, migration):
            return Claim(alias, row["version"], number)
    raise StateError(f"{_TRIES} others have claimed the alias {alias} just now", hint="try again")


def revoke_claim(store: Store, alias: str, migration: str) -> None:
    """Make sure that no earlier run of a migration can move the alias any more: this run has taken its place."""
    for _ in range(_TRIES):
        row = store.records.get(CLAIM, {"alias": alias})
        if row is None or row["claimed_for"] != migration:
            return
        if _change(store, row, row["claim"] + 1, ""):
            return
    raise StateError(f"{_TRIES} others have claimed the alias {alias} just now", hint="try again")


def check_claim(store: Store, claim: Claim) -> None:
    """Raises RefusedError if somebody else has claimed or moved the alias since. A serial read."""
    row = _row(store, claim.alias)
    if row["version"] == claim.version and row["claim"] != claim.number:
        by = shown(row["claimed_by"] or "another run")
        raise RefusedError(
            f"{by} has claimed the alias {claim.alias} meanwhile", hint="look at embedshift status and decide again"
        )


def _row(store: Store, alias: str) -> Record:
    row = store.records.get(CLAIM, {"alias": alias})
    if row is None:
        raise StateError(f"there is no alias {alias}", hint="run embedshift import or embedshift prepare first")
    return row


def _change(store: Store, seen: Record, number: int, migration: str) -> bool:
    changes = {"claim": number, "claimed_for": migration, "claimed_by": whoami()}
    return store.records.update_if(
        CLAIM, {"alias": seen["alias"]}, changes, {"version": seen["version"], "claim": seen["claim"]}
    )
