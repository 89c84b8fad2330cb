"""Rows to Arrow tables with the columns of `core/tables`, and changes to columns of such tables."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, reduce
from typing import Any

import pyarrow as pa

from ..core.batch import Batch
from ..core.flatten.values import NUL_SPELLED
from ..core.tables import CLEARED, TABLES, Row, Table

_TYPES: dict[str, pa.DataType] = {
    "text": pa.string(),
    "json": pa.string(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
}


_ROWS_AT_ONCE = 1000

UNFIT_ERRORS = (pa.ArrowException, OverflowError, UnicodeError)
"""The errors of `to_tables` where a cell does not fit its column."""


@cache
def schema(table: Table) -> pa.Schema:
    """The table's Arrow schema. It never depends on the data, so a column of nulls has its type too."""
    return pa.schema([pa.field(c.name, _TYPES[c.type], nullable=c.nullable) for c in table.columns])


def to_arrow(table: Table, rows: Sequence[Row]) -> pa.Table:
    """Rows, with their cells in the order of the table's columns. One of UNFIT_ERRORS on a wrong cell."""
    types = schema(table)
    if not rows:
        return types.empty_table()
    columns: list[list[Any]] = [[] for _ in types]
    # `zip` makes an iterator a row: for all rows at once, as many new objects would start the garbage collector
    for at in range(0, len(rows), _ROWS_AT_ONCE):
        for column, cells in zip(columns, zip(*rows[at : at + _ROWS_AT_ONCE], strict=True), strict=True):
            column += cells
    arrays = [pa.array(column, type=field.type) for field, column in zip(types, columns, strict=True)]
    return pa.Table.from_arrays(arrays, schema=types)


def stored_rows(table: Table, rows: pa.RecordBatch) -> pa.Table:
    """Rows of a database, with the columns of the table in their order, as an Arrow table with its schema."""
    return pa.Table.from_arrays(rows.columns, names=rows.schema.names).cast(schema(table))


class Tables:
    """A batch of whole runs as Arrow tables, in the order of `core/tables`: what a resource yields to dlt.

    `on_taken` moves the load's state on. It is called when dlt has passed any limit, because a limit of none
    discards its batch, or when the next batch is requested. `is_stored`: the rows come from the destination, so
    their private values are as the settings want them.
    """

    def __init__(
        self,
        tables: list[tuple[Table, pa.Table]],
        on_taken: Callable[[], None] | None = None,
        is_stored: bool = False,
    ) -> None:
        self._tables = tables
        self.on_taken = on_taken
        self.is_stored = is_stored

    def taken(self) -> None:
        """Call `on_taken`, once: these rows are dlt's now."""
        move, self.on_taken = self.on_taken, None
        if move is not None:
            move()

    def __iter__(self) -> Iterator[tuple[Table, pa.Table]]:
        return iter(self._tables)

    def __len__(self) -> int:
        """The number of rows of all tables."""
        return sum(rows.num_rows for _, rows in self._tables)


def to_tables(batch: Batch, on_taken: Callable[[], None] | None = None, is_stored: bool = False) -> Tables:
    """The batch as Arrow tables. One of UNFIT_ERRORS where a cell does not fit its column."""
    made = [(table, _table_of(batch, table)) for table in TABLES if batch.rows(table) or batch.ready(table)]
    return Tables(made, on_taken, is_stored)


def _table_of(batch: Batch, table: Table) -> pa.Table:
    rows, ready = to_arrow(table, batch.rows(table)), batch.ready(table)
    return pa.concat_tables([*ready, rows]) if ready else rows


def packed(rows: pa.Table) -> bytes:
    """Rows as Arrow's stream, for another process."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema) as stream:
        stream.write_table(rows)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def unpacked(stream: bytes) -> pa.Table:
    """The rows of `packed`."""
    return pa.ipc.open_stream(stream).read_all()


def replaced_runs(table: Table, rows: pa.Table) -> list[str]:
    """The ids of the runs whose earlier rows these replace: those of the clearing rows."""
    if table.set_of is None:
        return []
    ids: list[str] = rows.column(table.set_of).filter(rows.column(CLEARED).is_valid()).to_pylist()
    return ids


def without_clearing_rows(table: Table, rows: pa.Table) -> pa.Table:
    """The rows that are to stay, for a log of plain files: there no merge drops the others."""
    return rows.filter(rows.column(CLEARED).is_null()) if table.set_of else rows


def add_load_id(rows: pa.Table, load_id: str) -> pa.Table:
    """The rows with dlt's column for their package. dlt can add it by a setting, but that holds for the whole
    process: tables of other pipelines in it would reject their rows."""
    field = pa.field("_dlt_load_id", pa.string(), nullable=False)
    # pa.repeat imports pandas
    return rows.append_column(field, pa.array([load_id] * rows.num_rows, field.type))


def with_cells(rows: pa.Table, by: str, wanted: Mapping[str, Mapping[str, Any]]) -> pa.Table:
    """The rows with new cells for those whose column `by` is a key of `wanted`. A column that the rows lack is left
    out."""
    keys = rows.column(by).to_pylist()
    for name in {name for cells in wanted.values() for name in cells} & set(rows.column_names):
        at = rows.schema.get_field_index(name)
        field, old = rows.schema.field(at), rows.column(at).to_pylist()
        new = [wanted.get(key, {}).get(name, cell) for key, cell in zip(keys, old, strict=True)]
        rows = rows.set_column(at, field, pa.array(new, field.type))
    return rows


def rewrite_columns(rows: pa.Table, rewrites: Mapping[str, Callable[[str], str] | None]) -> pa.Table:
    """The table with each text of some columns rewritten, except nulls; None sets a whole column to null."""
    for name, rewrite in rewrites.items():
        at = rows.schema.get_field_index(name)
        column, field = rows.column(at), rows.schema.field(at)
        if column.null_count == len(column):
            continue
        if rewrite is None:
            cells = pa.nulls(len(column), field.type)
        else:
            # values repeat, so each distinct one is rewritten once
            distinct = column.combine_chunks().dictionary_encode()
            words = pa.array(map(rewrite, distinct.dictionary.to_pylist()), field.type)
            cells = words.take(distinct.indices)
        rows = rows.set_column(at, field, cells)
    return rows


def rewrite_matching(
    rows: pa.Table, names: Iterable[str], signs: Sequence[str], rewrite: Callable[[str], str]
) -> pa.Table:
    """The table with those texts of some columns rewritten that contain one of `signs`; other texts are only
    searched."""
    import pyarrow.compute as pc  # 9 MB, which a process that only reads runs does not need

    for name in names:
        at = rows.schema.get_field_index(name)
        column, field = rows.column(at), rows.schema.field(at)
        found = reduce(pc.or_, [pc.match_substring(column, sign) for sign in signs])
        if not pc.any(found).as_py():
            continue
        cells = [
            rewrite(text) if hit else text
            for text, hit in zip(column.to_pylist(), found.to_pylist(), strict=True)
        ]
        rows = rows.set_column(at, field, pa.array(cells, field.type))
    return rows


def spell_out_nul(table: Table, rows: pa.Table) -> pa.Table:
    r"""The rows with each NUL character written as `\u0000`, for databases whose text holds no NUL."""
    for type_, sign in (("text", "\0"), ("json", r"\u0000")):
        names = [column.name for column in table.columns if column.type == type_]
        rows = rewrite_matching(rows, names, [sign], NUL_SPELLED[type_])
    return rows
