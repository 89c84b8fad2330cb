"""Each table and column of a destination carries its description."""

from __future__ import annotations

from pathlib import Path

import psycopg2
import pytest

from docruns.commands.after_load import descriptions
from docruns.commands.after_load.descriptions import LOAD_ID_TEXT, describe_tables
from docruns.commands.load import load_runs
from docruns.core.tables import TABLES
from docruns.providers.extend import connect_extend
from docruns.sandbox import Sandbox
from docruns.store.pipeline import open_pipeline
from docruns.store.target import Target
from support.loading import Loader, query

DUCKDB = (
    "SELECT column_name, comment FROM duckdb_columns() WHERE schema_name = 'extend' AND table_name = '{}'"
)
POSTGRES = (
    "SELECT attname, col_description(attrelid, attnum) FROM pg_attribute "
    "WHERE attrelid = 'described.{}'::regclass AND attnum > 0"
)


def expected(name: str) -> dict[str, str]:
    """The descriptions of a table's columns."""
    (table,) = (table for table in TABLES if table.name == name)
    return {column.name: column.doc for column in table.columns} | {"_dlt_load_id": LOAD_ID_TEXT}


def test_duckdb(
    load_extend: Loader, few_runs: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All tables and columns have comments after a load. A text of a later version replaces the old one; a load
    that finds the same texts writes none."""
    database = tmp_path / "d.duckdb"
    load_extend(database, base_url=few_runs.extend_url)
    for table in ("workflow_runs", "fields", "syncs", "processors"):
        assert dict(query(database, DUCKDB.format(table))) == expected(table)
    tables = "SELECT table_name, comment FROM duckdb_tables() WHERE schema_name = 'extend'"
    comments = dict(query(database, tables))
    assert {table.name: table.doc for table in TABLES if table.name in comments} == {
        name: text for name, text in comments.items() if not name.startswith("_dlt")
    }
    with open_pipeline("extend", Target("extend", database)) as running, running.sql_client() as client:
        assert describe_tables(running, client) == 0
        texts = descriptions.texts
        monkeypatch.setattr(
            descriptions,
            "texts",
            lambda table: texts(table) | ({"path": "It's new."} if table.name == "fields" else {}),
        )
        assert describe_tables(running, client) == 1
    assert dict(query(database, DUCKDB.format("fields")))["path"] == "It's new."


def test_a_published_copy_has_them(few_runs: Sandbox, tmp_path: Path) -> None:
    """A reader of the copy sees the descriptions too."""
    copy = tmp_path / "copy.duckdb"
    platform = connect_extend(base_url=few_runs.extend_url)
    load_runs(platform, Target("extend", tmp_path / "d.duckdb"), publish=copy)
    assert dict(query(copy, DUCKDB.format("fields"))) == expected("fields")


def test_postgres(server: str, few_runs: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in PostgreSQL."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", server)
    target = Target("described", destination="postgres")
    load_runs(connect_extend(base_url=few_runs.extend_url), target)
    with psycopg2.connect(server) as connection, connection.cursor() as cursor:
        for table in ("workflow_runs", "fields", "charges"):
            cursor.execute(POSTGRES.format(table))
            assert dict(cursor.fetchall()) == expected(table)
        cursor.execute("SELECT obj_description('described.fields'::regclass, 'pg_class')")
        assert cursor.fetchone() == (
            "One row per node of an extracted value. The value is the final one, the scores are the model's.",
        )
