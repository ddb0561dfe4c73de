"""Hooks: programs and addresses of the operator that are called during a migration, or asked before its cutover.

Hooks for new states, a complete cutover and failures are called one after another in a thread of their own, so that the
move of the alias does not wait for a slow chat. A command waits at its end until all have been called.
"""

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
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import IO, Any

from embedshift import __version__
from embedshift.catalog.actor import whoami
from embedshift.catalog.lease import Listener
from embedshift.catalog.migration import Migration, find_migration, read_migration
from embedshift.catalog.versions import settings_now
from embedshift.errors import CheckFailed, EmbedshiftError, OwnedByAnother
from embedshift.settings import Hook, Settings, without_paths
from embedshift.stores.contract import Store
from embedshift.times import now_us, utc_iso

#: Name to value; all values are texts, empty if there is nothing to say.
Facts = dict[str, str]


def facts(event: str, alias: str, migration: Migration | None, **more: str) -> Facts:
    """The facts of an event, in the order of the documentation.

    Args:
        event: one of the hooks' names.
        migration: the migration that it is about, if there is one.
        more: ``state``, ``previous_state``, ``step``, ``error`` and ``exit_code``.
    """
    told = {
        "event": event,
        "alias": alias,
        "migration": migration.id if migration else "",
        "state": migration.state if migration else "",
        "previous_state": "",
        "source": migration.source.table if migration else "",
        "target": migration.target.table if migration else "",
        "old_model": migration.source.model.name if migration else "",
        "model": migration.target.model.name if migration else "",
        "step": "",
        "error": "",
        "exit_code": "",
        "run": whoami(),
        "time": utc_iso(now_us()),
    }
    return {**told, **more}


def as_environment(facts: Facts) -> dict[str, str]:
    """The facts as environment variables, such as ``EMBEDSHIFT_STATE``."""
    return {f"EMBEDSHIFT_{name.upper()}": value.replace("\0", "") for name, value in facts.items()}


class HookCaller:
    """Calls the hooks of one run of a command.

    Args:
        settings: name the hooks and the alias.
        command: what was typed, as the hooks get it.
        say: is given a line if a hook fails.
    """

    def __init__(self, settings: Settings, command: str, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._command = command
        self._say = say
        self._calls = ThreadPoolExecutor(1, thread_name_prefix="embedshift-hook")
        self._migration: Migration | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """If the block fails, call the hook for failures; then wait until all hooks have been called."""
        try:
            yield
        except Exception as error:
            self._failed(error)
            self._calls.shutdown()
            raise
        except BaseException:  # interrupted: the person who did it knows
            self._calls.shutdown(wait=False, cancel_futures=True)
            raise
        self._calls.shutdown()

    @contextmanager
    def following(self, store: Store, settings: Settings) -> Iterator[Listener]:
        """A listener that calls the hooks at each new state, while the command runs with these settings."""

        def changed(migration: str, before: str, now: str) -> None:
            with suppress(EmbedshiftError):  # if the store does not answer, the step itself will say so
                seen = read_migration(store, migration)
                more = {"state": now, "previous_state": before, "step": self._command}
                self._submit("on_state_change", seen, **more)
                if now == "switched":
                    self._submit("after_cutover", seen, **more)

        try:
            yield changed
        except Exception:
            # The store is closed by the time the hook for failures is called.
            with suppress(EmbedshiftError):
                # An upgrade chooses its own migration.
                about = settings_now(settings, store) if self._command == "upgrade" else settings
                self._migration = find_migration(store, about)
            raise

    def _failed(self, error: Exception) -> None:
        if isinstance(error, OwnedByAnother):
            return
        known = isinstance(error, EmbedshiftError)
        # The message of an unknown error may contain anything.
        line = str(error) if known else f"{type(error).__name__}: see what the run has printed"
        code = str(error.exit_code if isinstance(error, EmbedshiftError) else 1)
        self._submit("on_failure", self._migration, step=self._command, error=line, exit_code=code)

    def _submit(self, event: str, migration: Migration | None, **more: str) -> None:
        hook: Hook | None = getattr(self._settings.hooks, event)
        if hook is not None:
            self._calls.submit(self._call, event, hook, facts(event, self._settings.alias, migration, **more))

    def _call(self, event: str, hook: Hook, told: Facts) -> None:
        reason = call(hook, told, self._settings.hooks.timeout.total_seconds())
        if reason:
            self._say(f"hooks.{event} failed ({reason}); nothing else is affected")


def ask_before_cutover(settings: Settings, migration: Migration, command: str, say: Callable[[str], None]) -> None:
    """Ask ``hooks.before_cutover``, if there is one.

    Raises:
        CheckFailed: it failed; the cutover must stop.
    """
    hook = settings.hooks.before_cutover
    if hook is None:
        return
    say(f"ask hooks.before_cutover: {hook}")
    told = facts("before_cutover", settings.alias, migration, step=command)
    reason = call(hook, told, settings.hooks.timeout.total_seconds())
    if reason:
        raise CheckFailed(
            f"hooks.before_cutover stopped the cutover ({reason})",
            hint="the alias has not moved; do what it asks for and run embedshift cutover again",
        )


#: The maximum number of characters of a program's last line that are repeated.
_LINE = 200


def call(hook: Hook, facts: Facts, timeout_s: float) -> str:
    """Call a hook with a time limit. Returns why it failed, without any secret; an empty text if it did not fail."""
    value = hook.get_secret_value()
    if isinstance(value, tuple):
        return _run(value, facts, timeout_s)
    if value.startswith("env:"):
        name = value.removeprefix("env:")
        value = os.environ.get(name, "")
        if not value.startswith(("http://", "https://")):
            return f"the environment variable {name} contains no address" if value else f"{name} is not set"
    return _post_within(value, facts, timeout_s)


def _run(command: tuple[str, ...], facts: Facts, timeout_s: float) -> str:
    # A file and not a pipe: a program that it leaves running may keep a pipe open for ever.
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
    """Do not follow redirects: a redirect would turn the POST into a GET of another address."""

    def redirect_request(self, *_: Any) -> None:
        """Follow none."""


def _post_within(address: str, facts: Facts, timeout_s: float) -> str:
    """Post in a thread: a name lookup, or an answer that drips, has no timeout of its own."""
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
        # The message may contain the address, so only the error's kind is reported.
        reason = getattr(error, "reason", None)
        return f"{host} cannot be reached ({type(reason if isinstance(reason, Exception) else error).__name__})"
