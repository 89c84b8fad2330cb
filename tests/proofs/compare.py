"""Differences between two databases, or between a database and its platform; only reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

from docruns.core.tables import TABLES

from .stage import RUN_LISTS, Platform

PASSING = {"syncs"}
"""Tables that describe how a database was loaded."""

# a parse run inside a workflow run has its dates from the first list that contained it: see Known
# limits
_DATED_BY_ITS_LIST = "type = 'PARSE' AND workflow_run_id IS NOT NULL"


def differences(left: Path, right: Path, dataset: str = "extend") -> list[str]:
    """One line for every table whose rows differ between the databases, apart from `_dlt_load_id`."""
    with duckdb.connect() as connection:
        for name, path in (("a", left), ("b", right)):
            quoted = str(path).replace("'", "''")
            connection.execute(f"ATTACH '{quoted}' AS {name} (READ_ONLY)")
        tables = {name: _columns(connection, name, dataset) for name in ("a", "b")}
        found = []
        for table in sorted(tables["a"].keys() | tables["b"].keys()):
            columns = tables["a"].get(table)
            if columns != tables["b"].get(table):
                found.append(f"{table}: has other columns, or is in one of them only")
                continue
            assert columns is not None
            select = ", ".join(_cell(table, column) for column in columns)
            for one, other in (("a", "b"), ("b", "a")):
                rows = connection.execute(
                    f"SELECT {select} FROM {one}.{dataset}.{table} EXCEPT ALL "
                    f"SELECT {select} FROM {other}.{dataset}.{table}"
                ).fetchall()
                if rows:
                    where = left if one == "a" else right
                    found.append(f"{table}: {len(rows)} rows only in {where.parent.name}: {rows[0]}")
        return found


def _columns(connection: duckdb.DuckDBPyConnection, database: str, dataset: str) -> dict[str, list[str]]:
    sql = (
        "SELECT table_name, list(column_name ORDER BY column_name) FROM duckdb_columns() "
        "WHERE database_name = ? AND schema_name = ? AND column_name <> '_dlt_load_id' GROUP BY 1"
    )
    found = connection.execute(sql, [database, dataset]).fetchall()
    return {t: columns for t, columns in found if not t.startswith("_dlt_") and t not in PASSING}


def _cell(table: str, column: str) -> str:
    if table == "processor_runs" and column in ("created_at", "updated_at"):
        return f"CASE WHEN {_DATED_BY_ITS_LIST} THEN NULL ELSE {column} END AS {column}"
    return f'"{column}"'


def doubled_keys(database: Path, dataset: str = "extend") -> int:
    """The number of rows, in all tables, with a primary key that another row has too."""
    with duckdb.connect(str(database), read_only=True) as connection:
        held = _columns(connection, connection.execute("SELECT current_database()").fetchall()[0][0], dataset)
        return sum(
            _one(
                connection,
                f"SELECT coalesce(sum(n - 1), 0)::INT FROM (SELECT count(*) AS n FROM {dataset}.{table.name} "
                f"GROUP BY {', '.join(table.key)})",
            )
            for table in TABLES
            if table.name in held
        )


def doubled_packages(database: Path, dataset: str = "extend") -> int:
    """The number of packages that dlt has recorded as loaded more than once."""
    with duckdb.connect(str(database), read_only=True) as connection:
        sql = f"SELECT count(*) - count(DISTINCT load_id) FROM {dataset}._dlt_loads"
        return int(_one(connection, sql))


def missing_runs(database: Path, platform: Platform, dataset: str = "extend") -> int:
    """The number of runs that differ between platform and database, or that the platform does not list.

    Workflow runs are compared by id, status and last change, processor runs by id.
    """
    lists = {name: platform.rows(f"/{name}") for name in RUN_LISTS}
    workflow_runs = {(r["id"], r["status"], r["updatedAt"]) for r in lists.pop("workflow_runs")}
    processor_runs = {(row["id"],) for rows in lists.values() for row in rows}
    with duckdb.connect(str(database), read_only=True) as connection:
        sql = (
            "SELECT id, status, strftime(updated_at AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%gZ') "
            f"FROM {dataset}.workflow_runs"
        )
        held = set(connection.execute(sql).fetchall())
        inside = set(connection.execute(f"SELECT id FROM {dataset}.processor_runs").fetchall())
    return len(held ^ workflow_runs) + len(inside ^ processor_runs)


def _one(connection: duckdb.DuckDBPyConnection, sql: str) -> Any:
    return connection.execute(sql).fetchall()[0][0]
