"""The survey of two real tables: each planted defect under its own name. Defends invariants 1 and 2."""

from __future__ import annotations

import pickle
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import reduce
from itertools import pairwise
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from embedshift.embedding import DIGEST, Model, Template, digest_texts, load_model
from embedshift.errors import ModelUnavailable, RefusedError
from embedshift.settings import IndexSettings, ModelSettings, StoreSettings, ValidationSettings
from embedshift.stores import open_store
from embedshift.stores.contract import Store
from embedshift.stores.cql_types import vector_type
from embedshift.stores.model import Column, Index, Table, remaining_ttl, write_time
from embedshift.tokens import MAX_TOKEN, MIN_TOKEN, WHOLE_RING, TokenRange
from embedshift.validation.checks import Allowed, checks, row_checks
from embedshift.validation.content_hash import Content, content_of
from embedshift.validation.exact_knn import exact_scores
from embedshift.validation.looks import settled
from embedshift.validation.recall import recall_at, search_index
from embedshift.validation.reembed import reembedding
from embedshift.validation.sample import draw_sample
from embedshift.validation.survey import Look, survey_range, survey_rows
from embedshift.validation.survey_result import Doubtful, Survey
from embedshift.validation.table_pair import Subject

DIMENSION = 16
FINGERPRINT = "0123456789abcdef0123456789abcdef"
TEXT = "{title}. {content}"
ROWS = 120
WRITTEN_US = 1_700_000_000_000_000
FAULTS = (
    *("missing", "orphans", "stale", "older_cells", "without_vector", "mixed"),
    *("nonfinite", "not_unit", "wrong_dimension"),
)

Texts = dict[str, tuple[str | None, str | None]]
Vectors = NDArray[np.float32]


def vector_of(text: str) -> Vectors:
    """A unit vector that belongs to a text as to no other."""
    drawn = np.random.default_rng(xxhash.xxh3_64_intdigest(text.encode())).standard_normal(DIMENSION)
    return (drawn / np.linalg.norm(drawn)).astype(np.float32)


@dataclass
class World:
    """Two tables in an embedded store, and writers of both."""

    store: Store
    subject: Subject
    texts: Texts = field(default_factory=dict)

    def write_source(self, texts: Texts, at_us: int = WRITTEN_US) -> None:
        self.texts |= texts
        self._write(self.subject.source, texts, {}, at_us)

    def write_target(
        self,
        texts: Texts,
        at_us: int = WRITTEN_US,
        vector: Callable[[str], Vectors | None] = vector_of,
        fingerprint: str = FINGERPRINT,
    ) -> None:
        rows = pa.RecordBatch.from_pydict(
            {name: pa.array([t[i] for t in texts.values()], pa.string()) for i, name in enumerate(("title", "content"))}
        )
        template = Template.parse(TEXT)
        rendered, empty = template.render(rows), template.empty(rows)
        vectors = [None if e else vector(t) for t, e in zip(rendered.to_pylist(), empty.to_pylist(), strict=True)]
        made = {
            "embedding": pa.array(vectors, pa.list_(pa.float32(), self.subject.dimension)),
            DIGEST: self.whole_digests(digest_texts(fingerprint, rendered, empty), vectors),
        }
        self._write(self.subject.target, texts, made, at_us)

    @staticmethod
    def whole_digests(digests: pa.Array, vectors: list[Vectors | None]) -> pa.Array:
        """Each with the hash of its vector, if there is one."""
        ends = [b"" if v is None else xxhash.xxh3_64_digest(v.astype(">f4").tobytes()) for v in vectors]
        return pa.array([digest + end for digest, end in zip(digests.to_pylist(), ends, strict=True)], pa.binary())

    def write_vectors(self, vectors: dict[str, Vectors], at_us: int) -> None:
        """What an application does that knows nothing of digests."""
        column = pa.array(list(vectors.values()), pa.list_(pa.float32(), DIMENSION))
        self.put(self.subject.target, {"id": pa.array(list(vectors)), "embedding": column}, at_us)

    def delete(self, table: Table, ids: list[str], at_us: int = WRITTEN_US + 1) -> None:
        keys = pa.RecordBatch.from_pydict({"id": pa.array(ids, pa.string())})
        self.store.delete(table, keys, np.full(len(ids), at_us, np.int64))

    def _write(self, table: Table, texts: Texts, made: dict[str, pa.Array], at_us: int) -> None:
        columns = {name: pa.array([t[i] for t in texts.values()]) for i, name in enumerate(("title", "content"))}
        typed = {name: column.cast(pa.string()) for name, column in columns.items()}
        self.put(table, {"id": pa.array(list(texts), pa.string()), **typed, **made}, at_us)

    def put(self, table: Table, columns: dict[str, pa.Array], at_us: int) -> None:
        times = {
            write_time(name): pa.array(
                [at_us if there else None for there in column.is_valid().to_pylist()], pa.int64()
            )
            for name, column in columns.items()
            if name != "id"
        }
        rejected = self.store.write(table, pa.RecordBatch.from_pydict({**columns, **times}))
        assert rejected == []

    def survey(self, **choices: Any) -> Survey:
        return survey_range(self.store, self.subject, WHOLE_RING, Look(again_after_s=0, **choices))


