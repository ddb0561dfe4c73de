"""What the catalog keeps: the alias and its history, who owns a migration, dead letters, validations, states."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embedshift.catalog.actor import shown
from embedshift.catalog.alias import create_alias, find_alias, get_alias, history, move_alias
from embedshift.catalog.claim import claim_alias
from embedshift.catalog.dead_letters import DeadLetter, drop_dead_letter, read_dead_letters, write_dead_letters
from embedshift.catalog.lease import Lease, owned
from embedshift.catalog.migration import (
    Facts,
    Migration,
    check_settings,
    create_migration,
    find_migration,
    get_migration,
    read_migration,
)
from embedshift.catalog.setup import ensure_catalog
from embedshift.catalog.states import ALLOWED, ENDED, NEXT, check_step
from embedshift.catalog.validations import last_validation, write_validation
from embedshift.catalog.vector_table import ModelRecord, VectorTable, index_name
from embedshift.errors import OwnedByAnother, RefusedError, StateError
from embedshift.settings import IndexSettings, ModelSettings, Settings, StoreSettings, parse_settings
from embedshift.stores import open_store
from embedshift.stores.contract import Store
from embedshift.tokens import WHOLE_RING, TokenRange

LEASE = timedelta(seconds=30)
SHORT = timedelta(milliseconds=150)


def vector_table(table: str, model: str = "small") -> VectorTable:
    record = ModelRecord(model, None, "q: ", "", 128, True, "float32", 8, f"fingerprint of {model}")
    options = IndexSettings(metric="cosine", connections=None, quantization="f16")
    return VectorTable(table, "id", "{title}", "embedding", True, index_name(table, "embedding"), options, record)


def settings_of(**target: object) -> Settings:
    return parse_settings(
        {
            "alias": "articles",
            "store": {"path": "unused"},
            "source": {"table": "articles", "model": {"name": "small"}},
            "target": {"table": "articles_v2", "model": {"name": "large"}, **target},
        }
    )


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with closing(open_store(StoreSettings(path=tmp_path / "catalog.sqlite"))) as opened:
        ensure_catalog(opened)
        yield opened


@pytest.fixture
def migration(store: Store) -> Migration:
    return create_migration(store, settings_of(), vector_table("articles"), vector_table("articles_v2", "large"))


# Vector tables.


@given(
    st.builds(
        VectorTable,
        table=st.sampled_from(["a", "Ä", 'quo"ted']),
        id=st.just("id"),
        text=st.text(st.characters(codec="utf-8"), max_size=10),
        vector=st.just("embedding"),
        digests=st.booleans(),
        index_name=st.just("a_idx"),
        index_options=st.builds(
            IndexSettings,
            metric=st.sampled_from(["cosine", "euclidean"]),
            connections=st.one_of(st.none(), st.integers(2, 512)),
        ),
        model=st.builds(
            ModelRecord,
            name=st.text(st.characters(codec="utf-8"), min_size=1, max_size=9),
            revision=st.one_of(st.none(), st.just("v1")),
            query_prompt=st.text(st.characters(codec="utf-8"), max_size=9),
            document_prompt=st.just(""),
            max_length=st.one_of(st.none(), st.integers(8, 512)),
            normalize=st.booleans(),
            precision=st.sampled_from(["float32", "bfloat16"]),
            dimension=st.integers(1, 4096),
            fingerprint=st.just("f" * 32),
            own_query_prompt=st.sampled_from(["", "query: "]),
            truncate_dim=st.one_of(st.none(), st.integers(1, 64)),
            long_texts=st.sampled_from(["cut", "mean"]),
        ),
    )
)
def test_a_vector_table_survives_the_catalog(wanted):
    again = VectorTable.from_json(wanted.to_json())
    assert again == wanted
    assert again.model.settings().device == "auto"


def test_a_record_of_a_plain_model_is_what_earlier_versions_wrote_and_read():
    record = json.loads(vector_table("articles").to_json())["model"]
    assert sorted(record) == [
        *("dimension", "document_prompt", "fingerprint", "max_length", "name", "normalize"),
        *("precision", "query_prompt", "revision"),
    ]


@pytest.mark.parametrize("prompt", [None, "q: "])
def test_a_prompt_that_is_left_to_the_model_is_its_own(prompt):
    record = replace(vector_table("articles").model, own_query_prompt="q: ")
    assert record.is_of(ModelSettings(name="small", max_length=128, query_prompt=prompt, device="cpu"))
    assert not record.is_of(ModelSettings(name="small", max_length=128, query_prompt=""))
    assert not record.is_of(ModelSettings(name="small", max_length=128, query_prompt=prompt, truncate_dim=4))


def test_options_that_nobody_named_stay_unnamed_in_the_catalog():
    """A server that does not know an option must not be asked for it because the catalog filled in a default."""
    kept = VectorTable.from_json(vector_table("articles").to_json()).index_options
    assert kept.model_fields_set == {"metric", "connections", "quantization"}


# The alias: invariant 5.


def test_an_alias_is_created_once(store):
    create_alias(store, "articles", vector_table("articles"))
    again = create_alias(store, "articles", vector_table("another"))
    assert (again.target.table, again.version) == ("articles", 1)
    assert len(history(store, "articles")) == 1


def test_an_alias_that_is_not_there_says_how_to_make_it(store):
    assert find_alias(store, "articles") is None
    with pytest.raises(StateError, match="run embedshift import or embedshift prepare"):
        get_alias(store, "articles")


def test_a_move_changes_table_and_model_together_and_is_remembered(store):
    create_alias(store, "articles", vector_table("articles"))
    claim = claim_alias(store, "articles", "m")
    now = move_alias(store, None, claim, vector_table("articles_v2", "large"), migration="m", reason="cutover")
    assert (now.target.table, now.target.model.name, now.version) == ("articles_v2", "large", 2)
    assert now.previous == vector_table("articles")
    moves = history(store, "articles")
    assert [(move["version"], move["reason"], move["migration"]) for move in moves] == [
        (1, "created", ""),
        (2, "cutover", "m"),
    ]
    assert [json.loads(move["target"])["table"] for move in moves] == ["articles", "articles_v2"]


def test_one_switch_of_many_operators_exactly_one_moves_the_alias(store):
    """Invariant 5."""
    create_alias(store, "articles", vector_table("articles"))
    claims = [claim_alias(store, "articles", "m") for _ in range(8)]
    gate, outcomes = threading.Barrier(8), []

    def operator(number: int) -> None:
        gate.wait()
        try:
            move_alias(
                store, None, claims[number], vector_table(f"articles_v{number}"), migration="m", reason="cutover"
            )
            outcomes.append(number)
        except RefusedError as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=operator, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    (winner,) = [each for each in outcomes if isinstance(each, int)]
    assert get_alias(store, "articles").target.table == f"articles_v{winner}"
    assert get_alias(store, "articles").version == 2
    assert len(history(store, "articles")) == 2
    refused = [each for each in outcomes if isinstance(each, str)]
    assert len(refused) == 7
    assert all("has moved the alias articles to" in line or "has claimed the alias" in line for line in refused)


# Migrations and their owners.


def test_a_migration_is_created_once(store, migration):
    again = create_migration(store, settings_of(), vector_table("articles", "another"), vector_table("articles_v2"))
    assert again == migration
    assert migration.state == "preparing"
    assert not migration.copies_vectors


def test_without_a_migration_the_first_step_is_named(store):
    assert find_migration(store, settings_of()) is None
    with pytest.raises(StateError, match="run embedshift prepare first"):
        get_migration(store, settings_of())


def test_settings_with_another_result_are_refused_by_the_names_of_their_keys(migration):
    changed = settings_of(model={"name": "larger"}, index={"connections": 32})
    with pytest.raises(RefusedError) as caught:
        check_settings(migration, changed)
    line = str(caught.value)
    assert 'target.model.name (was "large", now "larger")' in line
    assert "target.index.connections (was null, now 32)" in line
    assert "target.index.metric" not in line


def test_a_migration_of_an_earlier_version_goes_on_under_the_same_settings(migration):
    """It knew no prompts of a model's own, no windows and no truncation, and wrote down an empty prompt."""
    later = ("long_texts", "truncate_dim", "backend")
    written = {key: text for key, text in migration.result_keys.items() if not key.endswith(later)}
    written |= {key: '""' for key in written if key.endswith("_prompt")}
    earlier = replace(migration, result_keys=written)
    check_settings(earlier, settings_of())
    with pytest.raises(RefusedError, match=r"target\.model\.long_texts \(was \"cut\", now \"mean\"\)"):
        check_settings(earlier, settings_of(model={"name": "large", "long_texts": "mean"}))
    with pytest.raises(RefusedError, match=r"target\.model\.query_prompt"):
        check_settings(earlier, settings_of(model={"name": "large", "query_prompt": "query: "}))


