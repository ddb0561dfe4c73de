"""The console script ``embedshift``, and ``python -m embedshift``."""

import gc
import os
import sys

_INTERRUPTED = 130


def entry(*command: str) -> None:
    """Run the command line, after the words ``command``.

    Ctrl-C while Python still reads its modules ends it as quietly as later.
    """
    # What a command imports stays: looking through it for garbage after each 700 objects takes a twentieth of its time.
    gc.set_threshold(20_000)
    try:
        _open_streams()
        from embedshift.cli.app import main
        from embedshift.telemetry.terminal import own_terminal

        with own_terminal():
            code = main([*command, *sys.argv[1:]])
    except KeyboardInterrupt:
        code = _INTERRUPTED
    sys.exit(code)


def _open_streams() -> None:
    """Let a standard stream that the caller has closed lead nowhere, so that no file takes its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115


if __name__ == "__main__":
    entry()
