"""Other users of the database: readers that stay, readers that poll, a window after a killed load."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest

from docruns.core.errors import LockedError
from docruns.sandbox import Sandbox
from docruns.store.duckdb.file import open_database
from proofs.children import Children
from support.loading import STATE, Loader, query
from support.processes import another
from support.truth import wrong

HELD_S = 2.5
"""Longer than the time after which a load reports that it waits."""

HOLD = """
import duckdb, sys
connection = duckdb.connect(sys.argv[1], read_only=sys.argv[2] == "read")
print("held", flush=True)
sys.stdin.read()
"""

# opens the database every 10 ms and prints how often that worked and which states it read
POLL = """
import json, sys, threading, time
import duckdb
path, sql = sys.argv[1:]
seen, reads, refused = [], 0, 0
print("held", flush=True)
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
while not ended.wait(0.01):
    try:
        with duckdb.connect(path, read_only=True) as connection:
            state = connection.execute(sql).fetchall()
    except duckdb.IOException:
        refused += 1
        continue
    reads += 1
    if not seen or seen[-1] != state:
        seen.append(state)
print(json.dumps([reads, refused, seen]), flush=True)
"""


@pytest.mark.fault(10)
@pytest.mark.parametrize("how", ["read", "write"])
def test_a_load_waits_for_a_reader(load_extend: Loader, few_runs: Sandbox, loaded: Path, how: str) -> None:
    """While another process has the database open, a load waits; it continues afterwards and misses
    nothing."""
    few_runs.extend.add(2)
    with another(HOLD, str(loaded), how) as reader:
        assert reader.stdin is not None
        timer = threading.Timer(HELD_S, reader.stdin.close)
        timer.start()
        started = time.monotonic()
        load_extend(loaded, base_url=few_runs.extend_url)
        assert time.monotonic() - started >= HELD_S
        timer.join()
    assert wrong(loaded, few_runs) == {}


def test_another_connection_of_this_process(load_extend: Loader, few_runs: Sandbox, loaded: Path) -> None:
    """While a notebook has an open transaction, a load works: DuckDB then moves nothing from the log to the
    file, and says so."""
    few_runs.extend.add(2)
    with duckdb.connect(str(loaded)) as notebook:
        notebook.execute("BEGIN; CREATE TABLE mine (a INTEGER)")
        load_extend(loaded, base_url=few_runs.extend_url, chunk_runs=1)
        notebook.execute("COMMIT")
    assert wrong(loaded, few_runs) == {}
    assert query(loaded, "SELECT count(*) FROM mine") == [(0,)]


@pytest.mark.fault(11)
@pytest.mark.parametrize("how", ["read", "write"])
def test_a_reader_that_stays(
    load_extend: Loader,
    few_runs: Sandbox,
    loaded: Path,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    """After the waiting limit the load ends with the process that has the database open, and has sent no
    request."""
    assert open_database.__kwdefaults__["wait_s"] == 30
    monkeypatch.setitem(open_database.__kwdefaults__, "wait_s", 0.5)
    with another(HOLD, str(loaded), how) as reader:
        with pytest.raises(LockedError, match=rf"docruns\.duckdb: another .*PID {reader.pid}"):
            load_extend(loaded, base_url=few_runs.extend_url)
        assert few_runs.stats.requests == 0
    few_runs.extend.add(1)
    load_extend(loaded, base_url=few_runs.extend_url)
    assert wrong(loaded, few_runs) == {}


@pytest.mark.fault(12)
def test_a_reader_that_polls(load_extend: Loader, few_runs: Sandbox, loaded: Path) -> None:
    """While a process opens the database every 10 ms, all loads succeed and it reads only the results of
    complete loads."""
    versions = [query(loaded, STATE)]
    with another(POLL, str(loaded), STATE) as reader:
        for _ in range(3):
            few_runs.extend.review(4)
            summary, _ = load_extend(loaded, base_url=few_runs.extend_url)
            assert summary.complete
            time.sleep(0.3)
            versions.append(_polled(loaded))
        assert reader.stdin is not None
        assert reader.stdout is not None
        reader.stdin.close()
        reads, refused, seen = json.loads(reader.stdout.readline())
    whole = [json.loads(json.dumps(version)) for version in versions]
    assert [state for state in seen if state not in whole] == []
    assert reads > 10
    assert refused > 10
    assert wrong(loaded, few_runs) == {}


def _polled(database: Path) -> list[tuple[Any, ...]]:
    """The state of a database that other processes read as well."""
    with open_database(database, read_only=True) as connection:
        return connection.execute(STATE).fetchall()


@pytest.mark.fault(14)
def test_a_window_after_a_killed_load(docruns_load: Any, few_runs: Sandbox, loaded: Path) -> None:
    """A load of a window after a killed load loses no run and fetches none without need."""
    assert docruns_load().code == 0
    changed = few_runs.extend.review(30)
    few_runs.stats.reset()
    chunks = {"SOURCES__EXTEND__CHUNK_RUNS": "3"}
    assert docruns_load(environment=chunks, point="l8 some tables merged").code == -9
    assert docruns_load("--since", "2026-09-25").code == 0
    assert docruns_load().code == 0
    assert wrong(loaded, few_runs) == {}
    # the killed chunk and the requests in flight, once more
    assert few_runs.stats.routes["GET /workflow_runs/{id}"] <= len(changed) + 3 + 16
    few_runs.stats.reset()
    assert docruns_load().code == 0
    assert few_runs.stats.details == 0


@pytest.mark.fault(6)
def test_a_torn_run_that_goes_away(
    docruns_load: Any, children: Children, few_runs: Sandbox, loaded: Path
) -> None:
    """A run that a kill left half-loaded and that the platform has deleted since counts as deleted, not as
    half-loaded."""
    (gone,) = few_runs.extend.add(1)
    assert docruns_load().code == 0
    with duckdb.connect(str(loaded)) as connection:
        connection.execute("UPDATE extend.workflow_runs SET _dlt_load_id = 'k' WHERE id = ?", [gone])
    assert wrong(loaded, few_runs) == {"half-loaded packages": 1}
    few_runs.extend.delete(gone)
    assert docruns_load().code == 0
    sweep = ("sweep", "extend", "--base-url", few_runs.extend_url)
    assert children.run(loaded.parent, *sweep).code == 0
    assert "half-loaded packages" not in wrong(loaded, few_runs)
