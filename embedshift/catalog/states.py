"""The states of a migration: only here it says what each state allows, what is behind it and what comes next."""

from __future__ import annotations

from dataclasses import dataclass

from embedshift.errors import StateError

#: The steps of a migration in their order. Before the index, ``sync`` catches up what the load has missed: a write into
#: an indexed table takes ten times as long, and a store whose index follows a log never sees one that arrives late.
ORDER = ("prepare", "load", "sync", "index", "sync", "validate", "cutover", "retire")
#: Places in ``ORDER`` that ``migrate`` repeats until the cutover has begun: tables change, and a validation gets old.
_REPEATED = (4, 5)


@dataclass(frozen=True, slots=True)
class State:
    """One state of a migration.

    Args:
        next: the step that usually comes next; empty if none does.
        done: how many steps of ``ORDER`` are behind it. A rollback or an abort undoes some.
        allows: the commands that may run in it. A step that is done may run again and finds nothing to do.
        ended: nothing is left to do, and another migration may use the target's name.
        at_rest: no migration is under way: its source is dropped, or the alias is back at the source.
        index_settled: the target's index is built and may have been given other options in place since.
        decide: somebody must decide before ``migrate`` goes on.
        switched: the alias points to the target, or may, and there is a way back.
    """

    next: str
    done: int
    allows: tuple[str, ...]
    ended: bool = False
    at_rest: bool = False
    index_settled: bool = False
    decide: bool = False
    switched: bool = False


_ANY_TIME = ("dead-letters", "reindex")

STATES = {
    "preparing": State("prepare", 0, ("prepare", "abort")),
    "prepared": State("load", 1, ("prepare", "load", "abort", *_ANY_TIME)),
    "loaded": State("sync", 2, ("load", "sync", "abort", *_ANY_TIME)),
    "caught_up": State("index", 3, ("sync", "index", "abort", *_ANY_TIME)),
    "indexed": State("sync", 4, ("index", "sync", "abort", "shadow", *_ANY_TIME)),
    "synced": State("validate", 5, ("index", "sync", "validate", "abort", "shadow", *_ANY_TIME)),
    "validated": State("cutover", 6, ("index", "sync", "validate", "cutover", "abort", "shadow", *_ANY_TIME)),
    "switching": State("cutover", 6, ("cutover", "rollback", "abort"), switched=True),
    "switched": State("retire", 7, ("sync", "rollback", "retire", *_ANY_TIME), index_settled=True, switched=True),
    "closed": State("retire", 7, ("retire", *_ANY_TIME), index_settled=True),
    "retiring": State("retire", 7, ("retire",), index_settled=True, decide=True),
    "rolling_back": State("rollback", 7, ("rollback", "abort"), index_settled=True, decide=True, switched=True),
    "rolled_back": State("sync", 4, ("sync", "abort", "shadow", *_ANY_TIME), at_rest=True, decide=True),
    "retired": State("", 8, (), ended=True, at_rest=True, index_settled=True, decide=True),
    "aborting": State("abort", 0, ("abort",), decide=True),
    "aborted": State("", 0, (), ended=True, at_rest=True),
}
#: State → the step that usually comes next.
NEXT = {name: state.next for name, state in STATES.items()}
#: Command → the states in which it may run.
ALLOWED = {
    command: tuple(name for name, state in STATES.items() if command in state.allows)
    for command in dict.fromkeys(each for state in STATES.values() for each in state.allows)
}
#: States in which nothing of the migration is left to do.
ENDED = tuple(name for name, state in STATES.items() if state.ended)
#: Step → state before → state after. From a state that is not named a step changes nothing.
_AFTER = {
    "load": {"prepared": "loaded"},
    "sync": {"loaded": "caught_up", "indexed": "synced", "validated": "synced", "rolled_back": "synced"},
    "index": {"caught_up": "indexed"},
}


def check_step(step: str, state: str, migration: str) -> None:
    """Raises StateError, naming the state and the right step, if ``step`` may not run."""
    if step in STATES[state].allows:
        return
    right = NEXT[state]
    hint = f"run embedshift {right}" if right else "start another migration with embedshift prepare"
    if "rollback" in STATES[state].allows and right != "rollback":
        # Whoever asks for an earlier step may want to undo the switch; what usually comes next makes that impossible.
        hint = f"run embedshift rollback to go back, or {right} to go on"
    raise StateError(f"{step} may not run: migration {migration} is {label(state)}", hint=hint)


def after(step: str, state: str) -> str | None:
    """The state after a successful step; None if it does not change."""
    return _AFTER[step].get(state)


def is_done(place: int, state: str) -> bool:
    """Whether ``migrate`` has nothing left to do in the step at this place of ``ORDER``."""
    if place in _REPEATED:
        return state == "switching"
    return place < STATES[state].done


def next_command(state: str) -> str:
    """The command that comes next; empty if there is none."""
    return f"embedshift {NEXT[state]}" if NEXT[state] else ""


def label(state: str) -> str:
    """The state for people, for example ``rolled back``."""
    return state.replace("_", " ")
