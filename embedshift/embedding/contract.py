"""What every embedding model can do, wherever it is computed: text in, float32 vectors out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from embedshift.embedding.batching import Tokens
from embedshift.embedding.windows import Parts
from embedshift.settings import ModelSettings

#: What is embedded: many models treat the two differently.
Task = Literal["document", "query"]
Precision = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True)
class Prompts:
    """What is put before questions and documents; ``own_…`` is what the model itself would put there."""

    query: str
    document: str
    own_query: str = ""
    own_document: str = ""

    def before(self, task: Task) -> str:
        """The prompt of a task."""
        return self.query if task == "query" else self.document


@dataclass(slots=True)
class Embedded:
    """Vectors of shape (n, dimension), float32. Rows in ``faults``, with the reason, have none: theirs are zero."""

    vectors: NDArray[np.float32]
    faults: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Texts:
    """Documents as a model takes them: each once, cut into windows if they are long, tokenised if the model could.

    ``place`` says for each document which of the different ones it is, shape (n,), int64; None: all are different.
    ``parts`` are their windows; None: each document is one, and they are ``unique``. ``requests`` are those to a
    service that are under way.
    """

    unique: Sequence[str]
    place: NDArray[np.int64] | None
    tokens: Tokens | None = None
    parts: Parts | None = None
    requests: Sequence[Future[Embedded]] = ()

    @classmethod
    def of(cls, documents: Sequence[str]) -> Texts:
        """Documents, each once."""
        unique: Sequence[str] = list(dict.fromkeys(documents))
        if len(unique) == len(documents):
            return cls(unique, None)
        at = {text: row for row, text in enumerate(unique)}
        return cls(unique, np.fromiter((at[text] for text in documents), np.int64, len(documents)))

    def in_place(self, embedded: Embedded) -> Embedded:
        """What became of the different ones, for each document."""
        if self.place is None:
            return embedded
        faults = {row: embedded.faults[at] for row, at in enumerate(self.place.tolist()) if at in embedded.faults}
        return Embedded(embedded.vectors[self.place], faults)

    def cancel(self) -> None:
        """Send no more of the requests that wait."""
        for each in self.requests:
            each.cancel()


def finished(vectors: NDArray[np.float32], *, normalize: bool) -> Embedded:
    """Vectors of length 1, if wanted; one that is zero or not finite is a fault."""
    norms = np.linalg.norm(vectors, axis=1)
    bad = ~np.isfinite(norms) | (norms == 0)
    if normalize:
        vectors = vectors / np.where(bad, 1, norms).astype(np.float32)[:, None]
    vectors[bad] = 0
    faults = {
        row: "its vector is zero" if norms[row] == 0 else "its vector is not finite"
        for row in np.flatnonzero(bad).tolist()
    }
    return Embedded(vectors, faults)


class Model(Protocol):
    """An embedding model, as the settings say. Get one with ``load_model``, which keeps one of each in a process.

    Attributes:
        fingerprint: 32 hexadecimal digits: two models with the same one give a text the same vector.
        prompts: what is put before documents and questions.
        max_length: tokens that it reads of a document; None: all, or unknown.
    """

    @property
    def settings(self) -> ModelSettings: ...  # noqa: D102
    @property
    def precision(self) -> Precision: ...  # noqa: D102
    @property
    def fingerprint(self) -> str: ...  # noqa: D102
    @property
    def prompts(self) -> Prompts: ...  # noqa: D102
    @property
    def max_length(self) -> int | None: ...  # noqa: D102

    @property
    def dimension(self) -> int:
        """Of every vector. A service may have to be asked, which can raise ModelUnavailable."""

    @property
    def counts_tokens(self) -> bool:
        """Whether ``count_tokens`` can count: a model may have no tokenizer of its own."""

    def count_tokens(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Tokens of each text as it is, before any cut, shape (n,)."""

    @property
    def how(self) -> str:
        """How it is computed, for people."""

    def use_threads(self, threads: int) -> None:
        """Limit the threads of one matrix product in this process."""

    def embed(self, texts: Sequence[str], batch_tokens: int | None = None) -> Embedded:
        """Embed documents.

        A text that the model cannot process, or whose vector is not finite, is a fault of that text alone.

        Args:
            texts: n documents, without the document prompt.
            batch_tokens: maximum padded tokens through the model at once; if None, a value that fits the device.
        """

    def tokenized(self, documents: Sequence[str]) -> Texts:
        """Documents, ready for ``embed_texts``: whoever waits for a device or a service can prepare the next ones."""

    def embed_texts(
        self, texts: Texts, batch_tokens: int | None = None, told: Callable[[int], object] | None = None
    ) -> Embedded:
        """Embed documents that are ready. Arguments and result as in ``embed``.

        Args:
            told: is called with the number of texts of each batch that is under way.
        """

    def embed_question(self, question: str) -> NDArray[np.float32]:
        """Embed one question, with the query prompt and by the query route. Returns shape (dimension,).

        Raises:
            InputError: the question is empty, or its vector is not finite.
        """
