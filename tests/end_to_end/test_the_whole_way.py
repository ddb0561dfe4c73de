"""Migrations as tables: what is there before, what an application writes meanwhile, what must hold after each step.

Every case goes the whole way: prepare, load, index, sync, validate, cutover, rollback, the same again, retire. A case
is a class; its ``after_…`` functions are the columns of the table. Defends invariants 1, 2, 3, 6 and 7.
"""

from __future__ import annotations

import json
import uuid
from typing import Any, ClassVar

import numpy as np
import pytest

from embedshift.articles.search import search
from embedshift.errors import SchemaError, StateError
from embedshift.stores.model import Column
from tests.small_models import articles
from tests.world import ARTICLE, DIGEST, HOUR_US, Row, World, now_us

DAY_S = 86_400


class Articles:
    """The usual case: an id, two columns of text, and columns of every type beside them, some cells with a TTL."""

    columns: tuple[Column, ...] = (
        *ARTICLE,
        Column("views", "int"),
        Column("price", "double"),
        Column("listed", "boolean"),
        Column("seen", "timestamp"),
        Column("picture", "blob"),
        Column("author", "uuid"),
    )
    options: ClassVar[dict[str, Any]] = {}
    copies_vectors = False
    rows = 64

    def key(self, number: int) -> Row:
        return {"id": f"a{number:03}"}

    def article(self, number: int, at_us: int) -> Row:
        """One article: each column at its own time, some cells null, some with a TTL, now and then without a text."""
        chosen = articles()[number % len(articles())]
        row = self.key(number) | {
            "title": (chosen["title"], at_us),
            "content": (chosen["content"], at_us + 1, DAY_S if number % 5 == 0 else None),
            "views": (number - 30, at_us + 5, 3 * DAY_S if number % 3 == 0 else None),
            "price": (number / 7, at_us + 2),
            "listed": (number % 2 == 0, at_us + 3),
            "seen": (1_700_000_000_000 + number, at_us + 4),
            "picture": (bytes([number % 256] * 3), at_us + 6),
            "author": (uuid.uuid5(uuid.NAMESPACE_DNS, str(number)).bytes, at_us + 7),
        }
        if number % 7 == 0:
            del row["price"], row["views"]
        if number % 11 == 0:
            del row["title"]
        if number % 13 == 0:
            row["content"] = ("  ", at_us + 1)
            row.pop("title", None)
        return row

    def text(self, number: int, text: str, at_us: int) -> Row:
        """Another text for one article: one of its two columns is written again."""
        return self.key(number) | {"content": (text, at_us)}

    def other(self, number: int, at_us: int) -> Row:
        """Another value in a column that is not embedded."""
        return self.key(number) | {"views": (1_000_000, at_us, DAY_S)}

    def erased(self, number: int, at_us: int) -> Row:
        return self.key(number) | {"author": (None, at_us)}

    # What an application writes.

    def before(self, world: World) -> None:
        base = now_us() - HOUR_US
        rows = [self.article(number, base + 100 * number) for number in range(self.rows)]
        world.create_source(world.embedded(world.old_model(), *rows))
        world.delete("articles", self.key(1), at_us=base + HOUR_US // 2)

    def during_load(self, world: World) -> None:
        now = now_us()
        world.write("articles", self.text(2, "changed before the load", now), self.other(3, now), self.erased(4, now))
        world.delete("articles", self.key(5))
        # An application that writes to both tables is ahead of the pipeline; another has deleted what is yet to come.
        newer = self.article(6, now)
        world.write("articles", newer)
        world.write("articles_v2", newer)
        world.delete("articles_v2", self.key(8))
        world.delete("articles", self.key(8))

    def before_sync(self, world: World) -> None:
        now = now_us()
        world.write("articles", self.article(self.rows + 1, now), self.text(9, "changed after the load", now))
        world.write("articles", self.other(10, now), self.erased(12, now))
        world.delete("articles", self.key(15))
        # Deleted and inserted again.
        world.delete("articles", self.key(16))
        world.write("articles", self.article(16, now_us()))

    def after_the_switch(self, world: World) -> None:
        now = now_us()
        world.write("articles_v2", *world.embedded(world.migration.target.model, self.article(self.rows + 2, now)))
        world.write("articles_v2", self.text(17, "changed after the cutover", now), self.other(18, now))
        world.write("articles_v2", self.erased(19, now))
        world.delete("articles_v2", self.key(20), self.key(self.rows + 1))
        # A client that does not know of the cutover yet embeds with the model of the table that it knows.
        late = self.article(21, now) | self.text(21, "changed by a late client", now)
        world.write("articles", *world.embedded(world.migration.source.model, late))

    def after_the_way_back(self, world: World) -> None:
        world.write("articles", self.text(22, "changed after the rollback", now_us()))
        world.delete("articles", self.key(23))

    # What must hold then.

    def after_prepare(self, world: World) -> None:
        source, target = (world.store.describe(name) for name in ("articles", "articles_v2"))
        kept = [column for column in source.columns if column.name not in ("embedding", DIGEST)]
        assert [column for column in target.columns if column.name not in ("embedding", DIGEST)] == kept
        dimension = world.migration.target.model.dimension
        assert target.column("embedding") == Column("embedding", f"vector<float, {dimension}>")
        assert target.column(DIGEST) == Column(DIGEST, "blob")
        assert world.read("articles_v2") == {}
        assert world.migration.state == "prepared"
        assert world.migration.copies_vectors == self.copies_vectors
        assert world.moves == [("created", "articles")]

    def after_load(self, world: World) -> None:
        world.assert_migrated()
        assert world.migration.state == "loaded"
        assert {(each.state, each.attempts) for each in world.ranges()} == {("done", 1)}
        assert sum(each.counts.read for each in world.ranges()) == len(world.read("articles"))
        gone = tuple(self.key(8).values())
        assert gone not in world.read("articles_v2")

    def after_index(self, world: World) -> None:
        state = world.store.index_state(world.migration.target.index)
        vectors = sum("embedding" in cells for cells in world.read("articles_v2").values())
        assert (state.status, state.rows) == ("serving", vectors)

    def after_sync(self, world: World) -> None:
        world.assert_migrated()
        index = world.store.index_state(world.migration.target.index)
        assert world.migration.state == ("caught_up" if index.status == "absent" else "synced")
        assert world.alias.target.table == "articles"
        assert list(world.ranges("sync/1")) == []

    def after_validate(self, world: World) -> None:
        report = json.loads((world.folder / "validation.json").read_text())
        assert report["passed"], [check for check in report["checks"] if not check["passed"]]
        assert world.migration.state == "validated"

    def after_cutover(self, world: World) -> None:
        assert world.migration.state == "switched"
        assert world.alias.target == world.migration.target
        assert world.alias.previous == world.migration.source
        assert world.moves[-1] == ("cutover", "articles_v2")
        world.assert_migrated()
        self.assert_found(world, 30)

    def after_rollback(self, world: World) -> None:
        assert world.migration.state == "rolled_back"
        assert world.alias.target == world.migration.source
        assert world.moves[-1] == ("rollback", "articles")
        # Nothing written since the switch is lost, whichever table it was written to.
        source = world.carried("articles")
        assert tuple(self.key(self.rows + 2).values()) in source
        assert source[tuple(self.key(17).values())]["content"][0] == "changed after the cutover"
        assert source[tuple(self.key(18).values())]["views"][0] == 1_000_000
        assert "author" not in source[tuple(self.key(19).values())]
        assert tuple(self.key(20).values()) not in source
        assert source[tuple(self.key(21).values())]["content"][0] == "changed by a late client"
        world.assert_embedded("articles", world.migration.source.model)
        self.assert_found(world, 30)

    def after_retire(self, world: World) -> None:
        assert world.migration.state == "retired"
        assert not world.store.exists("articles")
        assert world.store.index_state(world.migration.source.index).status == "absent"
        assert world.alias.target.table == "articles_v2"
        assert [reason for reason, _ in world.moves] == ["created", "cutover", "rollback", "cutover"]
        world.assert_embedded("articles_v2", world.migration.target.model)
        self.assert_found(world, 31)

    def assert_found(self, world: World, number: int) -> None:
        """Asked for its own text, the alias finds an article, with the model that the alias names."""
        key = tuple(self.key(number).values())
        question = world.text(key, world.read(world.alias.target.table)[key])
        hits = search(world.store, world.alias, question or "", 3)
        assert str(hits[0].id) == str(world.name_of(key))


class Parts(Articles):
    """Articles in parts: a uuid as partition key, a falling clustering column, a template that names a key column."""

    columns = (
        Column("book", "uuid", "partition"),
        Column("part", "int", "clustering", descending=True),
        *Articles.columns[1:],
    )
    options: ClassVar = {"text": "{part} {title}: {content}"}

    def key(self, number: int) -> Row:
        return {"book": uuid.uuid5(uuid.NAMESPACE_URL, str(number // 6)).bytes, "part": number % 6 - 2}


class WithoutDigests(Articles):
    """A table that others have made: no digests, and the new model wants a prompt before every document.

    Without digests nobody can tell a vector of a former text: the application of such a table embeds what it writes.
    """

    options: ClassVar = {"digests": False, "target": {"model": {"document_prompt": "river ", "query_prompt": "river "}}}

    def during_load(self, world: World) -> None:
        super().during_load(world)
        world.embed_present("articles", world.migration.source.model, self.key(2), self.key(6))

    def before_sync(self, world: World) -> None:
        super().before_sync(world)
        numbers = (self.rows + 1, 9, 16)
        world.embed_present("articles", world.migration.source.model, *(self.key(number) for number in numbers))


class OtherIndex(Articles):
    """The same model with other index options: vectors are copied, not computed."""

    copies_vectors = True
    options: ClassVar = {"target": {"index": {"metric": "dot_product", "connections": 8, "quantization": "f16"}}}

    def before(self, world: World) -> None:
        super().before(world)
        # A vector that no model makes: one step of float32 beside the right one, so that a copy can be told.
        rows = world.read("articles")
        moved = {
            key: np.nextafter(np.array(cells["embedding"][0], np.float32), np.float32(2)).tolist()
            for key, cells in rows.items()
            if "embedding" in cells
        }
        model = world.old_model().fingerprint
        for key, vector in moved.items():
            at_us, digest = rows[key]["embedding"][1] + 8, world.digest(model, world.text(key, rows[key]), vector)
            world.write("articles", {"id": key[0], "embedding": (vector, at_us), DIGEST: (digest, at_us)})

    def after_load(self, world: World) -> None:
        super().after_load(world)
        ours, theirs = world.read("articles"), world.read("articles_v2")
        changed = {tuple(self.key(number).values()) for number in (2, 6)}
        copied = [key for key, cells in ours.items() if "embedding" in cells and key not in changed]
        assert len(copied) > self.rows // 2
        assert all(theirs[key]["embedding"][0] == ours[key]["embedding"][0] for key in copied)

    def after_index(self, world: World) -> None:
        super().after_index(world)
        assert world.migration.target.index_options.connections == 8


STEPS = (
    ("prepare", "during_load"),
    ("load", "before_sync"),
    ("sync", ""),
    ("index", ""),
    ("sync", ""),
    ("validate", ""),
    ("cutover", "after_the_switch"),
    ("rollback", "after_the_way_back"),
    ("sync", ""),
    ("validate", ""),
    ("cutover", ""),
    ("retire", ""),
)


@pytest.mark.parametrize("kind", [Articles, Parts, WithoutDigests, OtherIndex], ids=lambda kind: kind.__name__)
def test_the_whole_way(kind, new_world, old_model, new_model, spark):
    case = kind()
    models = (old_model, None if case.copies_vectors else new_model)
    world = new_world(models, columns=case.columns, **case.options)
    case.before(world)
    for step, writes in STEPS:
        world.step(step)
        getattr(case, f"after_{step}")(world)
        if writes:
            getattr(case, writes)(world)
    with pytest.raises(StateError, match="rollback may not run"):
        world.step("rollback")
    with pytest.raises(SchemaError):
        world.store.describe("articles")
