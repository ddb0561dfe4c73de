"""Settings: every fault at once with the nearest known key, overrides, durations, round trips, the schema, secrets."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from embedshift.cli.admin import explain
from embedshift.errors import SettingsError
from embedshift.settings import Settings, StoreSettings, credentials, known_keys, load_settings, parse_settings
from embedshift.settings.loading import RENAMED
from embedshift.times import format_duration, parse_duration

ROOT = Path(__file__).resolve().parent.parent.parent
LEAST: dict[str, Any] = {
    "alias": "articles",
    "store": {"path": "articles.sqlite"},
    "source": {"table": "articles", "model": {"name": "old"}},
    "target": {"table": "articles_v2", "model": {"name": "new"}},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump(LEAST))
    return path


def changed(path: str, value: Any) -> dict[str, Any]:
    """The least settings with one key set, by its path."""
    tree = json.loads(json.dumps(LEAST))
    *parents, leaf = path.split(".")
    below = tree
    for parent in parents:
        below = below.setdefault(parent, {})
    below[leaf] = value
    return tree


def fault(tree: dict[str, Any]) -> str:
    with pytest.raises(SettingsError) as caught:
        parse_settings(tree)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_only_tables_models_and_the_store_must_be_named():
    settings = parse_settings(LEAST)
    assert settings.source.text == "{title}. {content}"
    assert settings.cutover.client_cache == timedelta(seconds=5)
    assert settings.retire.after == timedelta(hours=24)
    assert settings.load.tolerate_dead == 0


@pytest.mark.parametrize("path", sorted(ROOT.glob("configs/*.yaml")), ids=lambda path: path.name)
def test_every_file_that_we_ship_can_be_read(path):
    settings = load_settings(path)
    assert settings.source.table != settings.target.table
    assert all("#" in line for line in explain(settings))


def index_lines(store: dict[str, Any], **options: Any) -> dict[str, str]:
    """What ``config check`` says of the index's options, without their meaning."""
    settings = parse_settings(changed("target.index", options) | {"store": store})
    lines = [line.split("  # ")[0] for line in explain(settings) if line.startswith("target.index.")]
    return dict(line.removeprefix("target.index.").split(" = ", 1) for line in lines)


def test_a_default_of_the_embedded_store_is_what_it_builds():
    assert index_lines({"path": "articles.sqlite"}, connections=8) == {
        "metric": "cosine  (default)",
        "connections": "8",
        "expansion_add": "128  (default)",
        "expansion_search": "64  (default)",
        "quantization": "f32  (default)",
        "oversampling": "null  (default)",
        "rescoring": "null  (default)",
    }


def test_a_default_of_a_server_is_the_server_s_own():
    cluster = {"kind": "cql", "hosts": ["h"], "local_dc": "dc", "keyspace": "ks"}
    assert index_lines(cluster, expansion_search=100) == {
        "metric": "cosine  (default)",
        "connections": "null  (default: the server's own: Cassandra 16, ScyllaDB 16)",
        "expansion_add": "null  (default: the server's own: Cassandra 100, ScyllaDB 128)",
        "expansion_search": "100",
        "quantization": "null  (default: the server's own: Cassandra none, ScyllaDB f32)",
        "oversampling": "null  (default: the server's own: Cassandra none, ScyllaDB 1.0)",
        "rescoring": "null  (default: the server's own: Cassandra none, ScyllaDB false)",
    }


@pytest.mark.parametrize(
    ("path", "near"),
    [
        ("soruce", "source"),
        ("source.tabel", "table"),
        ("target.index.conections", "connections"),
        ("target.model.query_promt", "query_prompt"),
        ("validation.recal_at_10", "recall_at_10"),
        ("store.tls.certifcate", "certificate"),
        ("load.batch_token", "batch_tokens"),
    ],
)
def test_a_misspelt_key_names_the_nearest_known_one(path, near):
    line = fault(changed(path, 1))
    assert f"unknown key {path}; did you mean {near}?" in line


def test_a_key_like_no_other_names_the_known_ones():
    line = fault(changed("cutover.zzz", 1))
    assert "unknown key cutover.zzz; known keys: client_cache, drift, hold, keep_ready, lease" in line


def test_all_faults_of_a_file_are_named_at_once():
    tree = changed("load.ranges", "many") | {"alais": "x", "target": {"table": "0bad", "index": {"metric": "l2"}}}
    del tree["alias"]
    line = fault(tree)
    for word in (
        "alias is missing",
        "alais; did you mean alias?",
        "load.ranges",
        "target.table",
        "target.index.metric",
    ):
        assert word in line


