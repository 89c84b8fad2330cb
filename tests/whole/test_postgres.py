"""PostgreSQL instead of DuckDB, by one option: the same rows, loaded, verified, swept and pushed."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dlt
import psycopg2
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed
from typer.testing import CliRunner

from docruns import extend
from docruns.commands.cli.app import app
from docruns.core.errors import RefusedError
from docruns.core.tables import CLEARED, SYNCS, TABLES, Column
from docruns.sandbox import Sandbox
from docruns.store.target import Target, lock_file
from support.loading import query
from support.postgres import rows


@pytest.fixture(autouse=True)
def configured(server: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings that .dlt/config.toml and secrets.toml would contain."""
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", server)
    monkeypatch.setenv("SOURCES__EXTEND__BASE_URL", sandbox.extend_url)
    monkeypatch.setenv("SOURCES__PLEXTERA__BASE_URL", sandbox.plextera_url)


def docruns(*arguments: str) -> Any:
    """Run a command on PostgreSQL, which must succeed; the last line of its stdout."""
    result = CliRunner().invoke(app, [*arguments, "--destination", "postgres"])
    lines = result.stdout.strip().splitlines()
    assert result.exit_code == 0, result.output
    return lines[-1] if lines else ""


def plain(column: Column, cell: Any) -> Any:
    """A cell in one form for both databases, which differ in JSON and time zones."""
    if column.type == "json" and cell is not None:
        return json.dumps(json.loads(cell), sort_keys=True)
    return cell.astimezone(UTC) if isinstance(cell, datetime) else cell


def cells(columns: list[Column], found: list[tuple[Any, ...]]) -> list[str]:
    """Rows as sorted text."""
    return sorted(repr(list(map(plain, columns, row))) for row in found)


@pytest.mark.parametrize("provider", ["extend", "plextera"])
def test_rows_are_those_of_duckdb(provider: str, server: str, sandbox: Sandbox, tmp_path: Path) -> None:
    """After two loads with a review between them, and the state only in the database, PostgreSQL holds the
    same rows as DuckDB."""
    schema, database = f"same_{provider}", tmp_path / "d.duckdb"
    docruns("load", provider, "--dataset", schema)
    reviewed = sandbox.extend.review(5) if provider == "extend" else []
    second = json.loads(docruns("load", provider, "--dataset", schema, "--json"))
    third = json.loads(docruns("load", provider, "--dataset", schema, "--json"))
    assert third["fetched"] == 0
    assert second["fetched"] >= len(reviewed)
    result = CliRunner().invoke(app, ["load", provider, "--database", str(database)])
    assert result.exit_code == 0
    held = "SELECT table_name FROM information_schema.tables WHERE table_schema = {}"
    there = {name for (name,) in rows(server, held.format(f"'{schema}'"))}
    # only DuckDB gets an empty quarantine table
    here = {name for (name,) in query(database, held.format(f"'{provider}'"))}
    assert here - there == {"quarantine"} and there <= here
    assert query(database, f"SELECT * FROM {provider}.quarantine") == []
    for table in TABLES:
        if table is SYNCS or table.name not in there:
            continue
        columns = [column for column in table.columns if column.name != CLEARED]
        names = ", ".join(f'"{c.name}"::text' if c.type == "json" else f'"{c.name}"' for c in columns)
        theirs = query(database, f"SELECT {names} FROM {provider}.{table.name}")
        ours = rows(server, f'SELECT {names} FROM {schema}."{table.name}"')
        assert cells(columns, ours) == cells(columns, theirs), table.name
    docruns("verify", provider, "--dataset", schema, "--deep", "1000")


