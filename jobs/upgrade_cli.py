"""The command ``embedshift upgrade``."""

from __future__ import annotations

from typing import Annotated

import typer

from jobs.options import AsJson, Config, DryRun, Overrides
from jobs.running import run_step

_Text = str | None


def upgrade(
    config: Config,
    to_model: Annotated[_Text, typer.Option(metavar="NAME", help="The model; target.model where left out.")] = None,
    revision: Annotated[_Text, typer.Option(metavar="COMMIT", help="Its commit or tag on the hub.")] = None,
    query_prompt: Annotated[_Text, typer.Option(metavar="TEXT", help="Put before every question.")] = None,
    document_prompt: Annotated[_Text, typer.Option(metavar="TEXT", help="Put before every document.")] = None,
    when: Annotated[
        _Text, typer.Option(metavar="WINDOW", help="Only then: 22:00-06:00, sat,sun 01:00-05:00, sunday 02:30.")
    ] = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
) -> None:
    """Bring the alias to a model: migrate to the next version, go on with what was interrupted, or do nothing.

    For schedulers: the same line may be run again and again. Exit 0: done, nothing to do, or not now; 1: a check
    failed; 4: another run is at it, or somebody must decide first. With --json, outcome says which.
    """
    from jobs.upgrade import upgrade as step

    run_step(
        step,
        config,
        overrides,
        as_json,
        to_model=to_model,
        revision=revision,
        query_prompt=query_prompt,
        document_prompt=document_prompt,
        when=when,
        dry_run=dry_run,
    )
