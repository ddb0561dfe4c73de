"""One Articles in many threads; none in a fork; none after its end."""

from __future__ import annotations

import contextlib
import os
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from embedshift import Articles
from embedshift.articles.keys import Clock
from embedshift.errors import SettingsError, UsageError
from tests.articles.conftest import RIVER, SALT, value
from tests.world import now_us


def test_threads_share_one(soft_world, opened):
    """Each thread has articles of its own and one that all change; the end is what the model says."""
    articles = opened(soft_world)
    articles.add({**SALT, "id": "shared"})

    def work(thread: int) -> None:
        for turn in range(8):
            own = f"t{thread}-{turn}"
            articles.add({"id": own, "title": f"new {turn}", "content": "application"})
            articles.update(own, title="changed", views=turn)
            articles.update("shared", **({"title": f"new {thread}"} if turn % 2 else {"content": f"changed {turn}"}))
            assert all(each.id for each in articles.search("changed application", 3))
            if turn % 3 == 0:
                assert articles.delete(own)
            elif turn % 3 == 1:
                articles.deactivate(own)
                assert own not in {each.id for each in articles.search("changed application", 50)}

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(work, thread) for thread in range(4)]:
            done.result(120)
    expected = {("shared",)} | {(f"t{thread}-{turn}",) for thread in range(4) for turn in range(8) if turn % 3}
    assert soft_world.read("articles").keys() == expected
    soft_world.assert_embedded("articles", soft_world.old_model())
    assert all(value(soft_world, key[0], "title") == "changed" for key in expected - {("shared",)})


def test_an_update_beside_a_deletion_in_another_thread_never_leaves_half_an_article(world, articles):
    for _ in range(10):
        articles.add(SALT)
        start = threading.Barrier(2)

        def delete(start=start):
            start.wait(30)
            articles.delete("salt")

        thread = threading.Thread(target=delete)
        thread.start()
        start.wait(30)
        with contextlib.suppress(UsageError):
            articles.update("salt", title="changed")
        thread.join(30)
        assert articles.get("salt") is None


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_is_refused_with_one_line(world, articles):
    articles.add(SALT)
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        child = os.fork()
    if child == 0:
        said = b"nothing"
        try:
            articles.get("salt")
        except UsageError as error:
            said = str(error).encode()
        finally:
            articles.close()
            os.write(writer, said)
            os._exit(0)
    os.waitpid(child, 0)
    assert b"of which this process is a fork: open Articles in each process" in os.read(reader, 1000)
    os.close(reader)
    os.close(writer)
    assert articles.get("salt") is not None


def test_a_closed_client_says_so_and_closing_again_does_nothing(world):
    with Articles.open(str(world.config)) as articles:
        articles.add(RIVER)
    articles.close()
    for call in (
        lambda: articles.add(SALT),
        lambda: articles.add_many([SALT]),
        lambda: articles.update("river", title="x"),
        lambda: articles.get("river"),
        lambda: articles.delete("river"),
        lambda: articles.search("water"),
        lambda: articles.search_vector([1.0] * 24),
        lambda: articles.search_like("river"),
        lambda: articles.deactivate("river"),
        lambda: articles.restore("river"),
        lambda: articles.erase("river"),
        articles.purge,
        articles.drop,
        lambda: articles.parse_id("river"),
    ):
        with pytest.raises(UsageError, match="closed"):
            call()


def test_it_is_opened_by_settings_or_by_a_file(world, tmp_path):
    with Articles.open(world.settings) as articles:
        articles.add(SALT)
    with Articles.open(world.config) as articles:
        assert articles.get("salt")
    with pytest.raises(SettingsError, match="cannot read the settings file"):
        Articles.open(tmp_path / "none.yaml")


def test_two_writes_never_have_one_time():
    clock = Clock()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: clock.next(), range(2000)))
    assert len(set(found)) == 2000
    assert abs(max(found) - now_us()) < 10_000_000
