"""The log: records of the standard logging module on standard error, from the driver and from Spark's workers.

Every record of a run has the run's id. Workers get it in the environment, with format and level. Records contain names,
counts and times; never a text of an article and never a secret. So only the kind of a library's exception is logged,
and only the template of a library's own log messages: either could quote the data it was working on. What libraries
say at all is for debugging, and so are the lines that they and their processes write to the terminal
(``telemetry.terminal``), which are logged as they are.
"""

from __future__ import annotations

import json
import logging
import os
import re
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

from embedshift.errors import EmbedshiftError
from embedshift.telemetry import terminal

if TYPE_CHECKING:
    from embedshift.settings import LogSettings

#: The variable with the run's name, if the caller has one.
RUN = "EMBEDSHIFT_RUN"
#: The variable that tells workers how to log.
WORKER = "EMBEDSHIFT_WORKER_LOG"
#: All our loggers are below this name; the levels of other libraries are not changed.
_OURS = logging.getLogger("embedshift")
_BARE = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


@dataclass(frozen=True, slots=True)
class LogPlan:
    """How a run logs, in the driver and in workers."""

    format: str
    level: str
    run: str
    #: What begins each line; see ``terminal.MARK``.
    mark: str = ""

    def to_json(self) -> str:
        """The text for the workers."""
        return json.dumps(asdict(self))


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time, level, logger, message, run, process, and the record's extra fields."""

    def __init__(self, run: str) -> None:
        super().__init__()
        self._run = run

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, object] = {
            "time": moment.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
            "run": self._run,
            "process": record.process,
            **_further(record),
        }
        return json.dumps(line, ensure_ascii=False, default=str)


class ConsoleFormatter(logging.Formatter):
    """A line for people: the message and the record's extra fields; with the time if every level is logged."""

    def __init__(self, *, timed: bool) -> None:
        super().__init__()
        self._timed = timed

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        further = "".join(f" {key}={value}" for key, value in _further(record).items())
        clock = f"{datetime.fromtimestamp(record.created):%H:%M:%S} {record.levelname.lower()} " if self._timed else ""
        return " ".join(f"{clock}{_message(record)}{further}".splitlines())


def _message(record: logging.LogRecord) -> str:
    return record.getMessage() if _is_ours(record) else str(record.msg)


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name.partition(".")[0] == _OURS.name


def _further(record: logging.LogRecord) -> dict[str, object]:
    given = {key: value for key, value in vars(record).items() if key not in _BARE}
    error = record.exc_info[1] if record.exc_info else None
    if error is not None:
        given["error"] = str(error) if isinstance(error, EmbedshiftError) else type(error).__name__
    return given


class _Handler(logging.StreamHandler[TextIO]):
    """Writes to the current standard error."""

    def __init__(self, plan: LogPlan) -> None:
        super().__init__()
        self.plan = plan
        timed = plan.level in ("debug", "info")
        self.addFilter(_is_wanted(plan))
        self.setFormatter(JsonFormatter(plan.run) if plan.format == "json" else ConsoleFormatter(timed=timed))

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        self.stream = terminal.stderr()
        super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Drop a record that cannot be written, on a full disk or into a closed pipe: it must not end the command.

        What logging itself would do is to print a traceback to ``sys.stderr``, which leads back to this handler.
        """

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        return self.plan.mark + super().format(record)


def _is_wanted(plan: LogPlan) -> Callable[[logging.LogRecord], bool]:
    """What a library logs is for debugging, however loudly it says it."""
    if plan.level == "debug":
        return lambda record: True
    return _is_ours


def plan_of(settings: LogSettings) -> LogPlan:
    """How this process logs, with the run's id: from ``EMBEDSHIFT_RUN``, or a new one."""
    level = settings.level or ("info" if settings.format == "json" else "warning")
    return LogPlan(settings.format, level, _run_id())


def _run_id() -> str:
    given = os.environ.get(RUN, "")
    if re.fullmatch(r"[\w.:/+-]{1,128}", given):
        return given
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{uuid.uuid4().hex[:6]}"


def start_log(plan: LogPlan) -> None:
    """Log from now on; this replaces an earlier plan, if there is one."""
    stop_log()
    logging.getLogger().addHandler(_Handler(plan))
    _OURS.setLevel(plan.level.upper())


def start_worker_log() -> None:
    """Log as the environment of this worker says; nothing if it says nothing, or if the process already logs."""
    if WORKER in os.environ and current_plan() is None:
        start_log(LogPlan(**json.loads(os.environ[WORKER])))


def stop_log() -> None:
    """Stop logging."""
    root = logging.getLogger()
    for handler in [each for each in root.handlers if isinstance(each, _Handler)]:
        root.removeHandler(handler)
        _OURS.setLevel(logging.NOTSET)


def current_plan() -> LogPlan | None:
    """How this process logs now."""
    return next((each.plan for each in logging.getLogger().handlers if isinstance(each, _Handler)), None)


def in_json() -> bool:
    """Whether standard error is a log of JSON lines."""
    plan = current_plan()
    return plan is not None and plan.format == "json"


def trouble_level() -> int:
    """The level for what a step tells people anyway: warning in a JSON log, info on a console."""
    return logging.WARNING if in_json() else logging.INFO
