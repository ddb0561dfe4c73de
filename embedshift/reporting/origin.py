"""Sections about the validation itself: models, counts, times, settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from embedshift.reporting.section import NONE, Section, Table, moment, number, seconds

Record = Mapping[str, Any]

_ROWS = ("table", "model", "revision", "dimension", "precision", "fingerprint", "index", "metric")


def models(record: Record) -> Section:
    """Tables, models and fingerprints of both sides."""
    found, names = record.get("tables") or {}, record.get("models") or {}
    old = {"model": names.get("old"), **(found.get("old") or {})}
    new = {"model": names.get("new"), **(found.get("new") or {})}
    rows = [(name, _text(old.get(name)), _text(new.get(name))) for name in _ROWS if old.get(name) or new.get(name)]
    if not rows:
        return Section("models", "Tables and models", absent="The record has none.")
    return Section("models", "Tables and models", "", [Table("Tables and models", ("", "old", "new"), rows)])


def timings(record: Record) -> Section:
    """How long each part of the validation took, and what was counted."""
    parts = [(name, seconds(value)) for name, value in (record.get("timings") or {}).items()]
    counts = [(name, number(value)) for name, value in (record.get("counts") or {}).items()]
    tables = [
        Table(caption, ("", value), rows, frozenset({1}))
        for caption, value, rows in (("Time of each part", "time", parts), ("Counts", "rows", counts))
        if rows
    ]
    lead = f"The validation began at {moment(record.get('started_us'))}. The content was {record.get('content', NONE)}."
    return Section("timings", "Times and counts", lead, tables, folded=True)


def settings(record: Record) -> Section:
    """The settings of the validation."""
    found = record.get("settings")
    if not found:
        return Section("settings", "Settings", absent="The record has none.", folded=True)
    table = Table("Settings", ("key", "value"), list(_lines(found, "")))
    return Section("settings", "Settings", "Secrets are not settings, so there are none here.", [table], folded=True)


def _lines(tree: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _lines(value, f"{path}{key}.")
        elif f"{path}{key}" != "store.credentials_file":
            yield f"{path}{key}", _text(value)


def _text(value: Any) -> str:
    return NONE if value is None else str(value)