def probes_of(world: World, n: int, seed: int) -> tuple[Vectors, list[bytes]]:
    """The vectors and keys of a sample."""
    sample = draw_sample(world.store, world.subject, n, seed)
    return sample.vectors(), sample.keys()


def texts_of(numbers: range) -> Texts:
    return {f"a{at}": (f"Title {at}", f"The content of article {at}") for at in numbers}


def open_world(path: Path) -> World:
    store = open_store(StoreSettings(kind="embedded", path=path / "articles.sqlite"))
    common = (
        Column("id", "text", "partition"),
        Column("title", "text"),
        Column("content", "text"),
        Column("topic", "text"),
    )
    source = Table("articles", (*common, Column("embedding", vector_type(4))))
    target = Table("articles_v2", (*common, Column("embedding", vector_type(DIMENSION)), Column(DIGEST, "blob")))
    for table in (source, target):
        store.create(table)
    subject = Subject(
        source, target, TEXT, "embedding", "embedding", FINGERPRINT, DIMENSION, True, "cosine", source_digests=False
    )
    return World(store, subject)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A hundred and twenty articles, all of them in both tables, one of them without a text."""
    world = open_world(tmp_path)
    world.write_source({**texts_of(range(ROWS - 1)), "empty": (None, " ")})
    world.write_target(world.texts)
    yield world
    world.store.close()


def test_of_two_tables_that_agree_every_fault_is_nought(world: World) -> None:
    survey = world.survey()

    assert survey.counts == {
        "source_rows": ROWS,
        "target_rows": ROWS,
        "with_text": ROWS - 1,
        "vectors": ROWS - 1,
        **dict.fromkeys((*FAULTS, "cut", "in_flight", "duplicates", "unnamed", "unproved"), 0),
    }
    assert survey.examples.of == {}


def _lose(world: World) -> None:
    world.delete(world.subject.target, ["a1", "a2"])


def _keep_orphans(world: World) -> None:
    world.delete(world.subject.source, ["a3"])


def _swap(world: World) -> None:
    mixed = {"a4": world.texts["a5"], "a5": world.texts["a4"]}
    world.write_target(mixed, WRITTEN_US + 1)


def _other_text(world: World) -> None:
    world.write_target({"a6": ("another", "text")}, WRITTEN_US + 1)


def _edit_source(world: World) -> None:
    world.write_source({"a7": ("Title 7", "Written again")}, WRITTEN_US + 1)


def _empty_text(world: World) -> None:
    world.write_source({"a8": ("", "")}, WRITTEN_US + 1)


def _write_again(world: World) -> None:
    world.write_source({"a7": world.texts["a7"]}, WRITTEN_US + 1)


def _lose_column(world: World) -> None:
    world.put(world.subject.source, {"id": pa.array(["a7"]), "topic": pa.array(["stars"])}, WRITTEN_US)


def _lose_expiry(world: World) -> None:
    for table, ttl in ((world.subject.source, 86_400), (world.subject.target, None)):
        topic = {"id": ["a7"], "topic": ["stars"], write_time("topic"): [WRITTEN_US], remaining_ttl("topic"): [ttl]}
        schema = [pa.string(), pa.string(), pa.int64(), pa.int32()]
        arrays = [pa.array(values, type_) for values, type_ in zip(topic.values(), schema, strict=True)]
        world.store.write(table, pa.RecordBatch.from_arrays(arrays, names=list(topic)))


def _put_with_ttl(
    world: World, table: Table, id_: str, name: str, value: Any, kind: pa.DataType, ttl: int | None
) -> None:
    columns = {"id": pa.array([id_]), name: pa.array([value], kind), write_time(name): pa.array([WRITTEN_US + 1])}
    columns[remaining_ttl(name)] = pa.array([ttl], pa.int32())
    assert world.store.write(table, pa.RecordBatch.from_pydict(columns)) == []


def _other_end(world: World) -> None:
    for table, ttl in ((world.subject.source, 86_400), (world.subject.target, 3_600)):
        _put_with_ttl(world, table, "a7", "topic", "stars", pa.string(), ttl)


def _ending_vector(world: World) -> None:
    vector = vector_of("Title 7. The content of article 7")
    _put_with_ttl(world, world.subject.target, "a7", "embedding", vector, pa.list_(pa.float32(), DIMENSION), 3_600)


def _newer_value(world: World) -> None:
    for at_us, table, topic in ((0, world.subject.source, "moons"), (1, world.subject.target, "stars")):
        world.put(table, {"id": pa.array(["a7"]), "topic": pa.array([topic])}, WRITTEN_US + at_us)


def _wrong_model(world: World) -> None:
    world.write_target({"a9": world.texts["a9"]}, WRITTEN_US + 1, fingerprint="another")


def _no_vector(world: World) -> None:
    world.delete(world.subject.target, ["a10"], WRITTEN_US)
    world.write_target({"a10": world.texts["a10"]}, WRITTEN_US + 1, vector=lambda _: None)


def _vector_alone(world: World) -> None:
    world.write_vectors({"a11": vector_of("whatever")}, WRITTEN_US + 1)


def _not_a_number(world: World) -> None:
    world.write_target({"a12": world.texts["a12"]}, WRITTEN_US + 1, lambda t: vector_of(t) * np.float32("nan"))
    world.write_target(
        {"a13": world.texts["a13"]},
        WRITTEN_US + 1,
        lambda t: np.where(vector_of(t) > 0, np.float32("inf"), vector_of(t)),
    )


def _not_normalised(world: World) -> None:
    world.write_target({"a14": world.texts["a14"]}, WRITTEN_US + 1, lambda t: vector_of(t) * np.float32(1.01))


def _constant(world: World) -> None:
    some = {id_: world.texts[id_] for id_ in ("a15", "a16", "a17", "a18")}
    world.write_target(some, WRITTEN_US + 1, lambda _: vector_of("one for all"))


def _vector_of_another(world: World) -> None:
    world.write_target(
        {"a19": world.texts["a19"]}, WRITTEN_US + 1, lambda _: vector_of("Title 20. The content of article 20")
    )


def _other_value(world: World) -> None:
    for table, topic in ((world.subject.source, "moons"), (world.subject.target, "stars")):
        world.put(table, {"id": pa.array(["a7"]), "topic": pa.array([topic])}, WRITTEN_US)


def _mixed_at_one_time(world: World) -> None:
    """What two writers leave who had the same time: the greater vector, and the greater digest."""
    world.write_target({"a20": world.texts["a20"]}, WRITTEN_US + 1)
    for text in ("of one", "of another", "of a third"):
        world.write_vectors({"a20": vector_of(text)}, WRITTEN_US + 1)


DEFECTS = {
    "rows that are lost": (_lose, {"missing": 2}, {"rows", "missing"}),
    "a row deleted at the source": (_keep_orphans, {"orphans": 1}, {"rows", "orphans"}),
    "two rows whose vectors and digests are swapped": (_swap, {"stale": 2, "older_cells": 2}, {"stale", "older_cells"}),
    "the vector and the digest of another text": (
        _other_text,
        {"stale": 1, "older_cells": 1},
        {"stale", "older_cells"},
    ),
    "a text that was edited later": (_edit_source, {"stale": 1, "older_cells": 1}, {"stale", "older_cells"}),
    "a text that was emptied later": (_empty_text, {"stale": 1, "older_cells": 1}, {"stale", "older_cells"}),
    "a text written again that stayed the same": (_write_again, {"older_cells": 1}, {"older_cells"}),
    "a column that was not carried": (_lose_column, {"older_cells": 1}, {"older_cells"}),
    "an end that is another": (_other_end, {"older_cells": 1}, {"older_cells"}),
    "a vector that ends before its text": (_ending_vector, {"stale": 1}, {"stale"}),
    "a newer value that the source does not have": (_newer_value, {"older_cells": 1}, {"older_cells"}),
    "an expiry that was not carried": (_lose_expiry, {"older_cells": 1}, {"older_cells"}),
    "another value at the same write time": (_other_value, {"older_cells": 1}, {"older_cells"}),
    "a vector and a digest of two writers": (_mixed_at_one_time, {"mixed": 1}, {"mixed"}),
    "a row of another model": (_wrong_model, {"stale": 1}, {"stale"}),
    "a text without a vector": (_no_vector, {"without_vector": 1}, {"without_vector"}),
    "a vector written without its digest": (_vector_alone, {"mixed": 1}, {"mixed"}),
    "vectors with NaN and infinity": (_not_a_number, {"nonfinite": 2}, {"finite"}),
    "a vector that is not normalised": (_not_normalised, {"not_unit": 1}, {"unit_norm"}),
    "one vector for several texts": (_constant, {"duplicates": 3}, {"duplicates"}),
    "the vector of another text": (_vector_of_another, {"duplicates": 1}, set()),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_a_planted_defect_is_counted_under_its_own_name_and_no_other(name: str, world: World) -> None:
    plant, expected, _ = DEFECTS[name]
    plant(world)

    survey = world.survey()

    assert {kind: survey.counts[kind] for kind in (*FAULTS, "duplicates") if survey.counts[kind]} == expected
    for kind, number in expected.items():
        if kind != "duplicates":
            assert len(survey.examples.of[kind]) == number


@pytest.mark.parametrize("name", DEFECTS)
def test_a_planted_defect_fails_the_check_that_is_named_for_it(name: str, world: World) -> None:
    plant, _, failing = DEFECTS[name]
    plant(world)
    probes, _ = probes_of(world, 5, seed=1)
    survey = world.survey(probes=probes, k=10)
    recall = recall_at(survey.nearest, search_index(world.store, world.subject, index_of(world), probes, 10), 10)

    made = checks(survey, recall, None, ValidationSettings(), 0, Allowed(0, 0, True))

    assert {check.name for check in made if check.passed is False} == failing


def test_a_table_of_another_dimension_is_reported_for_every_vector(world: World) -> None:
    survey = survey_range(world.store, replace(world.subject, dimension=8), WHOLE_RING, Look(again_after_s=0))

    assert survey.wrong_dimension == survey.vectors == ROWS - 1


def test_a_row_is_named_by_its_key_in_the_examples_and_five_are_enough(world: World) -> None:
    world.delete(world.subject.target, [f"a{at}" for at in range(20)])

    survey = world.survey()

    assert survey.missing == 20
    assert len(survey.examples.of["missing"]) == 5
    assert all(set(example) == {"id"} and example["id"] in world.texts for example in survey.examples.of["missing"])


@pytest.mark.parametrize("window_rows", [1, 7, 1000])
def test_more_differences_than_fit_a_window_are_counted_exactly(world: World, window_rows: int) -> None:
    world.delete(world.subject.target, [f"a{at}" for at in range(0, 30)])
    world.delete(world.subject.source, [f"a{at}" for at in range(30, 50)])
    world.write_source({f"a{at}": ("new", str(at)) for at in range(50, 60)}, WRITTEN_US + 1)

    survey = world.survey(window_rows=window_rows)

    assert (survey.missing, survey.orphans, survey.stale) == (30, 20, 10)
    assert (survey.source_rows, survey.target_rows) == (ROWS - 20, ROWS - 30)


class Meanwhile:
    """The real store, with an application that writes after a survey has scanned the tables."""

    def __init__(self, store: Store, application: Callable[[], None]) -> None:
        self._store = store
        self._application: Callable[[], None] | None = application

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def fetch(self, *arguments: Any, **choices: Any) -> pa.RecordBatch:
        if self._application is not None:
            self._application()
            self._application = None
        return self._store.fetch(*arguments, **choices)


def test_differences_that_the_application_makes_while_it_is_read_are_not_faults(world: World) -> None:
    world.write_source({"new": ("A new", "article")})
    world.delete(world.subject.source, ["a1"])
    world.write_source({"a2": ("Title 2", "edited")}, WRITTEN_US + 1)

    def catch_up() -> None:
        world.write_target({"new": ("A new", "article")})
        world.delete(world.subject.target, ["a1"])
        world.write_target({"a2": ("Title 2", "edited")}, WRITTEN_US + 1)

    survey = survey_range(Meanwhile(world.store, catch_up), world.subject, WHOLE_RING, Look(again_after_s=0))

    assert (survey.missing, survey.orphans, survey.stale, survey.in_flight) == (0, 0, 0, 3)
    assert survey.source_rows == survey.target_rows == ROWS
    assert survey.content == content_of(world.store, world.subject, WHOLE_RING)


def test_one_vector_of_the_wrong_model_is_seen_among_a_hundred_thousand_rows(tmp_path: Path) -> None:
    rows, world = 100_000, open_world(tmp_path)
    drawn = np.random.default_rng(2).standard_normal((rows, DIMENSION)).astype(np.float32)
    drawn /= np.linalg.norm(drawn, axis=1, keepdims=True)
    titles = pa.array([f"Title {at}" for at in range(rows)])
    batch = pa.RecordBatch.from_pydict({"title": titles, "content": titles})
    template = Template.parse(TEXT)
    digests = world.whole_digests(digest_texts(FINGERPRINT, template.render(batch), template.empty(batch)), list(drawn))
    wrong = 73_123
    drawn[wrong] = vector_of("of the wrong model")
    ids = pa.array([f"a{at:06}" for at in range(rows)])
    text = {"id": ids, "title": titles, "content": titles}
    world.put(world.subject.source, text, WRITTEN_US)
    made = {"embedding": pa.FixedSizeListArray.from_arrays(pa.array(drawn.ravel()), DIMENSION), DIGEST: digests}
    world.put(world.subject.target, text | made, WRITTEN_US)

    survey = world.survey()

    world.store.close()
    assert {kind: survey.counts[kind] for kind in FAULTS if survey.counts[kind]} == {"mixed": 1}
    assert survey.examples.of["mixed"] == ({"id": f"a{wrong:06}"},)


def test_digests_of_sixteen_bytes_say_nothing_of_their_vectors_and_are_no_fault(world: World) -> None:
    shorter = [("a1", world.texts["a1"]), ("a2", world.texts["a2"])]
    rows = pa.RecordBatch.from_pydict(
        {name: pa.array([texts[at] for _, texts in shorter]) for at, name in enumerate(("title", "content"))}
    )
    template = Template.parse(TEXT)
    rendered, empty = template.render(rows), template.empty(rows)
    vectors = pa.array([vector_of(text) for text in rendered.to_pylist()], pa.list_(pa.float32(), DIMENSION))
    made = {"embedding": vectors, DIGEST: digest_texts(FINGERPRINT, rendered, empty)}
    world.put(world.subject.target, {"id": pa.array([key for key, _ in shorter]), **made}, WRITTEN_US + 1)

    survey = world.survey()

    assert {kind: survey.counts[kind] for kind in FAULTS if survey.counts[kind]} == {}
    assert survey.unnamed == 2
    (mixed,) = [each for each in row_checks(survey, 0, Allowed(0, 0, True)) if each.name == "mixed"]
    assert (mixed.passed, mixed.value, mixed.denominator) == (None, None, ROWS - 1 - 2)
    assert "2 of 119 digests name no vector" in mixed.note


@pytest.mark.parametrize("length", [0, 1, 7, 15, 17, 23, 25, 100])
def test_a_digest_of_a_length_that_none_has_is_a_fault_and_no_crash(world: World, length: int) -> None:
    (whole,) = [
        row[DIGEST]
        for batch in world.store.scan(world.subject.target, WHOLE_RING, values=[DIGEST])
        for row in batch.to_pylist()
        if row["id"] == "a3"
    ]
    longer = (whole + b"x" * 99)[:length]
    for later_us, wrong, kind in ((1, b"x" * length, "stale"), (2, longer, "stale" if length < 16 else "mixed")):
        world.put(world.subject.target, {"id": pa.array(["a3"]), DIGEST: pa.array([wrong])}, WRITTEN_US + later_us)
        survey = world.survey()
        assert survey.examples.of[kind] == ({"id": "a3"},)
        assert survey.target_rows == ROWS


def test_what_may_differ_since_the_moment_is_in_doubt_and_what_cannot_is_a_fault(world: World) -> None:
    moment_us = WRITTEN_US + 1000
    world.delete(world.subject.target, ["a1", "a2"])
    world.write_source({"a2": ("Title 2", "since then")}, moment_us)
    world.write_source({"a3": ("Title 3", "before it")}, moment_us - 1)
    world.write_source({"a4": ("Title 4", "since then")}, moment_us + 5)
    world.delete(world.subject.source, ["a5"])
    world.put(world.subject.target, {"id": pa.array(["a6"]), "topic": pa.array(["stars"])}, WRITTEN_US)

    first = world.survey(moment_us=moment_us)

    assert first.examples.of == {
        "missing": ({"id": "a1"},),
        "stale": ({"id": "a3"},),
        "older_cells": ({"id": "a3"},),
    }
    keys = [key for batch in first.doubtful.batches for key in batch.column("id").to_pylist()]
    assert sorted(keys) == ["a2", "a4", "a5", "a6"]
    assert first.unproved == 0
    assert first.source_rows == ROWS - 1 - 3


def looked_again(world: World, first: Survey, *, last: bool) -> Survey:
    look = Look(moment_us=WRITTEN_US, last=last)
    again = [survey_rows(world.store, world.subject, batch, look) for batch in first.doubtful.batches]
    return reduce(add, again, replace(first, doubtful=Doubtful()))


@pytest.mark.parametrize("last", [False, True])
def test_who_was_in_doubt_and_was_not_changed_since_is_a_fault_at_the_next_look(last: bool, world: World) -> None:
    world.write_source({"new": ("A new", "one"), "hot": ("A hot", "one")}, WRITTEN_US + 5)
    world.delete(world.subject.source, ["a1", "a2"])
    first = world.survey(moment_us=WRITTEN_US + 1)
    assert first.doubtful.rows == 4
    world.write_source({"hot": ("A hot", "one")}, WRITTEN_US + 6)
    world.write_source({"a2": ("Title 2", "came back")}, WRITTEN_US + 6)

    whole = looked_again(world, first, last=last)

    assert whole.examples.of["missing"] == ({"id": "new"},)
    assert whole.examples.of["orphans"] == ({"id": "a1"},)
    assert (whole.stale, whole.older_cells) == (0, 0)
    if last:
        assert (whole.unproved, whole.doubtful.rows) == (2, 0)
        assert (whole.source_rows, whole.target_rows) == (ROWS + 1, ROWS)
        assert whole.content == content_of(world.store, world.subject, WHOLE_RING)
    else:
        assert (whole.unproved, whole.doubtful.rows) == (0, 2)


def test_what_agrees_at_a_later_look_counts_as_written_meanwhile(world: World) -> None:
    world.write_source({"a2": ("Title 2", "since then")}, WRITTEN_US + 5)
    first = world.survey(moment_us=WRITTEN_US + 1)
    world.write_target({"a2": ("Title 2", "since then")}, WRITTEN_US + 5)

    whole = looked_again(world, first, last=True)

    assert (whole.in_flight, whole.unproved, whole.stale, whole.doubtful.rows) == (1, 0, 0, 0)
    assert whole.source_rows == whole.target_rows == ROWS


def test_rows_beyond_those_that_are_kept_count_as_not_proved(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedshift.validation.survey.DOUBTFUL_MAX", 3)
    world.delete(world.subject.source, [f"a{at}" for at in range(5)])

    survey = world.survey(moment_us=WRITTEN_US)

    assert (survey.doubtful.rows, survey.unproved, survey.orphans) == (3, 2, 0)


def test_there_are_three_looks_at_most(world: World) -> None:
    clean = world.survey(moment_us=WRITTEN_US + 1)
    doubt = replace(clean, doubtful=Doubtful((pa.RecordBatch.from_pydict({"id": pa.array(["a1"])}),)))

    def looked(first: Survey, *later: Survey) -> tuple[Survey, list[bool]]:
        taken: list[bool] = []
        results = iter(later)

        def look(batches: Any, last: bool) -> Survey:
            taken.append(last)
            return next(results)

        return settled(first, look), taken

    assert looked(clean) == (clean, [])
    assert looked(doubt, clean)[1] == [False]
    whole, taken = looked(doubt, doubt, clean)
    assert taken == [False, True]
    assert whole.doubtful.rows == 0
    assert whole.source_rows == 3 * ROWS


def test_a_survey_without_differences_waits_for_nothing(world: World) -> None:
    survey_range(world.store, world.subject, WHOLE_RING, Look(again_after_s=3600))


def test_a_survey_travels_between_processes(world: World) -> None:
    _lose(world)
    survey = world.survey(probes=np.stack([vector_of("probe")]), k=3)

    copy: Survey = pickle.loads(pickle.dumps(survey))

    assert copy.counts == survey.counts
    assert copy.content == survey.content
    assert copy.nearest.ranked()[0].tolist() == survey.nearest.ranked()[0].tolist()


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(MIN_TOKEN + 1, MAX_TOKEN - 1), max_size=6, unique=True), window=st.integers(1, 50))
def test_surveys_of_parts_of_the_ring_add_up_to_that_of_the_whole(world: World, cuts: list[int], window: int) -> None:
    for plant in (_lose, _keep_orphans, _swap, _constant):
        plant(world)
    probes = np.stack([vector_of(f"probe {at}") for at in range(4)])
    edges = [MIN_TOKEN, *sorted(cuts), MAX_TOKEN]
    parts = [TokenRange(start, end) for start, end in pairwise(edges)]

    surveys = [
        survey_range(world.store, world.subject, part, Look(window_rows=window, probes=probes, k=7, again_after_s=0))
        for part in parts
    ]

    whole, summed = world.survey(probes=probes, k=7), reduce(add, surveys)
    assert summed.counts == whole.counts
    assert summed.content == whole.content
    assert np.allclose(summed.nearest.ranked()[0], whole.nearest.ranked()[0], atol=1e-6)
    assert summed.nearest.ranked()[1].tolist() == whole.nearest.ranked()[1].tolist()
    contents = [content_of(world.store, world.subject, part, window_rows=window) for part in parts]
    assert sum(contents, Content()) == whole.content


CHANGES = {
    "a row comes": lambda world: world.write_target({"new": ("new", "row")}),
    "a row goes": lambda world: world.delete(world.subject.target, ["a1"]),
    "a vector changes": lambda world: world.write_vectors({"a1": vector_of("another")}, WRITTEN_US),
    "a value changes that is no text": lambda world: world.put(
        world.subject.target, {"id": pa.array(["a7"]), "topic": pa.array(["stars"])}, WRITTEN_US
    ),
    "a text is embedded again": _other_text,
    "two rows change places": _swap,
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_fingerprint_of_the_content_changes_when(name: str, world: World) -> None:
    before = content_of(world.store, world.subject, WHOLE_RING)

    CHANGES[name](world)

    after = content_of(world.store, world.subject, WHOLE_RING)
    assert after != before
    assert after.text != before.text
    assert Content.parse(after.text, after.sketch) == after


def test_what_is_written_again_as_it_was_changes_no_content(world: World) -> None:
    before = content_of(world.store, world.subject, WHOLE_RING)

    world.write_target({"a1": world.texts["a1"]}, WRITTEN_US + 1)

    assert content_of(world.store, world.subject, WHOLE_RING) == before


def test_the_content_tells_how_many_rows_have_changed_whenever_they_were_written(world: World) -> None:
    before = content_of(world.store, world.subject, WHOLE_RING)
    world.write_target({f"a{at}": ("Changed", f"with an old time {at}") for at in range(4)}, WRITTEN_US + 1)
    world.write_target({"new": ("A new", "row")}, WRITTEN_US - 1)
    world.delete(world.subject.target, ["a9"])

    after = content_of(world.store, world.subject, WHOLE_RING)

    assert after.changed(before) == before.changed(after) == 6
    kept = Content.parse(before.text, before.sketch)
    assert (after.changed(kept), before.changed(kept)) == (6, 0)


@pytest.mark.parametrize("changed", [10, 1_000, 30_000])
def test_the_estimate_of_many_changes_is_within_five_hundredths(changed: int) -> None:
    rows, chance = 100_000, random.Random(4)
    known = [(chance.getrandbits(128), chance.getrandbits(128)) for _ in range(rows)]
    now = [(key, chance.getrandbits(128)) if at < changed else (key, value) for at, (key, value) in enumerate(known)]

    found = Content.of(now).changed(Content.of(known))

    assert abs(found - changed) <= max(1, 0.05 * changed)


def test_half_a_sketch_is_no_proof() -> None:
    whole = Content.of([(1, 2)])
    for text, sketch in ((whole.text, ""), (whole.text, whole.sketch[:-9]), ("1:2", whole.sketch), (whole.text, "é")):
        with pytest.raises(RefusedError, match="another version"):
            Content.parse(text, sketch)


def test_a_target_without_digests_is_held_against_its_own_texts(world: World) -> None:
    plain = Table("plain", tuple(c for c in world.subject.target.columns if c.name != DIGEST))
    world.store.create(plain)
    rows = next(world.store.scan(world.subject.target, WHOLE_RING, values=["title", "content", "embedding"]))
    columns = {name: rows.column(name) for name in ("id", "title", "content", "embedding")}
    World(world.store, replace(world.subject, target=plain)).put(plain, columns, WRITTEN_US)
    subject = replace(world.subject, target=plain)
    _edit_source(world)

    survey = survey_range(world.store, subject, WHOLE_RING, Look(again_after_s=0))

    assert (survey.stale, survey.missing, survey.vectors) == (1, 0, ROWS - 1)
    assert survey.content == content_of(world.store, subject, WHOLE_RING)


def index_of(world: World, **options: Any) -> Index:
    index = Index("articles_v2_embedding", "articles_v2", "embedding", DIMENSION, IndexSettings(**options))
    world.store.create_index(index)
    return index


@pytest.mark.parametrize("metric", ["cosine", "dot_product", "euclidean"])
def test_neighbours_found_by_a_survey_are_those_of_a_plain_computation(world: World, metric: Any) -> None:
    world.subject = replace(world.subject, metric=metric)
    texts = [f"{title}. {content}" for title, content in world.texts.values() if title]
    vectors = np.stack([vector_of(text) for text in texts])
    probes = np.stack([vector_of(f"probe {at}") for at in range(3)])

    scores, keys = world.survey(probes=probes, k=10, window_rows=13).nearest.ranked()

    for probe, found, names in zip(probes, scores, keys, strict=True):
        exact = exact_scores(metric, probe, vectors)
        order = np.argsort(-exact)[:10]
        assert np.allclose(found, exact[order], atol=1e-5)
        assert [name.decode() for name in names] == [list(world.texts)[at] for at in order]


def test_a_good_index_has_full_recall_and_a_row_does_not_count_as_its_own_neighbour(world: World) -> None:
    probes, own = probes_of(world, 40, seed=3)
    survey = world.survey(probes=probes, k=21)

    found = search_index(world.store, world.subject, index_of(world), probes, 11)

    recall = recall_at(survey.nearest, found, 10, own=own)
    assert (recall.value, recall.high, recall.probes) == (1.0, 1.0, 40)
    assert 0.98 < recall.low < 1


def test_an_index_that_lacks_vectors_loses_recall(world: World) -> None:
    index = index_of(world)
    probes, _ = probes_of(world, 40, seed=3)
    survey = world.survey(probes=probes, k=10)
    world.delete(world.subject.target, [f"a{at}" for at in range(0, ROWS, 5)])

    recall = recall_at(survey.nearest, search_index(world.store, world.subject, index, probes, 10), 10)

    assert recall.low < recall.value < 0.9
    assert recall.worst


@pytest.mark.parametrize("n", [1, 5, 50, 200])
def test_probes_are_different_rows_of_the_target_with_their_vectors(world: World, n: int) -> None:
    vectors, keys = probes_of(world, n, seed=1)

    assert len(set(keys)) == len(keys) == min(n, ROWS - 1)
    for vector, key in zip(vectors, keys, strict=True):
        title, content = world.texts[key.decode()]
        assert np.array_equal(vector, vector_of(f"{title}. {content}"))
    assert probes_of(world, n, seed=1)[1] == keys


def test_probes_of_a_larger_table_come_from_all_parts_of_the_ring(world: World) -> None:
    world.write_target({f"b{at}": ("More", str(at)) for at in range(500)})

    first, second = (probes_of(world, 8, seed)[1] for seed in (1, 2))

    assert len(set(first)) == 8
    assert set(first) != set(second)
    for part in WHOLE_RING.split(8):
        rows = next(world.store.scan(world.subject.target, part)).column("id").to_pylist()
        assert any(key.decode() in rows for key in first)


def test_an_empty_table_gives_no_probe_and_no_fault(tmp_path: Path) -> None:
    world = open_world(tmp_path)
    try:
        vectors, keys = probes_of(world, 10, seed=1)
        assert (vectors.shape, keys) == ((0, DIMENSION), [])
        assert not any(world.survey(probes=vectors).counts.values())
    finally:
        world.store.close()


@pytest.fixture(scope="session")
def model() -> Model:
    """A real model, of word vectors: small and quick."""
    try:
        return load_model(ModelSettings(name="package:wordllama-l2-256"))
    except ModelUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def embedded_world(tmp_path: Path, model: Model) -> Iterator[World]:
    """Forty articles with the vectors of a real model."""
    store = open_store(StoreSettings(kind="embedded", path=tmp_path / "real.sqlite"))
    columns = (Column("id", "text", "partition"), Column("title", "text"), Column("content", "text"))
    vector = Column("embedding", vector_type(model.dimension))
    source, target = (
        Table("articles", (*columns, vector)),
        Table("articles_v2", (*columns, vector, Column(DIGEST, "blob"))),
    )
    for table in (source, target):
        store.create(table)
    subject = Subject(
        source, target, TEXT, "embedding", "embedding", model.fingerprint, model.dimension, True, "cosine", False
    )
    world = World(store, subject)
    world.write_source(
        {f"a{at}": (f"Title {at}", f"On {['stars', 'rivers', 'bread', 'maps'][at % 4]} {at}") for at in range(40)}
    )
    world.write_target(world.texts, vector=lambda text: model.embed([text]).vectors[0], fingerprint=model.fingerprint)
    yield world
    store.close()


def test_vectors_of_the_model_agree_when_they_are_computed_again(embedded_world: World, model: Model) -> None:
    found = reembedding(embedded_world.store, embedded_world.subject, model, 40, seed=1)

    assert (found.sample, found.disagreeing, found.examples) == (40, 0, ())
    assert found.least > 0.9999


def test_vectors_that_were_swapped_below_their_digests_disagree(embedded_world: World, model: Model) -> None:
    world = embedded_world
    swapped = {"a1": "Title 2. On bread 2", "a2": "Title 1. On rivers 1"}
    for id_, other in swapped.items():
        vector = model.embed([other]).vectors[0]
        world.write_target({id_: world.texts[id_]}, WRITTEN_US + 1, lambda _, v=vector: v, model.fingerprint)

    found = reembedding(world.store, world.subject, model, 40, seed=1)

    survey = world.survey()
    assert (survey.stale, survey.duplicates) == (0, 0), "no digest can show it"
    assert found.disagreeing == 2
    assert {example["id"] for example in found.examples} == set(swapped)
    made = checks(survey, None, None, ValidationSettings(), 0, Allowed(0, 0, True), reembedding=found)
    assert "reembedding_differs" in {check.name for check in made if check.passed is False}


def test_rows_that_are_stale_or_without_text_are_not_reembed_sample(world: World, model: Model) -> None:
    found = reembedding(world.store, replace(world.subject, fingerprint="another"), model, 20, seed=1)

    assert (found.sample, found.disagreeing) == (0, 0)
