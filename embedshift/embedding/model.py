"""A loaded embedding model: texts in, float32 vectors out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from embedshift.embedding import structure
from embedshift.embedding.agreement import choose_path, embedded_alike
from embedshift.embedding.batching import Tokens
from embedshift.embedding.fingerprint import CODE, WEIGHTS, files_of, fingerprints_of
from embedshift.embedding.library import LibraryPath
from embedshift.embedding.quick import QuickPath
from embedshift.embedding.structure import Prompts, Task
from embedshift.embedding.token_count import TokenCount
from embedshift.embedding.windows import Parts
from embedshift.errors import InputError, ModelUnavailable
from embedshift.settings import ModelSettings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

Precision = Literal["float32", "bfloat16", "float16"]

_LOG = logging.getLogger(__name__)
#: What a library may raise about one text.
_OF_A_TEXT = (
    ValueError,
    RuntimeError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    AssertionError,
    SystemExit,  # of code that a model brings
)


@dataclass(slots=True)
class Embedded:
    """Vectors of shape (n, dimension), float32. Rows in ``faults``, with the reason, have none: theirs are zero."""

    vectors: NDArray[np.float32]
    faults: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class Texts:
    """Documents as a model takes them: each once, cut into windows if they are long, tokenised if the model could.

    ``place`` says for each document which of the different ones it is, shape (n,), int64; None: all are different.
    ``parts`` are their windows; None: each document is one, and they are ``unique``.
    """

    unique: Sequence[str]
    place: NDArray[np.int64] | None
    tokens: Tokens | None
    parts: Parts | None = None


class Model:
    """An embedding model in memory, loaded as the settings say.

    Load it with ``load_model``, which keeps one of each in a process.

    Attributes:
        fingerprint: 32 hexadecimal digits.
        former_fingerprint: what the first versions computed; the same for plain models.
        dimension: of every vector.
        max_length: tokens that it reads of a document; None: all.
        prompts: what is put before documents and questions.
        path: ``quick``, or why the library's own path embeds.
        is_word_table: whether it is a table of word vectors, whose mean is taken.
        computes_in: the number type of its layers, such as ``float32``.

    Raises:
        ModelUnavailable: it cannot embed as the settings say.
    """

    def __init__(
        self, settings: ModelSettings, precision: Precision, network: SentenceTransformer, device: str
    ) -> None:
        self.settings, self.precision, self.device = settings, precision, device
        network.eval()
        if settings.max_length is not None:
            structure.limit_length(network, settings.max_length)
        if settings.truncate_dim is not None:
            network.truncate_dim = settings.truncate_dim
        self.prompts = Prompts.of(network, settings)
        declared = structure.declared_length(network)
        uniform = structure.is_uniform(network)
        self.max_length = declared if uniform else structure.document_length(network, self.prompts.document)
        self.is_word_table = structure.is_word_table(network)
        choices = {
            "document_prompt": self.prompts.document,
            "max_length": declared,
            "normalize": settings.normalize,
            "precision": precision,
        }
        self.fingerprint, self.former_fingerprint = fingerprints_of(
            network, choices, _more(settings, network), plain=uniform or self.is_word_table
        )
        short = device == "cpu" and precision == "bfloat16"
        self._former_path = QuickPath(network, self.prompts, declared, device, short_attention=short)
        self._library = LibraryPath(network, self.prompts)
        # As it was saved: what a lower precision costs is measured by whoever chooses one.
        exact = _type_of(network) == "float32"
        coupled = structure.is_coupled(network)
        chosen = choose_path(self._former_path if uniform else None, self._library, exact=exact, coupled=coupled)
        self._network = network if precision == "float32" else _cast(network, precision)
        self.computes_in = _type_of(network)
        self._quick = self._former_path if chosen.quick else None
        self.path = "quick" if chosen.quick else chosen.reason
        self.dimension = chosen.dimension
        if settings.truncate_dim is not None and self.dimension != settings.truncate_dim:
            raise ModelUnavailable(
                f"it makes {self.dimension} dimensions, and truncate_dim is {settings.truncate_dim}",
                hint=f"set it to {self.dimension} or less, or leave it out",
            )
        if not chosen.quick and not self.is_word_table:
            tell = _LOG.warning if uniform else _LOG.info
            tell("%s is embedded by the library's own path: %s", settings.name, chosen.reason)
        self._count = TokenCount(self._network)
        self._windows = None
        if settings.long_texts == "mean" and self.max_length is not None:
            self._windows = self._count.windows(self.max_length, self.prompts.document)

    @property
    def layer_weights(self) -> int:
        """Weights in layers that a lower precision can speed up; a table of word vectors has none."""
        if self.settings.backend != "torch" or self.computes_in != "float32":
            return 0
        return structure.layer_weights(self._network)

    def embed(self, texts: Sequence[str], batch_tokens: int | None = None) -> Embedded:
        """Embed documents.

        A text that the model cannot process, or whose vector is not finite, is a fault of that text alone.

        Args:
            texts: n documents, without the document prompt.
            batch_tokens: maximum padded tokens through the model at once; if None, a value that fits the device.
        """
        return self.embed_texts(self.tokenized(texts), batch_tokens)

    def tokenized(self, documents: Sequence[str]) -> Texts:
        """Documents, ready for ``embed_texts``: whoever waits for a device can tokenise the next ones meanwhile."""
        unique: Sequence[str] = list(dict.fromkeys(documents))
        place = None
        if len(unique) < len(documents):
            at = {text: row for row, text in enumerate(unique)}
            place = np.fromiter((at[text] for text in documents), np.int64, len(documents))
        parts = self._windows.of(unique) if self._windows else None
        unique = unique if parts is None else parts.texts
        try:
            tokens = self._quick.tokens(unique, "document") if self._quick and unique else None
        except _OF_A_TEXT:
            tokens = None  # which of them it is, is found out when they are embedded
        return Texts(unique, place, tokens, parts)

    def embed_texts(
        self, texts: Texts, batch_tokens: int | None = None, told: Callable[[int], object] | None = None
    ) -> Embedded:
        """Embed documents that are tokenised. Arguments and result as in ``embed``.

        Args:
            told: is called with the number of texts of each batch that is under way.
        """
        if not texts.unique:
            return Embedded(np.zeros((0, self.dimension), np.float32))
        if texts.parts is not None and told is not None:
            told = texts.parts.told(told)
        embedded = self._isolate(texts.unique, "document", batch_tokens, texts.tokens, told)
        if texts.parts is not None:
            faults = texts.parts.faults(embedded.faults)
            embedded = self._finish(texts.parts.mean(embedded.vectors))
            embedded.faults |= faults
            embedded.vectors[list(faults)] = 0
        if texts.place is None:
            return embedded
        faults = {row: embedded.faults[at] for row, at in enumerate(texts.place.tolist()) if at in embedded.faults}
        return Embedded(embedded.vectors[texts.place], faults)

    def embed_question(self, question: str) -> NDArray[np.float32]:
        """Embed one question, with the query prompt and by the query route. Returns shape (dimension,).

        Raises:
            InputError: the question is empty, or its vector is not finite.
        """
        if not question.strip():
            raise InputError("the question is empty", hint="ask with at least one word")
        embedded = self._isolate([question], "query")
        if embedded.faults:
            raise InputError(f"the question cannot be embedded ({embedded.faults[0]})")
        question_vector: NDArray[np.float32] = embedded.vectors[0]
        return question_vector

    @property
    def counts_tokens(self) -> bool:
        """Whether ``count_tokens`` can count: a model that also reads pictures may have no tokenizer of its own."""
        return self._quick is not None or self._count.tokenizer is not None

    def count_tokens(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Tokens of each text as it is, before any cut, shape (n,)."""
        return self._count.of(texts) if self._quick is None else self._quick.count(texts)

    @cached_property
    def embeds_as_before(self) -> bool:
        """Whether the first versions, of ``former_fingerprint``, embedded documents as this one does."""
        now = self._quick or self._library
        return embedded_alike(self._network, self.prompts.document, self._former_path, now)

    def _isolate(
        self,
        texts: Sequence[str],
        task: Task,
        batch_tokens: int | None = None,
        tokens: Tokens | None = None,
        told: Callable[[int], object] | None = None,
    ) -> Embedded:
        """Embed; if that fails as a whole, halve until only the texts that fail are left out."""
        try:
            if self._quick is not None:
                vectors = self._quick.vectors(texts, task, tokens=tokens, batch_tokens=batch_tokens, told=told)
            else:
                vectors = self._library.vectors(texts, task, told=told)
        except _OF_A_TEXT as error:
            if len(texts) == 1:
                reason = f"the model failed: {type(error).__name__}"
                return Embedded(np.zeros((1, self.dimension), np.float32), {0: reason})
            half = len(texts) // 2
            left = self._isolate(texts[:half], task, batch_tokens)
            right = self._isolate(texts[half:], task, batch_tokens)
            moved = {row + half: reason for row, reason in right.faults.items()}
            return Embedded(np.concatenate([left.vectors, right.vectors]), left.faults | moved)
        return self._finish(vectors)

    def _finish(self, vectors: NDArray[np.float32]) -> Embedded:
        norms = np.linalg.norm(vectors, axis=1)
        bad = ~np.isfinite(norms) | (norms == 0)
        if self.settings.normalize:
            vectors = vectors / np.where(bad, 1, norms).astype(np.float32)[:, None]
        vectors[bad] = 0
        faults = {
            row: "its vector is zero" if norms[row] == 0 else "its vector is not finite"
            for row in np.flatnonzero(bad).tolist()
        }
        return Embedded(vectors, faults)


