"""Statements word by word, for both dialects; for ScyllaDB this is the only place where they are tested."""

from __future__ import annotations

import ast
import re
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from embedshift.errors import SchemaError
from embedshift.settings import IndexSettings, StoreSettings
from embedshift.stores.cql import cdc, indexes, records, ring, row_ttl, schema, search, twin
from embedshift.stores.cql.cassandra import Cassandra
from embedshift.stores.cql.projection import Projection
from embedshift.stores.cql.quoting import quote
from embedshift.stores.cql.scylla import Scylla
from embedshift.stores.cql.store import detect
from embedshift.stores.cql.write import Writing
from embedshift.stores.cql_types import is_many_celled
from embedshift.stores.model import Column, Index, SecondaryIndex, Table
from embedshift.stores.records import RecordTable
from embedshift.tokens import WHOLE_RING

CASSANDRA, SCYLLA = Cassandra("5.0.5"), Scylla("2026.1.0")
ARTICLES = Table(
    "articles",
    (Column("id", "uuid", "partition"), Column("title", "text"), Column("embedding", "vector<float, 384>")),
)
WIDE = Table(
    "wide",
    (
        Column("a", "text", "partition"),
        Column("B", "int", "partition"),
        Column("at", "timestamp", "clustering", descending=True),
        Column("id", "uuid", "clustering"),
        Column("shared", "text", "static"),
        Column("tags", "set<text>"),
        Column("title", "text"),
    ),
)


def index(**options: object) -> Index:
    return Index("articles_idx", "articles", "embedding", 384, IndexSettings(**options))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "{'similarity_function': 'COSINE'}"),
        ({"metric": "dot_product"}, "{'similarity_function': 'DOT_PRODUCT'}"),
        (
            {"metric": "euclidean", "connections": 32, "expansion_add": 256, "expansion_search": 128},
            "{'similarity_function': 'EUCLIDEAN', 'maximum_node_connections': '32', "
            "'construction_beam_width': '256', 'search_beam_width': '128'}",
        ),
        (
            {"quantization": "i8", "oversampling": 2.5, "rescoring": True},
            "{'similarity_function': 'COSINE', 'quantization': 'i8', 'oversampling': '2.5', 'rescoring': 'true'}",
        ),
        ({"connections": None, "rescoring": False}, "{'similarity_function': 'COSINE', 'rescoring': 'false'}"),
    ],
)
def test_a_vector_index_of_scylladb(options, words):
    assert indexes.creation("ks", SCYLLA, index(**options)) == (
        "CREATE CUSTOM INDEX IF NOT EXISTS articles_idx ON ks.articles (embedding) "
        f"USING 'vector_index' WITH OPTIONS = {words}"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "{'similarity_function': 'cosine'}"),
        ({"metric": "dot_product"}, "{'similarity_function': 'dot_product'}"),
        (
            {"metric": "euclidean", "connections": 32, "expansion_add": 256},
            "{'similarity_function': 'euclidean', 'maximum_node_connections': '32', 'construction_beam_width': '256'}",
        ),
        ({"expansion_search": None, "quantization": None}, "{'similarity_function': 'cosine'}"),
        ({"expansion_search": 200}, "{'similarity_function': 'cosine'}"),
    ],
)
def test_a_vector_index_of_cassandra(options, words):
    assert indexes.creation("ks", CASSANDRA, index(**options)) == (
        "CREATE CUSTOM INDEX IF NOT EXISTS articles_idx ON ks.articles (embedding) "
        f"USING 'StorageAttachedIndex' WITH OPTIONS = {words}"
    )


@pytest.mark.parametrize(
    "options",
    [{"quantization": "f32"}, {"oversampling": 1.0}, {"rescoring": False}],
    ids=str,
)
def test_cassandra_refuses_what_it_cannot_do_when_it_is_asked_for_even_at_its_default(options):
    (name,) = options
    with pytest.raises(SchemaError, match=f"cannot have {name}: .*leave out target.index.{name} on Cassandra"):
        CASSANDRA.index_options(index(**options))


