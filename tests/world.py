"""A whole small world for a migration: a folder with an embedded store, settings, articles, and an application.

Rows are dicts: plain values for the primary key, and for every other column ``(value, write time)`` or
``(value, write time, ttl)``; ``(None, write time)`` deletes the cell, and a column left out stays unset.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from string import Formatter
from typing import Any

import numpy as np
import pyarrow as pa
import xxhash
import yaml
from sentence_transformers import SentenceTransformer

from embedshift.catalog.alias import Alias, get_alias, history, move_alias
from embedshift.catalog.claim import claim_alias
from embedshift.catalog.lease import Lease
from embedshift.catalog.migration import Migration, get_migration
from embedshift.catalog.ranges import Counts, RangeRecord, read_ranges
from embedshift.catalog.vector_table import ModelRecord, VectorTable, index_name, record_of
from embedshift.embedding import load_model
from embedshift.settings import IndexSettings, Settings, load_settings
from embedshift.spark.stores import Stores
from embedshift.spark.task import carry_range
from embedshift.spark.transfer import transfer_of
from embedshift.steps.context import StepContext, StepResult
from embedshift.stores import open_store
from embedshift.stores.cql_types import arrow_type, to_json, vector_type
from embedshift.stores.model import Column, Index, Table, remaining_ttl, write_time
from embedshift.telemetry.console import Console
from embedshift.tokens import WHOLE_RING
from tests.small_models import articles

ROOT = Path(__file__).resolve().parent.parent
DIGEST = "embedding_digest"
HOUR_US = 3_600_000_000
DEADLINE_S = 300

Row = dict[str, Any]
Cells = dict[str, tuple[Any, int, int | None]]
Contents = dict[tuple[Any, ...], Cells]

ARTICLE = (Column("id", "text", "partition"), Column("title", "text"), Column("content", "text"))


def now_us() -> int:
    return time.time_ns() // 1000


def eventually(condition: Callable[[], Any], deadline_s: float = DEADLINE_S, every_s: float = 0.02) -> Any:
    """Waits until a condition holds, and returns its value."""
    deadline = time.monotonic() + deadline_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition did not come to hold in time"
        time.sleep(every_s)
    return value


class World:
    """An embedded store with a source table, and settings for a migration of it.

    Args:
        folder: where everything is.
        models: folders or names of the old and the new model; None for the new: only the index changes.
        columns: of the source table, beside vector and digest.
        digests: whether the source table has the digest column.
        text: the template.
        changes: further settings, by section.
    """

    def __init__(
        self,
        folder: Path,
        models: tuple[Path | str, Path | str | None],
        *,
        columns: Sequence[Column] = ARTICLE,
        digests: bool = True,
        text: str = "{title}. {content}",
        **changes: dict[str, Any],
    ) -> None:
        self.folder = folder
        old, new = models
        tree: dict[str, Any] = {
            "alias": "articles",
            "store": {"path": str(folder / "articles.sqlite")},
            "source": {"table": "articles", "id": columns[0].name, "text": text, "model": {"name": str(old)}},
            "target": {"table": "articles_v2", "model": {"name": str(new)} if new else None},
            "load": {"ranges": 4},
            # One clock writes everything here; what a test wrote before the switch was written before it.
            "sync": {"clock_skew": "10ms"},
            "validation": {
                "report": str(folder / "validation.json"),
                "probes": 20,
                "reembed_sample": 20,
                "latency_searches": 10,
            },
            "cutover": {"client_cache": "10ms"},
            "retire": {"after": 0, "watch": "1s"},
            "spark": {"master": "local[2]"},
        }
        self.tree = merged(tree, changes)
        self.config = folder / "settings.yaml"
        self.config.write_text(yaml.safe_dump(self.tree))
        self.settings: Settings = load_settings(self.config)
        self.store = open_store(self.settings.store)
        self._networks: dict[str, SentenceTransformer] = {}
        self.columns = tuple(columns)
        self.digests = digests

    def with_settings(self, **changes: dict[str, Any]) -> Settings:
        """The settings with some changed, written to the file too."""
        self.tree = merged(self.tree, changes)
        self.config.write_text(yaml.safe_dump(self.tree))
        self.settings = load_settings(self.config)
        return self.settings

    # What an operator does.

    def step(self, name: str, **options: Any) -> dict[str, Any]:
        """Run a step in this process."""
        room = "operations" if name in ("audit", "reindex", "report", "shadow", "status", "trial") else "steps"
        function = getattr(importlib.import_module(f"embedshift.{room}.{name}"), name)
        return self.run(function, **options)

    def run(self, function: Callable[..., StepResult | dict[str, Any]], **options: Any) -> dict[str, Any]:
        """Run a step or an operation in this process; its result as JSON has it."""
        result = function(self.context(function.__name__), **options)
        return result if isinstance(result, dict) else result.plain()

    def context(self, command: str) -> StepContext:
        """What a command would give its step."""
        return StepContext(command, self.settings, self.store, Console(quiet=True))

    def steps(self, *names: str) -> None:
        for name in names:
            self.step(name)

    def command(self, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run the real command line to its end."""
        started = self.start(*arguments, environment=environment)
        out, err = started.communicate(timeout=DEADLINE_S)
        return subprocess.CompletedProcess(started.args, started.returncode, out, err)

    def start(self, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.Popen[str]:
        """Start the real command line, in a session of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "embedshift", *arguments, "--config", str(self.config)],
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def carry(self, step: str = "load", **options: Any) -> Counts:
        """What a Spark task does, in this process: read the whole ring of one table, embed, write into the other."""
        transfer = transfer_of(self.settings, self.store, self.migration, step, **options)
        carry_range(Stores.one(self.store), transfer, WHOLE_RING, 1)
        (record,) = read_ranges(self.store, transfer.migration, step)
        assert record.error == "", record.error
        assert record.state == "done"
        return record.counts

    # What an application does.

    def create_source(
        self, rows: Iterable[Row] = (), dimension: int | None = None, *, before_index: bool = False
    ) -> None:
        """The source table, with the vector column that the old model fills; ``before_index``: the rows come first."""
        dimension = dimension or self.encode(self.tree["source"]["model"]["name"], ["a"]).shape[1]
        made = [Column("embedding", vector_type(dimension))] + [Column(DIGEST, "blob")] * self.digests
        self.store.create(Table("articles", (*self.columns, *made)))
        if before_index:
            self.write("articles", *rows)
        self.store.create_index(
            Index(index_name("articles", "embedding"), "articles", "embedding", dimension, IndexSettings())
        )
        if not before_index:
            self.write("articles", *rows)

    def write(self, table: str, *rows: Row) -> None:
        """Write rows; one that names no vector gets none, as from an application that leaves it to the pipeline."""
        described = self.store.describe(table)
        # Cells that a row does not name must not be touched: rows of like columns are written together.
        kinds: dict[tuple[str, ...], list[Row]] = {}
        for row in rows:
            kinds.setdefault(tuple(sorted(row)), []).append(row)
        for group in kinds.values():
            assert self.store.write(described, batch_of(described, group)) == []

    def delete(self, table: str, *keys: Row, at_us: int | None = None) -> None:
        described = self.store.describe(table)
        times = np.full(len(keys), at_us or now_us(), np.int64)
        self.store.delete(described, batch_of(described, keys), times)

    def read(self, table: str) -> Contents:
        """Everything in a table: by key, for each living cell its value, write time and remaining TTL."""
        described = self.store.describe(table)
        names = [column.name for column in described.others]
        contents: Contents = {}
        for batch in self.store.scan(described, WHOLE_RING, values=names, times=names):
            for row in batch.to_pylist():
                cells = {n: (row[n], row[write_time(n)], row[remaining_ttl(n)]) for n in names}
                key = tuple(row[key.name] for key in described.keys)
                contents[key] = {n: cell for n, cell in cells.items() if cell[1] is not None}
        return contents

    def old_model(self) -> ModelRecord:
        """The model of the source table."""
        return record_of(load_model(self.settings.source.model))

    def read_one(self, table: str, *key: Any) -> Cells | None:
        """The living cells of one row, None where it is not there."""
        return self.read(table).get(key)

    # What is known of the world, apart from the program.

    def encode(self, model: str, texts: list[str], **options: Any) -> np.ndarray:
        """Vectors of documents straight from the library, normalised, shape (n, dimension)."""
        if model not in self._networks:
            if model.startswith("package:"):
                from embedshift.embedding.packaged import load_packaged

                self._networks[model] = load_packaged(model, "cpu")
            else:
                self._networks[model] = SentenceTransformer(model, device="cpu", local_files_only=True)
        network = self._networks[model]
        vectors: np.ndarray = network.encode_document(
            texts, normalize_embeddings=True, show_progress_bar=False, **options
        )
        return vectors

    def text(self, key: tuple[Any, ...], cells: Cells) -> str | None:
        """The text of a row by the template, None where it has nothing to embed."""
        pieces = [(literal, name) for literal, name, _, _ in Formatter().parse(self.tree["source"]["text"])]
        names = [column.name for column in self.columns if column.role in ("partition", "clustering")]
        row = dict(zip(names, key, strict=True)) | {name: cell[0] for name, cell in cells.items()}
        values = [row.get(name) for _, name in pieces if name]
        if all(value is None or (isinstance(value, str) and not value.strip()) for value in values):
            return None
        return "".join(
            literal + ("" if name is None or row.get(name) is None else str(row[name])) for literal, name in pieces
        )

    def digest(self, fingerprint: str, text: str | None, vector: Any = None) -> bytes:
        """What a digest must be: XXH3-128 of the text, seeded by the fingerprint; then XXH3-64 of the vector."""
        seed = xxhash.xxh3_64_intdigest(fingerprint.encode())
        if text is None:
            return xxhash.xxh3_128_digest(b"no text", seed=~seed & (2**64 - 1))
        of_vector = b"" if vector is None else xxhash.xxh3_64_digest(np.asarray(vector, ">f4").tobytes())
        return xxhash.xxh3_128_digest(text.encode(), seed=seed) + of_vector

    def name_of(self, key: tuple[Any, ...]) -> Any:
        """A row's id as search results have it."""
        first = next(column for column in self.columns if column.role == "partition")
        return to_json(first.type, key[0])

    @property
    def migration(self) -> Migration:
        return get_migration(self.store, self.settings)

    @property
    def alias(self) -> Alias:
        return get_alias(self.store, "articles")

    def move(self, target: VectorTable, *, lease: Lease | None = None, reason: str = "by hand") -> Alias:
        """Move the alias, as a step does that a test leaves out."""
        migration = self.migration.id
        claim = claim_alias(self.store, "articles", migration)
        return move_alias(self.store, lease, claim, target, migration=migration, reason=reason)

    @property
    def moves(self) -> list[tuple[str, str]]:
        """The alias's history: why, and to which table."""
        return [(move["reason"], json.loads(move["target"])["table"]) for move in history(self.store, "articles")]

    def ranges(self, step: str = "load") -> list[RangeRecord]:
        return sorted(read_ranges(self.store, self.migration.id, step), key=lambda each: each.range)

    def carried(self, table: str) -> Contents:
        """The contents without vectors and digests: what must be the same in both tables."""
        made = ("embedding", DIGEST)
        return {key: {n: c for n, c in cells.items() if n not in made} for key, cells in self.read(table).items()}

    def assert_same(self, source: str = "articles", target: str = "articles_v2") -> None:
        """Both tables have the same rows, columns and write times, and the same TTLs within a second."""
        ours, theirs = self.carried(source), self.carried(target)
        assert theirs.keys() == ours.keys()
        for key, cells in ours.items():
            assert {n: c[:2] for n, c in theirs[key].items()} == {n: c[:2] for n, c in cells.items()}, key
            for name, (_, _, ttl) in cells.items():
                assert_ttl(theirs[key][name][2], ttl, (key, name))

    def assert_embedded(self, table: str, model: ModelRecord, *, only: Iterable[Any] | None = None) -> None:
        """Every row of a table has the model's vector of its present text, and the digest that says so."""
        contents = self.read(table)
        chosen = {key: cells for key, cells in contents.items() if only is None or key in only}
        texts = {key: self.text(key, cells) for key, cells in chosen.items()}
        told = {key: text for key, text in texts.items() if text is not None}
        if told:
            stored = np.array([chosen[key]["embedding"][0] for key in told], np.float32)
            np.testing.assert_allclose(stored, self.vectors(model, list(told.values())), atol=2e-3)
        for key, text in texts.items():
            if text is None:
                assert "embedding" not in chosen[key], key
            if any(column.name == DIGEST for column in self.store.describe(table).columns):
                vector = chosen[key].get("embedding", (None,))[0]
                assert chosen[key][DIGEST][0] == self.digest(model.fingerprint, text, vector), key

    def vectors(self, model: ModelRecord, texts: list[str]) -> np.ndarray:
        return self.encode(model.name, texts, prompt=model.document_prompt, truncate_dim=model.truncate_dim)

    def embedded(self, model: ModelRecord, *rows: Row) -> list[Row]:
        """The rows with vector and digest, as an application writes them that knows the model; whole texts only."""
        keys = [column.name for column in self.columns if column.role in ("partition", "clustering")]
        complete = []
        for row in rows:
            text = self.text(tuple(row[name] for name in keys), {n: c for n, c in row.items() if n not in keys})
            moment = max(cell[1] for name, cell in row.items() if name not in keys)
            vector = None if text is None else self.vectors(model, [text])[0].tolist()
            made = {"embedding": (vector, moment if vector else None)}
            if self.digests:
                made[DIGEST] = (self.digest(model.fingerprint, text, vector), moment)
            complete.append({**row, **made})
        return complete

    def embed_present(self, table: str, model: ModelRecord, *keys: Row) -> None:
        """Give rows the vector of their present text, as an application does that embeds what it has written."""
        contents = self.read(table)
        for key in keys:
            found = contents[tuple(key.values())]
            parts = {name: (cell[0], now_us()) for name, cell in found.items() if name not in ("embedding", DIGEST)}
            made = self.embedded(model, key | parts)[0]
            self.write(table, key | {name: made[name] for name in ("embedding", DIGEST) if name in made})

    def assert_migrated(self) -> None:
        """The target is a faithful copy of the source, with the new model's vectors."""
        self.assert_same()
        self.assert_embedded("articles_v2", self.migration.target.model)

    def close(self) -> None:
        self.store.close()


def assert_ttl(found: int | None, expected: int | None, where: Any) -> None:
    assert (found is None) == (expected is None), where
    if found is not None and expected is not None:
        assert abs(found - expected) <= 1, where


def merged(tree: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A tree of settings with some replaced, key by key."""
    result = dict(tree)
    for key, value in changes.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return result


def batch_of(table: Table, rows: Sequence[Row]) -> pa.RecordBatch:
    """Rows of like columns as ``Store.write`` takes them."""
    fields: dict[str, pa.Array] = {}
    for column in table.columns:
        if column in table.keys:
            fields[column.name] = pa.array([row[column.name] for row in rows], arrow_type(column.type))
        elif column.name in rows[0]:
            cells = [(*row[column.name], None)[:3] for row in rows]
            fields[column.name] = pa.array([value for value, _, _ in cells], arrow_type(column.type))
            fields[write_time(column.name)] = pa.array([moment for _, moment, _ in cells], pa.int64())
            fields[remaining_ttl(column.name)] = pa.array([ttl for _, _, ttl in cells], pa.int32())
    return pa.RecordBatch.from_pydict(fields)


def some_articles(count: int, at_us: int | None = None) -> list[Row]:
    """Real articles, each column written a little later than the one before, every article at its own time."""
    base = at_us or now_us() - HOUR_US
    return [
        {
            "id": f"a{number:03}",
            "title": (article["title"], base + number * 10),
            "content": (article["content"], base + number * 10 + 1),
        }
        for number, article in zip(range(count), articles() * (1 + count // len(articles())), strict=False)
    ]
