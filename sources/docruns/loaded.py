"""What the destination already holds: asked when it matters, never remembered.

A processor run that came inside its workflow run keeps that link when it is read again on its own,
and one that an interrupted load has brought is not fetched a second time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import dlt
from dlt.common.destination.exceptions import DestinationException
from dlt.common.exceptions import PipelineException

from .model import PROCESSOR_RUNS

_AT_ONCE = 500


class Loaded(NamedTuple):
    """A processor run as the destination holds it."""

    created_at: datetime | None
    updated_at: datetime | None
    workflow_run_id: str | None
    workflow_step_position: int | None


def processor_runs(pipeline: dlt.Pipeline, ids: Sequence[str]) -> dict[str, Loaded]:
    """Those of `ids` that the destination holds; none where it is new or answers no SQL."""
    try:
        return dict(_rows(pipeline, ids))
    except (DestinationException, PipelineException):
        return {}


def _rows(pipeline: dlt.Pipeline, ids: Sequence[str]) -> Iterator[tuple[str, Loaded]]:
    with pipeline.sql_client() as client:
        table = client.make_qualified_table_name(PROCESSOR_RUNS.name)
        columns = ", ".join(map(client.escape_column_name, ("id", *Loaded._fields)))
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            marks = ", ".join(["%s"] * len(some))
            query = f"SELECT {columns} FROM {table} WHERE id IN ({marks})"
            for id_, *cells in client.execute_sql(query, *some) or ():
                yield id_, Loaded(*cells)
