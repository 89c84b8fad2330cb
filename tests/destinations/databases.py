"""The rows of the matrix that are databases: PostgreSQL, SQLite, MariaDB, and DuckLake with each catalog.

Servers are started for the row that needs them, and end with it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb

from docruns.core.tables import Table
from support import mariadb, postgres

Rows = list[dict[str, Any]]


def _by_name(found: Sequence[Sequence[Any]], names: Sequence[str]) -> Rows:
    return [dict(zip(names, row, strict=True)) for row in found]


def postgres_settings(folder: Path, stack: ExitStack) -> dict[str, str]:
    """A server of its own."""
    url = stack.enter_context(postgres.running_server(folder))
    (folder / "url").write_text(url)
    return {"DESTINATION__POSTGRES__CREDENTIALS": url}


def postgres_rows(folder: Path, dataset: str, table: Table) -> Rows | None:
    """The rows of a table in PostgreSQL, JSON as text: its driver makes a Python value of it, which may be a text too."""
    url = (folder / "url").read_text()
    held = "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
    names = [name for (name,) in postgres.rows(url, held, dataset, table.name)]
    json_columns = {column.name for column in table.columns if column.type == "json"}
    quoted = ", ".join(f'"{name}"::text' if name in json_columns else f'"{name}"' for name in names)
    return (
        _by_name(postgres.rows(url, f'SELECT {quoted} FROM {dataset}."{table.name}"'), names)
        if names
        else None
    )


def sqlite_settings(folder: Path, stack: ExitStack) -> dict[str, str]:
    """A file for each dataset beside the one that the address names."""
    return {"DESTINATION__SQLALCHEMY__CREDENTIALS": f"sqlite:///{folder / 'runs.sqlite'}"}


def sqlite_rows(folder: Path, dataset: str, table: Table) -> Rows | None:
    """The rows of a table in SQLite, which keeps moments and dates as text."""
    with closing(sqlite3.connect(folder / f"runs__{dataset}.sqlite")) as connection:
        names = [row[1] for row in connection.execute(f"PRAGMA table_info({table.name})")]
        if not names:
            return None
        found = _by_name(connection.execute(f"SELECT * FROM {table.name}").fetchall(), names)
    read: dict[str, Callable[[str], Any]] = {"timestamp": datetime.fromisoformat, "date": date.fromisoformat}
    for column in table.columns:
        if column.type in read:
            for row in found:
                row[column.name] = row[column.name] and read[column.type](row[column.name])
    return found


def mariadb_settings(folder: Path, stack: ExitStack) -> dict[str, str]:
    """A server of its own, on a socket."""
    socket = stack.enter_context(mariadb.running_server(folder / "maria", "--character-set-server=utf8mb4"))
    return {"DESTINATION__SQLALCHEMY__CREDENTIALS": mariadb.url_of(socket)}


def mariadb_rows(folder: Path, dataset: str, table: Table) -> Rows | None:
    """The rows of a table in MariaDB."""
    socket = folder / "maria" / "s"
    held = "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND table_name = %s"
    names = [name for (name,) in mariadb.rows(socket, held, dataset, table.name)]
    quoted = ", ".join(f"`{name}`" for name in names)
    return (
        _by_name(mariadb.rows(socket, f"SELECT {quoted} FROM {dataset}.`{table.name}`"), names)
        if names
        else None
    )


def lake_settings(catalog: str) -> Callable[[Path, ExitStack], dict[str, str]]:
    """A lake in the folder, with its catalog in a database of this kind."""

    def settings(folder: Path, stack: ExitStack) -> dict[str, str]:
        url = f"{catalog}:///{folder / 'catalog'}"
        (folder / "url").write_text(url)
        section = "DESTINATION__DUCKLAKE__CREDENTIALS__"
        return {f"{section}CATALOG": url, f"{section}STORAGE": str(folder / "files")}

    return settings


def postgres_lake_settings(folder: Path, stack: ExitStack) -> dict[str, str]:
    """A lake in the folder, with its catalog in a server of its own."""
    url = stack.enter_context(postgres.running_server(folder))
    (folder / "url").write_text(url)
    section = "DESTINATION__DUCKLAKE__CREDENTIALS__"
    return {f"{section}CATALOG": url, f"{section}STORAGE": str(folder / "files")}


def lake_rows(folder: Path, dataset: str, table: Table) -> Rows | None:
    """The rows of a table in a lake, by DuckDB."""
    url = (folder / "url").read_text()
    more, catalog = "", str(folder / "catalog")
    if url.startswith("sqlite"):
        more = ", META_TYPE 'sqlite'"
    elif url.startswith("postgresql"):
        more, catalog = ", METADATA_SCHEMA 'ducklake'", f"postgres:{url}"
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH 'ducklake:{catalog}' AS lake (READ_ONLY{more})")
        held = "SELECT column_name FROM duckdb_columns() WHERE database_name = 'lake' AND schema_name = ? AND table_name = ?"
        names = [name for (name,) in connection.execute(held, [dataset, table.name]).fetchall()]
        quoted = ", ".join(f'"{name}"' for name in names)
        if not names:
            return None
        return _by_name(
            connection.execute(f'SELECT {quoted} FROM lake.{dataset}."{table.name}"').fetchall(), names
        )