@pytest.mark.parametrize(("name", "most"), [("expansion_add", 3200), ("expansion_search", 1000)])
def test_cassandra_names_the_greatest_width_it_takes(name, most):
    with pytest.raises(SchemaError, match=f"{name} 4096: Cassandra takes {most} at most: write {most}"):
        CASSANDRA.index_options(index(**{name: 4096}))


def test_cassandra_looks_as_far_as_it_is_asked_for_results_and_scylladb_by_itself():
    wide = index(expansion_search=50)
    assert [CASSANDRA.results_asked(wide, k) for k in (1, 10, 100)] == [50, 50, 100]
    assert [CASSANDRA.results_asked(index(), k) for k in (1, 10, 100)] == [1, 10, 100]
    assert SCYLLA.results_asked(wide, 10) == 10


def test_a_scan_bypasses_the_cache_on_scylladb_alone_and_says_how_long_it_waits():
    patient = StoreSettings(kind="cql", hosts=("h",), local_dc="dc", keyspace="ks", request_timeout="12s")
    wanted = " BYPASS CACHE USING TIMEOUT 12000ms"
    words = (
        "SELECT token(id), id, title, writetime(title), ttl(title) FROM ks.articles "
        "WHERE token(id) > ? AND token(id) <= ?"
    )
    for dialect, suffix in ((CASSANDRA, ""), (SCYLLA, " BYPASS CACHE"), (Scylla("2026.1", patient), wanted)):
        projection = Projection(ARTICLES, dialect, ["title"], ["title"])
        assert projection.statement(projection.by_range, "ks") == words + suffix


def test_a_scan_of_a_composite_key():
    projection = Projection(WIDE, CASSANDRA, ["tags"], [])
    assert projection.statement(projection.by_range, "ks") == (
        'SELECT token(a, "B"), a, "B", at, id, tags FROM ks.wide WHERE token(a, "B") > ? AND token(a, "B") <= ?'
    )
    assert projection.statement(projection.by_key, "ks") == (
        'SELECT token(a, "B"), a, "B", at, id, tags FROM ks.wide WHERE a = ? AND "B" = ? AND at = ? AND id = ?'
    )
    assert projection.statement(projection.by_partition, "ks") == (
        'SELECT token(a, "B"), a, "B", at, id, tags FROM ks.wide WHERE a = ? AND "B" = ? LIMIT 1'
    )


def test_times_of_a_collection():
    cassandra = Projection(WIDE, CASSANDRA, ["tags"], ["tags"])
    assert "tags, maxwritetime(tags), ttl(tags) FROM" in cassandra.by_range
    scylla = Projection(WIDE, SCYLLA, ["tags"], ["tags"])
    assert "tags, writetime(title), ttl(title) FROM" in scylla.by_range


def test_times_of_the_fields_of_a_user_type():
    home = Column("Home", '"Address"', fields=("street", "Zip"))
    projection = Projection(Table("t", (Column("id", "int", "partition"), home)), SCYLLA, [], ["Home"])
    cells = 'writetime("Home".street), ttl("Home".street), writetime("Home"."Zip"), ttl("Home"."Zip")'
    assert projection.statement(projection.by_range, "ks").startswith(f"SELECT token(id), id, {cells} FROM ks.t WHERE")


def test_writing():
    writing = Writing("ks", WIDE, ["title", "tags"], ["shared"])
    assert writing.insert == (
        'INSERT INTO ks.wide (a, "B", at, id, title, tags) VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?'
    )
    assert writing.update == (
        "UPDATE ks.wide USING TIMESTAMP ? AND TTL ? SET title = ?, tags = ? "
        'WHERE a = ? AND "B" = ? AND at = ? AND id = ?'
    )
    assert writing.insert_static == (
        'INSERT INTO ks.wide (a, "B", shared) VALUES (?, ?, ?) USING TIMESTAMP ? AND TTL ?'
    )
    assert writing.marker == 'INSERT INTO ks.wide (a, "B", at, id) VALUES (?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?'
    assert writing.delete == ('DELETE FROM ks.wide USING TIMESTAMP ? WHERE a = ? AND "B" = ? AND at = ? AND id = ?')
    assert writing.delete_static == 'DELETE shared FROM ks.wide USING TIMESTAMP ? WHERE a = ? AND "B" = ?'


