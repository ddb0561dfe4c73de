"""Build the wheel, and the same as a .zip for ``spark-submit --py-files``, which does not take wheels."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def build(folder: Path) -> tuple[Path, Path]:
    """Write wheel and archive into a folder. Returns their paths.

    Raises:
        subprocess.CalledProcessError: the build failed; its output says why.
    """
    # setuptools would include modules that an earlier build has left there and that no longer exist.
    shutil.rmtree(ROOT / "build" / "lib", ignore_errors=True)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    wheel = folder / done.stdout.split()[-1]
    archive = wheel.with_name(f"{'-'.join(wheel.name.split('-')[:2])}.zip")
    shutil.copyfile(wheel, archive)
    return wheel, archive


def main(arguments: list[str]) -> int:
    """Build into the named folder, or into dist/."""
    try:
        for path in build(Path(arguments[0]) if arguments else ROOT / "dist"):
            print(path)
    except subprocess.CalledProcessError as error:
        print(f"dist: {' '.join(error.cmd[2:4])} failed with {error.returncode}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
