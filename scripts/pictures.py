"""Draw the pictures of docs/pictures that are not photographs: the data flow, and the states of a migration.

They are plain SVG, so that they are shown wherever Markdown is, without a script and without a network.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from itertools import groupby
from pathlib import Path
from textwrap import wrap

from scripts.reference import MOVES

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "pictures"
_NOTE = "<!-- Drawn by scripts/pictures.py; change that, then run it again. -->"
#: On a background of its own, the same in light and dark mode.
_STYLE = """
  text { font: 14px system-ui, sans-serif; fill: #1c2b33; text-anchor: middle; }
  .small { font-size: 12px; fill: #44545c; paint-order: stroke; stroke: #fbfcfa; stroke-width: 5px; }
  .bold { font-weight: 600; }
  .card { fill: #fbfcfa; stroke: #d5dcd8; }
  .box { fill: #eef2f4; stroke: #7a8b94; }
  .old { fill: #dce9f5; stroke: #4878a8; }
  .new { fill: #dcefe3; stroke: #3c8a5c; }
  .gate { fill: #fdf1d4; stroke: #b98a1c; }
  .end { fill: #f3f3f3; stroke: #b5b5b5; }
  path { fill: none; stroke: #51626b; stroke-width: 1.6; }
  .dashed { stroke-dasharray: 5 4; }
  marker path { fill: #51626b; stroke: none; }
"""


@dataclass(frozen=True, slots=True)
class Box:
    """A rounded box around ``(x, y)``; its first line is its name."""

    x: int
    y: int
    lines: tuple[str, ...]
    kind: str = "box"
    width: int = 170
    height: int = 56

    def drawn(self) -> str:
        """As SVG."""
        left, top = self.x - self.width // 2, self.y - self.height // 2
        first = self.y + 5 - 9 * (len(self.lines) - 1)
        words = [
            f'<text x="{self.x}" y="{first + 18 * at}" class="{"small" if at else "bold"}">{escape(line)}</text>'
            for at, line in enumerate(self.lines)
        ]
        shape = f'<rect x="{left}" y="{top}" width="{self.width}" height="{self.height}" rx="9" class="{self.kind}"/>'
        return "\n".join([shape, *words]).replace('class="small"', 'class="small" style="stroke:none"')


@dataclass(frozen=True, slots=True)
class Arrow:
    """A path in SVG syntax, and a text at a position."""

    path: str
    text: tuple[str, ...] = ()
    at: tuple[int, int] = (0, 0)
    dashed: bool = False

    def drawn(self) -> str:
        """As SVG."""
        words = [
            f'<text x="{self.at[0]}" y="{self.at[1] + 15 * row}" class="small">{escape(line)}</text>'
            for row, line in enumerate(self.text)
        ]
        style = ' class="dashed"' if self.dashed else ""
        return "\n".join([f'<path d="{self.path}" marker-end="url(#head)"{style}/>', *words])


def _picture(width: int, height: int, title: str, parts: Iterable[Box | Arrow]) -> str:
    drawn = sorted(parts, key=lambda part: isinstance(part, Box))  # boxes over the ends of arrows
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" role="img" aria-label="{escape(title)}">',
            _NOTE,
            f"<title>{escape(title)}</title>",
            f"<style>{_STYLE}</style>",
            '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
            'orient="auto-start-reverse"><path d="M0 0 L8 4 L0 8 z"/></marker></defs>',
            f'<rect x="1" y="1" width="{width - 2}" height="{height - 2}" rx="14" class="card"/>',
            *(part.drawn() for part in drawn),
            "</svg>",
            "",
        ]
    )


def concepts() -> str:
    """Both tables, what is carried between them, and the row that says which is live."""
    return _picture(
        960,
        470,
        "Applications follow one alias row. A migration fills a second table beside the live one, validates it, "
        "and moves that row.",
        [
            Box(480, 50, ("applications", "search and write through the alias"), width=250),
            Box(480, 150, ("alias row", "table + model, with a version"), "gate", 250),
            Box(150, 275, ("articles", "live: the old model's vectors"), "old", 220, 70),
            Box(810, 275, ("articles_v2", "target: the new model's vectors"), "new", 230, 70),
            Box(
                480,
                275,
                ("each token range", "scan → compare → embed", "→ write at the source's times"),
                width=230,
                height=84,
            ),
            Box(480, 410, ("dead letter", "key and reason"), "end", 150),
            Box(810, 410, ("validate", "complete? recall? relevance?"), "gate", 230),
            Box(150, 410, ("retired", "dropped after the grace time"), "end", 220),
            Arrow("M480 78 V120"),
            Arrow("M355 150 H150 V238", ("before the cutover",), (235, 140)),
            Arrow("M605 143 H790 V238", ("after the cutover",), (700, 134), dashed=True),
            Arrow("M260 275 H363", ("load, sync",), (312, 265)),
            Arrow("M595 275 H693", ("differences",), (644, 265)),
            Arrow("M720 240 C655 196 305 196 242 238", ("rollback: what was written since",), (480, 211), dashed=True),
            Arrow("M480 317 V380", ("cannot be embedded",), (556, 353)),
            Arrow("M810 310 V380", ("index",), (810, 349)),
            Arrow("M925 410 H945 V165 H607", ("cutover: compare-and-set",), (690, 182)),
            Arrow("M150 310 V380", ("retire",), (150, 349)),
        ],
    )


def token_range() -> str:
    """The stages of one range in its worker process, and what each of them talks to."""
    return _picture(
        960,
        400,
        "A Spark task gets a token range. Its worker reads and compares both tables, embeds and writes, and records "
        "the range in the catalog. Reading is one window ahead, writing one behind.",
        [
            Box(480, 50, ("Spark's driver", "hands out ranges: three numbers each"), width=290),
            Box(190, 190, ("read, compare, tokenise", "window 3"), "old", 240, 64),
            Box(480, 190, ("embed", "window 2"), "gate", 170, 64),
            Box(770, 190, ("write", "window 1"), "new", 240, 64),
            Box(190, 345, ("source and target", "page by page"), "box", 240),
            Box(480, 345, ("catalog", "one row a range: its outcome"), "box", 240),
            Box(770, 345, ("target", "cells at the source's times"), "box", 240),
            Arrow("M480 78 V120 H190 V156", ("one task, one worker process, three windows at most",), (660, 125)),
            Arrow("M310 190 H393", ("what differs",), (352, 180)),
            Arrow("M565 190 H648", ("vectors",), (607, 180)),
            Arrow("M190 317 V224", ("a thread, one window ahead",), (190, 275)),
            Arrow("M770 222 V315", ("a thread, one window behind",), (770, 275)),
            Arrow("M480 222 V315", ("every 2 s: how far it is",), (480, 275), dashed=True),
        ],
    )


#: The position of each state.
_PLACES = {
    "preparing": (75, 120),
    "prepared": (235, 120),
    "loaded": (385, 120),
    "caught_up": (535, 120),
    "indexed": (695, 120),
    "synced": (855, 120),
    "validated": (1055, 120),
    "switching": (1055, 300),
    "switched": (875, 300),
    "rolling_back": (665, 300),
    "rolled_back": (495, 300),
    "closed": (1055, 420),
    "retiring": (875, 420),
    "retired": (665, 420),
    "aborting": (225, 300),
    "aborted": (65, 300),
}
_KINDS = {"switched": "new", "switching": "gate", "rolling_back": "gate", "retired": "end", "aborted": "end"}
#: The paths that are not straight lines, and the positions of their texts.
_WAYS = {
    ("validated", "synced"): ("M1005 132 H907", (956, 150)),
    ("synced", "validated"): ("M905 108 H1003", (956, 100)),
    ("switching", "validated"): ("M1085 281 V141", (1132, 190)),
    ("validated", "switching"): ("M1035 139 V279", (1005, 222)),
    ("switching", "rolling_back"): ("M1015 281 C960 255 760 255 685 279", (770, 270)),
    ("rolled_back", "synced"): ("M495 281 V232 H855 V141", (675, 226)),
    ("switched", "retiring"): ("M875 319 V399", (875, 375)),
    ("switched", "closed"): ("M915 319 L1022 399", (1010, 352)),
    ("rolling_back", "closed"): ("M685 319 C720 370 800 372 1022 405", (800, 392)),
    ("switching", "aborting"): ("M1035 319 C980 352 400 352 245 321", (400, 360)),
    ("synced", "synced"): ("M835 101 C815 45 895 45 875 99", (855, 48)),
    ("switched", "switched"): ("M855 281 C840 240 910 240 895 279", (875, 246)),
    ("synced", "aborting"): ("M815 139 V185 H225 V279", (425, 179)),
}


def states() -> str:
    """How the steps change the state."""
    boxes = [Box(*_PLACES[name], (name,), _KINDS.get(name, "box"), 100, 38) for name in _PLACES]
    arrows = []
    for (before, after), moves in groupby(sorted(MOVES, key=lambda move: (move[0], move[2])), lambda m: (m[0], m[2])):
        (x, y), (to_x, to_y) = _PLACES[before], _PLACES[after]
        side = (to_x > x) - (to_x < x)
        straight = f"M{x + 50 * side} {y} H{to_x - 52 * side}" if y == to_y else f"M{x} {y + 19} V{to_y - 21}"
        middle = (x + to_x) // 2, (y + to_y) // 2 + (-10 if y == to_y else 5)
        way, place = _WAYS.get((before, after), (straight, middle))
        words = tuple(line for _, step, _ in moves for line in wrap(step, 20))
        # The text of a loop ends above it.
        arrows.append(Arrow(way, words, (place[0], place[1] - 15 * (len(words) - 1) * (before == after))))
    return _picture(1210, 460, "The states of a migration, and how each step changes them", [*boxes, *arrows])


def pictures() -> dict[str, str]:
    """The pictures by file name."""
    return {"concepts.svg": concepts(), "range.svg": token_range(), "states.svg": states()}


def stale(folder: Path = FOLDER) -> list[str]:
    """The names of the pictures that are missing or out of date."""
    found = {path.name: path.read_text("utf-8") for path in folder.glob("*.svg")}
    return [name for name, content in pictures().items() if found.get(name) != content]


def main() -> int:
    """Draw them."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, content in pictures().items():
        (FOLDER / name).write_text(content, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
