"""The row of a migration: its source and target, its state, and the run that owns it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace

from embedshift.catalog.actor import is_dead
from embedshift.catalog.dead_letters import LETTER_BUCKETS
from embedshift.catalog.ledger import forget_ledger
from embedshift.catalog.raised_cells import forget_raised
from embedshift.catalog.setup import check_current
from embedshift.catalog.states import ENDED, STATES
from embedshift.catalog.tables import CONTROL, DEAD_LETTER, MIGRATION, RANGE, SHADOW, VALIDATION
from embedshift.catalog.vector_table import VectorTable
from embedshift.errors import RefusedError, SchemaError, StateError
from embedshift.settings import ModelSettings, Settings
from embedshift.stores.contract import Store
from embedshift.stores.records import Record
from embedshift.times import now_us


@dataclass(frozen=True, slots=True)
class Facts:
    """What the steps have recorded of a migration; None until they have. Times are microseconds since the epoch.

    ``upgrade`` says that ``embedshift upgrade`` started it. ``sync_pass`` is the number of the pass; during a pass,
    ``sync_since_us`` is the time from which rows are compared (None: all rows), and ``sync_pass_us`` is when it began.
    ``compared_us`` is when the last complete pass began. ``indexed_from_us`` is before which time the target took no
    write when its index was built.
    """

    upgrade: bool = False
    rows_estimated: int = 0
    ranges_planned: int = 0
    rows: int | None = None
    dead: int | None = None
    load_seconds: float = 0.0
    index_seconds: float | None = None
    indexed_from_us: int | None = None
    sync_pass: int = 0
    sync_pass_open: bool = False
    sync_pass_us: int | None = None
    sync_since_us: int | None = None
    compared_us: int | None = None
    switched_us: int | None = None
    retired_us: int | None = None
    aborted_us: int | None = None

    @classmethod
    def from_json(cls, text: str) -> Facts:
        """The inverse of writing ``asdict`` as JSON; fields of other versions are ignored."""
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in json.loads(text).items() if name in known})


@dataclass(frozen=True, slots=True)
class Migration:
    """A migration as the catalog has it.

    ``wanted`` is the name of the target in the settings. The target has another one if a table of that name was dropped
    before.
    """

    id: str
    alias: str
    source: VectorTable
    target: VectorTable
    result_keys: Mapping[str, str]
    state: str
    facts: Facts
    owner: str
    owned_since_us: int
    lease_until_us: int
    created_us: int
    updated_us: int
    wanted: str = ""

    @property
    def copies_vectors(self) -> bool:
        """Whether source and target have the same model, so that vectors are copied and not computed."""
        return self.source.model.fingerprint == self.target.model.fingerprint


def _of(row: Record) -> Migration:
    if row["source_vector_table"] is None:
        raise StateError(
            f"a former version of embedshift has written migration {row['id']}",
            hint="end its runs, then take the catalog over: embedshift schema apply",
        )
    return Migration(
        row["id"],
        row["alias"],
        VectorTable.from_json(row["source_vector_table"]),
        VectorTable.from_json(row["target_vector_table"]),
        json.loads(row["result_keys"]),
        row["state"],
        Facts.from_json(row["facts"]),
        row["owner"] or "",
        row["owned_since_us"] or 0,
        row["lease_until_us"] or 0,
        row["created_us"],
        row["updated_us"],
        row["target"],
    )


def migrations(store: Store, alias: str | None = None) -> list[Migration]:
    """All migrations, or those of an alias, oldest first; none if there is no catalog yet."""
    try:
        rows = [row for row in store.records.select(MIGRATION, {}) if alias in (None, row["alias"])]
    except SchemaError:
        if not store.records.has(MIGRATION):
            return []
        check_current(store)
        raise
    return sorted((_of(row) for row in rows), key=lambda each: each.created_us)


def find_migration(store: Store, settings: Settings) -> Migration | None:
    """The migration of these settings, ended or not: the newest one into their target."""
    name = settings.target.table
    fitting = [each for each in migrations(store, settings.alias) if name in (each.target.table, each.wanted)]
    return fitting[-1] if fitting else None


def get_migration(store: Store, settings: Settings) -> Migration:
    """The migration of these settings.

    Raises:
        StateError: there is none.
        RefusedError: it was prepared under settings with another result; the message names the keys that differ.
    """
    migration = find_migration(store, settings)
    if migration is None:
        raise StateError(f"there is no migration into {settings.target.table}", hint="run embedshift prepare first")
    check_settings(migration, settings)
    return migration


def check_settings(migration: Migration, settings: Settings) -> None:
    """Raises RefusedError if the settings would change the migration's result."""
    was, now = _effective(migration, migration.result_keys), _effective(migration, settings.result_keys())
    names = sorted({*was, *now})
    if STATES[migration.state].index_settled:
        # The index of a live table may have got other options in place since.
        names = [name for name in names if not name.startswith("target.index.")]
    changed = [
        f"{name} (was {was.get(name, 'unset')}, now {now.get(name, 'unset')})"
        for name in names
        if was.get(name) != now.get(name)
    ]
    if changed:
        raise RefusedError(
            f"migration {migration.id} was prepared under other settings: {', '.join(changed)}",
            hint="put them back, or name another target.table",
        )


