"""How dlt merges the rows of each table.

    DELETE FROM fields WHERE processor_run_id IN (SELECT processor_run_id FROM staged)
    INSERT INTO fields SELECT … FROM staged WHERE _cleared is not true

Tables with `set_of` are merged by the run's id: the rows of a run are replaced as a set. Rows of the other
tables are merged one by one, by their key. To a log of plain files rows are added, and nothing is merged.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import dlt

from ...core.tables import CLEARED, Table
from ..destinations import DestinationTraits, active_pipeline, traits_of
from .suitable import prepare

CONTRACT: Any = {"tables": "evolve", "columns": "evolve", "data_type": "freeze"}
"""dlt's schema contract: a value of another type fails in extract, before anything is stored."""

_DEDUPLICATED = "x-stage-data-deduplicated"


class Hints:
    """The hints of one load: of all its packages, and of all resources that fill the same tables."""

    def __init__(self) -> None:
        self._load_id = ""
        self._traits = DestinationTraits()
        self._last_hints: dict[tuple[str, str], bool] = {}
        self._runs: defaultdict[str, set[str]] = defaultdict(set)
        self._repeated: set[str] = set()

    def of(self, table: Table, runs: Sequence[str], resource: str, load_id: str) -> Any | None:
        """The hints to send with a resource's rows that replace those of `runs`; None where dlt has them
        already.

        dlt numbers the staged rows of a key and takes one, where a run came twice in a package or where a
        retry may have staged it twice. That takes 0.8 ms of a heavy run, so it is asked for only then.
        """
        if load_id != self._load_id:
            self._load_id = load_id
            pipeline = active_pipeline()
            prepare(pipeline)
            self._traits = traits_of(pipeline)
            for memory in (self._last_hints, self._runs, self._repeated):
                memory.clear()
        seen = self._runs[table.name]
        together = len(seen) + len(runs)
        seen.update(runs)
        if len(seen) < together:
            self._repeated.add(table.name)
        is_repeated = table.name in self._repeated
        # dlt applies a resource's last hints to each of its rows, and the last hints of any
        # resource win
        if self._last_hints.get((resource, table.name)) == is_repeated:
            return None
        self._last_hints[resource, table.name] = is_repeated
        return self._hints(table)

    def _hints(self, table: Table) -> Any:
        json_type = "json" if self._traits.has_json_type else "text"
        columns: dict[str, Any] = {
            c.name: {"data_type": json_type} for c in table.columns if c.type == "json"
        }
        if self._traits.is_log:
            return dlt.mark.make_hints(table_name=table.name, write_disposition="append", columns=columns)
        columns |= {c.name: {"dedup_sort": "desc"} for c in table.columns if c.decides}
        merge: dict[str, Any] = {"disposition": "merge", "strategy": "delete-insert"}
        merge_key, more = table.set_of, dict[str, Any]()
        if table.set_of:
            columns[CLEARED] = {"data_type": "bool", "hard_delete": True}
            # as a table hint, because dlt ignores the argument "deduplicated" where it is False
            more[_DEDUPLICATED] = self._traits.is_staged_once and table.name not in self._repeated
            if self._traits.takes_updates and not self._traits.is_lake:
                # dlt turns a merge key into "by the key or by the run's id", for which DuckDB reads
                # every row of the table: at 20,000 heavy runs 6 ms of each new one, with this
                # condition 0.1
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
            table_format=self._traits.table_format if self._traits.is_lake else None,  # type: ignore[arg-type]
            file_format=self._traits.file_format,
            additional_table_hints=more,
        )
