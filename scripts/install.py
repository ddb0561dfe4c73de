"""Make the virtual environment from requirements.lock, quickly: a small environment has uv, which fills the real one.

Run by the Makefile with the system's Python; standard library only.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
OLDEST = (3, 11)


def _run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True, cwd=ROOT)


def _uv(target: Path) -> Path:
    bootstrap = target.with_name(f"{target.name}-bootstrap")
    uv = bootstrap / "bin" / "uv"
    if not uv.exists():
        venv.create(bootstrap, with_pip=True, clear=True)
        _run(bootstrap / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "uv")
    return uv


def _lock(uv: Path) -> None:
    _run(
        *(uv, "pip", "compile", "pyproject.toml", "--extra", "demo", "--extra", "dev", "--generate-hashes"),
        *("--no-emit-index-url", "--no-header", "--quiet", "--upgrade", "--universal", "-o", LOCK),
    )


def make_environment(target: Path, lock: Path) -> None:
    """Fill a virtual environment of its own from a lock. Raises CalledProcessError."""
    uv = _uv(ROOT / ".venv")
    _run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, target)
    python = target / "bin" / "python"
    _run(uv, "pip", "sync", "--quiet", "--compile-bytecode", "--python", python, "--require-hashes", lock)


def main(arguments: list[str]) -> int:
    """Install; with --lock, resolve the dependencies again first."""
    if sys.version_info < OLDEST:
        print(f"embedshift needs Python {OLDEST[0]}.{OLDEST[1]} or later; name one with make PYTHON=…", file=sys.stderr)
        return 2
    target = (ROOT / next(each for each in arguments if not each.startswith("-"))).absolute()
    try:
        uv = _uv(target)
        if "--lock" in arguments:
            _lock(uv)
        if not (target / "bin" / "python").exists():
            _run(uv, "venv", "--quiet", "--python", sys.executable, target)
        python = target / "bin" / "python"
        # Compile once here; otherwise every process compiles torch again if Python is told not to write bytecode.
        _run(uv, "pip", "sync", "--quiet", "--compile-bytecode", "--python", python, "--require-hashes", LOCK)
        _run(uv, "pip", "install", "--quiet", "--python", python, "--no-deps", "--no-build-isolation", "-e", ROOT)
        _run(python, "-m", "compileall", "-q", ROOT / "embedshift")
    except subprocess.CalledProcessError as error:
        print(f"install: {' '.join(error.cmd[:4])} … failed with {error.returncode}", file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
