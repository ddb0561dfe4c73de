"""The states of a migration and the steps that may follow each: the one place where the order is laid down."""

from __future__ import annotations

from jobs.errors import StateError

#: State → the step that usually comes next.
NEXT = {
    "preparing": "prepare",
    "prepared": "load",
    "loaded": "index",
    "indexed": "sync",
    "synced": "validate",
    "validated": "cutover",
    "switching": "cutover",
    "switched": "retire",
    "rolling_back": "rollback",
    "rolled_back": "sync",
    "retired": "",
    "aborting": "abort",
    "aborted": "",
}

#: Step → the states in which it may run. A step that is done already may run again and finds nothing to do.
ALLOWED = {
    "prepare": ("preparing", "prepared"),
    "load": ("prepared", "loaded"),
    "index": ("loaded", "indexed"),
    "sync": ("indexed", "synced", "validated", "switched", "rolled_back"),
    "validate": ("synced", "validated"),
    "cutover": ("validated", "switching"),
    "rollback": ("switched", "switching", "rolling_back"),
    "retire": ("switched",),
    "abort": (
        "preparing",
        "prepared",
        "loaded",
        "indexed",
        "synced",
        "validated",
        "rolled_back",
        "aborting",
    ),
    "dead-letters": ("prepared", "loaded", "indexed", "synced", "validated", "switched", "rolled_back"),
    "shadow": ("indexed", "synced", "validated", "rolled_back"),
    "reindex": ("prepared", "loaded", "indexed", "synced", "validated", "switched", "rolled_back"),
}

#: States in which nothing of the migration is left to do; its target name may be used by another one.
ENDED = ("retired", "aborted")


def check_step(step: str, state: str, migration: str) -> None:
    """Raises StateError, naming the state and the step that would be right, where ``step`` may not run."""
    if state in ALLOWED[step]:
        return
    right = NEXT[state]
    hint = f"run embedshift {right}" if right else "start another migration with embedshift prepare"
    raise StateError(f"{step} may not run: migration {migration} is {state.replace('_', ' ')}", hint=hint)