def test_a_target_may_be_migrated_to_again_once_its_migration_has_ended(store, migration):
    with owned(store, migration, "prepare", LEASE) as lease:
        lease.change(state="retired")
    again = create_migration(store, settings_of(), vector_table("articles"), vector_table("articles_v2", "large"))
    assert again.id != migration.id
    assert find_migration(store, settings_of()) == again


def test_facts_add_up_and_the_state_moves(store, migration):
    with owned(store, migration, "prepare", LEASE) as lease:
        lease.change(rows=3)
        lease.change(state="prepared", load_seconds=1.5)
    now = read_migration(store, migration.id)
    assert (now.state, now.facts) == ("prepared", Facts(rows=3, load_seconds=1.5))
    assert now.owner == ""


def test_a_second_run_is_refused_and_told_who_owns_the_migration(store, migration):
    with owned(store, migration, "prepare", LEASE) as first:
        with pytest.raises(OwnedByAnother) as caught, owned(store, migration, "prepare", LEASE):
            pytest.fail("two runs own one migration")
        assert shown(first.owner) in str(caught.value)
        assert "a dead run loses it in" in str(caught.value)
        first.change(rows=1)
    with owned(store, migration, "prepare", LEASE):
        pass


def test_of_many_runs_at_once_exactly_one_owns_the_migration(store, migration):
    gate, outcomes = threading.Barrier(6), []

    def run() -> None:
        lease = Lease(store, migration.id, LEASE)
        gate.wait()
        try:
            lease.take()
            outcomes.append(lease)
        except OwnedByAnother:
            outcomes.append(None)

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    (winner,) = [each for each in outcomes if each]
    assert read_migration(store, migration.id).owner == winner.owner
    winner.give_back()


