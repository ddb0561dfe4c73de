"""What a person should know of a model before it embeds a table."""

from __future__ import annotations

import json

from embedshift.embedding.model import Model


def describe(model: Model) -> str:
    """Dimension, prompts, longest text, number type and path of a model, on one line."""
    longest = "reads texts of any length"
    if model.max_length is not None:
        rest = "takes the mean of its windows" if model.settings.long_texts == "mean" else "cuts the rest"
        longest = f"reads {model.max_length:,} tokens of a text and {rest}"
    prompts = {"document": model.prompts.document, "question": model.prompts.query}
    named = [f"{kind} prompt {json.dumps(text, ensure_ascii=False)}" for kind, text in prompts.items() if text]
    saved = "" if model.computes_in == model.precision else ", as its weights were saved"
    library = [] if model.path == "quick" or model.is_word_table else [f"embedded by its library: {model.path}"]
    return "; ".join(
        [
            f"{model.dimension} dimensions",
            ", ".join(named) or "no prompts",
            longest,
            f"computes in {model.computes_in}{saved}",
            *library,
        ]
    )
