"""The commands, queries and code in the documents are executed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from docruns.commands.cli.app import app
from docruns.commands.demo import run_demo
from docruns.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    """The code blocks of a language in the README."""
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's database."""
    path = tmp_path_factory.mktemp("demo") / "docruns.duckdb"
    list(run_demo(60, path))
    return path


@pytest.mark.parametrize("sql", blocks("sql"))
def test_queries_of_the_readme_answer(database: Path, sql: str) -> None:
    """Every query in the README runs on the demo's database and returns rows."""
    with duckdb.connect(str(database), read_only=True) as connection:
        assert connection.execute(sql).fetchall()


def test_pipeline_of_the_readme_runs(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python code in the README runs unchanged."""
    monkeypatch.setenv("SOURCES__EXTEND__BASE_URL", sandbox.extend_url)
    (code,) = blocks("python")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with duckdb.connect("documents.duckdb", read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM extend.workflow_runs").fetchone() == (40,)


def test_commands_of_the_readme_exist() -> None:
    """Every command and `make` target in the README exists."""
    known = {command.name or command.callback.__name__ for command in app.registered_commands}  # type: ignore[union-attr]
    named = set(re.findall(r"\bdocruns (\w+)(?: extend)?$", "\n".join(blocks("sh")), re.MULTILINE))
    assert named
    assert named <= known
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make (\w+)`|^make (\w+)$", README, re.MULTILINE):
        assert re.search(rf"^{''.join(target)}:", makefile, re.MULTILINE), target


def test_files_that_documents_name_exist() -> None:
    """Every path in the documents exists in the repository."""
    for document in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"):
        text = (ROOT / document).read_text()
        for name in re.findall(r"`((?:sources|tests|pipelines|notebooks|\.dlt)/[\w./-]+)`", text):
            # users create their own secrets file
            assert (ROOT / name).exists() or name == ".dlt/secrets.toml", (document, name)


def test_job_to_schedule_runs(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """`pipelines/extend_to_duckdb.py` loads the due runs each time it runs."""
    monkeypatch.setenv("SOURCES__EXTEND__BASE_URL", sandbox.extend_url)
    job = [sys.executable, str(ROOT / "pipelines" / "extend_to_duckdb.py")]
    for read in (46, 0):
        done = subprocess.run(job, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("extend: ")
        assert (int(done.stdout.split()[1]) > 0) == (read > 0)
