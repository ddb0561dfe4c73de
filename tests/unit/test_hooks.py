"""Hooks, with real programs and a real HTTP server: what they are told, how they fail, and what is never said."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import yaml

from embedshift.cli.app import main
from embedshift.errors import CheckFailed, SettingsError
from embedshift.hooks import ask_before_cutover, call, facts
from embedshift.settings import Hook, Settings, load_settings, parse_settings
from tests.recorded import recorded
from tests.world import eventually

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "T0KEN-of-the-tests"
FACTS = facts("on_failure", "articles", None, step="load", error="the “index” failed", exit_code="1")
#: Long enough for a busy machine, short enough that a hook that hangs shows.
SOON_S, LATER_S = 0.3, 60.0


class Chat:
    """A web server that answers by the path, and keeps what it was sent."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.ended = Event()
        chat = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                chat.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                if "/slow" in self.path:
                    chat.ended.wait(LATER_S)
                code = int(self.path.split("/")[1]) if self.path[1:4].isdigit() else 200
                self.send_response(code)
                self.send_header("Location", "/200/elsewhere")
                self.end_headers()

            do_GET = do_POST

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def address(self, path: str = "200") -> str:
        return f"http://127.0.0.1:{self._server.server_port}/{path}/{TOKEN}"

    def close(self) -> None:
        self.ended.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def chat() -> Iterator[Chat]:
    made = Chat()
    yield made
    made.close()


def tree(folder: Path, **hooks: Any) -> dict[str, Any]:
    return {
        "alias": "articles",
        "store": {"path": str(folder / "articles.sqlite")},
        "source": {"table": "articles", "model": {"name": "old"}},
        "target": {"table": "articles_v2", "model": {"name": "new"}},
        "hooks": hooks,
    }


def settings_with(folder: Path, **hooks: Any) -> Settings:
    return parse_settings(tree(folder, **hooks))


def program(text: str) -> Hook:
    return Hook((sys.executable, "-c", text))


# What a hook is told.


def test_a_command_has_the_facts_in_its_environment(tmp_path):
    seen = tmp_path / "seen"
    write = f"import os, json; open({str(seen)!r}, 'w').write(json.dumps(dict(os.environ)))"

    assert call(program(write), FACTS, LATER_S) == ""
    told = {name: value for name, value in json.loads(seen.read_text()).items() if name.startswith("EMBEDSHIFT_")}
    expected = {f"EMBEDSHIFT_{name.upper()}": value for name, value in FACTS.items()}
    assert expected.items() <= told.items()
    assert told["EMBEDSHIFT_ERROR"] == "the “index” failed"


def test_an_address_is_posted_the_same_facts(chat, monkeypatch):
    assert call(Hook(chat.address()), FACTS, LATER_S) == ""
    monkeypatch.setenv("CHAT", chat.address())
    assert call(Hook("env:CHAT"), FACTS, LATER_S) == ""
    assert chat.bodies == [FACTS, FACTS]


def test_the_page_on_hooks_names_every_fact():
    page = (ROOT / "docs" / "how-to" / "hooks.md").read_text("utf-8")
    assert [name for name in FACTS if f"| `EMBEDSHIFT_{name.upper()}` | `{name}` |" not in page] == []


# How one fails.


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("print('first'); print('not on a Friday'); raise SystemExit(3)", "exit code 3: not on a Friday"),
        ("raise SystemExit(1)", "exit code 1"),
        (
            f"raise SystemExit('see https://ann:{TOKEN}@chat.example/x/{TOKEN}')",
            "exit code 1: see https://chat.example/…",
        ),
    ],
)
def test_a_command_fails_by_its_exit_code_and_says_its_last_line(text, reason):
    assert call(program(text), FACTS, LATER_S) == reason


