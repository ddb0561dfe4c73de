"""The digest: which model embedded which text."""

from __future__ import annotations

import pyarrow as pa
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from embedshift.embedding import digest_texts

FINGERPRINT = "0123456789abcdef0123456789abcdef"
texts = st.lists(st.text(st.characters(codec="utf-8"), max_size=40), min_size=1, max_size=20)


def digests(values: list[str], fingerprint: str = FINGERPRINT, empty: list[bool] | None = None) -> list[bytes]:
    blank = pa.array(empty or [False] * len(values))
    found: list[bytes] = digest_texts(fingerprint, pa.array(values, pa.string()), blank).to_pylist()
    return found


@given(texts)
def test_a_digest_is_the_hash_of_the_text_seeded_by_the_fingerprint(values):
    seed = xxhash.xxh3_64_intdigest(FINGERPRINT.encode())
    assert digests(values) == [xxhash.xxh3_128_digest(value.encode(), seed=seed) for value in values]


@given(texts, st.integers(0, 5))
def test_a_slice_has_the_digests_of_its_own_rows(values, start):
    whole = pa.array(["before", *values], pa.string()).slice(1)
    part = whole.slice(min(start, len(values)))
    found = digest_texts(FINGERPRINT, part, pa.array([False] * len(part))).to_pylist()
    assert found == digests(values)[min(start, len(values)) :]


@given(texts)
def test_another_model_gives_another_digest(values):
    assert not set(digests(values)) & set(digests(values, "f" * 32))


def test_a_row_without_text_has_a_digest_of_its_own_kind():
    without, empty_text, said = digests(["", "", "no text"], empty=[True, False, False])
    assert len({without, empty_text, said}) == 3
    assert without != digests([""], "f" * 32, [True])[0]
    assert all(len(each) == 16 for each in (without, empty_text, said))


def test_no_texts_have_no_digests():
    assert digest_texts(FINGERPRINT, pa.array([], pa.string()), pa.array([], pa.bool_())).to_pylist() == []