def test_copied(server: str, sandbox: Sandbox, tmp_path: Path) -> None:
    r"""A copy of a DuckDB file has its cells, with `\u0000` in place of NUL, also after a review, and a load goes on in
    it without a request for details."""
    sandbox.extend.put(
        r"""{"object": "workflow_run", "id": "nul", "status": "PROCESSED", "name": "a\u0000b"}"""
    )
    database = str(tmp_path / "d.duckdb")
    copying = ("copy", "extend", "--from", database, "--dataset", "copied", "--json")
    loading = ["load", "extend", "--database", database, "--dataset", "copied"]
    assert CliRunner().invoke(app, loading).exit_code == 0
    assert json.loads(docruns(*copying))["unchanged"] == 0
    reviewed = sandbox.extend.review(5)
    assert CliRunner().invoke(app, loading).exit_code == 0
    docruns(*copying)
    newest = "WHERE _dlt_load_id = (SELECT max(load_id) FROM copied._dlt_loads)"
    assert rows(server, f"SELECT count(*) FROM copied.workflow_runs {newest}") == [(len(reviewed),)]
    assert docruns("verify", "extend", "--dataset", "copied", "--against", database).startswith(
        "postgres (copied) agrees"
    )
    assert rows(server, "SELECT name FROM copied.workflow_runs WHERE id = 'nul'") == [(r"a\u0000b",)]
    assert json.loads(docruns("load", "extend", "--dataset", "copied", "--json"))["fetched"] == 0


def test_a_plain_pipeline(server: str, sandbox: Sandbox, tmp_path: Path) -> None:
    """A pipeline that names no file format keeps empty strings, which dlt's CSV would make NULL."""
    sandbox.extend.put(
        """{"object": "workflow_run", "id": "empty", "status": "PROCESSED", "name": "", "metadata": {"a": ""}}"""
    )
    postgres = dlt.destinations.postgres(server)
    pipeline = dlt.pipeline("plain", pipelines_dir=str(tmp_path), destination=postgres, dataset_name="plain")
    pipeline.run(extend())
    found = rows(server, "SELECT name, metadata FROM plain.workflow_runs WHERE id = 'empty'")
    assert found == [("", {"a": ""})]


