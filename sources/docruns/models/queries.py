"""Any query that only reads a DuckDB file, with its rows as a table, CSV, JSON or Parquet."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import duckdb

from ..core.errors import ConfigError
from .reader import open_dataset

_CHUNK = 1_000


class Rows(NamedTuple):
    """The result of a query: the columns' names, and the rows as they are fetched."""

    columns: list[str]
    rows: Iterator[tuple[Any, ...]]


@contextmanager
def query(
    database: Path, dataset: str | None, sql: str, on_wait: Callable[[str], None] | None = None
) -> Iterator[Rows]:
    """The rows of a query that only reads. Names of tables and of models need no schema. ConfigError for a statement that
    is no query, and for one that fails."""
    with open_dataset(database, dataset, on_wait) as (connection, _), _named_errors():
        cursor = connection.execute(_only_query(connection, sql))
        names = [name for name, *_ in cursor.description or ()]
        yield Rows(names, _fetch(cursor))


def show_table(database: Path, dataset: str | None, sql: str, width: int) -> None:
    """Print the rows of a query that only reads as a table, which says how many it leaves out."""
    with open_dataset(database, dataset) as (connection, _), _named_errors():
        statement = _only_query(connection, sql)
        connection.sql(statement.query).show(max_width=width, max_rows=100)


def write_parquet(database: Path, dataset: str | None, sql: str, path: Path) -> int:
    """Write the rows of a query that only reads into a Parquet file. Returns their number."""
    if not path.parent.is_dir():
        raise ConfigError("--output", f"the folder {path.parent} does not exist.")
    with open_dataset(database, dataset) as (connection, _), _named_errors():
        statement = _only_query(connection, sql)
        place = str(path).replace("'", "''")
        query = statement.query.rstrip().rstrip(";")
        number: int = connection.execute(f"COPY ({query}) TO '{place}' (FORMAT parquet)").fetchall()[0][0]
    return number


@contextmanager
def _named_errors() -> Iterator[None]:
    """A query that fails is a ConfigError. What the database says of a value may quote it, and is left out."""
    try:
        yield
    except duckdb.DataError as error:
        text = f"{type(error).__name__}, about a value. Select fewer rows to find it"
        raise ConfigError("QUERY", f"fails: {text}.") from error
    except duckdb.Error as error:
        raise ConfigError("QUERY", f"fails: {error}") from error


def _only_query(connection: duckdb.DuckDBPyConnection, sql: str) -> duckdb.Statement:
    statements = connection.extract_statements(sql)
    if len(statements) != 1 or statements[0].type not in (
        duckdb.StatementType.SELECT,
        duckdb.StatementType.EXPLAIN,
    ):
        raise ConfigError("QUERY", "must be one query (SELECT …). Nothing was run.")
    return statements[0]


def _fetch(cursor: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while rows := cursor.fetchmany(_CHUNK):
        yield from rows


def write_csv(rows: Rows, file: TextIO) -> None:
    """Write rows as CSV with a header."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(rows.columns)
    writer.writerows(rows.rows)


def write_json(rows: Rows, file: TextIO) -> None:
    """Write rows as JSON objects, one a line. Times are text in ISO 8601."""
    for row in rows.rows:
        file.write(
            json.dumps(dict(zip(rows.columns, row, strict=True)), default=str, ensure_ascii=False) + "\n"
        )
