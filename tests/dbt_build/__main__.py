"""Build the dbt project of the models on DuckDB and on PostgreSQL, and compare its views with those of docruns.

    make test-dbt

`DBT` is the path of dbt, which has an environment of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import duckdb
import psycopg2

from docruns.commands.answers.dataset_views import write_dbt
from docruns.commands.load import load_runs
from docruns.models.model import models
from docruns.sandbox import Sandbox
from docruns.store.target import Target
from support.loading import connect
from support.postgres import running_server

Rows = Callable[[str], int]


def build(folder: Path, **variables: str) -> None:
    """Run `dbt build`, which also runs all tests of the project. Exits where it fails."""
    command = [
        os.environ["DBT"],
        "--no-use-colors",
        "build",
        "--project-dir",
        str(folder),
        "--profiles-dir",
        str(folder),
    ]
    environment = {**os.environ, "DBT_SEND_ANONYMOUS_USAGE_STATS": "false", "NO_COLOR": "1", **variables}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    last = ended.stdout.strip().splitlines()[-1]
    print(f"{folder.name}: {last}", flush=True)
    if ended.returncode:
        sys.exit(ended.stdout)


def compare(count: Rows, dataset: str) -> None:
    """Each model has as many rows in dbt's schema as in docruns'."""
    for model in models():
        found, expected = (count(f"{dataset}_{schema}.{model.name}") for schema in ("dbt", "answers"))
        assert found == expected, f"{model.name}: {found} rows, not {expected}"


def on_duckdb(sandbox: Sandbox, folder: Path) -> None:
    database = folder / "d.duckdb"
    for dataset in ("extend", "plextera"):
        load_runs(connect(sandbox, dataset), Target(dataset, database))
        write_dbt(Target(dataset, database), folder / f"duckdb_{dataset}")
        build(folder / f"duckdb_{dataset}")
        with duckdb.connect(str(database), read_only=True) as connection:
            compare(lambda view: connection.execute(f"SELECT count(*) FROM {view}").fetchall()[0][0], dataset)


def on_postgres(sandbox: Sandbox, folder: Path) -> None:
    (folder / "pg").mkdir(mode=0o700)
    with running_server(folder / "pg") as url:
        os.environ["DESTINATION__POSTGRES__CREDENTIALS"] = url
        target = Target("extend", destination="postgres")
        load_runs(connect(sandbox, "extend"), target)
        write_dbt(target, folder / "postgres_extend")
        parts = urlsplit(url)
        build(
            folder / "postgres_extend",
            DOCRUNS_HOST=parse_qs(parts.query)["host"][0],
            DOCRUNS_USER=parts.username or "",
            DOCRUNS_PASSWORD=parts.password or "",
            DOCRUNS_DBNAME=parts.path.strip("/"),
        )
        with psycopg2.connect(url) as connection, connection.cursor() as cursor:

            def count(view: str) -> int:
                cursor.execute(f"SELECT count(*) FROM {view}")
                return int((cursor.fetchone() or (0,))[0])

            compare(count, "extend")


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        Sandbox(runs=60, standalone=10, seed=18, document_size="light", plextera_runs=10) as sandbox,
    ):
        on_duckdb(sandbox, Path(folder))
        on_postgres(sandbox, Path(folder))


if __name__ == "__main__":
    main()
