"""What is tried of a model, and what a person should know of it, before it embeds a table."""

from __future__ import annotations

import json
from collections.abc import Sequence

from embedshift.embedding.agreement import TEXTS
from embedshift.embedding.contract import Model
from embedshift.errors import ModelUnavailable

#: Tokens of the longest text that is tried; a longer one takes too long on a CPU.
_TRIED_MAX = 1024


def check_embeds(model: Model) -> str:
    """Embed a short text, and one as long as the model says that it reads.

    Returns:
        What is wrong with long texts, for people; empty if nothing is.

    Raises:
        ModelUnavailable: the short text has no vector.
    """
    longest = model.max_length if model.max_length is not None and model.max_length <= _TRIED_MAX else 0
    faults = model.embed([TEXTS[1], "a " * longest] if longest else [TEXTS[1]]).faults
    name = model.settings.name
    # A model whose words are others than ours makes a zero, and may yet embed the table's texts.
    if 0 in faults and "zero" not in faults[0]:
        raise ModelUnavailable(f"{name} cannot embed a text ({faults[0]})", hint="try it with sentence-transformers")
    if 1 in faults and "zero" not in faults[1]:
        return f"{name} says that it reads {longest} tokens, and fails for that many: set a smaller max_length"
    return ""


def cut_in_words(model: Model, texts: Sequence[str]) -> str:
    """How many of some texts are longer than the model reads, for people; empty if all texts are read whole."""
    if not texts or model.max_length is None or not model.counts_tokens:
        return ""
    tokens = model.count_tokens([model.prompts.document + text for text in texts])
    longer = int((tokens > model.max_length).sum())
    done = "read in windows" if model.settings.long_texts == "mean" else "cut"
    return f"{longer} of the first {len(texts)} texts have more than {model.max_length:,} tokens and are {done}"


def describe(model: Model) -> str:
    """Dimension, prompts, longest text, and how it is computed, on one line."""
    longest = "reads texts of any length" if model.settings.service is None else "reads as much as the service reads"
    if model.max_length is not None:
        rest = "takes the mean of its windows" if model.settings.long_texts == "mean" else "cuts the rest"
        longest = f"reads {model.max_length:,} tokens of a text and {rest}"
    prompts = {"document": model.prompts.document, "question": model.prompts.query}
    named = [f"{kind} prompt {json.dumps(text, ensure_ascii=False)}" for kind, text in prompts.items() if text]
    return "; ".join(
        [
            f"{model.dimension} dimensions",
            ", ".join(named) or "no prompts",
            longest,
            model.how,
        ]
    )
