"""The complete path: sandbox, HTTP, feed, rows, Arrow, dlt, DuckDB."""

from __future__ import annotations

import gc
import json
import os
import resource
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from dlt.destinations.exceptions import DatabaseTransientException
from dlt.destinations.job_client_impl import SqlLoadJob
from dlt.load.load import Load

from docruns.commands import load
from docruns.commands.load import load_runs
from docruns.core.errors import (
    ConfigError,
    DocrunsError,
    LockedError,
    RefusedError,
    UnreachableError,
)
from docruns.core.flatten.flatten import rebuild
from docruns.core.tables import RUN_TABLES, TABLES
from docruns.sandbox import Sandbox
from docruns.store import pipeline
from docruns.store.duckdb.file import checkpoint, open_database
from docruns.store.process.environment import private_files
from docruns.store.process.memory import gc_frozen, system_memory_pool
from docruns.store.process.threads import quick_thread_switches
from docruns.store.target import Target, working_folder
from docruns.sync import sync as sync_module
from docruns.sync.sync import Sync
from support.extend_payloads import FOLDER, RUNS, run_of
from support.extend_payloads import load as load_payload
from support.loading import Loader, connect, query

VERSIONS = ("2026-02-09", "2025-04-21", "2024-12-23", "v1")


def database_rows(database: Path, table: str, order: str) -> list[tuple[Any, ...]]:
    """The rows of a table without dlt's own column, in a fixed order."""
    sql = f"SELECT * EXCLUDE (_dlt_load_id) FROM extend.{table} ORDER BY {order}"
    return query(database, sql)


