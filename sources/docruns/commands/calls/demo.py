"""Loads invented runs of both platforms, and answers three questions from them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
from rich.console import Console
from rich.table import Table

from ...core.errors import ConfigError
from ...models import questions
from ...providers.extend import connect_extend
from ...providers.plextera import connect_plextera
from ...sandbox import Sandbox
from ...store.duckdb.file import open_database, quote
from ...store.target import Target
from ...sync.metrics import Progress
from ..load import load_runs

DATASETS = ("extend", "plextera")
WORKSPACE = "sandbox"
"""Workspace label of invented runs: it tells them from real ones in a database."""


def run_demo(runs: int, database: Path, progress: Progress | None = None) -> Iterator[str]:
    """Load `runs` invented workflow runs into `database`. Yields the lines to print.

    Raises ConfigError if the database holds real runs.
    """
    if database.exists():
        with open_database(database, read_only=True) as connection:
            _refuse_real_runs(connection, database)
    with Sandbox(runs=runs) as sandbox:
        for platform in (
            connect_extend(base_url=sandbox.extend_url, workspace_id=WORKSPACE),
            connect_plextera(base_url=sandbox.plextera_url, workspace=WORKSPACE),
        ):
            summary = load_runs(platform, Target(platform.name, database), progress)
            yield (
                f"{summary.provider}: {summary.fetched:,} runs fetched with "
                f"{summary.requests:,} requests in {summary.seconds:.1f} s"
            )
    with open_database(database, read_only=True) as connection:
        for dataset in DATASETS:
            yield ""
            for name, rows in _row_counts(connection, dataset):
                yield f"  {dataset + '.' + name:<30} {rows:>10,} rows"
        for answer in questions.ask(connection, "extend"):
            yield ""
            yield _as_table(answer)
    yield f"Everything is in {database}. Open it with `duckdb {database}` or any notebook."


def _refuse_real_runs(connection: duckdb.DuckDBPyConnection, database: Path) -> None:
    for dataset in DATASETS:
        try:
            number = connection.execute(
                f"SELECT count(*) FROM {dataset}.workflow_runs WHERE workspace IS DISTINCT FROM ?",
                [WORKSPACE],
            ).fetchone()
        except duckdb.CatalogException:
            continue
        if number and number[0]:
            raise ConfigError(
                "--database",
                f"{database} holds {number[0]:,} runs that are not the demo's.",
                "Name another file: the demo does not mix invented runs with real ones.",
            )


def _row_counts(connection: duckdb.DuckDBPyConnection, dataset: str) -> list[tuple[str, int]]:
    names = connection.execute(
        "SELECT table_name FROM information_schema.tables "
        "WHERE table_schema = ? AND table_name NOT LIKE '\\_dlt%' ESCAPE '\\' ORDER BY 1",
        [dataset],
    ).fetchall()
    count = f"SELECT count(*) FROM {quote(dataset)}."
    return [(name, connection.execute(count + quote(name)).fetchall()[0][0]) for (name,) in names]


def _as_table(answer: questions.Answer) -> str:
    table = Table(title=answer.question, title_justify="left", title_style="bold")
    for column in answer.columns:
        table.add_column(column.replace("_", " "))
    for row in answer.rows:
        table.add_row(*("-" if cell is None else str(cell) for cell in row))
    console = Console(width=100, no_color=True, highlight=False)
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip()
