"""A loaded embedding model: texts in, float32 vectors out."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Literal, cast

import numpy as np
from numpy.typing import NDArray

from embedshift.embedding.batching import Tokens, token_batches
from embedshift.embedding.fingerprint import fingerprint_of
from embedshift.embedding.packaged import PREFIX, load_packaged
from embedshift.errors import InputError, ModelUnavailable
from embedshift.settings import ModelSettings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import Tensor

Precision = Literal["float32", "bfloat16", "float16"]

#: Padded tokens of one batch. Measurements showed what fits a CPU's caches; on a GPU all values from 32,768 are alike.
_TOKENS_CPU, _TOKENS_GPU = 1024, 131_072
#: Texts given at once to a model without token batches (static embeddings).
_TEXTS_AT_ONCE = 1024


#: What a library may raise about one text.
_OF_A_TEXT = (ValueError, RuntimeError, TypeError, IndexError, OverflowError)


@dataclass(slots=True)
class Embedded:
    """Vectors of shape (n, dimension), float32. Rows in ``faults``, with the reason, have none: theirs are zero."""

    vectors: NDArray[np.float32]
    faults: dict[int, str] = field(default_factory=dict)


@dataclass(slots=True)
class Texts:
    """Documents as a model takes them: prompted, each once, tokenised if the model tokenises and could.

    ``place`` says for each document which of ``unique`` it is, shape (n,), int64; None: they are all different.
    """

    unique: Sequence[str]
    place: NDArray[np.int64] | None
    tokens: Tokens | None


class Model:
    """An embedding model in memory, loaded as the settings say.

    Load it with ``load_model``, which keeps one of each in a process.
    """

    def __init__(
        self, settings: ModelSettings, precision: Precision, network: SentenceTransformer, device: str
    ) -> None:
        self.settings = settings
        self.precision = precision
        self.device = device
        if settings.max_length is not None and hasattr(network[0], "max_seq_length"):
            network.max_seq_length = settings.max_length
        limit = getattr(network, "max_seq_length", None)
        self.max_length: int | None = int(limit) if limit is not None and np.isfinite(limit) else None
        self.fingerprint = fingerprint_of(
            network,
            document_prompt=settings.document_prompt,
            max_length=self.max_length,
            normalize=settings.normalize,
            precision=precision,
        )
        self.dimension = int(network.get_embedding_dimension() or 0)
        self._network = network if precision == "float32" else _cast(network, precision)
        self._tokenizing = Lock()
        self._tokenizes = hasattr(network[0], "processing_kwargs") and all(
            getattr(module, "include_prompt", True) for module in network
        )

    @property
    def has_layers(self) -> bool:
        """Whether there are layers that a lower precision can speed up; a table of word vectors has none."""
        return self._tokenizes

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
        prompt = self.settings.document_prompt
        prompted = [prompt + each for each in documents] if prompt else list(documents)
        unique = list(dict.fromkeys(prompted))
        place = None
        if len(unique) < len(prompted):
            at = {text: row for row, text in enumerate(unique)}
            place = np.fromiter((at[text] for text in prompted), np.int64, len(prompted))
        try:
            tokens = self._tokens(unique) if self._tokenizes and unique else None
        except _OF_A_TEXT:
            tokens = None  # which of them it is, is found out when they are embedded
        return Texts(unique, place, tokens)

    def embed_texts(
        self, texts: Texts, batch_tokens: int | None = None, told: Callable[[int], object] | None = None
    ) -> Embedded:
        """Embed documents that are tokenised. Arguments and result as in ``embed``.

        Args:
            told: is called with the number of texts of each batch that is under way.
        """
        if not texts.unique:
            return Embedded(np.zeros((0, self.dimension), np.float32))
        embedded = self._isolate(texts.unique, batch_tokens, texts.tokens, told)
        if texts.place is None:
            return embedded
        faults = {row: embedded.faults[at] for row, at in enumerate(texts.place.tolist()) if at in embedded.faults}
        return Embedded(embedded.vectors[texts.place], faults)

    def embed_question(self, question: str) -> NDArray[np.float32]:
        """Embed one question, with the query prompt. Returns shape (dimension,).

        Raises:
            InputError: the question is empty, or its vector is not finite.
        """
        if not question.strip():
            raise InputError("the question is empty", hint="ask with at least one word")
        embedded = self._isolate([self.settings.query_prompt + question])
        if embedded.faults:
            raise InputError(f"the question cannot be embedded ({embedded.faults[0]})")
        question_vector: NDArray[np.float32] = embedded.vectors[0]
        return question_vector

    @property
    def counts_tokens(self) -> bool:
        """Whether ``count_tokens`` can count: a model that also reads pictures may have no tokenizer of its own."""
        return self._tokenizes or hasattr(getattr(self._network, "tokenizer", None), "encode_batch")

    def count_tokens(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Tokens of each text before it is cut, shape (n,)."""
        tokenizer = self._network.tokenizer
        if self._tokenizes:
            with self._tokenizing:
                ids = tokenizer(list(texts), truncation=False, padding=False, verbose=False)["input_ids"]
            return np.fromiter((len(each) for each in ids), np.int64, len(texts))
        return np.fromiter((len(each.ids) for each in tokenizer.encode_batch(list(texts))), np.int64, len(texts))

    def _isolate(
        self,
        texts: Sequence[str],
        batch_tokens: int | None = None,
        tokens: Tokens | None = None,
        told: Callable[[int], object] | None = None,
    ) -> Embedded:
        """Embed; if that fails as a whole, halve until only the texts that fail are left out."""
        try:
            vectors = self._forward(texts, batch_tokens, tokens, told)
        except _OF_A_TEXT as error:
            if len(texts) == 1:
                reason = f"the model failed: {type(error).__name__}"
                return Embedded(np.zeros((1, self.dimension), np.float32), {0: reason})
            half = len(texts) // 2
            left, right = self._isolate(texts[:half], batch_tokens), self._isolate(texts[half:], batch_tokens)
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

    def _forward(
        self,
        texts: Sequence[str],
        batch_tokens: int | None,
        tokens: Tokens | None,
        told: Callable[[int], object] | None,
    ) -> NDArray[np.float32]:
        if not self._tokenizes:
            return cast(
                "NDArray[np.float32]",
                self._network.encode(list(texts), batch_size=_TEXTS_AT_ONCE, show_progress_bar=False),
            ).astype(np.float32, copy=True)
        import torch

        tokens = tokens or self._tokens(texts)
        budget = batch_tokens or (_TOKENS_CPU if self.device == "cpu" else _TOKENS_GPU)
        batches = token_batches(tokens.lengths, budget)
        vectors = np.empty((len(texts), self.dimension), np.float32)
        done: list[Tensor] = []
        with torch.inference_mode(), self._attention():
            for rows in batches:
                # A GPU's results are fetched only after the last batch, so that it computes while the next is padded.
                done.append(self._network(self._moved(tokens.padded(rows)))["sentence_embedding"].float())
                if told is not None:
                    told(len(rows))
            vectors[np.concatenate(batches)] = torch.cat(done).cpu().numpy()
        return vectors

    def _tokens(self, texts: Sequence[str]) -> Tokens:
        tokenizer = self._network.tokenizer
        # A call sets the tokenizer's limits, which must not happen while another thread's call is under way.
        with self._tokenizing:
            columns = tokenizer(
                list(texts), truncation=True, max_length=self.max_length, padding=False, return_attention_mask=False
            )
        return Tokens(tokenizer, columns)

    def _moved(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        pinned = self.device.startswith("cuda")
        return {
            name: (column.pin_memory() if pinned else column).to(self.device, non_blocking=pinned)
            for name, column in batch.items()
        }

    def _attention(self) -> AbstractContextManager[object]:
        if self.device != "cpu" or self.precision != "bfloat16":
            return nullcontext()
        from embedshift.embedding.attention import QuickAttention, has_amx

        return nullcontext() if has_amx() else QuickAttention()


def _cast(network: SentenceTransformer, precision: Precision) -> SentenceTransformer:
    import torch

    return network.to(getattr(torch, precision))


def device_of(settings: ModelSettings) -> str:
    """Where a model runs: as the settings say, or on a GPU if there is one."""
    if settings.device != "auto":
        return settings.device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def count_gpus() -> int:
    """How many CUDA devices this machine has."""
    import torch

    return torch.cuda.device_count()


@lru_cache(maxsize=8)
def load_model(settings: ModelSettings, precision: Precision = "float32") -> Model:
    """Load a model once per process.

    Raises:
        ModelUnavailable: it cannot be found or read.
    """
    device = device_of(settings)
    # With a GPU, a tokenizer with one thread is too slow. On CPU each core has a task of its own, and a pool of threads
    # would not survive the fork of workers.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true" if device.startswith("cuda") else "false")
    _quieten()
    return Model(settings, precision, _network(settings, device), device)


def _network(settings: ModelSettings, device: str) -> SentenceTransformer:
    if settings.name.startswith(PREFIX):
        return load_packaged(settings.name, device)
    local = Path(settings.name).is_dir()
    if not local and (settings.name.startswith((".", "/", "~")) or settings.name.count("/") > 1):
        raise ModelUnavailable(f"the model folder {settings.name} does not exist", hint="name a folder or a hub model")
    from sentence_transformers import SentenceTransformer

    try:
        return SentenceTransformer(
            settings.name, revision=settings.revision, device=device, local_files_only=local, trust_remote_code=False
        )
    # The hub's client raises errors of a dozen libraries; whichever it is, the model cannot be loaded.
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ModelUnavailable(
            f"cannot load the model {settings.name} ({reason[:200]})",
            hint="check its name, or name a folder that has it",
        ) from error


def use_threads(threads: int) -> None:
    """Limit the threads of one matrix product in this process; with one task per core, one thread each is fastest."""
    import torch

    torch.set_num_threads(threads)


def _quieten() -> None:
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    for name in ("sentence_transformers", "transformers", "huggingface_hub"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # the library has no types here
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]