def test_database_equals_platform(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """After a load, every run of the platform is in the database with its status and values."""
    summary, _ = load_extend(tmp_path / "a.duckdb")
    assert summary.complete
    assert summary.quarantined == 0
    held = dict(query(tmp_path / "a.duckdb", "SELECT id, status FROM extend.workflow_runs"))
    values = query(
        tmp_path / "a.duckdb",
        "SELECT processor_run_id, path, value_json FROM extend.fields ORDER BY 1, position",
    )
    rebuilt: dict[str, list[tuple[str, str | None]]] = {}
    for run_id, path, text in values:
        rebuilt.setdefault(run_id, []).append((path, text))
    compared = 0
    for run in sandbox.extend.truth():
        if run["resource"] == "workflow_runs":
            assert held.pop(run["id"]) == run["status"]
        for run_id, value in run["values"].items():
            if run_id in rebuilt:
                assert rebuild(rebuilt[run_id]) == value
                compared += 1
    assert held == {}
    assert compared > 30


def test_second_load_fetches_nothing(load_extend: Loader, sandbox: Sandbox) -> None:
    """A load right after a complete one sends no detail request and changes no row."""
    load_extend()
    sandbox.stats.reset()
    summary, _ = load_extend()
    assert summary.fetched == 0
    assert sandbox.stats.details == 0
    assert summary.complete


def test_changed_runs_only_are_fetched(load_extend: Loader, sandbox: Sandbox) -> None:
    """After reviews, a load fetches exactly the reviewed and the new runs."""
    load_extend()
    reviewed = sandbox.extend.review(4)
    new = sandbox.extend.add(3)
    sandbox.stats.reset()
    summary, _ = load_extend()
    assert sandbox.stats.routes["GET /workflow_runs/{id}"] == len(reviewed) + len(new)
    assert summary.fetched == len(reviewed) + len(new)


def test_review_replaces_rows_as_a_set(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """A database that was loaded after every change equals one that is loaded afterwards from scratch."""
    followed, fresh = tmp_path / "followed.duckdb", tmp_path / "fresh.duckdb"
    load_extend(followed)
    sandbox.extend.review(10)
    sandbox.extend.finish()
    load_extend(followed)
    load_extend(fresh)
    for table in TABLES:
        if table.name in ("syncs", "quarantine", "pushes"):
            continue
        order = ", ".join(table.key)
        old, new = (database_rows(path, table.name, order) for path in (followed, fresh))
        if table.name == "processor_runs":
            # a parse run inside a workflow has its dates from the first list that contained it
            times = [table.names.index(c) for c in ("created_at", "updated_at")]
            old, new = (
                [tuple(c for i, c in enumerate(row) if i not in times) for row in rows] for rows in (old, new)
            )
        assert old == new, table.name


@pytest.mark.fault(29)
def test_fewer_rows_then_none(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """A run that returns with fewer fields, then with none, keeps none of its old rows."""
    run = {
        "object": "extract_run",
        "id": "exr_shrinks",
        "status": "PROCESSED",
        "createdAt": "2026-09-25T12:00:00Z",
        "config": {},
        "output": {"value": {"a": 1, "b": 2}, "metadata": {"a": {"citations": [{"page": 1}]}}},
    }
    counts = []
    for minute, value in enumerate(({"a": 1, "b": 2}, {"a": 3}, None)):
        run["updatedAt"] = f"2026-09-25T12:0{minute}:00Z"
        run["output"] = None if value is None else {"value": value, "metadata": {}}
        sandbox.extend.put(json.dumps(run), resource="extract_runs")
        load_extend(tmp_path / "s.duckdb")
        sql = "SELECT list(path ORDER BY path) FROM extend.fields WHERE processor_run_id = ?"
        counts.append(query(tmp_path / "s.duckdb", sql, "exr_shrinks")[0][0])
    assert counts == [["a", "b"], ["a"], None]


@pytest.mark.parametrize("runs", [0, 3])
@pytest.mark.parametrize("provider", ["extend", "plextera"])
def test_every_table_is_there_after_the_first_load(provider: str, runs: int, tmp_path: Path) -> None:
    """A query on a table without rows, such as an empty quarantine, or on a column without values does not
    fail."""
    database = tmp_path / "d.duckdb"
    with Sandbox(runs, standalone=0, plextera_runs=runs) as sandbox:
        load_runs(connect(sandbox, provider), Target(provider, database))
    found = {
        (table, column): type_
        for table, column, type_ in query(
            database,
            "SELECT table_name, column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = ?",
            provider,
        )
    }
    for table in RUN_TABLES:
        assert {column for name, column in found if name == table.name} == {
            *table.names,
            "_dlt_load_id",
        }
    assert found["quarantine", "resolved_at"] == "TIMESTAMP WITH TIME ZONE"
    assert found["fields", "value_json"] == "VARCHAR"
    assert query(database, f"SELECT count(*) FROM {provider}.quarantine") == [(0,)]


def test_a_column_that_is_new_is_there_after_the_next_load(load_extend: Loader, tmp_path: Path) -> None:
    """A newer docruns adds the missing columns to an older version's tables before it queries them, whether
    or not runs changed."""
    load_extend()
    database = tmp_path / "t.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute("ALTER TABLE extend.processor_runs DROP initial_confidence")
        [(version, text)] = connection.execute(
            "SELECT version, schema FROM extend._dlt_version ORDER BY inserted_at DESC LIMIT 1"
        ).fetchall()
        older = json.loads(text)
        del older["tables"]["processor_runs"]["columns"]["initial_confidence"]
        connection.execute(
            "UPDATE extend._dlt_version SET schema = ? WHERE version = ?",
            [json.dumps(older), version],
        )
    summary, _ = load_extend()
    assert summary.fetched == 0
    assert query(database, "SELECT count(initial_confidence) FROM extend.processor_runs") == [(0,)]


@pytest.mark.parametrize("limit", [None, 30])
def test_more_memory_where_it_does_not_do(
    limit: int | None,
    load_extend: Loader,
    sandbox: Sandbox,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A package that exceeds DuckDB's memory limit is rolled back and loaded again without a limit."""
    first, _ = load_extend(tmp_path / "a.duckdb", max_runs=limit)
    monkeypatch.setattr("docruns.commands.load.MEMORY", "4MB")
    sandbox.stats.reset()
    second, _ = load_extend(tmp_path / "b.duckdb", max_runs=limit)
    assert sandbox.stats.requests > first.requests, "the runs were fetched twice"
    assert (second.fetched, second.rows) == (first.fetched, first.rows)
    for table in TABLES:
        if table.name not in {"syncs", "quarantine", "pushes"}:
            order = ", ".join(table.key)
            ours, theirs = (database_rows(tmp_path / f"{name}.duckdb", table.name, order) for name in "ab")
            assert ours == theirs


@pytest.mark.parametrize(
    "text",
    [
        "Out of Memory Error: no block",
        "TransactionContext Error: Failed to commit: failed to pin block of size 256.0 KiB (76.3 MiB/76.2 MiB used)",
    ],
)
def test_what_failed_for_memory_is_not_tried_again_in_it(
    text: str, load_extend: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that ran out of memory may conflict with the next one, so the package is rolled back at
    once."""
    first, _ = load_extend(tmp_path / "a.duckdb")
    merge, start_over = SqlLoadJob.run, Sync.start_over
    tried: list[str] = []

    def run(job: Any) -> None:
        if job.load_table_name != "fields" or tried[-1:] == ["undone"]:
            return merge(job)
        found = "Conflict on tuple deletion!" if tried else text
        tried.append(found)
        raise DatabaseTransientException(duckdb.Error(found))

    def undone(sync: Sync) -> None:
        tried.append("undone")
        start_over(sync)

    monkeypatch.setattr(SqlLoadJob, "run", run)
    monkeypatch.setattr(Sync, "start_over", undone)
    second, _ = load_extend(tmp_path / "b.duckdb")
    assert tried == [text, "undone"]
    assert (second.complete, second.rows) == (True, first.rows)


def test_two_tables_are_merged_at_once(load_extend: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two merges run at a time, not more: each merge needs memory, and DuckDB has two threads."""
    merge, lock = SqlLoadJob.run, Lock()
    at_work, most = 0, 0

    def run(job: Any) -> None:
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        time.sleep(0.02)
        merge(job)
        with lock:
            at_work -= 1

    monkeypatch.setattr(SqlLoadJob, "run", run)
    load_extend()
    assert most == 2


def test_chunks_give_the_same_rows(load_extend: Loader, tmp_path: Path) -> None:
    """Many small packages give the same database as one large package, with one syncs row each."""
    load_extend(tmp_path / "one.duckdb")
    summary, _ = load_extend(tmp_path / "many.duckdb", chunk_runs=7)
    assert summary.complete
    for table in ("workflow_runs", "processor_runs", "fields", "citations", "insights"):
        sql = f"SELECT count(*), count(DISTINCT hash(COLUMNS(* EXCLUDE (_dlt_load_id)))) FROM extend.{table}"
        assert query(tmp_path / "one.duckdb", sql) == query(tmp_path / "many.duckdb", sql)
    chunks = query(tmp_path / "many.duckdb", "SELECT fetched, complete FROM extend.syncs ORDER BY started_at")
    assert sum(fetched for fetched, _ in chunks) == summary.fetched
    assert len(chunks) >= summary.fetched // 7
    assert [complete for _, complete in chunks] == [False] * (len(chunks) - 1) + [True]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_loads(load_extend: Loader, tmp_path: Path, version: str) -> None:
    """Each documented API version loads completely, and every row has that version."""
    database = tmp_path / "v.duckdb"
    summary, _ = load_extend(database, api_version=version)
    assert summary.complete
    assert summary.quarantined == 0
    assert query(database, "SELECT DISTINCT api_version FROM extend.workflow_runs") == [(version,)]
    assert query(database, "SELECT count(*) FROM extend.fields")[0][0] > 100


def test_versions_agree(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """Four databases, one for each version, agree on all columns that the versions share.

    Runs with removed items are left out: before 2025-04-21 a nested run has no record of the edits, which says which
    of two alike items was removed.
    """
    sandbox.extend.switch(list_processor_runs_2024=True)
    removed = """
        SELECT DISTINCT regexp_replace(processor_run_id, '^[a-z]+_', '') FROM extend.fields WHERE path LIKE '%[~%'
    """
    shared = {
        "runs": "SELECT id, workflow_id, workflow_name, started_at, ended_at, created_at, updated_at, "
        "workflow_version_id, metadata::VARCHAR FROM extend.workflow_runs ORDER BY 1",
        "fields": "SELECT workflow_run_id, regexp_replace(processor_run_id, '^[a-z]+_', ''), path, field, "
        "kind, value, value_json, confidence, ocr_confidence, logprobs_confidence, "
        "edited, edit_kind, page, citation_count, insight_count "
        "FROM extend.fields WHERE workflow_run_id IS NOT NULL ORDER BY 1, 2, 3",
        "citations": "SELECT regexp_replace(processor_run_id, '^[a-z]+_', ''), output, path, position, page, "
        'reference_text, "left", top, "right", bottom FROM extend.citations '
        "WHERE processor_run_id IN (SELECT id FROM extend.processor_runs "
        "WHERE workflow_run_id IS NOT NULL) ORDER BY 1, 2, 3, 4",
        "splits": "SELECT regexp_replace(processor_run_id, '^[a-z]+_', ''), position, type, identifier, start_page, "
        "end_page FROM extend.splits WHERE processor_run_id IN (SELECT id FROM "
        "extend.processor_runs WHERE workflow_run_id IS NOT NULL) ORDER BY 1, 2",
    }
    found: dict[str, list[list[tuple[Any, ...]]]] = {name: [] for name in shared}
    left_out: set[str] = set()
    for version in VERSIONS:
        database = tmp_path / f"{version}.duckdb"
        load_extend(database, api_version=version)
        left_out |= {run for (run,) in query(database, removed)}
        for name, sql in shared.items():
            found[name].append(query(database, sql))
    for name, versions in found.items():
        newest, *older = ([row for row in rows if not left_out & set(row[:2])] for rows in versions)
        assert len(newest) > 5, name
        for version, rows in zip(VERSIONS[1:], older, strict=True):
            assert rows == newest, (name, version)


def test_limits_leave_whole_runs(sandbox: Sandbox, tmp_path: Path, load_extend: Loader) -> None:
    """`max_runs` ends a load early with complete runs, and the next load continues from there."""
    database = tmp_path / "m.duckdb"
    first, _ = load_extend(database, max_runs=10)
    assert not first.complete
    assert query(database, "SELECT count(*) FROM extend.workflow_runs") == [(10,)]
    second, _ = load_extend(database)
    assert second.complete
    assert first.fetched + second.fetched == sandbox.stats.details - sandbox.stats.verify_reads - (
        sum(n for route, n in sandbox.stats.routes.items() if _is_catalogue(route))
    )


def _is_catalogue(route: str) -> bool:
    names = ("workflows", "extractors", "classifiers", "splitters", "evaluation_sets")
    return any(route.startswith(f"GET /{name}/") for name in names)


def test_verify_runs_are_never_fetched(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """Reading a verify run can use up the customer's only copy, so a load stores only its list row."""
    load_extend(tmp_path / "v.duckdb")
    assert sandbox.stats.verify_reads == 0
    sql = "SELECT count(*) FROM extend.processor_runs WHERE type = 'VERIFY'"
    assert query(tmp_path / "v.duckdb", sql)[0][0] > 0


def test_no_presigned_url_is_stored(load_extend: Loader, tmp_path: Path) -> None:
    """No cell of any table holds a presigned URL, in any version."""
    for version in VERSIONS:
        database = tmp_path / f"{version}.duckdb"
        load_extend(database, api_version=version)
        for (table,) in query(
            database,
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'extend'",
        ):
            rows = query(database, f"SELECT * FROM extend.{table}")
            assert not any(
                word in str(row) for row in rows for word in ("presignedUrl", "Signature=", "outputUrl")
            ), table


def test_one_bad_run_goes_to_quarantine(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """A run that cannot be parsed goes to quarantine with its reason and is retried; all other runs load."""
    database = tmp_path / "q.duckdb"
    bad = "exr_bad"
    summary_row = {
        "object": "extract_run",
        "id": bad,
        "status": "PROCESSED",
        "createdAt": "2026-09-25T12:00:00Z",
        "updatedAt": "2026-09-25T12:00:01Z",
    }
    sandbox.extend.put('{"id": "somebody_else"}', summary_row, resource="extract_runs")
    first, _ = load_extend(database)
    assert first.quarantined == 1
    sql = "SELECT resource, id, attempts, error, message, resolved_at IS NULL FROM extend.quarantine"
    message = f"run {bad}: the answer is about another run, somebody_else"
    assert query(database, sql) == [("extract_runs", bad, 1, "ShapeError", message, True)]
    second, _ = load_extend(database)
    assert (second.fetched, second.quarantined) == (0, 1)
    sandbox.extend.put(json.dumps({**summary_row, "config": {}}), summary_row, resource="extract_runs")
    third, _ = load_extend(database)
    assert (third.fetched, third.quarantined) == (1, 0)
    assert query(database, sql)[0][2:] == (2, "ShapeError", message, False)


@pytest.mark.fault(31)
def test_hostile_text_and_numbers_are_kept(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """Numbers keep every digit and texts every character, from the answer into DuckDB."""
    literals = {
        "tenth": "0.10",
        "huge": "1e308",
        "too_huge": "1e400",
        "long": "12345678901234567890",
        "longest": "123456789012345678901234567890.123456789",
        "minus": "-0.0",
    }
    texts = {
        "emoji": "🧾 सत्यापन",
        "rtl": "שלום עולם",
        "quotes": "\"'`\\\n\t",
        "nul": "a\x00b",
        "sql": "'; DROP TABLE fields; --",
        "long_text": "x" * 1_000_000,
        "": "empty key",
        "a.b[0]": "odd key",
    }
    value = ", ".join(
        [f'"{name}": {text}' for name, text in literals.items()]
        + [f"{json.dumps(name)}: {json.dumps(text)}" for name, text in texts.items()]
        + [r'"lone": "a\ud800b"']
    )
    body = (
        '{"object": "extract_run", "id": "exr_odd", "status": "PROCESSED", "config": {}, '
        '"createdAt": "2026-09-25T12:00:00Z", "updatedAt": "2026-09-25T12:00:00Z", '
        f'"metadata": {{"note": "{chr(92)}u0000 {chr(92)}udfff"}}, "output": {{"value": {{{value}}}, "metadata": {{}}}}}}'
    )
    row = {"id": "exr_odd", "status": "PROCESSED", "updatedAt": "2026-09-25T12:00:00Z"}
    sandbox.extend.put(body, row, resource="extract_runs")
    database = tmp_path / "h.duckdb"
    summary, _ = load_extend(database)
    assert summary.quarantined == 0
    sql = "SELECT name, value, value_json, value_number FROM extend.fields WHERE processor_run_id = 'exr_odd'"
    found = {name: cells for name, *cells in query(database, sql)}
    for name, literal in literals.items():
        assert found[name][:2] == [literal, literal]
    assert found["tenth"][2] == 0.1
    assert found["too_huge"][2] is None
    for name, text in texts.items():
        assert found[name][0] == text
        assert json.loads(found[name][1]) == text
    assert found["lone"][0] == "a\\ud800b"
    note = query(database, "SELECT metadata->>'note' FROM extend.processor_runs WHERE id = 'exr_odd'")
    assert note == [("\x00 \\udfff",)]


@pytest.mark.fault(30, 32)
def test_columns_do_not_depend_on_data(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """Every loaded table has exactly the model's columns with the model's types, and _dlt_load_id."""
    load_extend(tmp_path / "c.duckdb")
    types = {
        "text": "VARCHAR",
        "json": "JSON",
        "bigint": "BIGINT",
        "double": "DOUBLE",
        "bool": "BOOLEAN",
        "date": "DATE",
        "timestamp": "TIMESTAMP WITH TIME ZONE",
    }
    for table in TABLES:
        if table.name in ("quarantine", "pushes"):
            continue
        sql = (
            "SELECT column_name, data_type FROM information_schema.columns "
            "WHERE table_schema = 'extend' AND table_name = ?"
        )
        found = dict(query(tmp_path / "c.duckdb", sql, table.name))
        assert found.pop("_dlt_load_id") == "VARCHAR"
        assert found == {c.name: types[c.type] for c in table.columns}, table.name


def test_every_example_payload_loads(tmp_path: Path, load_extend: Loader) -> None:
    """All example payloads that contain runs load over HTTP into DuckDB, none into quarantine."""
    resources = {"workflow_run": "workflow_runs", "classify_run": "classify_runs"}
    resources |= {"split_run": "split_runs", "parse_run": "parse_runs"}
    put: dict[str, str] = {}
    database = tmp_path / "examples.duckdb"
    with Sandbox(runs=0, standalone=0) as empty:
        for name in RUNS:
            run = run_of(load_payload(name))
            # webhooks contain the same runs in other envelopes; verify and edit runs exist in lists
            # only
            if name.startswith(("webhook", "verify", "edit")) or run["id"] in put:
                continue
            resource = resources.get(run["object"], "extract_runs")
            row = {"id": run["id"], "status": run.get("status", "PROCESSED")}
            empty.extend.put((FOLDER / f"{name}.json").read_bytes(), row, resource=resource)
            put[run["id"]] = resource
        summary, _ = load_extend(database, base_url=empty.extend_url)
    assert summary.quarantined == 0
    assert len(put) > 20
    for id_, resource in put.items():
        table = "workflow_runs" if resource == "workflow_runs" else "processor_runs"
        assert query(database, f"SELECT id FROM extend.{table} WHERE id = ?", id_) == [(id_,)]


@pytest.mark.fault(20)
def test_refused_key_stops_at_once(load_extend: Loader) -> None:
    """A key that the platform refuses ends the load after the first answer."""
    with Sandbox(runs=3, api_keys={"sk_right"}) as strict:
        with pytest.raises(RefusedError) as caught:
            load_extend(base_url=strict.extend_url, api_key="sk_wrong")
        assert caught.value.exit_code == 4
        assert "sk_wrong" not in str(caught.value)
        assert strict.stats.requests == 1


def test_unreachable_platform_is_named(load_extend: Loader, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no server answers, the error names the address."""
    from docruns.net import messages

    monkeypatch.setattr(messages.Retry, "__init__", lambda self: _retry_once(self))
    with pytest.raises(UnreachableError, match=r"cannot reach 127\.0\.0\.1:1"):
        load_extend(base_url="http://127.0.0.1:1/extend")


def _retry_once(retry: Any) -> None:
    for name, value in {"attempts": 1, "first": 0.0, "cap": 0.0, "deadline": 5.0}.items():
        object.__setattr__(retry, name, value)


@pytest.mark.fault(11)
def test_database_that_somebody_holds(tmp_path: Path) -> None:
    """A database that another process keeps open ends the load with a clear message, before any request."""
    import subprocess
    import sys

    path = tmp_path / "held.duckdb"
    code = (
        f"import duckdb, sys; c = duckdb.connect({str(path)!r}); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        holder.stdout.readline()
        with pytest.raises(LockedError, match=r"another process has it open: .*PID"):
            open_database(path, wait_s=0.5)
        holder.stdin.close()
        holder.wait(timeout=10)
        open_database(path, wait_s=5).close()


@pytest.mark.fault(40)
def test_database_that_is_none(tmp_path: Path) -> None:
    """The error for a file that is not a database names the file."""
    from docruns.core.errors import DocrunsError

    path = tmp_path / "x.duckdb"
    path.write_text("this is not a database, and it is long enough to look like one" * 100)
    with pytest.raises(DocrunsError, match=r"x\.duckdb"):
        open_database(path)


@pytest.mark.fault(9)
def test_moved_database_goes_on(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """The database itself records what is loaded: after a move to another place, a load continues there."""
    load_extend(tmp_path / "a.duckdb")
    (tmp_path / "elsewhere").mkdir()
    moved = (tmp_path / "a.duckdb").rename(tmp_path / "elsewhere" / "b.duckdb")
    summary, _ = load_extend(moved)
    assert summary.fetched == 0
    again, _ = load_extend(tmp_path / "a.duckdb")
    assert again.fetched > 40


@pytest.mark.fault(36)
def test_odd_path_of_the_database(load_extend: Loader, tmp_path: Path) -> None:
    """Quotes, blanks, equal signs and percent signs in a path work; a path that cannot work is refused."""
    folder = tmp_path / "it's a=b 50%"
    folder.mkdir()
    summary, _ = load_extend(folder / "d b.duckdb")
    assert summary.complete
    with pytest.raises(ConfigError, match="--database"):
        load_extend(folder / "d?b.duckdb")


@pytest.mark.fault(37)
def test_working_folder_is_empty_afterwards(load_extend: Loader, tmp_path: Path) -> None:
    """A finished load leaves no documents in dlt's working folder."""
    database = tmp_path / "w.duckdb"
    load_extend(database)
    left = list(working_folder(Target("extend", database)).rglob("*.parquet"))
    assert left == []


def test_other_error_is_not_hidden(sandbox: Sandbox, tmp_path: Path) -> None:
    """An error that is not a docruns error is raised unchanged."""
    platform = replace(connect(sandbox, "extend"), resources=lambda _: 1 / 0)  # type: ignore[arg-type,return-value]
    with pytest.raises(ZeroDivisionError):
        load_runs(platform, Target("extend", tmp_path / "z.duckdb"))


@pytest.fixture
def unfrozen() -> Iterator[None]:
    """Garbage collection as in an ordinary process; the test process has frozen objects."""
    gc.unfreeze()
    yield
    gc.freeze()


@pytest.mark.usefixtures("unfrozen")
def test_a_load_leaves_the_process_as_it_was(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """A load restores the settings of the garbage collector, of Arrow and of threads, also when it fails."""

    def now() -> tuple[object, ...]:
        pool = pa.default_memory_pool().backend_name
        return gc.get_threshold(), gc.get_freeze_count(), pool, sys.getswitchinterval()

    before, inside = now(), set[float]()
    platform = connect(sandbox, "extend")
    load_runs(
        platform, Target("extend", tmp_path / "p.duckdb"), lambda *_: inside.add(sys.getswitchinterval())
    )
    assert inside == {0.002}
    with pytest.raises(RefusedError), Sandbox(runs=1, api_keys={"sk_right"}) as strict:
        load_extend(tmp_path / "f.duckdb", base_url=strict.extend_url)
    assert now() == before


@pytest.mark.usefixtures("unfrozen")
def test_loads_at_once_leave_the_process_as_it_was() -> None:
    """Of two loads in threads the one that began first ends first: the other one keeps the settings until its end."""

    def now() -> tuple[object, ...]:
        mask = os.umask(0o022)
        os.umask(mask)
        pool = pa.default_memory_pool().backend_name
        return gc.get_threshold(), bool(gc.get_freeze_count()), pool, sys.getswitchinterval(), mask

    first, second, before = ExitStack(), ExitStack(), now()
    for each in (first, second):
        for setting in (gc_frozen, system_memory_pool, quick_thread_switches, private_files):
            each.enter_context(setting())
    inside = now()
    assert all(own != outside for own, outside in zip(inside, before, strict=True))
    first.close()
    assert now() == inside
    second.close()
    assert now() == before


@pytest.mark.usefixtures("unfrozen")
def test_what_a_load_leaves_the_next_one_collects() -> None:
    """Objects that a load leaves are collected by the next load; when they stayed frozen, a process grew by 1
    MB per load."""

    class Held:
        def __init__(self) -> None:
            self.itself = self

    with gc_frozen():
        left = Held()
        is_there = weakref.ref(left)
    del left
    gc.disable()
    try:
        with gc_frozen():
            assert is_there() is None
    finally:
        gc.enable()


@pytest.mark.usefixtures("unfrozen")
def test_many_loads_in_one_process_leave_nothing(load_extend: Loader, tmp_path: Path) -> None:
    """Many loads in one process, as a scheduler runs them, leave no more objects after ten loads than after
    five."""

    def objects() -> int:
        for _ in range(5):
            load_extend(tmp_path / "m.duckdb")
        return len(gc.get_objects())

    objects()
    before = objects()
    assert objects() - before < 2000


def test_duckdb_gets_so_much_and_no_more(
    load_extend: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB has the same memory limit in each package, whatever the size of the database."""
    allowed: list[Any] = []

    def noted(connection: Any) -> None:
        allowed.extend(connection.execute("SELECT current_setting('memory_limit')").fetchone())
        checkpoint(connection)

    monkeypatch.setattr(pipeline, "checkpoint", noted)
    load_extend(tmp_path / "l.duckdb", chunk_runs=20)
    assert len(allowed) >= 3
    # 80 million bytes
    assert set(allowed) == {"114.4 MiB"}


@pytest.mark.usefixtures("unfrozen")
@pytest.mark.parametrize("already", [0, 1])
def test_what_is_frozen_elsewhere_stays_so(already: int) -> None:
    """Objects that a process froze before a load, as servers do before they fork, stay frozen."""
    if already:
        gc.freeze()
    with gc_frozen():
        assert gc.get_freeze_count() > 0
    assert min(gc.get_freeze_count(), 1) == already


def test_one_batch_is_held_at_a_time(
    load_extend: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most three batches are in memory: dlt took the next batch with each table of the one before, which
    made ten batches at ten tables."""
    monkeypatch.setattr(sync_module, "BATCH_ROWS", 1)
    alive: weakref.WeakSet[Any] = weakref.WeakSet()
    most = 0
    make = sync_module.to_tables

    def counted(*batch: Any) -> Any:
        nonlocal most
        tables = make(*batch)
        alive.add(tables)
        most = max(most, len(alive))
        return tables

    monkeypatch.setattr(sync_module, "to_tables", counted)
    summary, _ = load_extend(tmp_path / "b.duckdb")
    assert summary.complete
    assert most <= 3


def _committed_with(monkeypatch: pytest.MonkeyPatch, then: Callable[[Any, int], None]) -> None:
    """Call `then` after each package and before the next one starts."""
    commit, committed = load.load_package, 0

    def and_then(running: Any, *about: Any) -> None:
        nonlocal committed
        if committed:
            then(running, committed)
        commit(running, *about)
        committed += 1

    monkeypatch.setattr(load, "load_package", and_then)


def test_what_is_committed_leaves_the_log(
    load_extend: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Committed rows leave the log after each package, in parallel with the next one; dlt alone lets DuckDB
    keep a gigabyte in memory and in its log."""
    log = tmp_path / "l.duckdb.wal"
    commit, before, after = pipeline.load_package, [], []

    def counted(*about: Any) -> None:
        commit(*about)
        # the checkpoint of the package before may empty it at this moment
        before.append(log.stat().st_size if log.exists() else 0)

    def waited(_running: Any, _committed: int) -> None:
        until = time.monotonic() + 20
        while log.exists() and log.stat().st_size and time.monotonic() < until:
            time.sleep(0.01)
        after.append(log.stat().st_size if log.exists() else 0)

    monkeypatch.setattr(load, "load_package", counted)
    _committed_with(monkeypatch, waited)
    load_extend(tmp_path / "l.duckdb", chunk_runs=10)
    assert len(after) >= 3
    assert before[0] > 0
    assert max(after) == 0
    assert not log.exists()


def test_a_log_that_cannot_be_emptied_ends_the_load(
    load_extend: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the parallel checkpoint ends the load, and the next load is complete."""
    commit, before = pipeline.load_package, resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(*about: Any) -> None:
        commit(*about)
        # no file may grow, as on a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1]))

    try:
        with monkeypatch.context() as patched:
            patched.setattr(load, "load_package", fill)
            with pytest.raises(DocrunsError, match=r"l\.duckdb"):
                load_extend(tmp_path / "l.duckdb")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    summary, _ = load_extend(tmp_path / "l.duckdb")
    assert summary.complete


def test_the_command_leaves_pandas_out(sandbox: Sandbox, tmp_path: Path) -> None:
    """The command does not import pandas, which takes more time and memory to import than a thousand runs to
    load."""
    script = (
        "import atexit, sys; from docruns.commands.cli.main import run; "
        "atexit.register(lambda: print(sorted({'pandas', 'pandas.core'} & sys.modules.keys()))); "
        "run()"
    )
    command = ["load", "extend", "--base-url", sandbox.extend_url, "--database", "p.duckdb"]
    done = subprocess.run(
        [sys.executable, "-c", script, *command],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert query(tmp_path / "p.duckdb", "SELECT count(*) FROM extend.workflow_runs") == [(40,)]


def test_the_lists_are_asked_for_together(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """A load requests each list once, one list first and all others at the same time: a load that finds
    nothing new mostly waits for them."""
    load_extend(tmp_path / "t.duckdb")
    sandbox.stats.reset()
    sandbox.set(latency=0.8)
    load_extend(tmp_path / "t.duckdb")
    lists = {route: number for route, number in sandbox.stats.routes.items() if "{" not in route}
    assert set(lists.values()) == {1}
    assert len(lists) == 12
    assert sandbox.stats.max_in_flight >= 8, "six lists of runs, two of the catalogue"


def test_every_request_stands_in_syncs(load_extend: Loader, tmp_path: Path) -> None:
    """`syncs` counts every request, those for the catalogue too, in a load of many packages and in a load
    with nothing new."""
    asked = 0
    for chunk_runs in (7, None):
        summary, _ = load_extend(tmp_path / "r.duckdb", chunk_runs=chunk_runs)
        asked += summary.requests
        found = query(tmp_path / "r.duckdb", "SELECT sum(requests) FROM extend.syncs")
        assert found == [(asked,)]


def test_no_job_is_waited_for_that_is_done(
    load_extend: Loader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finished job ends dlt's wait at once: dlt's polling interval of a second was a third of a load with
    nothing new."""
    init = Load.__init__

    def patient(self: Load, *arguments: Any, **options: Any) -> None:
        init(self, *arguments, **options)
        self._run_loop_sleep_duration = 20.0

    monkeypatch.setattr(Load, "__init__", patient)
    for _ in range(3):
        started = time.monotonic()
        load_extend(tmp_path / "t.duckdb")
        assert time.monotonic() - started < 20
