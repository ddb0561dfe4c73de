"""The counters of this process, and the names of all metrics; docs/reference/metrics.md is made from them.

Counters count what this process has seen done since it began, as Prometheus expects of a counter; gauges are read from
the catalog when somebody asks (``embedshift.monitoring.prometheus``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics

# Series of the moments at which counters began would double their number and tell nobody anything.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library gives it no types

#: One registry of our own: nothing of a library that also counts comes in.
REGISTRY = CollectorRegistry()

Kind = Literal["counter", "gauge", "info"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its name as it is queried, its labels, and what it is."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str

    @property
    def family(self) -> str:
        """The name of its family: that of a counter is without ``_total``, of an info without ``_info``."""
        return self.name.removesuffix({"counter": "_total", "info": "_info"}.get(self.kind, ""))


ROWS = Metric(
    "embedshift_rows_total",
    "counter",
    ("step", "outcome"),
    "rows of the ranges done: written, unchanged, dead; and deleted or shadowed in the target",
)
RANGES_DONE = Metric("embedshift_ranges_done_total", "counter", ("step",), "token ranges done")
FAILURES = Metric("embedshift_range_failures_total", "counter", ("step",), "token ranges that failed a try")
RUNS = Metric("embedshift_step_runs_total", "counter", ("step", "outcome"), "commands ended: done or failed")
RUN_SECONDS = Metric("embedshift_step_run_seconds", "gauge", ("step",), "how long the last run of a command took")
SUCCESS = Metric("embedshift_step_last_success_timestamp_seconds", "gauge", ("step",), "when a command last ended well")
BUILD = Metric("embedshift_build_info", "info", ("version",), "the version of embedshift")
MIGRATION = Metric(
    "embedshift_migration_info", "info", ("alias", "migration", "source", "target", "model"), "which migration it is"
)
STATE = Metric("embedshift_migration_state", "gauge", ("state",), "1 for the state that the migration is in, else 0")
RUNNING = Metric("embedshift_step_running", "gauge", ("step",), "1 while a living run owns the migration, by its step")
RANGES = Metric("embedshift_ranges", "gauge", ("step", "state"), "token ranges of the step: planned, done, failed")
RETRIES = Metric("embedshift_range_retries", "gauge", ("step",), "tries of the step's ranges beyond their first")
SPLITS = Metric("embedshift_range_splits", "gauge", ("step",), "cuts made in ranges of the step that failed")
ROWS_LEFT = Metric(
    "embedshift_rows_left", "gauge", ("step",), "rows of the ranges not done, by their share of the ring"
)
TIME_LEFT = Metric(
    "embedshift_time_left_seconds", "gauge", ("step", "bound"), "time left: about, and low and high of its interval"
)
QUIET = Metric("embedshift_quiet_seconds", "gauge", ("step",), "how long ago the last range of this run ended")
DEAD = Metric("embedshift_dead_letters", "gauge", (), "rows that could not be embedded or written, and are not yet")
SLOWED = Metric("embedshift_slowed", "gauge", (), "1 while the run is held back by a limit or a pause, else 0")
ALIAS_VERSION = Metric("embedshift_alias_version", "gauge", (), "counts the moves of the alias")

#: Counted in this process, and read from the catalog.
COUNTED = (ROWS, RANGES_DONE, FAILURES, RUNS, RUN_SECONDS, SUCCESS)
READ = (
    *(BUILD, ALIAS_VERSION, MIGRATION, STATE, RUNNING, DEAD, SLOWED),
    *(RANGES, RETRIES, SPLITS, ROWS_LEFT, TIME_LEFT, QUIET),
)


_COUNTERS = {m: Counter(m.name, m.help, m.labels, registry=REGISTRY) for m in COUNTED if m.kind == "counter"}
_GAUGES = {m: Gauge(m.name, m.help, m.labels, registry=REGISTRY) for m in COUNTED if m.kind == "gauge"}


def count(metric: Metric, amount: float = 1, **labels: str) -> None:
    """Add to a counter."""
    _COUNTERS[metric].labels(**labels).inc(amount)


def set_gauge(metric: Metric, value: float, **labels: str) -> None:
    """Set a gauge."""
    _GAUGES[metric].labels(**labels).set(value)


def step_label(step: str) -> str:
    """A step without the number of its pass: labels must be few."""
    return step.partition("/")[0]
