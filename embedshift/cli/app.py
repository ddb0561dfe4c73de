"""The command line: ``embedshift COMMAND --config FILE``. A command is one step or operation; an error is one line."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from embedshift import __version__
from embedshift.cli.admin import config_app, letters_app, schema_app
from embedshift.cli.articles import articles_app, search_app
from embedshift.cli.feed import feed_app
from embedshift.cli.maintenance import maintenance_app
from embedshift.cli.migration import migration_app
from embedshift.cli.monitor import monitor_app
from embedshift.errors import EmbedshiftError
from embedshift.telemetry import terminal
from embedshift.telemetry.logs import in_json, stop_log

app = typer.Typer(
    name="embedshift",
    help="Change the embedding model under a live vector search, and lose nothing.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 done, 1 a check failed, 2 wrong usage or settings, 3 the store or a model is not available, "
    "4 refused because another run owns the migration or its state forbids it, 130 interrupted.",
)
# Those without a name put their commands beside the groups.
app.add_typer(migration_app)
app.add_typer(monitor_app)
app.add_typer(maintenance_app)
app.add_typer(feed_app)
app.add_typer(search_app)
app.add_typer(articles_app, name="articles")
app.add_typer(letters_app, name="dead-letters")
app.add_typer(schema_app, name="schema")
app.add_typer(config_app, name="config")

_LOG = logging.getLogger(__name__)
_INTERRUPTED = 130
_INTERRUPTED_LINE = "interrupted: finished work is kept, run the same command again to continue"
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Returns the exit code; an error has been printed as one line by then."""
    try:
        return _main(arguments)
    finally:
        stop_log()


def _main(arguments: Sequence[str] | None) -> int:
    try:
        command: Any = typer.main.get_command(app)
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

        traceback.print_exception(error, file=terminal.stderr())
    if in_json():
        _LOG.error(line, extra={"exit_code": code})
        return code
    with contextlib.suppress(BrokenPipeError):
        print(f"embedshift: {line}", file=terminal.stderr())
    return code
