"""The descriptions of tables and columns, stored as COMMENT in the destination.

    core/tables ──► what differs from the stored comments ──► COMMENT ON TABLE, COMMENT ON COLUMN

So a database explains itself in any client. A new text of a later version replaces the old one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import dlt
from dlt.common.destination.exceptions import DestinationException
from dlt.destinations.sql_client import SqlClientBase

from ..core.tables import TABLES
from .destinations import traits_of

logger = logging.getLogger("docruns")

LOAD_ID_TEXT = "The package that wrote the row: syncs.load_id, and load_id in dlt's own _dlt_loads."

STORED = {
    "duckdb": """
        SELECT table_name, NULL, comment FROM duckdb_tables()
        WHERE schema_name = %s AND database_name = current_database()
        UNION ALL SELECT table_name, column_name, comment FROM duckdb_columns()
        WHERE schema_name = %s AND database_name = current_database()
    """,
    "postgres": """
        WITH tables AS (
            SELECT c.oid, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = %s AND n.nspname = %s AND c.relkind IN ('r', 'p')
        )
        SELECT relname, NULL, obj_description(oid, 'pg_class') FROM tables
        UNION ALL SELECT relname, attname, col_description(oid, attnum)
        FROM tables JOIN pg_attribute ON attrelid = oid AND attnum > 0 AND NOT attisdropped
    """,
}
"""Queries for the tables of a schema, their columns (null: the table itself) and their comments, by
`DestinationTraits.comments`. Both parameters are the schema."""


def texts() -> dict[tuple[str, str | None], str]:
    """The description of each table and column of the table model."""
    found: dict[tuple[str, str | None], str] = {}
    for table in TABLES:
        found[table.name, None] = table.doc
        found |= {(table.name, column.name): column.doc for column in table.columns}
        found[table.name, "_dlt_load_id"] = LOAD_ID_TEXT
    return found


def describe_tables(running: dlt.Pipeline) -> int:
    """Store the descriptions that differ from the stored ones. Returns how many.

    Without the right to do so (in PostgreSQL a table belongs to who has made it) the texts stay as they are.
    """
    kind = traits_of(running).comments
    if kind is None:
        return 0
    with running.sql_client() as client:
        try:
            stored = client.execute_sql(STORED[kind], client.dataset_name, client.dataset_name) or ()
            new = list(_statements(client, {(table, column): text for table, column, text in stored}))
            if new:
                with client.begin_transaction():
                    for statement in new:
                        client.execute_sql(statement)
        except DestinationException as error:
            logger.info("docruns: the descriptions could not be stored: %s", type(error).__name__)
            return 0
    return len(new)


def _statements(
    client: SqlClientBase[Any], stored: dict[tuple[str, str | None], str | None]
) -> Iterator[str]:
    for (table, column), text in texts().items():
        if (table, column) not in stored or stored[table, column] == text:
            continue
        name, literal = client.make_qualified_table_name(table), text.replace("'", "''")
        if column is None:
            yield f"COMMENT ON TABLE {name} IS '{literal}'"
        else:
            yield f"COMMENT ON COLUMN {name}.{client.escape_column_name(column)} IS '{literal}'"
