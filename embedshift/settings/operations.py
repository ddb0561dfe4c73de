"""Settings around a run: throttling, hooks, metrics and the log."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, Secret, model_validator

from embedshift.settings.values import Duration, Frozen
from embedshift.times import parse_window


class Hook(Secret[str | tuple[str, ...]]):
    """A command as a list, an address, or ``env:NAME``; printed without arguments and paths, which may have a token."""

    def _display(self) -> str:
        value = self.get_secret_value()
        if isinstance(value, str):
            return value if value.startswith("env:") else without_paths(value)
        return without_paths(value[0]) + (" …" if len(value) > 1 else "")


def without_paths(text: str) -> str:
    """A text in which web addresses are cut after the host, without user and password."""
    return re.sub(r"(https?://)(?:[^/\s@]*@)?([^/\s?#]*)[^\s]*", r"\1\2/…", text)


def _check_hook(hook: Hook) -> Hook:
    value = hook.get_secret_value()
    if isinstance(value, tuple) and not (value and value[0]):
        raise ValueError("the command is empty; write its program and arguments as a list")
    if isinstance(value, str) and not re.match(r"https?://[^/\s?#]|env:[A-Za-z_]\w*$", value):
        raise ValueError(
            "neither an address, https://…, nor the name of a variable that holds one, env:NAME; a command is a list"
        )
    return hook


CheckedHook = Annotated[Hook, AfterValidator(_check_hook)]


class HookSettings(Frozen):
    """Hooks that are called during a migration, or asked before its cutover: a command, or an HTTP address."""

    on_state_change: CheckedHook | None = Field(None, description="called at each new state of a migration")
    on_failure: CheckedHook | None = Field(None, description="called when a step has failed, with its error line")
    before_cutover: CheckedHook | None = Field(
        None, description="called before the alias moves; if it fails, the cutover stops and the alias does not move"
    )
    after_cutover: CheckedHook | None = Field(None, description="called when a cutover is complete")
    timeout: Duration = Field(
        timedelta(seconds=30), description="a hook that takes longer is stopped and counts as failed"
    )


class ThrottleSettings(Frozen):
    """How fast load and sync may go; embedshift throttle overrides it while they run."""

    rows_per_second: float | None = Field(
        None, gt=0, description="maximum rows per second of the whole run, for any number of workers"
    )
    max_latency: Duration | None = Field(
        None, description="writers slow down while the p99 of the store's write latency is above this"
    )
    between: Annotated[str, AfterValidator(lambda text: str(parse_window(text)))] | None = Field(
        None, description="hours in which rows are written, such as 22:00-06:00; a time zone may follow"
    )

    @model_validator(mode="after")
    def _possible(self) -> ThrottleSettings:
        if self.max_latency is not None and self.max_latency <= timedelta(0):
            raise ValueError("max_latency must be more than 0; null sets no limit")
        return self


class MetricsSettings(Frozen):
    """Metrics of a running step for Prometheus; docs/reference/metrics.md names every metric."""

    port: int | None = Field(
        None, ge=1, le=65535, description="a port for Prometheus while a step runs; not opened if null"
    )
    host: str = Field("127.0.0.1", description="the address of that port; 0.0.0.0 opens it to the network")
    textfile: Path | None = Field(
        None, description="an OpenMetrics file, written regularly and at the end of a step; none if null"
    )


class LogSettings(Frozen):
    """The log on standard error, in addition to the lines for people."""

    format: Literal["console", "json"] = Field(
        "console", description="json: one object per line, with the run's id, from driver and workers"
    )
    level: Literal["debug", "info", "warning", "error"] | None = Field(
        None, description="the lowest level that is logged; if null, warning for console and info for json"
    )
