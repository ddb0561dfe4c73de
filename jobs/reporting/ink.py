"""From a matplotlib figure to SVG inside a page: colours from the page's style sheet, a title and a text for each.

A figure is drawn in stand-in colours. They become ``var(--NAME)``, so that one picture fits a light and a dark page.
No text of an article or a question is ever drawn: a picture holds figures and words of ours only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from io import StringIO
from typing import Any

#: Stand-in colour → the name in the page's style sheet.
INK, FAINT, OLD, NEW, BAD = "#0000a1", "#0000a2", "#0000a3", "#0000a4", "#0000a5"
SUBJECTS = tuple(f"#0000b{n}" for n in range(8))
_NAMES = {INK: "ink", FAINT: "faint", OLD: "old", NEW: "new", BAD: "bad"} | {
    colour: f"subject-{n}" for n, colour in enumerate(SUBJECTS)
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "embedshift",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.linewidth": 0.5,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "text.parse_math": False,
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw in the stand-in colours until the block ends."""
    from matplotlib import rc_context

    with rc_context(_STYLE):
        yield


def to_svg(figure: Any, name: str, title: str, text: str) -> str:
    """The figure as an ``<svg>`` element.

    Args:
        figure: a ``matplotlib.figure.Figure``, drawn within ``styled``.
        name: goes before every id, so that pictures of one page share none.
        title: what it is.
        text: what it shows, for those who do not see it.
    """
    buffer = StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    drawn = buffer.getvalue()
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r"<metadata>.*?</metadata>", "", drawn, flags=re.DOTALL)
    drawn = re.sub(r'\bid="', f'id="{name}-', drawn)
    drawn = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", drawn)
    for colour, ours in _NAMES.items():
        drawn = drawn.replace(colour, f"var(--{ours})")
    opening, rest = drawn.split(">", 1)
    view = re.search(r'viewBox="[^"]*"', opening)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {view and view[0]}'
    labels = f'role="img" aria-labelledby="{name}-title {name}-text"'
    words = f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-text">{escape(text)}</desc>'
    return f"{head} {labels}>{words}{rest.strip()}"
