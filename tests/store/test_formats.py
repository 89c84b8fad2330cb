"""The storage format of database files: which versions of DuckDB open them."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from docruns.commands.load import load_runs
from docruns.core.errors import ConfigError, DocrunsError
from docruns.core.tables import TABLES
from docruns.sandbox import Sandbox
from docruns.store.duckdb.publish import publish_copy
from docruns.store.pipeline import open_pipeline
from docruns.store.target import Target
from support.loading import connect, query
from support.other_duckdb import NEWEST, OLDEST, run_with

KEY = "DESTINATION__DUCKDB__STORAGE_VERSION"
FORMAT = "SELECT tags['storage_version'] FROM duckdb_databases() WHERE path IS NOT NULL"
HERE = tuple(map(int, duckdb.__version__.split(".")[:2]))


def made(database: Path) -> list[tuple[str]]:
    """The format of a database that a load has opened."""
    with open_pipeline("extend", Target("extend", database)):
        pass
    return query(database, FORMAT)


def test_an_older_duckdb_opens_database_and_copy(loaded: Path, tmp_path: Path) -> None:
    """DuckDB 1.2 reads every cell of a database and of its published copy."""
    copy = tmp_path / "copy.duckdb"
    publish_copy(loaded, copy, "older")
    known = {name for (name,) in query(loaded, "SELECT table_name FROM duckdb_tables()")}
    cells = [
        f"SELECT count(*), sum(length(COLUMNS(*)::VARCHAR))::BIGINT FROM extend.{table.name}"
        for table in TABLES
        if table.name in known
    ]
    expected = json.loads(json.dumps([query(loaded, sql) for sql in cells]))
    assert len(expected) > 8 and expected[0][0][0] == 12
    for path in (loaded, copy):
        version, *found = run_with(OLDEST, path, *cells)
        assert tuple(map(int, version.split(".")[:2])) < HERE
        assert found == expected


def test_who_wants_the_newest_format_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A setting chooses the format of a new file, an empty one is none, and one that DuckDB does not know is
    refused by name; an existing file keeps its format."""
    newest = [(f"v{HERE[0]}.{HERE[1]}.0+",)]
    monkeypatch.setenv(KEY, "v9.9")
    with pytest.raises(ConfigError, match=r"destination\.duckdb\.storage_version: 'v9\.9' is not a storage"):
        made(tmp_path / "a.duckdb")
    monkeypatch.setenv(KEY, "v1.3.2")
    with pytest.raises(ConfigError, match=r"'v1\.3\.2': DuckDB 1\.3 would read NULL.*Use v1\.2\.0"):
        made(tmp_path / "a.duckdb")
    assert not (tmp_path / "a.duckdb").exists()
    monkeypatch.setenv(KEY, "latest")
    assert made(tmp_path / "a.duckdb") == newest
    monkeypatch.setenv(KEY, "")
    assert made(tmp_path / "a.duckdb") == newest
    assert made(tmp_path / "b.duckdb") == [("v1.2.0+",)]


def test_a_database_of_a_newer_duckdb_goes_on_or_says_how(few_runs: Sandbox, tmp_path: Path) -> None:
    """A file in the format of DuckDB 2.0 is loaded where DuckDB 2 is installed; elsewhere one line says what to
    install, before any request."""
    database = tmp_path / "d.duckdb"
    version, *_ = run_with(NEWEST, database, "CREATE TABLE t AS SELECT 1")
    few_runs.stats.reset()
    platform, target = connect(few_runs, "extend"), Target("extend", database)
    if HERE >= (2, 0):
        load_runs(platform, target)
        assert query(database, "SELECT count(*) FROM extend.workflow_runs") == [(12,)]
        return
    with pytest.raises(
        DocrunsError, match=r"d\.duckdb: was made by a newer DuckDB than 1.*pip install"
    ) as caught:
        load_runs(platform, target)
    assert "\n" not in str(caught.value)
    assert few_runs.stats.requests == 0
    assert version.startswith("2.")