def test_source_and_target_must_be_two_tables():
    assert "source.table and target.table are the same" in fault(changed("target.table", "ARTICLES"))


def test_a_cql_store_names_what_it_lacks():
    assert "a cql store needs hosts, local_dc, keyspace" in fault(changed("store", {"kind": "cql"}))


def test_an_embedded_store_needs_a_path():
    assert "needs path" in fault(changed("store", {"kind": "embedded"}))


@pytest.mark.parametrize("path", ["store.password", "store.username", "spark.password"])
def test_a_secret_is_no_setting(path):
    """Invariant 11."""
    assert f"unknown key {path}" in fault(changed(path, "hunter2"))


def test_the_value_of_an_unknown_key_is_not_repeated():
    """Invariant 11: somebody may have put a password there."""
    assert "hunter2" not in fault(changed("store.password", "hunter2"))


# Files and overrides.


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"cannot read the settings file .*none\.yaml .*--config"):
        load_settings(tmp_path / "none.yaml")


@pytest.mark.parametrize("content", ["a: [1", "\t- x: :", "a: \x00"], ids=repr)
def test_a_file_that_is_no_yaml_is_named_on_one_line(tmp_path, content):
    path = tmp_path / "broken.yaml"
    path.write_text(content)
    with pytest.raises(SettingsError, match=r"broken\.yaml is not YAML") as caught:
        load_settings(path)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_no_settings(tmp_path):
    path = tmp_path / "broken.yaml"
    path.write_bytes(b"alias: \xff\xfe")
    with pytest.raises(SettingsError, match="is not YAML"):
        load_settings(path)


@pytest.mark.parametrize("content", ["", "- a\n- b\n", "just a line\n"])
def test_a_file_without_keys_holds_no_settings(tmp_path, content):
    path = tmp_path / "empty.yaml"
    path.write_text(content)
    with pytest.raises(SettingsError, match="contains no settings"):
        load_settings(path)


def test_an_override_is_read_as_yaml(file):
    settings = load_settings(
        file, ["load.ranges=7", "target.index.metric=euclidean", "validation.questions=q.jsonl", "target.model=null"]
    )
    assert settings.load.ranges == 7
    assert settings.target.index.metric == "euclidean"
    assert settings.validation.questions == Path("q.jsonl")
    assert settings.target_model == settings.source.model


def test_an_override_may_hold_an_equals_sign(file):
    assert load_settings(file, ["source.text={title}={content}"]).source.text == "{title}={content}"


def test_an_override_that_is_no_yaml_is_plain_text(file):
    assert load_settings(file, ["source.text={title}. {content}"]).source.text == "{title}. {content}"


@pytest.mark.parametrize(
    ("override", "word"),
    [
        ("load.ranges", "is not of the form key.path=value"),
        ("=5", "is not of the form key.path=value"),
        ("laod.ranges=5", "unknown key laod; did you mean load?"),
        ("load.rangse=5", "unknown key load.rangse; did you mean ranges?"),
        ("alias.name=5", "alias is a value and has no further keys"),
        ("load.ranges=[1", "load.ranges"),
    ],
)
def test_an_override_that_cannot_be_used_is_named(file, override, word):
    with pytest.raises(SettingsError) as caught:
        load_settings(file, [override])
    assert word in str(caught.value)


# Durations.


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("1h", 3600),
        ("30d", 2_592_000),
        ("500ms", 0.5),
        ("1.5m", 90),
        (7, 7),
        (0.25, 0.25),
        (" 2 h ", 7200),
    ],
)
def test_a_duration_is_a_number_with_a_unit(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["1w", "h", "-5s", "1h30m", "", True, None, "5 minutes"], ids=repr)
def test_what_is_no_duration_says_how_to_write_one(text):
    with pytest.raises(ValueError, match="such as 90s or 24h"):
        parse_duration(text)


@given(st.integers(0, 10**12).map(lambda number: timedelta(microseconds=number)))
def test_a_duration_survives_being_written_and_read(duration):
    assert parse_duration(format_duration(duration)) == duration


@given(st.integers(0, 10**7).map(lambda seconds: timedelta(seconds=seconds)))
def test_whole_seconds_are_written_without_a_point(duration):
    assert "." not in format_duration(duration)
    assert "e" not in format_duration(duration)


# Round trips, and what decides a result.


def test_settings_survive_json():
    settings = parse_settings(LEAST)
    assert parse_settings(json.loads(settings.model_dump_json())) == settings


