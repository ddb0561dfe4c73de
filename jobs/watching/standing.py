"""How a migration stands at one moment: the figures that a terminal, the page and Prometheus show."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from jobs.catalog.alias import Alias, is_dead
from jobs.catalog.migration import Migration
from jobs.catalog.states import NEXT
from jobs.watching.speed import Speed, speed_of
from jobs.watching.sums import RangeSum

_ORDER = ("prepare", "load", "index", "sync", "validate", "cutover", "retire")
#: State → how many of these steps are behind it. The way back and an abort undo the switch or all.
_BEHIND = {
    "preparing": 0,
    "prepared": 1,
    "loaded": 2,
    "indexed": 3,
    "synced": 4,
    "validated": 5,
    "switching": 5,
    "switched": 6,
    "rolling_back": 6,
    "rolled_back": 3,
    "retired": 7,
    "aborting": 0,
    "aborted": 0,
}


@dataclass(frozen=True, slots=True)
class Step:
    """A step of a migration: done, running, or still to come."""

    name: str
    state: Literal["done", "running", "to come"]


@dataclass(frozen=True, slots=True)
class SlowRange:
    """One of the slowest ranges of the step."""

    start: int
    end: int
    seconds: float
    rows: int
    attempts: int
    state: str


@dataclass(frozen=True, slots=True)
class Work:
    """The ranges of a step, and what became of their rows. ``step`` is ``load``, ``sync/3`` and the like."""

    step: str
    done: int
    failed: int
    ranges: int
    rows: int
    rows_left: float | None
    written: int
    unchanged: int
    dead: int
    deleted: int
    retries: int
    splits: int
    speed: Speed
    slowest: tuple[SlowRange, ...]

    @property
    def share(self) -> float:
        """How much of the ranges is done, from 0 to 1."""
        return self.done / self.ranges if self.ranges else 0.0


@dataclass(frozen=True, slots=True)
class Standing:
    """Everything a watcher is told. No text of an article, no question and no secret is in it.

    ``running`` is the step that a living run is at, None where none owns the migration. ``slowed`` is why a run is
    held back, empty where it is not.
    """

    at_us: int
    alias: str
    table: str | None
    version: int | None
    migration: str | None = None
    source: str | None = None
    target: str | None = None
    model: str | None = None
    state: str | None = None
    steps: tuple[Step, ...] = ()
    running: str | None = None
    owner: str | None = None
    since_us: int | None = None
    work: Work | None = None
    dead_letters: int = 0
    slowed: str = ""
    next: str = ""

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def steps_of(state: str, running: str | None) -> tuple[Step, ...]:
    """Every step in its order, with ``running``, where it is no usual one, in its place at the end."""
    behind = _BEHIND[state]
    steps = [Step(name, "done" if at < behind else "to come") for at, name in enumerate(_ORDER)]
    steps = [Step(each.name, "running") if each.name == running else each for each in steps]
    return (*steps, Step(running, "running")) if running and running not in _ORDER else tuple(steps)


def step_of_ranges(migration: Migration, running: str | None) -> str | None:
    """Under which step's name the catalog has the ranges that are being worked on; None where there are none.

    At rest these are the load's, whose ranges stay.
    """
    if running in (None, "load"):
        return "load"
    if running in ("sync", "cutover", "rollback"):
        backwards = migration.state == "rolling_back"
        if migration.facts.get("sync_pass_open"):
            return f"{'back' if backwards else 'sync'}/{migration.facts['sync_pass']}"
        return "sync/since" if running == "sync" else None
    return None


def is_owned(migration: Migration, now_us: int) -> bool:
    """Whether a living run owns it."""
    return bool(migration.owner) and migration.lease_until_us > now_us and not is_dead(migration.owner)


def work_of(step: str, total: RangeSum, since_us: int, now_us: int) -> Work:
    """The figures of a step's ranges."""
    counts = total.counts
    slowest = tuple(
        SlowRange(each.range.start, each.range.end, each.seconds, each.counts.read, each.attempts, each.state)
        for each in total.slowest
    )
    return Work(
        step=step,
        done=total.done,
        failed=total.failed,
        ranges=total.ranges,
        rows=counts.read,
        rows_left=total.rows_left,
        written=counts.written,
        unchanged=counts.unchanged,
        dead=counts.dead,
        deleted=counts.deleted,
        retries=total.retries,
        splits=round(total.splits),
        speed=speed_of(total, since_us, now_us),
        slowest=slowest,
    )


def next_of(migration: Migration) -> str:
    """The command that comes next; empty where none does."""
    step = NEXT[migration.state]
    return f"embedshift {step}" if step else ""


def bare_standing(at_us: int, name: str, alias: Alias | None) -> Standing:
    """Where there is no migration."""
    table, version = (alias.target.table, alias.version) if alias else (None, None)
    return Standing(at_us, name, table, version, next="embedshift prepare")