def silence(lease: Lease) -> None:
    """What the death of a run looks like from outside: its lease is renewed no more."""
    lease._ended.set()
    lease._renewing.join()


def waited_for(condition) -> bool:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return True


def test_a_run_that_is_silent_for_a_lease_loses_the_migration_and_changes_nothing_more(store, migration):
    dead = Lease(store, migration.id, SHORT)
    dead.take()
    silence(dead)
    until = read_migration(store, migration.id).lease_until_us
    assert waited_for(lambda: time.time() * 1e6 > until)
    with owned(store, migration, "prepare", LEASE) as heir:
        with pytest.raises(OwnedByAnother, match="this run lost migration"):
            dead.change(state="retired")
        with pytest.raises(OwnedByAnother):
            dead.check()
        dead.give_back()
        assert read_migration(store, migration.id).owner == heir.owner
    assert read_migration(store, migration.id).state == "preparing"


def test_a_living_run_renews_its_lease(store, migration):
    with owned(store, migration, "prepare", SHORT):
        first = read_migration(store, migration.id).lease_until_us
        assert waited_for(lambda: read_migration(store, migration.id).lease_until_us > first + 200_000)


def test_the_lease_is_given_back_when_a_step_fails(store, migration):
    with pytest.raises(KeyboardInterrupt), owned(store, migration, "prepare", LEASE):
        raise KeyboardInterrupt
    assert read_migration(store, migration.id).owner == ""


# States.


@pytest.mark.parametrize("state", NEXT)
def test_every_state_names_a_step_that_may_follow_it(state):
    step = NEXT[state]
    assert (step == "") == (state in ENDED)
    if step:
        check_step(step, state, "m")


@pytest.mark.parametrize("step", ALLOWED)
def test_a_step_that_may_not_follow_says_which_one_may(step):
    for state in NEXT.keys() - set(ALLOWED[step]):
        with pytest.raises(StateError, match=rf"{step} may not run: migration m is {state.replace('_', ' ')}"):
            check_step(step, state, "m")


def test_nothing_but_retire_may_follow_a_switch_without_going_back():
    allowed = {step for step, states in ALLOWED.items() if "switched" in states}
    assert allowed == {"sync", "rollback", "retire", "reindex", "dead-letters"}


# Dead letters.


def test_a_dead_letter_is_kept_once_a_row_and_can_be_forgotten(store):
    first = DeadLetter('{"id": "a"}', WHOLE_RING, "load", "its vector is zero", 1)
    other = DeadLetter('{"id": "b"}', TokenRange(0, 5), "sync/1", "the model failed: ValueError", 2)
    write_dead_letters(store, "m", [first, other])
    write_dead_letters(store, "m", [DeadLetter(first.id, WHOLE_RING, "load", "its vector is not finite", 3)])
    write_dead_letters(store, "another", [first])
    found = sorted(read_dead_letters(store, "m"), key=lambda letter: letter.id)
    assert [(each.id, each.reason, each.attempts) for each in found] == [
        (first.id, "its vector is not finite", 3),
        (other.id, "the model failed: ValueError", 2),
    ]
    drop_dead_letter(store, "m", first.id)
    assert [each.id for each in read_dead_letters(store, "m")] == [other.id]
    assert [each.id for each in read_dead_letters(store, "another")] == [first.id]


# Validations.


def test_the_last_validation_counts_whether_it_passed_or_not(store):
    assert last_validation(store, "m") is None
    write_validation(store, "m", passed=True, content="1:aa", report={"checks": []})
    write_validation(store, "m", passed=False, content="2:bb", report={"checks": [{"name": "rows"}]})
    found = last_validation(store, "m")
    assert found is not None
    assert (found.passed, found.content, found.report["checks"][0]["name"]) == (False, "2:bb", "rows")
