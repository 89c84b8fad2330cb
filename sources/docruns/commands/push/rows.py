"""Reads the rows to push from a file, or with a query that can only read the database.

    SELECT id, 'duplicate' AS "metadata.finding" FROM extend.workflow_runs …     a query, on any destination that has SQL
    found.csv                     cells are texts, an empty cell changes nothing; `metadata` is a JSON object as text
    found.jsonl, .ndjson          one object a line
    found.parquet
    found.sql                     the query

A row is a mapping by column name. A null in a struct of a query or of a parquet file changes nothing, because
every row of a struct has all its keys. A null in JSON is a value.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import sqlglot
from sqlglot import exp

from ...core.codec import clean, decode_whole
from ...core.errors import ConfigError, ShapeError
from ...store.destinations import sql_client
from ...store.duckdb.file import open_database
from ...store.duckdb.queries import not_a_query, only_query, query_error, read_text
from ...store.pipeline import open_for_reading
from ...store.target import Target

KEY = "--from"

_FAILED = "is not a file, and as a query it fails"

Row = dict[str, Any]

_WRITES = (
    exp.Insert, exp.Update, exp.Delete, exp.Merge, exp.Create, exp.Drop, exp.Alter, exp.Copy, exp.Command,
    exp.Into,
)  # fmt: skip


def read_rows(
    source: str, target: Target, provider: str, on_wait: Callable[[str], None] | None = None
) -> list[Row]:
    """The rows of a file, or of a query on the target. ConfigError if neither can be read."""
    path = Path(source)
    if _is_file(path):
        if read := _READERS.get(path.suffix):
            return list(read(path))
        if path.suffix != ".sql":
            known = ", ".join(_READERS)
            raise ConfigError(KEY, f"{path}: unknown kind of file. Use one that ends in {known} or .sql.")
        source = read_text(path, KEY)
    elif path.suffix in (*_READERS, ".sql") and not source.split()[1:]:
        raise ConfigError(KEY, f"{source} does not exist.", "Name a file that does.")
    if not source.strip():
        raise ConfigError(KEY, "is empty.", "Name a file, or write a query.")
    if target.traits.has_file:
        with open_database(target.database, read_only=True, on_wait=on_wait) as connection:
            return _query_duckdb(connection, source)
    return _query_destination(source, target, provider, on_wait)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        # a long query is no valid file name
        return False


def _query_duckdb(connection: duckdb.DuckDBPyConnection, query: str) -> list[Row]:
    try:
        cursor = connection.execute(only_query(connection, query, KEY))
        columns = [(name, str(type_)) for name, type_, *_ in cursor.description or ()]
        return list(_to_rows(columns, cursor.fetchall()))
    except (duckdb.Error, ShapeError) as error:
        raise query_error(KEY, error, _FAILED) from error


def _query_destination(
    query: str, target: Target, provider: str, on_wait: Callable[[str], None] | None
) -> list[Row]:
    """Run a query on a destination that cannot be opened read-only: a SELECT only, which is rolled back."""
    with open_for_reading(provider, target, on_wait) as running:
        dialect = running.destination.capabilities().sqlglot_dialect
        try:
            statements = [each for each in sqlglot.parse(query, dialect=dialect) if each is not None]
        except sqlglot.errors.SqlglotError as error:
            raise query_error(KEY, error, _FAILED) from error
        writes = [node.key.upper() for each in statements for node in each.find_all(*_WRITES)]
        if len(statements) != 1 or writes or not isinstance(statements[0], exp.Query):
            kinds = writes or [each.key.upper() for each in statements] or ["nothing"]
            raise not_a_query(KEY, " and ".join(kinds))
        with sql_client(running) as client:
            # a cursor of the driver: dlt's would read a % in the query as a placeholder
            cursor = client.native_connection.cursor()
            try:
                cursor.execute(query)
                columns = [(name, "") for name, *_ in cursor.description]
                return list(_to_rows(columns, cursor.fetchall()))
            except Exception as error:
                raise query_error(KEY, error, _FAILED) from error
            finally:
                client.native_connection.rollback()


def _to_rows(columns: Sequence[tuple[str, str]], fetched: Iterable[Sequence[Any]]) -> Iterator[Row]:
    _check_names([name for name, _ in columns])
    for cells in fetched:
        row: Row = {}
        for (name, type_), cell in zip(columns, cells, strict=True):
            if type_ == "JSON" and cell is not None and name != "metadata":
                cell = decode_whole(cell.encode())
            elif isinstance(cell, dict) and type_.startswith("STRUCT"):
                cell = {key: value for key, value in cell.items() if value is not None}
            row[name] = cell
        yield row


def _check_names(names: Iterable[str]) -> None:
    if repeated := [name for name, number in Counter(names).items() if number > 1]:
        raise ConfigError(KEY, f"has the column {repeated[0]!r} twice.")


def _csv(path: Path) -> Iterator[Row]:
    lines = csv.reader(StringIO(read_text(path, KEY), newline=""))
    try:
        names = next(lines, [])
        _check_names(names)
        for cells in lines:
            if cells and len(cells) != len(names):
                reason = f"{len(cells)} cells for {len(names)} columns."
                raise ConfigError(KEY, f"{path}, line {lines.line_num}: {reason}")
            if cells:
                yield {name: cell or None for name, cell in zip(names, cells, strict=True)}
    except csv.Error as error:
        raise ConfigError(KEY, f"{path}, line {lines.line_num}: {error}.") from error


def _json_lines(path: Path) -> Iterator[Row]:
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = decode_whole(clean(line))
        except (msgspec.MsgspecError, UnicodeDecodeError, ShapeError, RecursionError) as error:
            raise ConfigError(KEY, f"{path}, line {number}: not JSON: {error}.") from error
        if not isinstance(row, dict):
            raise ConfigError(KEY, f"{path}, line {number}: not a JSON object.")
        yield row


def _parquet(path: Path) -> Iterator[Row]:
    with duckdb.connect() as connection:
        try:
            cursor = connection.execute("SELECT * FROM read_parquet(?)", [str(path)])
            columns = [(name, str(type_)) for name, type_, *_ in cursor.description or ()]
            fetched = cursor.fetchall()
        except duckdb.Error as error:
            raise ConfigError(KEY, f"{path}: not parquet: {error}") from error
    return _to_rows(columns, fetched)


_READERS: dict[str, Callable[[Path], Iterator[Row]]] = {
    ".csv": _csv,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json_lines,
    ".parquet": _parquet,
}
