"""Prefetching: requests use the budget while dlt loads, and no request is sent twice."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from test_sync import fetched, held, truth

from docruns.commands import load
from docruns.core.errors import RefusedError
from docruns.sandbox import Sandbox
from docruns.store import pipeline
from support.loading import Loader, query, settled


def test_requests_go_on_while_a_package_is_loaded(
    load_extend: Loader, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a package is loaded, a third of the next one is fetched, and no more."""
    sandbox.set(latency=0.05)
    seen: list[int] = []
    commit = pipeline.load_package

    def slow(running: Any, source: Any, target: Any) -> None:
        commit(running, source, target)
        seen.append(settled(lambda: fetched(sandbox)))

    monkeypatch.setattr(load, "load_package", slow)
    load_extend(tmp_path / "a.duckdb", chunk_runs=12)
    # forty workflow runs in packages of twelve; sixteen were requested when the last one was loaded
    assert seen[:3] == [27, 39, 40]
    assert fetched(sandbox) == 40
    rows = query(tmp_path / "a.duckdb", "SELECT fetched FROM extend.syncs ORDER BY load_id")
    assert [count for (count,) in rows[:3]] == [12, 12, 12]
    assert held(tmp_path / "a.duckdb") == truth(sandbox)


def test_the_next_list_is_begun_while_a_package_is_loaded(
    load_extend: Loader, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Separate processor runs are fetched once all workflow runs are done, one list at a time."""
    seen: list[tuple[int, int]] = []
    commit = pipeline.load_package

    def counted(running: Any, source: Any, target: Any) -> None:
        commit(running, source, target)
        settled(lambda: sum(sandbox.stats.routes.values()))
        runs = {route: n for route, n in sandbox.stats.routes.items() if route.endswith("_runs/{id}")}
        workflows = runs.pop("GET /workflow_runs/{id}", 0)
        seen.append((workflows, len(runs)))

    monkeypatch.setattr(load, "load_package", counted)
    load_extend(tmp_path / "n.duckdb", chunk_runs=20)
    # of the workflow runs that are left nobody knows yet what they bring
    assert (seen[0][1], seen[1]) == (0, (40, 1))
    assert held(tmp_path / "n.duckdb") == truth(sandbox)


def test_a_limit_is_kept_ahead_of_time(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """`max_runs` limits requests, not only loaded runs."""
    sandbox.set(latency=0.02)
    summary, _ = load_extend(tmp_path / "m.duckdb", chunk_runs=10, max_runs=25)
    assert (summary.fetched, fetched(sandbox)) == (25, 25)
    load_extend(tmp_path / "m.duckdb", chunk_runs=10)
    assert fetched(sandbox) == 40
    assert held(tmp_path / "m.duckdb") == truth(sandbox)


def test_a_refusal_ahead_loses_nothing(
    load_extend: Loader, sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that is revoked while a package is loaded stops the next package.

    Loaded rows are kept.
    """
    commit, before = pipeline.load_package, set(threading.enumerate())

    def refused(running: Any, source: Any, target: Any) -> None:
        commit(running, source, target)
        sandbox.fault("status", "/workflow_runs/*", status=401)

    with monkeypatch.context() as patch:
        patch.setattr(load, "load_package", refused)
        with pytest.raises(RefusedError):
            load_extend(tmp_path / "r.duckdb", chunk_runs=12)
    begun = set(threading.enumerate()) - before
    assert not [thread for thread in begun if thread.name == "docruns-http"]
    sandbox.clear_faults()
    assert 12 <= len(held(tmp_path / "r.duckdb")) < 40
    load_extend(tmp_path / "r.duckdb")
    assert held(tmp_path / "r.duckdb") == truth(sandbox)