def _effective(migration: Migration, keys: Mapping[str, str]) -> dict[str, str]:
    """Result keys with what they leave open: settings that came later, and the prompts that the models name."""
    effective = dict(keys)
    for side, record in (("source", migration.source.model), ("target", migration.target.model)):
        known = {name: keys.get(f"{side}.model.{name}") for name in ModelSettings.model_fields}
        given = {name: json.loads(text) for name, text in known.items() if text is not None}
        if given:
            given = {"name": record.name, **given}
            if given.get("service") is not None and record.service is not None:
                given["service"] = {**record.service.model_dump(mode="json"), **given["service"]}
            asked = record.with_prompts(ModelSettings(**given)).model_dump(mode="json")
            effective |= {f"{side}.model.{name}": json.dumps(value) for name, value in asked.items()}
    return effective


def create_migration(
    store: Store, settings: Settings, source: VectorTable, target: VectorTable, facts: Facts | None = None
) -> Migration:
    """Record a migration; if it is already recorded, return it."""
    ended = sum(each.target.table == target.table for each in migrations(store, settings.alias) if each.state in ENDED)
    name = f"{source.table}-to-{target.table}" + (f"-{ended + 1}" if ended else "")
    store.records.insert(
        MIGRATION,
        {
            "id": name,
            "alias": settings.alias,
            "source": source.table,
            "target": settings.target.table,
            "source_vector_table": source.to_json(),
            "target_vector_table": target.to_json(),
            "result_keys": json.dumps(settings.result_keys()),
            "settings_digest": settings.digest(),
            "state": "preparing",
            "facts": json.dumps(asdict(facts or Facts())),
            "owner": "",
            "owned_since_us": 0,
            "lease_until_us": 0,
            "created_us": now_us(),
            "updated_us": now_us(),
        },
    )
    return get_migration(store, settings)


def record_index(store: Store, alias: str, wanted: VectorTable) -> None:
    """Write the name and the options of a table's index into the migrations that go from that table, or to it.

    Raises:
        StateError: somebody else has changed one of them in the same moment.
    """
    for each in migrations(store, alias):
        for column, known in (("source_vector_table", each.source), ("target_vector_table", each.target)):
            if each.state in ENDED or known.table != wanted.table or known.index == wanted.index:
                continue
            changed = replace(known, index_name=wanted.index_name, index_options=wanted.index_options)
            row = {"id": each.id}
            seen = {column: known.to_json()}
            if not store.records.update_if(MIGRATION, row, {column: changed.to_json()}, seen):
                raise StateError(f"migration {each.id} was changed just now", hint="run reindex again")


def forget_work(store: Store, migration: str) -> None:
    """Remove ranges, dead letters, validations, signals, shadow figures and ledger of a migration; its row stays."""
    rows = store.records.select(RANGE, {})
    steps = {(row["step"], row["bucket"]) for row in rows if row["migration"] == migration}
    store.records.delete(RANGE, *({"migration": migration, "step": step, "bucket": at} for step, at in steps))
    for bucket in range(LETTER_BUCKETS):
        store.records.delete(DEAD_LETTER, {"migration": migration, "bucket": bucket})
    for table in (VALIDATION, CONTROL, SHADOW):
        store.records.delete(table, {"migration": migration})
    forget_ledger(store, migration)
    forget_raised(store, migration)


def read_migration(store: Store, migration: str) -> Migration:
    """The row with that id, as it is now."""
    row = store.records.get(MIGRATION, {"id": migration})
    if row is None:
        raise StateError(f"there is no migration {migration}")
    return _of(row)


def is_owned(migration: Migration) -> bool:
    """Whether a living run owns it."""
    return bool(migration.owner) and migration.lease_until_us > now_us() and not is_dead(migration.owner)


def peek_owner(store: Store, migration: str) -> tuple[str, int]:
    """Which run owns it, and until when (microseconds). Reads at a quorum, for callers that poll."""
    row = next(store.records.select(MIGRATION, {"id": migration}), None)
    return ("", 0) if row is None else (row["owner"] or "", row["lease_until_us"] or 0)
