"""What the destination already holds: asked when it matters, never remembered.

A processor run that came inside its workflow run keeps that link when it is read again on its own,
and one that an interrupted load has brought is not fetched a second time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import dlt
from dlt.common.destination.exceptions import DestinationException
from dlt.common.exceptions import PipelineException

from .model import PROCESSOR_RUNS, WORKFLOW_RUNS, Table
from .reading import Link

_AT_ONCE = 500


class Loaded(NamedTuple):
    """A processor run as the destination holds it."""

    created_at: datetime | None
    updated_at: datetime | None
    workflow_run_id: str | None
    workflow_step_position: int | None


def processor_runs(pipeline: dlt.Pipeline, ids: Sequence[str]) -> dict[str, Loaded]:
    """Those of `ids` that the destination holds; none where it is new or answers no SQL."""
    rows = _rows(pipeline, PROCESSOR_RUNS, Loaded._fields, ids)
    return {id_: Loaded(*cells) for id_, *cells in rows}


def links(pipeline: dlt.Pipeline, ids: Sequence[str]) -> dict[str, Link]:
    """Those of `ids` that the destination holds as nested workflow runs, and where they hang."""
    rows = _rows(pipeline, WORKFLOW_RUNS, Link._fields, ids)
    return {id_: Link(*cells) for id_, *cells in rows if cells[0] is not None}


def _rows(
    pipeline: dlt.Pipeline, table: Table, columns: Sequence[str], ids: Sequence[str]
) -> list[tuple[Any, ...]]:
    try:
        return list(_select(pipeline, table, columns, ids))
    except (DestinationException, PipelineException):
        return []


def _select(
    pipeline: dlt.Pipeline, table: Table, columns: Sequence[str], ids: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    with pipeline.sql_client() as client:
        name = client.make_qualified_table_name(table.name)
        wanted = ", ".join(map(client.escape_column_name, ("id", *columns)))
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            marks = ", ".join(["%s"] * len(some))
            query = f"SELECT {wanted} FROM {name} WHERE id IN ({marks})"
            yield from (tuple(row) for row in client.execute_sql(query, *some) or ())