def test_creating_tables():
    assert schema.creation("ks", ARTICLES) == (
        "CREATE TABLE ks.articles (id uuid, title text, embedding vector<float, 384>, PRIMARY KEY ((id)))"
    )
    assert schema.creation("ks", WIDE) == (
        'CREATE TABLE ks.wide (a text, "B" int, at timestamp, id uuid, shared text static, tags set<text>, '
        'title text, PRIMARY KEY ((a, "B"), at, id)) WITH CLUSTERING ORDER BY (at DESC, id ASC)'
    )


@pytest.mark.parametrize(("name", "word"), [("expires", "expires"), ("Expires at", '"Expires at"'), ("ttl", "ttl")])
def test_the_expiry_of_rows(name, word):
    assert row_ttl.described("ks", "Articles") == 'DESC TABLE ks."Articles"'
    assert row_ttl.alteration("ks", "articles", name) == f"ALTER TABLE ks.articles TTL {word}"
    columns = f"    id int,\n    {word} timestamp TTL,\n    PRIMARY KEY (id)"
    creation = f"CREATE TABLE ks.t (\n{columns}\n) WITH comment = '\na TTL,\n';"
    assert row_ttl.of_statement(creation) == name
    assert row_ttl.of_statement(creation.replace(" TTL,\n    P", ",\n    P")) is None


def test_creating_keyspaces():
    by_dc = "CREATE KEYSPACE IF NOT EXISTS ks WITH replication = {'class': 'NetworkTopologyStrategy', 'dc1': 3}"
    assert schema.keyspace_creation("ks", {"dc1": 3}, CASSANDRA, catalog=True) == by_dc
    assert (
        schema.keyspace_creation("ks", {"dc1": 3}, SCYLLA, catalog=False)
        == f"{by_dc} AND tablets = {{'enabled': true}}"
    )
    assert schema.keyspace_creation("ks", {"dc1": 3}, SCYLLA, catalog=True) == by_dc
    assert schema.keyspace_creation("ks", {"dc1": ["r1", "r'2"]}, CASSANDRA, catalog=False) == by_dc.replace(
        "3}", "['r1', 'r''2']}"
    )
    simple = {"class": "SimpleStrategy", "replication_factor": 1}
    assert schema.keyspace_creation("ks", simple, CASSANDRA, catalog=False) == (
        "CREATE KEYSPACE IF NOT EXISTS ks WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}"
    )


def test_searching():
    names = ["id", "title"]
    assert search.statement("ks", ARTICLES, index(), names, "similarity_cosine") == (
        "SELECT id, title, similarity_cosine(embedding, ?) FROM ks.articles ORDER BY embedding ANN OF ? LIMIT ?"
    )
    assert search.statement("ks", ARTICLES, index(), names, None) == (
        "SELECT id, title, embedding FROM ks.articles ORDER BY embedding ANN OF ? LIMIT ?"
    )


def test_searching_with_conditions():
    found = search.statement("ks", WIDE, index(), ["a"], "similarity_cosine", ["a", "B"])
    assert found == (
        'SELECT a, similarity_cosine(embedding, ?) FROM ks.wide WHERE a = ? AND "B" = ? ORDER BY embedding ANN OF ? '
        "LIMIT ?"
    )


