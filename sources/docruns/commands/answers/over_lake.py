"""A DuckDB file whose tables are views of a lake, so that the models can be made in it: `docruns models --over`.

    newest version of each table ──► its files ──► CREATE VIEW extend.fields AS … read_parquet([files])

No extension of DuckDB is needed. The views are of one version: made again, they are of the newest one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import dlt

from ...core.errors import ConfigError
from ...core.tables import CLEARED, TABLES, Table
from ...models.dialects import literal
from ...store.duckdb.file import open_database, quote
from ...store.failures import translate_errors
from ...store.merges.lakes.destination import DESTINATIONS
from ...store.merges.lakes.tables import check_installed, open_table
from ...store.process.environment import disable_telemetry, private_files
from ...store.target import Target

_FORMATS = ("delta", "iceberg")


@private_files()
def view_lake(target: Target, lake: str) -> int:
    """Make a view for each table of a dataset in a lake, in the DuckDB file of the target. Returns how many.

    ConfigError where the lake has no table of that dataset, or where the file has tables of its own there.
    """
    disable_telemetry()
    with translate_errors(target), tempfile.TemporaryDirectory(prefix="docruns-") as folder:
        views: dict[str, str] = {}
        for table_format in _FORMATS:
            views |= dict(_queries(lake, target.dataset, table_format, Path(folder)))
        if "fields" not in views:
            raise ConfigError(
                "--over",
                f"{lake} has no Delta or Iceberg tables of the dataset {target.dataset}.",
                "Name the bucket_url of the loads, and their --dataset.",
            )
        schema = quote(target.dataset)
        with closing(open_database(target.database)) as connection:
            own = connection.execute(
                "SELECT count(*) FROM duckdb_tables() WHERE schema_name = ? AND database_name = current_database()",
                [target.dataset],
            ).fetchall()
            if own != [(0,)]:
                raise ConfigError(
                    "--database",
                    f"{target.database} has tables of its own in {target.dataset}.",
                    "Name a file for the views alone.",
                )
            connection.execute(f"BEGIN; CREATE SCHEMA IF NOT EXISTS {schema}")
            for name, query in views.items():
                connection.execute(f"CREATE OR REPLACE VIEW {schema}.{quote(name)} AS {query}")
            connection.execute("COMMIT")
    return len(views)


def _queries(lake: str, dataset: str, table_format: str, folder: Path) -> Iterator[tuple[str, str]]:
    """The tables of one format, each with the query for its rows."""
    running = dlt.pipeline(
        f"docruns_over_{table_format}",
        pipelines_dir=str(folder),
        destination=DESTINATIONS[table_format](bucket_url=lake),
        dataset_name=dataset,
    )
    try:
        with running.destination_client() as found:
            client: Any = found
            marker = "_delta_log" if table_format == "delta" else "metadata"
            for table in TABLES:
                if client.fs_client.exists(f"{client.get_table_dir(table.name).rstrip('/')}/{marker}"):
                    check_installed(table_format)
                    lake_table = open_table(client, table.name)
                    stored = lake_table.dataset()
                    # a model reads a table without rows as one that is missing
                    if stored is not None and (files := lake_table.files()):
                        yield table.name, _query(table, files, stored.schema.names)
    finally:
        running.deactivate()


def _query(table: Table, files: Sequence[str], names: Sequence[str]) -> str:
    """The rows of some files, with JSON as such, as in a DuckDB file that is loaded."""
    json_columns = {column.name for column in table.columns if column.type == "json"}
    cells = ", ".join(
        f"CAST({quote(name)} AS JSON) AS {quote(name)}" if name in json_columns else quote(name)
        for name in names
        if name != CLEARED
    )
    return f"SELECT {cells} FROM read_parquet([{', '.join(map(literal, files))}], union_by_name=true)"
