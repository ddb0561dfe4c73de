"""The digest of a vector: which model embedded which text."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import xxhash

#: The column of the digest, in every table that embedshift fills.
DIGEST = "embedding_digest"


def digest_texts(fingerprint: str, texts: pa.Array, empty: pa.Array) -> pa.Array:
    """The 128-bit digests of texts under one model.

    A row without text has a digest of its own kind, so that an article whose text was emptied is seen as changed.

    Args:
        fingerprint: the model's fingerprint.
        texts: n strings, as the template rendered them.
        empty: n booleans, where there is nothing to embed.

    Returns:
        n binary values of 16 bytes. XXH3-128 seeded by the fingerprint's own hash.
    """
    seed = xxhash.xxh3_64_intdigest(fingerprint.encode())
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1].tolist()
    data = texts.buffers()[2]
    text = memoryview(data) if data is not None else memoryview(b"")
    without = xxhash.xxh3_128_digest(b"no text", seed=~seed & (2**64 - 1))
    digest = xxhash.xxh3_128_digest
    out = [
        without if blank else digest(text[offsets[row] : offsets[row + 1]], seed=seed)
        for row, blank in enumerate(empty.to_pylist())
    ]
    return pa.array(out, pa.binary())
