"""What a DuckDB file holds, by dataset, and which process is at work on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb

from ...core.errors import LockedError
from ...core.tables import ROWS_VERSION
from ...models.reader import choose_dataset, datasets_of
from ...store.duckdb.file import open_database, quote
from ...store.failures import translate_errors
from ...store.target import LockHolder, how_to_ask

_WAIT_S = 5.0


def reports(
    database: Path,
    at_work: Callable[[], Mapping[str, LockHolder]],
    dataset: str | None = None,
    wait_s: float = _WAIT_S,
) -> list[dict[str, Any]]:
    """A report for each dataset, or for the one that is named: ConfigError where the file has others only. `at_work()`
    gives the process, if any, that loads into each dataset.

    While a load has the database open, no other process can read it. Then the reports hold `at_work` only.
    """
    busy = at_work()
    try:
        # a load closes the file when it ends and not before, so waiting for it is of no use
        patience = 0 if busy else wait_s
        with (
            translate_errors(database),
            open_database(database, read_only=True, wait_s=patience) as connection,
        ):
            names = datasets_of(connection)
            if names and dataset is not None:
                names = [choose_dataset(connection, database, dataset)]
            found = [report(connection, name) for name in names]
    except LockedError:
        if not busy:
            raise
        return [
            {"dataset": name, "at_work": at_work_of(holder)}
            for name, holder in sorted(busy.items())
            if dataset in (None, name)
        ]
    busy = at_work()
    return [{**each, "at_work": at_work_of(busy.get(each["dataset"]))} for each in found]


def at_work_of(holder: LockHolder | None) -> dict[str, Any] | None:
    """The process that loads into a dataset, as JSON values."""
    if holder is None:
        return None
    return {name: getattr(holder, name) for name in LockHolder._fields[:3]}


def report(connection: duckdb.DuckDBPyConnection, dataset: str) -> dict[str, Any]:
    """One dataset as plain values. Counts are of rows; ages are in seconds. Views of a lake are not counted."""
    tables = Tables(connection, dataset)
    if tables.are_views:
        return {"dataset": dataset, "views_of_a_lake": f"no rows are in this file. {how_to_ask(dataset)}"}
    runs, unfinished, deleted, newest = tables.workflow_runs()
    provider, watermark, last_load_at, complete = tables.last_sync()
    return {
        "dataset": dataset,
        "provider": provider,
        "workflow_runs": runs,
        "processor_runs": tables.count("processor_runs"),
        "unfinished": unfinished,
        "deleted": deleted,
        "quarantined": tables.count("quarantine", "WHERE resolved_at IS NULL"),
        "watermark": watermark,
        "newest_run_age_s": None if newest is None else round((datetime.now(UTC) - newest).total_seconds()),
        "last_load_at": last_load_at,
        "complete": complete,
        "half_loaded_packages": tables.half_loaded_packages(),
        "older_rows": tables.older_rows(),
    }


class Tables:
    """Queries on the tables of one dataset. A table exists only from its first row on."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, dataset: str) -> None:
        self._connection = connection
        rows = connection.execute(
            "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = ?", [dataset]
        )
        types = dict(rows.fetchall())
        self._names = types.keys()
        self.are_views = types.get("syncs") == "VIEW"
        """`docruns models --over` has made them: the rows are in a lake."""
        self._quoted = quote(dataset)
        self._dataset = dataset

    def workflow_runs(self) -> tuple[Any, ...]:
        """How many there are, how many of them are unfinished and deleted, and the latest change."""
        return self.first_row(
            "workflow_runs",
            "SELECT count(*), count(*) FILTER (NOT is_final AND deleted_at IS NULL), "
            "count(*) FILTER (deleted_at IS NOT NULL), max(updated_at) FROM {table}",
            default=(0, 0, 0, None),
        )

    def last_sync(self) -> tuple[Any, ...]:
        """Provider, watermark, end and completeness of the last package."""
        return self.first_row(
            "syncs",
            "SELECT provider, watermark, finished_at, complete FROM {table} "
            "ORDER BY finished_at DESC LIMIT 1",
            default=(None, None, None, None),
        )

    def half_loaded_packages(self) -> int:
        """Packages that a killed load has merged in part: dlt does not list them as loaded."""
        row = self.first_row(
            "workflow_runs",
            # a run that is deleted on the platform stays as it is, since it cannot be fetched again
            "SELECT count(DISTINCT _dlt_load_id) FROM {table} WHERE deleted_at IS NULL AND "
            f"_dlt_load_id NOT IN (SELECT load_id FROM {self._quoted}._dlt_loads)",
            default=(0,),
        )
        return int(row[0])

    def older_rows(self) -> int:
        """Runs whose rows an earlier version of docruns has made: they lack what has been added since."""
        where = "WHERE deleted_at IS NULL"
        if self._has_column("syncs", "rows_version"):
            # a load id is the time of the package: a push writes packages too, and no row of syncs
            first = f"SELECT min(try_cast(load_id AS DOUBLE)) FROM {self._quoted}.syncs WHERE rows_version >= {ROWS_VERSION}"
            where += f" AND try_cast(_dlt_load_id AS DOUBLE) < coalesce(({first}), 'infinity'::DOUBLE)"
        return self.count("workflow_runs", where) + self.count("processor_runs", where)

    def _has_column(self, table: str, column: str) -> bool:
        names = self._connection.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = ? AND table_name = ?",
            [self._dataset, table],
        )
        return (column,) in names.fetchall()

    def count(self, table: str, where: str = "") -> int:
        """The rows of a table."""
        return int(self.first_row(table, f"SELECT count(*) FROM {{table}} {where}", (0,))[0])

    def doubled(self, table: str, key: Sequence[str]) -> int:
        """The keys of a table that more than one row has."""
        columns = ", ".join(map(quote, key))
        sql = f"SELECT count(*) FROM (SELECT 1 FROM {{table}} GROUP BY {columns} HAVING count(*) > 1)"
        return int(self.first_row(table, sql, (0,))[0])

    def rows(self, table: str, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query, in which `{table}` stands for the table; none where the table does not exist."""
        if table not in self._names:
            return []
        return self._connection.execute(sql.format(table=f"{self._quoted}.{table}")).fetchall()

    def first_row(self, table: str, sql: str, default: tuple[Any, ...]) -> tuple[Any, ...]:
        """The first row of such a query."""
        return next(iter(self.rows(table, sql)), default)
