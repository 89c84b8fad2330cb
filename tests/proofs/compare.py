"""Two databases, or a database and its platform: where they differ. Reads only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

from docruns.core.tables import TABLES

from .stage import RUN_LISTS, Platform

PASSING = {"syncs"}
"""Tables that tell how a database came about."""

# a parse run inside a workflow run has its dates from the list that showed it first: see Known limits
_DATED_BY_ITS_LIST = "type = 'PARSE' AND workflow_run_id IS NOT NULL"


def differences(left: Path, right: Path, dataset: str = "extend") -> list[str]:
    """One line for every table that the databases do not share row for row; `_dlt_load_id` aside."""
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
                    found.append(
                        f"{table}: {len(rows)} rows only in {where.parent.name}: {rows[0]}"
                    )
        return found


def _columns(
    connection: duckdb.DuckDBPyConnection, database: str, dataset: str
) -> dict[str, list[str]]:
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
    """Rows of all tables whose primary key another row has too."""
    with duckdb.connect(str(database), read_only=True) as connection:
        held = _columns(
            connection, connection.execute("SELECT current_database()").fetchall()[0][0], dataset
        )
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
    """Packages that dlt has entered as loaded more than once."""
    with duckdb.connect(str(database), read_only=True) as connection:
        sql = f"SELECT count(*) - count(DISTINCT load_id) FROM {dataset}._dlt_loads"
        return int(_one(connection, sql))


def missing_runs(database: Path, platform: Platform, dataset: str = "extend") -> int:
    """Runs that the platform lists otherwise than the database holds them, and runs it does not list.

    A workflow run counts by id, status and last change; a processor run by id.
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
