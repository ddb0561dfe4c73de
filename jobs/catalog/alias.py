"""The alias row: the one thing that readers follow, moved only by compare-and-set on its version."""

from __future__ import annotations

import getpass
import os
import re
import socket
import uuid
from dataclasses import dataclass
from pathlib import Path

from jobs.catalog.endpoint import Endpoint
from jobs.catalog.tables import ALIAS, ALIAS_HISTORY, now_us
from jobs.errors import RefusedError, SchemaError, StateError
from jobs.stores.contract import Store
from jobs.stores.record import Record


@dataclass(frozen=True, slots=True)
class Alias:
    """Where an alias points now, and where it pointed before."""

    name: str
    target: Endpoint
    version: int
    migration: str
    previous: Endpoint | None
    moved_us: int
    moved_by: str


def whoami() -> str:
    """Who acts: user, host and process, for the record."""
    return f"{getpass.getuser()}@{socket.gethostname()}:{os.getpid()}"


def new_run() -> str:
    """Who acts, and which of its runs: two runs of one process are two."""
    return f"{whoami()}/{uuid.uuid4().hex[:6]}"


def is_dead(actor: str) -> bool:
    """Whether ``whoami`` named a process of this machine that is no more; False where it cannot be told."""
    found = re.match(r".*@(?P<host>[^:]*):(?P<process>\d+)", actor)
    if not found or found["host"] != socket.gethostname():
        return False
    try:
        os.kill(int(found["process"]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    # A killed process whose parent has not asked after it yet is still listed.
    status = Path("/proc", found["process"], "stat")
    return status.exists() and status.read_text().rpartition(")")[2].split()[0] == "Z"


def find_alias(store: Store, name: str) -> Alias | None:
    """The alias row, or None where there is none yet, or no catalog."""
    try:
        row = store.records.get(ALIAS, {"alias": name})
    except SchemaError:
        if store.records.has(ALIAS):
            raise
        return None
    if row is None:
        return None
    previous = Endpoint.from_json(row["previous"]) if row["previous"] else None
    return Alias(
        name,
        Endpoint.from_json(row["target"]),
        row["version"],
        row["migration"],
        previous,
        row["moved_us"],
        row["moved_by"],
    )


def get_alias(store: Store, name: str) -> Alias:
    """The alias row. Raises StateError where there is none."""
    alias = find_alias(store, name)
    if alias is None:
        raise StateError(f"there is no alias {name}", hint="run embedshift import or embedshift prepare first")
    return alias


def aliases_of(store: Store, table: str) -> list[str]:
    """The aliases that point to a table at this moment: each row is read by itself, so that no move is overlooked."""
    names = [row["alias"] for row in store.records.select(ALIAS, {})]
    return [name for name in names if get_alias(store, name).target.table == table]


def create_alias(store: Store, name: str, target: Endpoint) -> Alias:
    """Point a new alias at a table; where it exists, it is left alone and returned."""
    row = _row(name, target, version=1, migration="", previous=None)
    if store.records.insert(ALIAS, row):
        _remember(store, row, reason="created")
    return get_alias(store, name)


def move_alias(store: Store, seen: Alias, target: Endpoint, *, migration: str, reason: str) -> Alias:
    """Move the alias from what was seen to a new target: table and model in one write.

    Raises:
        RefusedError: somebody else has moved it since it was seen; nothing is changed.
    """
    row = _row(seen.name, target, version=seen.version + 1, migration=migration, previous=seen.target)
    changes = {key: value for key, value in row.items() if key != "alias"}
    if not store.records.update_if(ALIAS, {"alias": seen.name}, changes, {"version": seen.version}):
        now = get_alias(store, seen.name)
        raise RefusedError(
            f"{now.moved_by} has moved the alias {seen.name} to {now.target.table} (version {now.version})",
            hint="look at embedshift status and decide anew",
        )
    _remember(store, row, reason=reason)
    return get_alias(store, seen.name)


def history(store: Store, name: str) -> list[Record]:
    """Every move of the alias, oldest first."""
    return list(store.records.select(ALIAS_HISTORY, {"alias": name}))


def _row(name: str, target: Endpoint, *, version: int, migration: str, previous: Endpoint | None) -> Record:
    return {
        "alias": name,
        "target": target.to_json(),
        "version": version,
        "migration": migration,
        "previous": previous.to_json() if previous else "",
        "moved_us": now_us(),
        "moved_by": whoami(),
    }


def _remember(store: Store, row: Record, *, reason: str) -> None:
    kept = {key: row[key] for key in ("alias", "version", "target", "migration", "moved_us", "moved_by")}
    store.records.insert(ALIAS_HISTORY, {**kept, "reason": reason})