def test_a_command_that_hangs_is_ended_with_all_that_it_started(tmp_path):
    child = tmp_path / "child"
    hook = Hook(("/bin/sh", "-c", f"sleep 600 & echo $! > {child}; wait"))
    for timeout_s in (1.0, 5.0, 60.0):  # on a busy machine the program may not have begun when its time is over
        assert call(hook, FACTS, timeout_s) == f"it did not end within {timeout_s:g} s"
        if child.exists() and child.read_text().strip():
            break
    state = Path(f"/proc/{child.read_text().strip()}/stat")
    eventually(lambda: not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z")


def test_a_command_that_is_not_there_is_named_as_such():
    assert call(Hook(("/nowhere/notify",)), FACTS, LATER_S) == "it does not start (No such file or directory)"


@pytest.mark.parametrize("path", ["500", "404", "302"])
def test_an_address_fails_by_any_answer_but_a_good_one(chat, path):
    reason = call(Hook(chat.address(path)), FACTS, LATER_S)
    assert reason == f"{chat.address().partition('/200')[0]}/… answered {path}"
    assert len(chat.bodies) == 1, "a redirect is not followed"


def test_an_address_that_does_not_answer_fails(chat):
    assert call(Hook(chat.address("slow")), FACTS, SOON_S).endswith("/… did not answer within 0.3 s")
    chat.close()
    assert call(Hook(chat.address()), FACTS, LATER_S).endswith("/… cannot be reached (ConnectionRefusedError)")


@pytest.mark.parametrize(("value", "reason"), [(None, "CHAT is not set"), (TOKEN, "variable CHAT contains no address")])
def test_a_variable_that_holds_no_address_fails(monkeypatch, value, reason):
    monkeypatch.delenv("CHAT", raising=False) if value is None else monkeypatch.setenv("CHAT", value)
    assert call(Hook("env:CHAT"), FACTS, LATER_S).endswith(reason)


# Settings, and what they print.


@pytest.mark.parametrize(
    "value", ["notify.sh", "ftp://chat.example/x", "https://", "env:", "env:A B", [], [""], 5, {"url": "https://x"}]
)
def test_what_is_no_hook_is_a_fault_of_the_settings_and_not_repeated(tmp_path, value):
    with pytest.raises(SettingsError, match=r"hooks\.on_failure") as caught:
        settings_with(tmp_path, on_failure=value)
    assert "notify" not in str(caught.value)


@pytest.mark.parametrize("arguments", [["config", "check"], ["config", "check", "--json"], ["status"]])
def test_an_address_is_never_printed_in_full(tmp_path, capsys, arguments):
    """Invariant 11."""
    address = f"https://ann:{TOKEN}@chat.example/services/{TOKEN}?key={TOKEN}"
    made = tree(tmp_path, on_failure=address, before_cutover=["curl", "-d", TOKEN, address], after_cutover="env:CHAT")
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump(made))

    assert main([*arguments, "--config", str(config)]) == 0
    out, err = capsys.readouterr()
    settings = load_settings(config)
    everything = out + err + repr(settings) + str(settings.model_dump()) + json.dumps(settings.model_dump(mode="json"))
    assert TOKEN not in everything
    if arguments[0] == "config":
        assert "https://chat.example/…" in out
        assert "curl …" in out
        assert "env:CHAT" in out


def test_a_broken_file_does_not_repeat_its_lines(tmp_path):
    config = tmp_path / "settings.yaml"
    config.write_text(f"alias: articles\nhooks: {{on_failure: https://chat.example/{TOKEN}: x\n")
    with pytest.raises(SettingsError, match="is not YAML: line") as caught:
        load_settings(config)
    assert TOKEN not in str(caught.value)


# Asking and telling.


