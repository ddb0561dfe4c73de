"""Sections about the proof: checks, faults, relevance, the questions that lost most, recall."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from embedshift.catalog.validations import Outcomes, outcomes
from embedshift.reporting.section import NONE, Section, Table, number, percent, share, signed, span
from embedshift.validation.remedies import REMEDIES

Record = Mapping[str, Any]

_NO_LABELS = "Not measured: validation.questions names no labelled questions."
_MEASURES = {"ndcg@10": "nDCG@10", "mrr@10": "MRR@10"}


def checks(record: Record) -> Section:
    """Every check with value, limit, denominator and note."""
    found = record.get("checks") or []
    if not found:
        return Section("checks", "Checks", absent="The record has none.")
    ended = outcomes(record)
    rows = [
        (
            str(each["name"]),
            _outcome(ended, str(each["name"])),
            number(each.get("value")),
            number(each.get("limit")),
            number(each.get("denominator")),
            _note(each),
        )
        for each in found
    ]
    faulty = frozenset(at for at, each in enumerate(found) if str(each["name"]) in ended.failed)
    table = Table("Checks", ("check", "outcome", "value", "limit", "of", "note"), rows, frozenset({2, 3, 4}), faulty)
    lead = f"{ended.words[0].upper()}{ended.words[1:]}. No check may fail; one that was not measured proves nothing."
    lead += " The limit is a maximum for faults and a minimum for scores."
    return Section("checks", "Checks", lead, [table])


def _note(check: Mapping[str, Any]) -> str:
    """What the check says, and if it failed what to do about it."""
    remedy = REMEDIES.get(str(check["name"]), "") if check["passed"] is False else ""
    return "; ".join(filter(None, (str(check.get("note") or ""), remedy)))


def _outcome(ended: Outcomes, name: str) -> str:
    if name in ended.failed:
        return "FAILED"
    return "not measured" if name in ended.not_measured else "passed"


def faults(record: Record) -> Section:
    """Some rows for each kind of fault, by their keys."""
    examples = {kind: keys for kind, keys in (record.get("examples") or {}).items() if keys}
    if not examples:
        return Section("faults", "Faulty rows", absent="None were found.")
    rows = [(kind, ", ".join(_key(key) for key in keys)) for kind, keys in examples.items()]
    return Section("faults", "Faulty rows", "Up to five of each kind.", [Table("Keys", ("kind", "keys"), rows)])


def relevance(record: Record) -> Section:
    """The old and the new table on labelled questions."""
    found = record.get("relevance")
    if not found:
        return Section("relevance", "Relevance", absent=_NO_LABELS)
    if not found.get("difference"):
        reason = f"The table has no article of any of the {len(found.get('unanswerable') or [])} questions."
        return Section("relevance", "Relevance", absent=reason)
    lead = f"{number(found.get('questions'))} labelled questions, answered by both tables."
    if left_out := found.get("unanswerable"):
        lead += f" {len(left_out)} more were left out because the table has none of their articles."
    picture = "relevance" if found.get("per_question") else ""
    return Section("relevance", "Relevance", lead, [_differences("Labelled questions", found)], picture)


def unlabelled(record: Record) -> Section:
    """What can be said without labels; only if there are no labelled questions."""
    found = record.get("unlabelled")
    title = "Relevance without labels"
    if not found:
        reason = "not needed: there are labelled questions" if record.get("relevance") else "not measured"
        return Section("unlabelled", title, absent=f"{reason[0].upper()}{reason[1:]}.")
    tables = [_differences(f"{number(found.get('questions'))} {found.get('kind', 'questions')}", found)]
    rows = [
        (name, share((found.get(key) or {}).get("mean")), span(found.get(key)))
        for key, name in (("overlap@10", "overlap@10 of old and new"), ("rbo", "rank-biased overlap"))
    ]
    tables.append(Table("How alike the answers are", ("measure", "mean", "interval"), rows, frozenset({1, 2})))
    own = found.get("self_retrieval") or {}
    if own:
        row = ("finds itself first", percent(own.get("old")), percent(own.get("new")), number(own.get("probes")))
        tables.append(Table("Articles searched by themselves", ("", "old", "new", "of"), [row], frozenset({1, 2, 3})))
    lead = "This proves less: the articles' own titles were the questions, and nobody has judged the answers."
    return Section("unlabelled", title, lead, tables)


def lost_most(record: Record) -> Section:
    """The questions whose nDCG@10 fell most, with both lists of results side by side."""
    title = "Questions that lost most"
    found = record.get("relevance")
    if not found:
        return Section("lost", title, absent=_NO_LABELS)
    lost = found.get("lost_most") or []
    if not lost:
        return Section("lost", title, absent="No question is answered worse than before.")
    titles = record.get("titles") or {}
    tables = [_both_lists(each, titles) for each in lost]
    return Section("lost", title, "Read these before cutover: a mean hides them.", tables)


def recall(record: Record) -> Section:
    """The index compared with exact search."""
    depths = recall_depths(record)
    if not depths:
        return Section("recall", "Recall of the index", absent="Not measured: there was no vector to search for.")
    intervals = record.get("intervals") or {}
    rows = [
        (f"recall@{k}", share(record[f"recall@{k}"]), span(at := intervals.get(f"recall@{k}")), number(_probes(at)))
        for k in depths
    ]
    table = Table("Recall", ("measure", "value", "interval", "probes"), rows, frozenset({1, 2, 3}))
    lead = "The share of the true nearest articles that the new index finds, compared with exact search over every row."
    return Section("recall", "Recall of the index", lead, [table], "recall")


def recall_depths(record: Record) -> list[int]:
    """The values of k at which recall was measured."""
    return [k for k in (1, 10, 100) if record.get(f"recall@{k}") is not None]


def _probes(interval: Any) -> Any:
    return interval.get("probes") if isinstance(interval, dict) else None


def _differences(caption: str, judged: Record) -> Table:
    rows = []
    for measure, change in (judged.get("difference") or {}).items():
        rows.append(
            (
                _MEASURES.get(measure, measure),
                share((judged.get("old") or {}).get(measure)),
                share((judged.get("new") or {}).get(measure)),
                signed(change.get("mean")),
                span(change, "+.4f"),
                number(change.get("p_value"), 2),
                f"{change.get('wins', NONE)} / {change.get('losses', NONE)} / {change.get('ties', NONE)}",
            )
        )
    headers = ("measure", "old", "new", "new − old", "95 % interval", "p", "won / lost / tied")
    return Table(caption, headers, rows, frozenset(range(1, 7)))


def _both_lists(question: Record, titles: Mapping[str, str]) -> Table:
    old, new = question.get("old_results") or [], question.get("new_results") or []
    rows = [
        (str(place + 1), _article(old, place, titles), _article(new, place, titles))
        for place in range(max(len(old), len(new)))
    ]
    caption = f"“{question.get('text', '')}”: nDCG@10 fell from {share(question['old'])} to {share(question['new'])}"
    return Table(caption, ("", "old", "new"), rows)


def _article(results: Sequence[Any], place: int, titles: Mapping[str, str]) -> str:
    if place >= len(results):
        return ""
    name = str(results[place])
    return f"{titles[name]} ({name})" if titles.get(name) else name


def _key(key: Any) -> str:
    return json.dumps(key, ensure_ascii=False) if isinstance(key, dict) else str(key)
