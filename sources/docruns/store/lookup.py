"""What the destination already holds: asked when it matters, never remembered.

A processor run that came inside its workflow run keeps that link when it is read again on its own,
and one that an interrupted load has brought is not fetched a second time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import dlt
from dlt.common.destination.exceptions import DestinationException
from dlt.common.exceptions import PipelineException
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from ..core.parsed import NestedLink
from ..core.tables import CLEARED, PROCESSOR_RUNS, WORKFLOW_RUNS, WORKFLOW_STEPS, Table

Pipeline = dlt.Pipeline

_AT_ONCE = 500
_LOAD_ID = "_dlt_load_id"
_FETCH_ROWS = 10_000


class StoredRun(NamedTuple):
    """A workflow run as the destination holds it; `is_whole`: its package was committed to the end, and it is not
    marked as gone."""

    status: str | None
    updated_at: datetime | None
    is_whole: bool


class StoredProcessorRun(NamedTuple):
    """A processor run as the destination holds it; `is_whole`: as above."""

    status: str | None
    updated_at: datetime | None
    is_whole: bool
    workflow_run_id: str | None
    workflow_step_position: int | None


def processor_runs(pipeline: dlt.Pipeline, ids: Sequence[str]) -> dict[str, StoredProcessorRun]:
    """Those of `ids` that the destination holds; none where it is new or answers no SQL."""
    where = ("workflow_run_id", "workflow_step_position")
    return {
        id_: StoredProcessorRun(*cells)
        for id_, *cells in _runs(pipeline, PROCESSOR_RUNS, ids, where)
    }


def workflow_runs(pipeline: dlt.Pipeline, ids: Sequence[str]) -> dict[str, StoredRun]:
    """Those of `ids` that the destination holds; none where it is new or answers no SQL."""
    return {id_: StoredRun(*cells) for id_, *cells in _runs(pipeline, WORKFLOW_RUNS, ids)}


def _runs(
    pipeline: dlt.Pipeline, table: Table, ids: Sequence[str], columns: Sequence[str] = ()
) -> Iterator[tuple[Any, ...]]:
    """id, status, updated_at, whether it is whole, and those columns."""
    known = ("status", "updated_at", _LOAD_ID, "deleted_at")
    rows = _rows(pipeline, table, (*known, *columns), ids)
    whole = _committed(pipeline, {row[3] for row in rows})
    for id_, status, at, load, deleted_at, *more in rows:
        yield id_, status, at, load in whole and deleted_at is None, *more


def _committed(pipeline: dlt.Pipeline, load_ids: set[str]) -> set[str]:
    """Those packages that are loaded to the end: tables are merged one by one, and a killed load may
    have merged a run's row and not what hangs on it."""
    loads = Table("_dlt_loads", "", (), ())
    rows = _rows(pipeline, loads, ("status",), sorted(load_ids), "load_id")
    return {load_id for load_id, status in rows if status == 0}


def nested_links(pipeline: dlt.Pipeline, ids: Sequence[str]) -> dict[str, NestedLink]:
    """Those of `ids` that the destination holds as nested workflow runs, and where they hang."""
    rows = _rows(pipeline, WORKFLOW_RUNS, NestedLink._fields, ids)
    return {id_: NestedLink(*cells) for id_, *cells in rows if cells[0] is not None}


class ProducedRun(NamedTuple):
    """What a step says of the processor run that it made, and how the destination holds that run."""

    id: str
    workflow_run_id: str
    position: int
    status: str | None = None
    updated_at: datetime | None = None


def produced_runs(pipeline: dlt.Pipeline, ids: Sequence[str]) -> list[ProducedRun]:
    """Those of the processor runs `ids` that a step in the destination has made."""
    columns = ("workflow_run_id", "position")
    rows = _rows(pipeline, WORKFLOW_STEPS, columns, ids, "processor_run_id")
    return [ProducedRun(*row) for row in rows]


def unlinked(pipeline: dlt.Pipeline) -> list[ProducedRun]:
    """Processor runs that the destination holds as if nothing had made them, although a step says that it has."""
    try:
        with pipeline.sql_client() as client:
            steps, runs = map(
                client.make_qualified_table_name, (WORKFLOW_STEPS.name, PROCESSOR_RUNS.name)
            )
            query = (
                "SELECT p.id, s.workflow_run_id, s.position, p.status, p.updated_at "
                f"FROM {runs} p JOIN {steps} s ON s.processor_run_id = p.id "
                "WHERE p.workflow_run_id IS NULL AND p.deleted_at IS NULL"
            )
            return [ProducedRun(*row) for row in client.execute_sql(query) or ()]
    except (DestinationException, PipelineException):
        return []


