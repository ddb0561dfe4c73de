"""The digest: which text a vector was made of, by which model, and which vector it is.

Sixteen bytes are of text and model. Eight bytes more are of the vector. Vector and digest are two cells, and a database
settles them apart when two writers give both the same write time: only the eight bytes show that they belong together.
A digest without them is of a row without a vector, or from before they were added.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray

#: The column of the digest, in every table that embedshift fills.
DIGEST = "embedding_digest"
#: Bytes of text and model, and of a digest that names its vector too.
_OF_TEXT, _WHOLE = 16, 24


def digest_texts(fingerprint: str, texts: pa.Array, empty: pa.Array) -> pa.Array:
    """The 128-bit digests of texts under one model.

    A row without text has a digest of its own, so that an article whose text was emptied counts as changed.

    Args:
        fingerprint: the model's fingerprint.
        texts: n strings, as the template rendered them.
        empty: n booleans, true if there is nothing to embed.

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


def hash_vectors(vectors: NDArray[np.float32]) -> NDArray[np.uint64]:
    """XXH3-64 of each vector's numbers as big-endian float32; shape (n,) for vectors of shape (n, dimension)."""
    data = memoryview(np.ascontiguousarray(vectors, ">f4").tobytes())
    width = vectors.shape[1] * 4
    digest = xxhash.xxh3_64_intdigest
    return np.array([digest(data[at : at + width]) for at in range(0, len(data), width)], np.uint64)


def of_text(digests: pa.Array) -> pa.Array:
    """What n digests say of text and model: 16 bytes each, null for null."""
    return pc.binary_slice(digests, 0, _OF_TEXT)


def is_of_text(held: bytes | None, digest: bytes) -> bool:
    """Whether a digest that a table has says the same of text and model as one of 16 bytes."""
    return held is not None and held[:_OF_TEXT] == digest


def whole_digests(digests: pa.Array, hashes: NDArray[np.uint64]) -> pa.Array:
    """Digests of 24 bytes, of n digests of texts and the hashes of their vectors; null for null."""
    ends = hashes.astype(">u8").tobytes()
    return pa.array(
        [
            None if digest is None else digest[:_OF_TEXT] + ends[8 * at : 8 * at + 8]
            for at, digest in enumerate(digests.to_pylist())
        ],
        pa.binary(),
    )


def mismatched(digests: pa.Array, hashes: NDArray[np.uint64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which of n digests name another vector than the one beside them, and which name none; shape (n,) each.

    Args:
        digests: null where there is none.
        hashes: of the vectors beside them.
    """
    ends = b"".join(
        digest[_OF_TEXT:] if digest is not None and len(digest) == _WHOLE else b"\0" * 8
        for digest in digests.to_pylist()
    )
    # One that is longer than a digest of a text and yet not whole is no version's: it counts as one of another vector.
    named = pc.fill_null(pc.greater(pc.binary_length(digests), _OF_TEXT), False).to_numpy(zero_copy_only=False)
    return named & (np.frombuffer(ends, ">u8") != hashes), ~named
