"""Rows to pyarrow tables by the model. The only caller of pyarrow.

A `Batch` holds all rows of some whole runs, for all tables, and dlt resources yield it as `Tables`.
So a load that is cut off after any of them (`add_limit`, a chunk's end) has whole runs or none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache

import pyarrow as pa

from ..core.batch import Batch
from ..core.flatten.values import NUL_SPELLED
from ..core.tables import CLEARED, TABLES, Row, Table
from .memory import without_gc

_TYPES: dict[str, pa.DataType] = {
    "text": pa.string(),
    "json": pa.string(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
}


UNFIT_ERRORS = (pa.ArrowException, OverflowError, UnicodeError)
"""What `to_tables` raises where a cell does not fit its column."""


@cache
def schema(table: Table) -> pa.Schema:
    """The table's Arrow schema: it never depends on the data, so a null-only column has its type."""
    return pa.schema([pa.field(c.name, _TYPES[c.type], nullable=c.nullable) for c in table.columns])


def to_arrow(table: Table, rows: list[Row]) -> pa.Table:
    """Rows in the order of the table's columns. ArrowInvalid or ArrowTypeError on a wrong cell."""
    types = schema(table)
    if not rows:
        return empty_table(table)
    columns = zip(*rows, strict=True)
    arrays = [pa.array(c, type=f.type) for f, c in zip(types, columns, strict=True)]
    return pa.Table.from_arrays(arrays, schema=types)


def empty_table(table: Table) -> pa.Table:
    """The table without a row."""
    return schema(table).empty_table()


class Tables:
    """A batch as Arrow tables, in the model's order: what goes into dlt.

    `on_taken` moves the state on. A limit of none throws away what it was given, so that is done once dlt
    has passed it: behind any limit, or when the next batch is asked for.
    """

    def __init__(
        self, tables: list[tuple[Table, pa.Table]], on_taken: Callable[[], None] | None = None
    ) -> None:
        self._tables = tables
        self._on_taken = on_taken

    def taken(self) -> None:
        """These rows are dlt's now."""
        move, self._on_taken = self._on_taken, None
        if move is not None:
            move()

    def __iter__(self) -> Iterator[tuple[Table, pa.Table]]:
        return iter(self._tables)

    def __len__(self) -> int:
        """Rows of all tables."""
        return sum(rows.num_rows for _, rows in self._tables)


@without_gc
def to_tables(batch: Batch, on_taken: Callable[[], None] | None = None) -> Tables:
    """The batch as Arrow tables. One of UNFIT where a cell does not fit its column."""
    made = [(table, to_arrow(table, rows)) for table in TABLES if (rows := batch.rows(table))]
    return Tables(made, on_taken)


def replaced_runs(table: Table, rows: pa.Table) -> list[str]:
    """The runs whose earlier rows these replace: the ids of the clearing rows."""
    if table.set_of is None:
        return []
    ids: list[str] = rows.column(table.set_of).filter(rows.column(CLEARED).is_valid()).to_pylist()
    return ids


def add_load_id(rows: pa.Table, load_id: str) -> pa.Table:
    """The rows with dlt's column for the package that brings them. dlt adds it where a setting says so, which is one
    for the whole process: tables of other pipelines in it would no longer take their rows."""
    field = pa.field("_dlt_load_id", pa.string(), nullable=False)
    # pa.repeat would import pandas
    return rows.append_column(field, pa.array([load_id] * rows.num_rows, field.type))


def rewrite_columns(
    rows: pa.Table, rewrites: Mapping[str, Callable[[str], str] | None]
) -> pa.Table:
    """The table with each text of some columns rewritten, nulls excepted; None empties a column."""
    for name, rewrite in rewrites.items():
        at = rows.schema.get_field_index(name)
        column, field = rows.column(at), rows.schema.field(at)
        if column.null_count == len(column):
            continue
        if rewrite is None:
            cells = pa.nulls(len(column), field.type)
        else:
            # values repeat: each is rewritten once
            distinct = column.combine_chunks().dictionary_encode()
            words = pa.array(map(rewrite, distinct.dictionary.to_pylist()), field.type)
            cells = words.take(distinct.indices)
        rows = rows.set_column(at, field, cells)
    return rows


def rewrite_matching(
    rows: pa.Table, names: Iterable[str], sign: str, rewrite: Callable[[str], str]
) -> pa.Table:
    """The table with those texts of some columns rewritten that hold `sign`; the others cost a look."""
    import pyarrow.compute as pc  # 9 MB, which a process that only reads does without

    for name in names:
        at = rows.schema.get_field_index(name)
        column, field = rows.column(at), rows.schema.field(at)
        found = pc.match_substring(column, sign)
        if not pc.any(found).as_py():
            continue
        cells = [
            rewrite(text) if hit else text
            for text, hit in zip(column.to_pylist(), found.to_pylist(), strict=True)
        ]
        rows = rows.set_column(at, field, pa.array(cells, field.type))
    return rows


def spell_out_nul(table: Table, rows: pa.Table) -> pa.Table:
    r"""The rows with each NUL character spelled out, `\u0000`, for databases that hold none."""
    for type_, sign in (("text", "\0"), ("json", r"\u0000")):
        names = [column.name for column in table.columns if column.type == type_]
        rows = rewrite_matching(rows, names, sign, NUL_SPELLED[type_])
    return rows
