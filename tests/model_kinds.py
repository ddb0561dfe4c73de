"""Tiny models with random weights, each of another kind: what changes the vector of a text beside its weights.

Each is built by the library itself and saved to a folder. They learn their words from the demonstration's articles.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from sentence_transformers import CrossEncoder, SentenceTransformer, SparseEncoder
from sentence_transformers.base.modules import Router
from sentence_transformers.sentence_transformer import modules as parts
from sentence_transformers.sentence_transformer.modules.tokenizer import WhitespaceTokenizer
from sentence_transformers.sparse_encoder.modules import SpladePooling
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from tests.small_models import articles, words

_WIDTH, _TOKENS = 32, 96
_LAYERS = {"hidden_size": _WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
_TEMPLATE = "{% for each in messages %}<start>{{ each['role'] }}: {{ each['content'] }}<end>{% endfor %}"
_PROMPTS = {"query": "find the article: ", "document": "an article: "}
_MODULE = """
from sentence_transformers.base.modules import Module

class Reversed(Module):
    def forward(self, features):
        return {**features, "sentence_embedding": features["sentence_embedding"].flip(1)}

    def save(self, output_path, *args, **kwargs):
        pass

    @classmethod
    def load(cls, *args, **kwargs):
        return cls()
"""


def _texts() -> list[str]:
    return [f"{each['title']}. {each['content']}" for each in articles()]


@cache
def _pieces() -> str:
    """A tokenizer as BERT has it, as JSON."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer.train_from_iterator(_texts(), trainers.WordPieceTrainer(vocab_size=1200, special_tokens=special))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return str(tokenizer.to_str())


def _encoder_tokens(**options: Any) -> PreTrainedTokenizerFast:
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(_pieces()), **names, **options)


@cache
def _bytes() -> str:
    """A tokenizer of bytes, as causal models have it, as JSON."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1200, special_tokens=["<end>", "<start>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(_texts(), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="$A <end>", special_tokens=[("<end>", 0)])
    return str(tokenizer.to_str())


def _causal_tokens(**options: Any) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer.from_str(_bytes())
    given = {"eos_token": "<end>", "padding_side": "left", **options}
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **given)


class Kinds:
    """Makes the models of each kind in a folder, once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, kind: str) -> Path:
        """The folder of a kind, one of ``KINDS``."""
        path = self.folder / kind
        if not path.exists():
            torch.manual_seed(3)
            made = KINDS[kind](self)
            if isinstance(made, (SentenceTransformer, CrossEncoder, SparseEncoder)):
                made.save(str(path))
            if kind == "own code":
                _with_code(path)
        return path

    def bert(self, name: str = "bert", tokens: int | None = _TOKENS, dtype: torch.dtype = torch.float32) -> str:
        """The folder of a transformer with its tokenizer."""
        tokenizer = _encoder_tokens(**({"model_max_length": tokens} if tokens else {}))
        config = transformers.BertConfig(
            vocab_size=len(tokenizer), max_position_embeddings=_TOKENS, initializer_range=0.3, **_LAYERS
        )
        return self.saved(name, transformers.BertModel(config).to(dtype), tokenizer)

    def causal(
        self,
        name: str = "causal",
        dtype: torch.dtype = torch.float32,
        rope: dict[str, Any] | None = None,
        **options: Any,
    ) -> str:
        """The same for one that reads from left to right; ``rope``: how it counts positions, if not as usual."""
        tokenizer = _causal_tokens(**{"pad_token": "<end>", **options})
        config = transformers.Qwen3Config(
            vocab_size=len(tokenizer),
            num_key_value_heads=2,
            head_dim=8,
            max_position_embeddings=_TOKENS,
            initializer_range=0.3,
            **({"rope_parameters": rope} if rope else {}),
            **_LAYERS,
        )
        return self.saved(name, transformers.Qwen3Model(config).to(dtype), tokenizer)

    def stretched(self) -> str:
        """One whose positions stretch as soon as a text of the batch is long."""
        rope = {"rope_type": "longrope", "rope_theta": 10000.0, "factor": 2.0, "original_max_position_embeddings": 32}
        rope |= {"short_factor": [1.0] * 4, "long_factor": [4.0, 3.0, 5.0, 8.0]}
        return self.causal("stretched", rope=rope, model_max_length=_TOKENS)

    def positions(self) -> str:
        """One that counts positions from the left, padding included: neighbours in a batch change its vectors."""
        tokenizer = _causal_tokens(pad_token="<end>")
        config = transformers.GPT2Config(
            vocab_size=len(tokenizer), n_embd=_WIDTH, n_layer=2, n_head=4, n_positions=_TOKENS, initializer_range=0.3
        )
        return self.saved("positions", transformers.GPT2Model(config), tokenizer)

    def saved(self, name: str, model: Any, tokenizer: Any) -> str:
        """The folder of a transformer, saved once."""
        path = self.folder / f"_{name}"
        if not path.exists():
            model.save_pretrained(path)
            tokenizer.save_pretrained(path)
        return str(path)


