"""What the destination already holds: asked when it matters, never remembered.

A processor run that came inside its workflow run keeps that link when it is read again on its own,
and one that an interrupted load has brought is not fetched a second time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import dlt
from dlt.common.destination.exceptions import DestinationException
from dlt.common.exceptions import PipelineException
from dlt.destinations.exceptions import DatabaseUndefinedRelation
from dlt.destinations.job_client_impl import SqlJobClientBase

from .model import CLEARED, PROCESSOR_RUNS, WORKFLOW_RUNS, Table
from .reading import Link

_AT_ONCE = 500
_FETCH_ROWS = 10_000


class LoadedRun(NamedTuple):
    """A workflow run as the destination holds it."""

    status: str | None
    updated_at: datetime | None


class Loaded(NamedTuple):
    """A processor run as the destination holds it."""

    status: str | None
    updated_at: datetime | None
    workflow_run_id: str | None
    workflow_step_position: int | None


def processor_runs(pipeline: dlt.Pipeline, ids: Sequence[str]) -> dict[str, Loaded]:
    """Those of `ids` that the destination holds; none where it is new or answers no SQL."""
    rows = _rows(pipeline, PROCESSOR_RUNS, Loaded._fields, ids)
    return {id_: Loaded(*cells) for id_, *cells in rows}


def workflow_runs(pipeline: dlt.Pipeline, ids: Sequence[str]) -> dict[str, LoadedRun]:
    """Those of `ids` that the destination holds; none where it is new or answers no SQL."""
    rows = _rows(pipeline, WORKFLOW_RUNS, LoadedRun._fields, ids)
    return {id_: LoadedRun(*cells) for id_, *cells in rows}


def links(pipeline: dlt.Pipeline, ids: Sequence[str]) -> dict[str, Link]:
    """Those of `ids` that the destination holds as nested workflow runs, and where they hang."""
    rows = _rows(pipeline, WORKFLOW_RUNS, Link._fields, ids)
    return {id_: Link(*cells) for id_, *cells in rows if cells[0] is not None}


def _rows(
    pipeline: dlt.Pipeline, table: Table, columns: Sequence[str], ids: Sequence[str]
) -> list[tuple[Any, ...]]:
    try:
        return list(_select(pipeline, table, ("id", *columns), ids))
    except (DestinationException, PipelineException):
        return []


def _select(
    pipeline: dlt.Pipeline, table: Table, columns: Sequence[str], ids: Sequence[str], by: str = "id"
) -> Iterator[tuple[Any, ...]]:
    with pipeline.sql_client() as client:
        name = client.make_qualified_table_name(table.name)
        wanted = ", ".join(map(client.escape_column_name, columns))
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            marks = ", ".join(["%s"] * len(some))
            query = f"SELECT {wanted} FROM {name} WHERE {client.escape_column_name(by)} IN ({marks})"
            yield from (tuple(row) for row in client.execute_sql(query, *some) or ())


def takes_updates(pipeline: dlt.Pipeline) -> bool:
    """The destination is one of tables, not of files."""
    return isinstance(pipeline.destination_client(), SqlJobClientBase)


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
    pipeline: dlt.Pipeline, table: Table, by: str, ids: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """All rows of a table whose column `by` is one of `ids`, by column name."""
    names = [name for name in table.names if name != CLEARED]
    try:
        for row in _select(pipeline, table, names, ids, by):
            yield dict(zip(names, row, strict=True))
    except DatabaseUndefinedRelation:
        return


def mark(pipeline: dlt.Pipeline, ids: Mapping[str, Sequence[str]], at: datetime | None) -> None:
    """Set `deleted_at` of runs, by table: all of them or none. None takes the mark away."""
    with pipeline.sql_client() as client, client.begin_transaction():
        for table, gone in ids.items():
            name = client.make_qualified_table_name(table)
            deleted_at, key = map(client.escape_column_name, ("deleted_at", "id"))
            for start in range(0, len(gone), _AT_ONCE):
                some = gone[start : start + _AT_ONCE]
                marks = ", ".join(["%s"] * len(some))
                # the first finding stays: a run is gone since then
                only = f"{deleted_at} IS NULL AND " if at is not None else ""
                client.execute_sql(
                    f"UPDATE {name} SET {deleted_at} = %s WHERE {only}{key} IN ({marks})", at, *some
                )


def half_loaded(pipeline: dlt.Pipeline) -> int:
    """Workflow and processor runs of packages that never ended."""
    ended = {load_id for (load_id,) in columns_of(pipeline, "_dlt_loads", ("load_id",))}
    return sum(
        load_id not in ended
        for table in (WORKFLOW_RUNS, PROCESSOR_RUNS)
        for (load_id,) in columns_of(pipeline, table.name, ("_dlt_load_id",))
    )
