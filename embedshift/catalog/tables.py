"""The catalog's tables. docs/reference/catalog.md explains them to people."""

from __future__ import annotations

from embedshift.stores.records import declared

_MOVED = "alias text, target text, version bigint, migration text, previous text, moved_us bigint, moved_by text"
_CLAIMED = "claim bigint, claimed_for text, claimed_by text"
#: What everybody reads of an alias. An application needs no more, so that it bears a catalog that knows no claims yet.
ALIAS = declared("embedding_alias", _MOVED, partition="alias")
#: The same row, as those see it who want to move the alias.
CLAIM = declared("embedding_alias", f"alias text, version bigint, {_CLAIMED}", partition="alias")
#: The whole of it, as it is created and moved.
WHOLE_ALIAS = declared("embedding_alias", f"{_MOVED}, {_CLAIMED}", partition="alias")
ALIAS_HISTORY = declared(
    "embedding_alias_history",
    "alias text, version bigint, reason text, target text, migration text, moved_us bigint, moved_by text",
    partition="alias",
    clustering="version",
)
MIGRATION = declared(
    "migration",
    "id text, alias text, source text, target text, source_vector_table text, target_vector_table text, "
    "result_keys text, settings_digest text, state text, facts text, owner text, owned_since_us bigint, "
    "lease_until_us bigint, created_us bigint, updated_us bigint",
    partition="id",
)
RANGE = declared(
    "migration_range",
    "migration text, step text, bucket bigint, range_start bigint, range_end bigint, state text, "
    "rows_read bigint, written bigint, unchanged bigint, dead bigint, deleted bigint, shadowed bigint, "
    "attempts bigint, owner text, error text, seconds double, updated_us bigint",
    partition="migration step bucket",
    clustering="range_start",
)
DEAD_LETTER = declared(
    "dead_letter",
    "migration text, bucket bigint, id text, range_start bigint, range_end bigint, step text, reason text, "
    "attempts bigint, updated_us bigint",
    partition="migration bucket",
    clustering="id",
)
VALIDATION = declared(
    "validation",
    "migration text, made_us bigint, passed boolean, content text, report text",
    partition="migration",
    clustering="made_us",
)
FEED = declared(
    "feed",
    "alias text, feed text, position bigint, updated_us bigint",
    partition="alias",
    clustering="feed",
)
CONTROL = declared(
    "control",
    "migration text, name text, value text, set_us bigint, set_by text",
    partition="migration",
    clustering="name",
)
SHADOW = declared(
    "shadow",
    "migration text, run text, stats text, updated_us bigint",
    partition="migration",
    clustering="run",
)
TABLE_USE = declared(
    "table_use",
    "name text, aliases text, state text, version bigint, changed_us bigint, changed_by text",
    partition="name",
)
LEDGER = declared(
    "ledger",
    "migration text, slot bigint, id text, written_us bigint, into text, arrived boolean",
    partition="migration slot",
    clustering="id written_us",
)
RAISED_CELL = declared(
    "raised_cell",
    "migration text, slot bigint, id text, table_name text, cell text, at_us bigint, own_us bigint",
    partition="migration slot",
    clustering="id table_name cell at_us",
)
SERVICE_MODEL = declared(
    "service_model",
    "fingerprint text, name text, options text, made_us bigint",
    partition="fingerprint",
)
SERVICE_ANSWER = declared(
    "service_answer",
    "fingerprint text, role text, number bigint, vector text",
    partition="fingerprint",
    clustering="role number",
)
SERVICE_ACCOUNT = declared(
    "service_account",
    "migration text, model text, name text, cost bigint, tokens bigint, requests bigint, tokens_free_us bigint, "
    "requests_free_us bigint, version bigint, updated_us bigint",
    partition="migration",
    clustering="model",
)
ALL = (
    WHOLE_ALIAS,
    ALIAS_HISTORY,
    TABLE_USE,
    MIGRATION,
    RANGE,
    DEAD_LETTER,
    VALIDATION,
    FEED,
    CONTROL,
    SHADOW,
    LEDGER,
    RAISED_CELL,
    SERVICE_MODEL,
    SERVICE_ANSWER,
    SERVICE_ACCOUNT,
)
#: Partitions that one migration's ranges, or dead letters, are spread over. Of 100,000 ranges each holds about 6,000
#: rows, a megabyte or two; more of them would make every look at a small migration slow.
BUCKETS = 16
