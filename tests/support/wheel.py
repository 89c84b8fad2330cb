"""The wheel of this checkout, and an environment that holds nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").exists())


def build_wheel(folder: Path) -> Path:
    """The wheel, built by the project's own build backend."""
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return built


def empty_environment(folder: Path, wheel: Path) -> dict[str, str]:
    """Variables for a shell whose `pip install docruns` finds this wheel, in a new environment that is active.

    What docruns needs is taken from here, so that no network is needed; the checkout, which a .pth file names, is not
    found this way.
    """
    venv.create(folder, with_pip=True)
    (site,) = folder.glob("lib/*/site-packages")
    (site / "needed.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return {
        "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "PIP_NO_INDEX": "1",
        "PIP_NO_DEPS": "1",
        # the checkout counts as installed
        "PIP_IGNORE_INSTALLED": "1",
        "PIP_FIND_LINKS": str(wheel.parent),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
