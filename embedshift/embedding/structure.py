"""What a model of sentence-transformers is made of, and what of it decides how a text must be embedded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from embedshift.embedding.contract import Prompts
from embedshift.errors import ModelUnavailable
from embedshift.settings import ModelSettings

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Transformer

#: A tokeniser without a limit says one of 1e30.
_UNLIMITED = 10**9
#: Words at most in the text that finds out how long a text may be.
_WORDS_MAX = 1 << 17


def prompts_of(network: SentenceTransformer, settings: ModelSettings) -> Prompts:
    """The settings' prompts, and the model's own for those that they leave open."""
    query, document = _own(network, "query"), _own(network, "document", "passage", "corpus")
    return Prompts(
        query if settings.query_prompt is None else settings.query_prompt,
        document if settings.document_prompt is None else settings.document_prompt,
        query,
        document,
    )


def _own(network: SentenceTransformer, *names: str) -> str:
    """The prompt that ``encode_query`` or ``encode_document`` finds first under these names, or by default."""
    named = next((name for name in names if name in network.prompts), network.default_prompt_name)
    return network.prompts.get(named) or "" if named else ""


def transformers_of(network: SentenceTransformer) -> Iterator[Transformer]:
    """Every module of the library that holds a transformer, those within a router too."""
    from sentence_transformers.sentence_transformer.modules import Transformer

    return (module for module in network.modules() if isinstance(module, Transformer))


def is_uniform(network: SentenceTransformer) -> bool:
    """Whether documents and questions are tokenised and pooled alike, text by text, by modules that we know."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Dense, LayerNorm, Normalize, Pooling, Transformer
    from transformers import PreTrainedTokenizerBase

    first: Any = network[0]
    rest = list(network)[1:]
    if type(network) is not SentenceTransformer or type(first) is not Transformer or first.backend != "torch":
        return False
    ways = {name: params["method"] for name, params in first.modality_config.items()}
    return (
        ways == {"text": "forward"}
        and first.transformer_task == "feature-extraction"
        and isinstance(first.processor, PreTrainedTokenizerBase)
        and not (first.processing_kwargs or first.document_length or first.query_length or first.query_expansion)
        and not first.can_flatten_inputs
        and not any((network.module_kwargs or {}).values())
        and all(type(each) in (Pooling, Dense, Normalize, LayerNorm) for each in rest)
        and all(getattr(each, "include_prompt", True) for each in rest)
    )


def is_coupled(network: SentenceTransformer) -> bool:
    """Whether the vectors of long texts depend on the longest one of their batch, by the model's configuration."""
    for module in transformers_of(network):
        config = getattr(module.auto_model, "config", None)
        ropes = (getattr(config, name, None) or {} for name in ("rope_parameters", "rope_scaling"))
        kinds = {each.get("rope_type", each.get("type")) for each in ropes}
        # Its positions stretch with the batch; and one short text makes a block-sparse model attend to everything.
        if kinds & {"dynamic", "longrope"} or getattr(config, "attention_type", None) == "block_sparse":
            return True
    return False


def is_word_table(network: SentenceTransformer) -> bool:
    """Whether it is a table of vectors whose mean is taken: many texts at once cost no more than their tokens."""
    from sentence_transformers.sentence_transformer.modules import Dense, LayerNorm, Normalize, StaticEmbedding

    first, *rest = network
    return type(first) is StaticEmbedding and all(type(each) in (Dense, LayerNorm, Normalize) for each in rest)


def limit_length(network: SentenceTransformer, tokens: int) -> None:
    """Let the model read so many tokens of a text and no more, whatever it says of documents or questions.

    Raises:
        ModelUnavailable: it has no limit that could be set, or cannot read as much.
    """
    before = declared_length(network)
    try:
        network.max_seq_length = tokens
    except AttributeError as error:
        raise ModelUnavailable(
            "it reads texts of any length and cuts none", hint="leave max_length out of its settings"
        ) from error
    if before is None or tokens > before:
        try:
            network.encode_document(["a " * tokens], show_progress_bar=False)
        except (IndexError, RuntimeError, ValueError) as error:
            most = f"set it to {before} or less" if before else "set less"
            raise ModelUnavailable(f"it cannot read max_length {tokens} tokens of a text", hint=most) from error
    for module in transformers_of(network):
        module.query_length = module.query_length and min(module.query_length, tokens)
        module.document_length = module.document_length and min(module.document_length, tokens)
        of_text = (module.processing_kwargs or {}).get("text", {})
        if of_text.get("max_length"):
            of_text["max_length"] = min(of_text["max_length"], tokens)


def declared_length(network: SentenceTransformer) -> int | None:
    """Tokens that the model says it reads of a text, as its tokeniser knows it; None if it has no limit."""
    return _limit(network.max_seq_length)


def _limit(tokens: float | None) -> int | None:
    return int(tokens) if tokens is not None and tokens < _UNLIMITED else None


def tokens_read(network: SentenceTransformer, text: str, prompt: str) -> int | None:
    """Tokens that the model reads of a document with its prompt; None if it does not say."""
    mask = network.preprocess([text], prompt=prompt, task="document").get("attention_mask")
    return int(mask.sum()) if mask is not None and mask.ndim == 2 else None


def document_length(network: SentenceTransformer, prompt: str) -> int | None:
    """Tokens that the model really reads of a long document; None if it reads all of it, or does not say."""
    from sentence_transformers.sentence_transformer.modules import Transformer

    first = _document_input(network)
    if not isinstance(first, Transformer):
        return _limit(getattr(first, "max_seq_length", None))
    # Its settings can cut in several ways, and the one that applies is seen in what it reads.
    words = min(2 * (_limit(first.max_seq_length) or 64), _WORDS_MAX)
    read = tokens_read(network, "a " * words, prompt)
    return read if read is not None and read < words else None


def document_tokenizer(network: SentenceTransformer) -> Any:
    """The tokeniser that documents are read with, within a router too; None if there is none."""
    return getattr(_document_input(network), "tokenizer", None)


def _document_input(network: SentenceTransformer) -> Any:
    """The module that reads documents."""
    from sentence_transformers.base.modules import Router

    first: Any = network[0]
    if isinstance(first, Router):
        # The library has no public word for the route that a task takes.
        routes: Any = first.sub_modules
        return routes[first._resolve_route(task="document", modality="text")][0]
    return first


def layer_weights(network: SentenceTransformer) -> int:
    """Weights of the transformers, without those of tables that are only looked up."""
    from torch import nn

    modules = [module for each in transformers_of(network) for module in each.modules()]
    tables = {id(each.weight) for each in modules if isinstance(each, nn.Embedding)}
    every = {id(each): each.numel() for module in modules for each in module.parameters(recurse=False)}
    return sum(count for which, count in every.items() if which not in tables)
