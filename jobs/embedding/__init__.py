"""Text in, vectors out: template, model, batching, precision, digests."""

from jobs.embedding.digest import DIGEST, digest_texts
from jobs.embedding.model import Embedded, Model, Precision, count_gpus, device_of, load_model, use_threads
from jobs.embedding.precision import choose_precision
from jobs.embedding.template import Template

__all__ = [
    "DIGEST",
    "Embedded",
    "Model",
    "Precision",
    "Template",
    "choose_precision",
    "count_gpus",
    "device_of",
    "digest_texts",
    "load_model",
    "use_threads",
]
