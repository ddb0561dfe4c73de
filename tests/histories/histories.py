"""One history: a world, the truth about its tables, what applications do in it, and what an operator does."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from embedshift import Articles
from embedshift.catalog.actor import is_dead
from embedshift.catalog.alias import create_alias, get_alias, history
from embedshift.catalog.live_table import live_vector_table
from embedshift.catalog.migration import Migration, find_migration
from embedshift.catalog.setup import ensure_catalog
from embedshift.catalog.states import ENDED
from embedshift.catalog.tables import ALL
from embedshift.catalog.vector_table import VectorTable
from embedshift.errors import EmbedshiftError, NotFoundError
from embedshift.stores.model import Column
from tests.histories.faults import Fault, Killed, Tampered
from tests.histories.one_process import Clock, Context, one_process
from tests.histories.truth import CARRIED, TEXT, Cell, Row, Truth, differences
from tests.world import ARTICLE, DIGEST, Contents, World

COLUMNS = (*ARTICLE, Column("views", "int"))
HOUR_S = 3600
#: A clock that has no skew writes everything here, and clients ask for the alias each time.
SETTINGS: dict[str, dict[str, Any]] = {
    "load": {"ranges": 3, "precision": "float32", "task_rows": 2},
    "cutover": {"client_cache": "0s", "lease": "10m"},
    "sync": {"clock_skew": "0s"},
    "validation": {"max_age": "10000h", "probes": 4, "reembed_sample": 20},
}


def folder_in_memory() -> Path | None:
    """Every write waits for the disc; a file system in memory makes a history five times as quick."""
    shared = Path("/dev/shm")
    return shared if shared.is_dir() and shutil.disk_usage(shared).free > 256 * 1024 * 1024 else None


@cache
def vector_of(model: str, text: str) -> tuple[float, ...]:
    """The vector of a text, straight from the library."""
    network = load_network(model)
    return tuple(network.encode([text], normalize_embeddings=True, show_progress_bar=False)[0].tolist())


@cache
def load_network(model: str) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(model, device="cpu", local_files_only=True)


class History:
    """A world that is told what to do, step by step, and looked at after each of them."""

    def __init__(self, models: tuple[Path, Path], rows: dict[str, tuple[str, str]]) -> None:
        self.models = models
        self.clock = Clock()
        self.stack = ExitStack()
        folder = Path(tempfile.mkdtemp(prefix="embedshift-history-", dir=folder_in_memory()))
        self.stack.callback(shutil.rmtree, folder)
        self.dead: set[str] = set()
        self.twice: int | None = None
        self.spark = Context()
        self.struck = ""
        self.running: Tampered | None = None
        self.stack.enter_context(one_process(self.clock, lambda: self.running or self.store, self._context))
        self.stack.enter_context(
            mock.patch("embedshift.catalog.migration.is_dead", lambda owner: owner in self.dead or is_dead(owner))
        )
        self.stack.enter_context(mock.patch("embedshift.articles.keys.now_us", self._client_time))
        self.world = World(folder, models, columns=COLUMNS, **SETTINGS)
        self.store = self.world.store
        self.stack.callback(self.store.close)
        self.generation = 1
        self.tables = {"articles": Truth()}
        #: Keys that were written while a step ran.
        self.in_flight: set[str] = set()
        self.world.create_source()
        ensure_catalog(self.store)
        live = live_vector_table(self.world.settings, self.store, self.store.describe("articles"))
        create_alias(self.store, "articles", live)
        for key, (title, content) in rows.items():
            self.write("articles", key, {"title": title, "content": content, "views": 1})

    def close(self) -> None:
        self.stack.close()

    def _context(self) -> Context:
        self.spark = Context(self.twice)
        return self.spark

    def _client_time(self) -> int:
        self.client_us = self.clock.now_us()
        return self.client_us

    # Where things are.

    @property
    def live(self) -> VectorTable:
        return get_alias(self.store, "articles").target

    @property
    def migration(self) -> Migration | None:
        return find_migration(self.store, self.world.settings)

    @property
    def state(self) -> str:
        return self.migration.state if self.migration else "none"

    @property
    def source(self) -> str:
        return self.world.settings.source.table

    @property
    def target(self) -> str:
        # A target that follows one that was dropped has another name than the settings give it.
        found = find_migration(self.store, self.world.settings)
        return found.target.table if found else self.world.settings.target.table

    @property
    def others(self) -> list[str]:
        """The tables that clients write after the live one."""
        found = self.migration
        if found is None or found.state in ("preparing", "aborting", *ENDED):
            return []
        return [name for name in (self.source, self.target) if name != self.live.table and self.store.exists(name)]

    def truth(self, table: str) -> Truth:
        return self.tables.setdefault(table, Truth())

    def read(self, table: str) -> Contents:
        self.world.store = self.store
        return self.world.read(table) if self.store.exists(table) else {}

    # What applications do.

    def write(
        self,
        table: str,
        key: str,
        values: dict[str, Any],
        *,
        at_us: int | None = None,
        ttl_s: int | None = None,
        embeds: bool = True,
    ) -> None:
        """A write into one table, of an application that brings its own time; it embeds what it wrote, or does not."""
        truth, at_us = self.truth(table), at_us or self.clock.now_us()
        row = truth.row(key)
        before = row.text(self.clock.now_s)
        ends_s = None if ttl_s is None else self.clock.now_s + ttl_s
        self.world.store = self.store
        self.world.write(table, {"id": key, **{n: (v, at_us, None if v is None else ttl_s) for n, v in values.items()}})
        for name, value in values.items():
            row.put(name, Cell(value, at_us, None if value is None else ends_s))
        if row.text(self.clock.now_s) != before or row.made_us < 0:
            truth.stale.add(key)
        if embeds and row.has_text(self.clock.now_s):
            self.embed(table, key)

    def embed(self, table: str, key: str) -> None:
        """Give a row the vector of its present text; it lives as long as the text."""
        truth, vector_table = self.truth(table), self.vector_table(table)
        row, at_us, now_s = truth.row(key), self.clock.now_us(), self.clock.now_s
        text = self.text(row)
        ends = [cell.ends_s for name, cell in row.living(now_s).items() if name in TEXT]
        ttl = None if None in ends else max(end for end in ends if end is not None) - now_s
        vector = list(vector_of(vector_table.model.name, text))
        made: dict[str, Any] = {"embedding": (vector, at_us, ttl)}
        if vector_table.digests:
            made[DIGEST] = (self.world.digest(vector_table.model.fingerprint, text, vector), at_us, ttl)
        self.world.write(table, {"id": key, **made})
        row.make(at_us)
        truth.stale.discard(key)

    def delete(self, table: str, key: str, at_us: int | None = None) -> None:
        at_us = at_us or self.clock.now_us()
        self.world.store = self.store
        self.world.delete(table, {"id": key}, at_us=at_us)
        row = self.truth(table).row(key)
        before = row.text(self.clock.now_s)
        row.delete(at_us)
        if row.text(self.clock.now_s) != before:
            self.truth(table).stale.add(key)

    def put_article(self, key: str, values: dict[str, Any], *, existing: bool, lost: bool = False) -> None:
        """A client's write, into the live table and the second ones; ``lost``: the second one is not reached.

        ``values`` has a number for ``views``, whose write time tells that of the others.
        """
        live, others = self.live.table, self.others
        there = (key,) in self.read(live)
        store = _OtherTableLost(self.store, others) if lost else self.store
        client = Articles(self.world.settings, store)
        try:
            client.update(key, **values) if existing else client.add({"id": key, **values})
        except NotFoundError:
            assert existing
            assert not there
            return
        assert there or not existing
        # Nothing is newer than what was written just now.
        at_us = self.read(live)[(key,)]["views"][1]
        for table in [live, *others]:
            if table == live or not lost:
                self._known(table, key, values, at_us)

    def _known(self, table: str, key: str, values: dict[str, Any], at_us: int) -> None:
        row, truth = self.truth(table).row(key), self.truth(table)
        before = row.text(self.clock.now_s)
        for name, value in values.items():
            row.put(name, Cell(value, at_us))
        if row.text(self.clock.now_s) != before or (set(values) & set(TEXT) and table == self.live.table):
            row.make(at_us)
            truth.stale.discard(key)

    def delete_article(self, key: str, *, lost: bool = False) -> None:
        live, others = self.live.table, self.others
        there = (key,) in self.read(live)
        store = _OtherTableLost(self.store, others) if lost else self.store
        assert Articles(self.world.settings, store).delete(key) == there
        for table in [live, *others]:
            if table == live or not lost:
                self.truth(table).row(key).delete(self.client_us)

    # What an operator does.

    def step(self, name: str, fault: Fault | None = None, act: Callable[[], None] = lambda: None) -> Any:
        """Run a step under a fault. Returns its result, the error that it ended with, or the kill."""
        self.running = self.world.store = Tampered(self.store, fault, act, lambda: self.spark.in_task)
        try:
            # What an application wrote to the old table alone is of no matter here: no such table is judged.
            return self.world.step(name, **({"discard": True} if name == "retire" else {}))
        except (EmbedshiftError, Killed) as error:
            return error
        finally:
            run, self.running, self.world.store = self.running, None, self.store
            if run.killed and self.migration:
                self.dead.add(self.migration.owner)
            self.struck = run.struck
            if run.struck and self.migration and self.migration.owner not in ("", *self.dead):
                # The store did not answer when the run gave its lease back: it runs out.
                self.pass_by(int(self.world.settings.cutover.lease.total_seconds()) + 1)

    def pass_by(self, seconds: int) -> None:
        """Time goes by: what expires is gone, and vectors of what is left of a text are stale."""
        before = {table: truth.texts(self.clock.now_s) for table, truth in self.tables.items()}
        self.clock.pass_by(seconds)
        for table, texts in before.items():
            after = self.tables[table].texts(self.clock.now_s)
            self.tables[table].stale |= {key for key in texts if texts[key] != after[key]}

    def next_generation(self) -> None:
        """What was the target is the source of the next migration, back to the other model."""
        self.generation += 1
        source, target = self.target, f"articles_v{self.generation + 1}"
        old, new = self.models[(self.generation - 1) % 2], self.models[self.generation % 2]
        self.world.with_settings(
            source={"table": source, "model": {"name": str(old)}},
            target={"table": target, "model": {"name": str(new)}},
        )

    # What must hold.

    def vector_table(self, table: str) -> VectorTable:
        if self.live.table == table:
            return self.live
        found = self.migration
        assert found is not None
        return found.source if found.source.table == table else found.target

    def text(self, row: Row) -> str:
        title, content = (value or "" for value in row.text(self.clock.now_s))
        return f"{title}. {content}"

    def check_cells(self, table: str, but: set[str] | None = None) -> None:
        """The carried cells of a table are exactly those that must be there."""
        truth, found = self.truth(table), self.read(table)
        keys = {*truth.rows, *(key for (key,) in found)} - (but or set())
        wrong = differences(found, truth, self.clock.now_s, keys)
        assert not wrong, f"{table}: {'; '.join(wrong)}"
        for key in keys:
            row = truth.row(key)
            gone = 0 <= row.newest_us <= row.deleted_us
            assert not (gone and (key,) in found), f"{table}: {key} was deleted and is there: {found[(key,)]}"

    def check_vectors(self, table: str, but: set[str] | None = None) -> None:
        """Every vector is that of its row's present text, by the table's model, and so is the digest."""
        vector_table, truth = self.vector_table(table), self.truth(table)
        for (key,), cells in self.read(table).items():
            if key in truth.stale or key in (but or ()):
                continue
            row = truth.row(key)
            if row.has_text(self.clock.now_s):
                text: str | None = self.text(row)
                assert "embedding" in cells, f"{table}: {key} has no vector"
                computed = np.array(vector_of(vector_table.model.name, str(text)), np.float32)
                np.testing.assert_allclose(cells["embedding"][0], computed, atol=2e-3, err_msg=f"{table}: {key}")
            else:
                text = None
                assert "embedding" not in cells, f"{table}: {key} has a vector and no text"
            if vector_table.digests and (text is not None or DIGEST in cells):
                vector = cells.get("embedding", (None,))[0]
                wanted = self.world.digest(vector_table.model.fingerprint, text, vector)
                assert cells[DIGEST][0] == wanted, f"{table}: {key}"

    def check_alias(self) -> None:
        """Table, index and model of the alias belong together, and its history leads to it."""
        alias = get_alias(self.store, "articles")
        vector_table = alias.target
        assert self.store.exists(vector_table.table)
        column = self.store.describe(vector_table.table).column(vector_table.vector)
        assert column is not None
        assert column.type == f"vector<float, {vector_table.model.dimension}>"
        number = (
            1 if vector_table.table == "articles" else int(vector_table.table.rpartition("_v")[2].partition("_")[0])
        )
        assert vector_table.model.name == str(self.models[(number - 1) % 2])
        assert vector_table.index.table == vector_table.table
        assert self.store.index_state(vector_table.index).status == "serving"
        moves = history(self.store, "articles")
        assert [move["version"] for move in moves] == sorted({move["version"] for move in moves})
        # A run that is killed between the move and its note leaves the move out of the history.
        if moves[-1]["version"] == alias.version:
            assert json.loads(moves[-1]["target"])["table"] == vector_table.table

    def check_search(self) -> None:
        """A search for the text of a row finds that text first, with the model of the live table."""
        live = self.live
        truth = self.truth(live.table)
        found = self.read(live.table)
        told = {
            key: row for key, row in truth.rows.items() if row.has_text(self.clock.now_s) and key not in truth.stale
        }
        client = Articles(self.world.settings, self.store)
        for key, row in list(told.items())[:2]:
            text = self.text(row)
            assert (key,) in found
            first = client.search(text, 3)[0]
            assert round(first.score, 3) == 1.0, f"{live.table}: {key} is not found by its text: {first}"

    def remains(self) -> Any:
        """Everything that is written down, to see that nothing has changed.

        But for who holds lease and claim, and for what runs say that they are doing, which is for people's eyes.
        """
        rows: dict[str, Any] = {}
        for table in ALL:
            with suppress(EmbedshiftError):
                held = ("owner", "owned_since_us", "lease_until_us", "claim", "claimed_for", "claimed_by")
                rows[table.name] = [
                    {name: value for name, value in row.items() if name not in held}
                    for row in self.store.records.select(table, {})
                    if not str(row.get("name", "")).startswith("activity/")
                ]
        contents = {
            (table, key): {name: cell[:2] for name, cell in cells.items()}
            for table in (self.source, self.target)
            for key, cells in self.read(table).items()
        }
        return rows, contents

    def adopt(self, table: str, other: str) -> None:
        """Take a table as a step has left it that did not end.

        Whatever is in it was written by somebody, and what is gone from it is not in the other table either.
        """
        truth, found = self.truth(table), self.read(table)
        written = {
            (key, name, cell.value, cell.at_us)
            for each in self.tables.values()
            for key, row in each.rows.items()
            for name, cell in row.cells.items()
        }
        for key in {*truth.rows, *(key for (key,) in found)}:
            row, beside = truth.row(key), self.truth(other).row(key).living(self.clock.now_s)
            cells = found.get((key,), {})
            for name in CARRIED:
                if name in cells:
                    value, at_us, left_s = cells[name]
                    assert (key, name, value, at_us) in written or key in self.in_flight, f"{table}: {key}.{name}"
                    row.cells[name] = Cell(value, at_us, None if left_s is None else self.clock.now_s + left_s)
                elif (present := row.cells.get(name)) and present.lives(self.clock.now_s):
                    assert name not in beside or key in self.in_flight, f"{table}: {key} has lost {name}"
                    row.cells[name] = Cell(None, present.at_us)
            if (key,) not in found:
                row.delete(max([row.made_us, *(cell.at_us for cell in row.cells.values())]))
            made = [cells[name][1] for name in ("embedding", DIGEST) if name in cells]
            if made:
                row.make(max(made))


class _OtherTableLost:
    """A client's store whose other table does not answer."""

    def __init__(self, inner: Any, lost: list[str]) -> None:
        self._inner = inner
        self._lost = lost

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._inner, name)
        if name not in ("write", "delete"):
            return function

        def call(table: Any, *arguments: Any) -> Any:
            if table.name in self._lost:
                from embedshift.errors import StoreUnavailable

                raise StoreUnavailable(f"{table.name} does not answer")
            return function(table, *arguments)

        return call
