"""The main job against the built-in sandbox: what a newcomer sees first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
from rich.console import Console
from rich.table import Table

from ..core.errors import ConfigError
from ..models import questions
from ..providers.extend import connect_extend
from ..providers.plextera import connect_plextera
from ..sandbox import Sandbox
from ..store.duckdb.file import open_database, quote
from ..store.target import Target
from ..sync.metrics import Progress
from .load import load_runs

DATASETS = ("extend", "plextera")
WORKSPACE = "sandbox"
"""Workspace label of invented runs: a demo never mixes with anything else."""


def run_demo(runs: int, database: Path, progress: Progress | None = None) -> Iterator[str]:
    """Load `runs` invented workflow runs into `database`; yields the lines to show."""
    if database.exists():
        with open_database(database, read_only=True) as connection:
            _refuse_real_runs(connection, database)
    with Sandbox(runs=runs) as sandbox:
        for platform in (
            connect_extend(base_url=sandbox.extend_url, workspace_id=WORKSPACE),
            connect_plextera(base_url=sandbox.plextera_url, workspace=WORKSPACE),
        ):
            found = load_runs(platform, Target(platform.name, database), progress)
            yield (
                f"{platform.name}: {found.fetched:,} runs read with {found.requests:,} requests "
                f"in {found.seconds:.1f} s"
            )
    with open_database(database, read_only=True) as connection:
        for dataset in DATASETS:
            yield ""
            for name, rows in _row_counts(connection, dataset):
                yield f"  {dataset + '.' + name:<30} {rows:>10,} rows"
        for answer in questions.ask(connection, "extend"):
            yield ""
            yield _drawn(answer)
    yield f"All of it is in {database}: open it with `duckdb {database}` or any notebook."


def _refuse_real_runs(connection: duckdb.DuckDBPyConnection, database: Path) -> None:
    for dataset in DATASETS:
        try:
            found = connection.execute(
                f"SELECT count(*) FROM {dataset}.workflow_runs WHERE workspace IS DISTINCT FROM ?",
                [WORKSPACE],
            ).fetchone()
        except duckdb.CatalogException:
            continue
        if found and found[0]:
            raise ConfigError(
                "--database",
                f"{database} holds {found[0]:,} runs that are not the demo's.",
                "Name another file.",
            )


def _row_counts(connection: duckdb.DuckDBPyConnection, dataset: str) -> list[tuple[str, int]]:
    names = connection.execute(
        "SELECT table_name FROM information_schema.tables "
        "WHERE table_schema = ? AND table_name NOT LIKE '\\_dlt%' ESCAPE '\\' ORDER BY 1",
        [dataset],
    ).fetchall()
    counted = []
    for (name,) in names:
        found = connection.execute(
            f"SELECT count(*) FROM {quote(dataset)}.{quote(name)}"
        ).fetchone()
        counted.append((name, found[0] if found else 0))
    return counted


def _drawn(answer: questions.Answer) -> str:
    table = Table(title=answer.question, title_justify="left", title_style="bold")
    for column in answer.columns:
        table.add_column(column.replace("_", " "))
    for row in answer.rows:
        table.add_row(*("-" if cell is None else str(cell) for cell in row))
    console = Console(width=100, no_color=True, highlight=False)
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip()