@pytest.mark.parametrize(
    ("partition", "filtering", "columns"),
    [
        ((), (), "(embedding)"),
        ((), ("category", "Year"), '(embedding, category, "Year")'),
        (("a", "B"), (), '((a, "B"), embedding)'),
        (("a",), ("year",), "((a), embedding, year)"),
    ],
)
def test_the_columns_of_an_index(partition, filtering, columns):
    shaped = replace(index(), partition=partition, filtering=filtering)
    assert f"ON ks.articles {columns} USING" in indexes.creation("ks", SCYLLA, shaped)


def test_tables_of_the_catalog():
    ranges = RecordTable(
        "migration_range", ("migration", "bucket"), ("start",), {"bucket": "bigint", "start": "bigint", "state": "text"}
    )
    assert records.creation("cat", ranges) == (
        "CREATE TABLE IF NOT EXISTS cat.embedshift_migration_range (migration text, bucket bigint, start bigint, "
        "state text, PRIMARY KEY ((migration, bucket), start))"
    )
    assert records.physical_name("embedding_alias") == "embedding_alias"


@pytest.mark.parametrize(
    ("name", "quoted"),
    [
        ("title", "title"),
        ("Title", '"Title"'),
        ("order", '"order"'),
        ('a"b', '"a""b"'),
        ("with space", '"with space"'),
        ("ann", '"ann"'),
        ("_a", '"_a"'),
    ],
)
def test_names_are_quoted_where_cql_needs_it(name, quoted):
    assert quote(name) == quoted


@pytest.mark.parametrize(
    ("cql_type", "many"),
    [
        ("text", False),
        ("vector<float, 3>", False),
        ("frozen<list<int>>", False),
        ("tuple<int, text>", False),
        ("'org.example.Custom'", False),
        ("list<int>", True),
        ("map<text, frozen<set<int>>>", True),
        ("address", True),
        ("frozen<address>", False),
    ],
)
def test_collections_and_udts_have_several_cells_unless_frozen(cql_type, many):
    assert is_many_celled(cql_type) is many


class Asked:
    """In place of a connection: takes down every statement, and answers from a list."""

    keyspace, where = "ks", "there"
    settings = StoreSettings(kind="cql", hosts=("h",), local_dc="dc", keyspace="ks", catalog={"keyspace": "cat"})

    patience = timedelta(0)
    session = SimpleNamespace(execute=lambda *_, **__: SimpleNamespace(was_applied=True))

    def __init__(self, answers: dict[str, list[dict[str, Any]]]) -> None:
        self.answers = answers
        self.sent: list[str] = []

    def rows(self, query: str, values: Any = (), **_: Any) -> list[dict[str, Any]]:
        assert query.count("?") == len(values), query
        if query not in self.sent:
            self.sent.append(query)
        return next((answer for start, answer in self.answers.items() if query.startswith(start)), [])

    def prepare(self, query: str, **_: Any) -> Any:
        self.sent.append(query)
        return SimpleNamespace(bind=lambda values: query.count("?") == len(values))

    def define(self, query: str, _: str) -> None:
        self.sent.append(query)

    def hosts(self) -> list[Any]:
        return [SimpleNamespace(address="h", host_id=1)]


