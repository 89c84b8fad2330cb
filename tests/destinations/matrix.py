"""Every tested destination beside DuckDB: seven steps, and each cell of each table is the same at the end.

    load ──► load ──► changes, load ──► verify --deep ──► deletions, sweep ──► load ──► verify
             fetches nothing

All of them take each step in turn, DuckDB first, so the platform shows each the same. One that fails takes no further
step. A destination is one row of `DESTINATIONS`. The make targets name, in an environment variable of this name, those
whose packages they install.
"""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from destinations import databases, lakes
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
    database = folder / "runs.duckdb"
    held = "SELECT column_name FROM duckdb_columns() WHERE schema_name = ? AND table_name = ?"
    names = [name for (name,) in query(database, held, dataset, table.name)]
    if not names:
        return None
    columns = ", ".join(f'"{name}"' for name in names)
    found = query(database, f'SELECT {columns} FROM {dataset}."{table.name}"')
    return [dict(zip(names, row, strict=True)) for row in found]


DUCKDB = Destination("duckdb", duckdb_rows, ("--database", "{folder}/runs.duckdb"))

DESTINATIONS = [
    DUCKDB,
    Destination("delta", lakes.delta_rows, lakes.options("delta"), lakes.in_folder),
    Destination("iceberg", lakes.iceberg_rows, lakes.options("iceberg"), lakes.in_folder),
    Destination("delta-s3", lakes.delta_rows_in_s3, lakes.options("delta"), lakes.in_s3),
    Destination("iceberg-s3", lakes.iceberg_rows_in_s3, lakes.options("iceberg"), lakes.in_s3),
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
    Destination(
        "ducklake-postgres",
        databases.lake_rows,
        ("--destination", "ducklake"),
        databases.postgres_lake_settings,
    ),
]


CHOSEN = [each for each in DESTINATIONS if each.name in os.environ.get("DESTINATIONS", "duckdb").split()]

Result = dict[str, Any]


@dataclass
class Side:
    """A destination that takes part. `failed` says what went wrong with it, and at which step."""

    destination: Destination
    folder: Path
    environment: dict[str, str]
    failed: str = field(default="")

    @property
    def options(self) -> tuple[str, ...]:
        """What the command gets."""
        return tuple(option.format(folder=self.folder) for option in self.destination.options)

    def run(self, command: str, *arguments: str) -> Result:
        """The JSON object that a command prints for the destination."""
        with pytest.MonkeyPatch.context() as patch:
            for name, value in self.environment.items():
                patch.setenv(name, value)
            return docruns(command, *arguments, *self.options)


