"""Following a feed: JSON lines, and a change log of the columns that ScyllaDB's CDC has."""

from __future__ import annotations

import io
import json
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from embedshift.cli.app import main
from embedshift.errors import InputError, SchemaError
from embedshift.operations.follow import Fed, follow_changes, follow_lines, parse_event, read_position
from tests.articles.conftest import RIVER, SALT, STONE, value
from tests.change_log import log, make_log
from tests.world import World, now_us


def lines(*events: Any) -> list[bytes]:
    return [each if isinstance(each, bytes) else json.dumps(each).encode() for each in events]


def fed_with(world: World, articles: Any, *events: Any) -> Fed:
    return follow_lines(articles, world.store, lines(*events), "news", lambda _: None)


def test_a_stream_puts_deletes_and_refreshes_in_its_order(world, articles):
    world.write("articles", {"id": "river", "title": ("A river", now_us()), "content": ("bread", now_us())})
    fed = fed_with(
        world, articles, {"put": SALT}, {"put": STONE}, {"delete": "salt"}, {"refresh": "river"}, {"put": SALT}
    )
    assert (fed.put, fed.deleted, fed.refreshed.embedded, fed.faults) == (3, 1, 1, [])
    assert set(world.read("articles")) == {("salt",), ("stone",), ("river",)}
    world.assert_embedded("articles", world.old_model())


def test_a_stream_that_is_sent_again_is_skipped_up_to_its_position(world, articles):
    events = [{"put": SALT, "position": 3}, {"put": RIVER, "position": 4}]
    assert fed_with(world, articles, *events).put == 2
    articles.update("salt", title="changed since")
    again = fed_with(world, articles, *events, {"delete": "river", "position": 5})
    assert (again.skipped, again.deleted) == (2, 1)
    assert value(world, "salt", "title") == "changed since"
    assert read_position(world.store, "articles", "news") == 5


def test_faulty_events_are_named_by_line_and_affect_no_other(world, articles):
    fed = fed_with(
        world,
        articles,
        b"no json",
        {"put": SALT},
        {"put": {"id": "x", "nonsense": 1}},
        {"delete": 7},
        {"rename": "salt"},
        {"put": RIVER, "position": "four"},
    )
    assert fed.put == 1
    assert [line for line, _ in sorted(fed.faults)] == [1, 3, 4, 5, 6]
    assert set(world.read("articles")) == {("salt",)}


def test_what_has_come_is_done_before_the_stream_ends(world, articles):
    ended = threading.Event()

    def slow() -> Iterator[bytes]:
        yield from lines({"put": SALT, "position": 1})
        assert ended.wait(30)

    seen = threading.Event()
    worker = threading.Thread(
        target=follow_lines, args=(articles, world.store, slow(), "news", lambda fed: seen.set() if fed.put else None)
    )
    worker.start()
    try:
        assert seen.wait(30)
        assert value(world, "salt", "title") == "Salt"
    finally:
        ended.set()
        worker.join(30)
    assert read_position(world.store, "articles", "news") == 1


def test_a_refresh_leaves_good_vectors_alone_and_names_what_cannot_be_embedded(world, articles):
    articles.add(SALT)
    before = world.read_one("articles", "salt")
    looked = articles.refresh(["salt", "nowhere"])
    assert (looked.embedded, looked.unchanged, looked.absent) == (0, 1, 1)
    assert world.read_one("articles", "salt") == before
    now = now_us()
    world.write("articles", {"id": "salt", "title": (None, now), "content": (None, now)})
    assert articles.refresh(["salt"]).embedded == 1
    assert value(world, "salt", "embedding") is None
    with pytest.raises(InputError):
        articles.refresh([7])


@pytest.mark.parametrize("line", [b"[]", b'"put"', b'{"put": {}, "delete": 1}', b'{"put": {}, "at": 1}', b"\xff", b"{"])
def test_what_is_not_an_event_is_refused(line):
    with pytest.raises(InputError):
        parse_event(line, 1)


def test_the_command_reads_standard_input(world, capfd, monkeypatch):
    stream = io.BytesIO(b"\n".join(lines({"put": SALT, "position": 1}, {"nonsense": 1})))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(stream))
    assert main(["follow", "--config", str(world.config), "--json", "--feed", "news"]) == 1
    out, err = capfd.readouterr()
    result = json.loads(out)
    assert (result["put"], result["faults"], result["position"]) == (1, 1, 1)
    assert "line 2 is not an event" in err
    assert "embedshift: 1 events were not done" in err


# The change log. A real one is made by ScyllaDB alone; here a table of its columns stands beside the articles.


def written_by_others(world: World, id_: str, content: str) -> None:
    now = now_us()
    world.write("articles", {"id": id_, "title": ("Bread", now), "content": (content, now)})
    log(world, id_)


def followed(world: World, articles: Any, **options: Any) -> Fed:
    return follow_changes(articles, world.store, "log", lambda _: None, lag_us=0, once=True, **options)


def test_a_change_log_is_followed_from_where_it_was_left(world, articles):
    if world.settings.store.kind == "embedded":
        with pytest.raises(SchemaError, match="has no change log"):
            followed(world, articles)
        return
    with pytest.raises(SchemaError, match="ALTER TABLE articles WITH cdc"):
        followed(world, articles, from_start=True)
    make_log(world)
    articles.add(STONE)
    written_by_others(world, "b1", "river and stone")
    log(world, "b1", stream=b"s2")
    log(world, "gone")
    log(world, "stone")
    time.sleep(0.01)
    fed = followed(world, articles, from_start=True)
    assert (fed.refreshed.embedded, fed.refreshed.unchanged, fed.refreshed.absent) == (1, 1, 1)
    world.assert_embedded("articles", world.old_model())
    # Once more: nothing new, then only what is new.
    assert followed(world, articles).events == 0
    written_by_others(world, "b1", "water and walls")
    time.sleep(0.01)
    assert followed(world, articles).refreshed.embedded == 1
    world.assert_embedded("articles", world.old_model())


@pytest.mark.parametrize("new_world", ["cassandra"], indirect=True)
def test_a_follower_goes_on_until_it_is_stopped(world, articles, monkeypatch):
    make_log(world)
    monkeypatch.setattr("embedshift.operations.follow.LOOK_S", 0.05)
    stopped = threading.Event()
    worker = threading.Thread(
        target=follow_changes,
        args=(articles, world.store, "log", lambda _: None),
        kwargs={"lag_us": 0, "stopped": stopped},
    )
    worker.start()
    try:
        deadline = time.monotonic() + 30
        while read_position(world.store, "articles", "log") is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        written_by_others(world, "b1", "river")
        while value(world, "b1", "embedding") is None:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        stopped.set()
        worker.join(30)
    world.assert_embedded("articles", world.old_model())
