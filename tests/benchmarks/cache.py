"""Files that are made once and kept between benchmarks: corpora, and an environment for each rival."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.corpus import SEED
from benchmarks.processes import HERE, ROOT, TESTS, FailedError, environment, ours, run

RIVALS = HERE / "rivals"
_SANDBOX = ROOT / "sources" / "docruns" / "sandbox"


class Cache:
    """The cache folder; every file in it can be made again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def corpus(self, size: str, runs: int) -> Path:
        """A corpus of `runs` runs from the current version of the sandbox."""
        made = hashlib.sha256((HERE / "corpus.py").read_bytes())
        for path in sorted(_SANDBOX.rglob("*.py")):
            made.update(path.read_bytes())
        name = f"{size}-{runs}-{SEED}-{made.hexdigest()[:8]}"
        path = self.folder / "corpora" / name
        if not path.exists():
            print(f"writing {runs:,} {size} runs to {path}", flush=True)
            for old in (self.folder / "corpora").glob(f"{size}-{runs}-*"):
                shutil.rmtree(old)
            with self.scratch() as folder:
                command = ours("corpus", size, runs, folder / "made")
                run(command, folder, environment(folder, [TESTS]))
                path.parent.mkdir(parents=True, exist_ok=True)
                (folder / "made").rename(path)
        return path

    def python(self, rival: str) -> Path:
        """The Python interpreter of a rival's environment; FailedError when it cannot be installed."""
        wanted = RIVALS / rival / "requirements.txt"
        version = ".".join(map(str, sys.version_info[:3]))
        mark = hashlib.sha256(version.encode() + wanted.read_bytes()).hexdigest()[:12]
        venv = self.folder / "venvs" / mark
        if not (venv / "ready").exists():
            print(f"installing what {rival} needs", flush=True)
            shutil.rmtree(venv, ignore_errors=True)
            python = str(venv / "bin" / "python")
            self._uv("venv", "--python", sys.executable, str(venv))
            # compile modules now, else the first load would do it
            self._uv("pip", "install", "--compile-bytecode", "--python", python, "-r", str(wanted))
            (venv / "ready").touch()
        return venv / "bin" / "python"

    def _uv(self, *arguments: str) -> None:
        beside = ROOT / ".uv" / "bin" / "uv"
        uv = os.environ.get("UV") or shutil.which("uv") or (beside if beside.exists() else None)
        if uv is None:
            raise FailedError("uv is neither on the PATH nor named by UV")
        # a relative path is relative to the Makefile's folder
        command = [str(ROOT / uv) if os.sep in str(uv) else str(uv), "--quiet", "--no-config", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
        if done.returncode:
            said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
            raise FailedError(f"cannot be installed: {' '.join(said)[:200]}")

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A temporary folder on the same disk."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="run-", dir=self.folder) as folder:
            yield Path(folder)
