"""The report in a real browser: nothing is missing, nothing is cut off, nothing complains."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from embedshift.reporting.page import html_page
from embedshift.reporting.trial import trial_page
from tests.chromium import CONTRAST, STICKING_OUT, chrome, emulate, keep_screenshot
from tests.report.records import HOSTILE, bare_record, full_record, trial_record

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

__all__ = ["chrome"]


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reports as files: with every part, with hostile texts, and of an older version."""
    folder = tmp_path_factory.mktemp("pages")
    made = {"full": full_record(), "hostile": full_record(HOSTILE * 3, HOSTILE * 3), "bare": bare_record()}
    paths = {name: folder / f"{name}.html" for name in made}
    for name, record in made.items():
        paths[name].write_text(html_page(record), encoding="utf-8")
    for name, record in (("trial", trial_record()), ("hostile-trial", trial_record(HOSTILE))):
        paths[name] = folder / f"{name}.html"
        paths[name].write_text(trial_page(record), encoding="utf-8")
    return paths


def show(chrome: Chrome, page: Path, width: int, scheme: str) -> None:
    emulate(chrome, width, scheme)
    chrome.get(page.as_uri())
    # What is folded must fit too.
    chrome.execute_script("document.querySelectorAll('details').forEach(each => each.open = true)")


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [
        ("full", 1280, "light"),
        ("full", 1280, "dark"),
        ("full", 400, "light"),
        ("full", 400, "dark"),
        ("hostile", 1280, "light"),
        ("hostile", 400, "dark"),
        ("bare", 400, "light"),
        ("trial", 1280, "light"),
        ("trial", 400, "dark"),
        ("hostile-trial", 400, "light"),
    ],
)
def test_the_page_can_be_read_at_any_width_by_day_and_by_night(chrome, pages, name, width, scheme):
    show(chrome, pages[name], width, scheme)
    keep_screenshot(chrome, f"report-{name}-{width}-{scheme}", width)
    assert chrome.get_log("browser") == []
    assert chrome.execute_script("return window.innerWidth") == width
    assert chrome.execute_script("return document.documentElement.scrollWidth") == width
    assert chrome.execute_script(STICKING_OUT) == []
    drawn = chrome.execute_script(
        "return [...document.querySelectorAll('svg')].map(each => each.getBoundingClientRect())"
        ".map(box => [box.width, box.height])"
    )
    assert len(drawn) == {"bare": 0, "trial": 1, "hostile-trial": 1}.get(name, 7)
    assert all(w > 250 and h > 100 for w, h in drawn)
    paper = chrome.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 24, 28)")
    assert chrome.execute_script(CONTRAST) >= 4.5


def test_hostile_texts_add_no_element(chrome, pages):
    tags = "return [...document.querySelectorAll('body *')].map(each => each.tagName)"
    show(chrome, pages["full"], 1280, "light")
    harmless = chrome.execute_script(tags)
    show(chrome, pages["hostile"], 1280, "light")
    assert chrome.execute_script(tags) == harmless


def test_every_link_of_the_page_leads_somewhere(chrome, pages):
    show(chrome, pages["full"], 1280, "light")
    lost = (
        "return [...document.querySelectorAll('nav a')].map(each => each.getAttribute('href'))"
        ".filter(place => !document.querySelector(place)).length"
    )
    assert chrome.execute_script("return document.querySelectorAll('nav a').length") > 10
    assert chrome.execute_script(lost) == 0


def test_it_prints_on_paper_in_light_colours_without_losing_a_part(chrome, pages):
    show(chrome, pages["full"], 1280, "dark")
    dark = {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", dark)
    assert chrome.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert chrome.execute_script("return getComputedStyle(document.querySelector('nav')).display") == "none"
    printed = base64.b64decode(chrome.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
    assert printed.startswith(b"%PDF-")
