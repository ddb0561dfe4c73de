"""Random histories, judged by acknowledged operations alone: what was written is there, what was deleted is not.

Nothing here knows how a step compares tables. An operation has a key, a time, and the table in which it was
acknowledged; the later of two wins. An operation that raised an error may have happened or not.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from unittest import mock

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from embedshift import Articles
from embedshift.catalog.actor import is_dead
from embedshift.catalog.alias import Alias, create_alias, get_alias
from embedshift.catalog.live_table import live_vector_table
from embedshift.catalog.migration import find_migration, migrations
from embedshift.catalog.setup import ensure_catalog
from embedshift.catalog.states import ALLOWED, NEXT
from embedshift.catalog.tables import ALIAS, LEDGER
from embedshift.errors import EmbedshiftError
from embedshift.settings import Settings, parse_settings
from embedshift.stores.model import Column
from tests.histories.faults import Fault, Forbidden, Killed, Tampered
from tests.histories.log_fed import LogFedStore
from tests.histories.one_process import Clock, Context, one_process
from tests.small_models import POISON
from tests.world import ARTICLE, DIGEST, World, merged

INACTIVE = "deactivated_at"
COLUMNS = (*ARTICLE, Column("views", "int"), Column(INACTIVE, "timestamp"))
OWN = tuple(column.name for column in COLUMNS if column.name != "id")
TEXT = ("title", "content")
CACHE_S, LEASE_S, SKEW_S = 4, 30, 2
SETTINGS: dict[str, Any] = {
    "load": {"ranges": 2, "precision": "float32"},
    "cutover": {"client_cache": f"{CACHE_S}s", "lease": f"{LEASE_S}s"},
    "sync": {"clock_skew": f"{SKEW_S}s"},
    "validation": {"max_age": "10000h", "probes": 2, "reembed_sample": 5, "latency_searches": 0},
}
KEYS = ("a", "b", "c", "d")
WORDS = ("bread", "stone", "river", "cloud")
#: A row as readers see it: its own columns in their order; inactive or not.
Row = tuple[Any, ...]
Possible = frozenset[Row | None]


# What is known.


@dataclass
class Operation:
    """What one application did to one row: it wrote ``values``, or deleted the row (None).

    ``home`` is the table in which it was acknowledged. ``settled``: it is part of the truth, wherever the alias points.
    ``stray``: its writer still used a table from which a switch had led away, after that switch was complete.
    ``blind``: it deleted what its table did not have, and what only such writers know of: it counts there alone.
    """

    key: str
    at_us: int
    values: dict[str, Any] | None
    home: str
    acknowledged: bool = True
    stray: bool = False
    blind: bool = False
    settled: bool = False

    def has(self, word: str) -> bool:
        """Whether its text has a word."""
        return bool(word) and any(word in str((self.values or {}).get(name)) for name in TEXT)

    def on(self, row: Row | None) -> Row | None:
        """The row after it."""
        if self.values is None:
            return None
        cells = {**dict(zip(OWN, row or (None,) * len(OWN), strict=True)), **self.values}
        return tuple(cells[name] for name in OWN) if any(cells[name] is not None for name in OWN) else None


class Acknowledged:
    """Every operation of a history."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []

    def possible(self, key: str, live: str, unfit: str = "") -> Possible:
        """What a row may look like now, None for a row that is not there.

        Args:
            key: of the row.
            live: the live table.
            unfit: a word; what has it, and was written to another table, need not have come to the live one.
        """
        rows: set[Row | None] = {None}
        operations = sorted((each for each in self.operations if each.key == key), key=lambda each: each.at_us)
        for each in operations:
            if each.blind and each.home != live:
                continue
            after = {each.on(row) for row in rows}
            certain = each.acknowledged and (each.home == live or (each.settled and not each.has(unfit)))
            rows = after if certain else rows | after
        return frozenset(rows)

    def settle(self, live: str, there: Callable[[str], bool]) -> None:
        """No move of the alias is under way: what it had to carry is carried, and what is in its table is the truth.

        Args:
            live: the live table.
            there: whether a table exists. What was written to one that does not must have been carried before.
        """
        for each in self.operations:
            carried = not each.stray or (each.values is not None and not there(each.home))
            each.settled = each.settled or each.home == live or carried


