"""The output of a step: lines for people on a terminal or in a log, and one JSON object for machines."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console as RichConsole

from embedshift.telemetry import terminal
from embedshift.telemetry.logs import in_json

# Bars are imported where they are drawn: most commands draw none.
if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_LOG = logging.getLogger(__name__)
#: Seconds between two progress lines if there is no terminal.
LINE_S = 5.0


class Gauge(Protocol):
    """The figures of a running step: the totals from the catalog, and what its tasks say."""

    @property
    def ranges(self) -> int: ...  # noqa: D102 - the names say it
    @property
    def done(self) -> int: ...  # noqa: D102
    @property
    def failed(self) -> int: ...  # noqa: D102
    @property
    def rows(self) -> int: ...  # noqa: D102
    @property
    def dead(self) -> int: ...  # noqa: D102
    @property
    def doing(self) -> str: ...  # noqa: D102


class Console:
    """The output of a step. Lines for people go to standard output, or to standard error if JSON is requested."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self._rich = RichConsole(
            file=terminal.stderr() if as_json else None, highlight=False, soft_wrap=True, quiet=quiet
        )

    @property
    def rich(self) -> RichConsole:
        """The console that draws on the terminal."""
        return self._rich

    @property
    def is_terminal(self) -> bool:
        """Whether the output goes to a terminal."""
        return self._rich.is_terminal

    def say(self, line: str) -> None:
        """Print one line for people. Square brackets are printed literally."""
        self._tell(line)

    def title(self, line: str) -> None:
        """Print the name of a step, before its lines."""
        self._tell(line, style="bold")

    def _tell(self, line: str, style: str | None = None) -> None:
        if self.as_json and in_json():
            # These lines would go to standard error, which belongs to the log.
            _LOG.info(line)
        else:
            self._rich.print(line, style=style, markup=False)

    def finish(self, result: Mapping[str, Any]) -> None:
        """Print the end: the result as JSON for machines, the next command for people."""
        if self.as_json:
            sys.stdout.write(json.dumps(result, ensure_ascii=False) + "\n")
            sys.stdout.flush()
        elif result.get("next"):
            self.say(f"next: {result['next']}")

    @contextmanager
    def busy(self, doing: str) -> Iterator[None]:
        """Show what is being done until the block ends: with the seconds on a terminal, as one line elsewhere."""
        if not self.is_terminal:
            self.say(timed(doing))
            yield
            return
        from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=self._rich, transient=True, redirect_stderr=False) as bar:
            bar.add_task(doing)
            yield

    @contextmanager
    def watching(self, what: str, rows_total: int) -> Iterator[Watch]:
        """Show the progress of a job until the block ends: a bar on a terminal, a line every few seconds elsewhere."""
        watch = Watch(self._rich, self.say, what, rows_total)
        with watch.live():
            yield watch


class Watch:
    """The progress of one job."""

    def __init__(self, console: RichConsole, say: Callable[[str], None], what: str, rows_total: int) -> None:
        self._console = console
        self._say = say
        self._what = what
        self._total = rows_total
        self._spoken = time.monotonic()
        #: Rows and moment from which the speed counts: those of the last look before the first row.
        self._began: tuple[int, float] | None = None
        self._moving = False
        self._counted = 0
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    @contextmanager
    def live(self) -> Iterator[None]:
        """Keep the bar on the screen, if there is a terminal."""
        if not self._console.is_terminal:
            yield
            return
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[figures]}"))
        with Progress(*columns, TimeElapsedColumn(), console=self._console, redirect_stderr=False) as bar:
            self._bar = bar
            self._task = bar.add_task(self._what, total=max(self._total, 1), figures="")
            yield

    def show(self, gauge: Gauge) -> None:
        """Report the progress of the job."""
        figures = self._figures(gauge)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=min(gauge.rows, max(self._total, 1)), figures=figures)
        elif time.monotonic() - self._spoken >= LINE_S:
            self._spoken = time.monotonic()
            self._say(timed(f"{self._what}: {figures}"))

    def count(self, rows: int) -> None:
        """Report so many more rows, of work that has neither ranges nor dead rows."""
        self._counted += rows
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._counted, figures=f"{self._counted:,} of {self._total:,}")
        elif time.monotonic() - self._spoken >= LINE_S:
            self._spoken = time.monotonic()
            self._say(timed(f"{self._what}: {self._counted:,} of {self._total:,} texts"))

    def _figures(self, gauge: Gauge) -> str:
        rate = self._rate(gauge.rows)
        parts = [f"{gauge.rows:,} of about {self._total:,} rows" if self._total else f"{gauge.rows:,} rows"]
        parts += [f"{rate:,.0f} rows/s"] if rate else []
        parts += [f"{gauge.done}/{gauge.ranges} ranges", f"{gauge.dead} dead"]
        parts += [f"{gauge.failed} failed"] if gauge.failed else []
        parts += [gauge.doing] if gauge.doing else []
        if rate and self._total > gauge.rows:
            parts.append(f"about {(self._total - gauge.rows) / rate:,.0f} s left")
        return "  ".join(parts)

    def _rate(self, rows: int) -> float:
        """Rows per second since the first of this run; 0 before that. What an earlier run did says nothing."""
        now = time.monotonic()
        if self._began is None or (not self._moving and rows <= self._began[0]):
            self._began = rows, now
            return 0.0
        self._moving = True
        return (rows - self._began[0]) / max(now - self._began[1], 0.001)


def timed(line: str) -> str:
    """A line of progress for a log, with the time of day in UTC."""
    return f"{datetime.now(UTC):%H:%M:%S} {line}"
