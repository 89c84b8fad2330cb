"""One loaded database for the tests of models, which must not change it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from docruns.commands.load import load_runs
from docruns.sandbox import Sandbox
from docruns.store.target import Target
from support.loading import connect


@pytest.fixture(scope="session")
def reviewed() -> Iterator[Sandbox]:
    """A platform of both providers with reviewed runs."""
    with Sandbox(runs=120, standalone=20, seed=18, document_size="light", plextera_runs=20) as running:
        yield running


@pytest.fixture(scope="session")
def database(reviewed: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs of both providers in one file."""
    path = tmp_path_factory.mktemp("models") / "m.duckdb"
    for name in ("extend", "plextera"):
        load_runs(connect(reviewed, name), Target(name, path))
    return path


@pytest.fixture
def copied(database: Path, tmp_path: Path) -> Path:
    """A copy of the database that a test may change."""
    path = tmp_path / "copied.duckdb"
    path.write_bytes(database.read_bytes())
    return path
