"""What a survey finds: counts, examples, content, repeats and neighbours. All of them can be added up."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import pyarrow as pa

from embedshift.validation.content_hash import Content
from embedshift.validation.duplicates import Repeats
from embedshift.validation.exact_knn import Nearest

#: The column of ``Doubtful`` beside the keys; parentheses keep it apart from any column of a table.
SEEN = "seen()"
#: Rows that are shown for each kind of fault.
EXAMPLES_MAX = 5
#: Rows with recent vectors that are kept, to ask the index for each of them.
RECENT_MAX = 500


@dataclass(frozen=True, slots=True)
class Examples:
    """Keys, as JSON values, of a few rows with each kind of fault."""

    of: dict[str, tuple[dict[str, Any], ...]] = field(default_factory=dict)

    def __add__(self, other: Examples) -> Examples:
        """The first few of both."""
        kinds = [*self.of, *(kind for kind in other.of if kind not in self.of)]
        return Examples({kind: (self.of.get(kind, ()) + other.of.get(kind, ()))[:EXAMPLES_MAX] for kind in kinds})


@dataclass(frozen=True, slots=True)
class Doubtful:
    """Rows that differ, perhaps only because they are being written: they are looked at again.

    Each batch has their primary keys, and in ``SEEN`` a hash of what the source had when they were looked at.
    """

    batches: tuple[pa.RecordBatch, ...] = ()

    def __add__(self, other: Doubtful) -> Doubtful:
        """Those of both."""
        return Doubtful(self.batches + other.batches)

    @property
    def rows(self) -> int:
        """How many there are."""
        return sum(batch.num_rows for batch in self.batches)


@dataclass(frozen=True, slots=True)
class Recent:
    """Rows of the target whose vectors were written after its index was built: keys and vectors of some of them.

    ``count`` is how many there are; of more than ``RECENT_MAX`` the others are not kept.
    """

    count: int = 0
    batches: tuple[pa.RecordBatch, ...] = ()

    def __add__(self, other: Recent) -> Recent:
        """Those of both, as many as are kept."""
        kept, room = list(self.batches), RECENT_MAX - self.rows
        for batch in other.batches:
            if room > 0:
                kept.append(batch.slice(0, room))
                room -= kept[-1].num_rows
        return Recent(self.count + other.count, tuple(kept))

    @property
    def rows(self) -> int:
        """How many are kept."""
        return sum(batch.num_rows for batch in self.batches)


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found in a part of the ring. Surveys of parts that share no token add up to the survey of the whole.

    Args:
        nearest: the exact neighbours of the probes; empty if there were no probes.
        source_rows: live rows of the source.
        target_rows: live rows of the target.
        with_text: rows of the source that have something to embed.
        vectors: rows of the target that have a vector.
        missing: rows of the source that the target lacks.
        orphans: rows of the target that the source lacks.
        stale: rows of both whose digest is not that of the source's text under the target's model.
        older_cells: rows of both with a copied cell that is older in the target, has another value there, lacks its
            expiry, or is on one side only.
        without_vector: rows of both that have a text and no vector.
        mixed: vectors that are not the ones that their digests name, or were not written at one time with a digest that
            names none.
        unnamed: vectors whose digest names none, as digests of earlier versions.
        nonfinite: vectors with a NaN or an infinity.
        not_unit: finite vectors whose length is not 1 although it should be.
        wrong_dimension: vectors of another dimension than the model's.
        cut: texts of the source that are longer than the target's model reads; 0 if they were not counted.
        in_flight: differences that were gone at a later reading, because the application was writing.
        unproved: rows that differ, and were changed in the source before each look; and those in doubt that were too
            many to be looked at again.
        repeats: vectors that several texts share.
        content: the fingerprint of the target's content.
        examples: some rows for each kind of fault, by the names above.
        doubtful: rows that are not counted yet, and are to be looked at again.
        recent: rows whose vectors were written since the index was built, if that was asked for.
    """

    nearest: Nearest
    source_rows: int = 0
    target_rows: int = 0
    with_text: int = 0
    vectors: int = 0
    missing: int = 0
    orphans: int = 0
    stale: int = 0
    older_cells: int = 0
    without_vector: int = 0
    mixed: int = 0
    unnamed: int = 0
    nonfinite: int = 0
    not_unit: int = 0
    wrong_dimension: int = 0
    cut: int = 0
    in_flight: int = 0
    unproved: int = 0
    repeats: Repeats = field(default_factory=Repeats)
    content: Content = field(default_factory=Content)
    examples: Examples = field(default_factory=Examples)
    doubtful: Doubtful = field(default_factory=Doubtful)
    recent: Recent = field(default_factory=Recent)

    def __add__(self, other: Survey) -> Survey:
        """The sum for two parts of the ring that share no token."""
        return Survey(*(getattr(self, each.name) + getattr(other, each.name) for each in fields(self)))

    @property
    def duplicates(self) -> int:
        """Vectors that repeat a vector of a different text."""
        return self.repeats.count

    @property
    def counts(self) -> dict[str, int]:
        """Every count, by its name."""
        names = [each.name for each in fields(self) if isinstance(getattr(self, each.name), int)]
        return {**{name: getattr(self, name) for name in names}, "duplicates": self.duplicates}
