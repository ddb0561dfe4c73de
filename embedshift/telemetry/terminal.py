"""The terminal belongs to this program: what libraries and their processes write goes to the log, for debug.

A command prints its own lines, and only those. PySpark's daemon, Java, tokenizers and many others write to standard
error as they please, from threads and from processes of their own, so nothing short of the file descriptors holds them.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

_LOG = logging.getLogger(__name__)
#: Begins a line that a worker of this program has written: it is passed on as it is. A terminal shows nothing of it.
MARK = "\x1e"
#: Of one line, in the log.
_LINE_MOST = 2000
#: The last line that is passed on; seconds for all lines before it.
_END, _PATIENCE_S = f"\n{MARK}end\n".encode(), 1.0

#: How lines begin that only follow the one that says what is wrong: of a Java stack, and of a JVM that does not start.
_SAYING_NOTHING = ("\t", " ", "Caused by", "Error: Could not create the Java", "Error: A fatal exception has occurred")

_own: TextIO | None = None
#: The last lines of others, for the message of an error.
_heard: deque[str] = deque(maxlen=50)


def stderr() -> TextIO:
    """Where this program's own lines for people go: the standard error that it was started with."""
    return _own or sys.stderr


def is_ours() -> bool:
    """Whether the terminal is kept to this program's own lines."""
    return _own is not None


def last_words() -> str:
    """The last line that another program has written, but for those of a Java stack; empty if there was none."""
    lines = [each.strip() for each in _heard if not each.startswith(_SAYING_NOTHING)]
    return lines[-1][:300] if lines else ""


@contextmanager
def own_terminal() -> Iterator[None]:
    """From here to the end of the process, let nobody but this program write to the terminal.

    ``stderr()`` and ``sys.stdout`` lead to where they led; ``sys.stderr`` and the file descriptors 1 and 2, which child
    processes inherit, lead to the log. After the block what they get is dropped: libraries have words to say when the
    interpreter ends.
    """
    global _own
    try:
        out, error = _copy(sys.stdout, 1), _copy(sys.stderr, 2)
    except (OSError, ValueError):  # one of them is closed, or is no file: there is nothing to keep
        yield
        return
    read, write = os.pipe()
    for number in (1, 2):
        os.dup2(write, number)
    os.close(write)
    sys.stdout, _own = out, error
    sys.stderr = open(2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
    faulthandler.enable(error)
    passed_on = threading.Event()
    threading.Thread(target=_pass_on, args=(read, passed_on), name="embedshift-terminal", daemon=True).start()
    try:
        yield
    finally:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (out, error):
            try:
                stream.flush()
            except OSError:
                # A full device: what could not be written was said before, and Python would fail of it once more.
                os.dup2(nowhere, stream.fileno())
            except ValueError:
                pass
        with suppress(OSError):
            os.write(2, _END)
            passed_on.wait(_PATIENCE_S)
        for number in (1, 2):
            os.dup2(nowhere, number)


def _copy(stream: TextIO, number: int) -> TextIO:
    """A stream like this one, which goes on to lead there when the file descriptor no longer does."""
    stream.flush()
    if stream.fileno() != number:
        return stream
    by_line = number == 2 or stream.isatty()
    return os.fdopen(os.dup(number), "w", 1 if by_line else -1, encoding=stream.encoding, errors=stream.errors)


def _pass_on(read: int, ended: threading.Event) -> None:
    with os.fdopen(read, "rb") as lines:
        for line in lines:
            if line.endswith(_END.lstrip()):
                ended.set()
            elif line.strip():
                _hear(line.decode(errors="replace").rstrip("\n"))


def _hear(line: str) -> None:
    # Another may have begun the line, such as a progress bar, which ends none.
    theirs, mark, ours = line.partition(MARK)
    if theirs.strip():
        _heard.append(theirs)
        _LOG.debug("a library wrote", extra={"line": theirs[:_LINE_MOST]})
    if mark:
        with suppress(OSError, ValueError):
            stderr().write(ours + "\n")
            stderr().flush()
