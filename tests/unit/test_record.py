"""What stays on a recorded screen, and what a picture of it may hold."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from scripts.record import FOLDER, SESSIONS, settled


def test_a_progress_bar_leaves_its_last_state():
    seen = "load\r\n\x1b[?25lrows 0\r\x1b[2Krows 10\r\x1b[2Krows 20\r\n\x1b[?25hloaded 20 rows\r\n"

    assert settled(seen) == "load\nrows 20\nloaded 20 rows\n"


def test_lines_that_are_drawn_again_are_gone():
    assert settled("first\n\x1b[1A\x1b[2Ksecond\n") == "second\n"


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session.name)
def test_every_session_has_its_picture_and_it_is_whole_by_itself(session):
    drawn = Path(FOLDER / f"{session.name}.svg").read_text("utf-8")

    assert ET.fromstring(drawn).tag.endswith("svg")
    assert "https:" not in drawn
