"""`docruns.load`, `docruns.verify` and `docruns.sweep`: the commands as Python calls."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import multiprocessing
import os
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

import docruns
from docruns.commands.cli import answers, app, warehouse
from docruns.core.errors import (
    BusyError,
    ConfigError,
    DocrunsError,
    LockedError,
    RefusedError,
    UnreachableError,
)
from docruns.sandbox import Sandbox
from docruns.store.duckdb.errors import no_space_error
from docruns.store.failures import translate_errors
from docruns.store.target import Target, exclusive
from proofs.children import Children
from support.loading import query


def test_load_verify_and_sweep(few_runs: Sandbox, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A call takes settings as keywords, tells of each package and returns what the command prints."""
    caplog.set_level(logging.INFO, "docruns")
    place: dict[str, Any] = {"database": "t.duckdb", "dataset": "documents", "base_url": few_runs.extend_url}
    packages: list[Any] = []
    summary = docruns.load("extend", **place, chunk_runs=5, on_package=packages.append)
    assert (summary.exit_code, summary.complete, summary.left_out, summary.quarantined) == (0, True, [], 0)
    assert query(tmp_path / "t.duckdb", "SELECT count(*) FROM documents.workflow_runs") == [(12,)]
    assert len(packages) > 2
    for table, rows in summary.rows.items():
        assert sum(package.rows.get(table, 0) for package in packages) == rows
    assert packages[-1].watermark == summary.watermark == max(package.watermark for package in packages)
    assert packages[-1].summary.fetched == summary.fetched
    loads = query(tmp_path / "t.duckdb", "SELECT load_id FROM documents._dlt_loads ORDER BY load_id")
    assert [(package.load_id,) for package in packages] == loads
    told = [record for record in caplog.records if hasattr(record, "load_id")]
    assert [(r.levelname, r.name, vars(r)["rows"]) for r in told] == [
        ("INFO", "docruns", package.rows) for package in packages
    ]
    found = docruns.verify("extend", **place, deep=1, seed=1)
    assert (found.exit_code, found.differs, found.sampled) == (0, False, 1)
    assert docruns.sweep("extend", **place).exit_code == 0


def test_window_and_an_error_of_the_callback(few_runs: Sandbox) -> None:
    """A window takes dates and datetimes. An error of `on_package` ends the load, and what is committed stays."""

    def fail(package: Any) -> None:
        raise ZeroDivisionError

    options: dict[str, Any] = {"base_url": few_runs.extend_url, "chunk_runs": 3}
    with pytest.raises(ZeroDivisionError):
        docruns.load("extend", **options, on_package=fail, until=datetime(2030, 1, 1, tzinfo=UTC))
    rest = docruns.load("extend", **options)
    assert rest.complete and 0 < rest.fetched < rest.listed
    assert docruns.load("extend", **options, database="w.duckdb", since=date(2030, 1, 1)).fetched == 0


def test_wrong_settings() -> None:
    """A wrong keyword, platform or value names itself and is no reason to try again."""
    for provider, settings, message in (
        ("extend", {"api_kye": "x"}, "api_kye: is no setting. Did you mean api_key?"),
        ("extend", {"databse": "x"}, "databse: is no setting. Did you mean database?"),
        ("extends", {}, "provider: extends is no platform. Did you mean extend?"),
        ("extend", {}, "sources.extend.api_key: is not set."),
        ("extend", {"dataset": "My Data"}, "--dataset: 'My Data' is not a plain schema name"),
        ("plextera", {"api_version": "v2"}, "--api-version: Plextera's API has one version"),
        ("extend", {"api_key": "k", "destination": "nowhere"}, "--destination: nowhere is not a destination"),
    ):
        with pytest.raises(ConfigError) as caught:
            docruns.load(provider, **settings)  # type: ignore[arg-type]
        assert str(caught.value).startswith(message)
        assert (caught.value.exit_code, caught.value.retryable) == (2, False)


def test_which_errors_a_retry_may_help(few_runs: Sandbox, impatient: None, tmp_path: Path) -> None:
    """A held dataset and a silent platform may be better later; a refused key is not."""
    with (
        exclusive(Target("extend", tmp_path / "held.duckdb"), "docruns load extend"),
        pytest.raises(LockedError) as held,
    ):
        docruns.load("extend", database="held.duckdb", base_url=few_runs.extend_url)
    assert (held.value.retryable, held.value.exit_code) == (True, 1)
    few_runs.fault("status", status=401)
    with pytest.raises(RefusedError) as refused:
        docruns.load("extend", database="r.duckdb", base_url=few_runs.extend_url)
    few_runs.clear_faults()
    assert (refused.value.retryable, refused.value.exit_code) == (False, 4)
    few_runs.fault("status", status=429, retry_after=3600)
    with pytest.raises(BusyError) as busy:
        docruns.load("extend", database="b.duckdb", base_url=few_runs.extend_url)
    few_runs.clear_faults()
    assert (busy.value.retryable, busy.value.exit_code) == (True, 1)
    with pytest.raises(UnreachableError) as silent:
        docruns.load("extend", database="s.duckdb", base_url="http://127.0.0.1:9")
    assert (silent.value.retryable, silent.value.exit_code) == (True, 1)