# What is done.


@dataclass(frozen=True)
class Action:
    """What an application does.

    ``by``: ``client`` or ``other client`` of the alias; ``plain``, a writer that is told which table is live;
    ``stale``, one that was told so before the last switch; ``stray``, one that was never told of that switch.
    ``what``: ``add``, ``update``, ``delete``, ``deactivate``, ``restore``, ``refresh``.
    """

    by: str
    what: str
    key: str
    columns: tuple[str, ...]
    word: str
    pause_s: int


@dataclass(frozen=True)
class Order:
    """What an operator does: a step of the newest migration, or of one of those before it.

    ``next`` is the usual step, and ``back`` the rollback of the newest migration that has one, if any.
    """

    step: str
    older: int = 0


#: A function is something that nobody should do.
Deed = Action | Order | Callable[["Place"], None]


@cache
def load_network(model: str) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(model, device="cpu", local_files_only=True)


@cache
def vector_of(model: str, text: str) -> np.ndarray:
    """The vector of a text, straight from the library."""
    vector: np.ndarray = load_network(model).encode([text], normalize_embeddings=True, show_progress_bar=False)[0]
    return vector


@cache
def is_poisoned(model: str) -> bool:
    """Whether there is a word that a model cannot embed."""
    return not np.isfinite(load_network(model).encode([POISON], show_progress_bar=False)).all()


