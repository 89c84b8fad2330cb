"""The structure of the code: layers and owners, sizes, exported names, and what `dlt init` needs."""

from __future__ import annotations

import ast
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import docruns

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "sources" / "docruns"

FLOORS = (
    {"core", "sandbox"},
    {"net", "store"},
    {"sync", "models"},
    {"providers"},
    {"commands"},
)
"""The layers of folders from the bottom up; a folder imports only folders of lower layers."""

STARTS_SANDBOX = ("commands/calls/demo", "commands/cli/app")
"""The only modules that import the sandbox."""

STRANGERS = (
    ("providers/extend", "providers/plextera"),
    ("commands/push", "commands/reconcile/verify"),
)
"""Pairs that do not import each other."""

OWNERS = {
    "httpx": {"net/"},
    "httpx_aiohttp": {"net/"},
    "aiohttp": {"net/"},
    "fsspec": {"store/archive/"},
    "pyarrow": {"store/arrow", "store/archive/", "store/merges/lakes/", "store/process/memory"},
    "deltalake": {"store/merges/lakes/delta"},
    "pyiceberg": {"store/merges/lakes/iceberg", "store/merges/lakes/metadata_files"},
    "duckdb": {
        "store/duckdb/",
        "store/failures",
        "models/",
        "commands/health/status",
        "commands/calls/demo",
        "commands/push/rows",
    },
    "dlt": {
        "store/",
        "providers/",
        "commands/load",
        "commands/after_load/",
        "commands/answers/settings",
        "commands/answers/views",
        "commands/answers/over_lake",
        "commands/warehouse/copy",
        "commands/push/refresh",
        "commands/calls/connect",
        "commands/calls/stored",
    },
    "sqlalchemy": {"store/merges/mysql"},
    "typer": {"commands/cli/"},
    "rich": {"commands/cli/", "commands/calls/demo", "commands/push/report"},
    "msgspec": {"core/", "net/", "providers/", "commands/push/"},
    "sqlglot": {"commands/push/rows", "models/dialects"},
}
"""The modules that may import each foreign package; a folder ends with a slash."""

NEVER_IN_CORE = {"os", "time", "random", "socket", "asyncio", "threading", "logging", "pathlib"}

MAX_ENTRIES, MAX_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS = 10, 400, 50, 7

# dlt sources, commands and the calls of the same names have one parameter for each setting
WIDE = {
    "providers/extend/source",
    "providers/plextera/source",
    "commands/cli/app",
    "commands/cli/answers",
    "commands/cli/warehouse",
    "commands/calls/public",
}

FILES = sorted(PACKAGE.rglob("*.py"))
OWN = [path for path in FILES if "sandbox" not in path.relative_to(PACKAGE).parts]


def name_of(path: Path) -> str:
    """`sync/plan` for a module, `providers/extend` for a package's `__init__`."""
    relative = path.relative_to(PACKAGE).with_suffix("")
    parts = relative.parts[:-1] if relative.name == "__init__" else relative.parts
    return "/".join(parts)


NAMES = {name_of(path) for path in FILES}


def imports(path: Path) -> tuple[set[str], set[str]]:
    """The docruns modules and the foreign top-level packages that a file imports, also inside functions."""
    ours: set[str] = set()
    foreign: set[str] = set()
    package = path.relative_to(PACKAGE).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            foreign |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            foreign.add((node.module or "").split(".")[0])
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1]
            module = "/".join([*base, *(node.module or "").split(".")]).strip("/")
            for alias in node.names:
                inner = f"{module}/{alias.name}".strip("/")
                ours.add(inner if inner in NAMES else module)
    return ours, foreign


def top(name: str) -> str:
    """The top-level folder of a module; empty for the package's own `__init__`."""
    return name.partition("/")[0] if name in NAMES and name else ""


def floor(name: str) -> int:
    """The layer of a module; the package's own `__init__` is between providers and commands."""
    return next((i for i, folders in enumerate(FLOORS) if top(name) in folders), 3)


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_imports_point_down(path: Path) -> None:
    """A module imports only its own folder and folders of lower layers."""
    name = name_of(path)
    if name in ("", "__main__"):
        # the public names, and `python -m docruns`
        below = {"commands", "core", "models", "providers"} if not name else {"commands"}
        assert {top(other) for other in imports(path)[0]} == below
        return
    assert any(top(name) in folders for folders in FLOORS), f"{name} is in no layer"
    for other in imports(path)[0] - {name}:
        if top(other) != top(name):
            assert floor(other) < floor(name), f"{name} imports {other}, which is not below it"
            assert top(other) != "sandbox" or name in STARTS_SANDBOX, f"{name} imports {other}"
            assert (top(name), top(other)) != ("models", "net"), f"{name} imports {other}"
        for pair in STRANGERS:
            met = {side for side in pair for each in (name, other) if f"{each}/".startswith(f"{side}/")}
            assert met != set(pair), f"{name} imports {other}"


@pytest.mark.parametrize("path", OWN, ids=name_of)
def test_each_foreign_package_has_one_owner(path: Path) -> None:
    """Only its owners import a foreign package; the core imports none that uses time, network, files or
    randomness."""
    name, foreign = name_of(path), imports(path)[1]
    for package in foreign & OWNERS.keys():
        assert any(
            name == owner or (owner.endswith("/") and f"{name}/".startswith(owner))
            for owner in OWNERS[package]
        ), f"{name} imports {package}"
    if top(name) == "core":
        assert not foreign & NEVER_IN_CORE, f"{name} imports {foreign & NEVER_IN_CORE}"
        assert foreign <= {"__future__", "msgspec", *STANDARD}, f"{name} imports {foreign}"


