"""The dlt side that both providers share: batches into tables, each with its merge hints.

A re-fetched run replaces its rows as a set: tables with `set_of` are merged by the run's id *and* by
their key, and every run sends one clearing row, so fewer rows now means fewer rows, none means none.
Merge key alone leaves the rows of a run that now has none and can double rows after a crash; primary
key alone leaves stale rows.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

import dlt
from dlt.extract.items_transform import YieldMapItem

from .arrow import Tables
from .model import CLEARED, Table

CONTRACT: Any = {"tables": "evolve", "columns": "evolve", "data_type": "freeze"}
"""A type that does not fit stops in extract, before anything is stored."""

_MERGE: Any = {"disposition": "merge", "strategy": "delete-insert"}


class _ToTables(YieldMapItem):
    """Opens a batch into its tables after any limit: a limit counts batches, so runs stay whole."""

    placement_affinity = 1.2


def add_tables(resource: Any) -> Any:
    """Let a resource that yields `Tables` fill all of them."""
    _keep_quiet_about_json()
    # arrow tables get a _dlt_load_id only if dlt is told so before its first load
    os.environ.setdefault("NORMALIZE__PARQUET_NORMALIZER__ADD_DLT_LOAD_ID", "true")
    hinted: set[tuple[str, str]] = set()

    def open_batch(batch: Tables) -> Iterator[Any]:
        load_id = dlt.current.load_package_state()["load_id"]
        for table, rows in batch:
            if (load_id, table.name) in hinted:
                yield dlt.mark.with_table_name(rows, table.name)
            else:
                # once a package: a copy of this resource may run the next one
                hinted.add((load_id, table.name))
                yield dlt.mark.with_hints(rows, _hints(table), create_table_variant=True)

    resource.add_step(_ToTables(open_batch))
    return resource


def _hints(table: Table) -> Any:
    columns: dict[str, Any] = {
        c.name: {"data_type": "json"} for c in table.columns if c.type == "json"
    }
    if table.set_of:
        columns[CLEARED] = {"data_type": "bool", "hard_delete": True}
    return dlt.mark.make_hints(
        table_name=table.name,
        write_disposition=_MERGE,
        primary_key=list(table.key),
        merge_key=table.set_of,
        columns=columns,
    )


def _keep_quiet_about_json() -> None:
    """JSON travels as Arrow strings, which is meant; dlt would warn of it for every batch."""
    logger = logging.getLogger("dlt")
    if not any(isinstance(f, _JsonHints) for f in logger.filters):
        logger.addFilter(_JsonHints())


class _JsonHints(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        return "several column hints were different" not in record.getMessage()
