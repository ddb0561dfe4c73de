"""What may happen in a history, as rules that Hypothesis draws, and what must hold after each."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from embedshift.catalog.lease import Lease
from embedshift.catalog.states import ENDED
from embedshift.errors import OwnedByAnother, RefusedError
from tests.histories.faults import Fault
from tests.histories.histories import HOUR_S, History
from tests.histories.operator import Operator

KEYS = st.sampled_from([f"k{number}" for number in range(6)])
TITLES = st.sampled_from(["bread", "dough", "glass", "river", " ", None])
CONTENTS = st.sampled_from(["stone light", "sugar", "plant metal", "cloud", "", None])
VIEWS = st.integers(1, 9)
#: How long ago something was written, in seconds; with the time of a deletion beside it, to meet the tie.
AGES = st.sampled_from(["now", "now", "now", "hour ago", "before deletion", "at deletion", "after deletion"])
#: Short lives end when an hour goes by, long ones when a day does.
TTLS = st.sampled_from([None, None, None, HOUR_S // 2, 12 * HOUR_S])
VALUES = st.fixed_dictionaries({}, optional={"title": TITLES, "content": CONTENTS, "views": VIEWS | st.none()})
ARTICLES = st.fixed_dictionaries({"views": VIEWS}, optional={"title": TITLES, "content": CONTENTS})
FAULTS = st.builds(
    Fault,
    at=st.integers(1, 150) | st.integers(1, 500),
    kind=st.sampled_from(["kill", "kill", "worker", "unavailable", "act", "act"]),
    applied=st.booleans(),
)
WAYS = st.sampled_from(["on", "on", "back", "sync"])
STEPS = st.sampled_from(["prepare", "load", "index", "sync", "validate", "cutover", "rollback", "retire", "abort"])


class Histories(RuleBasedStateMachine):
    """Applications write, clients write both tables, time passes, an operator runs steps, and things go wrong."""

    models: ClassVar[tuple[Path, Path]]
    stats: ClassVar[Counter[str]]

    @initialize(rows=st.dictionaries(KEYS, st.tuples(TITLES, CONTENTS), min_size=2, max_size=5))
    def begin(self, rows: dict[str, tuple[str, str]]) -> None:
        self.history = History(self.models, rows)
        self.operator = Operator(self.history)

    def count(self, what: str) -> None:
        self.stats[what] += 1

    def moment(self, table: str, key: str, age: str) -> int:
        now, row = self.history.clock.now_us(), self.history.truth(table).row(key)
        if age == "now" or (age.endswith("deletion") and row.deleted_us < 0):
            return now
        if age == "hour ago":
            return now - HOUR_S * 1_000_000
        return row.deleted_us + {"before": -1, "at": 0, "after": 1}[age.split(maxsplit=1)[0]]

    # Applications.

    @rule(key=KEYS, values=VALUES, age=AGES, ttl_s=TTLS, embeds=st.booleans())
    def write(self, key: str, values: dict[str, Any], age: str, ttl_s: int | None, embeds: bool) -> None:
        """Into the live table alone, at a time that may be long ago."""
        self.count("write")
        live = self.history.live.table
        at_us = self.moment(live, key, age)
        if values:
            self.history.write(live, key, values, at_us=at_us, ttl_s=ttl_s, embeds=embeds)

    @rule(key=KEYS, age=st.sampled_from(["now", "hour ago"]))
    def delete(self, key: str, age: str) -> None:
        """In the live table alone."""
        self.count("delete")
        live = self.history.live.table
        self.history.delete(live, key, self.moment(live, key, age))

    @rule(key=KEYS, values=ARTICLES, existing=st.booleans(), lost=st.sampled_from([False, False, True]))
    def put_article(self, key: str, values: dict[str, Any], existing: bool, lost: bool) -> None:
        """Through a client, into both tables."""
        self.count("put article")
        self.history.put_article(key, values, existing=existing, lost=lost)

    @rule(key=KEYS, lost=st.sampled_from([False, False, True]))
    def delete_article(self, key: str, lost: bool) -> None:
        self.count("delete article")
        self.history.delete_article(key, lost=lost)

    @precondition(lambda self: self.history.state == "switched")
    @rule(key=KEYS, values=VALUES.filter(bool), deletes=st.booleans())
    def write_late(self, key: str, values: dict[str, Any], deletes: bool) -> None:
        """Into the old table, by a client that does not know of the cutover yet."""
        self.count("write late")
        if not self.history.store.exists(self.history.source):
            return
        if deletes:
            self.history.delete(self.history.source, key)
        else:
            self.history.write(self.history.source, key, values)

    @rule(seconds=st.sampled_from([HOUR_S, 24 * HOUR_S]))
    def pass_by(self, seconds: int) -> None:
        self.count("time")
        self.history.pass_by(seconds)

    # The operator.

    @rule(fault=FAULTS, key=KEYS, values=ARTICLES, twice=st.none() | st.integers(0, 5), way=WAYS)
    def advance(self, fault: Fault, key: str, values: dict[str, Any], twice: int | None, way: str) -> None:
        """The step that comes next, and something goes wrong."""
        self._operate(self.operator.next_step(way), fault, key, values, twice)

    @rule(steps=st.integers(1, 3), way=WAYS)
    def forward(self, steps: int, way: str) -> None:
        """The steps that come next, and nothing goes wrong."""
        for _ in range(steps):
            self._operate(self.operator.next_step(way), None, "", {}, None)
            self.the_live_table_is_the_truth()

    @rule(step=STEPS, fault=st.none() | FAULTS, key=KEYS, values=ARTICLES, twice=st.none() | st.integers(0, 5))
    def operate(self, step: str, fault: Fault | None, key: str, values: dict[str, Any], twice: int | None) -> None:
        """Any step, wherever the migration is."""
        self._operate(step, fault, key, values, twice)

    def _operate(self, step: str, fault: Fault | None, key: str, values: dict[str, Any], twice: int | None) -> None:
        self.history.twice = twice

        def act() -> None:
            self.history.in_flight.add(key)
            if len(values) % 2:
                self.history.put_article(key, values, existing=False)
            else:
                self.history.delete_article(key)

        outcome = self.operator.run(step, fault, act)
        note(f"{step}: {outcome}; now {self.history.state}, live {self.history.live.table}")
        self.count(step)
        self.count(f"{step}: {outcome.split(':')[0]}")

    @precondition(lambda self: self.history.state not in ("none", *ENDED))
    @rule(step=STEPS)
    def run_beside_another(self, step: str) -> None:
        """A second run beside a living one is refused, and changes nothing."""
        self.count("second run")
        history = self.history
        assert history.migration is not None
        lease = Lease(history.store, history.migration.id, history.world.settings.cutover.lease)
        try:
            lease.take()
        except OwnedByAnother:
            return
        try:
            self.operator.refused(step, RefusedError)
        finally:
            lease.give_back()

    @rule()
    def search(self) -> None:
        self.count("search")
        self.history.check_search()

    # What must hold after every rule.

    @invariant()
    def the_live_table_is_the_truth(self) -> None:
        live = self.history.live.table
        self.history.check_cells(live)
        self.history.check_vectors(live)

    @invariant()
    def alias_table_model_and_index_belong_together(self) -> None:
        self.history.check_alias()

    def teardown(self) -> None:
        if hasattr(self, "history"):
            self.history.close()
