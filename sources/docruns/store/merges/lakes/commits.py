"""What a package changes in a table of a lake, as one commit.

    rows of the package ──► without clearing rows, one a key ─────────────────────┐
                        ──► their runs ──► those that the table has rows of ──────┴──► one commit

A reader sees the table before or after that commit. A package that is loaded again, after a kill, finds the rows that it
has written and replaces them. Where the table has no rows of the runs, rows are only added, which rewrites no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import pyarrow as pa


class LakeTable(Protocol):
    """A table of a lake, in one format."""

    def dataset(self) -> Any | None:
        """A pyarrow dataset of the newest commit; None where there is no table yet."""

    def files(self) -> list[str]:
        """The paths or URLs of the Parquet files that hold the rows of the newest commit. DocrunsError where other files
        say which of these rows are deleted."""

    def write(self, rows: pa.Table, by: Sequence[str], gone: Sequence[tuple[str, ...]]) -> None:
        """Remove the rows whose columns `by` have one of the values `gone`, and add `rows`, in one commit. Makes the
        table, and columns that it lacks."""

    def maintain(self, keep_days: int) -> tuple[int, int]:
        """Join small files, and remove the files that only commits older than `keep_days` need. Returns how many
        files a reader opened before and opens now."""


def merge(
    table: LakeTable, rows: pa.Table, by: Sequence[str], key: Sequence[str], more: Sequence[str] = ()
) -> None:
    """Replace the rows whose columns `by` are those of `rows`.

    Of rows with the same `key` the first one stays. `more` are a column that decides which one that is (the highest
    value), and a column that is true in clearing rows; either may be empty.
    """
    decides, cleared = (*more, "", "")[:2]
    wanted = distinct(rows, by)
    new = _one_a_key(_without(rows, cleared), key, decides)
    stored = table.dataset()
    held = [] if stored is None else _held(stored, by, wanted)
    if stored is None or held or new.num_rows or not set(new.column_names) <= set(stored.schema.names):
        table.write(new, by, held)


def rows_with(table: LakeTable, by: str, values: Sequence[str]) -> pa.Table | None:
    """The rows whose column `by` has one of the values; None where there is no table."""
    import pyarrow.dataset as ds  # 8 MB, which a process that loads into DuckDB does not need

    stored = table.dataset()
    return None if stored is None else stored.to_table(filter=ds.field(by).isin(list(values)))


def read_files(paths: Sequence[str]) -> pa.Table:
    """All rows of some Parquet files, which may lack columns of each other. Every column takes nulls: a table to which
    a column is added has them in its older rows."""
    import pyarrow.parquet as pq

    rows = pa.concat_tables(map(pq.read_table, paths), promote_options="default")
    return rows.cast(pa.schema([pa.field(field.name, field.type) for field in rows.schema]))


def distinct(rows: pa.Table, by: Sequence[str]) -> list[tuple[str, ...]]:
    """The values of some columns, each once."""
    found = rows.group_by(list(by)).aggregate([])
    return list(zip(*(found.column(name).to_pylist() for name in by), strict=True))


def _without(rows: pa.Table, cleared: str) -> pa.Table:
    return rows.filter(rows.column(cleared).is_null()) if cleared in rows.column_names else rows


def _one_a_key(rows: pa.Table, key: Sequence[str], decides: str) -> pa.Table:
    place = "_docruns_place"
    numbered = rows.select(list(key)).append_column(place, pa.array(range(rows.num_rows), pa.int64()))
    if decides:
        numbered = numbered.append_column("_docruns_rank", rows.column(decides))
        numbered = numbered.sort_by([("_docruns_rank", "descending")])
    first = numbered.group_by(list(key), use_threads=False).aggregate([(place, "first")])
    if first.num_rows == rows.num_rows:
        return rows
    return rows.take(first.column(f"{place}_first"))


def _held(stored: Any, by: Sequence[str], wanted: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Those of the wanted values that the table has rows with."""
    import pyarrow.dataset as ds

    # a package may have no rows for a table, and pyarrow takes no empty list of values
    if not wanted or not set(by) <= set(stored.schema.names):
        return []
    first = [values[0] for values in wanted]
    found = stored.to_table(columns=list(by), filter=ds.field(by[0]).isin(first))
    return sorted(set(distinct(found, by)) & set(wanted))
