"""Find the browser for the tests of the report; install Debian's if it is missing and that is allowed.

Run by ``make test``. Without a browser these tests are skipped, with a message; EMBEDSHIFT_BROWSER=required makes that
a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_PACKAGES = ("chromium", "chromium-driver")
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_DEADLINE_S = 600


@dataclass(frozen=True, slots=True)
class Browser:
    """Chromium, and its WebDriver."""

    chromium: Path
    driver: Path


def find() -> Browser | None:
    """The browser of this machine; None if it or its driver is missing."""
    chromium = next((path for name in _NAMES if (path := shutil.which(name))), None)
    driver = shutil.which("chromedriver")
    return Browser(Path(chromium), Path(driver)) if chromium and driver else None


def why_not() -> str:
    """What to do to get one."""
    return f"there is no Chromium with its driver: install {' and '.join(_PACKAGES)} (Debian's names)"


def must_be_there() -> bool:
    """Whether a missing browser is a failure: if EMBEDSHIFT_BROWSER=required is set."""
    return os.environ.get("EMBEDSHIFT_BROWSER") == "required"


def _install() -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *_PACKAGES]):
        subprocess.run(
            ["apt-get", *command],
            check=True,
            env=environment,
            timeout=_DEADLINE_S,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )


def main() -> int:
    """Print which browser there is, or install one; 3 if there is none and one is required."""
    if find() is None and os.geteuid() == 0 and shutil.which("apt-get"):
        print(f"browser: installing {' and '.join(_PACKAGES)}", file=sys.stderr)
        try:
            _install()
        except (OSError, subprocess.SubprocessError) as error:
            print(f"browser: apt-get failed ({error})", file=sys.stderr)
    if (found := find()) is not None:
        print(f"browser: {found.chromium}")
        return 0
    print(f"browser: {why_not()}; its tests are {'needed here' if must_be_there() else 'skipped'}", file=sys.stderr)
    return 3 if must_be_there() else 0


if __name__ == "__main__":
    sys.exit(main())
