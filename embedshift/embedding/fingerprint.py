"""The fingerprint of a loaded model: two models with the same fingerprint give a text the same vector."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xxhash

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from torch import Tensor, nn

#: Endings of files with weights, for a backend that keeps them to itself.
WEIGHTS = (".onnx", ".onnx_data", ".xml", ".bin", ".safetensors")
#: Those of a model with code of its own, and what that code may read.
CODE = (".py", ".json", ".txt", ".yaml", ".model")
#: Whose code is a matter of installed versions, not of the model.
_LIBRARIES = ("torch.", "transformers.", "sentence_transformers.")
#: Entries of a model's configuration that say where it came from.
_ORIGIN = ("_name_or_path", "transformers_version")


def fingerprints_of(
    network: SentenceTransformer, choices: Mapping[str, object], more: Mapping[str, object], *, plain: bool
) -> tuple[str, str]:
    """Hash weights, tokeniser, layers and the choices that affect a document's vector (prompt, length, precision).

    It is computed from memory, not from files, and must be taken before weights are cast.

    Args:
        network: the model.
        choices: what every fingerprint covers.
        more: what only some models have, such as truncation; empty for most.
        plain: whether the network has no parts but those that the former fingerprint covers.

    Returns:
        The fingerprint, and the one that the first versions computed ("" if they could not): 32 hexadecimal digits
        each. Both are the same for a plain model of which there is no more to say.
    """
    state = xxhash.xxh3_128()
    for name, tensor in sorted(network.state_dict().items()):
        state.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        state.update(_bytes(tensor))
    try:
        former = _former(state.copy(), network, choices)
    except (AttributeError, TypeError, ValueError):
        former = ""
    if former and plain and not more:
        return former, former
    parts = [] if plain else [_part(name, module) for name, module in network.named_modules()]
    described = {"choices": choices, "more": more, "former": former if plain else "", "parts": [p for p in parts if p]}
    state.update(json.dumps(_canonical(described), sort_keys=True).encode())
    return state.hexdigest(), former


def files_of(name: str, revision: str | None, endings: Sequence[str]) -> str:
    """A hash of files of a model, where what decides its vectors is not in its modules' state.

    Args:
        name: a folder, or a name on the hub whose files have been loaded.
        revision: on the hub.
        endings: of the files.
    """
    folder = Path(name)
    if not folder.is_dir():
        from huggingface_hub import snapshot_download

        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
    state = xxhash.xxh3_128()
    for path in sorted(folder.rglob("*")):
        if path.suffix in endings and path.is_file():
            state.update(path.relative_to(folder).as_posix().encode())
            with path.open("rb") as file:
                while chunk := file.read(1 << 24):
                    state.update(chunk)
    return state.hexdigest()


def _former(state: xxhash.xxh3_128, network: SentenceTransformer, choices: Mapping[str, object]) -> str:
    state.update(json.dumps(_tokenizer(network.tokenizer), sort_keys=True).encode())
    for module in network:
        describe = getattr(module, "get_config_dict", dict)
        config = cast(Callable[[], object], describe)()
        state.update(f"{type(module).__name__} {json.dumps(config, sort_keys=True, default=str)}".encode())
    state.update(json.dumps(choices, sort_keys=True, default=str).encode())
    return state.hexdigest()


def _bytes(tensor: Tensor) -> bytes:
    import torch

    plain = tensor.detach().cpu().contiguous()
    # numpy has no bfloat16.
    return np.ascontiguousarray(plain.view(torch.int16) if plain.dtype == torch.bfloat16 else plain).tobytes()


def _tokenizer(tokenizer: Any) -> Any:
    inner = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if not hasattr(inner, "to_str"):
        return sorted(tokenizer.get_vocab().items())
    described = json.loads(inner.to_str())
    # Both change with use: the library sets them again at each call.
    described.pop("truncation", None)
    described.pop("padding", None)
    return described


def _part(name: str, module: nn.Module) -> dict[str, object]:
    """What decides the vectors of one module beside its weights; nothing for a layer of torch."""
    kind = type(module)
    found: dict[str, object] = {}
    config: Any = getattr(module, "config", None)
    if hasattr(module, "get_config_dict"):
        found["settings"] = cast(Callable[[], object], module.get_config_dict)()
    elif hasattr(config, "to_dict"):
        found["settings"] = config.to_dict()
    if (tokenizer := getattr(module, "tokenizer", None)) is not None:
        found["tokenizer"] = _described(tokenizer)
    for source in (module, getattr(module, "processor", None)):
        if template := getattr(source, "chat_template", None):
            found["template"] = template
    if not f"{kind.__module__}.".startswith(_LIBRARIES):
        found["code"] = _code(kind)
    return {"name": name, "kind": kind.__name__, **found} if found else {}


def _code(kind: type) -> str:
    try:
        return inspect.getsource(kind)
    except (OSError, TypeError):
        return ""


def _described(tokenizer: Any) -> Any:
    """A tokeniser of any kind: by its own description, or by its attributes."""
    kind = {"kind": type(tokenizer).__name__, "template": getattr(tokenizer, "chat_template", None)}
    if hasattr(tokenizer, "padding_side") or hasattr(tokenizer, "to_str"):
        return {**kind, "is": _tokenizer(tokenizer), "side": getattr(tokenizer, "padding_side", None)}
    return {**kind, "is": vars(tokenizer)}


def _canonical(value: object) -> object:
    """A value as JSON, the same in every process and folder: sets in order, keys as text, objects by their class."""
    if isinstance(value, Mapping):
        return {str(key): _canonical(each) for key, each in value.items() if key not in _ORIGIN}
    if isinstance(value, (set, frozenset)):
        return sorted(str(each) for each in value)
    if isinstance(value, (list, tuple)):
        return [_canonical(each) for each in value]
    return value if value is None or isinstance(value, (str, int, float, bool)) else type(value).__name__