#: What a table is described by; a user type, and a row TTL that is read from a line of the answer.
COLUMNS = [
    {"column_name": "id", "kind": "partition_key", "position": 0, "clustering_order": "none", "type": "uuid"},
    {"column_name": "home", "kind": "regular", "position": -1, "clustering_order": "none", "type": "address"},
    {"column_name": "until", "kind": "regular", "position": -1, "clustering_order": "none", "type": "bigint"},
    {"column_name": "embedding", "kind": "regular", "position": -1, "clustering_order": "none"}
    | {"type": "vector<float, 384>"},
]
VERSION = str(uuid.uuid1())
ANSWERS: dict[str, list[dict[str, Any]]] = {
    "SELECT column_name, kind, position": COLUMNS,
    "SELECT column_name, kind FROM": COLUMNS,
    "SELECT type_name": [{"type_name": "address", "field_names": ["street"]}],
    "DESC TABLE": [{"create_statement": "CREATE TABLE ks.articles (\n    until bigint TTL,\n    PRIMARY KEY (id)\n)"}],
    "SELECT table_name FROM system_schema.tables": [{"table_name": "articles"}],
    "SELECT id FROM system_schema.tables": [{"id": 7}],
    "SELECT initial_tablets": [{"initial_tablets": 0}],
    "SELECT value FROM system.config": [{"value": "true"}],
    "SELECT cdc FROM": [{"cdc": {"enabled": "true"}}],
    "SELECT table_name, index_name": [
        {"table_name": "articles", "index_name": "articles_idx"}
        | {"options": {"class_name": "vector_index", "target": "embedding", "index_version": VERSION}}
    ],
    "SELECT DISTINCT": [{"stream": b"s"}],
    "SELECT token(a": [{"at": 1}],
    "SELECT toUnixTimestamp": [{"now_ms": 1}],
}


def sent_by(run: Callable[[Any], Any]) -> list[str]:
    connection = Asked(ANSWERS)
    run(connection)
    return connection.sent


COLUMNS_OF = (
    "SELECT column_name, kind, position, clustering_order, type FROM system_schema.columns "
    "WHERE keyspace_name = ? AND table_name = ?"
)
DESCRIBED = [
    COLUMNS_OF,
    "SELECT type_name, field_names FROM system_schema.types WHERE keyspace_name = ?",
    "SELECT writetime(home.street), ttl(home.street) FROM ks.articles LIMIT 1",
    "DESC TABLE ks.articles",
]
TABLES = "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?"
ID = "SELECT id FROM system_schema.tables WHERE keyspace_name = ? AND table_name = ?"
INDEXES = "SELECT table_name, index_name, options FROM system_schema.indexes WHERE keyspace_name = ?"
LOGGED = "SELECT cdc FROM system_schema.scylla_tables WHERE keyspace_name = ? AND table_name = ?"
LOG = "ks.articles_scylla_cdc_log"


#: With the address of a vector store, where none listens.
WATCHING = Asked.settings.model_copy(update={"vector_status": ("http://127.0.0.1:9",)})


def new() -> Scylla:
    return Scylla("2026.2.2", Asked.settings)


