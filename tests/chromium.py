"""A headless Chromium, and what is asked of any page: that nothing sticks out, and that words can be told apart."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from scripts import browser

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

#: Where people find what was seen, after the tests.
SCREENSHOTS = Path(__file__).resolve().parents[1] / "build" / "screenshots"
DEADLINE_S = 300

#: What sticks out at the right, of what is there to be seen.
STICKING_OUT = """
return [...document.querySelectorAll('body *')].filter(each => each.checkVisibility()
    && each.getBoundingClientRect().right > document.documentElement.clientWidth + 1
    && getComputedStyle(each).position !== 'absolute' && !each.closest('svg'))
  .map(each => each.outerHTML.slice(0, 80))
"""
#: The contrast of words against the page (WCAG 2.2, 1.4.3), the least of them all.
CONTRAST = """
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


def emulate(chrome: Chrome, width: int, scheme: str) -> None:
    """A window of that width, by day ("light") or by night ("dark")."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wanted = {"media": "screen", "features": [{"name": "prefers-color-scheme", "value": scheme}]}
    chrome.execute_cdp_cmd("Emulation.setEmulatedMedia", wanted)


def keep_screenshot(chrome: Chrome, name: str, width: int) -> None:
    height = chrome.execute_script("return document.documentElement.scrollHeight")
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    picture = chrome.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    (SCREENSHOTS / f"{name}.png").write_bytes(base64.b64decode(picture["data"]))
