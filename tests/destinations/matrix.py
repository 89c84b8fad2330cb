"""Every tested destination beside DuckDB: seven steps, and each cell of each table is the same at the end.

    load ──► load ──► changes, load ──► verify --deep ──► deletions, sweep ──► load ──► verify
             fetches nothing

Both databases take each step in turn, so the platform shows both the same. A destination is one row of
`DESTINATIONS`. The make targets name, in an environment variable of this name, those whose packages they install.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from destinations import databases
from docruns.commands.cli.app import app
from docruns.core.tables import CLEARED, SYNCS, TABLES, Column, Table
from docruns.sandbox import Sandbox
from support.loading import query

Rows = list[dict[str, Any]]
Settings = Callable[[Path, ExitStack], dict[str, str]]
Reader = Callable[[Path, str, Table], "Rows | None"]


@dataclass(frozen=True)
class Destination:
    """A destination in a folder of its own: what the command gets, and how its tables are read without docruns.

    `rows` gives the rows of a table of a dataset, by column name, JSON as text or as values; None where there is no such
    table. `settings` are environment variables; servers that they start end with the stack.
    """

    name: str
    rows: Reader
    options: tuple[str, ...]
    settings: Settings = lambda folder, stack: {}


def duckdb_rows(folder: Path, dataset: str, table: Table) -> Rows | None:
    """The rows of a table in a DuckDB file."""
    return _of_file(folder / "runs.duckdb", dataset, table)


def _of_file(database: Path, dataset: str, table: Table) -> Rows | None:
    held = "SELECT column_name FROM duckdb_columns() WHERE schema_name = ? AND table_name = ?"
    names = [name for (name,) in query(database, held, dataset, table.name)]
    if not names:
        return None
    columns = ", ".join(f'"{name}"' for name in names)
    found = query(database, f'SELECT {columns} FROM {dataset}."{table.name}"')
    return [dict(zip(names, row, strict=True)) for row in found]


def delta_rows(folder: Path, dataset: str, table: Table) -> Rows | None:
    """The rows of a Delta table, as delta-rs reads them."""
    from deltalake import DeltaTable

    place = str(folder / "lake" / dataset / table.name)
    if not DeltaTable.is_deltatable(place):
        return None
    found: Rows = DeltaTable(place).to_pyarrow_table().to_pylist()
    return found


def iceberg_rows(folder: Path, dataset: str, table: Table) -> Rows | None:
    """The rows of an Iceberg table, as pyiceberg reads them without a catalog."""
    from pyiceberg.table import StaticTable

    files = sorted((folder / "lake" / dataset / table.name / "metadata").glob("*.metadata.json"))
    if not files:
        return None
    found: Rows = StaticTable.from_metadata(str(files[-1])).scan().to_arrow().to_pylist()
    return found


def lake(folder: Path, stack: ExitStack) -> dict[str, str]:
    """A lake in a folder."""
    return {"DESTINATION__FILESYSTEM__BUCKET_URL": str(folder / "lake")}


def lake_options(table_format: str) -> tuple[str, ...]:
    """The options for a table format."""
    return ("--destination", "filesystem", "--table-format", table_format)


DESTINATIONS = [
    Destination("duckdb", duckdb_rows, ("--database", "{folder}/runs.duckdb")),
    Destination("delta", delta_rows, lake_options("delta"), lake),
    Destination("iceberg", iceberg_rows, lake_options("iceberg"), lake),
    Destination(
        "postgres",
        databases.postgres_rows,
        ("--destination", "postgres"),
        databases.postgres_settings,
    ),
    Destination(
        "sqlite",
        databases.sqlite_rows,
        ("--destination", "sqlalchemy"),
        databases.sqlite_settings,
    ),
    Destination(
        "mariadb",
        databases.mariadb_rows,
        ("--destination", "sqlalchemy"),
        databases.mariadb_settings,
    ),
    *(
        Destination(
            f"ducklake-{catalog}",
            databases.lake_rows,
            ("--destination", "ducklake"),
            databases.lake_settings(catalog),
        )
        for catalog in ("duckdb", "sqlite")
    ),
]


CHOSEN = os.environ.get("DESTINATIONS", "duckdb").split()


@pytest.fixture(params=CHOSEN)
def destination(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Destination]:
    """A destination with its settings. Its tables are in `tmp_path`."""
    found = {each.name: each for each in DESTINATIONS}[request.param]
    with ExitStack() as stack:
        for name, value in found.settings(tmp_path, stack).items():
            monkeypatch.setenv(name, value)
        yield found


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Both platforms, with few runs."""
    with Sandbox(runs=30, standalone=5, seed=5, document_size="light", plextera_runs=12) as sandbox:
        monkeypatch.setenv("SOURCES__EXTEND__BASE_URL", sandbox.extend_url)
        monkeypatch.setenv("SOURCES__PLEXTERA__BASE_URL", sandbox.plextera_url)
        yield sandbox


