"""Statements word by word, for both dialects; for ScyllaDB this is the only place where they are tested."""

from __future__ import annotations

from dataclasses import replace

import pytest

from embedshift.errors import SchemaError
from embedshift.settings import IndexSettings, StoreSettings
from embedshift.stores.cql import indexes, records, schema, search
from embedshift.stores.cql.cassandra import Cassandra
from embedshift.stores.cql.projection import Projection
from embedshift.stores.cql.quoting import quote
from embedshift.stores.cql.scylla import Scylla
from embedshift.stores.cql.write import Writing
from embedshift.stores.cql_types import is_many_celled
from embedshift.stores.model import Column, Index, Table
from embedshift.stores.records import RecordTable

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
