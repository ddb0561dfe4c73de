"""The page in a real browser, while a real job runs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from embedshift.monitoring.poller import Poller
from embedshift.monitoring.server import WatchServer
from tests.chromium import CONTRAST, STICKING_OUT, chrome, emulate, keep_screenshot
from tests.world import World, eventually, some_articles

__all__ = ["chrome"]

_SEEN = """
return {headline: document.querySelector('h1').textContent, share: document.querySelector('progress').value,
        shown: !document.querySelector('progress').hidden,
        rows: [...document.querySelectorAll('dt')].map(each => [each.textContent, each.nextSibling.textContent])}
"""
#: By how much the page is wider than its window.
_WIDER = "const root = document.documentElement; return root.scrollWidth - root.clientWidth"


@pytest.fixture
def page(new_world) -> Iterator[tuple[World, str]]:
    world = new_world(load={"ranges": 64, "window_rows": 16})
    world.create_source(some_articles(256))
    world.step("prepare")
    server = WatchServer(("127.0.0.1", 0), Poller(world.settings, world.store), look_s=0.1)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield world, f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.shut()
    thread.join(300)


def test_the_page_follows_a_load_to_its_end_and_can_be_read_by_day_and_by_night(page, chrome, spark):
    world, address = page
    emulate(chrome, 1280, "light")
    chrome.get(address)
    eventually(lambda: chrome.execute_script(_SEEN)["headline"] == "prepared; nothing is running")
    seen: list[dict[str, Any]] = []
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(0.05):
            seen.append(chrome.execute_script(_SEEN))
            if 0 < seen[-1]["share"] < 1 and not pictured.is_set():
                keep_screenshot(chrome, "watch-1280-light", 1280)
                pictured.set()

    pictured = threading.Event()
    looking = threading.Thread(target=look)
    looking.start()
    try:
        world.step("load")
        eventually(lambda: seen and seen[-1]["headline"] == "loaded; nothing is running")
        # The figures of the look before may still be shown beside it for a moment.
        eventually(lambda: dict(seen[-1]["rows"])["rows"].startswith("256 read: 256 written"))
    finally:
        ended.set()
        looking.join(300)
    running = [each for each in seen if each["headline"] == "load is running"]
    assert any(0 < each["share"] < 1 for each in running)
    assert [each["share"] for each in running] == sorted(each["share"] for each in running)
    for width, scheme in ((1280, "dark"), (400, "light"), (400, "dark")):
        emulate(chrome, width, scheme)
        chrome.get(address)
        eventually(lambda: chrome.execute_script(_SEEN)["headline"] == "loaded; nothing is running")
        keep_screenshot(chrome, f"watch-{width}-{scheme}", width)
        assert chrome.execute_script(_WIDER) == 0
        assert chrome.execute_script(STICKING_OUT) == []
        assert chrome.execute_script(CONTRAST) >= 4.5
    assert chrome.get_log("browser") == []
