"""The descriptions of tables and columns, stored as COMMENT in the destination.

    core/tables ──► what differs from the stored comments ──► COMMENT ON TABLE, COMMENT ON COLUMN

Any client of the database shows them. The text of a later version replaces the older one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import dlt
from dlt.common.destination.exceptions import DestinationException
from dlt.destinations.sql_client import SqlClientBase

from ...core.tables import TABLES, Table
from ...store.destinations import traits_of

LOAD_ID_TEXT = "The package that wrote the row: syncs.load_id, and load_id in dlt's own _dlt_loads."


def texts(table: Table) -> dict[str | None, str]:
    """The description of each column of a table; None is the table itself."""
    columns: dict[str | None, str] = {column.name: column.doc for column in table.columns}
    return {None: table.doc, **columns, "_dlt_load_id": LOAD_ID_TEXT}


def describe_tables(running: dlt.Pipeline, client: SqlClientBase[Any]) -> int:
    """Store the descriptions that differ from the stored ones. Returns how many. `client` is one of the pipeline's
    destination.

    In PostgreSQL only the owner of a table may do so: for another user its texts stay as they are.
    """
    query = traits_of(running).comments_query
    if query is None:
        return 0
    number = 0
    with suppress(DestinationException):
        found = client.execute_sql(query, client.dataset_name, client.dataset_name) or ()
        stored = {(table, column): text for table, column, text in found}
        for table in TABLES:
            with suppress(DestinationException), client.begin_transaction():
                for statement in _statements(client, table, stored):
                    client.execute_sql(statement)
                    number += 1
    return number


def _statements(
    client: SqlClientBase[Any], table: Table, stored: Mapping[tuple[str, str | None], str | None]
) -> Iterator[str]:
    name = client.make_qualified_table_name(table.name)
    for column, text in texts(table).items():
        if (table.name, column) not in stored or stored[table.name, column] == text:
            continue
        place = f"TABLE {name}" if column is None else f"COLUMN {name}.{client.escape_column_name(column)}"
        literal = text.replace("'", "''")
        yield f"COMMENT ON {place} IS '{literal}'"