def test_a_hook_that_says_no_stops_the_cutover_in_one_line(tmp_path, chat):
    migration, said = recorded("articles", "articles_v2"), list[str]()
    ask_before_cutover(settings_with(tmp_path), migration, "cutover", said.append)
    ask_before_cutover(settings_with(tmp_path, before_cutover=chat.address()), migration, "cutover", said.append)
    assert (chat.bodies[0]["event"], chat.bodies[0]["migration"]) == ("before_cutover", "articles-to-articles_v2")
    with pytest.raises(CheckFailed, match=r"stopped the cutover \(http://127.*/… answered 503\)") as caught:
        ask_before_cutover(
            settings_with(tmp_path, before_cutover=chat.address("503")), migration, "cutover", said.append
        )
    assert caught.value.exit_code == 1
    assert TOKEN not in f"{caught.value} {said}"


def test_a_failure_is_told_and_a_hook_that_fails_is_said_in_one_line(tmp_path, chat, capsys):
    config = tmp_path / "settings.yaml"
    for path in ("200", "500"):
        config.write_text(yaml.safe_dump(tree(tmp_path, on_failure=chat.address(path))))
        assert main(["load", "--config", str(config)]) == 4
    out, err = capsys.readouterr()
    assert err.splitlines()[0] == "embedshift: there is no migration into articles_v2: run embedshift prepare first"
    said = next(line for line in out.splitlines() if line.startswith("hooks.on_failure failed"))
    assert said.endswith("answered 500); nothing else is affected")
    told = chat.bodies[0]
    assert (told["event"], told["step"], told["exit_code"]) == ("on_failure", "load", "4")
    assert err.splitlines()[0] == f"embedshift: {told['error']}"
    assert TOKEN not in out + err


def test_a_look_that_fails_is_no_failure_of_a_migration(tmp_path, chat):
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump({**tree(tmp_path, on_failure=chat.address()), "store": {"path": str(tmp_path)}}))
    assert main(["status", "--config", str(config)]) == 3
    assert chat.bodies == []
    assert main(["report", "--list", "--config", str(config)]) == 3
    assert main(["dead-letters", "list", "--config", str(config)]) == 3
    assert chat.bodies == []
    assert main(["load", "--config", str(config)]) == 3
    assert [told["step"] for told in chat.bodies] == ["load"]


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["cutover", "--go"], "cutover"),
        (["dead-letters", "drop", "--all"], "dead-letters drop"),
        (["dead-letters", "retry"], "dead-letters retry"),
        (["pause"], "pause"),
        (["reindex", "--in-place", "--yes"], "reindex"),
    ],
)
def test_a_hook_is_told_the_command_that_was_typed(tmp_path, chat, arguments, command):
    config = tmp_path / "settings.yaml"
    config.write_text(yaml.safe_dump(tree(tmp_path, on_failure=chat.address())))
    assert main([*arguments, "--config", str(config)]) == 4
    assert [told["step"] for told in chat.bodies] == [command]


# The example.


@pytest.mark.parametrize(
    ("event", "line"),
    [
        ("on_failure", "articles: articles-to-articles_v2: load failed. three rows are dead"),
        ("after_cutover", "articles: articles-to-articles_v2: articles_v2 is live, embedded with large"),
        ("on_state_change", "articles: articles-to-articles_v2 is loaded"),
    ],
)
def test_the_example_writes_one_line_into_the_chat(chat, monkeypatch, event, line):
    monkeypatch.setenv("CHAT_WEBHOOK", chat.address())
    told = facts(event, "articles", recorded("articles", "articles_v2", state="loaded"), step="load")
    if event == "on_failure":
        told["error"] = "three rows are dead"
    example = Hook((sys.executable, str(ROOT / "docs" / "examples" / "chat_message.py")))

    assert call(example, told, LATER_S) == ""
    assert chat.bodies == [{"text": line}]


def test_the_example_says_in_one_line_that_it_failed(chat, monkeypatch):
    example = Hook((sys.executable, str(ROOT / "docs" / "examples" / "chat_message.py")))
    monkeypatch.setenv("CHAT_WEBHOOK", chat.address("500"))
    assert call(example, FACTS, LATER_S) == "exit code 1: the chat cannot be reached (HTTPError)"
