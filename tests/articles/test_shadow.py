"""Shadow reading: a share of the real searches is sent to the new table too, and nobody notices."""

from __future__ import annotations

import json
import logging
import signal
import threading
from contextlib import contextmanager
from functools import partial

import pytest

from embedshift import Articles
from embedshift.articles import shadow as shadowing
from embedshift.catalog.shadow import read_shadow
from embedshift.catalog.tables import SHADOW
from embedshift.cli.app import main
from embedshift.errors import CheckFailed, InputError, SettingsError, StateError, StoreUnavailable
from embedshift.operations import shadow
from tests.articles.conftest import SALT, figures, in_state
from tests.world import DEADLINE_S, eventually

#: That it works on a cluster too is shown in test_shadow_on_cassandra.py; here is what does not depend on the store.
pytestmark = pytest.mark.parametrize("new_world", ["embedded"], indirect=True)

QUESTION = "salt keeps bread from spoiling"


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine must not cut the end of a client short, and figures are written as soon as there are any."""
    monkeypatch.setattr(shadowing, "END_S", DEADLINE_S)
    monkeypatch.setattr(shadowing, "WRITE_S", 0.01)


@pytest.fixture
def shadowed(migrating, opened_on):
    """Articles of which every search is sent to both tables, and their store."""
    migrating.with_settings(articles={"shadow": 1.0})
    return opened_on(migrating)


def background() -> list[threading.Thread]:
    """The threads of shadow reading that run in this process."""
    return [thread for thread in threading.enumerate() if thread.name == "embedshift-shadow"]


def measured(world, **wanted: int) -> bool:
    """Whether the figures in the catalog are these."""
    found = read_shadow(world.store, world.migration.id)
    return found is not None and {name: found[name] for name in wanted} == wanted


@contextmanager
def gated(store, monkeypatch: pytest.MonkeyPatch):
    """Searches of the new table wait at a gate. Yields the gate, and an event that one has come to it."""
    gate, came = threading.Event(), threading.Event()
    search = store.search

    def waiting(table, *arguments, **options):
        if table.name == "articles_v2":
            came.set()
            assert gate.wait(DEADLINE_S)
        return search(table, *arguments, **options)

    monkeypatch.setattr(store, "search", waiting)
    try:
        yield gate, came
    finally:
        gate.set()


def test_every_search_is_compared_and_the_figures_are_in_the_catalog(migrating):
    with Articles.open(migrating.config, shadow=1) as articles:
        for k in (1, 3, 10):
            articles.search(QUESTION, k)
        eventually(lambda: measured(migrating, searches=3))
    found = figures(migrating)
    assert (found["searches"], found["dropped"], found["failed"]) == (3, 0, 0)
    assert 0 <= found["overlap@10"]["low"] <= found["overlap@10"]["mean"] <= found["overlap@10"]["high"] <= 1
    assert 0 < found["rbo"]["mean"] <= 1
    for side in ("old", "new"):
        assert found["latency"][side]["searches"] == 3
        times = found["latency"][side]["quantiles_ms"]
        assert len(times) == 101
        assert times == sorted(times)
    assert 0 < found["from_us"] <= found["to_us"]


def test_figures_of_several_clients_are_added_up(migrating):
    for searches in (1, 2):
        with Articles.open(migrating.config, shadow=1) as articles:
            articles.search(QUESTION)
            eventually(partial(measured, migrating, searches=searches))
    assert figures(migrating)["searches"] == 2


def test_a_new_table_that_does_not_answer_keeps_no_caller_waiting(migrating, shadowed, monkeypatch):
    articles, store = shadowed
    with gated(store, monkeypatch) as (gate, came):
        # The gate is shut: every answer below was given while the new table had not answered at all.
        first = articles.search(QUESTION, 3)
        assert came.wait(DEADLINE_S)
        more = shadowing.WAITING + 5
        for _ in range(more):
            assert articles.search(QUESTION, 3) == first
        assert not gate.is_set()
        gate.set()
        eventually(lambda: measured(migrating, searches=1 + shadowing.WAITING, dropped=5))


def test_closing_does_not_wait_for_what_has_not_begun(migrating, shadowed, monkeypatch):
    monkeypatch.setattr(shadowing, "END_S", 0.01)
    articles, store = shadowed
    with gated(store, monkeypatch) as (gate, came), monkeypatch.context() as kept_open:
        for _ in range(4):
            articles.search(QUESTION)
        assert came.wait(DEADLINE_S)
        # The store outlives the client here, so that the search that is under way can end and be counted.
        kept_open.setattr(store, "close", lambda: None)
        articles.close()
        assert not gate.is_set()
        gate.set()
        eventually(lambda: not background())
        assert measured(migrating, searches=1, dropped=3)
    store.close()


def test_whatever_the_new_table_throws_is_counted_and_stays_there(migrating, shadowed, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG, "embedshift")
    articles, store = shadowed
    search, failures = store.search, []

    def broken(table, *arguments, **options):
        if table.name == "articles_v2" and len(failures) < 3:
            failures.append(QUESTION)
            raise RuntimeError(QUESTION)
        return search(table, *arguments, **options)

    monkeypatch.setattr(store, "search", broken)
    for _ in range(4):
        assert articles.search(QUESTION)[0].id == "salt"
    eventually(lambda: measured(migrating, searches=1, failed=3))
    assert [record.levelname for record in caplog.records].count("WARNING") == 1
    assert QUESTION not in caplog.text


def test_figures_that_cannot_be_written_affect_nobody(migrating, monkeypatch, caplog):
    def away(*_, **__):
        raise StoreUnavailable("the catalog does not answer")

    monkeypatch.setattr(shadowing, "write_shadow", away)
    with Articles.open(migrating.config, shadow=1) as articles:
        articles.search(QUESTION)
        eventually(lambda: "could not be written" in caplog.text)
    assert caplog.text.count("could not be written") == 1


def test_no_question_is_kept(migrating):
    with Articles.open(migrating.config, shadow=1) as articles:
        articles.search(QUESTION)
        eventually(lambda: measured(migrating, searches=1))
    (row,) = migrating.store.records.select(SHADOW, {"migration": migrating.migration.id})
    for word in ("salt", "bread", "spoiling", "river", "stone"):
        assert word not in json.dumps(row)


@pytest.mark.parametrize("share", [0, None])
def test_without_a_share_nothing_is_begun(migrating, share):
    with Articles.open(migrating.config, shadow=share) as articles:
        articles.search(QUESTION)
        assert not background()


def test_without_a_migration_nothing_is_begun(world):
    with Articles.open(world.config, shadow=1) as articles:
        articles.add(SALT)
        articles.search(QUESTION)
        assert not background()


def test_a_table_that_has_no_index_yet_is_left_alone(migrating, shadowed, monkeypatch):
    in_state(migrating, "loaded")
    articles, store = shadowed
    looked = threading.Event()
    read = shadowing.read_migration

    def reading(*arguments):
        found = read(*arguments)
        looked.set()
        return found

    monkeypatch.setattr(shadowing, "read_migration", reading)
    with gated(store, monkeypatch) as (_, came):
        articles.search(QUESTION)
        assert looked.wait(DEADLINE_S)
        articles.close()
    assert not came.is_set()
    assert read_shadow(migrating.store, migrating.migration.id) is None


def test_the_share_is_a_setting_or_an_argument(migrating):
    migrating.with_settings(articles={"shadow": 1.0})
    with Articles.open(migrating.config) as articles:
        assert articles.settings.articles.shadow == 1
    with Articles.open(migrating.config, shadow=0.25) as articles:
        assert articles.settings.articles.shadow == 0.25
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(SettingsError, match="not a share"):
            Articles.open(migrating.config, shadow=wrong)


# The command.


@pytest.fixture
def questions(tmp_path):
    file = tmp_path / "questions.jsonl"
    file.write_text('{"id": "q1", "text": "salt keeps bread"}\n\nwhere does water run\n')
    return file


def test_the_command_measures_at_a_rate_and_writes_for_the_report(migrating, questions):
    done = migrating.step("shadow", questions=questions, rate=50, minutes=0.01)
    # 50 a second for 0.6 seconds are 30, whatever of them had to be dropped.
    assert done["searches"] + done["dropped"] + done["failed"] == 30
    assert done["failed"] == 0
    assert done["searches"] > 0
    assert done["interrupted"] is False
    assert figures(migrating) == {key: done[key] for key in figures(migrating)}


def test_a_table_that_cannot_be_searched_is_refused(migrating, questions):
    in_state(migrating, "loaded")
    with pytest.raises(StateError, match=r"shadow may not run: .* is loaded: run embedshift sync"):
        migrating.step("shadow", questions=questions, rate=1, minutes=1)


@pytest.mark.parametrize(
    ("text", "said"), [("\n", "contains no question"), ('{"id": 1}\n', "line 1"), ("{no\n", "line 1")]
)
def test_a_file_without_questions_is_refused(migrating, questions, text, said):
    questions.write_text(text)
    with pytest.raises(InputError, match=said):
        migrating.step("shadow", questions=questions, rate=1, minutes=1)
    with pytest.raises(InputError, match="cannot read"):
        migrating.step("shadow", questions=questions.with_name("none"), rate=1, minutes=1)


def test_it_ends_when_the_migration_has_moved_on(migrating, questions, monkeypatch):
    monkeypatch.setattr(shadow, "WRITE_S", 0.0)
    answered = threading.Event()
    count_pair = shadow.count_pair

    def counting(*arguments):
        count_pair(*arguments)
        if not answered.is_set():
            in_state(migrating, "switched")
            answered.set()

    monkeypatch.setattr(shadow, "count_pair", counting)
    done = migrating.step("shadow", questions=questions, rate=20, minutes=DEADLINE_S / 60)
    assert answered.is_set()
    assert done["seconds"] < DEADLINE_S


def test_nothing_but_failures_is_a_failure(migrating, questions, monkeypatch):
    def broken(*_):
        raise RuntimeError("no")

    monkeypatch.setattr(shadow, "count_pair", broken)
    with pytest.raises(CheckFailed, match=r"no question was answered by both tables \(RuntimeError\)"):
        migrating.step("shadow", questions=questions, rate=20, minutes=0.005)


def test_interrupted_it_prints_what_it_has_measured(migrating, questions, monkeypatch, capsys):
    monkeypatch.setattr(shadow, "WRITE_S", 0.0)
    write, sent = shadow.write_shadow, []

    def interrupted(store, migration, run, stats):
        write(store, migration, run, stats)
        if stats.searches >= 5 and not sent:
            sent.append(stats.searches)
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(shadow, "write_shadow", interrupted)
    arguments = ["shadow", "--questions", str(questions), "--config", str(migrating.config), "--json"]
    assert main([*arguments, "--rate", "50", "--minutes", "9"]) == 130
    out = json.loads(capsys.readouterr().out)
    assert out["searches"] >= 5
    assert out["interrupted"] is True
    assert figures(migrating)["searches"] == out["searches"]


def test_ctrl_c_ends_a_real_run_well(migrating, questions):
    running = migrating.start("shadow", "--questions", str(questions), "--rate", "20", "--minutes", "9", "--json")
    too_long = threading.Timer(DEADLINE_S, running.kill)
    too_long.start()
    for line in running.stderr:
        if "20 questions per second" in line:
            break
    running.send_signal(signal.SIGINT)
    out, err = running.communicate()
    too_long.cancel()
    assert running.returncode == 130
    assert json.loads(out)["interrupted"] is True
    assert err.splitlines()[-1].startswith("embedshift: interrupted")
