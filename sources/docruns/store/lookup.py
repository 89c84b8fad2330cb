"""Queries: what the destination holds already. The answers are asked for when they matter and never cached."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

import dlt
from dlt.common.destination.exceptions import DestinationException
from dlt.common.exceptions import PipelineException
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from ..core.codec import utc
from ..core.parsed import NestedLink
from ..core.tables import BY_NAME, CLEARED, PROCESSOR_RUNS, RUN_TABLES, WORKFLOW_RUNS, WORKFLOW_STEPS, Table
from .destinations import sql_client, traits_of

Pipeline = dlt.Pipeline
"""The type for modules that only pass a pipeline on, and do not import dlt."""

AT_ONCE = 500
"""Ids in one query."""

_LOAD_ID = "_dlt_load_id"
_FETCH_ROWS = 10_000


class StoredRun(NamedTuple):
    """A workflow or processor run as the destination holds it.

    `is_whole`: its package was committed to the end, and the run is not marked as deleted. The last two
    fields say which step of which workflow run made a processor run; both are None for workflow runs.
    """

    status: str | None
    updated_at: datetime | None
    is_whole: bool
    workflow_run_id: str | None = None
    workflow_step_position: int | None = None


def runs_by_id(pipeline: dlt.Pipeline, table: str, ids: Sequence[str]) -> dict[str, StoredRun]:
    """Those of `ids` that `table`, workflow_runs or processor_runs, holds; empty where the destination is new or
    does not take SQL."""
    links = StoredRun._fields[3:] if table == PROCESSOR_RUNS.name else ()
    rows = _rows(pipeline, table, ("status", "updated_at", _LOAD_ID, "deleted_at", *links), ids)
    committed = _committed_packages(pipeline, {load_id for _, _, _, load_id, *_ in rows})
    return {
        id_: StoredRun(status, at, load_id in committed and deleted_at is None, *cells)
        for id_, status, at, load_id, deleted_at, *cells in rows
    }


def _committed_packages(pipeline: dlt.Pipeline, load_ids: set[str]) -> set[str]:
    """Those packages that were loaded to the end. Tables are merged one by one, so a killed load may have
    merged a run's row and not the rows of the run's other tables."""
    rows = _rows(pipeline, "_dlt_loads", ("status",), sorted(load_ids), "load_id")
    return {load_id for load_id, status in rows if status == 0}


def has_package(pipeline: dlt.Pipeline, load_id: str) -> bool:
    """Whether the package was loaded to the end into the pipeline's dataset."""
    return bool(_committed_packages(pipeline, {load_id}))


def nested_links(pipeline: dlt.Pipeline, ids: Sequence[str]) -> dict[str, NestedLink]:
    """Those of `ids` that the destination holds as nested workflow runs, with their place in the run around
    them."""
    rows = _rows(pipeline, WORKFLOW_RUNS.name, NestedLink._fields, ids)
    return {id_: NestedLink(*cells) for id_, *cells in rows if cells[0] is not None}


class ProducedRun(NamedTuple):
    """A processor run that a step of a workflow run made, as the destination's steps say.

    `id` is the processor run's, `workflow_run_id` and `position` name the step. `status` and `updated_at` are
    those of the stored processor run; None where the query reads the steps alone.
    """

    id: str
    workflow_run_id: str
    position: int
    status: str | None = None
    updated_at: datetime | None = None


def produced_runs(pipeline: dlt.Pipeline, ids: Sequence[str]) -> list[ProducedRun]:
    """Those of the processor runs `ids` that a stored step made."""
    columns = ("workflow_run_id", "position")
    return [
        ProducedRun(*row) for row in _rows(pipeline, WORKFLOW_STEPS.name, columns, ids, "processor_run_id")
    ]


def unlinked(pipeline: dlt.Pipeline) -> list[ProducedRun]:
    """Stored processor runs that name no workflow run, although a stored step made them."""
    try:
        with sql_client(pipeline) as client:
            steps, runs = map(client.make_qualified_table_name, (WORKFLOW_STEPS.name, PROCESSOR_RUNS.name))
            query = (
                "SELECT p.id, s.workflow_run_id, s.position, p.status, p.updated_at "
                f"FROM {runs} p JOIN {steps} s ON s.processor_run_id = p.id "
                "WHERE p.workflow_run_id IS NULL AND p.deleted_at IS NULL"
            )
            found = client.execute_sql(query) or ()
        names = ("id", "workflow_run_id", "position", "status", "updated_at")
        return [ProducedRun(*row) for row in _read(pipeline, PROCESSOR_RUNS.name, names, found)]
    except (DestinationException, PipelineException):
        return []


