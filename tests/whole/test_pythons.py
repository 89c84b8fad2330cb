"""The supported Python versions: the project's metadata and CI agree."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").exists())
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"
PROMISED = ["3.11", "3.12", "3.13", "3.14"]


@pytest.mark.fault(38)
def test_each_promised_python_is_tested() -> None:
    """The project names them once, these tests run on one of them, and CI runs their commands on each."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    head = "Programming Language :: Python :: "
    named = [text.removeprefix(head) for text in project["classifiers"] if text.startswith(head)]
    assert named == PROMISED
    assert project["requires-python"] == ">=3.11,<3.15"
    assert ".".join(map(str, sys.version_info[:2])) in PROMISED
    job = jobs()["test"]
    assert job["strategy"]["matrix"]["python"] == PROMISED
    assert job["env"] == {"PYTHON": "python${{ matrix.python }}"}
    # also what a clean checkout runs elsewhere
    script = (ROOT / ".ci" / "run").read_text().splitlines()
    for command in ("make check", "make test", "make test-whole"):
        assert command in commands(job)
        assert command in script


def test_ci_tries_the_wheel() -> None:
    """CI builds the wheel, installs it where nothing else is, and runs the demo there, on each Python."""
    job = jobs()["wheel"]
    assert job["strategy"]["matrix"]["python"] == PROMISED
    lines = "\n".join(commands(job))
    for command in ("-m pip wheel", "-m venv", "-m pip install dist/docruns-", "docruns demo"):
        assert command in lines


def test_ci_can_install_the_newest_duckdb() -> None:
    """The command of that job finds a version, although uv.lock is held below it. Nothing is installed here."""
    (install,) = (command for command in commands(jobs()["duckdb"]) if "pip install" in command)
    dry = install.replace("pip install", "pip install --dry-run").replace(".venv/bin/python", sys.executable)
    done = subprocess.run(["sh", "-ec", dry], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_workflows_follow_the_schema() -> None:
    """GitHub would accept the workflows; the schema comes with check-jsonschema, not from the network."""
    found = [str(path) for path in WORKFLOW.parent.iterdir()]
    check = ("--builtin-schema", "vendor.github-workflows")
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", *check, *found],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def jobs() -> dict[str, Any]:
    """The jobs of the workflow."""
    read: dict[str, Any] = YAML(typ="safe").load(WORKFLOW)["jobs"]
    return read


def commands(job: dict[str, Any]) -> list[str]:
    """What a job runs."""
    return [step["run"] for step in job["steps"] if "run" in step]
