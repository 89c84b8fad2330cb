"""The wheel that `pip install` gets: built from this checkout, installed and run where there is no checkout."""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path

import pytest

from support.wheel import build_wheel, empty_environment

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").exists())
PACKAGE = ROOT / "sources" / "docruns"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    return build_wheel(tmp_path_factory.mktemp("dist"))


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
    """Installed by pip into an empty environment, the command starts; CI runs the demo with it, and docs/python.md is
    followed in such an environment."""
    variables = empty_environment(tmp_path / "clean", wheel)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | variables

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    clean = tmp_path / "clean" / "bin"
    run(str(clean / "pip"), "install", "--quiet", "docruns")
    found = "import importlib.util as found; print(found.find_spec('docruns').origin)"
    assert str(tmp_path) in run(str(clean / "python"), "-c", found)
    assert "Usage: docruns" in run(str(clean / "docruns"), "--help")
