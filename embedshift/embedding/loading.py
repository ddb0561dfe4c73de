"""Models are loaded here, once per process: from the hub, a folder or an installed package."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from embedshift.embedding.contract import Model, Precision
from embedshift.embedding.local import LocalModel
from embedshift.embedding.packaged import PREFIX, load_packaged
from embedshift.embedding.service.model import ServiceModel
from embedshift.errors import ModelUnavailable
from embedshift.settings import ModelSettings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer


#: Settings whose models are kept in memory.
_KEPT_MAX = 16


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


class _Loading:
    """Loads each model once per process, and keeps those that were loaded last."""

    def __init__(self) -> None:
        self._kept: dict[tuple[ModelSettings, Precision], Model] = {}

    def __call__(self, settings: ModelSettings, precision: Precision = "float32") -> Model:
        """Load a model once per process, and embed a few texts with it; that of a service is asked for nothing yet.

        Raises:
            ModelUnavailable: it cannot be found or read, or cannot embed.
        """
        if settings.service is not None:
            # A service names no prompts of its own: without one, and with an empty one, it is the same model.
            prompts = {name: getattr(settings, name) or "" for name in ("query_prompt", "document_prompt")}
            settings = settings.model_copy(update=prompts)
        if (kept := self._kept.get((settings, precision))) is not None:
            return kept
        if settings.service is not None:
            model: Model = ServiceModel(settings, settings.service)
        else:
            model = load_local(settings, precision)
        # Settings may leave the prompts to the model; the catalog names them, and means the same model.
        prompts = {"query_prompt": model.prompts.query, "document_prompt": model.prompts.document}
        for each in (settings, settings.model_copy(update=prompts)):
            self._kept[each, precision] = model
        # A model of a service takes no memory, and somebody may be asking it just now.
        loaded = [key for key, each in self._kept.items() if not isinstance(each, ServiceModel)]
        for key in loaded[: max(0, len(loaded) - _KEPT_MAX)]:
            self._kept.pop(key, None)
        return model

    def cache_clear(self) -> None:
        """Forget every model, so that each is loaded again."""
        for model in self._kept.values():
            if isinstance(model, ServiceModel):
                model.close()
        self._kept.clear()


load_model = _Loading()


def load_local(settings: ModelSettings, precision: Precision) -> LocalModel:
    """Load a model that is computed here. Errors as those of ``load_model``."""
    device = device_of(settings)
    # With a GPU, a tokenizer with one thread is too slow. On CPU each core has a task of its own, and a pool of threads
    # would not survive the fork of workers.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true" if device.startswith("cuda") else "false")
    _quieten()
    failed, hint = "cannot load the model", "check its name, or name a folder that has it"
    # The hub's client raises errors of a dozen libraries, and a model's own code any; it is unusable all the same.
    try:
        network = _network(settings, device)
        failed, hint = "cannot embed with the model", "it must embed a text with sentence-transformers alone"
        return LocalModel(settings, precision, network, device)
    except ModelUnavailable as error:
        if settings.name.removeprefix(PREFIX) in error.what:
            raise
        raise _of_model(settings, failed, error.what, error.hint) from error
    except (Exception, SystemExit) as error:
        if "trust_remote_code" in str(error) and not settings.trust_remote_code:
            hint = "read its code, then set trust_remote_code and the revision that you have read"
        elif settings.backend != "torch":
            hint = f"install what sentence-transformers needs for the backend {settings.backend}, or leave backend out"
        raise _of_model(settings, failed, _reason(error), hint) from error


def _network(settings: ModelSettings, device: str) -> SentenceTransformer:
    if settings.name.startswith(PREFIX):
        if settings.backend != "torch":
            raise ModelUnavailable(f"{settings.name} is computed by torch only", hint="leave backend out")
        return load_packaged(settings.name, device)
    if Path(settings.name).is_file():
        raise ModelUnavailable(f"{settings.name} is a file", hint="name the folder that has the model")
    local = Path(settings.name).is_dir()
    if not local and (settings.name.startswith((".", "/", "~")) or settings.name.count("/") > 1):
        raise ModelUnavailable(f"the model folder {settings.name} does not exist", hint="name a folder or a hub model")
    from sentence_transformers import SentenceTransformer

    network = SentenceTransformer(
        settings.name,
        revision=settings.revision,
        device=device,
        local_files_only=local,
        trust_remote_code=settings.trust_remote_code,
        backend=settings.backend,
    )
    _check_kind(network, settings, local)
    return network


def _check_kind(network: SentenceTransformer, settings: ModelSettings, local: bool) -> None:
    """Refuse what the library would convert: a reranker or a sparse encoder has no one vector that it means."""
    from sentence_transformers.util import load_file_path

    file, owner = "config_sentence_transformers.json", network.default_huggingface_organization
    name = settings.name if local or "/" in settings.name else f"{owner}/{settings.name}"
    try:
        path = load_file_path(name, file, revision=settings.revision, local_files_only=local)
    except OSError:
        path = None  # some old names on the hub have no owner; such a model is older than that file
    if path is None:
        return
    kind = json.loads(Path(path).read_text(encoding="utf-8")).get("model_type", network.model_type)
    if kind != network.model_type:
        raise ModelUnavailable(
            f"the model {settings.name} is a {kind}, which makes no single dense vector of a text",
            hint="name a SentenceTransformer",
        )


def _of_model(settings: ModelSettings, failed: str, what: str, hint: str) -> ModelUnavailable:
    """The error of a model, on a line that names it."""
    return ModelUnavailable(f"{failed} {settings.name} ({what})", hint=hint)


def _reason(error: BaseException) -> str:
    """The first line of an error, short."""
    text = next(iter(str(error).strip().splitlines()), "") or type(error).__name__
    return text[:200]


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
