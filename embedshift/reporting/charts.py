"""The charts of a report; matplotlib draws each from the record."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from html import escape
from io import StringIO
from itertools import pairwise
from typing import Any

from embedshift.reporting.proof import recall_depths
from embedshift.reporting.section import number, percent, share

#: Placeholder colour → its name in the page's style sheet.
INK, FAINT, OLD, NEW, BAD = "#0000a1", "#0000a2", "#0000a3", "#0000a4", "#0000a5"
SUBJECTS = tuple(f"#0000b{n}" for n in range(8))
_NAMES = {INK: "ink", FAINT: "faint", OLD: "old", NEW: "new", BAD: "bad"} | {
    colour: f"subject-{n}" for n, colour in enumerate(SUBJECTS)
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "embedshift",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "text.parse_math": False,
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the placeholder colours until the block ends."""
    from matplotlib import rc_context

    with rc_context(_STYLE):
        yield


def to_svg(figure: Any, name: str, title: str, text: str) -> str:
    """The figure as an ``<svg>`` element.

    Args:
        figure: a ``matplotlib.figure.Figure``, drawn within ``styled``.
        name: put before every id, so that the charts of a page share no id.
        title: what the chart is.
        text: what the chart shows, for people who cannot see it.
    """
    buffer = StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r'\bid="', f'id="{name}-', drawn)
    drawn = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", drawn)
    for colour, ours in _NAMES.items():
        drawn = drawn.replace(colour, f"var(--{ours})")
    opening, rest = drawn.split(">", 1)
    view = re.search(r'viewBox="[^"]*"', opening)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {view and view[0]}'
    labels = f'role="img" aria-labelledby="{name}-title {name}-text"'
    words = f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-text">{escape(text)}</desc>'
    return f"{head} {labels}>{words}{rest.strip()}"


Record = Mapping[str, Any]
#: Inches. Small, so that the texts can be read on a phone.
_WIDE = (5.0, 2.9)


def picture(name: str, record: Record) -> str:
    """The chart with that name as an ``<svg>`` element with title and text."""
    from matplotlib.figure import Figure

    draw, title = _PICTURES[name]
    with styled():
        figure = Figure(figsize=_WIDE, layout="constrained")
        text = draw(figure, record)
        return to_svg(figure, name, title, text)


def _recall(figure: Any, record: Record) -> str:
    depths = recall_depths(record)
    values = [record[f"recall@{k}"] for k in depths]
    spans = [(record.get("intervals") or {}).get(f"recall@{k}") or {} for k in depths]
    lows = [_or(each.get("low"), value) for each, value in zip(spans, values, strict=True)]
    highs = [_or(each.get("high"), value) for each, value in zip(spans, values, strict=True)]
    axes = figure.subplots()
    places = range(len(depths))
    below = [max(0, value - low) for value, low in zip(values, lows, strict=True)]
    above = [max(0, high - value) for value, high in zip(values, highs, strict=True)]
    axes.errorbar(places, values, yerr=[below, above], fmt="o", color=NEW, ecolor=NEW, capsize=5)
    limit = next((c.get("limit") for c in record.get("checks") or [] if c.get("name") == "recall_at_10"), None)
    if limit is not None:
        axes.axhline(limit, color=BAD, linestyle="--", linewidth=1)
        axes.annotate("limit", (-0.4, limit), xytext=(0, 3), textcoords="offset points", color=INK)
    axes.set_xticks(list(places), [f"recall@{k}" for k in depths])
    least = min([*lows, *([] if limit is None else [limit])])
    axes.set_xlim(-0.5, len(depths) - 0.5)
    axes.set_ylim(max(0, least - max(0.02, (1 - least) * 0.3)), 1.005)
    axes.set_ylabel("share of the true nearest found")
    said = [
        f"recall@{k} {share(v)}, {share(a)} to {share(b)}"
        for k, v, a, b in zip(depths, values, lows, highs, strict=True)
    ]
    return "; ".join(said)


def _relevance(figure: Any, record: Record) -> str:
    each = record["relevance"]["per_question"]
    pairs = Counter((round(a, 2), round(b, 2)) for a, b in zip(each["old"], each["new"], strict=False))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1)
    colours = [NEW if b > a else INK if b == a else BAD for a, b in pairs]
    sizes = [14 * n for n in pairs.values()]
    axes.scatter([a for a, _ in pairs], [b for _, b in pairs], s=sizes, c=colours, alpha=0.65, linewidths=0)
    axes.set(xlabel="nDCG@10, old", ylabel="nDCG@10, new", xlim=(-0.08, 1.08), ylim=(-0.1, 1.1))
    axes.annotate("better than before", (0.02, 0.97), xycoords="axes fraction", va="top", color=INK)
    axes.annotate("worse", (0.98, 0.03), xycoords="axes fraction", ha="right", color=INK)
    won = sum(n for (a, b), n in pairs.items() if b > a)
    lost = sum(n for (a, b), n in pairs.items() if b < a)
    return (
        f"One point per question, larger for several: {won} above the diagonal are better, {lost} below it are worse."
    )


def _latency(figure: Any, record: Record) -> str:
    found = record["latency"]
    parts = [
        (f"{side}, {n} {'client' if n == '1' else 'clients'}", colour, line, (found.get(side) or {}).get(n))
        for side, colour in (("old", OLD), ("new", NEW))
        for n, line in (("1", "-"), ("8", "--"))
    ]
    return _quantiles(figure, parts)


