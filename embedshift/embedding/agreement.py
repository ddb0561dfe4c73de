"""Which path embeds a model: three texts are embedded both ways, and the quick path must find the library's vectors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

import numpy as np
from numpy.typing import NDArray

from embedshift.embedding.contract import Task
from embedshift.embedding.library import LibraryPath
from embedshift.embedding.quick import QuickPath
from embedshift.errors import ModelUnavailable

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

#: Of several lengths, so that padding shows, with capitals, digits and accents, so that a tokeniser's rules show.
TEXTS = (
    "Bread",
    "A river carries stones to the sea.",
    "In 1869 Dmitri Mendelejew left gaps in his table of the elements. Élements that nobody had seen, such as gallium "
    "(number 31), were found later: their weights, densities and compounds were those that he had foretold, and the "
    "gaps closed one by one. What had looked like a mere list of 63 names was a law of nature.",
)
#: How far a cosine may be from 1, if the layers compute in 32 bits, and in 16.
_EXACT, _ROUNDED = 1e-5, 2e-3
#: Words of the text that shows how an earlier version cut.
_WORDS_MAX = 4096


@dataclass(frozen=True, slots=True)
class Choice:
    """The path that was chosen, why (for people; empty for the quick one), and the dimension of the vectors."""

    quick: bool
    reason: str
    dimension: int


def choose_path(quick: QuickPath | None, library: LibraryPath, *, exact: bool, coupled: bool = False) -> Choice:
    """Embed the three texts both ways.

    Args:
        quick: the quick path; None if the model is not of a kind that it knows.
        library: the other one; it is told to embed one text at a time if batches change the vectors.
        exact: whether the layers compute in 32 bits.
        coupled: whether the model is known to do so with texts that are longer than the three.

    Raises:
        ModelUnavailable: the dimensions of documents and questions differ, vectors are no vectors, or a text has
            another vector each time.
    """
    alone: dict[Task, NDArray[np.float32]] = {
        task: np.concatenate([library.vectors([text], task) for text in TEXTS]) for task in get_args(Task)
    }
    shapes = {vectors.shape[1:] for vectors in alone.values()}
    if len(shapes) != 1 or any(vectors.ndim != 2 for vectors in alone.values()):
        raise ModelUnavailable(
            f"its documents and questions have different dimensions ({alone['document'].shape[1:]} and "
            f"{alone['query'].shape[1:]})",
            hint="a table has one dimension",
        )
    within = _EXACT if exact else _ROUNDED
    dimension = alone["document"].shape[1]
    if _apart(library.vectors(TEXTS[-1:], "document"), alone["document"][-1:]) > within:
        raise ModelUnavailable("it gives one text another vector each time", hint="name a model without chance in it")

    def agrees(vectors: Callable[[Sequence[str], Task], NDArray[np.float32]]) -> bool:
        # Twice each: what a batch of three hides may show in one of six.
        return all(
            _apart(vectors(TEXTS * 2, task), np.concatenate([expected] * 2)) <= within
            for task, expected in alone.items()
        )

    if quick is not None and not coupled and agrees(quick.vectors):
        return Choice(True, "", dimension)
    reason = "three texts came out differently by the quick path"
    if quick is None or coupled:
        reason = "its modules need it"
    if coupled or not agrees(library.vectors):
        library.one_by_one()
        reason = f"{reason}, one text at a time because others in a batch change its vectors"
    return Choice(False, reason, dimension)


def embedded_alike(network: SentenceTransformer, prompt: str, former: QuickPath, now: LibraryPath | QuickPath) -> bool:
    """Whether the first versions embedded documents as this one does: on the three texts, and on one that is cut.

    Args:
        network: the model.
        prompt: of documents.
        former: the quick path, which they took for every model that tokenises.
        now: the path that this version takes.
    """
    from sentence_transformers.sentence_transformer.modules import Dropout

    if any(isinstance(module, Dropout) for module in network):
        return False
    texts = [*TEXTS, "bread and water " * (_WORDS_MAX // 3)]
    tokenised = hasattr(network[0], "processing_kwargs") and all(
        getattr(module, "include_prompt", True) for module in network
    )
    try:
        if tokenised:
            before = former.vectors(texts, "document")
        else:
            before = np.asarray(network.encode([prompt + text for text in texts], show_progress_bar=False), np.float32)
        return _apart(before, now.vectors(texts, "document")) <= _ROUNDED
    except (ValueError, RuntimeError, TypeError, IndexError, OverflowError, KeyError, AttributeError):
        return False


def _apart(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> float:
    """The greatest distance of a cosine from 1; vectors without direction agree with their like."""
    if ours.shape != theirs.shape:
        return np.inf
    lengths = np.linalg.norm(ours, axis=1), np.linalg.norm(theirs, axis=1)
    both = [np.isfinite(each) & (each > 0) for each in lengths]
    if (both[0] != both[1]).any():
        return np.inf
    a, b = (each[both[0]].astype(np.float64) for each in (ours, theirs))
    cosines = np.einsum("ij,ij->i", a, b) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return float((1 - cosines).max(initial=0.0))
