"""The rows of models, in an order and a spelling that do not depend on the database."""

from __future__ import annotations

import math
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import psycopg2

Found = tuple[list[str], list[tuple[Any, ...]]]
"""The names of columns, and rows."""


def rows_of_duckdb(database: Path, view: str) -> Found:
    """All rows of a view or a table in a DuckDB file."""
    with duckdb.connect(str(database), read_only=True) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        cursor = connection.execute(f"SELECT * FROM {view}")
        return plain([column[0] for column in cursor.description or ()], cursor.fetchall())


def rows_of_postgres(server: str, view: str) -> Found:
    """All rows of a view or a table in PostgreSQL."""
    with psycopg2.connect(server) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {view}")
        return plain([column[0] for column in cursor.description or ()], cursor.fetchall())


def plain(columns: list[str], rows: list[tuple[Any, ...]]) -> Found:
    """Rows in an order that does not depend on the database; numbers to nine digits. The age of a run, which grows, is
    left out."""
    found = [
        tuple(cell(value) for name, value in zip(columns, row, strict=True) if name != "age_s")
        for row in rows
    ]
    return columns, sorted(found, key=repr)


def cell(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone().isoformat()
    if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
        number = float(value)
        return number if number == 0 or not math.isfinite(number) else float(f"{number:.9g}")
    return value