def _rows(
    pipeline: dlt.Pipeline, table: str, columns: Sequence[str], ids: Sequence[str], by: str = "id"
) -> list[tuple[Any, ...]]:
    """`_select` with `by` as the first column; no rows where a query fails."""
    if not ids:
        return []
    try:
        return list(_select(pipeline, table, (by, *columns), ids, by))
    except (DestinationException, PipelineException):
        return []


def _select(
    pipeline: dlt.Pipeline,
    table: str,
    columns: Sequence[str],
    ids: Sequence[str],
    by: str = "id",
    unlike: tuple[str, str] | None = None,
) -> Iterator[tuple[Any, ...]]:
    """Some columns of the rows whose column `by` is one of `ids`."""
    with sql_client(pipeline) as client:
        also = f" AND {client.escape_column_name(unlike[0])} <> %s" if unlike else ""
        name = client.make_qualified_table_name(table)
        wanted = ", ".join(map(client.escape_column_name, columns))
        for start in range(0, len(ids), AT_ONCE):
            some = ids[start : start + AT_ONCE]
            marks = ", ".join(["%s"] * len(some))
            query = f"SELECT {wanted} FROM {name} WHERE {client.escape_column_name(by)} IN ({marks})"
            bound = (*some, unlike[1]) if unlike else some
            yield from _read(pipeline, table, columns, client.execute_sql(query + also, *bound) or ())


def _read(
    pipeline: dlt.Pipeline, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]
) -> Iterator[tuple[Any, ...]]:
    """The rows, with moments as such: SQLite returns text, MySQL moments without a zone. Both hold UTC."""
    if traits_of(pipeline).has_zones:
        yield from map(tuple, rows)
        return
    types = {column.name: column.type for column in BY_NAME[table].columns} if table in BY_NAME else {}
    moments = {at for at, name in enumerate(columns) if types.get(name) == "timestamp"}
    for row in rows:
        yield tuple(_moment(cell) if at in moments else cell for at, cell in enumerate(row))


def _moment(cell: str | datetime | None) -> datetime | None:
    return utc(datetime.fromisoformat(cell) if isinstance(cell, str) else cell)


