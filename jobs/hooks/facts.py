"""What a hook is told: a few facts about a migration, never a secret and never the text of an article."""

from __future__ import annotations

from datetime import UTC, datetime

from jobs.catalog.alias import whoami
from jobs.catalog.migration import Migration

#: Name to value; all are texts, empty where there is nothing to say.
Facts = dict[str, str]


def facts(event: str, alias: str, migration: Migration | None, **more: str) -> Facts:
    """The facts of an event, in the order in which the documentation has them.

    Args:
        event: one of the hooks' names.
        migration: the one that it is about, where there is one.
        more: ``state``, ``previous_state``, ``step``, ``error`` and ``exit_code``.
    """
    told = {
        "event": event,
        "alias": alias,
        "migration": migration.id if migration else "",
        "state": migration.state if migration else "",
        "previous_state": "",
        "source": migration.source.table if migration else "",
        "target": migration.target.table if migration else "",
        "old_model": migration.source.model.name if migration else "",
        "model": migration.target.model.name if migration else "",
        "step": "",
        "error": "",
        "exit_code": "",
        "run": whoami(),
        "time": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
    }
    return {**told, **more}


def as_environment(facts: Facts) -> dict[str, str]:
    """The facts as environment variables, such as ``EMBEDSHIFT_STATE``."""
    return {f"EMBEDSHIFT_{name.upper()}": value.replace("\0", "") for name, value in facts.items()}
