"""Fixtures that more than one test module uses."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from docruns.commands.load import Summary, load_runs
from docruns.net import messages
from docruns.providers.extend import connect_extend
from docruns.sandbox import Sandbox
from docruns.store.target import Target
from docruns.sync.lists import Platform
from proofs.children import Children, Ended
from support.loading import FEW_LISTED, Loader
from support.postgres import running_server


def pytest_configure(config: pytest.Config) -> None:
    """Register this project's markers."""
    config.addinivalue_line("markers", "fault(*rows): defends rows of the fault matrix, see faults.py")


def pytest_collection_finish() -> None:
    """Exclude the modules of all tests from garbage collection: each load would scan them."""
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Undo the freeze: DuckDB checks at exit which objects were not freed."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has its own working directory, dlt folder and configuration, and no key."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DLT_DATA_DIR", str(tmp_path / "dlt"))
    monkeypatch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
    for name in ("EXTEND_API_KEY", "EXTEND_WORKSPACE_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A small platform for one test."""
    with Sandbox(runs=40, seed=3, corpus=FEW_LISTED) as running:
        yield running


@pytest.fixture
def load_extend(sandbox: Sandbox, tmp_path: Path) -> Loader:
    """Load the sandbox's runs into a DuckDB file; keywords go to `extend`."""

    def run(database: Path = tmp_path / "t.duckdb", **options: Any) -> tuple[Summary, Platform]:
        options.setdefault("base_url", sandbox.extend_url)
        platform = connect_extend(**options)
        return load_runs(platform, Target("extend", database)), platform

    return run


WITH_VIEWS = {
    "test_models", "test_stored", "test_reader", "test_report", "test_docs", "test_cli", "test_privacy", "test_publish", "test_kill",
    "test_upgrade", "test_postgres", "test_formats",
}  # fmt: skip
"""The files whose loads make the views of the models: in the others these would take a tenth of each first load."""


@pytest.fixture(autouse=True)
def views(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the loads of a test make views."""
    if request.module.__name__.rpartition(".")[2] not in WITH_VIEWS:
        monkeypatch.setenv("ANSWERS__VIEWS", "false")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that is not JSON is requested once more, without a wait."""
    init = messages.Retry.__init__
    monkeypatch.setattr(messages.Retry, "__init__", lambda self: init(self, attempts=2, first=0.0, cap=0.0))


@pytest.fixture(scope="session")
def children() -> Iterator[Children]:
    """Starts `docruns …` in separate processes, quickly: docruns is imported once, then forked."""
    with Children() as starter:
        yield starter


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL server that runs for the tests of one file."""
    with running_server(tmp_path_factory.mktemp("pg")) as url:
        yield url


@pytest.fixture(scope="module")
def few_runs() -> Iterator[Sandbox]:
    """A platform of few runs that the tests of one file may change.

    No test may remove a run that `loaded_once` contains: test files run in any order and share nothing.
    """
    how: Any = {"seed": 5, "document_size": "light", "plextera_runs": 0, "corpus": FEW_LISTED}
    with Sandbox(runs=12, standalone=2, **how) as running:
        yield running


@pytest.fixture(scope="module")
def loaded_once(children: Children, few_runs: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that was loaded from `few_runs` before any test changed it."""
    folder = tmp_path_factory.mktemp("loaded")
    assert children.run(folder, "load", "extend", "--base-url", few_runs.extend_url).code == 0
    return folder / "docruns.duckdb"


@pytest.fixture
def loaded(loaded_once: Path, few_runs: Sandbox, tmp_path: Path) -> Iterator[Path]:
    """A copy of that database, in the command's default place; faults and counts end with the test."""
    database = tmp_path / "docruns.duckdb"
    shutil.copy(loaded_once, database)
    few_runs.stats.reset()
    yield database
    few_runs.clear_faults()


@pytest.fixture
def docruns_load(children: Children, few_runs: Sandbox, loaded: Path) -> Callable[..., Ended]:
    """`docruns load extend` in a separate process; a failed step is tried once, not five times."""

    def run(*arguments: str, **how: Any) -> Ended:
        environment = {"LOAD__RAISE_ON_MAX_RETRIES": "1", **how.pop("environment", {})}
        command = ("load", "extend", "--base-url", few_runs.extend_url, *arguments)
        return children.run(loaded.parent, *command, environment=environment, **how)

    return run
