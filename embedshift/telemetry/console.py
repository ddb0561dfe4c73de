"""The output of a step: lines for people on a terminal or in a log, and one JSON object for machines."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console as RichConsole
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from embedshift.telemetry.logs import in_json

_LOG = logging.getLogger(__name__)
#: Seconds between two progress lines if there is no terminal.
_LINE_SECONDS = 5.0


class Gauge(Protocol):
    """The figures of a running step: the totals from the catalog."""

    @property
    def ranges(self) -> int: ...  # noqa: D102 - the names say it
    @property
    def done(self) -> int: ...  # noqa: D102
    @property
    def failed(self) -> int: ...  # noqa: D102


class Console:
    """The output of a step. Lines for people go to standard output, or to standard error if JSON is requested."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self._rich = RichConsole(stderr=as_json, highlight=False, soft_wrap=True, quiet=quiet)

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
        self._total = max(rows_total, 1)
        self._started = time.monotonic()
        self._before: int | None = None
        self._spoken = self._started
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    @contextmanager
    def live(self) -> Iterator[None]:
        """Keep the bar on the screen, if there is a terminal."""
        if not self._console.is_terminal:
            yield
            return
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[figures]}"))
        with Progress(*columns, TimeRemainingColumn(), console=self._console) as bar:
            self._bar = bar
            self._task = bar.add_task(self._what, total=self._total, figures="")
            yield

    def show(self, gauge: Gauge, rows: int, dead: int) -> None:
        """Report the progress of the job.

        Args:
            gauge: ranges in total, done and failed.
            rows: rows of the ranges that are done.
            dead: dead letters among them.
        """
        if self._before is None:
            # What an earlier run did says nothing about the speed of this one.
            self._before = rows
            self._started = time.monotonic()
        rate = (rows - self._before) / max(time.monotonic() - self._started, 0.001)
        figures = f"{rows:,} rows  {rate:,.0f} rows/s  {gauge.done}/{gauge.ranges} ranges  {dead} dead"
        if gauge.failed:
            figures += f"  {gauge.failed} failed"
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=min(rows, self._total), figures=figures)
        elif time.monotonic() - self._spoken >= _LINE_SECONDS:
            self._spoken = time.monotonic()
            left = f"  about {max(0, self._total - rows) / rate:,.0f} s left" if rate > 0 else ""
            self._say(f"{self._what}: {figures}{left}")
