"""`make setup` on other machines: another Python, no uv, no git, a path with spaces, a folder that was moved.

The Makefile, .ci/setup, make, uv and the Pythons are real; the project that they set up has no dependencies,
so that nothing but uv is downloaded.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").exists())
RUNNING = f"{sys.version_info[0]}.{sys.version_info[1]}"
TOOLS = "sh env make dirname pwd mktemp rm cat find grep sed printf ls uname"

PROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "docruns"
version = "0.1.0"
requires-python = ">=3.11,<3.15"

[project.scripts]
docruns = "docruns:main"
"""
# what hatchling would do, without it: an editable install that names this folder
BACKEND = """
import zipfile
from pathlib import Path

NAME = "docruns-0.1.0-py3-none-any.whl"


def build_editable(folder, config_settings=None, metadata_directory=None):
    info = "docruns-0.1.0.dist-info"
    with zipfile.ZipFile(Path(folder) / NAME, "w") as wheel:
        wheel.writestr("docruns.pth", str(Path.cwd()))
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: docruns\\nVersion: 0.1.0\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/entry_points.txt", "[console_scripts]\\ndocruns = docruns:main\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return NAME
"""

Make = Callable[..., subprocess.CompletedProcess[str]]


def uv() -> str:
    """The uv that set this checkout up."""
    found = shutil.which("uv")
    beside = ROOT / ".uv" / "bin" / "uv"
    assert found or beside.exists(), "`make setup` has not been run here"
    return str(beside if beside.exists() else found)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tarball that was unpacked: no .git, and spaces in its path."""
    place = tmp_path / "my doc runs, new"
    (place / ".ci").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", place)
    shutil.copy(ROOT / ".ci" / "setup", place / ".ci")
    (place / "pyproject.toml").write_text(PROJECT)
    (place / "backend.py").write_text(BACKEND)
    (place / "docruns.py").write_text("def main() -> None:\n    print('hello')\n")
    subprocess.run([uv(), "lock", "--quiet", "--offline"], cwd=place, check=True)
    return place


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A folder of programs that is the whole PATH: what make and a shell need, no Python, no uv, no git."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in TOOLS.split():
        if there := shutil.which(name):
            (programs / name).symlink_to(there)
    return programs


@pytest.fixture
def make(folder: Path, path: Path) -> Make:
    """Run make in that folder with that PATH."""
    kept = {name: os.environ[name] for name in ("HOME", "UV_CACHE_DIR") if name in os.environ}
    # proxies and certificates, where pip and uv need them
    kept |= {
        k: v for k, v in os.environ.items() if "proxy" in k.lower() or "CERT" in k or k.startswith("PIP_")
    }

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [path / "make", *arguments],
            cwd=folder,
            env={**kept, "PATH": str(path)},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


def add_program(path: Path, name: str, script: str) -> None:
    """Put a program on the PATH."""
    (path / name).write_text(f"#!/bin/sh\n{script}\n")
    (path / name).chmod(0o755)


def add_python(path: Path, name: str, executable: str = sys.executable) -> None:
    """Put a Python on the PATH; a link would not find its own libraries."""
    add_program(path, name, f'exec "{executable}" "$@"')


def add_uv(path: Path) -> None:
    """Put uv on the PATH."""
    add_program(path, "uv", f'exec "{uv()}" "$@"')


def version_in(folder: Path) -> str:
    """The version of the Python in .venv, as it says itself."""
    shown = subprocess.run(
        [folder / ".venv" / "bin" / "python", "--version"],
        check=True,
        capture_output=True,
        text=True,
    )
    return shown.stdout.split()[1]


def other_python() -> str | None:
    """Another Python that is supported and runs, if this machine has one."""
    places = [Path(name) for name in os.environ["PATH"].split(os.pathsep)]
    places += [beside / "bin" for beside in Path(sys.base_prefix).parent.iterdir()]
    for place in places:
        for minor in range(11, 15):
            python = place / f"python3.{minor}"
            if f"3.{minor}" != RUNNING and python.exists():
                done = subprocess.run([python, "-c", ""], capture_output=True, check=False)
                if done.returncode == 0:
                    return str(python)
    return None


def test_first_python_that_works_is_taken(make: Make, path: Path, folder: Path) -> None:
    """A shim without its Python and one that is too old are passed over; setup says what it found, and works
    with uv from the PATH, without git, in a path with spaces. Done once, it does and says nothing."""
    add_uv(path)
    add_program(path, "python3.11", "echo 'pyenv: python3.11: command not found' >&2; exit 127")
    add_program(path, "python3.12", "echo '  python3.12 is Python 3.8.2' >&2; exit 1")
    add_python(path, "python3.13")
    done = make("setup")
    assert done.returncode == 0, done.stderr
    assert re.search(
        rf"making \.venv with Python {re.escape(sys.version.split()[0])} \(.*\) and uv \(.*/uv\)",
        done.stdout,
    )
    assert version_in(folder) == sys.version.split()[0]
    assert not (folder / ".uv").exists()
    said = subprocess.run([folder / ".venv" / "bin" / "docruns"], check=True, capture_output=True, text=True)
    assert said.stdout == "hello\n"
    again = make("setup")
    assert (again.returncode, again.stdout, again.stderr) == (0, "", "")
    # a newer lock is a reason, and so is a folder that was moved
    os.utime(folder / "uv.lock")
    assert "making .venv" in make("setup").stdout
    moved = folder.with_name("moved here")
    folder.rename(moved)
    moved_make = subprocess.run(
        [path / "make", "setup"],
        cwd=moved,
        env={"PATH": str(path), "HOME": os.environ["HOME"]},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "making .venv" in moved_make.stdout
    said = subprocess.run([moved / ".venv" / "bin" / "docruns"], check=True, capture_output=True, text=True)
    assert said.stdout == "hello\n"


def test_uv_is_installed_where_there_is_none(make: Make, path: Path, folder: Path) -> None:
    """Without uv on the PATH, or with one that does not run, the pinned uv goes into .uv."""
    add_program(path, "uv", "exit 127")
    add_python(path, "python3")
    done = make("setup")
    assert done.returncode == 0, done.stderr
    assert "uv (.uv/bin/uv)" in done.stdout
    shown = subprocess.run(
        [folder / ".uv" / "bin" / "uv", "--version"], check=True, capture_output=True, text=True
    )
    pinned = re.findall(r"uv_version=(\S+)", (ROOT / ".ci" / "setup").read_text())
    assert shown.stdout.split()[1] == pinned[0]


def test_another_python_renews_the_environment(make: Make, path: Path, folder: Path) -> None:
    """PYTHON may be a path with spaces. A version that differs from .venv's renews it; without PYTHON it stays."""
    add_uv(path)
    other = other_python()
    first, second = (other, sys.executable) if other else (sys.executable, None)
    spaced = folder.parent / "a place" / "python"
    spaced.parent.mkdir()
    add_python(spaced.parent, "python", first)
    done = make(f"PYTHON={spaced}", "setup")
    assert done.returncode == 0, done.stderr
    before = version_in(folder)
    add_python(path, "python3.11")
    assert make("setup").stdout == ""
    assert version_in(folder) == before
    if second is not None:
        done = make(f"PYTHON={second}", "setup")
        assert done.returncode == 0, done.stderr
        assert version_in(folder) == sys.version.split()[0] != before


def test_no_python(make: Make, path: Path) -> None:
    """Where no Python works, one message says which are needed, what was found and what to do; nothing is made."""
    done = make("setup")
    assert done.returncode != 0
    assert "docruns needs Python 3.11, 3.12, 3.13 or 3.14, and found none on the PATH" in done.stderr
    assert "make PYTHON=/path/to/python3.12 setup" in done.stderr
    add_program(path, "python3", "echo '  python3 is Python 3.8.2' >&2; exit 1")
    assert "  python3 is Python 3.8.2\n" in make("setup").stderr
    named = make("PYTHON=python3.9", "setup")
    assert "PYTHON=python3.9 does not run or is none of them" in named.stderr


def test_help_lists_every_target(make: Make) -> None:
    """`make help` names each target with what it does, and needs no Python."""
    done = make("help")
    assert done.returncode == 0, done.stderr
    listed = re.findall(r"^  ([\w-]+) +\S", done.stdout, re.MULTILINE)
    phony = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0]
    assert listed == phony.split()
