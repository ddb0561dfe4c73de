"""The operator of a history: runs steps, and knows what each must have come to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from embedshift.catalog.dead_letters import read_dead_letters
from embedshift.catalog.states import ALLOWED, NEXT
from embedshift.errors import CheckFailed, RefusedError, StateError, StoreUnavailable
from tests.histories.faults import Fault, Killed
from tests.histories.histories import History
from tests.histories.truth import carry

#: Steps that find that they are done already, and say so instead of refusing.
DONE_ALREADY = {"load": ("loaded",), "retire": ("retired",), "abort": ("aborted",)}


class Operator:
    """Runs steps in a history.

    ``resumed`` says that an earlier load did not end; ``retiring`` that a retire has begun, from which no way leads
    back; ``differs`` that the last validation or cutover has met a difference.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self.resumed = False
        self.retiring = False
        self.differs = False

    def next_step(self, way: str = "on") -> str:
        """The step that an operator takes now: ``on``, ``back`` from the new table, or another ``sync``."""
        state = self.history.state
        if way == "back" and state in ALLOWED["rollback"]:
            return "rollback"
        if state in ALLOWED["sync"] and (way == "sync" or (self.differs and state != "switched")):
            return "sync"
        return NEXT.get(state, "prepare") or "prepare"

    def may(self, step: str) -> bool:
        state = self.history.state
        if state == "none":
            return step == "prepare"
        if step == "prepare":
            return True
        return state in ALLOWED[step]

    def refused(self, step: str, error: type[RefusedError]) -> None:
        """Where the state forbids it, and beside another run, a step changes nothing."""
        before, state = self.history.remains(), self.history.state
        result = self.history.step(step)
        # What is done already needs no right to anything.
        done = isinstance(result, dict) and (step == "prepare" or state in DONE_ALREADY.get(step, ()))
        assert done or isinstance(result, error), (step, state, result)
        assert self.history.remains() == before, (step, state)

    def run(self, step: str, fault: Fault | None, act: Callable[[], None]) -> str:
        """Run a step; returns what it came to in a word or two."""
        history = self.history
        if self.retiring and step != "retire":
            step = "retire"
        if not self.may(step):
            self.refused(step, StateError)
            return "forbidden"
        history.in_flight.clear()
        before_state, moved = history.state, history.live.table
        self._before = self._differs() if step in ("validate", "cutover") else False
        result = history.step(step, fault, act)
        if isinstance(result, Killed | StoreUnavailable):
            assert history.struck, (step, result)
        self.differs = step in ("validate", "cutover") and not isinstance(result, dict)
        getattr(self, f"after_{step}")(result, before_state, moved)
        if isinstance(result, dict):
            return f"done, with {history.struck}" if history.struck else "done"
        return f"{type(result).__name__}: {result} ({history.struck})"

    def _fails_for_a_reason(self, result: Any) -> bool:
        """Whether the step has ended otherwise than it must when nothing goes wrong."""
        if isinstance(result, dict):
            return False
        # That an application is at work is no reason to fail.
        assert self.history.struck, result
        assert not self.history.struck.startswith("act"), result
        return True

    def _there(self, table: str) -> set[str]:
        return {key for (key,) in self.history.read(table)}

    def _carry(self, *, backwards: bool = False) -> None:
        """What a step must have done to the tables that found no difference any more."""
        history = self.history
        source, target = (history.target, history.source) if backwards else (history.source, history.target)
        limit = None
        migration = history.migration
        assert migration is not None
        if backwards or history.live.table == target:
            limit = migration.facts.switched_us or 0
        there = self._there(source)
        carry(history.truth(source), history.truth(target), there, history.clock.now_s, limit_us=limit)
        history.check_cells(target, history.in_flight)
        history.check_vectors(target, history.in_flight)
        if limit is None:
            mine = self._there(target) - history.in_flight
            assert mine <= there, f"only in {target}: {mine - there}"
            # docs/timestamps.md, What CQL cannot tell: a row without a value has no time, and a deletion may hide it.
            told = {key for key in there if history.truth(source).row(key).living(history.clock.now_s)}
            hidden = {key for key in told if history.truth(target).row(key).deleted_us >= 0}
            lost = told - mine - hidden - history.in_flight
            assert not lost, f"missing in {target}: {lost}"
        if history.in_flight:
            history.adopt(target, source)

    def _differs(self) -> bool:
        """Whether source and target differ in anything that a validation must see."""
        history = self.history
        migration = history.migration
        assert migration is not None
        if self._there(history.source) != self._there(history.target):
            return True
        if any(True for _ in read_dead_letters(history.store, migration.id)):
            return True
        source, target, now_s = history.truth(history.source), history.truth(history.target), history.clock.now_s
        for key, row in source.rows.items():
            ours, theirs = row.living(now_s), target.row(key).living(now_s)
            if ours.keys() != theirs.keys() or row.text(now_s) != target.row(key).text(now_s):
                return True
            if any(ours[name].at_us > theirs[name].at_us for name in ours):
                return True
        return False

    # What each step must have come to.

    def after_prepare(self, result: Any, before: str, moved: str) -> None:
        if not isinstance(result, dict) and self._fails_for_a_reason(result):
            return
        if before in ("none", "preparing", "aborted", "retired"):
            assert self.history.state == "prepared"
            self.history.tables.pop(self.history.target, None)
            self.resumed = False
        else:
            assert self.history.state == before

    def after_load(self, result: Any, before: str, moved: str) -> None:
        history = self.history
        if self._fails_for_a_reason(result) or self.resumed or before == "loaded":
            self.resumed = self.resumed or not isinstance(result, dict)
            history.adopt(history.target, history.source)
            return
        assert history.state == "loaded"
        self._carry()

    def after_index(self, result: Any, before: str, moved: str) -> None:
        if not self._fails_for_a_reason(result):
            assert self.history.state in ("indexed", "synced", "validated")

    def after_sync(self, result: Any, before: str, moved: str) -> None:
        history = self.history
        if self._fails_for_a_reason(result):
            history.adopt(history.target, history.source)
            return
        assert history.state in ("caught_up", "synced", "validated", "switched")
        self._carry()

    def after_validate(self, result: Any, before: str, moved: str) -> None:
        history = self.history
        if history.struck.startswith("act"):
            return
        if isinstance(result, CheckFailed):
            assert self._before or history.struck, result
            assert history.state in ("synced", "validated")
        elif not self._fails_for_a_reason(result):
            assert history.state == "validated"
            # What was written since the last clean pass, it has carried.
            self._carry()
            assert not self._differs(), "the tables differ, and the validation has passed"
            return
        history.adopt(history.target, history.source)

    def after_cutover(self, result: Any, before: str, moved: str) -> None:
        history = self.history
        if isinstance(result, dict):
            assert history.state == "switched"
            assert history.live.table == history.target
            self._carry()
            return
        if history.live.table == history.source:
            assert history.state in ("validated", "switching", "synced")
            if isinstance(result, RefusedError):
                assert (
                    "has changed since it was validated" in str(result)
                    or "never validated" in str(result)
                    or ("did not pass" in str(result))
                ), result
        else:
            assert history.struck, result
        history.adopt(history.target, history.source)

    def after_rollback(self, result: Any, before: str, moved: str) -> None:
        history = self.history
        if self._fails_for_a_reason(result):
            history.adopt(history.source, history.target)
            return
        assert history.live.table == history.source
        if history.state == "validated":
            assert before == "switching"
            assert moved == history.source
            return
        assert history.state == "rolled_back"
        self._carry(backwards=True)

    def after_retire(self, result: Any, before: str, moved: str) -> None:
        history = self.history
        self.retiring = not isinstance(result, dict) and not history.store.exists(history.source)
        if self._fails_for_a_reason(result):
            self.retiring = True
            return
        self.retiring = False
        assert history.state == "retired"
        assert not history.store.exists(history.source)
        history.tables.pop(history.source, None)
        history.next_generation()

    def after_abort(self, result: Any, before: str, moved: str) -> None:
        history = self.history
        if self._fails_for_a_reason(result):
            return
        assert history.state == "aborted"
        assert not history.store.exists(history.target)
        history.tables.pop(history.target, None)
