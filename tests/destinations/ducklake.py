"""DuckLake, apart from the rows that it holds: one lake a load, one snapshot a merge."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import duckdb
import pytest
from dlt.destinations.impl.ducklake.sql_client import DuckLakeSqlClient

from destinations.databases import lake_settings
from destinations.matrix import docruns
from docruns.sandbox import Sandbox
from docruns.store.duckdb.lake import require_extensions

_CHANGES = """
SELECT list_sort([regexp_extract(what, 'insert|delete') for what in map_keys(changes) if list_contains(changes[what], $1::VARCHAR)])
AS found FROM lake.snapshots() WHERE len(found) > 0 AND found[1] <> '' ORDER BY snapshot_id
"""
"""What each snapshot has done to the rows of a table."""

LOAD = ("load", "extend", "--destination", "ducklake")


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """A platform of few runs, and the settings of a lake."""
    for name, value in lake_settings("duckdb")(tmp_path, ExitStack()).items():
        monkeypatch.setenv(name, value)
    with Sandbox(runs=12, standalone=3, seed=5, document_size="light", plextera_runs=0) as sandbox:
        monkeypatch.setenv("SOURCES__EXTEND__BASE_URL", sandbox.extend_url)
        yield sandbox


def test_one_lake_and_one_snapshot(
    platform: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A load opens the lake once, stages nothing, and replaces the rows of runs in one snapshot a table."""
    docruns(*LOAD)
    platform.extend.review(4)
    opened, real = [], DuckLakeSqlClient.open_connection

    def count(client: Any) -> Any:
        opened.append(client)
        return real(client)

    monkeypatch.setattr(DuckLakeSqlClient, "open_connection", count)
    assert docruns(*LOAD)["fetched"] == 4
    assert len(opened) == 1
    with duckdb.connect() as connection:
        connection.execute(f"ATTACH 'ducklake:{tmp_path / 'catalog'}' AS lake (READ_ONLY)")
        ((table,),) = connection.execute(
            "SELECT table_id FROM __ducklake_metadata_lake.ducklake_table WHERE table_name = 'fields'"
        ).fetchall()
        found = connection.execute(_CHANGES, [table]).fetchall()
    assert found == [(["insert"],), (["delete", "insert"],)]


def test_first_loads_at_once_install_the_extensions(tmp_path: Path) -> None:
    """Processes that find no extension installed install them at the same moment, and none of them fails."""
    command = (
        "from docruns.store.duckdb.lake import require_extensions;"
        "require_extensions(('ducklake', 'sqlite_scanner', 'postgres_scanner'), 2);"
        "import duckdb; duckdb.execute('LOAD ducklake; LOAD sqlite_scanner; LOAD postgres_scanner')"
    )
    for number in range(5):
        home = tmp_path / str(number)
        home.mkdir()
        started = [
            subprocess.Popen([sys.executable, "-c", command], env={**os.environ, "HOME": str(home)})
            for _ in range(4)
        ]
        assert [process.wait() for process in started] == [0, 0, 0, 0]


def test_a_home_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no lock can be made, DuckDB says what it cannot do."""
    monkeypatch.setenv("HOME", "/dev/null")
    with pytest.raises(duckdb.IOException, match="/dev/null"):
        require_extensions(("ducklake",), 2)
