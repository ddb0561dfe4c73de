"""The console script ``embedshift``, and ``python -m embedshift``."""

import gc
import sys


def entry(*command: str) -> None:
    """Run the command line, after the words ``command``.

    Ctrl-C while Python still reads its modules ends it as quietly as later.
    """
    # What a command imports stays: looking through it for garbage after each 700 objects takes a twentieth of its time.
    gc.set_threshold(20_000)
    try:
        from embedshift.cli.app import main
        from embedshift.telemetry.terminal import own_terminal
    except KeyboardInterrupt:
        sys.exit(130)
    with own_terminal():
        code = main([*command, *sys.argv[1:]])
    sys.exit(code)


if __name__ == "__main__":
    entry()
