"""The console script ``embedshift``, and ``python -m embedshift``."""

import sys


def entry() -> None:
    """Run the command line; Ctrl-C while Python still reads its modules ends it as quietly as later."""
    try:
        from embedshift.cli.app import main
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(main())


if __name__ == "__main__":
    entry()
