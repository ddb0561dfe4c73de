"""The report as one HTML page that needs no network and no script. Every text in it is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from embedshift import __version__
from embedshift.catalog.validations import outcomes
from embedshift.reporting import origin, proof, serving
from embedshift.reporting.charts import picture
from embedshift.reporting.section import Section, Table, moment

_MAKERS = (
    proof.checks,
    proof.faults,
    proof.relevance,
    proof.unlabelled,
    proof.lost_most,
    proof.recall,
    serving.latency,
    serving.shadow,
    serving.lengths,
    serving.projection,
    serving.throughput,
    serving.space,
    origin.models,
    origin.timings,
    origin.settings,
)


def sections(record: Mapping[str, Any]) -> list[Section]:
    """Every section; a section without data says why."""
    return [make(record) for make in _MAKERS]


#: Two means that differ by less are the same to three decimals.
_SAME = 0.0005


def verdict(record: Mapping[str, Any]) -> str:
    """Whether the target is ready for cutover, which checks passed, and how relevance changed."""
    ready = "is ready" if record.get("passed") else "is not ready"
    return f"{new_table(record)} {ready} for cutover: {outcomes(record).words}; {_relevance(record)}"


def new_table(record: Mapping[str, Any]) -> str:
    """The name of the table that was validated, if the record has it."""
    named = ((record.get("tables") or {}).get("new") or {}).get("table")
    return str(named or str(record.get("migration") or "").partition("-to-")[2] or "the new table")


def _relevance(record: Mapping[str, Any]) -> str:
    labelled, unlabelled = record.get("relevance"), record.get("unlabelled")
    if labelled and labelled.get("difference"):
        return _moved(labelled, "ndcg@10", "nDCG@10")
    if unlabelled and unlabelled.get("difference"):
        measure = "ndcg@10" if "ndcg@10" in unlabelled["difference"] else next(iter(unlabelled["difference"]))
        kind = f" ({unlabelled.get('kind') or 'without labels'} as questions)"
        return _moved(unlabelled, measure, measure.replace("ndcg", "nDCG") + kind)
    if labelled:
        return "relevance could not be judged: the table has no article of any question"
    return "relevance was not measured: there are no labelled questions"


def _moved(judged: Mapping[str, Any], measure: str, name: str) -> str:
    change = judged["difference"][measure]
    old, new = judged["old"][measure], judged["new"][measure]
    confidence = f"{(change.get('confidence') or 0.95) * 100:g} %"
    interval = f"({change['mean']:+.3f}, {confidence} {change['low']:.2f} to {change['high']:.2f})"
    if abs(change["mean"]) < _SAME:
        return f"{name} stayed at {new:.3f} {interval}"
    return f"{name} {'rose' if change['mean'] > 0 else 'fell'} from {old:.3f} to {new:.3f} {interval}"


def html_page(record: Mapping[str, Any]) -> str:
    """The page of a validation's record."""
    return page_of(
        record,
        sections(record),
        kind="validation",
        title=str(record.get("migration") or "validation"),
        verdict=verdict(record),
        passed=bool(record.get("passed")),
        when=moment(record.get("made_us") or record.get("started_us")),
    )


def page_of(
    record: Mapping[str, Any],
    made: Sequence[Section],
    *,
    kind: str,
    title: str,
    verdict: str,
    passed: bool,
    when: str,
) -> str:
    """A page of sections, with the charts that they name.

    Args:
        record: what the charts are drawn from.
        made: the sections.
        kind: what it is a page of.
        title: of which migration or table.
        verdict: the heading.
        passed: whether that is good.
        when: it was made.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("embedshift.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # It contains only our own numbers and texts, so it is markup already.
    drawn = {each.id: Markup(picture(each.picture, record)) for each in made if each.picture}
    return environment.get_template("report.html").render(
        kind=kind,
        title=title,
        verdict=verdict,
        passed=passed,
        when=when,
        shown=[each for each in made if not each.absent],
        absent=[each for each in made if each.absent],
        pictures=drawn,
        version=__version__,
    )


_MARKS = re.compile(r"([\\`*_\[\]<>&|~#!$])")
#: GitHub and others turn these into links or mentions even if they are escaped; a zero-width space prevents that.
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
    """A text as Markdown that is shown literally, on one line."""
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
