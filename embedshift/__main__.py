"""The console script ``embedshift``, and ``python -m embedshift``."""

import gc
import sys


def entry() -> None:
    """Run the command line; Ctrl-C while Python still reads its modules ends it as quietly as later."""
    # What a command imports stays: looking through it for garbage after each 700 objects takes a twentieth of its time.
    gc.set_threshold(20_000)
    try:
        from embedshift.cli.app import main
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(main())


if __name__ == "__main__":
    entry()
