"""Metrics: every name is in the table, Prometheus can read them, the dashboard asks for no others."""

from __future__ import annotations

import json
import re
import socket
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain_text

from embedshift.catalog.lease import owned
from embedshift.catalog.ranges import Counts, Progress
from embedshift.errors import CheckFailed
from embedshift.monitoring.prometheus import exposed, recorded_run
from embedshift.spark.run import recorded
from embedshift.spark.transfer import transfer_of
from embedshift.telemetry import metrics
from tests.monitoring.conftest import carry

ROOT = Path(__file__).resolve().parents[2]
KNOWN = {each.name: each for each in (*metrics.COUNTED, *metrics.READ)}


def samples(text: str, parse=open_metrics) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse(text)
        for sample in family.samples
    }


def value(found, name: str, **labels: str) -> float | None:
    return found.get((name, frozenset(labels.items())))


def test_names_follow_the_conventions_of_prometheus():
    assert len(KNOWN) == len(metrics.COUNTED) + len(metrics.READ)
    for metric in KNOWN.values():
        assert re.fullmatch(r"embedshift(_[a-z]+)+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        assert metric.name.endswith("_info") == (metric.kind == "info")
        assert not re.search(r"_(ms|minutes|percent|kb|mb)\b", metric.name)
        # A label that grows with the data or with time would grow the database of Prometheus.
        assert {"range", "owner", "run", "id", "pass"}.isdisjoint(metric.labels)


def test_a_file_tells_all_of_a_run_and_every_name_in_it_is_in_the_table(world):
    file = world.folder / "metrics" / "embedshift.prom"
    world.with_settings(metrics={"textfile": str(file)})
    transfer = transfer_of(world.settings, world.store, world.migration, "sync/7")
    with recorded_run("sync", world.settings, world.store, print):
        look = recorded(transfer, Progress(4, 1, 0, Counts(5, 5)), lambda _: None)
        look(Progress(4, 2, 1, Counts(9, 7, 2)))
        look(Progress(5, 5, 0, Counts(20, 18, 2, deleted=3)))
        carry(world, 10)
    found = samples(file.read_text())
    assert {name for name, _ in found} <= set(KNOWN)
    for (name, labels), _ in found.items():
        assert {label for label, _ in labels} == set(KNOWN[name].labels)
    assert value(found, "embedshift_rows_total", step="sync", outcome="written") >= 13
    assert value(found, "embedshift_ranges_done_total", step="sync") >= 4
    assert value(found, "embedshift_range_failures_total", step="sync") >= 1
    assert value(found, "embedshift_step_runs_total", step="sync", outcome="done") >= 1
    assert value(found, "embedshift_migration_state", state="prepared") == 1
    assert value(found, "embedshift_migration_state", state="loaded") == 0
    assert value(found, "embedshift_ranges", step="load", state="done") == 10
    assert samples(file.read_text(), plain_text).items() >= found.items()
    assert [each.name for each in file.parent.iterdir()] == [file.name]


def runs_counted() -> dict[tuple[str, ...], float]:
    """How often each step ended so in this process: the counters are the process's own, and only grow."""
    return {
        tuple(each.labels.values()): each.value
        for family in metrics.REGISTRY.collect()
        for each in family.samples
        if each.name == "embedshift_step_runs_total"
    }


def test_a_run_that_fails_is_counted_as_failed(world):
    before = runs_counted()
    with pytest.raises(CheckFailed), recorded_run("audit", world.settings, world.store, print):
        raise CheckFailed("no")
    failed = ("audit", "failed")
    assert runs_counted() == before | {failed: before.get(failed, 0) + 1}


def test_while_a_step_runs_prometheus_is_answered_and_a_second_run_goes_on_without(world):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    world.with_settings(metrics={"port": port})
    said: list[str] = []
    with (
        owned(world.store, world.migration, "load", world.settings.cutover.lease),
        exposed(world.settings, world.store, said.append),
        exposed(world.settings, world.store, said.append),
    ):
        carry(world, 4)
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=300) as response:
            found = samples(response.read().decode(), plain_text)
    assert value(found, "embedshift_step_running", step="load") == 1
    (line,) = said
    assert line.startswith(f"no metrics on 127.0.0.1, port {port}")


def test_a_file_that_cannot_be_written_is_said_and_costs_nothing(world):
    (world.folder / "taken").write_text("a file, no folder")
    world.with_settings(metrics={"textfile": str(world.folder / "taken" / "metrics.prom")})
    said: list[str] = []
    with exposed(world.settings, world.store, said.append):
        pass
    assert said[0].startswith("cannot write metrics.textfile")


def test_the_alerts_of_the_page_ask_for_metrics_that_there_are():
    page = (ROOT / "docs" / "how-to" / "watch.md").read_text("utf-8")
    asked = {name for name in re.findall(r"\bembedshift_\w+", page) if not name.endswith("_prom")}
    assert len(asked) >= 4
    assert asked <= set(KNOWN)


def test_the_dashboard_asks_for_metrics_that_there_are():
    board = json.loads((ROOT / "docs" / "examples" / "grafana-dashboard.json").read_text("utf-8"))
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    asked = {name for query in queries for name in re.findall(r"\bembedshift_\w+", query)}
    assert len(queries) >= 10
    assert asked <= set(KNOWN), asked - set(KNOWN)
    assert {panel["id"] for panel in board["panels"]} == set(range(1, len(board["panels"]) + 1))
    for query in queries:
        for name, label in re.findall(r"(embedshift_\w+)\{(\w+)[=!]", query):
            assert label in (*KNOWN[name].labels, "instance", "job"), query
