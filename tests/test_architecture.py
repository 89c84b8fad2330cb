"""The shape of the code: who may import what, what is exported, what `dlt init` needs."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

import pytest

import docruns

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sources" / "docruns"

# from the bottom up; a module may import those above it in this list, never those below
LAYERS = (
    "errors",
    "model",
    "privacy",
    "ids",
    "pause",
    "twice",
    "payload",
    "settings",
    "portions",
    "feed",
    "paths",
    "cells",
    "said",
    "walk",
    "flatten",
    "arrow",
    "quarantine",
    "reading",
    "worker",
    "budget",
    "transport",
    "http",
    "tally",
    "discreet",
    "delegate",
    "guard",
    "changes",
    "extend.schemas",
    "extend.outputs",
    "extend.processors",
    "extend.rows",
    "extend.api",
    "plextera.outputs",
    "plextera.api",
    "plextera.rows",
    "extend.updates",
    "loaded",
    "hints",
    "feeds",
    "stream",
    "sync",
    "options",
    "resources",
    "extend.catalogue",
    "extend.source",
    "extend.destination",
    "extend",
    "plextera.source",
    "plextera",
    "",
    "mishaps",
    "lock",
    "publish",
    "heap",
    "merging",
    "load",
    "reread",
    "knowledge",
    "journal",
    "origin",
    "push",
    "sweep",
    "verify",
    "answers",
    "status",
    "dictionary",
    "check",
    "progress",
    "differences",
    "sandbox",
    "demo",
    "stopped",
    "printed",
    "cli",
)

# each foreign thing has one owner
OWNERS = {
    "pyarrow": {"arrow"},
    "httpx": {"http", "transport"},
    "aiohttp": {"transport"},
    "tenacity": {"http"},
    "dlt": {
        "guard",
        "mishaps",
        "loaded",
        "hints",
        "resources",
        "merging",
        "load",
        "reread",
        "options",
        "extend.source",
        "extend.destination",
        "plextera.source",
        "cli",
    },
    "duckdb": {"lock", "mishaps", "answers", "origin", "status", "demo"},
    "typer": {"cli"},
    "rich": {"progress", "differences", "demo"},
}

PURE = (
    "errors",
    "changes",
    "model",
    "privacy",
    "ids",
    "twice",
    "payload",
    "settings",
    "portions",
    "feed",
    "said",
    "walk",
    "flatten",
    "extend.outputs",
    "extend.rows",
)
NEVER_IN_PURE = {"os", "time", "random", "socket", "asyncio", "threading", "logging", "pathlib"}


def module_name(path: Path) -> str:
    """extend/rows.py is extend.rows, a package's __init__ is the package; all of sandbox is one."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    if parts[0] == "sandbox":
        return "sandbox"
    return ".".join(part for part in parts if part != "__init__")


def imports(path: Path) -> tuple[set[str], set[str]]:
    """Modules of ours and foreign top-level packages that a file imports, also inside functions."""
    ours: set[str] = set()
    foreign: set[str] = set()
    package = path.relative_to(PACKAGE).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            foreign |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            foreign.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
            stem = ".".join(part for part in base if part)
            for alias in node.names:
                full = f"{stem}.{alias.name}" if stem else alias.name
                ours.add(full if full in LAYERS and node.module is None else stem or alias.name)
    return {name.split(".")[0] if name.startswith("sandbox") else name for name in ours}, foreign


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    """A module imports only what lies below it, so there is one direction to read the code in."""
    name = module_name(path)
    assert name in LAYERS, f"{name} has no place in the layers yet"
    ours, foreign = imports(path)
    for other in ours - {name}:
        assert LAYERS.index(other) < LAYERS.index(name), f"{name} imports {other}"
    for package in foreign & OWNERS.keys():
        assert name in OWNERS[package] or name == "sandbox", f"{name} imports {package}"
    if name in PURE:
        assert not foreign & NEVER_IN_PURE, f"{name} is pure and imports {foreign & NEVER_IN_PURE}"


def test_layers_name_real_modules() -> None:
    """The list of layers has no module that is gone."""
    assert set(LAYERS) == {module_name(path) for path in FILES}


def test_exported_names() -> None:
    """What the package exports is exactly what its __all__ says, and it is documented."""
    assert docruns.__all__ == ["extend", "extend_workflow_runs", "plextera"]
    for name in docruns.__all__:
        assert getattr(docruns, name).__doc__


def test_only_relative_imports_inside() -> None:
    """The package works however it arrives: it never names itself."""
    for path in FILES:
        assert "docruns" not in imports(path)[1], path


def test_requirements_are_the_project_s() -> None:
    """What `dlt init` installs is what the package depends on."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (PACKAGE / "requirements.txt").read_text().split()
    assert sorted(lines) == sorted(project["dependencies"])


def test_modules_are_one_idea_each() -> None:
    """A module over 450 lines is usually two ideas."""
    for path in FILES:
        # the model is one long list of columns
        assert path.name == "model.py" or len(path.read_text().splitlines()) <= 450, path


def test_house_stands_alone() -> None:
    """Nothing in the project names a machine's path or somebody else's workplace."""
    words = ("/work" + "/", "../sha" + "red", "/roo" + "t/")
    kinds = {".py", ".md", ".toml", ".txt", ".yml", ""}
    for path in ROOT.rglob("*"):
        hidden = any(
            part.startswith((".venv", ".git", ".uv", ".mypy", ".ruff", ".hyp", ".cache"))
            for part in path.parts
        )
        if (
            path.is_file()
            and not hidden
            and path.suffix in kinds
            and "__pycache__" not in path.parts
        ):
            text = path.read_text(errors="ignore")
            assert not any(word in text for word in words), path