class Matrix:
    """All sides of one provider."""

    def __init__(self, provider: str, folder: Path, stack: ExitStack) -> None:
        self._provider = provider
        self.sides = [self._side(each, folder / each.name, stack) for each in CHOSEN]
        self.reference = self._side(DUCKDB, folder / "reference", stack)

    def _side(self, destination: Destination, folder: Path, stack: ExitStack) -> Side:
        folder.mkdir()
        return Side(destination, folder, destination.settings(folder, stack))

    def step(self, command: str, *more: str, same: str | None = None) -> Any:
        """Run a command everywhere. All sides must say the same under the name `same`, which is returned."""
        wanted = self.reference.run(command, self._provider, *more)
        with_same = wanted[same] if same else None

        def take(side: Side) -> None:
            found = side.run(command, self._provider, *more)
            assert same is None or found[same] == with_same, (found, wanted)

        self._each(" ".join((command, *more)), take)
        return with_same

    def compare(self) -> None:
        """Compare what `status` says, and each cell of each table."""
        wanted = held(self._provider, self.reference)
        cells = {table.name: self._cells(self.reference, table) for table in TABLES}

        def take(side: Side) -> None:
            assert held(self._provider, side) == wanted
            assert list(self._differences(side, cells)) == []

        self._each("compare", take)

    def _each(self, what: str, take: Callable[[Side], None]) -> None:
        for side in self.sides:
            if side.failed:
                continue
            try:
                take(side)
            except Exception as error:  # noqa: BLE001 - the others go on, and the test fails at its end
                told = "".join(traceback.format_exception(error, limit=-4))
                side.failed = f"{side.destination.name}, {what}: {told}"

    def _differences(self, side: Side, wanted: dict[str, list[str]]) -> Iterator[str]:
        """One line for each table that does not hold what DuckDB holds."""
        for table in TABLES:
            if table is SYNCS:
                # it tells how a database was loaded
                continue
            ours, theirs = self._cells(side, table), wanted[table.name]
            if ours != theirs:
                first = next(iter(set(ours) ^ set(theirs)), "a row is there twice")
                yield f"{table.name}: {len(ours)} rows, DuckDB has {len(theirs)}: {first}"

    def _cells(self, side: Side, table: Table) -> list[str]:
        """Rows as sorted text. Some destinations take no table without a row."""
        rows = side.destination.rows(side.folder, self._provider, table) or []
        columns = [column for column in table.columns if column.name != CLEARED]
        assert all(row.get(CLEARED) is None for row in rows)
        return sorted(repr([_plain(column, row[column.name]) for column in columns]) for row in rows)


@pytest.fixture
def platform(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Both platforms, with few runs."""
    with Sandbox(runs=40, standalone=5, seed=5, document_size="light", plextera_runs=12) as sandbox:
        monkeypatch.setenv("SOURCES__EXTEND__BASE_URL", sandbox.extend_url)
        monkeypatch.setenv("SOURCES__PLEXTERA__BASE_URL", sandbox.plextera_url)
        yield sandbox


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("provider", ["extend", "plextera"])
def test_seven_steps(provider: str, platform: Sandbox, tmp_path: Path) -> None:
    """A destination holds what DuckDB holds, after loads, changes and deletions."""
    with ExitStack() as stack:
        matrix = Matrix(provider, tmp_path, stack)
        put_children(platform, provider, version=0)
        assert matrix.step("load", same="fetched") >= 20
        assert matrix.step("load", same="fetched") == 0
        change(platform, provider)
        put_children(platform, provider, version=1)
        assert matrix.step("load", same="fetched") >= 10
        assert matrix.step("verify", "--deep", "1000", same="rows_compared") >= 100
        gone = outermost(platform, provider)[:5]
        for id_ in gone:
            getattr(platform, provider).delete(id_)
        assert matrix.step("sweep", "--yes", same="marked")["workflow_runs"] >= len(gone)
        assert matrix.step("load", same="fetched") == 0
        matrix.step("verify")
        matrix.compare()
        failed = [side.failed for side in matrix.sides if side.failed]
        assert not failed, "\n".join(failed)


def docruns(*arguments: str) -> Result:
    """The JSON object that a command prints. It must succeed."""
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, (arguments, result.output, result.exception)
    found: Result = json.loads(result.stdout.strip().splitlines()[-1])
    return found


def held(dataset: str, side: Side) -> Result:
    """What `status` says of a dataset, without what depends on the moment."""
    report: Any = side.run("status", "--dataset", dataset)
    names = ("at_work", "last_load_at", "newest_run_age_s")
    return {name: value for name, value in report[0].items() if name not in names}


def outermost(platform: Sandbox, provider: str) -> list[str]:
    """The ids of the workflow runs that are in no other one."""
    runs = getattr(platform, provider).truth()
    return [
        run["id"]
        for run in runs
        if run["resource"] == "workflow_runs" and not run.get("parent_id") and not run.get("parent_run_id")
    ]


def change(platform: Sandbox, provider: str) -> None:
    """37 reviews: values change, rows come and go. Plextera has no reviews: it processes extractions again."""
    if provider == "extend":
        platform.extend.review(37)
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
