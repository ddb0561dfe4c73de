"""Record terminal sessions: type the commands of the demo on a pseudo-terminal, and draw the screen as SVG.

Run by ``make record``. The pictures show what the commands printed, with colours; only the path of the checkout is
shortened, and of a progress bar only the last state is kept.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import tempfile
import termios
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "pictures"
CONFIG = "configs/demo.yaml"
WIDTH = 116
_DEADLINE_S = 1800
_QUESTION = "my windows drip in the morning"


@dataclass(frozen=True, slots=True)
class Session:
    """The commands to type, one after another, and the name of the picture."""

    name: str
    title: str
    commands: tuple[str, ...]


SESSIONS = (
    Session(
        "migrate",
        "a better model under a live search",
        (
            f'embedshift search "{_QUESTION}" -k 3',
            "embedshift migrate",
            f'embedshift search "{_QUESTION}" -k 3',
        ),
    ),
    Session("status", "what is live, and the way back", ("embedshift status", "embedshift rollback --dry-run")),
)


def run(command: str, folder: Path) -> str:
    """What a command prints on a terminal with ``WIDTH`` columns.

    Raises:
        subprocess.CalledProcessError: the command failed.
    """
    words = [sys.executable, "-m", "embedshift", *shlex.split(command)[1:], "--config", CONFIG]
    environment = {**os.environ, "TERM": "xterm-256color", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, WIDTH, 0, 0))
    with subprocess.Popen(words, cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs) as typed:
        os.close(theirs)
        seen = bytearray()
        try:
            while chunk := os.read(ours, 65536):
                seen += chunk
        except OSError:  # on Linux: the other end is closed
            pass
        finally:
            os.close(ours)
        code = typed.wait(_DEADLINE_S)
    if code:
        raise subprocess.CalledProcessError(code, words, seen.decode())
    return settled(seen.decode()).replace(f"{folder}/", "").replace(f"{ROOT}/", "")


def settled(seen: str) -> str:
    """The lines that stay on the screen, without what a progress bar has overwritten.

    Only the control codes that rich and typer use are known: start of line, up a line, erase a line, and cursors.
    """
    lines = [""]
    for part in re.split(r"(\r?\n|\r|\x1b\[\d*A|\x1b\[2K|\x1b\[\?25[lh])", seen):
        if part in ("\n", "\r\n"):
            lines.append("")
        elif part == "\x1b[2K":
            lines[-1] = ""
        elif part.endswith("A") and part.startswith("\x1b["):
            del lines[-1]
        elif part == "\r" or part.startswith("\x1b[?25"):
            continue
        else:
            lines[-1] += part
    return "\n".join(lines)


def picture(session: Session, folder: Path) -> str:
    """The session as SVG."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    for command in session.commands:
        console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
        console.print(Text.from_ansi(run(command, folder).strip("\n")), soft_wrap=False)
        console.print()
    return _whole(console.export_svg(title=session.title, theme=MONOKAI, unique_id=session.name))


def _whole(drawn: str) -> str:
    """A picture that loads nothing: rich names a font on another server, and any font of fixed width will do."""
    drawn = re.sub(r"@font-face \{.*?\}\n", "", drawn, flags=re.DOTALL)
    drawn = drawn.replace("Fira Code, monospace", "ui-monospace, Menlo, Consolas, DejaVu Sans Mono, monospace")
    drawn = re.sub(r"<!-- .*? -->", "<!-- Recorded by scripts/record.py. -->", drawn, count=1)
    return re.sub(r"[ \t]+$", "", drawn, flags=re.MULTILINE)


def main() -> int:
    """Import the demo's articles into a new store, then record each session."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        for name in ("configs", "embedshift"):
            (folder / name).symlink_to(ROOT / name)
        run("embedshift import embedshift/data/demo/articles.jsonl", folder)
        FOLDER.mkdir(parents=True, exist_ok=True)
        for session in SESSIONS:
            (FOLDER / f"{session.name}.svg").write_text(picture(session, folder), "utf-8")
            print(FOLDER / f"{session.name}.svg")
    return 0


if __name__ == "__main__":
    sys.exit(main())