def _shadow(figure: Any, record: Record) -> str:
    times = record["shadow"]["latency"]
    return _quantiles(figure, [("old", OLD, "-", times.get("old")), ("new", NEW, "-", times.get("new"))])


def _quantiles(figure: Any, parts: list[tuple[str, str, str, Any]]) -> str:
    from matplotlib.ticker import LogLocator, NullLocator

    axes = figure.subplots()
    said = []
    for name, colour, line, part in parts:
        quantiles = (part or {}).get("quantiles_ms") or []
        if len(quantiles) < 2:
            continue
        shares = [100 * at / (len(quantiles) - 1) for at in range(len(quantiles))]
        axes.plot([max(each, 1e-3) for each in quantiles], shares, line, color=colour, label=name, linewidth=1.6)
        said.append(
            f"{name}: half within {number(part.get('p50_ms'), 3)} ms, 95 % within {number(part.get('p95_ms'), 3)} ms"
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set(xlabel="milliseconds", ylabel="searches answered, %", ylim=(0, 101))
    if said:
        axes.legend(loc="lower right")
    return "; ".join(said) or "no latency was measured"


def _lengths(figure: Any, record: Record) -> str:
    found = record["lengths"]
    edges, counts = found["edges"], found["counts"]
    axes = figure.subplots()
    widths = [high - low for low, high in pairwise(edges)]
    axes.bar(
        edges[: len(counts)], counts, width=widths, align="edge", color=NEW, alpha=0.8, edgecolor=FAINT, linewidth=0.3
    )
    limit = found.get("max_length")
    if limit is not None:
        axes.axvline(limit, color=BAD, linestyle="--", linewidth=1)
        axes.annotate(
            "cut here",
            (limit, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, -10),
            textcoords="offset points",
            color=INK,
        )
    axes.set(xlabel="tokens of a text", ylabel="texts")
    return f"{number(found.get('cut'))} of {number(found.get('of'))} texts are longer than {number(limit)} tokens"


def _throughput(figure: Any, record: Record) -> str:
    found = record["throughput"]
    axes = figure.subplots()
    axes.stairs(found["rows_per_s"], found["edges_s"], color=NEW, fill=True, alpha=0.8)
    axes.set(xlabel="seconds since the load began", ylabel="rows per second", ylim=(0, None))
    mean, most = number(found.get("rows_per_s_mean"), 3), number(max(found["rows_per_s"]), 3)
    return f"{mean} rows per second on average, at most {most}"


def _projection(figure: Any, record: Record) -> str:
    found = record["projection"]
    subjects = Counter(str(row[2]) for row in found["old"] if len(row) > 2 and row[2])
    colours = {name: SUBJECTS[at] for at, (name, _) in enumerate(subjects.most_common(len(SUBJECTS)))}
    explained = found.get("explained") or {}
    for axes, side, plain in zip(figure.subplots(1, 2), ("old", "new"), (OLD, NEW), strict=True):
        rows = found[side]
        chosen = [colours.get(str(row[2]), FAINT) if subjects and len(row) > 2 else plain for row in rows]
        axes.scatter([row[0] for row in rows], [row[1] for row in rows], s=7, c=chosen, alpha=0.8, linewidths=0)
        axes.set_title(f"{side} ({percent(explained.get(side))})", fontsize=9, color=INK)
        axes.tick_params(labelbottom=False, labelleft=False, length=0)
    return f"{len(found['old'])} articles as points, by the old model on the left and by the new one on the right"


def _trial(figure: Any, record: Record) -> str:
    candidates = record["candidates"]
    axes = figure.subplots()
    for at, each in enumerate(reversed(candidates)):
        change = each["differences"]["ndcg@10"]
        colour = BAD if each["verdict"] == "worse" else NEW
        axes.plot([change["low"], change["high"]], [at, at], color=colour, linewidth=2)
        axes.plot([change["mean"]], [at], "o", color=colour)
    axes.axvline(0, color=OLD, linewidth=1)
    names = [each["model"] for each in reversed(candidates)]
    axes.set_yticks(range(len(candidates)), [name if len(name) <= 24 else f"{name[:23]}…" for name in names])
    axes.set_ylim(-0.7, len(candidates) - 0.3)
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel("nDCG@10, candidate minus live")
    said = [f"{each['model']} {each['differences']['ndcg@10']['mean']:+.3f}" for each in candidates]
    return f"Mean difference and interval of each candidate: {', '.join(said)}"


def _or(value: Any, other: float) -> float:
    return other if value is None else float(value)


_PICTURES: dict[str, tuple[Callable[[Any, Record], str], str]] = {
    "recall": (_recall, "Recall of the index by depth, with intervals"),
    "relevance": (_relevance, "nDCG@10 of each question, old and new"),
    "latency": (_latency, "Latency of searches, old and new"),
    "shadow": (_shadow, "Latency of shadow searches, old and new"),
    "lengths": (_lengths, "Lengths of the texts, and where they are cut"),
    "throughput": (_throughput, "Rows per second while loading"),
    "trial": (_trial, "Differences of nDCG@10 to the live model, with intervals"),
    "projection": (_projection, "Vectors of old and new, projected"),
}
