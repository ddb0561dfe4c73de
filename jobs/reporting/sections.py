"""The sections of a report, in the order in which people should read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobs.reporting import origin, proof, serving
from jobs.reporting.section import Section

_MAKERS = (
    proof.checks,
    proof.faults,
    proof.relevance,
    proof.weaker,
    proof.lost_most,
    proof.recall,
    serving.latency,
    serving.shadow,
    serving.lengths,
    serving.projection,
    serving.throughput,
    serving.space,
    origin.models,
    origin.timings,
    origin.settings,
)


def sections(record: Mapping[str, Any]) -> list[Section]:
    """Every section; one that the record has nothing for says why."""
    return [make(record) for make in _MAKERS]