def _rows(
    pipeline: dlt.Pipeline, table: Table, columns: Sequence[str], ids: Sequence[str], by: str = "id"
) -> list[tuple[Any, ...]]:
    if not ids:
        return []
    try:
        return list(_select(pipeline, table.name, (by, *columns), ids, by))
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
    with pipeline.sql_client() as client:
        also = f" AND {client.escape_column_name(unlike[0])} <> %s" if unlike else ""
        name = client.make_qualified_table_name(table)
        wanted = ", ".join(map(client.escape_column_name, columns))
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            marks = ", ".join(["%s"] * len(some))
            query = (
                f"SELECT {wanted} FROM {name} WHERE {client.escape_column_name(by)} IN ({marks})"
            )
            bound = (*some, unlike[1]) if unlike else some
            yield from (tuple(row) for row in client.execute_sql(query + also, *bound) or ())


def columns_of(
    pipeline: dlt.Pipeline, table: str, columns: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    """Some columns of all rows of a table; nothing where there is no such table yet."""
    try:
        with pipeline.sql_client() as client:
            wanted = ", ".join(map(client.escape_column_name, columns))
            query = f"SELECT {wanted} FROM {client.make_qualified_table_name(table)}"
            with client.execute_query(query) as cursor:
                while rows := cursor.fetchmany(_FETCH_ROWS):
                    yield from map(tuple, rows)
    except DatabaseUndefinedRelation:
        return


def rows_of(
    pipeline: dlt.Pipeline,
    table: Table,
    by: str,
    ids: Sequence[str],
    names: Sequence[str] = (),
    unlike: tuple[str, str] | None = None,
) -> Iterator[dict[str, Any]]:
    """All rows of a table whose column `by` is one of `ids`, by column name; JSON as its text.

    `names` are the columns wanted, `unlike` a column and what it must not be.
    """
    names = names or [name for name in table.names if name != CLEARED]
    # its driver parses JSON, the others give the text
    parsed = {
        column.name
        for column in table.columns
        if column.type == "json" and pipeline.destination.destination_name == "postgres"
    }
    try:
        for row in _select(pipeline, table.name, names, ids, by, unlike):
            cells = dict(zip(names, row, strict=True))
            yield cells | {
                name: json.dumps(cells[name])
                for name in parsed & cells.keys()
                if cells[name] is not None
            }
    except DatabaseUndefinedRelation:
        return


def mark_deleted(
    pipeline: dlt.Pipeline,
    gone: Mapping[str, Sequence[str]],
    back: Mapping[str, Sequence[str]],
    at: datetime,
) -> None:
    """Set `deleted_at` of runs that are gone and clear it for those that are back, by table: all or none. A first
    load may have found nothing of a list but runs that are gone: then there is no table."""
    marks = [
        (table, value, held[start : start + _AT_ONCE])
        for value, runs in ((at, gone), (None, back))
        for table, ids in runs.items()
        for held in [_held(pipeline, table, ids)]
        for start in range(0, len(held), _AT_ONCE)
    ]
    with pipeline.sql_client() as client, client.begin_transaction():
        deleted_at, key = map(client.escape_column_name, ("deleted_at", "id"))
        for table, value, some in marks:
            name = client.make_qualified_table_name(table)
            wanted = ", ".join(["%s"] * len(some))
            query = f"UPDATE {name} SET {deleted_at} = %s WHERE {key} IN ({wanted})"
            client.execute_sql(query, value, *some)


def _held(pipeline: dlt.Pipeline, table: str, ids: Sequence[str]) -> list[str]:
    try:
        return [id_ for (id_,) in _select(pipeline, table, ("id",), ids)]
    except DatabaseUndefinedRelation:
        return []


def stored_privacy(pipeline: dlt.Pipeline) -> str | None:
    """How the last package stored private columns, as its mark; None where there is no package."""
    names = ("load_id", "finished_at", "privacy")
    try:
        rows = list(columns_of(pipeline, "syncs", names))
    except DestinationException:
        # loaded before there was a choice
        rows = list(columns_of(pipeline, "syncs", (*names[:2], "load_id")))
        rows = [(*row[:2], None) for row in rows]
    last = max(rows, key=lambda row: (row[1], row[0]), default=None)
    return None if last is None else last[2] or "keep"


def providers(pipeline: dlt.Pipeline) -> set[str]:
    """Whose runs the dataset holds, or has held."""
    return {name for (name,) in columns_of(pipeline, "syncs", ("provider",))}


def count_half_loaded(pipeline: dlt.Pipeline) -> int:
    """Workflow and processor runs of packages that never ended; not those that nobody can read again."""
    ended = {load_id for (load_id,) in columns_of(pipeline, "_dlt_loads", ("load_id",))}
    return sum(
        load_id not in ended and deleted_at is None
        for table in (WORKFLOW_RUNS, PROCESSOR_RUNS)
        for load_id, deleted_at in columns_of(pipeline, table.name, (_LOAD_ID, "deleted_at"))
    )
