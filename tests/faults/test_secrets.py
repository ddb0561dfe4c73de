"""Secrets stay out of settings, logs, reports, Spark's configuration and exceptions. Invariant 11."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest

from embedshift.errors import CheckFailed, SettingsError, StoreUnavailable
from embedshift.settings import StoreSettings, parse_settings
from embedshift.spark.transfer import reachable, transfer_of
from embedshift.stores import open_store
from tests.world import World, some_articles

PASSWORD = "hunter2-of-the-tests"


@pytest.fixture
def world(new_world, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    monkeypatch.setenv("SCYLLA_USERNAME", "ann")
    monkeypatch.setenv("SCYLLA_PASSWORD", PASSWORD)
    secret = tmp_path / "credentials"
    secret.write_text(f"ann\n{PASSWORD}\n")
    world = new_world(store={"credentials_file": str(secret)})
    world.create_source(some_articles(12))
    return world


def test_no_secret_travels_to_spark_or_stays_in_any_file(world, spark, capfd):
    world.steps("prepare", "load", "sync", "index", "sync", "validate", "cutover")
    assert PASSWORD.encode() not in pickle.dumps(transfer_of(world.settings, world.store, world.migration, "load"))
    assert PASSWORD not in world.settings.model_dump_json()
    assert PASSWORD not in repr(world.settings) + str(world.settings)
    assert PASSWORD not in str(spark.getConf().getAll())
    for file in world.folder.rglob("*"):
        assert PASSWORD.encode() not in file.read_bytes(), file
    out, err = capfd.readouterr()
    assert PASSWORD not in out + err


def test_a_cluster_that_cannot_be_reached_is_named_without_the_secret(world):
    settings = StoreSettings(
        kind="cql",
        hosts=("127.0.0.1",),
        port=1,
        local_dc="nowhere",
        keyspace="articles",
        connect_timeout="1s",
        credentials_file=world.settings.store.credentials_file,
    )
    with pytest.raises(StoreUnavailable) as caught:
        open_store(settings)
    assert PASSWORD not in str(caught.value)
    assert caught.value.exit_code == 3


def test_workers_are_told_where_the_secret_is_and_not_what_it_is(world):
    told = reachable(world.settings.store).model_dump_json()
    assert str(world.settings.store.credentials_file) in told
    assert PASSWORD not in told


def test_a_text_is_no_part_of_a_dead_letter_or_an_error(new_world, spark, capfd):
    world = new_world(load={"attempts": 1})
    rows = some_articles(6)
    rows[2]["content"] = ("poison and my-private-text", rows[2]["content"][1])
    world.create_source(rows)
    world.step("prepare")
    with pytest.raises(CheckFailed) as caught:
        world.step("load")
    assert "my-private-text" not in str(caught.value)
    out, err = capfd.readouterr()
    assert "my-private-text" not in out + err


def test_a_spark_property_is_no_place_for_one(world):
    with pytest.raises(SettingsError, match=r"unknown key spark\.password"):
        parse_settings({**world.tree, "spark": {"password": PASSWORD}})


def test_a_log_of_everything_holds_no_text_and_no_secret_and_one_run(world):
    """The whole command, with the log at its most talkative: driver and workers on one standard error."""
    textfile = world.folder / "metrics.prom"
    world.with_settings(log={"format": "json", "level": "debug"}, metrics={"textfile": str(textfile)})
    assert world.command("prepare").returncode == 0
    done = world.command("load", "--json", environment={"EMBEDSHIFT_RUN": "nightly-7"})
    assert done.returncode == 0, done.stderr
    told = done.stderr + done.stdout + textfile.read_text()
    assert PASSWORD not in told
    for row in some_articles(12):
        assert not [text for text in (row["title"][0], row["content"][0], row["content"][0][:40]) if text in told]
    records = [json.loads(line) for line in done.stderr.splitlines()]
    assert {each["run"] for each in records} == {"nightly-7"}
    done_ranges = [each for each in records if each["message"] == "a range is done"]
    assert sum(each["read"] for each in done_ranges) == 12
    driver = {each["process"] for each in records if each["message"] == "begins"}
    assert len(driver) == 1
    assert driver.isdisjoint(each["process"] for each in done_ranges)
