"""The package as `dlt init` delivers it: copied into an empty folder and run there."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from docruns.sandbox import Sandbox
from support.loading import query

ROOT = Path(__file__).parents[2]


def run(folder: Path, *command: str, **env: str) -> str:
    """The output of a command in a folder, without the checkout on its import path."""
    import os

    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONSAFEPATH": "", "PYTHONPATH": str(folder), **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def init(checkout: Path, folder: Path) -> None:
    """`dlt init docruns duckdb --location <checkout>`. It needs git; where there is none, the files are
    copied as it copies them, and what follows is tested all the same."""
    if shutil.which("git") is None:
        shutil.copytree(checkout / "sources", folder, dirs_exist_ok=True)
        return
    # dlt wants a repository, and names what was copied by its commit
    git = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org")
    run(checkout, *git, "init", "--quiet")
    run(checkout, *git, "add", ".")
    run(checkout, *git, "commit", "--quiet", "-m", "all")
    dlt = str(Path(sys.executable).parent / "dlt")
    listed = run(folder, dlt, "init", "-l", "--location", str(checkout))
    assert "docruns: Every run of a document-AI platform" in listed
    run(folder, dlt, "--non-interactive", "init", "docruns", "duckdb", "--location", str(checkout))


def test_dlt_init_copies_a_source_that_runs(sandbox: Sandbox, tmp_path: Path) -> None:
    """`dlt init docruns duckdb --location <checkout>` gives a folder whose script loads everything."""
    checkout, folder = tmp_path / "checkout", tmp_path / "folder"
    shutil.copytree(ROOT / "sources", checkout / "sources", ignore=shutil.ignore_patterns("__pycache__"))
    folder.mkdir()
    init(checkout, folder)
    assert (folder / "docruns" / "sandbox" / "__init__.py").exists()
    assert (folder / "docruns_pipeline.py").exists()
    settings = {"SOURCES__EXTEND__BASE_URL": sandbox.extend_url}
    script = "import docruns; print(docruns.__file__)"
    assert str(folder) in run(folder, sys.executable, "-c", script)
    run(folder, sys.executable, "docruns_pipeline.py", **settings)
    run(folder, sys.executable, "docruns_pipeline.py", **settings)
    runs = len([r for r in sandbox.extend.truth() if r["resource"] == "workflow_runs"])
    found = query(folder / "docruns.duckdb", "SELECT count(*) FROM extend.workflow_runs")
    assert found == [(runs,)]
    assert sandbox.stats.routes["GET /workflow_runs/{id}"] == runs
