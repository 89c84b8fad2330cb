"""The package as `dlt init` delivers it: copied into an empty folder and run there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

from docruns.sandbox import Sandbox
from support.loading import query

ROOT = Path(__file__).parents[2]


def run(folder: Path, *command: str, **env: str) -> str:
    """The output of a command in a folder, without the checkout on its import path."""
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


def init(checkout: Path, folder: Path, python: Path) -> None:
    """`dlt init docruns duckdb --location <checkout>`. It needs git; where there is none, the files are
    copied as it copies them, and what follows is tested all the same."""
    if shutil.which("git") is None:
        shutil.copytree(checkout / "sources", folder, dirs_exist_ok=True)
        (folder / ".dlt").mkdir()
        (folder / ".dlt" / "secrets.toml").write_text(SECRETS)
        return
    # dlt wants a repository, and names what was copied by its commit
    git = ("git", "-c", "user.name=t", "-c", "user.email=t@example.org")
    run(checkout, *git, "init", "--quiet")
    run(checkout, *git, "add", ".")
    run(checkout, *git, "commit", "--quiet", "-m", "all")
    dlt = (str(python), "-P", "-c", "from dlt._workspace.cli._dlt import _main; _main()", "--non-interactive")
    listed = run(folder, *dlt, "init", "-l", "--location", str(checkout))
    assert "docruns: Every run of a document-AI platform" in listed
    run(folder, *dlt, "init", "docruns", "duckdb", "--location", str(checkout))


def dlt_alone(place: Path) -> Path:
    """The interpreter of an environment that holds dlt and what dlt requires, linked from this one."""
    venv.create(place, symlinks=True)
    (site,) = place.glob("lib/*/site-packages")
    todo, done = ["dlt"], set[str]()
    while todo:
        if (name := todo.pop()) in done:
            continue
        done.add(name)
        found = distribution(name)
        for top in {file.parts[0] for file in found.files or ()} - {".."}:
            source, link = Path(str(found.locate_file(top))), site / top
            if source.exists() and not link.exists():
                link.symlink_to(source)
        needed = map(Requirement, found.requires or ())
        todo += [each.name for each in needed if each.marker is None or each.marker.evaluate({"extra": ""})]
    return place / "bin" / "python"


SECRETS = '[sources.docruns]\napi_key = "<configure me>" # fill this in!\n'


def test_dlt_init_copies_a_source_that_runs(tmp_path: Path) -> None:
    """`dlt init docruns duckdb --location <checkout>` needs dlt alone, and gives a folder whose script loads
    everything with the secret that dlt asks for. Before the user installs requirements.txt, the script says so."""
    checkout, folder = tmp_path / "checkout", tmp_path / "folder"
    shutil.copytree(ROOT / "sources", checkout / "sources", ignore=shutil.ignore_patterns("__pycache__"))
    folder.mkdir()
    alone = dlt_alone(tmp_path / "alone")
    find = "import importlib.util as found; print(found.find_spec('msgspec'), found.find_spec('duckdb'))"
    assert run(folder, str(alone), "-c", find) == "None None\n"
    init(checkout, folder, alone)
    assert (folder / "docruns" / "sandbox" / "__init__.py").exists()
    early = subprocess.run(
        [alone, "docruns_pipeline.py"], cwd=folder, check=False, capture_output=True, text=True, timeout=120
    )
    assert early.returncode == 1
    assert "requirements.txt: is not installed. Run `pip install -r requirements.txt`" in early.stderr
    secrets = folder / ".dlt" / "secrets.toml"
    assert secrets.read_text().strip() == SECRETS.strip()
    secrets.write_text(SECRETS.replace("<configure me>", "sk_of_this_project"))
    with Sandbox(runs=40, seed=3, plextera_runs=0, api_keys={"sk_of_this_project"}) as sandbox:
        for _ in range(2):
            address = {"SOURCES__EXTEND__BASE_URL": sandbox.extend_url}
            run(folder, sys.executable, "docruns_pipeline.py", **address)
        found = query(folder / "docruns.duckdb", "SELECT count(*) FROM extend.workflow_runs")
        assert found == [(40,)]
        assert sandbox.stats.routes["GET /workflow_runs/{id}"] == 40
