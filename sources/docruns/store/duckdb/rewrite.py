"""Write a DuckDB file anew, without the bytes of deleted rows.

    database ──► everything in it, copied into a new file ──► counted ──► the new file takes the place of the old one

DuckDB marks rows as deleted and keeps them in blocks that it may use again later. Neither VACUUM nor CHECKPOINT
overwrites them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import dlt
import duckdb

from ...core.errors import DocrunsError
from .file import STORAGE_KEY, STORAGE_VERSION, flush_folder, open_database, quote

_TABLES = "SELECT schema_name, table_name FROM duckdb_tables() WHERE database_name = ? AND NOT internal ORDER BY ALL"


def rewrite_database(database: Path, on_wait: Callable[[str], None] | None = None) -> None:
    """Replace the file by a copy that holds its rows only. The caller ensures that no process writes to it."""
    part, _ = unfinished(database)
    try:
        with closing(open_database(database, on_wait=on_wait)) as connection:
            part.unlink(missing_ok=True)
            connection.execute("CHECKPOINT")
            _copy(connection, part, dlt.config.get(STORAGE_KEY, str) or STORAGE_VERSION)
        part.chmod(stat.S_IMODE(database.stat().st_mode))
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(database)
    finally:
        remove_unfinished(database)
    flush_folder(database.parent)


def unfinished(database: Path) -> tuple[Path, Path]:
    """The copy that is not finished, beside the database, and the log of the copy."""
    part = database.with_name(f".{database.name}.forget.part")
    return part, part.with_name(f"{part.name}.wal")


def remove_unfinished(database: Path) -> None:
    """Remove the copy that is not finished. The caller ensures that no process writes it."""
    for path in unfinished(database):
        path.unlink(missing_ok=True)


def _copy(connection: duckdb.DuckDBPyConnection, part: Path, storage_version: str) -> None:
    place = str(part).replace("'", "''")
    name = str((connection.execute("SELECT current_database()").fetchone() or [""])[0])
    connection.execute(f"ATTACH '{place}' AS docruns_copy (STORAGE_VERSION '{storage_version}')")
    try:
        connection.execute(f"COPY FROM DATABASE {quote(name)} TO docruns_copy")
        counted = [_counts(connection, each) for each in (name, "docruns_copy")]
        if counted[0] != counted[1]:
            raise DocrunsError(f"{part}: the copy of the database has other rows. The database is as it was.")
    finally:
        connection.execute("DETACH docruns_copy")


def _counts(connection: duckdb.DuckDBPyConnection, name: str) -> dict[tuple[str, str], int]:
    """The number of rows by table."""
    tables = connection.execute(_TABLES, [name]).fetchall()
    return {
        (schema, table): (
            connection.execute(
                f"SELECT count(*) FROM {quote(name)}.{quote(schema)}.{quote(table)}"
            ).fetchone()
            or [0]
        )[0]
        for schema, table in tables
    }