STANDARD = {
    "base64", "bisect", "collections", "contextlib", "copy", "dataclasses", "datetime", "decimal", "enum", "errno", "functools",
    "hashlib", "hmac", "ipaddress", "itertools", "json", "math", "re", "types", "typing", "urllib",
}  # fmt: skip


def test_folders_import_in_one_direction() -> None:
    """Of two folders, at whatever depth, one imports the other and is not imported by it."""
    arrows: set[tuple[str, str]] = set()
    for path in OWN:
        name = name_of(path)
        for other in imports(path)[0]:
            # the package's own __init__ and __main__ only hand on what folders hold
            if name and other and "__main__" not in name:
                arrows.add((folder_of(name), folder_of(other)))
    assert {pair for pair in arrows if pair[0] != pair[1] and pair[::-1] in arrows} == set()


def folder_of(name: str) -> str:
    """The folder that holds a module; a package's `__init__` is in its own folder."""
    return name if (PACKAGE / name).is_dir() else name.rpartition("/")[0]


def test_no_circles() -> None:
    """Modules have no import cycles, also inside a folder."""
    graph = {name_of(path): imports(path)[0] - {name_of(path)} for path in OWN}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, f"an import cycle: {' -> '.join((*way, name))}"
        if name not in done:
            for other in graph.get(name, ()):
                visit(other, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())


def test_folders_are_small() -> None:
    """A folder has at most ten entries, so that a file is easy to find."""
    entries: defaultdict[Path, set[str]] = defaultdict(set)
    for path in OWN:
        for inner, outer in zip((path, *path.parents), path.parents, strict=False):
            if outer == PACKAGE.parent:
                break
            if inner.name != "__init__.py":
                entries[outer].add(inner.name)
    assert {folder.name: sorted(found) for folder, found in entries.items() if len(found) > MAX_ENTRIES} == {}


@pytest.mark.parametrize("path", OWN, ids=name_of)
def test_modules_and_functions_are_short(path: Path) -> None:
    """A module has at most 400 lines, a function at most 50 lines and 7 parameters."""
    name, text = name_of(path), path.read_text()
    # the table declarations are one long list of columns
    assert name == "core/tables" or len(text.splitlines()) <= MAX_LINES
    for function, lines, parameters in functions(text):
        if name in WIDE and (parameters > MAX_PARAMETERS or lines > MAX_FUNCTION_LINES):
            assert is_wide(text, function), f"{function}: {lines} lines, {parameters} parameters"
            continue
        assert lines <= MAX_FUNCTION_LINES, f"{function} has {lines} lines"
        assert parameters <= MAX_PARAMETERS, f"{function} has {parameters} parameters"


def functions(text: str) -> Iterator[tuple[str, int, int]]:
    """Each function's name, number of lines and number of parameters, without `self` and `cls`."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            given = [each for each in given if each.arg not in ("self", "cls")]
            yield node.name, (node.end_lineno or 0) - node.lineno + 1, len(given)


def is_wide(text: str, function: str) -> bool:
    """Whether a function is a dlt source, a `connect` function with the same settings, a command, or a call."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef) and node.name == function:
            marks = [ast.unparse(decorator) for decorator in node.decorator_list]
            is_call = function in docruns.__all__
            return (
                is_call
                or function.startswith("connect_")
                or any(m.startswith(("dlt.source", "app.command", "configured")) for m in marks)
            )
    return False


@pytest.mark.parametrize("path", OWN, ids=name_of)
def test_a_module_is_not_named_as_its_function(path: Path) -> None:
    """No module has a function with its own name: `from .load import load` would give one name two
    meanings."""
    tree = ast.parse(path.read_text())
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    # a source has the name of its platform and of its folder, because that is what users write
    assert path.stem not in names


def test_inner_packages_are_empty() -> None:
    """An inner `__init__.py` is empty, except the interface of each provider."""
    for path in PACKAGE.rglob("__init__.py"):
        if name_of(path) not in ("", "providers/extend", "providers/plextera") and path in OWN:
            assert path.read_text() == "", path


def test_exported_names() -> None:
    """The package exports exactly the names in __all__, and each one has a docstring."""
    calls = ["copy", "load", "replay", "report", "sweep", "verify"]
    assert docruns.__all__ == sorted(
        ["DocrunsError", "extend", "extend_workflow_runs", "plextera", "read", "rows", *calls]
    )
    for name in docruns.__all__:
        assert getattr(docruns, name).__doc__


def test_only_relative_imports_inside() -> None:
    """The package imports itself only relatively, so it works under any name and place."""
    for path in FILES:
        assert "docruns" not in imports(path)[1], path


def test_requirements_are_the_project_s() -> None:
    """The requirements that `dlt init` installs equal the package's dependencies."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (PACKAGE / "requirements.txt").read_text().split()
    assert sorted(lines) == sorted(project["dependencies"])


def test_tests_mirror_the_package() -> None:
    """Each folder of the package has a folder of tests."""
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert folders <= {path.name for path in (ROOT / "tests").iterdir()}


def test_project_stands_alone() -> None:
    """No file of the project contains a path of one machine or of somebody's workplace."""
    words = ("/work" + "/", "../sha" + "red", "/roo" + "t/")
    kinds = {".py", ".md", ".toml", ".txt", ".yml", ""}
    for path in ROOT.rglob("*"):
        hidden = any(
            part.startswith((".venv", ".git", ".uv", ".mypy", ".ruff", ".hyp", ".cache"))
            for part in path.relative_to(ROOT).parts
        )
        if path.is_file() and not hidden and path.suffix in kinds and "__pycache__" not in path.parts:
            text = path.read_text(errors="ignore")
            assert not any(word in text for word in words), path
