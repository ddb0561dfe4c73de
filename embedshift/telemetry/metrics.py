"""The counters of this process, and the names of all metrics; docs/reference/metrics.md is made from them.

Counters count what this process has done since it began, as Prometheus expects of a counter; gauges are read from the
catalog when Prometheus asks (``embedshift.monitoring.prometheus``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, disable_created_metrics

# Series with the moments at which counters began would double the number of series, and nobody needs them.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library gives it no types

#: A registry of our own, so that no metric of another library is included.
REGISTRY = CollectorRegistry()

Kind = Literal["counter", "gauge", "info"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: its name in queries, its labels, and its help text."""

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str

    @property
    def family(self) -> str:
        """The name of its family: for a counter without ``_total``, for an info without ``_info``."""
        return self.name.removesuffix({"counter": "_total", "info": "_info"}.get(self.kind, ""))


ROWS = Metric(
    "embedshift_rows_total",
    "counter",
    ("step", "outcome"),
    "rows of finished ranges: written, unchanged, dead; also deleted, and shadowed: hidden by a newer delete",
)
RANGES_DONE = Metric("embedshift_ranges_done_total", "counter", ("step",), "token ranges that are done")
FAILURES = Metric("embedshift_range_failures_total", "counter", ("step",), "failed attempts of token ranges")
RUNS = Metric("embedshift_step_runs_total", "counter", ("step", "outcome"), "commands that ended, done or failed")
RUN_SECONDS = Metric("embedshift_step_run_seconds", "gauge", ("step",), "seconds that the last run of a command took")
SUCCESS = Metric("embedshift_step_last_success_timestamp_seconds", "gauge", ("step",), "when a command last succeeded")
BUILD = Metric("embedshift_build_info", "info", ("version",), "the version of embedshift")
MIGRATION = Metric(
    "embedshift_migration_info", "info", ("alias", "migration", "source", "target", "model"), "the migration"
)
STATE = Metric("embedshift_migration_state", "gauge", ("state",), "1 for the state of the migration, otherwise 0")
RUNNING = Metric("embedshift_step_running", "gauge", ("step",), "1 while a run owns the migration, by its step")
RANGES = Metric("embedshift_ranges", "gauge", ("step", "state"), "token ranges of the step: planned, done, failed")
RETRIES = Metric("embedshift_range_retries", "gauge", ("step",), "attempts of the step's ranges beyond the first")
SPLITS = Metric("embedshift_range_splits", "gauge", ("step",), "cuts made in failed ranges of the step")
ROWS_LEFT = Metric(
    "embedshift_rows_left", "gauge", ("step",), "rows of unfinished ranges, estimated by share of the ring"
)
TIME_LEFT = Metric(
    "embedshift_time_left_seconds",
    "gauge",
    ("step", "bound"),
    "time left: the estimate (about), and the bounds of its interval (low, high)",
)
QUIET = Metric("embedshift_quiet_seconds", "gauge", ("step",), "seconds since the last range of this run ended")
DEAD = Metric("embedshift_dead_letters", "gauge", (), "rows that could not be embedded or written, and still are not")
SLOWED = Metric("embedshift_slowed", "gauge", (), "1 while a limit or a pause slows the run down, otherwise 0")
SERVICE_REQUESTS = Metric(
    "embedshift_service_requests", "gauge", ("model",), "requests that a service has answered for the migration"
)
SERVICE_TOKENS = Metric(
    "embedshift_service_tokens", "gauge", ("model",), "tokens of them, as the service counts, or as reserved"
)
SERVICE_COST = Metric("embedshift_service_cost", "gauge", ("model",), "what they cost, in the currency of the price")
ALIAS_VERSION = Metric("embedshift_alias_version", "gauge", (), "increases with each move of the alias")

#: Counted in this process; and read from the catalog.
COUNTED = (ROWS, RANGES_DONE, FAILURES, RUNS, RUN_SECONDS, SUCCESS)
READ = (
    *(BUILD, ALIAS_VERSION, MIGRATION, STATE, RUNNING, DEAD, SLOWED),
    *(SERVICE_REQUESTS, SERVICE_TOKENS, SERVICE_COST),
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
    """A step without the number of its pass, to keep the labels few."""
    return step.partition("/")[0]
