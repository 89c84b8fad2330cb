"""What dlt is told of each table: how its rows are merged.

    DELETE FROM fields WHERE processor_run_id IN (SELECT processor_run_id FROM staged)
    INSERT INTO fields SELECT … FROM staged WHERE _cleared is not true

A re-fetched run replaces its rows as a set: tables with `set_of` are merged by the run's id, and every run
sends one clearing row, so fewer rows now means fewer rows, none means none. Rows of the other tables are
merged one by one, by their key.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import dlt
from dlt.destinations.job_client_impl import SqlJobClientBase

from ..core.tables import CLEARED, Table
from . import destinations

CONTRACT: Any = {"tables": "evolve", "columns": "evolve", "data_type": "freeze"}
"""A type that does not fit stops in extract, before anything is stored."""

_DEDUPLICATED = "x-stage-data-deduplicated"


class Hints:
    """Those of one load, over all its packages, for all resources that fill the same tables."""

    def __init__(self) -> None:
        self._load_id = ""
        self._takes_scope = self._is_staged_once = False
        self._told: dict[tuple[str, str], bool] = {}
        self._runs: defaultdict[str, set[str]] = defaultdict(set)
        self._repeated: set[str] = set()

    def of(self, table: Table, runs: Sequence[str], resource: str, load_id: str) -> Any | None:
        """What dlt is to be told with a resource's rows that replace those of `runs`; None where it knows.

        It numbers the staged rows of a key, to take one, where a run came twice in a package or a retry may
        have staged it twice: that is 0.8 ms of a heavy run.
        """
        if load_id != self._load_id:
            self._load_id = load_id
            pipeline = dlt.current.pipeline()
            self._takes_scope = destinations.takes_updates(pipeline)
            self._is_staged_once = destinations.is_staged_once(pipeline)
            for known in (self._told, self._runs, self._repeated):
                known.clear()
        seen = self._runs[table.name]
        together = len(seen) + len(runs)
        seen.update(runs)
        if len(seen) < together:
            self._repeated.add(table.name)
        is_repeated = table.name in self._repeated
        # what a resource was told it says again with each of its rows, and what was said last holds
        if self._told.get((resource, table.name)) == is_repeated:
            return None
        self._told[resource, table.name] = is_repeated
        return self._hints(table)

    def _hints(self, table: Table) -> Any:
        columns: dict[str, Any] = {
            c.name: {"data_type": "json"} for c in table.columns if c.type == "json"
        }
        columns |= {c.name: {"dedup_sort": "desc"} for c in table.columns if c.decides}
        merge: dict[str, Any] = {"disposition": "merge", "strategy": "delete-insert"}
        merge_key, more = table.set_of, dict[str, Any]()
        if table.set_of:
            columns[CLEARED] = {"data_type": "bool", "hard_delete": True}
            # said this way, as dlt takes a "deduplicated" that is False for one that is not said
            more[_DEDUPLICATED] = self._is_staged_once and table.name not in self._repeated
            if self._takes_scope:
                # by the key or by the run's id, which is what dlt makes of a merge key, DuckDB looks at
                # every row of the table: at 20,000 heavy runs 6 ms of each new one, this way 0.1
                merge["destination_scope"] = (
                    f"{table.set_of} IN (SELECT {table.set_of} FROM {{staging_table}})"
                )
                merge_key = None
        return dlt.mark.make_hints(
            table_name=table.name,
            write_disposition=merge,  # type: ignore[arg-type]
            primary_key=list(table.key),
            merge_key=merge_key,
            columns=columns,
            additional_table_hints=more,
        )


def takes_updates(pipeline: dlt.Pipeline) -> bool:
    """The destination is one of tables, not of files."""
    return isinstance(pipeline.destination_client(), SqlJobClientBase)


def is_staged_once(pipeline: dlt.Pipeline) -> bool:
    """A file that is loaded again after a failure brings no row twice to where rows are merged from."""
    return getattr(pipeline.destination, "is_staged_once", False)


def holds_nul(pipeline: dlt.Pipeline) -> bool:
    """Text there may hold the character NUL."""
    return pipeline.destination.destination_name not in ("postgres", "redshift")
