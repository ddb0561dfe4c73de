"""The page of a trial: candidates beside the live model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from embedshift.reporting.page import page_of
from embedshift.reporting.section import Section, Table, moment, number, percent, share, size

_MEASURES = {"ndcg@10": "nDCG@10", "recall@10": "recall@10", "mrr@10": "MRR@10"}
_EVIDENCE = {
    "labels": "labelled questions",
    "titles": "titles as questions, each with its own article as the one right answer: weaker evidence than labels",
    "beginnings": "beginnings of texts as questions, each with its own article as the one right answer: weak evidence",
}
Record = Mapping[str, Any]


def trial_page(record: Record) -> str:
    """The HTML page of a trial's record."""
    best = max(record["candidates"], key=_difference)
    return page_of(
        record,
        [_relevance(record), _cost(record), _sample(record)],
        kind="trial",
        title=str(record["table"]),
        verdict=verdict(record),
        passed=best["verdict"] == "better",
        when=moment(record["made_us"]),
    )


def verdict(record: Record) -> str:
    """Which candidates answer better or worse, in one sentence."""
    said = {"better": "answers better than", "worse": "answers worse than"}
    parts = [
        f"{each['model']} {said[each['verdict']]} {record['live']['model']}"
        if each["verdict"] in said
        else f"between {each['model']} and {record['live']['model']} no difference was seen"
        for each in sorted(record["candidates"], key=_difference, reverse=True)
    ]
    return "; ".join(parts)


def _difference(candidate: Mapping[str, Any]) -> float:
    return float(candidate["differences"]["ndcg@10"]["mean"])


def _relevance(record: Record) -> Section:
    asked, live = record["questions"], record["live"]
    rows = [(f"{live['model']} (live)", *(share(live[name]) for name in _MEASURES), "", "", "")]
    faulty = set()
    for at, each in enumerate(record["candidates"], 1):
        change = each["differences"]["ndcg@10"]
        interval = f"{change['mean']:+.4f} ({change['low']:+.4f} to {change['high']:+.4f})"
        least = "–" if each["detectable"] is None else f"{each['detectable']:.4f}"
        rows.append((each["model"], *(share(each[name]) for name in _MEASURES), interval, each["verdict"], least))
        if each["verdict"] == "worse":
            faulty.add(at)
    headers = ("model", *_MEASURES.values(), "nDCG@10 against live", "verdict", "could see")
    table = Table("Relevance on the sample", headers, rows, frozenset({1, 2, 3, 4, 6}), frozenset(faulty))
    lead = (
        f"{number(asked['number'])} {_EVIDENCE[asked['kind']]}. The intervals are those of the paired differences, "
        "question by question. “Could see” is the smallest difference that so many questions show in 80 of 100 trials."
    )
    return Section("relevance", "Relevance", lead, [table], "trial")


def _cost(record: Record) -> Section:
    rows = [
        (
            each["model"],
            number(each["dimension"]),
            size(each["bytes_per_row"]),
            "?" if each["cut"] is None else percent(each["cut"]),
            number(each["faults"]),
            number(each["texts_per_s"]),
            f"{each['hours']:,.1f}",
            "–" if each["cost"] is None else number(each["cost"]),
        )
        for each in record["candidates"]
    ]
    live = record["live"]
    rows.insert(0, (f"{live['model']} (live)", number(live["dimension"]), size(live["bytes_per_row"]), *("–",) * 5))
    headers = ("model", "dimensions", "bytes/row", "cut", "failed", "texts/s", "hours", "price")
    lead = (
        f"For all {number(record['rows'])} rows. Hours are those of this machine alone, at the speed of the trial; "
        "bytes are those of a vector in table and index, in each replica."
    )
    return Section("cost", "Cost", lead, [Table("What each takes", headers, rows, frozenset(range(1, 8)))])


def _sample(record: Record) -> Section:
    drawn, asked = record["sample"], record["questions"]
    rows = [
        ("labelled articles", number(drawn["labelled"])),
        ("drawn articles", number(drawn["drawn"])),
        ("a drawn one stands for", f"{drawn['weight']:,.1f}"),
        ("questions left out", number(asked["left_out"])),
        ("seed", str(record["seed"])),
    ]
    lead = (
        "Every labelled article is in the sample. A drawn one counts as often as it stands for others of the table; so "
        "the figures are those that the whole table would have, as far as the sample tells."
    )
    return Section("sample", "Sample", lead, [Table("Sample", ("", "number"), rows, frozenset({1}))])
