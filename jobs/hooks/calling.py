"""Calling a hook: a command with the facts in its environment, or an HTTP address with them as JSON."""

from __future__ import annotations

import http.client
import json
import os
import queue
import signal
import subprocess
import tempfile
import threading
import urllib.error
import urllib.request
from typing import IO, Any

from jobs import __version__
from jobs.hooks.facts import Facts, as_environment
from jobs.settings import Hook, without_paths

#: Most characters of a program's last line that are repeated.
_LINE = 200


def call(hook: Hook, facts: Facts, timeout_s: float) -> str:
    """Call a hook, for so long at most. Returns why it failed, without any secret; nothing where it did not."""
    value = hook.get_secret_value()
    if isinstance(value, tuple):
        return _run(value, facts, timeout_s)
    if value.startswith("env:"):
        name = value.removeprefix("env:")
        value = os.environ.get(name, "")
        if not value.startswith(("http://", "https://")):
            return f"the environment variable {name} holds no address" if value else f"{name} is not set"
    return _post_within(value, facts, timeout_s)


def _run(command: tuple[str, ...], facts: Facts, timeout_s: float) -> str:
    # A file and no pipe: what the program leaves running may keep a pipe open for ever.
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                command,
                env={**os.environ, **as_environment(facts)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            return f"it does not start ({error.strerror})"
        try:
            code = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return f"it did not end within {timeout_s:g} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        return f"exit code {code}{_last_line(output)}" if code else ""


def _last_line(output: IO[bytes]) -> str:
    output.seek(0, os.SEEK_END)
    output.seek(max(0, output.tell() - 4 * _LINE))
    lines = output.read().decode(errors="replace").split("\n")
    said = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return f": {without_paths(said)[:_LINE]}" if said else ""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would turn the POST into a GET of another address: it is an answer like any other."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none."""


def _post_within(address: str, facts: Facts, timeout_s: float) -> str:
    """Post in a thread: looking a name up, and an answer that drips, know no timeout of their own."""
    outcome: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(
        target=lambda: outcome.put(_post(address, facts, timeout_s)), name="embedshift-post", daemon=True
    ).start()
    try:
        return outcome.get(timeout=timeout_s)
    except queue.Empty:
        return f"{without_paths(address)} did not answer within {timeout_s:g} s"


def _post(address: str, facts: Facts, timeout_s: float) -> str:
    host = without_paths(address)
    try:
        request = urllib.request.Request(
            address,
            data=json.dumps(facts, ensure_ascii=False).encode(),
            headers={"Content-Type": "application/json", "User-Agent": f"embedshift/{__version__}"},
            method="POST",
        )
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout_s) as answer:
            return "" if 200 <= answer.status < 300 else f"{host} answered {answer.status}"
    except urllib.error.HTTPError as error:
        with error:
            return f"{host} answered {error.code}"
    except TimeoutError:
        return f"{host} did not answer within {timeout_s:g} s"
    except (OSError, http.client.HTTPException, ValueError) as error:
        # The message may hold the address, so only its kind is told.
        reason = getattr(error, "reason", None)
        return f"{host} cannot be reached ({type(reason if isinstance(reason, Exception) else error).__name__})"