def test_the_schema_names_every_key_with_its_meaning():
    schema = Settings.model_json_schema()
    assert schema["additionalProperties"] is False
    for name, part in schema["$defs"].items():
        for key, described in part["properties"].items():
            parts = {"consistency", "catalog", "index", "model"}
            assert described.get("description") or key in parts, f"{name}.{key}"


def test_known_keys_follow_optional_parts():
    assert "certificate" in known_keys(("store", "tls"))
    assert known_keys(("nowhere",)) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("source.text", "{title}"),
        ("target.model.name", "other"),
        ("target.model.document_prompt", "passage: "),
        ("target.index.connections", 32),
        ("load.precision", "float32"),
        ("source.model.normalize", False),
    ],
)
def test_what_changes_the_result_changes_the_digest(path, value):
    before, after = parse_settings(LEAST), parse_settings(changed(path, value))
    assert before.digest() != after.digest()
    assert [key for key, text in after.result_keys().items() if before.result_keys().get(key) != text] == [path]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("spark.master", "yarn"),
        ("load.ranges", 9),
        ("load.window_rows", 64),
        ("target.model.device", "cpu"),
        ("validation.max_age", "1d"),
        ("store.request_timeout", "1s"),
    ],
)
def test_what_only_changes_how_it_is_done_does_not(path, value):
    assert parse_settings(LEAST).digest() == parse_settings(changed(path, value)).digest()


def test_settings_cannot_be_changed():
    settings = parse_settings(LEAST)
    with pytest.raises(ValueError, match="frozen"):
        settings.alias = "other"  # type: ignore[misc]


# Credentials: invariant 11.


def test_credentials_come_from_the_environment_or_a_file_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("SCYLLA_USERNAME", "ann")
    monkeypatch.setenv("SCYLLA_PASSWORD", "hunter2")
    assert credentials(StoreSettings(path="x")) == ("ann", "hunter2")
    secret = tmp_path / "secret"
    secret.write_text("bob\n hunter3 \n")
    assert credentials(StoreSettings(path="x", credentials_file=secret)) == ("bob", "hunter3")


def test_without_credentials_there_are_none(monkeypatch):
    monkeypatch.delenv("SCYLLA_USERNAME", raising=False)
    monkeypatch.setenv("SCYLLA_PASSWORD", "hunter2")
    assert credentials(StoreSettings(path="x")) is None


@pytest.mark.parametrize("content", [None, "onlyhunter2"])
def test_a_credentials_file_that_cannot_be_used_is_named_without_its_content(tmp_path, content):
    secret = tmp_path / "secret"
    if content is not None:
        secret.write_text(content)
    with pytest.raises(SettingsError) as caught:
        credentials(StoreSettings(path="x", credentials_file=secret))
    assert str(secret) in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_key_of_a_former_version_is_an_error_that_names_the_new_one():
    line = fault(changed("validation.embedded_again", 500))
    assert line.endswith("unknown key validation.embedded_again; it is now called validation.reembed_sample")
    for old, new in RENAMED.items():
        assert old.rpartition(".")[2] not in known_keys(old.split(".")[:-1])
        assert new.rpartition(".")[2] in known_keys(new.split(".")[:-1])


@pytest.mark.parametrize("replication", [{}, {"dc1": -1}, {"dc1": True}, {"dc1": ""}, {"dc1": []}, {"dc1": "three"}])
def test_a_replication_that_no_server_takes_is_refused(replication):
    with pytest.raises(ValidationError, match="replication"):
        StoreSettings(kind="cql", hosts=("h",), local_dc="dc1", keyspace="ks", replication=replication)


@pytest.mark.parametrize(
    "replication",
    [
        {"dc1": 3, "dc2": 0},
        {"class": "SimpleStrategy", "replication_factor": "3"},
        {"dc1": ["r1", "r2"]},
        {"dc1": "3/1"},
    ],
)
def test_a_replication_in_every_form_of_the_servers(replication):
    StoreSettings(kind="cql", hosts=("h",), local_dc="dc1", keyspace="ks", replication=replication)


@pytest.mark.parametrize("host", ["", "ä..b", "a" * 64])
def test_a_name_that_no_host_has_is_refused(host):
    with pytest.raises(ValidationError, match="is no name of a host"):
        StoreSettings(kind="cql", hosts=(host,), local_dc="dc1", keyspace="ks")


def test_credentials_that_are_no_text_are_refused_in_one_line(tmp_path):
    file = tmp_path / "password"
    file.write_bytes(b"ann\n\xff\xfe\n")
    with pytest.raises(SettingsError, match="it is not UTF-8"):
        credentials(StoreSettings(path="x", credentials_file=file))