@pytest.mark.timeout(3600)  # DuckDB checks the signatures of DuckLake's extensions for each connection
@pytest.mark.parametrize("provider", ["extend", "plextera"])
def test_seven_steps(provider: str, destination: Destination, platform: Sandbox, tmp_path: Path) -> None:
    """A destination holds what DuckDB holds, after loads, changes and deletions."""
    reference = tmp_path / "reference.duckdb"
    sides = (
        ("--database", str(reference)),
        tuple(option.format(folder=tmp_path) for option in destination.options),
    )

    def step(command: str, *more: str) -> list[dict[str, Any]]:
        return [docruns(command, provider, *more, *side) for side in sides]

    put_children(platform, provider, version=0)
    counts(step("load"), "fetched", at_least=20)
    counts(step("load"), "fetched", exactly=0)
    change(platform, provider)
    put_children(platform, provider, version=1)
    counts(step("load"), "fetched", at_least=10)
    counts(step("verify", "--deep", "1000"), "rows_compared", at_least=100)
    gone = outermost(platform, provider)[:3]
    for id_ in gone:
        getattr(platform, provider).delete(id_)
    for result in step("sweep", "--yes"):
        assert result["marked"]["workflow_runs"] >= len(gone)
    counts(step("load"), "fetched", exactly=0)
    step("verify")
    assert held(provider, *sides[1]) == held(provider, *sides[0])
    assert differences(destination, tmp_path, reference, provider) == []


def docruns(*arguments: str) -> dict[str, Any]:
    """The JSON object that a command prints. It must succeed."""
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, (arguments, result.output, result.exception)
    found: dict[str, Any] = json.loads(result.stdout.strip().splitlines()[-1])
    return found


def held(dataset: str, *side: str) -> dict[str, Any]:
    """What `status` says of a dataset, without what depends on the moment."""
    report: Any = docruns("status", "--dataset", dataset, *side)
    names = ("at_work", "last_load_at", "newest_run_age_s")
    return {name: value for name, value in report[0].items() if name not in names}


def counts(results: list[dict[str, Any]], name: str, at_least: int = 0, exactly: int | None = None) -> None:
    """Both sides have counted the same, and as much as is said."""
    ours, theirs = (result[name] for result in results)
    assert ours == theirs, results
    assert ours == exactly if exactly is not None else ours >= at_least, results


def outermost(platform: Sandbox, provider: str) -> list[str]:
    """The ids of the workflow runs that are in no other one."""
    runs = getattr(platform, provider).truth()
    return [
        run["id"]
        for run in runs
        if run["resource"] == "workflow_runs" and not run.get("parent_id") and not run.get("parent_run_id")
    ]


def change(platform: Sandbox, provider: str) -> None:
    """15 reviews: values change, rows come and go. Plextera has no reviews: it processes extractions again."""
    if provider == "extend":
        platform.extend.review(15)
        platform.extend.finish()
    else:
        platform.plextera.reprocess(15)
        platform.plextera.finish()


def put_children(platform: Sandbox, provider: str, version: int) -> None:
    """A run that loses a part of its rows, one that loses all, and one whose child moves into another run."""
    at = f"2026-09-25T12:0{version}:00Z"
    dates = {"createdAt": "2026-09-25T10:00:00Z", "updatedAt": at}
    if provider == "extend":
        values: list[Any] = [{"a": 1, "b": "two"}, {"c": [1, 2]}]
        if version:
            values = [{"a": 3}, None]
        for number, value in enumerate(values):
            run = {
                "object": "extract_run",
                "id": f"exr_{number}",
                "status": "PROCESSED",
                "config": {},
                **dates,
            }
            run["output"] = None if value is None else {"value": value, "metadata": {}}
            platform.extend.put(json.dumps(run), resource="extract_runs")
        return
    child = {"id": "child", "status": "COMPLETED", **dates, "updatedAt": dates["createdAt"], "steps": []}
    for place, id_ in enumerate(("first", "second")):
        nested = [child] if place == version else []
        steps = [
            {"id": "step_01", "type": "sub_workflow", "nestedRuns": {"count": len(nested), "data": nested}},
            {"id": "step_02", "type": "web_function", "status": "COMPLETED"},
        ]
        platform.plextera.put({"id": id_, "status": "COMPLETED", **dates, "steps": steps[: 2 - version]})


def differences(destination: Destination, folder: Path, reference: Path, dataset: str) -> list[str]:
    """One line for each table that does not hold what DuckDB holds."""
    found = []
    for table in TABLES:
        if table is SYNCS:
            # it tells how a database was loaded
            continue
        ours = destination.rows(folder, dataset, table)
        theirs = _of_file(reference, dataset, table)
        if not ours and not theirs:
            # some destinations take no table without a row
            continue
        one, other = (_cells(table, rows or []) for rows in (ours, theirs))
        if one != other:
            first = next(iter(set(one) ^ set(other)), "a row is there twice")
            found.append(f"{table.name}: {len(one)} rows, DuckDB has {len(other)}: {first}")
    return found


def _cells(table: Table, rows: Rows) -> list[str]:
    """Rows as sorted text."""
    columns = [column for column in table.columns if column.name != CLEARED]
    assert all(row.get(CLEARED) is None for row in rows)
    return sorted(repr([_plain(column, row[column.name]) for column in columns]) for row in rows)


def _plain(column: Column, cell: Any) -> Any:
    """A cell in one form for all destinations, which differ in JSON and time zones."""
    if cell is None:
        return None
    if column.name == "deleted_at":
        # the two databases were swept one after the other
        return "deleted"
    match column.type:
        case "json":
            value = json.loads(cell) if isinstance(cell, str | bytes) else cell
            return json.dumps(value, sort_keys=True)
        case "timestamp":
            assert isinstance(cell, datetime), (column.name, cell)
            return (cell.replace(tzinfo=UTC) if cell.tzinfo is None else cell).astimezone(UTC)
        case "date":
            assert type(cell) is date, (column.name, cell)
        case "bool":
            return bool(cell)
    return cell
