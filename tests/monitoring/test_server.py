"""The page's server: what it answers, what it refuses, and that no browser can hold it up."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse

import pytest

from embedshift.cli.app import main
from embedshift.monitoring import server as serving
from embedshift.monitoring.poller import Poller
from embedshift.monitoring.server import WatchServer
from tests.monitoring.conftest import carry
from tests.world import World, eventually

DEADLINE_S = 300


@pytest.fixture
def server(world: World) -> Iterator[WatchServer]:
    made = WatchServer(("127.0.0.1", 0), Poller(world.settings, world.store), stream_s=60, look_s=0.05)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.shutdown()
    made.shut()
    thread.join(DEADLINE_S)


def ask(server: WatchServer, path: str, method: str = "GET", **headers: str) -> HTTPResponse:
    connection = HTTPConnection("127.0.0.1", server.server_port, timeout=DEADLINE_S)
    connection.request(method, path, headers=headers)
    return connection.getresponse()


def events(response: HTTPResponse) -> Iterator[dict[str, object]]:
    for line in response:
        if line.startswith(b"data: "):
            yield json.loads(line[6:])


def threads() -> set[str]:
    return {each.name for each in threading.enumerate() if "process_request" in each.name}


@pytest.mark.parametrize(("path", "kind"), [("/", "text/html"), ("/watch.css", "text/css"), ("/watch.js", "text/java")])
def test_the_page_and_its_parts_come_from_here_and_may_load_nothing_else(server, path, kind):
    response = ask(server, path)
    assert response.status == 200
    assert response.headers["Content-Type"].startswith(kind)
    policy = response.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert b"//" not in response.read().replace(b"\n// ", b"\n") or path.endswith(".js")


def test_what_is_not_there_or_not_reading_is_refused(server):
    assert ask(server, "/settings.yaml").status == 404
    for method in ("POST", "PUT", "DELETE", "HEAD", "OPTIONS"):
        response = ask(server, "/", method)
        assert (response.status, response.headers["Allow"]) == (405, "GET")


def test_a_name_that_only_points_here_is_refused(server):
    assert ask(server, "/progress.json", Host="evil.example").status == 421
    assert ask(server, "/progress.json", Host=f"localhost:{server.server_port}").status == 200


def test_the_progress_is_there_as_json_too(server, world):
    snapshot = json.loads(ask(server, "/progress.json").read())
    assert (snapshot["migration"], snapshot["state"]) == (world.migration.id, "prepared")


def test_a_stream_tells_what_changes(server, world):
    stream = events(ask(server, "/events"))
    assert next(stream)["headline"] == "prepared; nothing is running"
    carry(world, 10)
    assert eventually(lambda: next(stream)["share"] == 0.25)


def test_streams_are_few_and_end_by_themselves(server, monkeypatch):
    server.stream_s = 0.0
    for _ in range(serving.STREAMS + 4):
        assert ask(server, "/events").read() == b""
    server.stream_s = 60
    held = [ask(server, "/events") for _ in range(serving.STREAMS)]
    assert all(each.readline() for each in held)
    beyond = ask(server, "/events")
    assert (beyond.status, beyond.headers["Retry-After"]) == (503, "10")
    for each in held:
        each.close()
    # A browser that has gone away is noticed at the next writing, and its place is free again.
    eventually(lambda: ask(server, "/events").status == 200)


def test_at_the_end_no_thread_is_left(world):
    before = threads()
    server = WatchServer(("127.0.0.1", 0), Poller(world.settings, world.store), look_s=0.05)
    serve = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    serve.start()
    stream = events(ask(server, "/events"))
    next(stream)
    server.shutdown()
    server.shut()
    serve.join(DEADLINE_S)
    assert threads() == before
    assert len(list(stream)) < 1000  # it came to its end


def test_a_port_that_is_taken_is_exit_2_and_one_line(server, world, capsys):
    assert main(["serve", "--port", str(server.server_port), "--config", str(world.config)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "cannot serve on 127.0.0.1" in line


def test_ctrl_c_ends_it_though_somebody_watches(world):
    process = world.start("serve", "--port", "0")
    assert process.stdout is not None
    port = int(process.stdout.readline().split("/ until")[0].rpartition(":")[2])
    connection = HTTPConnection("127.0.0.1", port, timeout=DEADLINE_S)
    connection.request("GET", "/events")
    stream = events(connection.getresponse())
    next(stream)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    (line,) = err.splitlines()
    assert line.startswith("embedshift: interrupted")
