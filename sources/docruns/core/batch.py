"""PURE. Rows of whole runs, by table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any

from .tables import CLEARED, Row, Table


class Batch:
    """Rows by table; readers append one run after the other."""

    def __init__(self) -> None:
        self._rows: defaultdict[str, list[Row]] = defaultdict(list)
        self._clearing: defaultdict[str, int] = defaultdict(int)
        self._ready: defaultdict[str, list[Any]] = defaultdict(list)

    def add(self, table: Table, *rows: Row) -> None:
        """Append rows to a table."""
        self.extend(table, rows)

    def extend(self, table: Table, rows: Iterable[Row]) -> None:
        """Append rows to a table."""
        self._rows[table.name] += rows

    def add_ready(self, table: Table, rows: Any, clearing: int) -> None:
        """Append rows that another process has made, as a table of Arrow with `clearing` rows that clear a run.
        `drop_runs` does not reach them."""
        self._ready[table.name].append(rows)
        self._clearing[table.name] += clearing

    def ready(self, table: Table) -> list[Any]:
        """Rows that another process has made."""
        return self._ready.get(table.name, [])

    def update(self, other: Batch) -> None:
        """Append all rows of another batch."""
        for name, rows in other._rows.items():
            self._rows[name] += rows
        for name, ready in other._ready.items():
            self._ready[name] += ready
        for name, number in other._clearing.items():
            self._clearing[name] += number

    @classmethod
    def merge(cls, batches: Iterable[Batch]) -> Batch:
        """One batch with the rows of all."""
        whole = cls()
        for batch in batches:
            whole.update(batch)
        return whole

    def clear_run(self, tables: Iterable[Table], run_id: str) -> None:
        """Make the merge delete all earlier rows of a run, even if the run has no rows now."""
        for table in tables:
            self._rows[table.name].append(table.clearing_row(run_id))
            self._clearing[table.name] += 1

    def drop_runs(self, tables: Iterable[Table], ids: Collection[str]) -> None:
        """Remove the rows of some runs from tables, clearing rows included."""
        for table in tables:
            column = table.names.index(table.set_of or "id")
            rows = self._rows.get(table.name, [])
            dropped = [row for row in rows if row[column] in ids]
            if dropped:
                self._rows[table.name] = [row for row in rows if row[column] not in ids]
                if table.set_of:
                    self._clearing[table.name] -= sum(
                        bool(row[table.names.index(CLEARED)]) for row in dropped
                    )

    def counts(self) -> dict[str, int]:
        """Rows by table, without clearing rows."""
        return {
            name: len(self._rows.get(name, ()))
            + sum(map(len, self._ready.get(name, ())))
            - self._clearing[name]
            for name in {**self._rows, **self._ready}
        }

    def clearing(self, table: Table) -> int:
        """How many rows of a table clear a run."""
        return self._clearing[table.name]

    def rows(self, table: Table) -> list[Row]:
        """The rows of a table, clearing rows included."""
        return self._rows.get(table.name, [])

    def dicts(self, table: Table) -> list[dict[str, Any]]:
        """The rows of a table by column name, without clearing rows."""
        marks = table.names.index(CLEARED) if table.set_of else None
        return [table.as_dict(row) for row in self.rows(table) if marks is None or not row[marks]]

    def __len__(self) -> int:
        """Rows of all tables."""
        ready = (rows for tables in self._ready.values() for rows in tables)
        return sum(map(len, self._rows.values())) + sum(map(len, ready))
