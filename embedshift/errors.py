"""The errors of embedshift, each with its exit code.

    EmbedshiftError                 1  a check failed, or a step could not finish
    ├── CheckFailed                 1  a validation, an audit or a balance did not pass
    │   └── BudgetSpent             1  a migration has spent what its service may cost
    ├── UsageError                  2  the caller asked for something that makes no sense
    │   ├── SettingsError           2  a settings file is wrong; all faults are reported at once
    │   ├── TimeFormatError         2  a duration, a moment or a window of time cannot be read
    │   ├── InputError              2  a line, a row or a question cannot be used
    │   ├── SchemaError             2  a table lacks something needed, or has something that cannot be copied
    │   └── NotFoundError           2  there is no article with that id
    ├── UnavailableError            3  something outside embedshift is not available
    │   ├── StoreUnavailable        3  the database does not answer, or refuses the connection
    │   │   └── NotPermitted        3  it does not let this user do it; nothing was changed
    │   └── ModelUnavailable        3  a model cannot be loaded, or is not the recorded one
    │       ├── ServiceUnavailable  3  an embedding service does not answer
    │       ├── ServiceRefused      3  it refuses every request: a wrong key, address, name or option
    │       └── ModelChanged        3  another model answers than the recorded one
    └── RefusedError                4  the present state forbids it
        ├── StateError              4  this step may not run in the present state
        └── OwnedByAnother          4  another run owns the migration

Every error is one line: what happened and where, then what to do next (``hint``).
"""

from __future__ import annotations

from typing import Any


class EmbedshiftError(Exception):
    """An expected failure.

    Args:
        what: what happened and where: one line, without a final full stop.
        hint: what to do next; may be empty.
    """

    exit_code = 1
    #: Whether it ends a whole run at once: no other range can have a better end.
    ends_run = False

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        line = f"{self.what}: {self.hint}" if self.hint else self.what
        return " ".join(line.split())

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions cross process boundaries (Spark, multiprocessing); the default pickling drops the keywords.
        return _rebuild, (type(self), self.what, self.hint)


def _rebuild(kind: type[EmbedshiftError], what: str, hint: str) -> EmbedshiftError:
    return kind(what, hint=hint)


class CheckFailed(EmbedshiftError):
    """A check ran and did not pass."""


class BudgetSpent(CheckFailed):
    """A migration has spent what its service may cost."""

    ends_run = True


class UsageError(EmbedshiftError):
    """The caller asked for something that makes no sense."""

    exit_code = 2


class SettingsError(UsageError):
    """A settings file or an override is wrong."""


class TimeFormatError(UsageError, ValueError):
    """A duration, a moment or a window of time cannot be read; also a ValueError, which the checks of settings need."""


class InputError(UsageError):
    """A line, a row or a question cannot be used."""


class SchemaError(UsageError):
    """A table lacks something needed, or has something that cannot be copied."""


class NotFoundError(UsageError):
    """There is no article with that id."""


class UnavailableError(EmbedshiftError):
    """Something outside embedshift is not available."""

    exit_code = 3


class StoreUnavailable(UnavailableError):
    """The database does not answer, or refuses the connection."""


class NotPermitted(StoreUnavailable):
    """The database answers, and does not let this user do it; nothing was changed."""


class ModelUnavailable(UnavailableError):
    """A model cannot be loaded, or is not the one that was recorded."""


class ServiceUnavailable(ModelUnavailable):
    """An embedding service does not answer, or too slowly."""

    ends_run = True


class ServiceRefused(ModelUnavailable):
    """An embedding service refuses every request: its key, address, name or options are wrong."""

    ends_run = True


class ModelChanged(ModelUnavailable):
    """A service answers with another model than the recorded one."""

    ends_run = True


class RefusedError(EmbedshiftError):
    """The present state forbids it."""

    exit_code = 4


class StateError(RefusedError):
    """This step may not run in the present state."""


class OwnedByAnother(RefusedError):
    """Another run owns the migration."""