class Door:
    """A store that can be tampered with while somebody holds it."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


@dataclass
class Waiting:
    """What happens while a step waits."""

    clock: Clock
    deeds: list[Callable[[], None]] = field(default_factory=list)

    def wait(self, seconds: float) -> None:
        until_ns = self.clock.time_ns() + int(seconds * 1e9)
        deeds, self.deeds = self.deeds, []
        for deed in deeds:
            deed()
        while (left_ns := until_ns - self.clock.time_ns()) > 0:
            self.clock.pass_by(max(1, left_ns // 1_000_000_000))


class Place:
    """A world with two clients, writers that know no alias, and operators."""

    def __init__(
        self, models: tuple[Path, Path], stats: Counter[str], *, log_fed: bool = False, **settings: dict[str, Any]
    ) -> None:
        self.stats, self.clock, self.known = stats, Clock(), Acknowledged()
        self.stack = ExitStack()
        shared = Path("/dev/shm")
        folder = Path(tempfile.mkdtemp(prefix="embedshift-history-", dir=shared if shared.is_dir() else None))
        self.stack.callback(shutil.rmtree, folder)
        self.dead: set[str] = set()
        self.running: Tampered | None = None
        self.spark = Context()
        self.waiting = Waiting(self.clock)
        self.stack.enter_context(one_process(self.clock, lambda: self.running or self.store, self._context))
        waits = SimpleNamespace(Event=lambda: self.waiting)
        for step in ("sync", "cutover", "rollback", "abort", "retire"):
            self.stack.enter_context(mock.patch(f"embedshift.steps.{step}.threading", waits))
        monotonic = SimpleNamespace(monotonic=self.clock.time)
        for module in ("articles.routing", "steps.sync"):
            self.stack.enter_context(mock.patch(f"embedshift.{module}.time", monotonic))
        self.stack.enter_context(
            mock.patch("embedshift.catalog.migration.is_dead", lambda owner: owner in self.dead or is_dead(owner))
        )
        self.stack.enter_context(mock.patch("embedshift.articles.keys.now_us", self._client_time))
        self.client_times: list[int] = []
        self.models = models
        self.world = World(folder, models, columns=COLUMNS, **merged(SETTINGS, settings))
        self.stack.callback(self.world.store.close)
        if log_fed:
            self.world.store = LogFedStore(self.world.store, self.clock.now_us)  # type: ignore[assignment]
        self.log_fed = log_fed
        self.store = self.world.store
        self.world.create_source()
        ensure_catalog(self.store)
        live = live_vector_table(self.world.settings, self.store, self.store.describe("articles"))
        create_alias(self.store, "articles", live)
        self.prepared: list[Settings] = []
        self.doors = {name: Door(self.store) for name in ("client", "other client")}
        self.clients = {name: Articles(self.world.settings, door) for name, door in self.doors.items()}
        #: Rows of a table whose text was written without its vector, by table.
        self.unfit: dict[str, set[str]] = {}
        #: Clients that may not write the ledger.
        self.without_ledger: set[str] = set()
        self.number = 0
        self.struck = ""
        #: What a table of somebody else must have, by its name.
        self.foreign: dict[str, Any] = {}

    def close(self) -> None:
        self.stack.close()

    def _context(self) -> Context:
        self.spark = Context()
        return self.spark

    def _client_time(self) -> int:
        self.client_times.append(self.clock.now_us())
        return self.client_times[-1]

    # Where things are.

    @property
    def alias(self) -> Alias:
        return get_alias(self.store, "articles")

    @property
    def live(self) -> str:
        return self.alias.target.table

    @property
    def state(self) -> str:
        """Of the newest migration."""
        found = find_migration(self.store, self.prepared[-1]) if self.prepared else None
        return found.state if found else "none"

    def move_complete(self) -> bool:
        """Whether the step that moved the alias last has said that it is done."""
        alias = self.alias
        by = [each.state for each in migrations(self.store, "articles") if each.id == alias.migration]
        return not by or by[0] not in ("switching", "rolling_back")

    def left_behind(self) -> tuple[str, bool]:
        """The table that the last switch led away from, and whether a writer may still not know of it."""
        alias = self.alias
        if alias.previous is None or not self.store.exists(alias.previous.table):
            return "", False
        recent = self.clock.now_us() - alias.moved_us < CACHE_S * 1_000_000
        return alias.previous.table, recent

    # What applications do.

    def act(self, action: Action, fault: Fault | None = None, during: Sequence[Deed] = ()) -> None:
        self.clock.pass_by(action.pause_s)
        if action.by in self.clients:
            self._through_the_alias(action, fault, during)
            return
        table, stray = self.live, False
        if action.by in ("stale", "stray"):
            left, recent = self.left_behind()
            if left and recent:
                table = left
            elif left and action.by == "stray" and self._is_way_back(left):
                table, stray = left, True
        self._directly(action, table, stray=stray)

    def _is_way_back(self, table: str) -> bool:
        states = [each.state for each in migrations(self.store, "articles") if each.source.table == table]
        return states[-1:] == ["switched"]

    def values(self, action: Action) -> dict[str, Any]:
        self.number += 1
        made: dict[str, Any] = {"title": f"{action.word} {self.number}", "content": f"{action.word}, {self.number}"}
        made |= {"views": self.number}
        if action.what == "add":
            # A row without a title is a row, too.
            return {**made, "title": made["title"] if "title" in action.columns else None}
        return {name: made[name] for name in action.columns}

    def _directly(self, action: Action, table: str, *, stray: bool) -> None:
        at_us = self.clock.now_us()
        values: dict[str, Any] | None = None
        blind = action.what == "delete" and self._knows_nothing_of(action.key, table)
        if action.what == "delete":
            self.world.delete(table, {"id": action.key}, at_us=at_us)
        elif action.what in ("add", "update"):
            values = self.values(action)
            self.world.write(table, {"id": action.key, **{name: (value, at_us) for name, value in values.items()}})
            self.unfit.setdefault(table, set()).add(action.key)
        else:
            return
        kind = "stray" if stray else "stale" if table != self.live else "plain"
        self.stats[f"{kind}: {action.what}"] += 1
        certain = values is not None or blind or not self.excused(action.key, table)
        self.note(Operation(action.key, at_us, values, table, acknowledged=certain, stray=stray, blind=blind))

    def _knows_nothing_of(self, key: str, table: str) -> bool:
        """Whether a row of that key is not in the live table, and has only been written by strays."""
        known = [each for each in self.known.operations if each.key == key]
        return (
            bool(known)
            and table == self.live
            and all(each.stray for each in known)
            and ((key,) not in self.world.read(table))
        )

    def excused(self, key: str, table: str) -> bool:
        """Whether a row that is deleted directly in one table may stay in the other.

        Always: what was written since the switch, less the allowance for skewed clocks, and then deleted by a writer
        that still uses the old table: no scan of the old table tells that from a new article which that table lacks.
        And what a writer that does not know of the switch left in the old table, if it was deleted in the new one,
        which has never had it: it is still in its own table, and there again if the alias returns.
        """
        alias = self.alias
        since_us = alias.moved_us - (SKEW_S + 1) * 1_000_000
        young = [each for each in self.known.operations if each.key == key and each.at_us >= since_us]
        if table != alias.target.table or any(each.stray for each in young):
            return bool(young)
        late = any(each.home != table for each in young)
        return not self.move_complete() and late

    def note(self, operation: Operation) -> None:
        """Remember an operation."""
        self.known.operations.append(operation)

    def _through_the_alias(self, action: Action, fault: Fault | None, during: Sequence[Deed]) -> None:
        client, door, key = self.clients[action.by], self.doors[action.by], action.key
        values: dict[str, Any] | None = None
        before = len(self.known.operations)
        # Another client may act while this one sleeps: its times are its own.
        outer, self.client_times = self.client_times, []
        store = Forbidden(self.store, LEDGER.name) if action.by in self.without_ledger else self.store
        door.inner = Tampered(store, fault, lambda: self.do_all(during))
        error: EmbedshiftError | None = None
        try:
            if action.what == "delete":
                client.delete(key)
            elif action.what == "add":
                values = self.values(action)
                client.add({"id": key, **values})
            elif action.what == "update":
                values = self.values(action)
                client.update(key, **values)
            elif action.what == "deactivate":
                values = {INACTIVE: True}
                client.deactivate(key)
            elif action.what == "restore":
                values = {INACTIVE: None}
                client.restore(key)
            else:
                client.refresh([key])
        except EmbedshiftError as caught:
            error = caught
        finally:
            door.inner = self.store
            times, self.client_times = self.client_times, outer
        outcome = "acknowledged" if error is None else type(error).__name__
        self.stats[f"client: {action.what} {outcome}"] += 1
        if action.what == "refresh" or not times:
            return
        home = client.live_table().name if error is None else self.live
        meanwhile = [each for each in self.known.operations[before:] if each.key == key]
        if action.what == "delete" and meanwhile:
            # It is later than what it finds, and is repeated in a table to which the alias has moved: what was written
            # in between may be gone, too.
            self.note(Operation(key, self.clock.now_us(), None, home, acknowledged=False))
        self.note(Operation(key, times[0], values, home, acknowledged=error is None))
        if error is None and values is not None and set(values) & set(TEXT) and not meanwhile:
            self.unfit.get(home, set()).discard(key)

    # What operators do.

    def do(self, deed: Deed) -> None:
        if isinstance(deed, Action):
            self.act(deed)
        elif isinstance(deed, Order):
            self.step(deed)
        else:
            deed(self)

    def do_all(self, deeds: Sequence[Deed]) -> None:
        for deed in deeds:
            self.do(deed)

    def settings_of(self, order: Order) -> tuple[Settings, str]:
        """Which migration is meant, and by which step."""
        if order.step == "back":
            for settings in reversed(self.prepared):
                found = find_migration(self.store, settings)
                if found is not None and found.state in ALLOWED["rollback"]:
                    return settings, "rollback"
        if order.step not in ("prepare", "back") and self.prepared:
            settings = self.prepared[max(0, len(self.prepared) - 1 - order.older)]
            found = find_migration(self.store, settings)
            state = found.state if found else "preparing"
            step = NEXT[state] if order.step == "next" else order.step
            if step:
                return settings, step
        source = self.alias.target
        if self.prepared and self.prepared[-1].source.table == source.table and order.older:
            return self.prepared[-1], "prepare"
        old, new = (str(model) for model in self.models)
        name = new if source.model.name == old else old
        table = f"articles_v{len(self.prepared) + 2}"
        changes = {
            "source": {"table": source.table, "model": {"name": source.model.name}},
            "target": {"table": table, "model": {"name": name}},
        }
        self.prepared.append(parse_settings(merged(self.world.tree, changes)))
        return self.prepared[-1], "prepare"

    def step(
        self, order: Order, fault: Fault | None = None, during: Sequence[Deed] = (), waiting: Sequence[Deed] = ()
    ) -> Any:
        """Run a step. Returns its result, or the error that it ended with."""
        settings, step = self.settings_of(order)
        with self._run(Tampered(self.store, fault, lambda: self._asleep(during), lambda: self.spark.in_task)) as run:
            self.waiting.deeds = [lambda each=each: self.do(each) for each in waiting]  # type: ignore[misc]
            self.world.settings, self.world.store = settings, run
            try:
                result: Any = self.world.step(step)
            except (EmbedshiftError, Killed) as error:
                result = error
        if run.killed:
            self.dead |= {each.owner for each in migrations(self.store, "articles") if each.owner}
        elif run.struck.startswith("unavailable"):
            self.clock.pass_by(LEASE_S + 1)
        self.struck = run.struck
        if self.log_fed and step in ("sync", "validate", "cutover", "rollback") and isinstance(result, dict):
            self._check_indexes()
        outcome = "done" if isinstance(result, dict) else type(result).__name__
        self.stats[f"{step}: {outcome}"] += 1
        if step == "prepare" and outcome == "done":
            self.unfit.setdefault(self.prepared[-1].target.table, set())
        return result

    @contextmanager
    def _run(self, run: Tampered) -> Iterator[Tampered]:
        """The present run of a step; another one may be asleep meanwhile."""
        before = self.running, self.spark, self.waiting.deeds, self.world.settings, self.world.store
        self.running = run
        try:
            yield run
        finally:
            self.running, self.spark, self.waiting.deeds, self.world.settings, self.world.store = before

    def _asleep(self, deeds: Sequence[Deed]) -> None:
        """What others do while a step is stopped; if a step is among it, for so long that it loses its lease."""
        before = self.running, self.world.store, self.world.settings
        self.running, self.world.store = None, self.store
        if any(isinstance(deed, Order) for deed in deeds):
            self.clock.pass_by(LEASE_S + 1)
        try:
            self.do_all(deeds)
        finally:
            self.running, self.world.store, self.world.settings = before

    # What must be true.

    def _check_indexes(self) -> None:
        """After a step that ends with a clean pass, no index lacks anything of its table."""
        for each in migrations(self.store, "articles"):
            for table in (each.source.table, each.target.table):
                if self.store.exists(table):
                    self.store.check(table)  # type: ignore[attr-defined]

    def check(self) -> None:
        """The live table has what was acknowledged, and nothing else; its vectors fit its texts."""
        alias = self.alias
        live = alias.target.table
        for each in self.store.records.select(ALIAS, {}):
            table = get_alias(self.store, each["alias"]).target.table
            assert self.store.exists(table), f"the alias {each['alias']} names {table}, which is not there"
        for table, contents in self.foreign.items():
            assert self.world.read(table) == contents, f"somebody has written to {table}, which belongs to others"
        if self.move_complete():
            self.known.settle(live, self.store.exists)
        contents = {key: cells for (key,), cells in self.world.read(live).items()}
        for key in KEYS:
            cells = contents.get(key)
            row: Row | None = None
            if cells is not None and any(cells.get(name, (None,))[0] is not None for name in OWN):
                values = {name: cells[name][0] if name in cells else None for name in OWN}
                values[INACTIVE] = None if values[INACTIVE] is None else True
                row = tuple(values[name] for name in OWN)
            else:
                assert cells is None, f"{key} is in {live} with nothing but {sorted(cells)}"
            unfit = POISON if is_poisoned(alias.target.model.name) else ""
            possible = self.known.possible(key, live, unfit)
            assert row in possible, f"{key} in {live} is {row}, not {' or '.join(map(str, possible))}"
        assert contents.keys() <= set(KEYS)
        for key, cells in contents.items():
            if key in self.unfit.get(live, ()):
                continue
            text = self.world.text((key,), cells)
            assert DIGEST in cells, f"{key} in {live} has no digest"
            vector = cells.get("embedding", (None,))[0]
            assert cells[DIGEST][0] == self.world.digest(alias.target.model.fingerprint, text, vector), (
                f"the digest of {key} in {live} is not that of {text!r} and its vector"
            )
            if text is None:
                assert "embedding" not in cells
            else:
                expected = vector_of(alias.target.model.name, text)
                np.testing.assert_allclose(np.array(cells["embedding"][0], np.float32), expected, atol=2e-3)


# What is drawn.

ACTIONS = st.builds(
    Action,
    by=st.sampled_from(["client", "client", "other client", "plain", "plain", "stale", "stale", "stray"]),
    what=st.sampled_from(["add", "add", "update", "update", "delete", "delete", "deactivate", "restore", "refresh"]),
    key=st.sampled_from(KEYS),
    columns=st.sampled_from([("title", "content", "views"), ("title",), ("content",), ("views",)]),
    word=st.sampled_from(WORDS),
    pause_s=st.sampled_from([0, 0, 0, 1, 3]),
)
CLIENT_ACTIONS = ACTIONS.filter(lambda action: action.by in ("client", "other client"))
SEVERAL = st.lists(ACTIONS, min_size=1, max_size=3)
#: While a step waits, most of those who do something do not know yet.
LATE = st.lists(st.one_of(ACTIONS.map(lambda action: replace(action, by="stale")), ACTIONS), max_size=3)
WAY = ("prepare", "load", "sync", "index", "sync", "validate", "cutover")
STEPS = ["next"] * 5 + ["back"] * 5 + ["sync", "sync", "validate", "cutover", "abort", "retire", "prepare"]
ORDERS = st.builds(
    Order,
    step=st.sampled_from(STEPS),
    older=st.sampled_from([0, 0, 0, 0, 1, 1, 2]),
)
RIVALS = st.builds(
    Order,
    step=st.sampled_from(["next", "next", "back", "back", "abort", "validate", "retire", "sync", "prepare"]),
    older=st.sampled_from([0, 0, 1]),
)
#: Early calls as often as late ones.
CALLS = st.one_of(st.integers(1, 30), st.integers(1, 300))


class AcknowledgedHistories(RuleBasedStateMachine):
    """Applications and operators at random; ``models`` and ``stats`` are bound by the test."""

    models: ClassVar[tuple[Path, Path]]
    stats: ClassVar[Counter[str]]
    #: Whether indexes learn of writes from a change log.
    log_fed: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.place = Place(self.models, self.stats, log_fed=self.log_fed)

    def teardown(self) -> None:
        self.place.close()

    @initialize(actions=st.lists(ACTIONS, max_size=4), on=st.sampled_from([0, 2, 4, 6, 7, 7, 7, 7]), waiting=LATE)
    def begins(self, actions: list[Action], on: int, waiting: list[Action]) -> None:
        """Some articles, and a migration that has come some way."""
        self.place.do_all(actions)
        for step in WAY[:on]:
            self.place.step(Order(step), waiting=waiting)

    @rule(action=ACTIONS)
    def application(self, action: Action) -> None:
        self.stats["application"] += 1
        self.place.act(action)

    @rule(actions=SEVERAL)
    def applications(self, actions: list[Action]) -> None:
        self.stats["applications"] += 1
        self.place.do_all(actions)

    @rule(action=CLIENT_ACTIONS, at=st.integers(1, 12), applied=st.booleans())
    def client_that_fails(self, action: Action, at: int, applied: bool) -> None:
        """The store does not answer to one of its calls: that to the second table, perhaps."""
        self.stats["client_that_fails"] += 1
        self.place.act(action, Fault(at, "unavailable", applied))

    @rule(
        action=CLIENT_ACTIONS,
        at=st.integers(1, 12),
        during=st.lists(st.one_of(ORDERS, ACTIONS.filter(lambda each: each.by != "client")), min_size=1, max_size=3),
    )
    def client_that_sleeps(self, action: Action, at: int, during: list[Deed]) -> None:
        """Steps run between two calls of a client."""
        self.stats["client_that_sleeps"] += 1
        if action.by == "client":
            self.place.act(action, Fault(at, "act", applied=False), during)

    @rule(order=ORDERS, waiting=LATE)
    def operator(self, order: Order, waiting: list[Action]) -> None:
        """A step, and what applications do while it waits for their caches."""
        self.stats["operator"] += 1
        self.place.step(order, waiting=waiting)

    @rule(steps=st.sampled_from([2, 6, 6, 6]), waiting=LATE)
    def goes_on(self, steps: int, waiting: list[Action]) -> None:
        """The usual steps, one after the other, to the cutover at most."""
        self.stats["goes_on"] += 1
        for _ in range(steps):
            if self.place.state in ("switched", "closed", "retiring"):
                break
            if not isinstance(self.place.step(Order("next"), waiting=waiting), dict):
                break

    @rule(order=ORDERS, at=CALLS, applied=st.booleans(), kind=st.sampled_from(["kill", "unavailable", "worker"]))
    def operator_that_fails(self, order: Order, at: int, applied: bool, kind: str) -> None:
        self.stats["operator_that_fails"] += 1
        self.place.step(order, Fault(at, kind, applied))
        if self.place.struck:
            self.stats[f"struck: {self.place.struck.split()[0]}"] += 1

    @rule(order=ORDERS, at=CALLS, during=SEVERAL, waiting=LATE)
    def operator_meets_applications(self, order: Order, at: int, during: list[Action], waiting: list[Action]) -> None:
        """Applications act between two calls of a step."""
        self.stats["operator_meets_applications"] += 1
        self.place.step(order, Fault(at, "act", applied=False), during, waiting)

    @rule(
        order=ORDERS,
        at=CALLS,
        rival=RIVALS,
        before=st.lists(ACTIONS, max_size=1),
        after=st.lists(ACTIONS, max_size=2),
    )
    def operator_that_sleeps(
        self, order: Order, at: int, rival: Order, before: list[Action], after: list[Action]
    ) -> None:
        """It loses its lease to another one, who does something else; then it wakes up and goes on."""
        self.stats["operator_that_sleeps"] += 1
        self.place.step(order, Fault(at, "act", applied=False), [*before, rival, *after])
        if self.place.struck:
            self.stats["struck: slept"] += 1

    @rule(seconds=st.sampled_from([1, 2, 3, 5, LEASE_S + 1]))
    def time_passes(self, seconds: int) -> None:
        self.stats["time_passes"] += 1
        self.place.clock.pass_by(seconds)

    @invariant()
    def acknowledged(self) -> None:
        if self.place.known.operations:
            self.place.check()