def columns_of(pipeline: dlt.Pipeline, table: str, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Some columns of all rows of a table; empty where the table does not exist yet."""
    with suppress(DatabaseUndefinedRelation), sql_client(pipeline) as client:
        wanted = ", ".join(map(client.escape_column_name, columns))
        query = f"SELECT {wanted} FROM {client.make_qualified_table_name(table)}"
        with client.execute_query(query) as cursor:
            while rows := cursor.fetchmany(_FETCH_ROWS):
                yield from _read(pipeline, table, columns, rows)


def values_of(pipeline: dlt.Pipeline, table: str, column: str) -> list[Any]:
    """The distinct values of a column; none where the table does not exist yet."""
    with suppress(DatabaseUndefinedRelation), sql_client(pipeline) as client:
        wanted, name = client.escape_column_name(column), client.make_qualified_table_name(table)
        return [value for (value,) in client.execute_sql(f"SELECT DISTINCT {wanted} FROM {name}") or ()]
    return []


def rows_of(
    pipeline: dlt.Pipeline,
    table: Table,
    by: str,
    ids: Sequence[str],
    names: Sequence[str] = (),
    unlike: tuple[str, str] | None = None,
) -> Iterator[dict[str, Any]]:
    """All rows of a table whose column `by` is one of `ids`, by column name; JSON as its text. Empty where the
    table does not exist yet.

    `names` are the columns to read, by default all that the destination has; `unlike` is a column and a value that
    it must not have.
    """
    names = names or columns_in(pipeline, table)
    is_parsed = traits_of(pipeline).parses_json
    parsed = {column.name for column in table.columns if is_parsed and column.type == "json"}
    with suppress(DatabaseUndefinedRelation):
        for row in _select(pipeline, table.name, names, ids, by, unlike):
            cells = dict(zip(names, row, strict=True))
            yield cells | {
                name: json.dumps(cells[name]) for name in parsed & cells.keys() if cells[name] is not None
            }


def row_hashes(
    pipeline: Pipeline, table: Table, by: str, names: Sequence[str]
) -> dict[str, tuple[int, int]] | None:
    """For each value of the column `by`, the number of its rows and the sum of the hashes of their cells as text; a
    column that the destination lacks is null. None where DuckDB does not read it: only its hashes can be compared."""
    if not traits_of(pipeline).is_read_by_duckdb:
        return None
    held = _column_names(pipeline, table.name)
    if held is None:
        return {}
    with sql_client(pipeline) as client:
        cells = [
            f"{client.escape_column_name(name)}::VARCHAR" if name in held else "NULL::VARCHAR"
            for name in names
        ]
        id_, place = client.escape_column_name(by), client.make_qualified_table_name(table.name)
        query = f"SELECT {id_}, count(*), sum(hash({', '.join(cells)})) FROM {place} GROUP BY 1"
        return {value: (number, int(total)) for value, number, total in client.execute_sql(query) or ()}


def doubled_keys(pipeline: dlt.Pipeline, table: Table) -> Iterator[tuple[tuple[Any, ...], int]]:
    """The keys of a table that more than one row has, sorted, with their numbers of rows. None in a destination
    that keeps files: there the rows of a run that is read again stand beside the older ones."""
    if not traits_of(pipeline).takes_updates:
        return
    with suppress(DatabaseUndefinedRelation), sql_client(pipeline) as client:
        key = ", ".join(map(client.escape_column_name, table.key))
        name = client.make_qualified_table_name(table.name)
        query = f"SELECT {key}, count(*) FROM {name} GROUP BY {key} HAVING count(*) > 1 ORDER BY {key}"
        with client.execute_query(query) as cursor:
            while rows := cursor.fetchmany(_FETCH_ROWS):
                yield from ((tuple(values), number) for *values, number in rows)


def rows_where(
    pipeline: dlt.Pipeline, table: Table, names: Sequence[str], condition: str
) -> Iterator[tuple[Any, ...]]:
    """Some columns of the rows that meet an SQL condition; empty where the table does not exist yet."""
    with suppress(DatabaseUndefinedRelation), sql_client(pipeline) as client:
        wanted = ", ".join(map(client.escape_column_name, names))
        query = f"SELECT {wanted} FROM {client.make_qualified_table_name(table.name)} WHERE {condition}"
        yield from _read(pipeline, table.name, names, client.execute_sql(query) or ())


def count_rows(pipeline: dlt.Pipeline, table: Table, condition: str, *values: Any) -> int | None:
    """The rows that meet an SQL condition: 0 where the table does not exist, None where the destination takes no SQL."""
    if not traits_of(pipeline).takes_updates:
        return None
    with suppress(DatabaseUndefinedRelation), sql_client(pipeline) as client:
        query = f"SELECT count(*) FROM {client.make_qualified_table_name(table.name)} WHERE {condition}"
        found: Any = client.execute_sql(query, *values)
        return int(found[0][0])
    return 0


def rows_by_id(
    pipeline: dlt.Pipeline, table: Table, names: Sequence[str], ids: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    """Some columns of the rows of some runs; empty where the table does not exist yet."""
    with suppress(DatabaseUndefinedRelation):
        yield from _select(pipeline, table.name, names, ids)


def columns_in(pipeline: dlt.Pipeline, table: Table) -> list[str]:
    """Those columns of the table model that the destination has: an earlier version may have made the table."""
    found = _column_names(pipeline, table.name)
    return [name for name in table.names if (found is None or name in found) and name != CLEARED]


def has_column(pipeline: dlt.Pipeline, table: Table, name: str) -> bool:
    """Whether the destination has the table, with the column."""
    return name in (_column_names(pipeline, table.name) or ())


def _column_names(pipeline: dlt.Pipeline, table: str) -> set[str] | None:
    """The columns of a table; None where there is no such table, or no SQL. A query for a column would not do: SQLite
    takes a quoted name that it does not know for a text."""
    with suppress(DestinationException, PipelineException), sql_client(pipeline) as client:
        query = f"SELECT * FROM {client.make_qualified_table_name(table)} WHERE 1 = 0"
        with client.execute_query(query) as cursor:
            return {*cursor.columns_schema}
    return None


def doubtful_links(pipeline: dlt.Pipeline) -> list[str]:
    """Processor runs whose link to a workflow run differs from that of a step that names them, or that have a
    link that no step names."""
    with suppress(DatabaseUndefinedRelation), sql_client(pipeline) as client:
        steps, runs = map(client.make_qualified_table_name, (WORKFLOW_STEPS.name, PROCESSOR_RUNS.name))
        query = (
            f"SELECT DISTINCT p.id FROM {runs} p LEFT JOIN {steps} s ON s.processor_run_id = p.id "
            "WHERE coalesce(p.workflow_run_id, '') <> coalesce(s.workflow_run_id, '') "
            "OR coalesce(p.workflow_step_position, -1) <> coalesce(s.position, -1)"
        )
        return [id_ for (id_,) in client.execute_sql(query) or ()]
    return []


def list_cells(pipeline: dlt.Pipeline, ids: Sequence[str]) -> dict[str, tuple[str | None, str | None]]:
    """The stored source and risk level of processor runs, by id: only lists show them, and not for ever."""
    rows = _rows(pipeline, PROCESSOR_RUNS.name, ("source", "risk_level"), ids)
    return {id_: (source, level) for id_, source, level in rows}


def stored_privacy(pipeline: dlt.Pipeline) -> str | None:
    """The mark of how the last package stored private columns; None where there is no package."""
    # an earlier version had no such column
    mark = "privacy" if has_column(pipeline, BY_NAME["syncs"], "privacy") else None
    names = ("load_id", "finished_at", *filter(None, [mark]))
    rows = [(*row, None)[:3] for row in columns_of(pipeline, "syncs", names)]
    last = max(rows, key=lambda row: (row[1], row[0]), default=None)
    return None if last is None else last[2] or "keep"


def has_row_ids(pipeline: dlt.Pipeline) -> bool | None:
    """Whether the dataset was begun with dlt's row ids, by its setting ADD_DLT_ID; None where it takes no SQL."""
    if not traits_of(pipeline).takes_updates:
        return None
    return "_dlt_id" in (_column_names(pipeline, WORKFLOW_RUNS.name) or ())


def providers(pipeline: dlt.Pipeline) -> set[str]:
    """The providers whose runs the dataset holds, or has held."""
    return {name for (name,) in columns_of(pipeline, "syncs", ("provider",))}


def half_loaded_runs(pipeline: dlt.Pipeline) -> dict[str, datetime | None]:
    """Workflow and processor runs with rows of a package that was not committed to the end, and the runs around
    them, with their last change. Without deleted runs, which cannot be fetched again. Reads all tables of runs."""
    found: dict[str, datetime | None] = {}
    tables = [table for table in RUN_TABLES if table.set_of or table in (WORKFLOW_RUNS, PROCESSOR_RUNS)]
    new = {id_ for table in tables for (id_,) in uncommitted(pipeline, table, (table.set_of or "id",))}
    seen = set[str]()
    while new:
        ids, seen, new = sorted(new), seen | new, set()
        for table, around in ((WORKFLOW_RUNS, "parent_run_id"), (PROCESSOR_RUNS, "workflow_run_id")):
            columns = ("updated_at", "created_at", "deleted_at", around)
            for id_, updated_at, created_at, deleted_at, parent in _rows(pipeline, table.name, columns, ids):
                if deleted_at is None:
                    found[id_] = utc(updated_at or created_at)
                if parent is not None and parent not in seen:
                    new.add(parent)
    return found


def uncommitted(pipeline: dlt.Pipeline, table: Table, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The distinct values of some columns in the rows of a table whose package was not committed to the end."""
    with suppress(DatabaseUndefinedRelation), sql_client(pipeline) as client:
        wanted = ", ".join(map(client.escape_column_name, columns))
        query = f"SELECT DISTINCT {wanted} FROM {_rows_of_open_packages(client, table)}"
        yield from map(tuple, client.execute_sql(query) or ())


def count_half_loaded(pipeline: dlt.Pipeline) -> int:
    """Count workflow and processor runs of packages that were not committed to the end, without deleted runs,
    which cannot be fetched again. The destination counts: it may hold a million runs."""
    found = 0
    for table in (WORKFLOW_RUNS, PROCESSOR_RUNS):
        with suppress(DatabaseUndefinedRelation), sql_client(pipeline) as client:
            rows = _rows_of_open_packages(client, table)
            query = f"SELECT count(*) FROM {rows} AND {client.escape_column_name('deleted_at')} IS NULL"
            found += sum(number for (number,) in client.execute_sql(query) or ())
    return found


def _rows_of_open_packages(client: Any, table: Table) -> str:
    """What follows FROM: the rows of a table whose package was not committed to the end."""
    rows, loads = map(client.make_qualified_table_name, (table.name, "_dlt_loads"))
    own, ended = map(client.escape_column_name, (_LOAD_ID, "load_id"))
    return f"{rows} WHERE {own} NOT IN (SELECT {ended} FROM {loads})"