def pooled(
    base: str, *more: Any, pooling: Any = "mean", transformer: Any = None, **options: Any
) -> SentenceTransformer:
    """A transformer, its pooling and more modules."""
    include = options.pop("include_prompt", True)
    first = parts.Transformer(base, **(transformer or {}))
    modules = [first, parts.Pooling(_WIDTH, pooling_mode=pooling, include_prompt=include), *more]
    return SentenceTransformer(modules=modules, device="cpu", **options)


def table(dimension: int = _WIDTH, **options: Any) -> parts.StaticEmbedding:
    """A table of word vectors."""
    tokenizer = Tokenizer.from_str(_pieces())
    weights = np.random.default_rng(dimension).standard_normal((tokenizer.get_vocab_size(), dimension))
    return parts.StaticEmbedding(tokenizer, embedding_weights=weights.astype(np.float32), **options)


def alone(*modules: Any, **options: Any) -> SentenceTransformer:
    """A model of these modules."""
    return SentenceTransformer(modules=list(modules), device="cpu", **options)


def word_vectors() -> parts.WordEmbeddings:
    """Word vectors of the kind that came before transformers."""
    weights = np.random.default_rng(4).standard_normal((len(words()), _WIDTH)).astype(np.float32)
    return parts.WordEmbeddings(WhitespaceTokenizer(words(), stop_words={"the"}, do_lower_case=True), weights)


def two_ways(query: list[Any], document: list[Any]) -> Router:
    """A route for questions and one for documents."""
    return Router.for_query_document(query_modules=query, document_modules=document)


def _hidden_layers(base: str) -> SentenceTransformer:
    network = pooled(base)
    network[0].model.config.output_hidden_states = True
    weighing = parts.WeightedLayerPooling(_WIDTH, num_hidden_layers=2, layer_start=1)
    return alone(network[0], weighing, network[1])


def _sparse(kinds: Kinds) -> SparseEncoder:
    tokenizer = _encoder_tokens(model_max_length=_TOKENS)
    config = transformers.BertConfig(vocab_size=len(tokenizer), max_position_embeddings=_TOKENS, **_LAYERS)
    base = kinds.saved("masked", transformers.BertForMaskedLM(config), tokenizer)
    return SparseEncoder(modules=[parts.Transformer(base, transformer_task="fill-mask"), SpladePooling()], device="cpu")


def _with_code(path: Path) -> None:
    """Add a module whose code lies beside the model."""
    (path / "reversal.py").write_text(_MODULE)
    (path / "2_Reversed").mkdir()
    listed = json.loads((path / "modules.json").read_text())
    listed.append({"idx": 2, "name": "2", "path": "2_Reversed", "type": "reversal.Reversed"})
    (path / "modules.json").write_text(json.dumps(listed))


def _halved(network: SentenceTransformer) -> SentenceTransformer:
    return network.to(torch.bfloat16)


