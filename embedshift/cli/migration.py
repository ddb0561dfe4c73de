"""The steps of a migration, from prepare to retire, and the commands that run them in order."""

from __future__ import annotations

from typing import Annotated

import typer

from embedshift.cli.command import DryRun, Yes, command
from embedshift.cli.run import Invocation, ask
from embedshift.errors import UsageError

migration_app = typer.Typer()
_Text = str | None


@command(migration_app)
def upgrade(
    call: Invocation,
    to_model: Annotated[_Text, typer.Option(metavar="NAME", help="The model; target.model by default.")] = None,
    revision: Annotated[_Text, typer.Option(metavar="COMMIT", help="Its commit or tag on the hub.")] = None,
    query_prompt: Annotated[_Text, typer.Option(metavar="TEXT", help="Put before every question.")] = None,
    document_prompt: Annotated[_Text, typer.Option(metavar="TEXT", help="Put before every document.")] = None,
    when: Annotated[
        _Text,
        typer.Option(metavar="WINDOW", help="Run only in this window: 22:00-06:00, sat,sun 01:00-05:00, sunday 02:30."),
    ] = None,
    dry_run: DryRun = False,
) -> None:
    """Move the alias to a model: migrate to the next version, resume what was interrupted, or do nothing.

    For schedulers: the same line may be run again and again. Exit 0: done, nothing to do, or not now; 1: a check
    failed; 4: another run is at work, or somebody must decide first. With --json, outcome says which.
    """
    from embedshift.steps.upgrade import upgrade as step

    call.step(
        step,
        from_file=True,
        to_model=to_model,
        revision=revision,
        query_prompt=query_prompt,
        document_prompt=document_prompt,
        when=when,
        dry_run=dry_run,
    )


@command(migration_app)
def migrate(
    call: Invocation,
    dry_run: DryRun = False,
    until: Annotated[str, typer.Option(metavar="STEP", help="The last step to run.")] = "cutover",
) -> None:
    """Run prepare, load, sync, index, sync, validate and cutover, from where an earlier run stopped."""
    from embedshift.steps.migrate import migrate as step

    call.step(step, from_file=True, dry_run=dry_run, until=until)


@command(migration_app)
def prepare(call: Invocation, dry_run: DryRun = False) -> None:
    """Check source, model and settings; create the versioned target; record the migration."""
    from embedshift.steps.prepare import prepare as step

    call.step(step, from_file=True, dry_run=dry_run)


@command(migration_app)
def load(
    call: Invocation,
    dry_run: DryRun = False,
    drop_index: Annotated[
        bool, typer.Option("--drop-index", help="ScyllaDB: drop an index that the target has already.")
    ] = False,
) -> None:
    """Scan the source by token ranges, embed with the new model, write into the target."""
    from embedshift.steps.load import load as step

    call.step(step, dry_run=dry_run, drop_index=drop_index)


@command(migration_app)
def index(
    call: Invocation,
    dry_run: DryRun = False,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Drop it first; nobody searches the target yet.")] = False,
) -> None:
    """Build the target's vector index and wait until it answers."""
    from embedshift.steps.index import index as step

    call.step(step, dry_run=dry_run, rebuild=rebuild)


@command(migration_app)
def sync(
    call: Invocation,
    dry_run: DryRun = False,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only rows written since: 2h ago, or 2026-11-24T02:30.")
    ] = None,
) -> None:
    """Compare source and target and repair what differs, until a pass finds nothing."""
    from embedshift.steps.sync import sync as step

    call.step(step, dry_run=dry_run, since=since)


@command(migration_app)
def validate(call: Invocation) -> None:
    """Prove that the target is complete and answers as well as the source; exit 1 if a check fails."""
    from embedshift.steps.validate import validate as step

    call.step(step)


@command(migration_app)
def cutover(
    call: Invocation,
    dry_run: DryRun = False,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Switch at this time, 02:30; keep the target ready until then.")
    ] = None,
    hold: Annotated[bool, typer.Option("--hold", help="Keep the target ready and wait for cutover --go.")] = False,
    go: Annotated[bool, typer.Option("--go", help="Release a cutover that waits with --hold.")] = False,
    or_rollback: Annotated[
        bool, typer.Option("--or-rollback", help="If anything fails after the switch, roll back.")
    ] = False,
) -> None:
    """Move the alias to the new table and model, by compare-and-set, after a fresh passing validation."""
    from embedshift.steps.cutover import cutover as step
    from embedshift.steps.cutover import release_cutover

    if go:
        if at or hold or or_rollback or dry_run:
            raise UsageError("--go only releases another run", hint="leave the other options out")
        call.step(release_cutover, signal=True)
        return
    call.step(step, dry_run=dry_run, at=at, hold=hold, or_rollback=or_rollback)


@command(migration_app)
def rollback(call: Invocation, dry_run: DryRun = False) -> None:
    """Carry what was written since the cutover back into the old table, then move the alias back."""
    from embedshift.steps.rollback import rollback as step

    call.step(step, dry_run=dry_run)


@command(migration_app)
def retire(
    call: Invocation,
    dry_run: DryRun = False,
    yes: Yes = False,
    snapshot: Annotated[
        bool, typer.Option("--snapshot", help="Refuse if the store keeps no copy of what is dropped.")
    ] = False,
    discard: Annotated[
        bool, typer.Option("--discard", help="Drop it even if it has rows that are nowhere else.")
    ] = False,
) -> None:
    """Drop the old table and its index after the grace time; after that no rollback is possible."""
    from embedshift.steps.retire import retire as step

    confirm = None if yes else ask
    call.step(step, dry_run=dry_run, snapshot=snapshot, discard=discard, confirm=confirm)


@command(migration_app)
def abort(call: Invocation, dry_run: DryRun = False, yes: Yes = False) -> None:
    """Abort a migration before cutover and drop its target table; the live table stays as it is."""
    from embedshift.steps.abort import abort as step

    confirm = None if yes else ask
    call.step(step, dry_run=dry_run, confirm=confirm)
