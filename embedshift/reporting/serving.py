"""Sections about serving: latency, shadow reading, text lengths, space, projection, and the load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from embedshift.reporting.section import (
    Section,
    Table,
    milliseconds,
    moment,
    number,
    percent,
    seconds,
    share,
    size,
    span,
)

Record = Mapping[str, Any]

_LATENCY = ("", "searches", "p50", "p95", "p99")
_FIGURES = frozenset({1, 2, 3, 4})


def latency(record: Record) -> Section:
    """How long searches of both tables take."""
    found = record.get("latency")
    if not found:
        return Section("latency", "Latency", absent="Not measured in this validation.")
    rows = [
        _latency_row(f"{side}, {_clients(n)}", part)
        for n in ("1", "8")
        for side in ("old", "new")
        if (part := (found.get(side) or {}).get(n))
    ]
    ratios = [
        f"{value:.2f} with {_clients(n)}"
        for n, value in (found.get("ratio_p95") or {}).items()
        if isinstance(value, int | float)
    ]
    lead = f"The new table's 95th percentile as a multiple of the old table's: {', '.join(ratios)}." if ratios else ""
    table = Table("Time of one search, including the embedding of the question", _LATENCY, rows, _FIGURES)
    return Section("latency", "Latency", lead, [table], "latency")


def shadow(record: Record) -> Section:
    """Real searches that were sent to both tables."""
    title = "Shadow reading"
    found = record.get("shadow")
    if not found:
        return Section("shadow", title, absent="Not done: embedshift shadow or articles.shadow does it.")
    pairs = (("overlap@10", "overlap@10"), ("rbo", "rank-biased overlap (p = 0.9)"))
    alike = [(name, share((found.get(key) or {}).get("mean")), span(found.get(key))) for key, name in pairs]
    tables = [Table("How alike the answers are", ("measure", "mean", "95 % interval"), alike, frozenset({1, 2}))]
    times = found.get("latency") or {}
    rows = [_latency_row(side, times[side]) for side in ("old", "new") if times.get(side)]
    if rows:
        tables.append(Table("Time of one search, including the embedding of the question", _LATENCY, rows, _FIGURES))
    lead = (
        f"{number(found.get('searches'))} searches were sent to both tables between {moment(found.get('from_us'))} and "
        f"{moment(found.get('to_us'))}; {number(found.get('dropped'))} were dropped to keep answers quick, "
        f"{number(found.get('failed') or 0)} failed."
    )
    return Section("shadow", title, lead, tables, "shadow" if rows else "")


def lengths(record: Record) -> Section:
    """How long texts are, and what the model cuts."""
    title = "Length of the texts"
    found = record.get("lengths")
    if not found:
        return Section("lengths", title, absent="Not measured in this validation.")
    cut, of = found.get("cut"), found.get("of")
    part = f" ({percent(cut / of)})" if cut is not None and of else ""
    sample = " The chart shows a sample." if found.get("sampled") else ""
    lead = (
        f"The new model reads {number(found.get('max_length'))} tokens of a text; "
        f"{number(cut)} of {number(of)} texts{part} are longer and lose their end.{sample}"
    )
    edges, counts = found.get("edges") or [], found.get("counts") or []
    rows = [
        (f"{number(low)} to {number(high)}", number(n))
        for low, high, n in zip(edges, edges[1:], counts, strict=False)
        if n
    ]
    table = Table("Texts by their number of tokens", ("tokens", "texts"), rows, frozenset({1}))
    return Section("lengths", title, lead, [table], "lengths" if rows else "")


def throughput(record: Record) -> Section:
    """Rows per second during the load."""
    title = "Throughput of the load"
    found = record.get("throughput")
    if not found:
        return Section("throughput", title, absent="The catalog has no finished range of a load.")
    row = (
        "load",
        number(found.get("rows")),
        number(found.get("ranges")),
        seconds(found.get("seconds")),
        f"{number(found.get('rows_per_s_mean'), 3)} rows/s",
    )
    table = Table("Load", ("", "rows", "ranges", "from first to last", "mean"), [row], _FIGURES)
    lead = f"From {moment(found.get('from_us'))}. In a gap no run was at work."
    return Section("throughput", title, lead, [table, *_services(record)], "throughput")


def _services(record: Record) -> list[Table]:
    """What services were asked for, if any was."""
    rows = [
        (str(each["model"]), number(each["requests"]), number(each["tokens"]), number(each["cost"], 4))
        for each in record.get("services") or []
    ]
    columns = ("model", "requests", "tokens", "cost")
    return [Table("Embedding services, for the whole migration", columns, rows, _FIGURES)] if rows else []


def projection(record: Record) -> Section:
    """The vectors of both models in two dimensions."""
    title = "Vectors of old and new"
    found = record.get("projection")
    if not found or not found.get("old") or not found.get("new"):
        return Section("projection", title, absent="Not measured in this validation.")
    explained = found.get("explained") or {}
    lead = (
        "The same articles in both tables on their first two principal components, "
        "coloured by subject if there is one. "
        f"They explain {percent(explained.get('old'))} of the old vectors' variance and "
        f"{percent(explained.get('new'))} of the new ones'. This is a picture to look at, not a proof."
    )
    return Section("projection", title, lead, (), "projection")


def space(record: Record) -> Section:
    """The space that both tables take."""
    found = record.get("space")
    if not found:
        return Section("space", "Space", absent="Not measured in this validation.")
    rows, notes = [], []
    for side in ("old", "new", "before", "after"):
        part = found.get(side)
        if not part:
            continue
        how = "measured" if part.get("measured") else "computed"
        cells = (number(part.get("rows")), number(part.get("dimension")))
        rows.append((side, *cells, size(part.get("table_bytes")), size(part.get("index_bytes")), how))
        if part.get("note"):
            notes.append(f"{side}: {part['note']}")
    headers = ("", "rows", "dimension", "table", "index", "how")
    return Section("space", "Space", "; ".join(notes), [Table("Space", headers, rows, _FIGURES)])


def _latency_row(name: str, part: Record) -> tuple[str, ...]:
    times = (milliseconds(part.get(key)) for key in ("p50_ms", "p95_ms", "p99_ms"))
    return (name, number(part.get("searches")), *times)


def _clients(n: str) -> str:
    return "1 client" if n == "1" else f"{n} clients"
