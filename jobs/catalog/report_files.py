"""Where the files of validations lie: the JSON record, and pages for people beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Format = Literal["html", "markdown", "json"]

_ENDINGS: dict[Format, str] = {"html": ".html", "markdown": ".md", "json": ".json"}


def record_path(named: Path | None, migration: str, number: int | None = None) -> Path:
    """The JSON record of a migration's newest validation, or of that number in the same folder.

    Args:
        named: ``validation.report``.
    """
    newest = named or Path(f"validation-{migration}.json")
    return newest if number is None else newest.with_name(f"validation-{migration}-{number}.json")


def beside(record: Path, form: Format) -> Path:
    """The file of another format beside a record."""
    if form == "json":
        return record
    page = record.with_suffix(_ENDINGS[form])
    return page if page != record else record.with_name(record.name + _ENDINGS[form])


def pages_of(named: Path | None, migration: str) -> list[Path]:
    """The files made of a migration's validations that are there: pages of the newest, and all of numbered ones."""
    newest = record_path(named, migration)
    found = [beside(newest, "html"), beside(newest, "markdown")]
    for ending in _ENDINGS.values():
        found += sorted(newest.parent.glob(f"validation-{migration}-*{ending}"))
    return [path for path in dict.fromkeys(found) if path.is_file()]
