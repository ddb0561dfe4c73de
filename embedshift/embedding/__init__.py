"""Text in, vectors out: template, model, batching, precision, digests."""

from embedshift.embedding.digest import (
    DIGEST,
    digest_texts,
    hash_vectors,
    is_of_text,
    mismatched,
    of_text,
    whole_digests,
)
from embedshift.embedding.loading import count_gpus, device_of, former_fingerprint, load_model, use_threads
from embedshift.embedding.model import Embedded, Model, Precision, Texts
from embedshift.embedding.precision import choose_precision
from embedshift.embedding.template import Template

__all__ = [
    "DIGEST",
    "Embedded",
    "Model",
    "Precision",
    "Template",
    "Texts",
    "choose_precision",
    "count_gpus",
    "device_of",
    "digest_texts",
    "former_fingerprint",
    "hash_vectors",
    "is_of_text",
    "load_model",
    "mismatched",
    "of_text",
    "use_threads",
    "whole_digests",
]
