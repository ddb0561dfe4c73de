"""What is validated: a source table, its target, and what the target's vectors should be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from jobs.embedding import DIGEST, Template
from jobs.stores.contract import Table
from jobs.stores.values import is_many_celled

Metric = Literal["cosine", "euclidean", "dot_product"]


@dataclass(frozen=True, slots=True)
class Subject:
    """Two tables of one validation; plain data, so that it travels to Spark's workers.

    Args:
        source: the live table.
        target: the table that should hold the same articles with the new vectors.
        text: the template of the embedded text.
        source_vector: the source's column of vectors.
        target_vector: the target's column of vectors.
        fingerprint: of the target's model.
        dimension: of the target's model.
        normalized: whether the target's vectors should have length 1.
        metric: by which the target is searched.
        source_digests: whether the source has a column of digests.
        groups: a column of text by which a picture of the articles may be coloured; None where there is none.
    """

    source: Table
    target: Table
    text: str
    source_vector: str
    target_vector: str
    fingerprint: str
    dimension: int
    normalized: bool
    metric: Metric
    source_digests: bool
    groups: str | None = None

    @property
    def keys(self) -> list[str]:
        """The names of the primary key's columns."""
        return [key.name for key in self.target.keys]

    @property
    def text_columns(self) -> list[str]:
        """The columns of the text that are not in the key."""
        keys = self.keys
        return [name for name in Template.parse(self.text).columns if name not in keys]

    @property
    def carried(self) -> list[str]:
        """The columns beside key, vector and digest that both tables have: they are copied with their write times."""
        made = {self.source_vector, self.target_vector, DIGEST}
        theirs = {column.name for column in self.target.others}
        return [column.name for column in self.source.others if column.name in theirs - made]

    @property
    def many_celled(self) -> list[str]:
        """The carried columns that are kept as several cells: compared by value too."""
        return [c.name for c in self.source.others if c.name in self.carried and is_many_celled(c.type)]

    @property
    def target_digests(self) -> bool:
        """Whether the target has a column of digests; one that embedshift did not fill has none."""
        return self.target.column(DIGEST) is not None

    @property
    def written(self) -> list[str]:
        """The target's columns that embedding writes."""
        return [self.target_vector, *([DIGEST] if self.target_digests else [])]
