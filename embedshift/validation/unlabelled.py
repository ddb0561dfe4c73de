"""What can be said about relevance without labelled questions: less, and only from the articles themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import pyarrow as pa

from embedshift.embedding import Template
from embedshift.stores.cql_types import to_json
from embedshift.validation.overlap import Mean, mean_of, overlap, rank_biased_overlap
from embedshift.validation.questions import Question, article_id
from embedshift.validation.relevance import Relevance, SearchableTable, compare
from embedshift.validation.sample import Sample

_DEPTH = 10


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """How much the answers of two tables differ, and whether articles find themselves.

    Args:
        kind: what was asked: ``titles``, or the whole ``texts`` if the template has only one column.
        questions: how many.
        titles: articles searched by their titles: relevance with one right answer each; None for ``texts``.
        overlap: share of the first ten answers that old and new have in common.
        rbo: rank-biased overlap of old and new answers.
        found: for each side, the share of articles that are found first when their own text is the question.
        probes: how many articles were searched for like this.
    """

    kind: Literal["titles", "texts"]
    questions: int
    titles: Relevance | None
    overlap: Mean
    rbo: Mean
    found: Mapping[str, float]
    probes: int

    def tree(self) -> dict[str, Any]:
        """The record's ``unlabelled``."""
        titles = self.titles
        compared = (
            {}
            if titles is None
            else {
                "old": dict(titles.old),
                "new": dict(titles.new),
                "difference": {name: asdict(each) for name, each in titles.differences.items()},
            }
        )
        return {
            "kind": self.kind,
            "questions": self.questions,
            **compared,
            "overlap@10": asdict(self.overlap),
            "rbo": asdict(self.rbo),
            "self_retrieval": {**self.found, "probes": self.probes},
        }


def unlabelled(
    old: SearchableTable, new: SearchableTable, sample: Sample, *, seed: int, confidence: float
) -> Unlabelled | None:
    """Ask both tables for the articles of a sample, by their titles and by their texts; None if the sample is empty."""
    ids, texts = _ids(new, sample), sample.texts()
    if not ids:
        return None
    where = _within(new, sample)
    own = {id_: Question(id_, text, {id_: 1}, each) for id_, text, each in zip(ids, texts, where, strict=True)}
    by_text = {name: _answered(side, list(own.values())) for name, side in (("old", old), ("new", new))}
    found = {name: sum(answers[id_][:1] == [id_] for id_ in own) / len(own) for name, answers in by_text.items()}
    asked = [replace(each, where=own[each.id].where) for each in _by_titles(sample, ids)]
    answers = {"old": _answered(old, asked), "new": _answered(new, asked)} if asked else by_text
    pairs = [(answers["old"][id_], answers["new"][id_]) for id_ in answers["old"]]
    return Unlabelled(
        "titles" if asked else "texts",
        len(pairs),
        compare(asked, answers["old"], answers["new"], seed=seed, confidence=confidence) if asked else None,
        mean_of([overlap(*pair, _DEPTH) for pair in pairs], seed=seed, confidence=confidence),
        mean_of([rank_biased_overlap(*pair) for pair in pairs], seed=seed, confidence=confidence),
        found,
        len(own),
    )


def _ids(side: SearchableTable, sample: Sample) -> list[str]:
    column = side.table.column(side.id)
    cql_type = column.type if column is not None else "text"
    return [article_id(cql_type, each) for each in sample.rows.column(side.id).to_pylist()]


def _within(side: SearchableTable, sample: Sample) -> list[dict[str, Any]]:
    """In which partition each article is, if the index is local."""
    names = list(side.index.partition)
    types = {column.name: column.type for column in side.table.columns}
    rows = sample.rows.select(names).to_pylist() if names else [{}] * sample.rows.num_rows
    return [{name: to_json(types[name], row[name]) for name in names} for row in rows]


def _by_titles(sample: Sample, ids: Sequence[str]) -> list[Question]:
    """The first column of the template as questions, if the text has more columns; each title and article once."""
    columns = Template.parse(sample.subject.text).columns
    if len(columns) < 2 or not pa.types.is_string(sample.rows.column(columns[0]).type):
        return []
    titles = sample.rows.column(columns[0]).to_pylist()
    of_title = {title.strip(): id_ for id_, title in zip(ids, titles, strict=True) if title and title.strip()}
    of_article = {id_: title for title, id_ in of_title.items()}
    return [Question(id_, title, {id_: 1}) for id_, title in of_article.items()]


def _answered(side: SearchableTable, questions: Sequence[Question]) -> dict[str, list[str]]:
    return {question.id: side.answers(question, _DEPTH) for question in questions}
