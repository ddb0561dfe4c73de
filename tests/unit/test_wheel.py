"""The wheel: built from what is in the repository, whole, and run from a place of its own."""

from __future__ import annotations

import email
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

import embedshift

ROOT = Path(__file__).resolve().parents[2]
_BUILT_OF = ("pyproject.toml", "README.md", "LICENSE", "embedshift")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built in a copy of the sources: nothing is left in the checkout. Without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in _BUILT_OF:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    shutil.rmtree(folder / "embedshift" / "__pycache__", ignore_errors=True)
    built = subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", "dist"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    (path,) = (folder / "dist").iterdir()
    return path


def test_it_carries_what_the_program_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        inside = set(packed.namelist())
    wanted = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "embedshift").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    assert wanted - inside == set()
    assert {
        "embedshift/py.typed",
        "embedshift/reporting/templates/report.css",
        "embedshift/spark/log4j2.properties",
    } <= wanted
    assert {each.partition("/")[0] for each in inside - wanted} == {f"embedshift-{embedshift.__version__}.dist-info"}


def test_it_says_its_version_its_licence_and_its_command(wheel: Path) -> None:
    about = f"embedshift-{embedshift.__version__}.dist-info"
    with zipfile.ZipFile(wheel) as packed:
        said = email.message_from_bytes(packed.read(f"{about}/METADATA"))
        commands = packed.read(f"{about}/entry_points.txt").decode()
        licence = packed.read(f"{about}/licenses/LICENSE").decode()

    assert said["Version"] == embedshift.__version__
    assert said["License-Expression"] == "Apache-2.0"
    assert said["Requires-Python"] == ">=3.11"
    assert "embedshift = embedshift.__main__:entry" in commands
    assert licence == (ROOT / "LICENSE").read_text("utf-8")


def test_it_runs_where_it_is_unpacked(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(tmp_path)
    program = "import embedshift; print(embedshift.__file__); from embedshift.__main__ import entry; entry()"
    said = subprocess.run(
        [sys.executable, "-P", "-c", program, "--version"],
        cwd=tmp_path.parent,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert said.stdout.splitlines() == [
        str(tmp_path / "embedshift" / "__init__.py"),
        f"embedshift {embedshift.__version__}",
    ]


def test_nothing_in_wheel_and_archive_is_called_jobs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        assert [name for name in packed.namelist() if "jobs" in Path(name).parts] == []
        assert {name.partition("/")[0].partition("-")[0] for name in packed.namelist()} == {"embedshift"}


def test_it_is_installed_beside_a_project_that_has_jobs_of_its_own(wheel: Path, tmp_path: Path) -> None:
    """A package called jobs, as many projects have one, gets in nobody's way: it is the project's own."""
    project = tmp_path / "project"
    (project / "jobs").mkdir(parents=True)
    (project / "jobs" / "__init__.py").write_text("MINE = True\n")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True, timeout=300)
    python = tmp_path / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel]
    subprocess.run(install, check=True, timeout=300)
    # The dependencies from this environment, by their path alone.
    packages = next((tmp_path / "venv" / "lib").glob("python3.*/site-packages"))
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    program = (
        "import embedshift, jobs; from embedshift import Articles, Match; "
        "print(jobs.MINE, Articles.__name__, Match.__name__, embedshift.__file__)"
    )
    said = subprocess.run(
        [python, "-c", program], cwd=project, capture_output=True, text=True, timeout=300, check=False
    )

    assert said.returncode == 0, said.stderr
    assert said.stdout.split() == ["True", "Articles", "Match", str(packages / "embedshift" / "__init__.py")]
