"""The command line: ``embedshift STEP --config FILE``. Each command is one step module; an error is one line."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from jobs import __version__
from jobs.articles_cli import articles_app
from jobs.data_cli import config_app, follow, import_, letters_app, schema_app, search
from jobs.errors import EmbedshiftError, UsageError
from jobs.logs import in_json, stop_log
from jobs.options import AsJson, Config, DryRun, Overrides, Yes
from jobs.pace_cli import pace_app
from jobs.plan_cli import plan_
from jobs.running import ask, run_step
from jobs.upgrade_cli import upgrade
from jobs.watch_cli import report, serve, status

app = typer.Typer(
    name="embedshift",
    help="Change the embedding model under a live vector search, and lose nothing.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 done, 1 a check failed, 2 wrong use or settings, 3 the store or a model cannot be had, "
    "4 refused because another run owns it or the state forbids it, 130 interrupted.",
)
app.add_typer(config_app, name="config")
app.add_typer(schema_app, name="schema")
app.add_typer(letters_app, name="dead-letters")
app.add_typer(articles_app, name="articles")
app.add_typer(pace_app)

_LOG = logging.getLogger(__name__)
_INTERRUPTED = 130
_INTERRUPTED_LINE = "interrupted: what is done stays done, run the same command again to go on"
#: Set by --debug: errors show their traceback.
_debug = False


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    global _debug  # noqa: PLW0603 - one process, one command
    _debug = debug
    if version:
        typer.echo(f"embedshift {__version__}")
        raise typer.Exit


@app.command()
def migrate(
    config: Config,
    overrides: Overrides = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
    until: Annotated[str, typer.Option(metavar="STEP", help="The last step to run.")] = "cutover",
) -> None:
    """Run prepare, load, index, sync, validate and cutover, taken up where an earlier run left off."""
    from jobs.migrate import migrate as step

    run_step(step, config, overrides, as_json, dry_run=dry_run, until=until)


@app.command()
def prepare(config: Config, overrides: Overrides = None, as_json: AsJson = False, dry_run: DryRun = False) -> None:
    """Check source, model and settings; create the versioned target; record the migration."""
    from jobs.prepare import prepare as step

    run_step(step, config, overrides, as_json, dry_run=dry_run)


@app.command()
def load(config: Config, overrides: Overrides = None, as_json: AsJson = False, dry_run: DryRun = False) -> None:
    """Scan the source by token ranges, embed with the new model, write into the target."""
    from jobs.load import load as step

    run_step(step, config, overrides, as_json, dry_run=dry_run)


@app.command()
def index(config: Config, overrides: Overrides = None, as_json: AsJson = False, dry_run: DryRun = False) -> None:
    """Build the target's vector index and wait until it answers."""
    from jobs.index import index as step

    run_step(step, config, overrides, as_json, dry_run=dry_run)


@app.command()
def sync(
    config: Config,
    overrides: Overrides = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only rows written since: 2h ago, or 2026-11-24T02:30.")
    ] = None,
) -> None:
    """Compare source and target and mend what differs, until a pass finds nothing."""
    from jobs.sync import sync as step

    run_step(step, config, overrides, as_json, dry_run=dry_run, since=since)


