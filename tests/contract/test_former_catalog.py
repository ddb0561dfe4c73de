"""A catalog that embedshift 0.1 has written is taken over, or refused in one line; it is never read wrongly."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from embedshift.catalog.alias import create_alias
from embedshift.catalog.migration import find_migration, get_migration, migrations
from embedshift.catalog.setup import ensure_catalog
from embedshift.catalog.shadow import ShadowStats, read_shadow
from embedshift.catalog.signals import signals_under
from embedshift.catalog.tables import ALL, CONTROL, MIGRATION, SHADOW, VALIDATION
from embedshift.catalog.validations import last_validation
from embedshift.cli.app import main
from embedshift.errors import StateError
from embedshift.operations.schema import apply
from embedshift.settings import StoreSettings, parse_settings
from embedshift.stores import open_store
from embedshift.stores.contract import Store
from embedshift.stores.records import RecordTable
from embedshift.times import now_us
from tests.recorded import vector_table

FORMER_MIGRATION = RecordTable(
    "migration",
    partition=("id",),
    columns={
        **dict.fromkeys(("id", "alias", "source", "target", "source_endpoint", "target_endpoint"), "text"),
        **dict.fromkeys(("result_keys", "settings_digest", "state", "facts", "owner"), "text"),
        **dict.fromkeys(("owned_since_us", "lease_until_us", "created_us", "updated_us"), "bigint"),
    },
)
FORMER_SHADOW = RecordTable(
    "shadow",
    partition=("migration",),
    clustering=("run",),
    columns={"migration": "text", "run": "text", "tally": "text", "updated_us": "bigint"},
)
ID = "articles-to-articles_v2"


def tree(settings: StoreSettings) -> dict[str, Any]:
    return {
        "alias": "articles",
        "store": settings.model_dump(mode="json", exclude_defaults=True),
        "source": {"table": "articles", "model": {"name": "small"}},
        "target": {"table": "articles_v2", "model": {"name": "large"}, "index": {"connections": 32}},
    }


@pytest.fixture(params=("embedded", "cassandra"))
def settings(request: pytest.FixtureRequest) -> StoreSettings:
    found: StoreSettings = request.getfixturevalue(f"{request.param}_settings")
    if request.param == "embedded":
        return found
    catalog = found.catalog.model_copy(update={"keyspace": f"former{uuid.uuid4().hex[:12]}"})
    return found.model_copy(update={"catalog": catalog})


@pytest.fixture
def store(settings: StoreSettings) -> Iterator[Store]:
    with closing(open_store(settings)) as opened:
        opened.create_keyspaces()
        yield opened


def former_row(settings: StoreSettings, **changes: Any) -> dict[str, Any]:
    """What version 0.1 wrote for a migration, where index options had their defaults as numbers."""
    keys = parse_settings(tree(settings)).result_keys()
    keys |= {"target.index.expansion_add": "128", "target.index.expansion_search": "64"}
    target = json.loads(vector_table("articles_v2", "large").to_json()) | {"index_options": {"connections": 32}}
    row = {
        "id": ID,
        "alias": "articles",
        "source": "articles",
        "target": "articles_v2",
        "source_endpoint": vector_table("articles", "small").to_json(),
        "target_endpoint": json.dumps(target),
        "result_keys": json.dumps(keys),
        "settings_digest": "0123456789abcdef",
        "state": "synced",
        "facts": json.dumps({"rows_estimated": 216, "sync_pass": 3, "compared_us": 7}),
        "owner": "",
        "owned_since_us": 0,
        "lease_until_us": 0,
        "created_us": 1,
        "updated_us": 2,
    }
    return row | changes


@pytest.fixture
def former(store: Store, settings: StoreSettings) -> Store:
    """A store with a catalog of version 0.1: a migration with a validation, a throttled run, and shadow reading."""
    store.records.ensure([FORMER_MIGRATION, FORMER_SHADOW, VALIDATION, CONTROL])
    store.records.insert(FORMER_MIGRATION, former_row(settings))
    report = {
        "passed": False,
        "checks": [{"name": name, "passed": False} for name in ("apart", "outdated", "agreement", "rows")],
        "counts": {"outdated": 1, "apart": 2, "missing": 0},
        "timings": {"agreement": 1.5},
        "weaker": {"questions": 7},
    }
    proof = {"migration": ID, "made_us": 5, "passed": False, "content": "216:0", "report": json.dumps(report)}
    store.records.put(VALIDATION, [proof])
    tally = ShadowStats(searches=3, from_us=1, to_us=2).to_json()
    store.records.put(FORMER_SHADOW, [{"migration": ID, "run": "r", "tally": tally, "updated_us": 1}])
    order = {"migration": ID, "name": "order/dead", "value": "{}", "set_us": 1, "set_by": "x@y:1"}
    store.records.put(CONTROL, [order, {**order, "name": "pause", "value": ""}])
    return store


def test_until_it_is_taken_over_every_look_is_refused_in_one_line(former: Store, settings: StoreSettings) -> None:
    with pytest.raises(StateError) as caught:
        find_migration(former, parse_settings(tree(settings)))
    assert str(caught.value) == (
        "a former version of embedshift has written this catalog: "
        "end its runs, then take the catalog over: embedshift schema apply"
    )
    with pytest.raises(StateError, match="former version"):
        read_shadow(former, ID)


def test_it_is_taken_over_with_everything_under_its_present_name(former: Store, settings: StoreSettings) -> None:
    ensure_catalog(former)
    ensure_catalog(former)
    # The settings that the migration was prepared under are still the same ones.
    migration = get_migration(former, parse_settings(tree(settings)))
    assert (migration.id, migration.state, migration.source.table) == (ID, "synced", "articles")
    assert migration.target.index_options.connections == 32
    assert (migration.facts.rows_estimated, migration.facts.sync_pass, migration.facts.compared_us) == (216, 3, 7)
    proof = last_validation(former, ID)
    assert proof is not None
    names = [check["name"] for check in proof.report["checks"]]
    assert names == ["mixed", "older_cells", "reembedding_differs", "rows"]
    assert proof.report["counts"] == {"older_cells": 1, "mixed": 2, "missing": 0}
    assert proof.report["timings"] == {"reembedding_differs": 1.5}
    assert proof.report["unlabelled"] == {"questions": 7}
    shadow = read_shadow(former, ID)
    assert shadow is not None
    assert shadow["searches"] == 3
    assert set(signals_under(former, ID, "")) == {"pause"}


def test_a_living_run_of_the_former_version_is_waited_for(former: Store) -> None:
    owned = {"owner": "somebody@elsewhere:7", "lease_until_us": now_us() + 60_000_000}
    assert former.records.update_if(FORMER_MIGRATION, {"id": ID}, owned, {"owner": ""})
    with pytest.raises(StateError, match="owned by somebody@elsewhere:7"):
        ensure_catalog(former)
    assert "source_vector_table" not in former.records.columns(MIGRATION)


def test_a_run_of_this_version_is_in_nobodys_way(former: Store, settings: StoreSettings) -> None:
    """What is taken over already may be owned: an operator must be able to pause it, and other aliases go on."""
    ensure_catalog(former)
    owned = {"owner": "somebody@elsewhere:7", "lease_until_us": now_us() + 60_000_000}
    assert former.records.update_if(MIGRATION, {"id": ID}, owned, {"owner": ""})
    ensure_catalog(former)
    assert get_migration(former, parse_settings(tree(settings))).owner == "somebody@elsewhere:7"


def test_figures_that_an_application_of_the_former_version_writes_later_are_counted(former: Store) -> None:
    ensure_catalog(former)
    tally = ShadowStats(searches=4, from_us=1, to_us=2).to_json()
    former.records.put(FORMER_SHADOW, [{"migration": ID, "run": "late", "tally": tally, "updated_us": 1}])
    ensure_catalog(former)
    shadow = read_shadow(former, ID)
    assert shadow is not None
    assert shadow["searches"] == 7


def test_schema_apply_takes_it_over_after_a_cutover_too_and_makes_no_table_again(
    former: Store, settings: StoreSettings
) -> None:
    former.records.ensure(ALL)
    create_alias(former, "articles", vector_table("articles_v2", "large"))
    assert apply(parse_settings(tree(settings)), former).tables == ()
    assert [each.id for each in migrations(former)] == [ID]
    assert not former.exists("articles")


def test_a_step_takes_it_over_and_a_dry_run_refuses(
    former: Store, settings: StoreSettings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump(tree(settings)))
    assert main(["index", "--dry-run", "--config", str(file)]) == 4
    assert "a former version of embedshift has written this catalog" in capsys.readouterr().err
    assert main(["pause", "--config", str(file)]) == 0
    assert [each.id for each in migrations(former)] == [ID]


def test_a_row_that_the_former_version_writes_later_is_refused_and_then_taken_over(
    former: Store, settings: StoreSettings
) -> None:
    ensure_catalog(former)
    former.records.insert(FORMER_MIGRATION, former_row(settings, id="late", created_us=9))
    with pytest.raises(StateError, match="has written migration late: end its runs"):
        migrations(former)
    ensure_catalog(former)
    assert [each.id for each in migrations(former)] == [ID, "late"]


def test_a_new_catalog_has_nothing_of_the_former_one(store: Store) -> None:
    ensure_catalog(store)
    create_alias(store, "articles", vector_table("articles", "small"))
    assert "source_endpoint" not in store.records.columns(MIGRATION)
    assert "tally" not in store.records.columns(SHADOW)
