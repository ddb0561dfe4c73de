"""The report as Markdown for a pull request: tables, no pictures. Texts of articles and questions cannot mark it up."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jobs.reporting.figures import moment
from jobs.reporting.section import Section, Table
from jobs.reporting.sections import sections
from jobs.reporting.verdict import verdict

_MARKS = re.compile(r"([\\`*_\[\]<>&|~#!$])")
#: What a forge makes links or mentions of, whatever is escaped: a space of no width keeps it from that.
_LINKS = re.compile(r"((?<!\w)@|:(?=//)|www(?=\.))", re.IGNORECASE)
_NO_WIDTH = "\u200b"


def markdown_page(record: Mapping[str, Any]) -> str:
    """The Markdown of a record."""
    mark = "✅" if record.get("passed") else "❌"
    made = sections(record)
    blocks = [
        f"# Validation of {plain(record.get('migration') or 'a migration')}",
        f"{mark} **{plain(verdict(record))}**",
        f"Made {plain(moment(record.get('made_us') or record.get('started_us')))}.",
    ]
    for section in made:
        if not section.absent:
            blocks.extend(_section(section))
    left_out = [f"- {plain(each.title)}: {plain(each.absent)}" for each in made if each.absent]
    if left_out:
        blocks.extend(("## Not in this report", "\n".join(left_out)))
    return "\n\n".join(blocks) + "\n"


def plain(text: Any) -> str:
    """A text that Markdown shows as it is, on one line."""
    return _LINKS.sub(rf"\1{_NO_WIDTH}", _MARKS.sub(r"\\\1", " ".join(str(text).split())))


def _section(section: Section) -> Iterator[str]:
    if section.folded:
        yield f"<details><summary>{plain(section.title)}</summary>"
    else:
        yield f"## {plain(section.title)}"
    if section.lead:
        yield plain(section.lead)
    for table in section.tables:
        if len(section.tables) > 1 or table.caption.startswith("“"):
            yield f"**{plain(table.caption)}**"
        yield "\n".join(_table(table))
    if section.folded:
        yield "</details>"


def _table(table: Table) -> Iterator[str]:
    yield _row(table.headers)
    yield _row(["--:" if at in table.numeric else "---" for at in range(len(table.headers))], escape=False)
    for at, row in enumerate(table.rows):
        yield _row(
            [f"**{plain(cell)}**" if cell else "" for cell in row] if at in table.faulty else [*map(plain, row)],
            escape=False,
        )


def _row(cells: Sequence[str], *, escape: bool = True) -> str:
    return f"| {' | '.join(plain(cell) if escape else cell for cell in cells)} |"