@app.command()
def validate(config: Config, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Prove that the target is complete and that it answers as well; exit 1 where a check fails."""
    from jobs.validate import validate as step

    run_step(step, config, overrides, as_json)


@app.command()
def cutover(
    config: Config,
    overrides: Overrides = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="Switch at this time, 02:30, and keep all ready until then.")
    ] = None,
    hold: Annotated[bool, typer.Option("--hold", help="Keep all ready and wait for the word: cutover --go.")] = False,
    go: Annotated[bool, typer.Option("--go", help="Give the word to a cutover that waits for it.")] = False,
    or_rollback: Annotated[
        bool, typer.Option("--or-rollback", help="Where anything fails behind the switch, go back.")
    ] = False,
) -> None:
    """Move the alias to the new table and model, by compare-and-set, after a fresh passing validation."""
    from jobs.cutover import cutover as step
    from jobs.cutover import give_word

    if go:
        if at or hold or or_rollback or dry_run:
            raise UsageError("--go only gives the word to another run", hint="leave the other options out")
        run_step(give_word, config, overrides, as_json)
        return
    run_step(step, config, overrides, as_json, dry_run=dry_run, at=at, hold=hold, or_rollback=or_rollback)


@app.command()
def rollback(config: Config, overrides: Overrides = None, as_json: AsJson = False, dry_run: DryRun = False) -> None:
    """Carry what was written since the cutover back into the old table, then move the alias back."""
    from jobs.rollback import rollback as step

    run_step(step, config, overrides, as_json, dry_run=dry_run)


@app.command()
def retire(
    config: Config,
    overrides: Overrides = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    snapshot: Annotated[
        bool, typer.Option("--snapshot", help="Refuse where the store keeps no copy of what is dropped.")
    ] = False,
) -> None:
    """Drop the old table and its index after the grace time; then there is no way back."""
    from jobs.retire import retire as step

    confirm = None if yes else ask
    run_step(step, config, overrides, as_json, dry_run=dry_run, snapshot=snapshot, confirm=confirm)


@app.command()
def abort(
    config: Config, overrides: Overrides = None, as_json: AsJson = False, dry_run: DryRun = False, yes: Yes = False
) -> None:
    """Give a migration up whose target is not live: drop the target; the live table stays as it is."""
    from jobs.abort import abort as step

    confirm = None if yes else ask
    run_step(step, config, overrides, as_json, dry_run=dry_run, confirm=confirm)


app.command()(status)
app.command()(serve)
app.command()(report)


@app.command()
def shadow(
    config: Config,
    questions: Annotated[Path, typer.Option(metavar="FILE", help='Questions: a text a line, or JSONL with "text".')],
    rate: Annotated[float, typer.Option(metavar="N", min=0.01, max=1000, help="Questions a second.")] = 5,
    minutes: Annotated[float, typer.Option(metavar="M", min=0.001, max=100_000, help="How long.")] = 1,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Send questions to the live and the new table, and compare answers and latency for the report."""
    from jobs.shadow import shadow as step

    run_step(step, config, overrides, as_json, questions=questions, rate=rate, minutes=minutes)


@app.command()
def audit(
    config: Config,
    overrides: Overrides = None,
    as_json: AsJson = False,
    repair: Annotated[bool, typer.Option("--repair", help="Make new vectors where they are missing or wrong.")] = False,
    sample: Annotated[str, typer.Option(metavar="SHARE", help="How much of the table: 1%, or 0.01.")] = "100%",
) -> None:
    """Count rows of the live table without a good vector of their text; exit 1 where there are too many."""
    from jobs.audit import audit as step

    run_step(step, config, overrides, as_json, repair=repair, sample=sample)


@app.command()
def reindex(
    config: Config,
    overrides: Overrides = None,
    as_json: AsJson = False,
    dry_run: DryRun = False,
    in_place: Annotated[bool, typer.Option("--in-place", help="Drop and create the live table's own index.")] = False,
    yes: Yes = False,
) -> None:
    """Give the live table's index the options of target.index; search is away while it is built."""
    from jobs.reindex import reindex as step

    if not in_place:
        raise UsageError(
            "reindex works in place only: say --in-place",
            hint="for other options without an interruption leave target.model out and run embedshift migrate",
        )
    run_step(step, config, overrides, as_json, dry_run=dry_run, accepted=yes)


app.command("upgrade")(upgrade)
app.command("plan")(plan_)
app.command("import")(import_)
app.command("search")(search)
app.command("follow")(follow)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code; an error has been printed as one line by then."""
    command = typer.main.get_command(app)
    try:
        return _main(command, arguments)
    finally:
        stop_log()


def _main(command: Any, arguments: Sequence[str] | None) -> int:
    try:
        code = command.main(args=list(arguments) if arguments is not None else None, standalone_mode=False)
    except EmbedshiftError as error:
        return _failed(error, str(error), error.exit_code)
    except typer.TyperException as error:
        return _failed(error, error.format_message(), 2)
    except (KeyboardInterrupt, typer.Abort) as error:
        return _failed(error, _INTERRUPTED_LINE, _INTERRUPTED)
    # A defect of ours, or of a library: still one line, and the way to more.
    except Exception as error:  # noqa: BLE001
        return _failed(error, f"{type(error).__name__}: {str(error).partition(chr(10))[0]} (--debug shows where)", 1)
    if code == _INTERRUPTED:  # Typer turns Ctrl-C into this code, and says nothing
        return _failed(KeyboardInterrupt(), _INTERRUPTED_LINE, _INTERRUPTED)
    return code if isinstance(code, int) else 0


def _failed(error: BaseException, line: str, code: int) -> int:
    if _debug:
        import traceback

        traceback.print_exception(error)
    if in_json():
        _LOG.error(line, extra={"exit_code": code})
        return code
    with contextlib.suppress(BrokenPipeError):
        print(f"embedshift: {line}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
