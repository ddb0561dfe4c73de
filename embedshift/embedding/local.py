"""A model that is loaded and computed here."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from embedshift.embedding import structure
from embedshift.embedding.agreement import choose_path, embedded_alike
from embedshift.embedding.batching import Tokens
from embedshift.embedding.contract import Embedded, Precision, Task, Texts, finished
from embedshift.embedding.fingerprint import CODE, WEIGHTS, files_of, fingerprints_of
from embedshift.embedding.library import LibraryPath
from embedshift.embedding.quick import QuickPath
from embedshift.embedding.token_count import TokenCount
from embedshift.errors import InputError, ModelUnavailable
from embedshift.settings import ModelSettings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

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


class LocalModel:
    """An embedding model in memory: a ``Model``, loaded as the settings say.

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
        self.prompts = structure.prompts_of(network, settings)
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
        return self.embed_texts(self.tokenized(texts), batch_tokens)

    def tokenized(self, documents: Sequence[str]) -> Texts:
        texts = Texts.of(documents)
        if self._windows:
            texts.parts = parts = self._windows.of(texts.unique)
            texts.unique = texts.unique if parts is None else parts.texts
        try:
            texts.tokens = self._quick.tokens(texts.unique, "document") if self._quick and texts.unique else None
        except _OF_A_TEXT:
            texts.tokens = None  # which of them it is, is found out when they are embedded
        return texts

    def embed_texts(
        self, texts: Texts, batch_tokens: int | None = None, told: Callable[[int], object] | None = None
    ) -> Embedded:
        if not texts.unique:
            return Embedded(np.zeros((0, self.dimension), np.float32))
        if texts.parts is not None and told is not None:
            told = texts.parts.told(told)
        embedded = self._isolate(texts.unique, "document", batch_tokens, texts.tokens, told)
        if texts.parts is not None:
            faults = texts.parts.faults(embedded.faults)
            embedded = finished(texts.parts.mean(embedded.vectors), normalize=self.settings.normalize)
            embedded.faults |= faults
            embedded.vectors[list(faults)] = 0
        return texts.in_place(embedded)

    def embed_question(self, question: str) -> NDArray[np.float32]:
        if not question.strip():
            raise InputError("the question is empty", hint="ask with at least one word")
        embedded = self._isolate([question], "query")
        if embedded.faults:
            raise InputError(f"the question cannot be embedded ({embedded.faults[0]})")
        question_vector: NDArray[np.float32] = embedded.vectors[0]
        return question_vector

    @property
    def how(self) -> str:
        saved = "" if self.computes_in == self.precision else ", as its weights were saved"
        library = "" if self.path == "quick" or self.is_word_table else f"; embedded by its library: {self.path}"
        return f"computes in {self.computes_in}{saved}{library}"

    def use_threads(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)

    @property
    def counts_tokens(self) -> bool:
        # A model that also reads pictures may have no tokenizer of its own.
        return self._quick is not None or self._count.tokenizer is not None

    def count_tokens(self, texts: Sequence[str]) -> NDArray[np.int64]:
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
        return finished(vectors, normalize=self.settings.normalize)


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
