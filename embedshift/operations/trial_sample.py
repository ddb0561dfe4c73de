"""The sample of a trial: labelled articles of the live table, others drawn from it, and the questions to ask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedshift.catalog.vector_table import VectorTable
from embedshift.embedding import Template
from embedshift.errors import InputError
from embedshift.stores.contract import Store
from embedshift.stores.cql_types import arrow_type
from embedshift.stores.merge_join import empty_batch, scan_schema
from embedshift.stores.model import Table
from embedshift.validation.pool import Pool
from embedshift.validation.questions import Question, article_id, key_of
from embedshift.validation.sample import draw_rows
from embedshift.validation.table_pair import Subject

#: Titles, or beginnings of texts, that are asked if there are no labelled questions; words of a beginning.
_UNLABELLED_MOST, _WORDS = 500, 8
_KEYS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Sample:
    """Articles of the live table that have a text and a vector, labelled ones first.

    Args:
        rows: key, columns of the text, and the live vector.
        texts: of each.
        pool: which of them were drawn, and for how many each stands.
        table_rows: about how many the table has.
    """

    rows: pa.RecordBatch
    texts: list[str]
    pool: Pool
    table_rows: int

    @property
    def labelled(self) -> int:
        """How many of them are labelled."""
        return int((~self.pool.drawn).sum())


@dataclass(frozen=True, slots=True)
class Asked:
    """Questions, their kind (a key of ``KINDS``), and how many of the labelled ones were left out."""

    kind: str
    questions: list[Question]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class _LiveTable:
    """The live table, read and not written."""

    store: Store
    live: VectorTable
    table: Table

    def named(self, ids: Sequence[str]) -> pa.RecordBatch:
        """The articles of some ids; none if the id is not the whole key, because each would need a scan."""
        first, whole_key = self.table.keys[0], [key.name for key in self.table.keys] == [self.live.id]
        keys = [key for id_ in ids if (key := key_of(first.type, id_)) is not None] if whole_key else []
        values = [*self.columns, self.live.vector]
        rows = empty_batch(scan_schema(self.table, values=values, times=[]))
        for at in range(0, len(keys), _KEYS_AT_ONCE):
            part = pa.array(keys[at : at + _KEYS_AT_ONCE], arrow_type(first.type))
            found = self.store.fetch(self.table, pa.RecordBatch.from_pydict({first.name: part}), values=values)
            rows = pa.concat_batches([rows, found.select(rows.schema.names)])
        return rows.filter(rows.column(self.live.vector).is_valid())

    def drawn(self, n: int, seed: int) -> pa.RecordBatch:
        """As many articles from all parts of the ring."""
        live = self.live
        subject = Subject(
            source=self.table,
            target=self.table,
            text=live.text,
            source_vector=live.vector,
            target_vector=live.vector,
            fingerprint=live.model.fingerprint,
            dimension=live.model.dimension,
            normalized=live.model.normalize,
            metric=live.index_options.metric,
            source_digests=live.digests,
            groups=None,
        )
        return draw_rows(self.store, subject, n, seed, values=self.columns)

    def ids(self, rows: pa.RecordBatch) -> list[str]:
        """The id of each row, as questions have it."""
        kind = next(column.type for column in self.table.columns if column.name == self.live.id)
        return [article_id(kind, value) for value in rows.column(self.live.id).to_pylist()]

    @property
    def columns(self) -> list[str]:
        """What is read beside key and vector."""
        keys = {key.name for key in self.table.keys}
        wanted = dict.fromkeys([self.live.id, *Template.parse(self.live.text).columns])
        return [name for name in wanted if name not in keys]


def draw(store: Store, live: VectorTable, table: Table, questions: Sequence[Question], n: int, seed: int) -> Sample:
    """Every labelled article, and ``n`` others.

    Raises:
        InputError: the table has no article with a text and a vector.
    """
    reading = _LiveTable(store, live, table)
    labelled = reading.named(sorted({id_ for question in questions for id_ in question.relevant}))
    known = set(reading.ids(labelled))
    drawn = reading.drawn(n + labelled.num_rows, seed)
    whole = drawn.num_rows < n + labelled.num_rows
    fresh = [at for at, id_ in enumerate(reading.ids(drawn)) if id_ not in known]
    # The ring's order is that of a hash: the first of them are as good as any.
    drawn = drawn.take(pa.array(fresh if whole else fresh[:n], pa.int64()))
    rows = pa.concat_batches([labelled.select(drawn.schema.names), drawn])
    template = Template.parse(live.text)
    rows = rows.filter(pc.invert(template.empty(rows)))
    if not rows.num_rows:
        raise InputError(f"{table.name} has no article with a text and a vector", hint="fill it first")
    total = max(store.estimate(table.name).rows, rows.num_rows)
    ids = reading.ids(rows)
    is_drawn = np.array([id_ not in known for id_ in ids], bool)
    weight = 1.0 if whole else max(1.0, (total - len(known)) / max(1, int(is_drawn.sum())))
    return Sample(rows, template.render(rows).to_pylist(), Pool(ids, is_drawn, weight), total)


#: What the questions are, for people.
KINDS = {
    "labels": "labelled questions",
    "titles": "titles as questions, each with its own article as the one right answer (weaker evidence than labels)",
    "beginnings": "beginnings of texts as questions, each with its own article as the one right answer (weak evidence)",
}


def asked_of(questions: Sequence[Question], drawn: Sample, live: VectorTable) -> Asked:
    """The labelled questions that can be judged; if there are none, what the articles themselves give."""
    there = set(drawn.pool.ids)
    usable = [
        each
        for each in questions
        if not each.where and any(grade > 0 and id_ in there for id_, grade in each.relevant.items())
    ]
    if usable:
        return Asked("labels", usable, len(questions) - len(usable))
    columns = Template.parse(live.text).columns
    titled = len(columns) > 1 and pa.types.is_string(drawn.rows.column(columns[0]).type)
    texts = drawn.rows.column(columns[0]).to_pylist() if titled else [" ".join(t.split()[:_WORDS]) for t in drawn.texts]
    of_text = {text.strip(): id_ for text, id_ in zip(texts, drawn.pool.ids, strict=True) if text and text.strip()}
    made = [Question(id_, text, {id_: 1}) for text, id_ in list(of_text.items())[:_UNLABELLED_MOST]]
    if not made:
        raise InputError("there is nothing to ask", hint="name labelled questions with --questions FILE")
    return Asked("titles" if titled else "beginnings", made, len(questions))