#: Every kind. A name says what it has that others do not.
KINDS: dict[str, Callable[[Kinds], Any]] = {
    "plain": lambda k: pooled(k.bert()),
    "dense and normalised": lambda k: pooled(k.bert(), parts.Dense(32, 16), parts.Normalize(), pooling="cls"),
    "two poolings": lambda k: pooled(k.bert(), parts.LayerNorm(64), pooling=("max", "weightedmean")),
    "prompts": lambda k: pooled(k.bert(), prompts=_PROMPTS),
    "prompt named passage": lambda k: pooled(k.bert(), prompts={"passage": "an article: ", "query": "find: "}),
    "default prompt": lambda k: pooled(k.bert(), prompts={"any": "a text: "}, default_prompt_name="any"),
    "prompts outside the pooling": lambda k: pooled(k.bert(), prompts=_PROMPTS, include_prompt=False),
    "truncated": lambda k: pooled(k.bert(), parts.Normalize(), truncate_dim=8),
    "dropout": lambda k: pooled(k.bert(), parts.Dropout(0.4)),
    "lengths of its own": lambda k: pooled(k.bert(), transformer={"document_length": 16, "query_length": 8}),
    "settings of its processor": lambda k: pooled(
        k.bert(), transformer={"processing_kwargs": {"text": {"max_length": 12, "padding": "max_length"}}}
    ),
    "expanded questions": lambda k: pooled(
        k.bert(), transformer={"query_expansion": {"strategy": "fixed", "length": 16}}
    ),
    "lower case": lambda k: pooled(k.bert(), transformer={"do_lower_case": True}),
    "no limit": lambda k: pooled(k.bert("unlimited", tokens=None)),
    "weights of 16 bits": lambda k: _halved(pooled(k.bert())),
    "layers weighed": lambda k: _hidden_layers(k.bert()),
    "left to right": lambda k: pooled(k.causal(), pooling="lasttoken", prompts=_PROMPTS),
    "left to right in 16 bits": lambda k: pooled(k.causal("half", torch.bfloat16), pooling="lasttoken"),
    "chat template": lambda k: pooled(k.causal("chat", chat_template=_TEMPLATE), pooling="lasttoken", prompts=_PROMPTS),
    "positions from the left": lambda k: pooled(k.positions(), pooling="lasttoken"),
    "positions that stretch": lambda k: pooled(k.stretched(), pooling="lasttoken"),
    "no padding": lambda k: pooled(k.causal("unpadded", pad_token=None), pooling="lasttoken"),
    "convolution": lambda k: alone(word_vectors(), parts.CNN(_WIDTH, 8), parts.Pooling(24)),
    "recurrent": lambda k: alone(word_vectors(), parts.LSTM(_WIDTH, 16), parts.Pooling(_WIDTH)),
    "words weighed": lambda k: alone(
        word_vectors(), parts.WordWeights(words(), {word: len(word) for word in words()}), parts.Pooling(_WIDTH)
    ),
    "bag of words": lambda k: alone(parts.BoW(list(words()[:900])), parts.Dense(900, _WIDTH)),
    "table with prompts": lambda k: alone(table(), parts.Dense(_WIDTH, 16), parts.Normalize(), prompts=_PROMPTS),
    "table with a default": lambda k: alone(table(), prompts={"any": "a text: "}, default_prompt_name="any"),
    "table truncated": lambda k: alone(table(), truncate_dim=8),
    "routes at the end": lambda k: pooled(k.bert(), two_ways([parts.Dense(32, 16)], [parts.Dense(32, 16)])),
    "routes at the start": lambda k: alone(
        two_ways([table()], [parts.Transformer(k.bert()), parts.Pooling(_WIDTH)]), prompts=_PROMPTS
    ),
    "routes of two dimensions": lambda k: alone(
        two_ways([table(16)], [parts.Transformer(k.bert()), parts.Pooling(_WIDTH)])
    ),
    "sparse": _sparse,
    "own code": lambda k: pooled(k.bert()),
}