def _more(settings: ModelSettings, network: SentenceTransformer) -> dict[str, object]:
    """What changes a document's vector only in some models or settings, for the fingerprint."""
    default = network.prompts.get(network.default_prompt_name) if network.default_prompt_name else ""
    more = {
        "truncate_dim": network.truncate_dim,
        "default_prompt": default or None,
        "long_texts": None if settings.long_texts == "cut" else settings.long_texts,
        "backend": None if settings.backend == "torch" else settings.backend,
    }
    tokenizer = structure.document_tokenizer(network)
    if getattr(tokenizer, "truncation_side", "right") == "left":
        more["truncation_side"] = "left"
    if settings.backend != "torch":
        more["files"] = files_of(settings.name, settings.revision, WEIGHTS)
    if settings.trust_remote_code:
        more["own_files"] = files_of(settings.name, settings.revision, CODE)
    return {key: value for key, value in more.items() if value is not None}


def _type_of(network: SentenceTransformer) -> str:
    types = {str(each.dtype).removeprefix("torch.") for each in network.parameters() if each.is_floating_point()}
    return next((name for name in ("bfloat16", "float16") if name in types), "float32")


def _cast(network: SentenceTransformer, precision: Precision) -> SentenceTransformer:
    import torch

    return network.to(getattr(torch, precision))
