"""The report in a real browser: nothing is missing, nothing is cut off, nothing complains."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jobs.reporting.html_page import html_page
from scripts import browser
from tests.report.records import HOSTILE, bare_record, full_record

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

#: Where people find what was seen, after the tests.
SCREENSHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
DEADLINE_S = 300

#: What sticks out at the right, of what is there to be seen.
_STICKING_OUT = """
return [...document.querySelectorAll('body *')].filter(each => each.checkVisibility()
    && each.getBoundingClientRect().right > document.documentElement.clientWidth + 1
    && getComputedStyle(each).position !== 'absolute' && !each.closest('svg'))
  .map(each => each.outerHTML.slice(0, 80))
"""
#: The contrast of words against the page (WCAG 2.2, 1.4.3), the least of them all.
_CONTRAST = """
const light = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(each => each / 255)
    .map(each => each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4)
    .reduce((sum, each, at) => sum + each * [0.2126, 0.7152, 0.0722][at], 0);
const opaque = colour => !/(,|\\/) ?0\\)$/.test(colour) && colour !== 'transparent';
const behind = each => { while (each && !opaque(getComputedStyle(each).backgroundColor)) each = each.parentElement;
    return each ? getComputedStyle(each).backgroundColor : 'rgb(255, 255, 255)'; };
const ratio = (one, other) => (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
const words = [...document.querySelectorAll('h1, h2, p, a, th, td, dt, dd, summary, caption, footer, svg text')];
return Math.min(...words.map(each => { const style = getComputedStyle(each);
    return ratio(light(each.closest('svg') ? style.fill : style.color), light(behind(each))); }));
"""


@pytest.fixture(scope="module")
def chrome(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A headless Chromium."""
    found = browser.find()
    if found is None:
        (pytest.fail if browser.must_be_there() else pytest.skip)(browser.why_not())
    from selenium.webdriver import Chrome, ChromeOptions
    from selenium.webdriver.chrome.service import Service

    options = ChromeOptions()
    options.binary_location = str(found.chromium)
    profile = tmp_path_factory.mktemp("profile")
    for each in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", f"user-data-dir={profile}"):
        options.add_argument(f"--{each}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(str(found.driver)))
    driver.set_page_load_timeout(DEADLINE_S)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Reports as files: with every part, with hostile texts, and of an older version."""
    folder = tmp_path_factory.mktemp("pages")
    made = {"full": full_record(), "hostile": full_record(HOSTILE * 3, HOSTILE * 3), "bare": bare_record()}
    paths = {name: folder / f"{name}.html" for name in made}
    for name, record in made.items():
        paths[name].write_text(html_page(record), encoding="utf-8")
    return paths


def show(chrome: Chrome, page: Path, width: int, scheme: str) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wanted = {"media": "screen", "features": [{"name": "prefers-color-scheme", "value": scheme}]}
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", wanted)
    chrome.get(page.as_uri())
    # What is folded must fit too.
    chrome.execute_script("document.querySelectorAll('details').forEach(each => each.open = true)")


def keep_screenshot(chrome: Chrome, name: str, width: int) -> None:
    height = chrome.execute_script("return document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    picture = chrome.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    (SCREENSHOTS / f"{name}.png").write_bytes(base64.b64decode(picture["data"]))


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
    ],
)
def test_the_page_can_be_read_at_any_width_by_day_and_by_night(chrome, pages, name, width, scheme):
    show(chrome, pages[name], width, scheme)
    keep_screenshot(chrome, f"report-{name}-{width}-{scheme}", width)
    assert chrome.get_log("browser") == []
    assert chrome.execute_script("return window.innerWidth") == width
    assert chrome.execute_script("return document.documentElement.scrollWidth") == width
    assert chrome.execute_script(_STICKING_OUT) == []
    drawn = chrome.execute_script(
        "return [...document.querySelectorAll('svg')].map(each => each.getBoundingClientRect())"
        ".map(box => [box.width, box.height])"
    )
    assert len(drawn) == (0 if name == "bare" else 7)
    assert all(w > 250 and h > 100 for w, h in drawn)
    paper = chrome.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 24, 28)")
    assert chrome.execute_script(_CONTRAST) >= 4.5


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
