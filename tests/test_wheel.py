"""The wheel that `pip install` gets: built from this checkout, installed and run where there is no checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").exists())
PACKAGE = ROOT / "sources" / "docruns"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built by the project's own build backend."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """Every file of the package is in the wheel, with the notebooks and the license, and no test."""
    names = set(zipfile.ZipFile(wheel).namelist())
    files = {
        f"docruns/{path.relative_to(PACKAGE).as_posix()}"
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    files |= {f"docruns/notebooks/{path.name}" for path in (ROOT / "notebooks").glob("*.py")}
    assert files <= names
    rest = names - files
    assert all(".dist-info/" in name for name in rest), rest
    assert any(name.endswith("licenses/LICENSE") for name in rest)


def test_wheel_runs_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    """Installed into an environment of its own, the command starts; CI runs the demo with it, installed by pip."""
    clean = tmp_path / "clean"
    beside = ROOT / ".uv" / "bin" / "uv"
    uv = str(beside) if beside.exists() else "uv"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command: str | Path) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run(uv, "venv", "--quiet", "--no-project", "--offline", "--python", sys.executable, clean)
    python = clean / "bin" / "python"
    # what docruns needs is taken from here; the checkout, which a .pth file names, is not found this way
    (site,) = clean.glob("lib/*/site-packages")
    (site / "needed.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    run(uv, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", python, wheel)
    found = "import importlib.util as found; print(found.find_spec('docruns').origin)"
    assert str(clean) in run(python, "-c", found)
    assert "Usage: docruns" in run(clean / "bin" / "docruns", "--help")