class OperationalError(Exception):
    """Has the name that every driver of a database server gives to this error, and the module of one."""

    __module__ = "psycopg2.errors"

    def __init__(self, text: str, code: str | None) -> None:
        super().__init__(text)
        self.pgcode = code


@pytest.mark.parametrize(
    ("text", "code", "retryable"),
    [
        ("connection refused", None, True),
        ("the database system is shutting down", "57P03", True),
        ("too many connections", "53300", True),
        ("could not extend file: No space left on device", "53100", False),
        ("password authentication failed", "28P01", False),
        ('FATAL: password authentication failed for user "loader"', None, False),
        ('FATAL: database "documents" does not exist', None, False),
    ],
)
def test_errors_of_a_database_server(text: str, code: str | None, retryable: bool) -> None:
    """A server that is away may come back; a wrong password, a missing database and a full disk stay."""
    with pytest.raises(DocrunsError) as caught, translate_errors("postgres"):
        raise OperationalError(text, code)
    assert caught.value.retryable is retryable


def test_a_full_disk_is_for_a_person() -> None:
    """Nothing frees space by itself, and each try would fetch the same runs again."""
    assert not no_space_error("t.duckdb", "No space left on device").retryable


def load_into(name: str, url: str) -> tuple[int, int]:
    """Exit code and number of fetched runs of a load into a database of its own."""
    summary = docruns.load("extend", database=f"{name}.duckdb", base_url=url)
    return summary.exit_code, summary.fetched


def test_threads_loops_and_forks(few_runs: Sandbox) -> None:
    """Two loads run at once in threads, beside a running event loop, and one in a forked process after them."""

    async def at_once() -> list[tuple[int, int]]:
        names = ("a", "b")
        return await asyncio.gather(*(asyncio.to_thread(load_into, n, few_runs.extend_url) for n in names))

    first, second = asyncio.run(at_once())
    assert first == second and first[0] == 0 and first[1] > 0
    assert not [name for name in os.environ if name.startswith("LOAD__RAISE")]
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply_async(load_into, ("c", few_runs.extend_url)).get(60) == first

    async def inside() -> tuple[int, int]:
        return load_into("a", few_runs.extend_url)

    assert asyncio.run(inside()) == (0, 0)


def test_one_source_of_defaults() -> None:
    """A call has the options of its command, with the same defaults."""
    calls = (docruns.load, docruns.verify, docruns.sweep, docruns.copy, docruns.report)
    commands = (app.load, app.verify, app.sweep, warehouse.copy, answers.report)
    for call, command in zip(calls, commands, strict=True):
        ours, theirs = inspect.signature(call).parameters, inspect.signature(command).parameters
        only_printed = {"as_json", "log_format", "base_url", "api_version"}
        only_called = {"settings", "on_package", "on_progress"}
        assert set(theirs) - only_printed == set(ours) - only_called
        for name in set(ours) & set(theirs):
            assert str(ours[name].default) == str(theirs[name].default), (call, name)


def test_import_is_light() -> None:
    """`import docruns` and the names of its errors load neither dlt nor pyarrow nor httpx."""
    code = (
        "import sys, docruns; docruns.DocrunsError; dir(docruns); "
        "print([m for m in ('dlt', 'pyarrow', 'httpx', 'duckdb') if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def test_json_log(children: Children, few_runs: Sandbox, tmp_path: Path) -> None:
    """With `--log-format json` each line of stderr is an object: lists, packages, and the error that ends a command."""
    few_runs.fault("no_id", path="/workflow_runs/*", method="GET")
    ended = children.run(
        tmp_path, "load", "extend", "--base-url", few_runs.extend_url, "--log-format", "json", "--json"
    )
    few_runs.clear_faults()
    lines = [json.loads(line) for line in ended.err.splitlines()]
    (bad,) = [line for line in lines if "run_id" in line]
    assert (ended.code, bad["level"], bad["provider"]) == (3, "warning", "extend")
    (package,) = [line for line in lines if "load_id" in line]
    assert package["provider"] == "extend" and package["rows"]["workflow_runs"] == 11
    assert package["watermark"] == json.loads(ended.out)["watermark"]
    assert any(line.get("stage") == "listed" and line["list"] == "workflow_runs" for line in lines)
    failed = children.run(tmp_path, "verify", "extend", "--database", "none.duckdb", "--log-format", "json")
    error = json.loads(failed.err.splitlines()[-1])
    assert (error["level"], error["exit_code"], error["retryable"], failed.code) == ("error", 2, False, 2)
