"""The files of a report: HTML and Markdown, beside the JSON record."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from embedshift.catalog.validations import Format, beside
from embedshift.errors import UnavailableError
from embedshift.reporting.page import html_page, markdown_page


def rendered(material: Mapping[str, Any], form: Format) -> str:
    """The report in one format. JSON is the record, without titles, because they are texts of articles."""
    if form == "json":
        kept = {key: value for key, value in material.items() if key != "titles"}
        return json.dumps(kept, indent=2, ensure_ascii=False) + "\n"
    return _PAGES[form](material)


def write_report(material: Mapping[str, Any], form: Format, path: Path) -> Path:
    """Write a report. Raises UnavailableError if the file cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(rendered(material, form), encoding="utf-8", errors="replace")
    except OSError as error:
        raise UnavailableError(
            f"cannot write the report {path} ({error.strerror})", hint="name another file: embedshift report --output"
        ) from error
    return path


def write_pages(material: Mapping[str, Any], path: Path) -> list[Path]:
    """Write HTML and Markdown beside the JSON record at ``path``."""
    forms: tuple[Format, ...] = ("html", "markdown")
    return [write_report(material, form, beside(path, form)) for form in forms]


_PAGES: dict[str, Callable[[Mapping[str, Any]], str]] = {"html": html_page, "markdown": markdown_page}
