"""Rows as Arrow tables: types, cells that do not fit, and clearing rows."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pyarrow as pa
import pytest

from docruns.core.batch import Batch
from docruns.core.tables import (
    CLEARED,
    FIELDS,
    INSIGHTS,
    PROCESSOR_RUNS,
    SYNCS,
    TABLES,
    WORKFLOW_RUNS,
    Table,
)
from docruns.store.arrow import Tables, schema, to_arrow, to_tables

ARROW: dict[str, pa.DataType] = {
    "text": pa.string(),
    "json": pa.string(),
    "bigint": pa.int64(),
    "double": pa.float64(),
    "bool": pa.bool_(),
    "date": pa.date32(),
    "timestamp": pa.timestamp("us", "UTC"),
}
NOW = datetime(2026, 2, 9, 1, 2, 3, 456789, UTC)
CELLS: dict[str, Any] = {
    "text": "x\0\N{GRINNING FACE}",
    "json": '{"a":0.10}',
    "bigint": 2**63 - 1,
    "double": 0.1,
    "bool": False,
    "date": date(1, 1, 1),
    "timestamp": NOW,
}

tables = pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)


def insight(run: str, position: int = 0) -> tuple[Any, ...]:
    return INSIGHTS.row(processor_run_id=run, output="final", path="a", position=position, content="c")


@tables
def test_the_schema_is_the_models(table: Table) -> None:
    """The Arrow schema has the table's names, types and nullability, in its order."""
    assert schema(table) == pa.schema(
        [pa.field(c.name, ARROW[c.type], nullable=c.nullable) for c in table.columns]
    )


@tables
def test_a_full_row_arrives_cell_by_cell(table: Table) -> None:
    """Each type stores its values exactly, to the last digit and microsecond."""
    row = tuple(CELLS[column.type] for column in table.columns)
    found = to_arrow(table, [row, row])
    found.validate(full=True)
    assert found.schema == schema(table)
    assert [tuple(r.values()) for r in found.to_pylist()] == [row, row]


@tables
def test_a_null_only_column_still_has_its_type(table: Table) -> None:
    """The column types of a load never depend on its data, also where there are no rows."""
    row = table.row(**{c.name: CELLS[c.type] for c in table.columns if not c.nullable})
    assert to_arrow(table, [row]).schema == schema(table)
    assert to_arrow(table, []).schema == schema(table)
    assert to_arrow(table, []).num_rows == 0


def test_a_timestamp_is_stored_as_utc() -> None:
    """A timestamp with any offset is stored as the same moment in UTC."""
    there = NOW.astimezone(timezone(timedelta(hours=2)))
    found = to_arrow(SYNCS, [SYNCS.row(load_id="1", watermark=there)])
    assert found["watermark"].to_pylist() == [NOW]


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("value", 1),
        ("position", "1"),
        ("position", 2**63),
        ("value_number", "1"),
        ("edited", "yes"),
        ("value_date", "2026-02-09"),
        ("value", "\ud800"),
    ],
)
def test_a_cell_that_does_not_fit_is_refused(column: str, cell: Any) -> None:
    """A value of another type raises an error, which puts the run into quarantine: no column changes its
    type, and no value is converted."""
    row = FIELDS.row(**{"processor_run_id": "r", "path": "a", column: cell})
    with pytest.raises((pa.ArrowException, OverflowError, UnicodeError)):
        to_arrow(FIELDS, [row])


def test_rows_of_different_length_are_refused() -> None:
    """A row with too few cells raises an error, so that no cell gets into another column."""
    with pytest.raises(ValueError):
        to_arrow(INSIGHTS, [insight("r"), insight("r")[:-1]])


def test_a_batch_holds_rows_by_table() -> None:
    """add, extend and update append rows; the length counts the rows of all tables."""
    one, two = Batch(), Batch()
    one.add(INSIGHTS, insight("a"), insight("a", 1))
    one.extend(INSIGHTS, [insight("b")])
    two.add(WORKFLOW_RUNS, WORKFLOW_RUNS.row(id="w"))
    two.add(INSIGHTS, insight("c"))
    one.update(two)
    assert [row[0] for row in one.rows(INSIGHTS)] == ["a", "a", "b", "c"]
    assert (len(one), len(two)) == (5, 2)
    assert one.rows(PROCESSOR_RUNS) == []


def test_clearing_rows_are_rows_but_not_shown() -> None:
    """Clearing rows are part of the Arrow tables, and `dicts` leaves them out."""
    batch = Batch()
    batch.clear_run((INSIGHTS, FIELDS), "r")
    batch.add(INSIGHTS, insight("r"))
    assert batch.rows(INSIGHTS) == [INSIGHTS.clearing_row("r"), insight("r")]
    assert batch.dicts(INSIGHTS) == [
        {
            "processor_run_id": "r",
            "output": "final",
            "path": "a",
            "position": 0,
            "type": None,
            "content": "c",
            "extra": None,
        }
    ]
    assert batch.dicts(FIELDS) == []
    assert len(batch) == 3
    converted = {table.name: rows for table, rows in to_tables(batch)}
    assert converted["insights"][CLEARED].to_pylist() == [True, None]


def test_only_tables_with_rows_go_out_in_the_models_order() -> None:
    """A batch becomes Arrow tables in the order of `core/tables`, without tables that have no rows."""
    batch = Batch()
    batch.add(SYNCS, SYNCS.row(load_id="1"))
    batch.add(INSIGHTS, insight("r"))
    batch.rows(FIELDS)
    found = to_tables(batch)
    assert isinstance(found, Tables)
    assert [(table.name, rows.num_rows) for table, rows in found] == [("insights", 1), ("syncs", 1)]
    assert len(found) == len(batch) == 2
    assert len(to_tables(Batch())) == 0


def test_pandas_is_left_out() -> None:
    """pyarrow does not import pandas where it is hidden, and not later; other code can then import it."""
    script = (
        "import sys; import pyarrow as pa; from docruns.store.process.memory import hide_pandas\n"
        "{}\n"
        "pa.array([1], pa.int64()); print('pandas' in sys.modules)\n"
        "import pandas; print(len(pandas.DataFrame({{'a': [1]}})))"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", script.format(first)], capture_output=True, text=True, check=True
        ).stdout.split()
        for first in ("", "with hide_pandas(): pass", "with hide_pandas(unless=True): pass")
    ]
    assert said == [["True", "1"], ["False", "1"], ["True", "1"]]
