"""Vectors that are computed again: the only proof that a vector belongs to its text and to this model.

A digest says which text was embedded, and that is reliable as long as the pipeline works. It cannot show that the
vectors of two rows were swapped, or that one worker had other weights. So a sample is embedded again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from embedshift.embedding import DIGEST, Model, Template, digest_texts, of_text
from embedshift.stores.contract import Store
from embedshift.stores.cql_types import matrix
from embedshift.validation.sample import draw_rows
from embedshift.validation.survey_result import EXAMPLES_MAX
from embedshift.validation.table_pair import Subject, json_keys

#: The lowest cosine of a vector with itself computed again: another batch or processor costs bfloat16 about 0.0005.
_LEAST_COSINE = 0.99


@dataclass(frozen=True, slots=True)
class Reembedding:
    """How well the stored vectors agree with what the model computes now.

    Args:
        sample: rows that were embedded again.
        disagreeing: those of them whose vector points in another direction.
        least: the lowest cosine between a stored and a computed vector; 1 if nothing was compared.
        examples: keys of some that disagree, as JSON values.
    """

    sample: int
    disagreeing: int
    least: float
    examples: tuple[dict[str, Any], ...] = ()


def reembedding(store: Store, subject: Subject, model: Model, n: int, seed: int) -> Reembedding:
    """Embed the texts of a sample of the target again, and compare the vectors.

    Rows whose digest is not that of their own text are left out: the survey counts them as stale.

    Args:
        model: the target's model, with the fingerprint of the subject.
        n: rows; with a fault in one row of a hundred, 200 miss all with a probability of 13 %, 500 with 0.7 %.
        seed: the same seed draws the same rows.
    """
    digests = [DIGEST] if subject.target_digests else []
    rows = draw_rows(store, subject, n, seed, values=[*subject.text_columns, *digests])
    template = Template.parse(subject.text)
    if digests and rows.num_rows:
        own = digest_texts(subject.fingerprint, template.render(rows), template.empty(rows))
        rows = rows.filter(pc.fill_null(pc.equal(own, of_text(rows.column(DIGEST))), False))
    rows = rows.filter(pc.invert(template.empty(rows)))
    if rows.num_rows == 0:
        return Reembedding(0, 0, 1.0)
    stored = matrix(rows.column(subject.target_vector)).astype(np.float64)
    computed = model.embed(template.render(rows).to_pylist()).vectors.astype(np.float64)
    lengths = np.linalg.norm(stored, axis=1) * np.linalg.norm(computed, axis=1)
    products = np.einsum("ij,ij->i", stored, computed)
    cosines = np.divide(products, lengths, out=np.zeros(len(stored)), where=lengths > 0)
    elsewhere = cosines < _LEAST_COSINE
    examples = json_keys(subject.target, rows.filter(pa.array(elsewhere)), EXAMPLES_MAX)
    return Reembedding(len(stored), int(elsewhere.sum()), float(cosines.min()), tuple(examples))