@pytest.mark.parametrize(
    ("run", "statements"),
    [
        (detect, ["SELECT version FROM system.versions WHERE key = 'local'"]),
        (lambda c: schema.describe(c, "articles", new()), DESCRIBED),
        (lambda c: schema.exists(c, "articles"), [TABLES]),
        (lambda c: schema.table_id(c, "articles"), [ID]),
        (
            lambda c: schema.keyspace_exists(c, "ks"),
            ["SELECT keyspace_name FROM system_schema.keyspaces WHERE keyspace_name = ?"],
        ),
        (
            lambda c: schema.add_column(c, "articles", Column("Active", "boolean")),
            [COLUMNS_OF, 'ALTER TABLE ks.articles ADD "Active" boolean'],
        ),
        (lambda c: schema.drop(c, "articles"), [TABLES, "DROP TABLE IF EXISTS ks.articles"]),
        (
            lambda c: schema.snapshot(c, new(), "articles"),
            ["SELECT value FROM system.config WHERE name = 'auto_snapshot'"],
        ),
        (lambda c: row_ttl.give(c, "articles", None, "until"), ["ALTER TABLE ks.articles TTL until"]),
        (
            lambda c: new().check_index(c, index()),
            ["SELECT initial_tablets FROM system_schema.scylla_keyspaces WHERE keyspace_name = ?"],
        ),
        (
            lambda c: new().similarity(c, index()),
            ["SELECT similarity_cosine(embedding, ?) FROM ks.articles LIMIT 1"],
        ),
        (
            lambda c: new().tablets(c, "ks", "articles"),
            [ID, "SELECT last_token, replicas FROM system.tablets WHERE table_id = ?"],
        ),
        (
            lambda c: indexes.index_state(c, new(), index()),
            [
                INDEXES,
                "SELECT column_name, kind FROM system_schema.columns WHERE keyspace_name = ? AND table_name = ?",
                "SELECT id FROM ks.articles ORDER BY embedding ANN OF ? LIMIT 1",
            ],
        ),
        (
            lambda c: Scylla("2026.2.2", WATCHING).index_state(c, index(), VERSION),
            ["SELECT toUnixTimestamp(now()) AS now_ms FROM system.local"],
        ),
        (lambda c: indexes.drop_index(c, index()), [INDEXES, "DROP INDEX IF EXISTS ks.articles_idx"]),
        (lambda c: twin.options_of(c, "articles"), ["DESC TABLE ks.articles"]),
        (
            lambda c: twin.set_options(c, "articles", {"gc_grace_seconds": "3600", "comment": "'shop'"}),
            ["ALTER TABLE ks.articles WITH gc_grace_seconds = 3600 AND comment = 'shop'"],
        ),
        (
            lambda c: twin.create_secondary(c, SecondaryIndex("by_kind", False, "(kind)"), "articles"),
            ["CREATE INDEX IF NOT EXISTS by_kind ON ks.articles (kind)"],
        ),
        (
            lambda c: twin.create_secondary(c, SecondaryIndex("By_Kind", True, "(kind) USING 'x'"), "articles"),
            ["CREATE CUSTOM INDEX IF NOT EXISTS \"By_Kind\" ON ks.articles (kind) USING 'x'"],
        ),
        (
            lambda c: new().secondary_serving(c, "by_kind"),
            ["SELECT view_name FROM system.built_views WHERE keyspace_name = ? AND view_name = ?"],
        ),
        (
            lambda c: twin.dependents(c, "articles"),
            [
                "SELECT view_name, base_table_name FROM system_schema.views WHERE keyspace_name = ?",
                "SELECT trigger_name FROM system_schema.triggers WHERE keyspace_name = ? AND table_name = ?",
            ],
        ),
        (
            lambda c: cdc.log_began(c, "articles"),
            [
                LOGGED,
                "SELECT timestamp FROM system.cdc_timestamps WHERE keyspace_name = ? AND table_name = ?",
                "SELECT table_name, options FROM system_schema.indexes WHERE keyspace_name = ?",
            ],
        ),
        (
            lambda c: list(cdc.changes(c, ARTICLES, WHOLE_RING, 0, 1)),
            [
                TABLES,
                f'SELECT DISTINCT "cdc$stream_id" AS stream FROM {LOG} '
                'WHERE token("cdc$stream_id") > ? AND token("cdc$stream_id") <= ?',
                f'SELECT id FROM {LOG} WHERE "cdc$stream_id" = ? '
                'AND "cdc$time" >= minTimeuuid(?) AND "cdc$time" < minTimeuuid(?)',
            ],
        ),
        (
            lambda c: ring.estimate(c, WIDE),
            [
                "SELECT range_start, range_end, partitions_count, mean_partition_size FROM system.size_estimates "
                "WHERE keyspace_name = ? AND table_name = ?",
                'SELECT token(a, "B") AS at FROM ks.wide WHERE token(a, "B") > ? AND token(a, "B") <= ? '
                f"PER PARTITION LIMIT 1 LIMIT {ring.PROBE_ROWS}",
                'SELECT token(a, "B") AS at FROM ks.wide WHERE token(a, "B") > ? AND token(a, "B") <= ? '
                f"LIMIT {ring.PROBES * ring.PROBE_ROWS}",
            ],
        ),
    ],
)
def test_what_scylladb_is_asked_and_told(run, statements):
    assert sent_by(run) == statements


