"""Text in, vectors out: template, model, batching, precision, digests."""

from embedshift.embedding.contract import Embedded, Model, Precision, Texts
from embedshift.embedding.digest import (
    DIGEST,
    digest_texts,
    hash_vectors,
    is_of_text,
    mismatched,
    of_text,
    whole_digests,
)
from embedshift.embedding.loading import count_gpus, device_of, load_model, use_threads
from embedshift.embedding.local import LocalModel
from embedshift.embedding.precision import choose_precision
from embedshift.embedding.service.model import ServiceModel
from embedshift.embedding.template import Template

__all__ = [
    "DIGEST",
    "Embedded",
    "LocalModel",
    "Model",
    "Precision",
    "ServiceModel",
    "Template",
    "Texts",
    "choose_precision",
    "count_gpus",
    "device_of",
    "digest_texts",
    "hash_vectors",
    "is_of_text",
    "load_model",
    "mismatched",
    "of_text",
    "use_threads",
    "whole_digests",
]
