"""A database that an earlier version has loaded goes on with this one.

`support/before/` holds such a database, exported by DuckDB, and the lists that the platforms showed then. The
version before the package got its folders loaded it from a sandbox (12 runs and 4 processor runs of Extend; 6
runs of Plextera and a nested one).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

from docruns.commands.health.status import reports
from docruns.commands.load import load_runs
from docruns.commands.reconcile.against import verify_against
from docruns.commands.warehouse.copy import copy_runs
from docruns.sandbox import Sandbox
from docruns.store.target import Target
from support.loading import connect, query
from support.planted import plant

BEFORE = Path(__file__).parents[1] / "support" / "before"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """The database as the earlier version left it."""
    path, folder = tmp_path / "before.duckdb", BEFORE / "database"
    with duckdb.connect(str(path)) as connection:
        connection.execute((folder / "schema.sql").read_text())
        load = (folder / "load.sql").read_text()
        connection.execute(load.replace("FROM '", f"FROM '{folder}/"))
    return path


@pytest.fixture
def platforms() -> Iterator[tuple[Sandbox, list[str]]]:
    """Platforms that show the lists of then, and the paths of the requests that they get."""
    lists = json.loads((BEFORE / "answers.json").read_text())
    with Sandbox(runs=0, standalone=0, plextera_runs=0) as sandbox:
        sandbox.extend.switch(list_evaluation_sets=False)
        paths = plant(sandbox, {path: json.dumps(body).encode() for path, body in lists.items()})
        yield sandbox, paths


@pytest.mark.parametrize("provider", ["extend", "plextera"])
def test_a_load_after_an_upgrade_fetches_nothing(
    provider: str, database: Path, platforms: tuple[Sandbox, list[str]]
) -> None:
    """The first load of this version walks the lists, sends no detail request and changes no row."""
    sandbox, paths = platforms
    tables = ("workflow_runs", "processor_runs", "fields", "citations")
    sql = "UNION ALL ".join(f"SELECT count(*), max(_dlt_load_id) FROM {provider}.{t} " for t in tables)
    before = query(database, sql)
    assert all(count for count, _ in before)
    summary = load_runs(connect(sandbox, provider), Target(provider, database))
    assert summary.complete
    assert summary.fetched == 0
    assert summary.unchanged > 0
    assert summary.quarantined == 0
    lists = set(json.loads((BEFORE / "answers.json").read_text()))
    assert set(paths) <= lists | {"/extend/evaluation_sets"}
    assert query(database, sql) == before


@pytest.mark.parametrize("provider", ["extend", "plextera"])
def test_what_only_a_full_load_fills(
    provider: str, database: Path, platforms: tuple[Sandbox, list[str]]
) -> None:
    """After a plain load the new tables and columns are there, empty for the runs of before, which `status` counts."""
    sandbox, _ = platforms
    load_runs(connect(sandbox, provider), Target(provider, database))
    found = next(each for each in reports(database, dict) if each["dataset"] == provider)
    assert found["older_rows"] == found["workflow_runs"] + found["processor_runs"] > 0
    assert query(database, f"SELECT count(*) FROM {provider}.charges") == [(0,)]
    columns = "SELECT count(source), count(processing_ms), count(risk_level) FROM {}.processor_runs"
    assert query(database, columns.format(provider))[0][1:] == (0, 0)


@pytest.mark.parametrize("provider", ["extend", "plextera"])
def test_a_copy_of_a_database_from_before(provider: str, database: Path, tmp_path: Path) -> None:
    """It has all rows; columns that the file lacks are empty."""
    target = Target(provider, tmp_path / "copy.duckdb")
    assert copy_runs(Target(provider, database), target, provider).copied > 0
    assert not verify_against(provider, target, Target(provider, database)).differs
    assert copy_runs(Target(provider, database), target, provider).packages == 0
