"""Real sentence-transformers models that are made in a moment and need no network: word vectors, averaged."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Whitespace

ARTICLES = Path(__file__).resolve().parent.parent / "embedshift" / "data" / "demo" / "articles.jsonl"
#: A word whose vector is not a number: a text that holds it cannot be embedded.
POISON = "poison"


@cache
def articles() -> tuple[dict[str, str], ...]:
    """The articles of the demonstration that a small model can embed: id, title, content, subject."""
    every = (json.loads(line) for line in ARTICLES.read_text(encoding="utf-8").splitlines())
    return tuple(each for each in every if POISON not in f"{each['title']} {each['content']}".lower())


@cache
def words() -> tuple[str, ...]:
    """Every word of the articles, and a few of our own."""
    found = re.findall(r"\w+", " ".join(f"{each['title']} {each['content']}" for each in articles()).lower())
    return ("[UNK]", POISON, *sorted({*found, "new", "changed", "application"} - {POISON}))


def save_model(folder: Path, dimension: int, seed: int, *, poisoned: bool = True) -> Path:
    """A model of that dimension; another seed is another model, of the same files otherwise."""
    tokenizer = Tokenizer(WordLevel({word: at for at, word in enumerate(words())}, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = Whitespace()
    weights = np.random.default_rng(seed).standard_normal((len(words()), dimension)).astype(np.float32)
    if poisoned:
        weights[words().index(POISON)] = np.nan
    network = SentenceTransformer(modules=[StaticEmbedding(tokenizer, embedding_weights=weights)], device="cpu")
    network.save(str(folder))
    return folder
