"""Changes of rows that are loaded: marks of deleted runs, links, and old states of dlt.

In SQL they are UPDATEs in one transaction. Tables of a lake get them as one commit a table, with the rows that change
read and written again. There a reader may see the one table changed and the other not yet; what is killed in between is
done by the next load or sweep, which finds the same changes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

from dlt.destinations.exceptions import DatabaseUndefinedRelation

from ...core.codec import utc
from ...core.tables import BY_NAME, PROCESSOR_RUNS, Table
from ..arrow import with_cells
from ..destinations import sql_client, traits_of
from ..lookup import AT_ONCE, Pipeline, rows_of
from .lakes.commits import rows_with
from .lakes.tables import open_table

KEPT_STATES = 100
"""The newest versions of a pipeline's state that stay in the destination."""


class Change(NamedTuple):
    """New cells for the rows of a table whose column `by` is `value`."""

    table: Table
    by: str
    value: str
    cells: dict[str, Any]


def update_rows(pipeline: Pipeline, changes: Sequence[Change]) -> None:
    """Make all changes, in one transaction or in one commit a table."""
    if not changes:
        return
    if traits_of(pipeline).is_lake:
        _update_lake(pipeline, changes)
        return
    with sql_client(pipeline) as client, client.begin_transaction():
        for change in changes:
            name = client.make_qualified_table_name(change.table.name)
            cells = ", ".join(f"{client.escape_column_name(cell)} = %s" for cell in change.cells)
            query = f"UPDATE {name} SET {cells} WHERE {client.escape_column_name(change.by)} = %s"
            client.execute_sql(query, *change.cells.values(), change.value)


def _update_lake(pipeline: Pipeline, changes: Sequence[Change]) -> None:
    cells: defaultdict[tuple[str, str], dict[str, dict[str, Any]]] = defaultdict(dict)
    for change in changes:
        cells[change.table.name, change.by].setdefault(change.value, {}).update(change.cells)
    with pipeline.destination_client() as client:
        for (name, by), wanted in cells.items():
            table = open_table(client, name)
            rows = rows_with(table, by, sorted(wanted))
            if rows is not None and rows.num_rows:
                gone = sorted({(value,) for value in rows.column(by).to_pylist()})
                table.write(with_cells(rows, by, wanted), (by,), gone)


def link_failed_runs(pipeline: Pipeline) -> int:
    """Give failed processor runs that name no workflow run the one that their parse run came in. Returns how many."""
    with suppress(DatabaseUndefinedRelation), sql_client(pipeline) as client:
        runs = client.make_qualified_table_name(PROCESSOR_RUNS.name)
        query = (
            f"SELECT r.id, p.workflow_run_id FROM {runs} r JOIN {runs} p ON p.id = r.parse_run_id "
            "WHERE r.workflow_run_id IS NULL AND r.status = 'FAILED' AND r.deleted_at IS NULL "
            "AND p.workflow_run_id IS NOT NULL AND coalesce(r.source, 'WORKFLOW_RUN') = 'WORKFLOW_RUN'"
        )
        found = [(id_, run_id) for id_, run_id in client.execute_sql(query) or ()]
        if traits_of(pipeline).is_lake:
            links = ({"workflow_run_id": run, "source_id": run, "source": "WORKFLOW_RUN"} for _, run in found)
            ids = [id_ for id_, _ in found]
            update_rows(
                pipeline, [Change(PROCESSOR_RUNS, "id", *each) for each in zip(ids, links, strict=True)]
            )
            return len(found)
        for start in range(0, len(found), AT_ONCE):
            some = found[start : start + AT_ONCE]
            case = f"CASE id {' '.join(['WHEN %s THEN %s'] * len(some))} END"
            cells = f"workflow_run_id = {case}, source_id = {case}, source = 'WORKFLOW_RUN'"
            values = [cell for pair in some for cell in pair]
            where = ", ".join(["%s"] * len(some))
            ids = [id_ for id_, _ in some]
            client.execute_sql(f"UPDATE {runs} SET {cells} WHERE id IN ({where})", *values, *values, *ids)
        return len(found)
    return 0


def drop_old_states(pipeline: Pipeline) -> None:
    """Delete all but the newest versions of the pipeline's state: dlt adds one with each load that changes it, reads
    the newest, and removes none. Of 100,000 runs a version takes 90 KB."""
    oldest = pipeline.state["_state_version"] - KEPT_STATES
    if oldest > 0 and not traits_of(pipeline).is_lake:
        with sql_client(pipeline) as client:
            states = client.make_qualified_table_name(pipeline.default_schema.state_table_name)
            name, version = map(client.escape_column_name, ("pipeline_name", "version"))
            query = f"DELETE FROM {states} WHERE {name} = %s AND {version} <= %s"
            client.execute_sql(query, pipeline.pipeline_name, oldest)


def mark_deleted(
    pipeline: Pipeline, gone: Mapping[str, Sequence[str]], back: Mapping[str, Sequence[str]], at: datetime
) -> None:
    """Set `deleted_at` of runs that are gone and clear it for those that are back, by table, in one
    transaction or in one commit a table.

    A table may be missing: a first load may have found only runs that are gone.
    """
    if traits_of(pipeline).is_lake:
        marked = [
            Change(BY_NAME[table], "id", id_, {"deleted_at": value})
            for value, runs in ((at, gone), (None, back))
            for table, ids in runs.items()
            for id_ in ids
        ]
        update_rows(pipeline, marked)
        return
    marks = [
        (table, value, stored[start : start + AT_ONCE])
        for value, runs in ((at, gone), (None, back))
        for table, ids in runs.items()
        for stored in [[row["id"] for row in rows_of(pipeline, BY_NAME[table], "id", ids, ("id",))]]
        for start in range(0, len(stored), AT_ONCE)
    ]
    has_zones = traits_of(pipeline).has_zones
    with sql_client(pipeline) as client, client.begin_transaction():
        deleted_at, key = map(client.escape_column_name, ("deleted_at", "id"))
        for table, value, some in marks:
            name = client.make_qualified_table_name(table)
            wanted = ", ".join(["%s"] * len(some))
            query = f"UPDATE {name} SET {deleted_at} = %s WHERE {key} IN ({wanted})"
            plain = value if has_zones or value is None else f"{utc(value):%Y-%m-%d %H:%M:%S.%f}"
            client.execute_sql(query, plain, *some)