def test_a_plain_pipeline_without_the_driver(
    server: str, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the package that loads Parquet, dlt would only log that it takes CSV: the pipeline is refused instead,
    with what to install."""
    monkeypatch.setattr(
        "dlt.destinations._adbc_jobs.has_adbc_driver", lambda driver: (False, "not installed")
    )
    postgres = dlt.destinations.postgres(server)
    pipeline = dlt.pipeline("bare", pipelines_dir=str(tmp_path), destination=postgres, dataset_name="bare")
    with pytest.raises(PipelineStepFailed, match=r"pip install 'docruns\[postgres\]'"):
        pipeline.run(extend())
    assert rows(server, "SELECT 1 FROM pg_namespace WHERE nspname = 'bare'") == []


def test_swept(server: str, sandbox: Sandbox) -> None:
    """`sweep` marks a deleted run in PostgreSQL too."""
    docruns("load", "extend", "--dataset", "swept")
    ((gone,),) = rows(server, "SELECT id FROM swept.workflow_runs ORDER BY id LIMIT 1")
    sandbox.extend.delete(gone)
    docruns("sweep", "extend", "--dataset", "swept", "--yes")
    found = rows(server, "SELECT id FROM swept.workflow_runs WHERE deleted_at IS NOT NULL")
    assert found == [(gone,)]


def test_doubled_rows(server: str, sandbox: Sandbox) -> None:
    """`verify` counts the rows of each key in PostgreSQL too, and `load --full` leaves one of each."""
    docruns("load", "extend", "--dataset", "doubled")
    with psycopg2.connect(server) as connection, connection.cursor() as cursor:
        for table in ("workflow_runs", "fields"):
            cursor.execute(f"INSERT INTO doubled.{table} SELECT * FROM doubled.{table} LIMIT 3")
    arguments = ["verify", "extend", "--destination", "postgres", "--dataset", "doubled", "--json"]
    result = CliRunner().invoke(app, arguments)
    found = json.loads(result.stdout.splitlines()[-1])
    assert (result.exit_code, found["doubled"], found["equal"]) == (1, 6, False)
    assert found["first"]["doubled"][0].startswith("workflow_runs ")
    docruns("load", "extend", "--dataset", "doubled", "--full")
    docruns("verify", "extend", "--dataset", "doubled")


def test_nul_is_spelled_out(server: str, sandbox: Sandbox) -> None:
    r"""PostgreSQL stores no NUL: docruns writes `\u0000` in its place, and verify does the same."""
    sandbox.extend.put(
        r"""{"object": "workflow_run", "id": "nul", "status": "PROCESSED", "name": "a\u0000b",
        "metadata": {"c\u0000": "d\\u0000 e\\\u0000"}}"""
    )
    docruns("load", "extend", "--dataset", "nul")
    found = rows(server, "SELECT name, metadata FROM nul.workflow_runs WHERE id = 'nul'")
    assert found == [(r"a\u0000b", {r"c\u0000": r"d\u0000 e\\u0000"})]
    docruns("verify", "extend", "--dataset", "nul", "--deep", "1000")


def test_pushed(server: str, sandbox: Sandbox) -> None:
    """`push` takes changes from a query on PostgreSQL, sends each one once, and refuses queries that
    write."""
    docruns("load", "extend", "--dataset", "tags")
    sql = """SELECT id, true AS "metadata.checked", 1.50::numeric AS "metadata.n", jsonb_build_object('a', NULL) AS metadata
             FROM tags.workflow_runs WHERE id LIKE '%' ORDER BY id LIMIT 10"""
    for changes in (10, 0):
        found = docruns("push", "extend", "--dataset", "tags", "--from", sql, "--json")
        assert json.loads(found)["changes"] == changes
    held = "SELECT metadata FROM tags.workflow_runs ORDER BY id LIMIT 10"
    assert all(
        row["checked"] is True and row["n"] == 1.5 and row["a"] is None for (row,) in rows(server, held)
    )
    said = "SELECT outcome, count(*) FROM tags.pushes GROUP BY 1 ORDER BY 1"
    assert rows(server, said) == [("confirmed", 10), ("unchanged", 10)]
    delete = "DELETE FROM tags.workflow_runs RETURNING id"
    for query_, kind in (
        (delete, "DELETE"),
        (f"WITH gone AS ({delete}) SELECT id FROM gone", "DELETE"),
        ("SELECT 1; SELECT 2", "SELECT and SELECT"),
        ("SELECT nothing", "does not exist"),
        ("SELEC 1", "is not a file, and as a query it fails"),
    ):
        arguments = ["push", "extend", "--destination", "postgres", "--dataset", "tags"]
        result = CliRunner().invoke(app, [*arguments, "--from", query_])
        assert kind in str(result.exception), query_
    assert rows(server, "SELECT count(*) FROM tags.workflow_runs") == [(40,)]


def test_a_push_into_another_database(server: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed push into one database, then the same rows into another one of another platform: it gets them all."""
    with closing(psycopg2.connect(server)) as connection:
        connection.autocommit = True
        connection.cursor().execute("CREATE DATABASE other")
    sql = 'SELECT id, true AS "metadata.checked" FROM moved.workflow_runs'
    docruns("load", "extend", "--dataset", "moved")
    sandbox.fault("status", "/workflow_runs/*", method="POST", status=401, after=5, times=None)
    arguments = ["push", "extend", "--destination", "postgres", "--dataset", "moved", "--from", sql]
    assert isinstance(CliRunner().invoke(app, arguments).exception, RefusedError)
    lock = lock_file(Target("moved", destination="postgres"))
    with Sandbox(runs=40, seed=3) as second:
        monkeypatch.setenv("SOURCES__EXTEND__BASE_URL", second.extend_url)
        monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", server.replace("/postgres?", "/other?"))
        assert lock_file(Target("moved", destination="postgres")) != lock
        docruns("load", "extend", "--dataset", "moved")
        found = json.loads(docruns("push", "extend", "--dataset", "moved", "--from", sql, "--json"))
        assert (found["before"], found["confirmed"]) == (0, 40)
        runs = [run for run in second.extend.truth() if run["resource"] == "workflow_runs"]
        assert [run["metadata"].get("checked") for run in runs] == [True] * 40


def test_a_lock_is_of_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two servers, or two databases, are two targets; two users or passwords of one database are one."""
    names = (
        "postgresql://a:x@one:5432/db", "postgresql://b:y@one:5432/db", "postgresql://a:x@two:5432/db",
        "postgresql://a:x@one:5432/other", "postgresql://a:x@one:6432/db",
        "postgresql://a:x@one:5432/db?host=/tmp/s",
    )  # fmt: skip
    found = []
    for name in names:
        monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", name)
        found.append(lock_file(Target("extend", destination="postgres")))
    assert found[0] == found[1]
    assert len({*found}) == 5
