"""Any query that only reads a DuckDB file, with its rows as a table, CSV, JSON or Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isfinite, isnan
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import duckdb

from ..core.errors import ConfigError
from ..store.duckdb.errors import first_line
from ..store.duckdb.queries import only_query, query_error
from ..store.process.environment import private_files
from ..store.process.outputs import replacement
from .reader import open_dataset

KEY = "QUERY"
"""The argument of the command, which errors name."""

_CHUNK = 1_000

_OTHER_FORMATS = {".csv", ".html", ".json", ".jsonl", ".ndjson", ".tsv", ".txt", ".xlsx"}
"""Ends of names that no Parquet file has."""


class Rows(NamedTuple):
    """The result of a query: the columns' names, and the rows as they are fetched."""

    columns: list[str]
    rows: Iterator[tuple[Any, ...]]


@contextmanager
def _open(
    database: Path, dataset: str | None, sql: str, on_wait: Callable[[str], None] | None
) -> Iterator[tuple[duckdb.DuckDBPyConnection, duckdb.Statement]]:
    """A connection and the query. ConfigError for a statement that is no query, and for one that fails."""
    with open_dataset(database, dataset, on_wait) as (connection, _):
        try:
            yield connection, only_query(connection, sql, KEY)
        except duckdb.Error as error:
            raise query_error(KEY, error) from error


@contextmanager
def query(
    database: Path, dataset: str | None, sql: str, on_wait: Callable[[str], None] | None = None
) -> Iterator[Rows]:
    """The rows of a query that only reads. Names of tables and of models need no schema. Columns have different names:
    of two that are called `edited` the second is `edited_1`."""
    with _open(database, dataset, sql, on_wait) as (connection, statement):
        # DuckDB finds the variable by its name, whatever comments the query ends with; no view has such a name
        _rows = connection.sql(statement.query)
        cursor = connection.execute("FROM _rows")
        names = [name for name, *_ in cursor.description or ()]
        yield Rows(names, _fetch(cursor))


def show_table(
    database: Path, dataset: str | None, sql: str, width: int, on_wait: Callable[[str], None] | None = None
) -> None:
    """Print the rows of a query that only reads as a table, which says how many it leaves out."""
    with _open(database, dataset, sql, on_wait) as (connection, statement):
        connection.sql(statement.query).show(max_width=width, max_rows=100)


@private_files()
def write_parquet(
    database: Path,
    dataset: str | None,
    sql: str,
    path: Path,
    on_wait: Callable[[str], None] | None = None,
) -> int:
    """Write the rows of a query that only reads into a Parquet file, which is there as a whole or not at all. Returns
    their number."""
    if path.suffix.lower() in _OTHER_FORMATS:
        raise ConfigError(
            "--output",
            f"writes Parquet, and {path} is named like another format.",
            f"Name a file.parquet, or use --csv or --json and write what is printed: `… --csv > {path}`.",
        )
    if not path.absolute().parent.is_dir():
        raise ConfigError("--output", f"the folder {path.parent} does not exist.")
    with (
        _open(database, dataset, sql, on_wait) as (connection, statement),
        replacement(path, "--output", database) as part,
    ):
        # as above
        _rows = connection.sql(statement.query)
        place = str(part).replace("'", "''")
        try:
            # else DuckDB writes beside a file that exists, and leaves that after an error
            copied = connection.execute(
                f"COPY (FROM _rows) TO '{place}' (FORMAT parquet, USE_TMP_FILE false)"
            ).fetchall()
        except duckdb.IOException as error:
            # others are about what the query reads
            if str(part) not in str(error):
                raise
            reason = first_line(error).rpartition(": ")[2]
            raise ConfigError("--output", f"{path} cannot be written ({reason}).") from error
    number: int = copied[0][0]
    return number


def _fetch(cursor: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while rows := cursor.fetchmany(_CHUNK):
        yield from rows


def write_csv(rows: Rows, file: TextIO) -> None:
    """Write rows as CSV with a header. Null is an empty cell, a boolean `true` or `false`."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(rows.columns)
    words = {True: "true", False: "false"}
    writer.writerows([words[cell] if isinstance(cell, bool) else cell for cell in row] for row in rows.rows)


def write_json(rows: Rows, file: TextIO) -> None:
    """Write rows as JSON objects, one a line. Times are text in ISO 8601. JSON has no NaN, which
    is null, and no infinite numbers, which are the texts `Infinity` and `-Infinity`."""
    for row in rows.rows:
        cells = dict(zip(rows.columns, row, strict=True))
        try:
            text = _as_json(cells)
        except ValueError:
            text = _as_json(_finite(cells))
        file.write(text + "\n")


def _as_json(cells: Any) -> str:
    return json.dumps(cells, default=str, ensure_ascii=False, allow_nan=False)


def _finite(value: Any) -> Any:
    """A value without the numbers that JSON does not have."""
    if isinstance(value, float) and not isfinite(value):
        return None if isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, dict):
        return {str(key) if isinstance(key, float) else key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value
