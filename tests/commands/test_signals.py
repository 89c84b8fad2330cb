"""SIGTERM and SIGINT, by which a scheduler or a person ends a load."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from docruns.sandbox import Sandbox
from docruns.store.failures import translate_errors
from proofs.children import Children, Ended
from support.loading import query
from support.processes import HOLD_FILE, another
from support.truth import spooled, wrong

Load = Callable[..., Ended]

GRACE_S = 8.0
"""Seconds in which a load must end, also on a busy machine."""

CODES = {"TERM": 143, "INT": 130, "HUP": 129}


def check_end(ended: Ended, sent: str, folder: Path) -> None:
    """The exit code and the last line name the signal, and no working files are left."""
    assert ended.code == CODES[sent], ended.err
    lines = [line for line in ended.err.splitlines() if not line.endswith("listed")]
    assert lines[-1] == f"docruns: stopped by SIG{sent}. Committed runs stay; the next load continues there."
    assert "Traceback" not in ended.err
    assert spooled(folder) == []


@pytest.mark.fault(8)
@pytest.mark.parametrize("sent", CODES)
def test_a_load_that_waits_for_an_answer(
    children: Children, docruns_load: Load, few_runs: Sandbox, loaded: Path, sent: str
) -> None:
    """A load that waits for an answer ends at once, and the next load makes the database equal to the
    platform."""
    few_runs.extend.review(8)
    few_runs.fault("hang", "/workflow_runs/*", seconds=60, after=4)
    command = ("load", "extend", "--base-url", few_runs.extend_url)
    child = children.start(loaded.parent, *command)
    until = time.monotonic() + 60
    while not few_runs.stats.faults.get("hang") and time.monotonic() < until:
        time.sleep(0.01)
    at = time.monotonic()
    child.send(signal.Signals[f"SIG{sent}"])
    check_end(child.wait(), sent, loaded.parent)
    assert time.monotonic() - at < GRACE_S
    few_runs.clear_faults()
    assert docruns_load().code == 0
    assert wrong(loaded, few_runs) == {}


@pytest.mark.fault(8)
@pytest.mark.parametrize("sent", CODES)
def test_a_load_that_merges(docruns_load: Load, few_runs: Sandbox, loaded: Path, sent: str) -> None:
    """A load that merges starts no further package, and the next load makes the database equal to the
    platform."""
    few_runs.extend.review(8)
    few_runs.set(latency=0.2)
    packages = query(loaded, "SELECT count(*) FROM extend.syncs")[0][0]
    chunks = {"SOURCES__EXTEND__CHUNK_RUNS": "1", "SOURCES__EXTEND__CONCURRENCY": "1"}
    ended = docruns_load(environment=chunks, point="l8 some tables merged", signal=sent)
    few_runs.set(latency=0.0)
    check_end(ended, sent, loaded.parent)
    assert query(loaded, "SELECT count(*) FROM extend.syncs")[0][0] <= packages + 1
    assert docruns_load().code == 0
    assert wrong(loaded, few_runs) == {}


@pytest.mark.fault(8)
def test_a_load_that_waits_for_a_database(children: Children, few_runs: Sandbox, loaded: Path) -> None:
    """A signal ends a load that waits for another process to close the database, and no request is sent."""
    with another(HOLD_FILE, str(loaded)):
        command = ("load", "extend", "--base-url", few_runs.extend_url)
        child = children.start(loaded.parent, *command)
        time.sleep(1.0)
        child.send(signal.SIGTERM)
        check_end(child.wait(), "TERM", loaded.parent)
    assert few_runs.stats.requests == 0


@pytest.mark.fault(8)
def test_a_command_that_does_not_load(children: Children, few_runs: Sandbox, tmp_path: Path) -> None:
    """Nothing is said of committed runs, as there are none."""
    few_runs.fault("hang", "/*", seconds=60)
    child = children.start(tmp_path, "check", "extend", "--base-url", few_runs.extend_url)
    until = time.monotonic() + 60
    while not few_runs.stats.faults.get("hang") and time.monotonic() < until:
        time.sleep(0.01)
    child.send(signal.SIGTERM)
    ended = child.wait()
    few_runs.clear_faults()
    assert (ended.code, ended.err) == (CODES["TERM"], "docruns: stopped by SIGTERM.\n")


@pytest.mark.fault(8)
def test_a_query_that_is_interrupted(few_runs: Sandbox, loaded: Path) -> None:
    """DuckDB raises an error of its own for a signal in the middle of a query: it is raised as the
    interrupt."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    sql = "SELECT count(*) FROM range(3_000_000_000) WHERE hash(range) = 1"
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    try:
        with (
            pytest.raises(KeyboardInterrupt),
            translate_errors(loaded),
            duckdb.connect(str(loaded), read_only=True) as connection,
        ):
            connection.execute(sql).fetchall()
    finally:
        signal.signal(signal.SIGALRM, before)


SWALLOWED = """
import os, signal, sys, time
from docruns.commands import load
class Doomed:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0)
def slowly(*arguments):
    doomed = Doomed()
    del doomed
    time.sleep(60)
load.load_package = slowly
from docruns.commands.cli.main import run
run()
"""


@pytest.mark.fault(8)
def test_a_signal_while_something_is_destroyed(few_runs: Sandbox, loaded: Path) -> None:
    """A destructor cannot raise: the signal is sent again, and stderr does not show the ignored exception."""
    command = [sys.executable, "-c", SWALLOWED, "load", "extend"]
    at = time.monotonic()
    done = subprocess.run(
        [*command, "--base-url", few_runs.extend_url],
        cwd=loaded.parent, check=False, capture_output=True, text=True, timeout=50,
    )  # fmt: skip
    assert time.monotonic() - at < GRACE_S + 5
    assert done.returncode == 143
    assert "Exception ignored" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("docruns: stopped by SIGTERM. Committed runs stay")