def test_what_a_server_without_versions_is_asked():
    class Older(Asked):
        def rows(self, query: str, values: Any = (), **more: Any) -> list[dict[str, Any]]:
            if "system.versions" in query:
                raise SchemaError("no such table")
            return super().rows(query, values, **more)

    connection = Older({"SELECT release_version": [{"release_version": "5.0.5"}]})
    assert isinstance(detect(connection), Cassandra)
    assert connection.sent == ["SELECT release_version FROM system.local"]


def test_writing_if_a_row_is_as_it_was_seen():
    writing = Writing("ks", WIDE, ["title"], [])
    assert writing.update_if(["title", "tags"]) == (
        'UPDATE ks.wide USING TTL ? SET title = ? WHERE a = ? AND "B" = ? AND at = ? AND id = ? '
        "IF title = ? AND tags = ?"
    )
    assert writing.update_if([]) == (
        'UPDATE ks.wide USING TTL ? SET title = ? WHERE a = ? AND "B" = ? AND at = ? AND id = ? IF EXISTS'
    )


def test_rows_of_the_catalog(monkeypatch):
    monkeypatch.setattr(records.inflight, "send", lambda *_, **__: None)
    table = RecordTable("alias", ("name",), (), {"name": "text", "target": "text"})
    connection = Asked({"SELECT name, target": [{"name": "n", "target": "t"}]})
    rows, row, key = records.CqlRecords(connection), {"name": "n", "target": "t"}, {"name": "n"}
    rows.has(table)
    rows.columns(table)
    rows.add_columns(table)
    rows.put(table, [row])
    rows.insert(table, row)
    rows.update_if(table, key, {"target": "u"}, {"target": "t"})
    rows.update_if(table, key, {"target": "u"}, {})
    rows.delete_if(table, key, {"target": "t"})
    rows.delete(table, key)
    list(rows.select(table, {}))
    assert connection.sent == [
        "SELECT table_name FROM system_schema.tables WHERE keyspace_name = ?",
        "SELECT column_name FROM system_schema.columns WHERE keyspace_name = ? AND table_name = ?",
        "ALTER TABLE cat.embedshift_alias ADD name text",
        "ALTER TABLE cat.embedshift_alias ADD target text",
        "INSERT INTO cat.embedshift_alias (name, target) VALUES (?, ?)",
        "INSERT INTO cat.embedshift_alias (name, target) VALUES (?, ?) IF NOT EXISTS",
        "UPDATE cat.embedshift_alias SET target = ? WHERE name = ? IF target = ?",
        "SELECT name, target FROM cat.embedshift_alias WHERE name = ?",
        "UPDATE cat.embedshift_alias SET target = ? WHERE name = ? IF EXISTS",
        "DELETE FROM cat.embedshift_alias WHERE name = ? IF target = ?",
        "DELETE FROM cat.embedshift_alias WHERE name = ?",
        "SELECT name, target FROM cat.embedshift_alias",
    ]


def texts_in(path: Path, formatted: str) -> list[str]:
    """The string literals of a file, with something in place of what is filled in; hints of errors are left out."""
    tree = ast.parse(path.read_text("utf-8"))
    hints = {id(each) for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "hint"
             for each in ast.walk(node)}  # fmt: skip
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values} | hints
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) and id(node) not in hints:
            parts = [part.value if isinstance(part, ast.Constant) else formatted for part in node.values]
            found.append("".join(map(str, parts)))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            found.append(node.value)
    return found


def test_every_statement_for_scylladb_is_in_this_file():
    rooms = sorted(Path(schema.__file__).parent.glob("*.py"))
    verbs = re.compile(r"(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|DROP|DESC|TRUNCATE) [^…]*")
    generated = [
        text
        for path in rooms
        if path.name not in ("cassandra.py", "driver_errors.py")
        for text in texts_in(path, "\0")
        if verbs.fullmatch(text)
    ]
    assert len(generated) > 40
    listed = texts_in(Path(__file__), "_")
    for text in generated:
        pattern = re.compile(".*".join(map(re.escape, re.split(r"\0|\{table\}", text))))
        assert any(pattern.match(each) for each in listed), text
