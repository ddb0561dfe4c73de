"""Metrics while a step runs: a port for Prometheus, and a file for jobs that end before Prometheus could ask."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from prometheus_client import start_http_server
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.registry import Collector

from embedshift import __version__
from embedshift.background import repeated
from embedshift.catalog.states import NEXT
from embedshift.errors import EmbedshiftError
from embedshift.monitoring.poller import Poller
from embedshift.monitoring.progress import ProgressSnapshot, Work
from embedshift.settings import MetricsSettings, Settings
from embedshift.stores.contract import Store
from embedshift.telemetry import metrics
from embedshift.telemetry.logs import trouble_level
from embedshift.telemetry.metrics import Metric

#: Seconds between two writes of the file while a step runs.
_WRITE_S = 30.0
#: A snapshot that is younger than this also serves the next scrape.
_FRESH_S = 2.0


class ProgressCollector(Collector):
    """The gauges: the figures of ``status --watch``, read when Prometheus asks."""

    def __init__(self, poller: Poller) -> None:
        self._poller = poller

    def describe(self) -> Iterable[Family]:
        """Nothing: registration must not ask the store."""
        return ()

    def collect(self) -> Iterable[Family]:
        """The families of one snapshot; none if the store does not answer, so that an old figure never looks new."""
        yield _info(metrics.BUILD, {"version": __version__})
        try:
            snapshot = self._poller.look(_FRESH_S)
        except EmbedshiftError:
            return
        yield from families(snapshot)


def families(snapshot: ProgressSnapshot) -> Iterator[Family]:
    """The gauges of a snapshot."""
    if snapshot.version is not None:
        yield _gauge(metrics.ALIAS_VERSION, [((), snapshot.version)])
    if snapshot.migration is None:
        return
    told = {name: str(getattr(snapshot, name)) for name in metrics.MIGRATION.labels}
    yield _info(metrics.MIGRATION, told)
    yield _gauge(metrics.STATE, [((state,), state == snapshot.state) for state in NEXT])
    yield _gauge(metrics.RUNNING, [((snapshot.running,), 1)] if snapshot.running else [])
    yield _gauge(metrics.DEAD, [((), snapshot.dead_letters)])
    yield _gauge(metrics.SLOWED, [((), bool(snapshot.slowed))])
    if snapshot.services:
        yield _gauge(metrics.SERVICE_REQUESTS, [((spent.model,), spent.requests) for spent in snapshot.services])
        yield _gauge(metrics.SERVICE_TOKENS, [((spent.model,), spent.tokens) for spent in snapshot.services])
        yield _gauge(metrics.SERVICE_COST, [((spent.model,), spent.cost) for spent in snapshot.services])
    if snapshot.work is not None:
        yield from _of_work(snapshot.work)


def _of_work(work: Work) -> Iterator[Family]:
    step, speed = metrics.step_label(work.step), work.speed
    states = {"planned": work.ranges - work.done - work.failed, "done": work.done, "failed": work.failed}
    yield _gauge(metrics.RANGES, [((step, state), number) for state, number in states.items()])
    yield _gauge(metrics.RETRIES, [((step,), work.retries)])
    yield _gauge(metrics.SPLITS, [((step,), work.splits)])
    yield _gauge(metrics.ROWS_LEFT, [((step,), work.rows_left)])
    bounds = {"about": speed.left_s, "low": speed.left_s_low, "high": speed.left_s_high}
    yield _gauge(metrics.TIME_LEFT, [((step, bound), value) for bound, value in bounds.items()])
    yield _gauge(metrics.QUIET, [((step,), speed.quiet_s)])


def _gauge(metric: Metric, samples: list[tuple[tuple[str, ...], float | None]]) -> Family:
    family = GaugeMetricFamily(metric.family, metric.help, labels=metric.labels)
    for labels, value in samples:
        if value is not None:  # a figure that is not known yet is left out
            family.add_metric(labels, float(value))
    return family


def _info(metric: Metric, labels: dict[str, str]) -> Family:
    return InfoMetricFamily(metric.family, metric.help, value=labels)


@contextmanager
def exposed(settings: Settings, store: Store, say: Callable[[str], None]) -> Iterator[None]:
    """Offer the metrics as ``metrics`` in the settings says, until the block ends; then write the file a last time.

    If the port is taken, or the file cannot be written, that is printed and the step goes on.
    """
    chosen = settings.metrics
    if chosen.port is None and chosen.textfile is None:
        yield
        return
    collector = ProgressCollector(Poller(settings, store))
    metrics.REGISTRY.register(collector)
    try:
        with _served(chosen, say), _written(chosen.textfile, say):
            yield
    finally:
        metrics.REGISTRY.unregister(collector)


@contextmanager
def _served(chosen: MetricsSettings, say: Callable[[str], None]) -> Iterator[None]:
    if chosen.port is None:
        yield
        return
    try:
        server, thread = start_http_server(chosen.port, chosen.host, metrics.REGISTRY)
    except OSError as error:
        say(f"no metrics on {chosen.host}, port {chosen.port} ({error.strerror}); the step goes on without metrics")
        yield
        return
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def _written(path: Path | None, say: Callable[[str], None]) -> Iterator[None]:
    if path is None:
        yield
        return
    try:
        # A file that cannot be written is reported once, at the end.
        with repeated(lambda: write_textfile(path), _WRITE_S, "embedshift-metrics", despite=OSError):
            yield
    finally:
        try:
            write_textfile(path)
        except OSError as error:
            say(f"cannot write metrics.textfile {path} ({error.strerror})")


def write_textfile(path: Path) -> None:
    """Write all metrics as OpenMetrics text, atomically: a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = generate_latest(metrics.REGISTRY)  # type: ignore[no-untyped-call]  # the library gives it no types
    # The name must not end in .prom, or a collector of such files would read the unfinished one.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise


_LOG = logging.getLogger(__name__)


@contextmanager
def recorded_run(
    command: str, settings: Settings, store: Store, say: Callable[[str], None], *, signal: bool = False
) -> Iterator[None]:
    """Log and count a command, and offer the metrics of the settings, until the block ends.

    Args:
        signal: the command only signals a running step, whose port and file it leaves alone.
    """
    with nullcontext() if signal else exposed(settings, store, say), _recorded(command, settings):
        yield


@contextmanager
def _recorded(command: str, settings: Settings) -> Iterator[None]:
    started, outcome = time.monotonic(), "failed"
    told = {"command": command, "alias": settings.alias, "target": settings.target.table}
    _LOG.info("begins", extra=told)
    try:
        yield
        outcome = "done"
        metrics.set_gauge(metrics.SUCCESS, time.time(), step=command)
    except BaseException as error:
        ends = {**told, "seconds": _since(started)}
        _LOG.log(trouble_level(), "ended before it was done", exc_info=error, extra=ends)
        raise
    finally:
        metrics.count(metrics.RUNS, step=command, outcome=outcome)
        metrics.set_gauge(metrics.RUN_SECONDS, _since(started), step=command)
    _LOG.info("is done", extra={**told, "seconds": _since(started)})


def _since(started: float) -> float:
    return round(time.monotonic() - started, 3)
