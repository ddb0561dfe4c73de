"""The catalog's tables. docs/reference/catalog.md explains them to people."""

from __future__ import annotations

from embedshift.stores.records import RecordTable

ALIAS = RecordTable(
    "embedding_alias",
    partition=("alias",),
    columns={
        "alias": "text",
        "target": "text",
        "version": "bigint",
        "migration": "text",
        "previous": "text",
        "moved_us": "bigint",
        "moved_by": "text",
    },
)
ALIAS_HISTORY = RecordTable(
    "embedding_alias_history",
    partition=("alias",),
    clustering=("version",),
    columns={
        "alias": "text",
        "version": "bigint",
        "reason": "text",
        "target": "text",
        "migration": "text",
        "moved_us": "bigint",
        "moved_by": "text",
    },
)
MIGRATION = RecordTable(
    "migration",
    partition=("id",),
    columns={
        "id": "text",
        "alias": "text",
        "source": "text",
        "target": "text",
        "source_vector_table": "text",
        "target_vector_table": "text",
        "result_keys": "text",
        "settings_digest": "text",
        "state": "text",
        "facts": "text",
        "owner": "text",
        "owned_since_us": "bigint",
        "lease_until_us": "bigint",
        "created_us": "bigint",
        "updated_us": "bigint",
    },
)
RANGE = RecordTable(
    "migration_range",
    partition=("migration", "step", "bucket"),
    clustering=("range_start",),
    columns={
        "migration": "text",
        "step": "text",
        "bucket": "bigint",
        "range_start": "bigint",
        "range_end": "bigint",
        "state": "text",
        "rows_read": "bigint",
        "written": "bigint",
        "unchanged": "bigint",
        "dead": "bigint",
        "deleted": "bigint",
        "shadowed": "bigint",
        "attempts": "bigint",
        "owner": "text",
        "error": "text",
        "seconds": "double",
        "updated_us": "bigint",
    },
)
DEAD_LETTER = RecordTable(
    "dead_letter",
    partition=("migration", "bucket"),
    clustering=("id",),
    columns={
        "migration": "text",
        "bucket": "bigint",
        "id": "text",
        "range_start": "bigint",
        "range_end": "bigint",
        "step": "text",
        "reason": "text",
        "attempts": "bigint",
        "updated_us": "bigint",
    },
)
VALIDATION = RecordTable(
    "validation",
    partition=("migration",),
    clustering=("made_us",),
    columns={
        "migration": "text",
        "made_us": "bigint",
        "passed": "boolean",
        "content": "text",
        "report": "text",
    },
)
FEED = RecordTable(
    "feed",
    partition=("alias",),
    clustering=("feed",),
    columns={"alias": "text", "feed": "text", "position": "bigint", "updated_us": "bigint"},
)
CONTROL = RecordTable(
    "control",
    partition=("migration",),
    clustering=("name",),
    columns={"migration": "text", "name": "text", "value": "text", "set_us": "bigint", "set_by": "text"},
)
SHADOW = RecordTable(
    "shadow",
    partition=("migration",),
    clustering=("run",),
    columns={"migration": "text", "run": "text", "stats": "text", "updated_us": "bigint"},
)
ALL = (ALIAS, ALIAS_HISTORY, MIGRATION, RANGE, DEAD_LETTER, VALIDATION, FEED, CONTROL, SHADOW)
#: Partitions that one migration's ranges, or dead letters, are spread over. Of 100,000 ranges each holds about 6,000
#: rows, a megabyte or two; more of them would make every look at a small migration slow.
BUCKETS = 16
