"""A push sends names and metadata that differ, each once, also when it is killed or requests fail."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import dlt
import duckdb
import httpx
import pyarrow as pa
import pytest
from dlt.pipeline.exceptions import PipelineStepFailed
from extend_ai import Extend
from hypothesis import given
from hypothesis import strategies as st

from docruns import extend_workflow_runs
from docruns.commands.cli import main
from docruns.commands.load import Summary, load_runs
from docruns.commands.push import push as module
from docruns.commands.push import report
from docruns.commands.push.journal import Journal, read_records
from docruns.commands.push.push import PushResult, push_rows
from docruns.commands.reconcile.verify import verify_runs
from docruns.core.codec import Number, number_text
from docruns.core.errors import (
    BusyError,
    ConfigError,
    LockedError,
    RefusedError,
    RowsError,
    ServerError,
)
from docruns.net import messages
from docruns.providers import changes
from docruns.providers.extend import connect_extend, updates
from docruns.providers.spelling import is_spelling
from docruns.sandbox import Sandbox
from docruns.store.target import Target, exclusive
from docruns.sync.lists import Platform
from proofs.children import Children
from support.loading import query

VERSIONS = ("2026-02-09", "2025-04-21", "2024-12-23", "v1")
SMALL: Any = {"runs": 25, "seed": 5, "standalone": 0, "plextera_runs": 0}
LARGE: Any = {**SMALL, "runs": 1000, "document_size": "light"}

Rows = list[dict[str, Any]]
Place = tuple[Sandbox, Path]


def connect(sandbox: Sandbox, **options: Any) -> Platform:
    """Extend, served by the sandbox."""
    return connect_extend(base_url=sandbox.extend_url, **options)


def push(place: Place, source: str | Rows, *, dry_run: bool = False, **options: Any) -> PushResult:
    """Push; keyword arguments go to `connect_extend`."""
    sandbox, database = place
    platform = connect(sandbox, **options)
    return push_rows(platform, Target("extend", database), source, dry_run=dry_run)


def load(place: Place, **options: Any) -> Summary:
    """Load the runs that are due."""
    sandbox, database = place
    return load_runs(connect(sandbox, **options), Target("extend", database))


def truth(sandbox: Sandbox) -> dict[str, dict[str, Any]]:
    """The platform's workflow runs by id, in the order of their ids."""
    runs = {run["id"]: run for run in sandbox.extend.truth() if run["resource"] == "workflow_runs"}
    return dict(sorted(runs.items()))


def rows_of(database: Path, columns: str = "id, outcome") -> list[tuple[Any, ...]]:
    """The rows of `pushes`, in the order of the pushed rows."""
    return query(database, f"SELECT {columns} FROM extend.pushes ORDER BY done_at, source_row")


def journals() -> list[Path]:
    """The journals of this test's pushes."""
    return list((Path(os.environ["DLT_DATA_DIR"]) / "docruns").glob("*.push"))


def calls(sandbox: Sandbox) -> int:
    """Number of updates that the platform received, answered or not."""
    return sandbox.stats.routes.get("POST /workflow_runs/{id}", 0)


def confirmed(sandbox: Sandbox) -> dict[str, int]:
    """Number of updates that the platform answered in full, by path."""
    return sandbox.stats.updates


def check_agreement(place: Place, **options: Any) -> None:
    """The database equals the platform, and a load fetches no run."""
    sandbox, database = place
    found = verify_runs(connect(sandbox, **options), Target("extend", database), deep=10_000, seed=1)
    assert [str(one) for kind in found.kinds.values() for one in kind] == []
    sandbox.stats.reset()
    load(place, **options)
    assert sandbox.stats.details == 0


@contextmanager
def make_place(runs: Mapping[str, Any], folder: Path) -> Iterator[Place]:
    """A platform whose runs all have the metadata `checked: false`, and the path of a database."""
    with Sandbox(**runs) as sandbox:
        for id_ in truth(sandbox):
            sandbox.extend.rename(id_, metadata={"checked": False})
        yield sandbox, folder / "d.duckdb"


@contextmanager
def first_load(runs: Mapping[str, Any], factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The database of a loaded platform. Equal seeds give equal runs."""
    folder = factory.mktemp("loaded")
    with make_place(runs, folder) as place, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
        patch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
        load(place)
    yield folder / "d.duckdb"


@pytest.fixture(scope="module")
def small_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The database of 25 runs."""
    with first_load(SMALL, tmp_path_factory) as database:
        yield database


@pytest.fixture(scope="module")
def large_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The database of 1,000 runs."""
    with first_load(LARGE, tmp_path_factory) as database:
        yield database


@pytest.fixture
def place(small_database: Path, tmp_path: Path) -> Iterator[Place]:
    """A platform with 25 runs that has not changed since the load, and a copy of its database."""
    shutil.copy(small_database, tmp_path / "d.duckdb")
    with make_place(SMALL, tmp_path) as place:
        place[0].stats.reset()
        yield place


@pytest.fixture
def large(large_database: Path, tmp_path: Path) -> Iterator[Place]:
    """The same with 1,000 runs."""
    shutil.copy(large_database, tmp_path / "d.duckdb")
    with make_place(LARGE, tmp_path) as place:
        place[0].stats.reset()
        yield place


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the waits between retries short."""

    def patched(retry: Any) -> None:
        for name, value in {"attempts": 6, "first": 0.01, "cap": 0.05, "deadline": 20.0}.items():
            object.__setattr__(retry, name, value)

    monkeypatch.setattr(messages.Retry, "__init__", patched)


CHECKED = """
    SELECT id, row_number() OVER (ORDER BY id) <= 300 AS "metadata.checked" FROM extend.workflow_runs
"""
"""1,000 rows, of which 300 differ from what is loaded."""


def all_checked(place: Place) -> None:
    """300 runs are checked and 700 are not, on the platform and in the database."""
    sandbox, database = place
    counts = "SELECT metadata->>'checked', count(*) FROM extend.workflow_runs GROUP BY 1 ORDER BY 1"
    assert query(database, counts) == [("false", 700), ("true", 300)]
    on_platform = [run["metadata"]["checked"] for run in truth(sandbox).values()]
    assert on_platform == [True] * 300 + [False] * 700


def test_only_what_differs_is_sent(large: Place) -> None:
    """1,000 rows with 300 changes make 300 calls. The same push again makes none, and a load fetches no
    run."""
    sandbox, database = large
    first = push(large, CHECKED)
    assert (first.rows, first.changes, first.confirmed, first.unchanged) == (1000, 300, 300, 700)
    assert (calls(sandbox), sandbox.stats.details, sandbox.stats.lists) == (300, 300, 2)
    assert set(confirmed(sandbox).values()) == {1}
    all_checked(large)
    sandbox.stats.reset()
    # the query runs again, and all of its rows are unchanged now
    again = push(large, CHECKED)
    assert (again.changes, again.unchanged, again.requests) == (0, 1000, 1)
    assert (calls(sandbox), sandbox.stats.details) == (0, 0)
    assert again.push_id != first.push_id
    outcomes = "SELECT push_id, outcome, count(*) FROM extend.pushes GROUP BY ALL ORDER BY 1, 2"
    assert query(database, outcomes) == [
        (first.push_id, "confirmed", 300),
        (first.push_id, "unchanged", 700),
        (again.push_id, "unchanged", 1000),
    ]
    sandbox.stats.reset()
    assert load(large).fetched == 0
    assert sandbox.stats.details == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_push_killed_at_random_moments(large: Place, children: Children, tmp_path: Path, seed: int) -> None:
    """A push that is killed again and again stays one push: 300 calls in all, and no answered call twice."""
    sandbox, database = large
    sandbox.set(latency=0.03)
    dice = random.Random(seed)
    arguments = ("push", "extend", "--from", CHECKED, "--base-url", sandbox.extend_url,
                 "--database", str(database), "--json")  # fmt: skip
    # in the middle of sending at first, then anywhere: while runs are read again, or tables merged
    moments = sorted(dice.sample(range(5, 295), 3))
    for calls_by_then, sent in zip(moments, ("SIGKILL", "SIGTERM", "SIGKILL"), strict=True):
        child = children.start(tmp_path / "child", *arguments)
        until = time.monotonic() + 30
        while sum(confirmed(sandbox).values()) < calls_by_then and time.monotonic() < until:
            time.sleep(0.002)
        child.send(signal.Signals[sent])
        assert child.wait().code == (-9 if sent == "SIGKILL" else 143)
    sent_by_then = sum(confirmed(sandbox).values())
    assert moments[-1] <= sent_by_then < 300
    for _ in range(2):
        child = children.start(tmp_path / "child", *arguments)
        while sum(confirmed(sandbox).values()) < 300 and time.monotonic() < until + 30:
            time.sleep(0.002)
        time.sleep(dice.uniform(0.0, 1.0))
        # it may have ended by then
        with suppress(ProcessLookupError):
            child.send(signal.SIGKILL)
        child.wait()
    ended = children.run(tmp_path / "child", *arguments)
    assert ended.code == 0, ended.err
    assert set(confirmed(sandbox).values()) == {1}
    assert len(confirmed(sandbox)) == calls(sandbox) == 300
    all_checked(large)
    done = query(database, "SELECT count(*), count(DISTINCT push_id), count(read_at) "
                 "FROM extend.pushes WHERE outcome = 'confirmed'")  # fmt: skip
    assert done == [(300, 1, 300)]
    assert not list((tmp_path / "child" / "dlt").rglob("*.push"))
    sandbox.set(latency=0.0)
    assert load(large).fetched == 0


def test_a_tenth_of_the_answers_fails(large: Place, quick: None) -> None:
    """With 500s, resets, cut-off bodies and 429s a push ends in the same state, with one row a run in
    `pushes`."""
    sandbox, database = large
    # more than a few 429s, and the budget takes its time
    busy: dict[str, Any] = {"kind": "status", "status": 429, "retry_after": 0, "times": 2}
    faults: list[dict[str, Any]] = [
        {"kind": "status", "status": 500},
        {"kind": "reset"},
        {"kind": "short_body"},
        busy,
    ]
    for number, fault in enumerate(faults):
        # of what the ones before let through
        share = 0.03 / (1 - 0.03 * number)
        sandbox.fault(path="/workflow_runs/*", **{"times": None, "probability": share, **fault})
    found = push(large, CHECKED)
    assert (found.changes, found.confirmed, found.unchanged) == (300, 300, 700)
    assert sum(sandbox.stats.faults.values()) > 20
    assert found.retries >= 20
    sandbox.clear_faults()
    all_checked(large)
    assert query(database, "SELECT count(*) FROM extend.pushes WHERE outcome = 'confirmed'") == [(300,)]
    sandbox.stats.reset()
    assert push(large, CHECKED).changes == 0
    assert calls(sandbox) == 0


def test_the_official_client_reads_it_back(place: Place) -> None:
    """The vendor's own client reads the pushed values."""
    sandbox, _ = place
    id_ = next(iter(truth(sandbox)))
    rows = [{"id": id_, "name": "HP-1 – März", "metadata": {"n": 12.5, "deep": {"a": [1, None]}},
             "metadata.extend:usage_tags": ["finance", "q_1"]}]  # fmt: skip
    push(place, rows)
    with httpx.Client() as wire:
        client = Extend(token="sk_any", base_url=sandbox.extend_url, httpx_client=wire)
        found = client.workflow_runs.retrieve(id_).metadata
    assert found["n"] == 12.5
    assert found["deep"] == {"a": [1, None]}
    assert found["extend:usage_tags"] == ["finance", "q_1"]
    assert truth(sandbox)[id_]["name"] == "HP-1 – März"


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version(version: str, tmp_path: Path) -> None:
    """Every API version stores names and metadata. A name that the version does not return stays in
    `pushes`."""
    with make_place({**SMALL, "runs": 6}, tmp_path) as place:
        sandbox, database = place
        load(place, api_version=version)
        ids = list(truth(sandbox))
        rows: Rows = [{"id": id_, "name": f"N {id_}", "metadata": {"k": 1}} for id_ in ids[:3]]
        rows += [{"id": ids[3], "name": "only a name"}, {"id": ids[4], "metadata.checked": False}]
        before = query(database, "SELECT * EXCLUDE (_dlt_load_id) FROM extend.processor_runs ORDER BY id")
        found = push(place, rows, api_version=version)
        assert (found.confirmed, found.unchanged, found.read_again) == (4, 1, 4)
        assert truth(sandbox)[ids[3]]["name"] == "only a name"
        returned = version in ("2025-04-21", "2024-12-23")
        names = dict(query(database, "SELECT id, name FROM extend.workflow_runs"))
        assert names[ids[0]] == (f"N {ids[0]}" if returned else None)
        assert rows_of(database, "id, name")[-1] in {(r["id"], r["name"]) for r in rows if "name" in r}
        # processor runs keep their dates, which only lists return
        after = query(database, "SELECT * EXCLUDE (_dlt_load_id) FROM extend.processor_runs ORDER BY id")
        assert after == before
        check_agreement(place, api_version=version)
        sandbox.stats.reset()
        assert push(place, rows, api_version=version).changes == 0
        assert calls(sandbox) == 0
        # another name is a change, and so is the first name after it
        for name in ("second", "only a name"):
            found = push(place, [{"id": ids[3], "name": name}], api_version=version)
            assert found.confirmed == 1
        assert calls(sandbox) == 2


PROBLEMS: dict[str, tuple[list[Any], str]] = {
    "no id": ([{"name": "x"}], "row 1: has no id"),
    "empty id": ([{"id": "", "name": "x"}], "row 1: has no id"),
    "a number as id": ([{"id": 7, "name": "x"}], "row 1: the id 7 cannot be one"),
    "a folder as id": ([{"id": "..", "name": "x"}], "row 1: the id '..' cannot be one"),
    "empty row": ([{"id": "$0", "name": None}], "row 1 ($0): is empty: no name and no metadata"),
    "empty object": (
        [{"id": "$0", "metadata": {}}],
        "row 1 ($0): is empty: no name and no metadata",
    ),
    "one run twice": (
        [{"id": "$0", "name": "x"}, {"id": "$1", "name": "x"}, {"id": "$0", "name": "y"}],
        "row 3 ($0): row 1 is about the same run: one row for a run",
    ),
    "unknown run": (
        [{"id": "nobody", "name": "x"}],
        "row 1 (nobody): the platform has no such run",
    ),
    "empty name": ([{"id": "$0", "name": " "}], "row 1 ($0): the name is empty"),
    "no text as name": ([{"id": "$0", "name": 3}], "row 1 ($0): the name is no text: 3"),
    "no object": ([{"id": "$0", "metadata": "[1]"}], "row 1 ($0): the metadata is no JSON object"),
    "no JSON": ([{"id": "$0", "metadata": "{"}], "row 1 ($0): the metadata is no JSON object: "),
    "a key twice": (
        [{"id": "$0", "metadata": '{"a": 1, "a": 2}'}],
        "row 1 ($0): the metadata is no JSON object: the key 'a' comes twice",
    ),
    "no JSON value": ([{"id": "$0", "metadata.k": b"x"}], "row 1 ($0): a bytes is no JSON value"),
    "not a number": (
        [{"id": "$0", "metadata.k": float("nan")}],
        "row 1 ($0): nan is no JSON number",
    ),
    "no finite decimal": (
        [{"id": "$0", "metadata.k": Decimal("Infinity")}],
        "row 1 ($0): Infinity is no JSON number",
    ),
    "a key that is no text": ([{"id": "$0", "metadata.k": {1: 2}}], "row 1 ($0): 1 is no key"),
    "half a character": ([{"id": "$0", "name": "\ud800"}], "row 1 ($0): holds half a character"),
    "too deep": (
        [{"id": "$0", "metadata": '{"k": ' + "[" * 5000 + "]" * 5000 + "}"}],
        "row 1 ($0): the metadata is ",
    ),
    "too large": (
        [{"id": "$0", "metadata.k": "x" * 9990}],
        "row 1 ($0): the run's metadata would have 10,0",
    ),
    "odd tag": (
        [{"id": "$0", "metadata.extend:usage_tags": ["fin ance"]}],
        "row 1 ($0): extend:usage_tags: in 'fin ance' the platform would strip all but",
    ),
    "tags that are no list": (
        [{"id": "$0", "metadata": '{"extend:usage_tags": "finance"}'}],
        "row 1 ($0): extend:usage_tags must be a list of texts",
    ),
    "tags that are no texts": (
        [{"id": "$0", "metadata": {"extend:usage_tags": [1]}}],
        "row 1 ($0): extend:usage_tags must be a list of texts",
    ),
    "two words for a key": (
        [{"id": "$0", "metadata": {"k": 1}, "metadata.k": 2}],
        "row 1 ($0): metadata.k and metadata differ about 'k'",
    ),
    "unknown column": (
        [{"id": "$0", "name": "x", "meta.k": 1}],
        "all rows: 'meta.k' is none of id, name, metadata and metadata.<key>",
    ),
    "another type": (
        [{"id": "$0", "metadata.k__v_text": "x"}],
        "all rows: 'metadata.k__v_text' holds values of another type than 'metadata.k'",
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_problems_of_rows_are_named(place: Place, name: str) -> None:
    """The error names each wrong row with its number and the reason, and nothing is sent."""
    sandbox, database = place
    ids = list(truth(sandbox))
    rows, message = json_like(PROBLEMS[name][0], ids), PROBLEMS[name][1].replace("$0", ids[0])
    with pytest.raises(RowsError) as caught:
        push(place, [*rows, {"id": ids[5], "metadata.checked": True}])
    assert [text for text in caught.value.problems if text.startswith(message)]
    assert caught.value.exit_code == 2
    assert calls(sandbox) == 0
    assert query(database, "SELECT count(*) FROM information_schema.tables WHERE table_name = 'pushes'") == [
        (0,)
    ]
    assert journals() == []


def json_like(rows: list[Any], ids: list[str]) -> Rows:
    """The rows with ids in place of $0, $1, …"""
    named = {f"${number}": id_ for number, id_ in enumerate(ids)}
    return [{key: named.get(cell, cell) if key == "id" and isinstance(cell, str) else cell
             for key, cell in row.items()} for row in rows]  # fmt: skip


def test_all_problems_come_together(place: Place) -> None:
    """One error names the problems of rows, of their runs and of both together, in the order of the rows."""
    sandbox, _ = place
    ids = list(truth(sandbox))
    rows: Rows = [
        {"id": ids[0], "metadata.checked": True},
        {"id": "nobody", "name": "x"},
        {"id": ids[1]},
        {"id": ids[2], "metadata.k": "x" * 10_000},
        {"id": ids[0], "name": "x"},
    ]
    with pytest.raises(RowsError) as caught:
        push(place, rows)
    assert [text.partition(":")[0] for text in caught.value.problems] == [
        "row 2 (nobody)",
        f"row 3 ({ids[1]})",
        f"row 4 ({ids[2]})",
        f"row 5 ({ids[0]})",
    ]
    assert str(caught.value).startswith("--from: 4 problems; nothing was sent:\n  row 2 (nobody): ")
    assert calls(sandbox) == 0


@pytest.mark.parametrize("moves", [False, True])
def test_updates_may_move_the_last_change(place: Place, moves: bool) -> None:
    """Whether or not updates move `updatedAt`, the database equals the platform, and the next load fetches no
    run."""
    sandbox, _ = place
    sandbox.extend.switch(update_moves=moves)
    # the dates of a child that still works, or failed, move along, and it is in no workflow run's
    # answer
    done = [id_ for id_, run in truth(sandbox).items() if run["status"] == "PROCESSED"]
    rows: Rows = [{"id": id_, "metadata.checked": True} for id_ in done]
    assert push(place, rows).confirmed == len(done) > 10
    check_agreement(place)
    sandbox.stats.reset()
    assert push(place, rows).changes == 0
    assert calls(sandbox) == sandbox.stats.details == 0


@pytest.mark.parametrize("takes", [True, False])
def test_finished_runs_may_refuse_updates(place: Place, takes: bool) -> None:
    """A refused run does not stop the push: all others are changed, and refused ones are counted and
    named."""
    sandbox, database = place
    sandbox.extend.switch(update_finished=takes)
    final = {"PROCESSED", "FAILED", "CANCELLED", "REJECTED"}
    runs = truth(sandbox)
    finished = {id_ for id_, run in runs.items() if run["status"] in final}
    assert 0 < len(finished) < len(runs)
    found = push(place, [{"id": id_, "metadata.checked": True} for id_ in runs])
    refused = set() if takes else finished
    assert (found.refused, found.confirmed) == (len(refused), len(runs) - len(refused))
    assert {id_ for id_, run in truth(sandbox).items() if not run["metadata"]["checked"]} == refused
    refusals = query(database, "SELECT id, reason, read_at FROM extend.pushes WHERE outcome = 'refused'")
    assert {id_ for id_, _, _ in refusals} == refused
    assert all("400" in reason and "finished" in reason and at is None for _, reason, at in refusals)
    check_agreement(place)


@pytest.mark.parametrize("merge", ["shallow", "deep"])
def test_metadata_may_merge_deep_or_shallow(place: Place, merge: str) -> None:
    """An object that the platform merges in its own way is sent once, and again after somebody changed it."""
    sandbox, database = place
    sandbox.extend.switch(merge=merge)
    id_ = next(iter(truth(sandbox)))
    sandbox.extend.rename(id_, metadata={"n": {"a": 1}})
    load(place, full=True)
    rows: Rows = [{"id": id_, "metadata": {"n": {"b": 2}, "x": 1}}]
    assert push(place, rows).confirmed == 1
    kept = {"shallow": {"b": 2}, "deep": {"a": 1, "b": 2}}[merge]
    assert truth(sandbox)[id_]["metadata"]["n"] == kept
    again = push(place, rows)
    assert (again.changes, again.unchanged, calls(sandbox)) == (0, 1, 1)
    reasons = [reason for (reason,) in rows_of(database, "reason")]
    if merge == "deep":
        assert reasons == ["the platform keeps it in its own way",
                           "was sent before, and the platform keeps it in its own way"]  # fmt: skip
    else:
        assert reasons == [None, "is so already"]
    sandbox.extend.rename(id_, metadata={"x": 2})
    load(place, full=True)
    assert push(place, rows).confirmed == 1
    assert truth(sandbox)[id_]["metadata"]["x"] == 1


def test_stale_and_unloaded_runs_are_fetched_first(tmp_path: Path) -> None:
    """A run is fetched before it is compared if it is not loaded, marked, quarantined, or changed since the
    load."""
    with make_place({**SMALL, "runs": 8}, tmp_path) as place:
        sandbox, database = place
        load(place)
        ids = list(truth(sandbox))
        (new,) = sandbox.extend.add(1)
        sandbox.extend.switch(update_moves=True)
        sandbox.extend.rename(ids[0], metadata={"checked": True})
        with duckdb.connect(str(database)) as connection:
            connection.execute("UPDATE extend.workflow_runs SET deleted_at = now() WHERE id = ?", [ids[1]])
        sandbox.stats.reset()
        rows: Rows = [{"id": id_, "metadata.checked": True} for id_ in (*ids[:3], new)]
        assert push(place, rows, dry_run=True).changes == 3
        # the loaded, unchanged run is not fetched
        assert sandbox.stats.details == 3
        found = push(place, rows)
        assert (found.confirmed, found.unchanged) == (3, 1)
        # a run that was not loaded is not loaded by a push
        assert query(database, "SELECT count(*) FROM extend.workflow_runs") == [(8,)]
        sandbox.extend.delete(ids[3])
        with pytest.raises(RowsError, match="no such run"):
            push(place, [{"id": ids[3], "metadata.k": 1}, {"id": "nobody", "metadata.k": 1}])
        # loaded and no longer listed: only the request for the run finds out
        found = push(place, [{"id": ids[3], "metadata.k": 1}])
        assert found.refused == 1
        assert "404" in rows_of(database, "reason")[-1][0]


def test_a_dry_run_changes_nothing(place: Place) -> None:
    """A dry run needs no lock and sends nothing. Its differences are those that a push would send."""
    sandbox, database = place
    ids = list(truth(sandbox))
    rows: Rows = [
        {"id": ids[0], "name": "HP-1", "metadata": {"checked": True, "n": 1.5}},
        {"id": ids[1], "metadata.checked": False},
    ]
    before = database.read_bytes()
    with exclusive(Target("extend", database), "docruns load extend"):
        found = push(place, rows, dry_run=True, api_version="2025-04-21")
    assert (found.rows, found.changes, found.unchanged, calls(sandbox)) == (2, 1, 1, 0)
    assert database.read_bytes() == before
    (change,) = found.differences
    line = json.loads(report.as_json_line(change))
    assert line["row"] == 1
    assert line["change"] == {"name": "HP-1", "metadata": {"checked": True, "n": 1.5}}
    assert line["before"]["metadata"] == {"checked": False}


@pytest.fixture
def docruns(
    place: Place, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., tuple[int, str, str]]]:
    """Runs `docruns push extend` in this process. Returns exit code, stdout and stderr."""
    sandbox, database = place
    mask = os.umask(0o022)

    def run(*arguments: str) -> tuple[int, str, str]:
        known = ("push", "extend", "--base-url", sandbox.extend_url, "--database", str(database))
        monkeypatch.setattr(sys, "argv", ["docruns", *known, *arguments])
        code = 0
        try:
            main.run()
        except SystemExit as end:
            code = int(end.code or 0)
        out, err = capfd.readouterr()
        return code, out, err

    yield run
    os.umask(mask)


TWO = """
    SELECT id, 'HP ' || row_number() OVER (ORDER BY id) AS name, true AS "metadata.checked"
    FROM extend.workflow_runs ORDER BY id LIMIT 2
"""


def test_the_command(place: Place, docruns: Any) -> None:
    """`push` prints counts or JSON. It exits with 3 for refused runs, 2 for wrong rows, 0 after a dry run."""
    sandbox, _ = place
    code, out, err = docruns("--from", TWO, "--dry-run")
    assert code == 0, err
    *lines, last = map(json.loads, out.splitlines())
    assert [line["row"] for line in lines] == [1, 2]
    assert lines[0]["before"] == {"name": None, "metadata": {"checked": False}}
    assert lines[0]["change"] == {"name": "HP 1", "metadata": {"checked": True}}
    assert (last["changes"], last["push_id"]) == (2, None)
    assert calls(sandbox) == 0
    code, out, err = docruns("--from", TWO)
    assert code == 0, err
    assert "extend: 2 of 2 runs changed, 0 already had these values" in out
    code, out, _ = docruns("--from", TWO, "--json")
    assert code == 0
    found = json.loads(out.splitlines()[-1])
    assert set(found) == {
        "push_id", "rows", "changes", "confirmed", "before", "unchanged", "refused", "unconfirmed",
        "read_again", "requests", "retries", "throttled_s", "seconds",
    }  # fmt: skip
    assert (found["rows"], found["changes"], found["unchanged"]) == (2, 0, 2)
    code, out, err = docruns("--from", "SELECT id FROM extend.workflow_runs LIMIT 1")
    assert (code, out) == (2, "")
    assert "row 1 (workflow_run_" in err
    assert "is empty" in err
    sandbox.extend.switch(update_finished=False)
    checked = "SELECT id, true AS \"metadata.checked\" FROM extend.workflow_runs WHERE status = 'PROCESSED'"
    code, out, _ = docruns("--from", checked)
    assert code == 3
    assert "were refused" in out
    assert docruns()[0] == 2


def test_push_is_for_extend_only(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Plextera's API cannot change runs: `push plextera` is wrong use, and the message names extend."""
    monkeypatch.setattr(sys, "argv", ["docruns", "push", "plextera", "--from", "x.csv"])
    with pytest.raises(SystemExit) as end:
        main.run()
    assert end.value.code == 2
    assert "extend" in capfd.readouterr().err


def test_differences_on_a_terminal(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a terminal old values are red and new ones green, and no control character is printed."""
    sandbox, _ = place
    id_ = next(iter(truth(sandbox)))
    rows: Rows = [
        {
            "id": id_,
            "name": "a\x1b[2Jb",
            "metadata": {"checked": True, "note": "x" * 99, "none": None},
        }
    ]
    found = push(place, rows, dry_run=True)
    found.rows = 1
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    report.show(found, "d.duckdb", dry_run=True, as_json=False)
    out = capsys.readouterr().out
    assert f"{id_} (row 1)" in out
    assert "\x1b[31mfalse\x1b[0m" in out
    assert "\x1b[32mtrue\x1b[0m" in out
    assert "a·[2Jb" in out
    assert "x" * 59 + "…" in out
    assert "\x1b[2J" not in out
    assert "1 of 1 runs would change, 0 already have these values; nothing was sent" in out


def test_files_and_queries_give_the_same_rows(place: Place, tmp_path: Path) -> None:
    """CSV, JSON lines, parquet and a file with a query give the same changes. Empty and null cells change
    nothing."""
    sandbox, _ = place
    one, two, three = list(truth(sandbox))[:3]
    (tmp_path / "a.csv").write_text(
        f'id,name,metadata,metadata.zip\n{one},"A, B","{{""n"": 1.50}}",00501\n{two},,,007\n',
        "utf-8-sig",
    )
    (tmp_path / "b.jsonl").write_text(
        f'{{"id": "{one}", "name": "A, B", "metadata": {{"n": 1.50}}, "metadata.zip": "00501"}}\n\n'
        f'{{"id": "{two}", "metadata": {{"zip": "007"}}}}\n'
    )
    rows = [
        {"id": one, "name": "A, B", "metadata": {"n": 1.5, "gone": None}, "metadata.zip": "00501"},
        {"id": two, "name": None, "metadata": {"n": None, "gone": None}, "metadata.zip": "007"},
    ]
    with duckdb.connect() as connection:
        connection.register("rows", pa.Table.from_pylist(rows))
        connection.execute(f"COPY rows TO '{tmp_path / 'c.parquet'}'")
    (tmp_path / "d.sql").write_text(
        f"SELECT '{one}' AS id, 'A, B' AS name, '{{\"n\": 1.5}}'::JSON AS metadata, "
        f"'\"00501\"'::JSON AS \"metadata.zip\" UNION ALL SELECT '{two}', NULL, NULL, '\"007\"';"
    )
    expected = [("name", "A, B"), ("n", "1.5"), ("zip", '"00501"'), ("zip", '"007"')]
    for name in ("a.csv", "b.jsonl", "c.parquet", "d.sql"):
        found = push(place, str(tmp_path / name), dry_run=True, api_version="2025-04-21")
        sent = [
            (key, number_text(value) if key != "name" else value)
            for change in found.differences
            for key, value in [("name", change.name), *sorted(change.metadata.items())]
            if value is not None
        ]
        assert [(k, v.replace("1.50", "1.5")) for k, v in sent] == expected, name
    assert push(place, str(tmp_path / "a.csv")).confirmed == 2
    for name in ("b.jsonl", "c.parquet", "d.sql"):
        assert push(place, str(tmp_path / name)).changes == 0, name
    # null in a struct changes nothing, null in JSON is a value
    found = push(place, [{"id": three, "metadata": '{"gone": null}'}])
    assert found.confirmed == 1
    assert truth(sandbox)[three]["metadata"]["gone"] is None


FILES = {
    "a.csv": ("id,name\nx,y,z\n", "a.csv, line 2: 3 cells for 2 columns"),
    "b.csv": ("id,id\nx,y\n", "has the column 'id' twice"),
    "c.csv": (b"id,name\nx,\xff\n", "c.csv: not UTF-8"),
    "d.csv": ('id,name\nx,"y', "d.csv"),
    "e.jsonl": ('{"id": "x"}\n{"id": \n', "e.jsonl, line 2: not JSON"),
    "f.jsonl": ("[1]\n", "f.jsonl, line 1: not a JSON object"),
    "g.parquet": ("PAR1", "g.parquet: not parquet"),
    "h.xlsx": ("x", "h.xlsx: unknown kind of file. Use one that ends in .csv, .jsonl"),
    "i.sql": ("", "is empty"),
}


@pytest.mark.parametrize("name", FILES)
def test_unreadable_files_are_named(place: Place, tmp_path: Path, name: str) -> None:
    """The error names the file, and the line if there is one. Nothing is sent."""
    content, message = FILES[name]
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    if name == "d.csv":
        # an open quote: the rest of the file is one cell
        with pytest.raises(RowsError, match="no such run"):
            push(place, str(path))
        return
    with pytest.raises(ConfigError) as caught:
        push(place, str(path))
    assert message in str(caught.value)
    assert caught.value.exit_code == 2
    assert calls(place[0]) == 0


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing.csv", "missing.csv does not exist"),
        (" ", "is empty"),
        ("SELECT nothing FROM nowhere", "is not a file, and as a query it fails: "),
        ("SELEC 1", "is not a file, and as a query it fails: "),
        ("DELETE FROM extend.workflow_runs", "must be one query (SELECT …), but is DELETE"),
        ("SELECT 1; DELETE FROM extend.workflow_runs", "SELECT and DELETE. Nothing was run"),
        ("WITH a AS (SELECT 1) UPDATE extend.workflow_runs SET name = 'x' RETURNING id", "UPDATE"),
        ("COPY (SELECT 1) TO 'out.csv'", "is COPY"),
        ("SELECT id, nextval('s') AS name FROM extend.workflow_runs", "it fails: "),
        ("SELECT id, id FROM extend.workflow_runs", "has the column 'id' twice"),
    ],
)  # fmt: skip
def test_a_query_only_reads(place: Place, source: str, message: str) -> None:
    """A query that writes, fails or is not one SELECT is refused, and no request is sent."""
    sandbox, database = place
    before = database.read_bytes()
    with pytest.raises(ConfigError) as caught:
        push(place, source)
    assert message in str(caught.value)
    assert database.read_bytes() == before
    assert not Path("out.csv").exists()
    assert sandbox.stats.requests == 0


def test_query_values_as_json(place: Place) -> None:
    """Numbers of any size keep their digits, times become RFC 3339 text, UUIDs text."""
    sandbox, _ = place
    id_ = next(iter(truth(sandbox)))
    sql = f"""
        SELECT '{id_}' AS id, 12.50::DECIMAL(10, 2) AS "metadata.amount", 1e300 AS "metadata.large",
               170141183460469231731687303715884105727 AS "metadata.huge", [1, NULL] AS "metadata.list",
               DATE '2026-05-18' AS "metadata.day", TIMESTAMPTZ '2026-05-18 08:30:00+02' AS "metadata.at",
               '0c71d5c1-b8a0-41c9-a6f0-d0e0a2b94f11'::UUID AS "metadata.uuid", 'x' AS "metadata.a b.c",
               {{'a': 1, 'b': NULL}} AS "metadata.struct", true AS "metadata.yes", 3 AS "metadata.whole"
    """
    (change,) = push(place, sql, dry_run=True).differences
    assert json.loads(change.body())["metadata"] == {
        "amount": 12.5, "large": 1e300, "huge": 2**127 - 1, "list": [1, None], "day": "2026-05-18",
        "at": "2026-05-18T06:30:00Z", "uuid": "0c71d5c1-b8a0-41c9-a6f0-d0e0a2b94f11", "a b.c": "x",
        "struct": {"a": 1}, "yes": True, "whole": 3,
    }  # fmt: skip
    assert b'"amount":12.50,' in change.body()
    assert (
        push(place, sql.replace("170141183460469231731687303715884105727", "9007199254740993")).confirmed == 1
    )
    assert (
        push(place, sql.replace("170141183460469231731687303715884105727", "9007199254740993")).changes == 0
    )


def test_push_needs_the_lock(place: Place) -> None:
    """While another process has locked the target, a push sends nothing."""
    sandbox, database = place
    target = Target("extend", database)
    with (
        exclusive(target, "docruns load extend"),
        pytest.raises(LockedError, match="docruns load extend"),
    ):
        push(place, TWO)
    assert sandbox.stats.requests == 0
    assert push(place, TWO).confirmed == 2


def test_without_a_database(tmp_path: Path) -> None:
    """A push without a database fails, names `docruns load` and creates no file."""
    with Sandbox(runs=1) as sandbox:
        with pytest.raises(ConfigError, match="docruns load"):
            push((sandbox, tmp_path / "none.duckdb"), TWO)
        assert not (tmp_path / "none.duckdb").exists()


def checked(place: Place) -> Rows:
    """A row for each run that checks it."""
    return [{"id": id_, "metadata.checked": True} for id_ in truth(place[0])]


@pytest.mark.parametrize(("status", "error"), [(401, RefusedError), (403, RefusedError)])
def test_a_refused_key_stops_at_once(place: Place, status: int, error: type[Exception]) -> None:
    """After a refused key nothing more is sent. `pushes` has the confirmed runs, and the next push continues
    this one."""
    sandbox, database = place
    sandbox.fault("status", "/workflow_runs/*", method="POST", status=status, after=5, times=None)
    with pytest.raises(error) as caught:
        push(place, checked(place))
    assert getattr(caught.value, "exit_code") == 4  # noqa: B009
    assert 5 < calls(sandbox) <= 5 + 2 * updates.LANES
    outcomes = [outcome for _, outcome in rows_of(database)]
    assert outcomes.count("confirmed") == 5
    assert len(journals()) == 1
    sandbox.clear_faults()
    sandbox.stats.reset()
    found = push(place, checked(place))
    assert (found.before, found.confirmed) == (5, 25)
    assert calls(sandbox) == 20
    assert query(database, "SELECT count(*), count(DISTINCT push_id) FROM extend.pushes "
                 "WHERE outcome = 'confirmed' AND read_at IS NOT NULL") == [(25, 1)]  # fmt: skip
    assert journals() == []
    check_agreement(place)


def test_no_answer_is_no_confirmation(place: Place, quick: None) -> None:
    """After a call without an answer the run is fetched again. If it lacks the change, the next push sends
    it."""
    sandbox, database = place
    done, undone = list(truth(sandbox))[:2]
    # the first is done each time, but its answer is lost; the second is not done
    sandbox.fault("reset", f"/workflow_runs/{done}", method="POST", times=None)
    sandbox.fault("status", f"/workflow_runs/{undone}", method="POST", status=500, times=None)
    found = push(place, checked(place))
    assert (found.confirmed, found.unconfirmed) == (24, 1)
    rows = {id_: (outcome, reason) for id_, outcome, reason in rows_of(database, "id, outcome, reason")}
    assert rows[done] == ("confirmed", "no answer came; the run, read again, has it")
    assert rows[undone][0] == "unconfirmed"
    assert "500" in rows[undone][1]
    sandbox.clear_faults()
    sandbox.stats.reset()
    assert push(place, checked(place)).confirmed == 1
    assert calls(sandbox) == 1
    check_agreement(place)


def test_a_broken_platform_ends_the_push(place: Place, quick: None) -> None:
    """Many failures in a row end the push, and the next push sends every change."""
    sandbox, database = place
    sandbox.fault("status", "/workflow_runs/*", method="POST", status=500, times=None)
    with pytest.raises(ServerError):
        push(place, checked(place))
    assert {outcome for _, outcome in rows_of(database)} == {"unconfirmed"}
    sandbox.clear_faults()
    sandbox.stats.reset()
    assert push(place, checked(place)).confirmed == 25
    assert calls(sandbox) == 25


def test_429_past_the_deadline(place: Place, quick: None) -> None:
    """A 429 past the deadline ends the push with BusyError."""
    sandbox, _ = place
    sandbox.fault("status", "/workflow_runs/*", method="POST", status=429, retry_after=3600, times=None)
    with pytest.raises(BusyError):
        push(place, checked(place))


def test_a_run_that_cannot_be_fetched(place: Place, quick: None) -> None:
    """A run that is not loaded and answers with errors is counted as refused, and all others are changed."""
    sandbox, database = place
    (new,) = sandbox.extend.add(1)
    sandbox.fault("status", f"/workflow_runs/{new}", method="GET", status=500, times=None)
    found = push(place, checked(place))
    assert (found.confirmed, found.refused) == (25, 1)
    reasons = [reason for id_, reason in rows_of(database, "id, reason") if id_ == new]
    assert reasons[0].startswith("not sent: the run cannot be read: ")
    sandbox.clear_faults()
    assert push(place, checked(place)).confirmed == 1


def test_another_push_settles_a_killed_one(place: Place) -> None:
    """A push with other rows first settles what a killed push sent, and gets its own push id."""
    sandbox, database = place
    sandbox.fault("status", "/workflow_runs/*", method="POST", status=401, after=7, times=None)
    with pytest.raises(RefusedError):
        push(place, checked(place))
    sandbox.clear_faults()
    sandbox.stats.reset()
    found = push(place, checked(place)[:20])
    assert found.before == 0
    assert found.confirmed + found.unchanged == 20
    total = sum(run["metadata"]["checked"] for run in truth(sandbox).values())
    assert calls(sandbox) == total - 7
    assert query(database, "SELECT count(DISTINCT push_id) FROM extend.pushes") == [(2,)]
    assert set(confirmed(sandbox).values()) == {1}


def killed_push(place: Place, sent: int) -> None:
    """A push of `checked: true` that ends after some answers, as if it had been killed: its journal stays."""
    place[0].fault("status", "/workflow_runs/*", method="POST", status=401, after=sent, times=None)
    with pytest.raises(RefusedError):
        push(place, checked(place))
    place[0].clear_faults()
    place[0].stats.reset()
    assert len(journals()) == 1


def test_a_journal_says_nothing_about_another_platform(place: Place, tmp_path: Path) -> None:
    """A killed push, then the file is loaded anew from another platform: that platform gets every change."""
    sandbox, database = place
    killed_push(place, 7)
    database.unlink()
    with make_place(SMALL, tmp_path) as other:
        load(other)
        found = push(other, checked(other))
        assert (found.before, found.confirmed, calls(other[0])) == (0, 25, 25)
        assert all(run["metadata"]["checked"] for run in truth(other[0]).values())
    # the first one's journal waits for a push to its platform
    assert len(journals()) == 1
    assert set(truth(sandbox)) == set(truth(other[0]))


def test_what_was_confirmed_before_a_kill_is_read_again(place: Place) -> None:
    """A change that was confirmed before a kill counts only if the run still has it, otherwise it is sent again."""
    sandbox, database = place
    killed_push(place, 7)
    done = [id_ for id_, run in truth(sandbox).items() if run["metadata"]["checked"]]
    for id_ in done[:3]:
        sandbox.extend.rename(id_, metadata={"checked": False})
    found = push(place, checked(place))
    assert (found.before, found.confirmed, calls(sandbox)) == (4, 25, 25 - 4)
    assert all(run["metadata"]["checked"] for run in truth(sandbox).values())
    assert {outcome for _, outcome in rows_of(database)} == {"confirmed"}
    check_agreement(place)


def test_a_database_from_before_the_push_proves_nothing(place: Place, tmp_path: Path) -> None:
    """A killed push, then the database is restored from a copy and the platform from a backup: all is sent."""
    sandbox, database = place
    shutil.copy(database, tmp_path / "copy.duckdb")
    with pytest.MonkeyPatch.context() as patch:
        # each answer is committed before the next one comes
        patch.setattr(module, "CHUNK_RUNS", 1)
        killed_push(place, 7)
    shutil.copy(tmp_path / "copy.duckdb", database)
    for id_ in truth(sandbox):
        sandbox.extend.rename(id_, metadata={"checked": False})
    found = push(place, checked(place))
    assert (found.before, found.confirmed, calls(sandbox)) == (0, 25, 25)
    assert all(run["metadata"]["checked"] for run in truth(sandbox).values())


@pytest.mark.parametrize("dry_run", [False, True])
def test_rows_of_another_platform_are_not_pushed(
    place: Place, dry_run: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runs of another platform are refused by name before any request: the stored rows say nothing of it."""
    monkeypatch.setattr("docruns.providers.extend.source.platform_of", lambda _: "api.extend.ai")
    with pytest.raises(ConfigError, match=r"this machine.*api\.extend\.ai.*--dataset"):
        push(place, checked(place), dry_run=dry_run)
    assert place[0].stats.requests == 0


UNAPPLIED = {"ignored": 25, "first_key": 25, "every_second": 12, "overwritten": 25}
"""Switches of the sandbox's `updates`, and how many of 25 updates a run then lacks."""


@pytest.mark.fault(54)
@pytest.mark.parametrize("updates", UNAPPLIED)
def test_an_update_that_is_answered_and_not_applied(place: Place, updates: str) -> None:
    """An answer 200 confirms nothing: a run that lacks the change when it is read again is unconfirmed, and the
    next push sends the change again."""
    sandbox, database = place
    rows: Rows = [{"id": id_, "metadata": {"checked": True, "ledger": 417}} for id_ in truth(sandbox)]
    sandbox.extend.switch(updates=updates)
    found = push(place, rows)
    lost = UNAPPLIED[updates]
    assert (found.confirmed, found.unconfirmed, calls(sandbox)) == (25 - lost, lost, 25)
    assert found.before == found.unchanged == found.refused == 0
    reasons = {
        reason for _, outcome, reason in rows_of(database, "id, outcome, reason") if outcome == "unconfirmed"
    }
    cells = "metadata.ledger" if updates == "first_key" else "metadata.checked, metadata.ledger"
    assert reasons == {f"it was answered, but the run, read again, does not have it: {cells}"}
    assert journals() == []
    sandbox.extend.switch(updates="kept")
    sandbox.stats.reset()
    again = push(place, rows)
    assert (again.confirmed, again.unconfirmed, calls(sandbox)) == (lost, 0, lost)
    kept = [(run["metadata"]["checked"], run["metadata"]["ledger"]) for run in truth(sandbox).values()]
    assert kept == [(True, 417)] * 25


def test_an_update_of_an_unloaded_run_is_read_again(place: Place) -> None:
    """A run that the database does not have is read again too."""
    sandbox, _ = place
    new = sandbox.extend.add(2)
    rows: Rows = [{"id": id_, "metadata.checked": True} for id_ in new]
    sandbox.extend.switch(updates="ignored")
    assert push(place, rows).unconfirmed == 2
    sandbox.extend.switch(updates="kept")
    assert push(place, rows).confirmed == 2
    assert push(place, rows).unchanged == 2


def test_an_update_that_is_respelled(place: Place) -> None:
    """A value that the platform spells otherwise is confirmed, and sent once."""
    sandbox, database = place
    rows: Rows = [{"id": id_, "name": "Pine", "metadata.note": "Harbor"} for id_ in truth(sandbox)]
    sandbox.extend.switch(updates="respelled")
    found = push(place, rows)
    assert (found.confirmed, found.unconfirmed) == (25, 0)
    assert set(rows_of(database, "outcome, reason")) == {
        ("confirmed", "the platform keeps it in its own way")
    }
    again = push(place, rows)
    assert (again.unchanged, calls(sandbox)) == (25, 25)


def test_an_unapplied_update_stays_unconfirmed_with_private_columns(tmp_path: Path) -> None:
    """Also where neither table nor journal keeps values, and then the reason names no key."""
    with make_place({**SMALL, "runs": 3}, tmp_path) as place:
        how: dict[str, Any] = {"field_values": "hash", "hash_key": KEY}
        load(place, **how)
        place[0].extend.switch(updates="ignored")
        assert push(place, checked(place), **how).unconfirmed == 3
        reasons = {reason for (reason,) in rows_of(place[1], "reason")}
        assert reasons == {"it was answered, but the run, read again, does not have it"}
        place[0].extend.switch(updates="kept")
        assert push(place, checked(place), **how).confirmed == 3


def test_unconfirmed_updates_are_told(place: Place, docruns: Any) -> None:
    """The command says so and exits with 3."""
    place[0].extend.switch(updates="ignored")
    code, out, _ = docruns("--from", TWO)
    assert code == 3
    assert "2 were sent, but do not have it yet" in out


@pytest.mark.parametrize(
    ("sent", "kept", "same"),
    [
        (Number("12.50"), Number("12.5"), True),
        (Number("12.50"), "12.5", True),
        ("00501", 501, False),
        (2**53 + 1, 2**53, True),
        (True, "true", True),
        (True, False, False),
        ("Harbor & Pine ", "harbor &amp; pine", True),
        ("Harbor", "Pine", False),
        ("2026-05-18T08:30:00+02:00", "2026-05-18T06:30:00.000Z", True),
        ("2026-05-18", "2026-05-19", False),
        ({"b": 2}, {"a": 1, "b": 2}, True),
        ({"b": 2}, {"a": 1}, False),
        (["a", "b", "a"], ["b", "a"], True),
        (["a", "b"], ["a"], False),
        (["a"], ["a", "c"], False),
        ({"a": [1]}, {"a": 1}, False),
        ("", None, False),
        (None, "", False),
        ("x", None, False),
    ],
)
def test_spellings_of_one_value(sent: Any, kept: Any, same: bool) -> None:
    """Another value, or none, is no spelling of the one that was sent."""
    assert is_spelling(sent, kept) is same


def test_a_name_that_is_not_returned_is_compared_with_what_was_sent(place: Place) -> None:
    """Under 2026-02-09 a name is compared with the last confirmed push, also after a kill."""
    sandbox, _ = place
    rows: Rows = [{"id": id_, "name": f"N {id_}"} for id_ in truth(sandbox)]
    sandbox.fault("status", "/workflow_runs/*", method="POST", status=401, after=7, times=None)
    with pytest.raises(RefusedError):
        push(place, rows)
    sandbox.clear_faults()
    assert len(confirmed(sandbox)) == 7
    found = push(place, rows)
    assert (found.before, found.confirmed) == (7, 25)
    assert len(confirmed(sandbox)) == 25
    assert set(confirmed(sandbox).values()) == {1}
    assert push(place, rows).unchanged == 25


KEY = "a long random text of somebody's own"


@pytest.mark.parametrize("mode", ["hash", "drop"])
def test_private_columns_stay_private(mode: str, tmp_path: Path) -> None:
    """Neither table nor journal holds a name or a value, and unchanged runs are not sent: they are compared
    over the API."""
    how: dict[str, Any] = {"field_values": mode, **({"hash_key": KEY} if mode == "hash" else {})}
    seen: list[bytes] = []
    with make_place({**SMALL, "runs": 12, "seed": 9}, tmp_path) as place:
        sandbox, database = place
        # in an old version only the list has the rejection note
        sandbox.extend.add(2, status="REJECTED", reviewed=True)
        load(place, api_version="v1", **how)
        notes = "SELECT id, rejection_note FROM extend.workflow_runs ORDER BY id"
        before = query(database, notes)
        sandbox.stats.reset()
        rows: Rows = [
            {"id": id_, "name": f"Secret {id_[-4:]}", "metadata.note": "Harbor & Pine"}
            for id_ in truth(sandbox)
        ]
        sandbox.fault("status", "/workflow_runs/*", method="POST", status=401, after=5, times=None)
        with pytest.raises(RefusedError):
            push(place, rows, api_version="v1", **how)
        sandbox.clear_faults()
        [journal] = journals()
        assert stat.S_IMODE(journal.stat().st_mode) == 0o600
        seen += [journal.read_bytes(), database.read_bytes()]
        found = push(place, rows, api_version="v1", **how)
        # without a stored name or hash, docruns cannot know that the name was sent
        assert found.confirmed == 14
        assert len(confirmed(sandbox)) == 14
        assert (set(confirmed(sandbox).values()) == {1}) is (mode == "hash")
        seen.append(database.read_bytes())
        assert not [text for text in seen for word in (b"Secret", b"Harbor") if word in text]
        cells = rows_of(database, "name, metadata, before, after, wish")
        assert {cell is None for row in cells for cell in (row[0], row[1], row[3], row[4])} == {
            mode == "drop"
        }
        assert query(database, notes) == before
        sandbox.stats.reset()
        again = push(place, rows, api_version="v1", **how)
        assert again.changes == (0 if mode == "hash" else 14)
        metadata = [{"id": row["id"], "metadata.note": "Harbor & Pine"} for row in rows]
        assert push(place, metadata, api_version="v1", **how).changes == 0
        check_agreement(place, api_version="v1", **how)
        with pytest.raises(ConfigError, match="field_values"):
            push(place, rows, api_version="v1")


def test_a_column_that_stays_empty(tmp_path: Path) -> None:
    """`drop_columns` also empties columns of `pushes`. Columns that later pushes need cannot be dropped."""
    with make_place({**SMALL, "runs": 3}, tmp_path) as place:
        how = {"drop_columns": ["metadata", "before", "after"]}
        load(place, **how)
        assert push(place, checked(place), **how).confirmed == 3
        assert push(place, checked(place), **how).changes == 0
        assert set(rows_of(place[1], "metadata, before, after")) == {(None, None, None)}
        with pytest.raises(ConfigError, match="read_at"):
            push(place, checked(place), drop_columns=["read_at"])


def test_signed_urls_are_not_kept(place: Place) -> None:
    """A signed URL is sent once, and neither table nor journal keeps its query."""
    sandbox, database = place
    id_ = next(iter(truth(sandbox)))
    url = "https://files.example/a.pdf?X-Amz-Signature=9f86d081"
    rows: Rows = [{"id": id_, "metadata.scan": url}]
    assert push(place, rows).confirmed == 1
    assert truth(sandbox)[id_]["metadata"]["scan"] == url
    assert b"9f86d081" not in database.read_bytes()
    assert push(place, rows).changes == 0
    assert calls(sandbox) == 1


def test_many_changes_are_merged_in_batches(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each chunk of changes is committed before the next one is sent."""
    sandbox, database = place
    monkeypatch.setattr(module, "CHUNK_RUNS", 10)
    commits = []
    commit = module.load_package

    def counted(*arguments: Any) -> None:
        commit(*arguments)
        commits.append(calls(sandbox))

    monkeypatch.setattr(module, "load_package", counted)
    assert push(place, checked(place)).confirmed == 25
    assert commits == [10, 20, 25]
    assert query(database, "SELECT count(DISTINCT _dlt_load_id) FROM extend.pushes") == [(3,)]
    check_agreement(place)


WRITE_BACK = (Path(__file__).parents[2] / "docs" / "write-back.md").read_text()


def test_the_documented_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The documented query and commands tag each repeated invoice with the first one."""
    section = WRITE_BACK.partition("## Example")[2].partition("\n## ")[0]
    [(name, sql)] = re.findall(r"```sql\n-- (\w+\.sql)\n(.*?)```", section, re.DOTALL)
    commands = re.findall(r"^\$ (docruns push .*)$", section, re.MULTILINE)
    Path(name).write_text(sql)
    with make_place({**SMALL, "runs": 60}, tmp_path) as (sandbox, _):
        database = tmp_path / "docruns.duckdb"
        load((sandbox, database))
        found = query(database, INVOICES)
        expected = originals(found)
        assert len(expected) > 2
        monkeypatch.setenv("SOURCES__EXTEND__BASE_URL", sandbox.extend_url)
        for command, sent in zip(commands, (0, len(expected)), strict=True):
            program, *arguments = command.split()
            assert program == "docruns"
            monkeypatch.setattr(sys, "argv", ["docruns", *arguments])
            run_command()
            assert calls(sandbox) == sent
        tags = {id_: run["metadata"].get("duplicate_of") for id_, run in truth(sandbox).items()}
    capfd.readouterr()
    assert {id_: first for id_, first in tags.items() if first} == expected


INVOICES = """
    SELECT DISTINCT w.created_at, w.id, f.value
    FROM extend.fields f JOIN extend.workflow_runs w ON w.id = f.workflow_run_id
    WHERE f.field = 'invoice_number' AND f.value <> ''
"""


def run_command() -> None:
    """Run `docruns` with `sys.argv`; it must succeed."""
    mask = os.umask(0o022)
    with pytest.raises(SystemExit) as end:
        main.run()
    os.umask(mask)
    assert not end.value.code


def originals(found: list[tuple[Any, ...]]) -> dict[str, str]:
    """For each run that repeats an invoice number, the first run that has it."""
    first: dict[str, str] = {}
    again: dict[str, str] = {}
    for _, id_, number in sorted(found):
        if number not in first:
            first[number] = id_
        elif first[number] != id_:
            again[id_] = min(first[number], again.get(id_, first[number]))
    return again


def test_nothing_to_push(place: Place) -> None:
    """A push without rows succeeds and sends nothing."""
    found = push(place, "SELECT id, name FROM extend.workflow_runs WHERE false")
    assert (found.rows, found.changes, found.requests) == (0, 0, 0)


def pipeline_of(sandbox: Sandbox, folder: Path, **options: Any) -> dlt.Pipeline:
    """A pipeline whose destination is the sandbox's runs."""
    return dlt.pipeline(
        "tags",
        destination=extend_workflow_runs(base_url=sandbox.extend_url, **options),
        pipelines_dir=str(folder / "pipelines"),
    )


def test_a_pipeline_can_end_in_extend(place: Place, tmp_path: Path) -> None:
    """Rows of any pipeline are pushed as the command pushes them. Run again, the pipeline sends nothing."""
    sandbox, _ = place
    ids = list(truth(sandbox))
    rows: Rows = [
        {"id": ids[0], "name": "HP-1", "metadata": {"checked": True, "gone": None}},
        {"id": ids[1], "metadata.ledger_id": 417, "metadata.day": date(2026, 5, 18)},
        {"id": ids[2], "metadata.checked": False},
    ]
    pipeline = pipeline_of(sandbox, tmp_path, api_version="2025-04-21")
    pipeline.run(rows, table_name="found", columns={"name": {"data_type": "text"}})
    assert calls(sandbox) == 2
    assert truth(sandbox)[ids[0]]["name"] == "HP-1"
    assert truth(sandbox)[ids[0]]["metadata"] | {"internal_id": 0} == {
        "checked": True,
        "gone": None,
        "internal_id": 0,
    }
    assert truth(sandbox)[ids[1]]["metadata"]["ledger_id"] == 417
    assert truth(sandbox)[ids[1]]["metadata"]["day"] == "2026-05-18"
    pipeline.run(rows, table_name="found", columns={"name": {"data_type": "text"}})
    pipeline.run([{"id": ids[1], "metadata.ledger_id": 418}], table_name="found")
    assert calls(sandbox) == 3


def test_arrow_rows_of_a_pipeline(place: Place, tmp_path: Path) -> None:
    """A pipeline may also give an Arrow table."""
    sandbox, _ = place
    ids = list(truth(sandbox))[:2]
    table = pa.table({"id": ids, "metadata.ledger_id": [417, 418]})
    pipeline_of(sandbox, tmp_path).run(table, table_name="arrow")
    assert [truth(sandbox)[id_]["metadata"]["ledger_id"] for id_ in ids] == [417, 418]


def test_wrong_rows_fail_a_pipeline_at_once(place: Place, tmp_path: Path) -> None:
    """One error names all problems. Nothing is sent, and dlt does not retry."""
    sandbox, _ = place
    ids = list(truth(sandbox))
    rows: Rows = [
        {"id": ids[0], "name": "x"},
        {"id": "nobody", "name": "x"},
        {"id": ids[0], "name": "y"},
    ]
    with pytest.raises(
        PipelineStepFailed, match=r"(?s)2 problems; nothing was sent:.*row 2 \(nobody\).*row 3"
    ):
        pipeline_of(sandbox, tmp_path).run(rows, table_name="found")
    assert calls(sandbox) == 0
    assert sandbox.stats.details == 2


def test_refusals_and_lost_answers_of_a_pipeline(
    place: Place, tmp_path: Path, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    """A refused run is named in the log. dlt retries the updates that were not answered, and no others."""
    sandbox, _ = place
    ids = list(truth(sandbox))[:4]
    sandbox.fault("status", f"/workflow_runs/{ids[0]}", method="POST", status=400, times=None)
    sandbox.fault("status", f"/workflow_runs/{ids[1]}", method="POST", status=500, times=7)
    rows: Rows = [{"id": id_, "metadata.checked": True} for id_ in ids]
    pipeline_of(sandbox, tmp_path).run(rows, table_name="found")
    assert [run["metadata"]["checked"] for run in truth(sandbox).values()][:4] == [
        False,
        True,
        True,
        True,
    ]
    assert f"row 1 ({ids[0]}) was refused" in caplog.text
    assert confirmed(sandbox) == {f"/workflow_runs/{id_}": 1 for id_ in ids[1:]}


def test_updates_of_a_pipeline_that_are_not_applied(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipeline fails where a run lacks its change, and succeeds once the platform applies it."""
    monkeypatch.setenv("LOAD__RAISE_ON_MAX_RETRIES", "1")
    sandbox, _ = place
    sandbox.extend.switch(updates="ignored")
    rows: Rows = [{"id": id_, "metadata.checked": True} for id_ in list(truth(sandbox))[:2]]
    with pytest.raises(
        PipelineStepFailed, match="2 updates were answered, but the runs, read again, do not have"
    ):
        pipeline_of(sandbox, tmp_path).run(rows, table_name="found")
    sandbox.extend.switch(updates="kept")
    pipeline_of(sandbox, tmp_path).run([], table_name="found")
    assert sum(run["metadata"]["checked"] for run in truth(sandbox).values()) == 2


def test_a_refused_key_fails_a_pipeline_at_once(tmp_path: Path) -> None:
    """A 401 fails the pipeline without a retry, and the error does not show the key."""
    with Sandbox(runs=2, api_keys={"sk_right"}) as strict:
        pipeline = pipeline_of(strict, tmp_path, api_key="sk_wrong_key")
        with pytest.raises(PipelineStepFailed, match="401") as caught:
            pipeline.run([{"id": next(iter(truth(strict))), "name": "x"}], table_name="found")
        assert "sk_wrong_key" not in str(caught.value)
        assert strict.stats.requests == 1


def test_a_journal_is_read_up_to_its_last_whole_line(tmp_path: Path) -> None:
    """A line that a kill cut off is ignored, and records written after it are read."""
    path = tmp_path / "new" / "x.push"
    journal = Journal(path)
    assert journal.is_empty
    journal.write({"id": "a", "outcome": "unconfirmed"})
    journal.write({"id": "a", "outcome": "confirmed"})
    journal.close()
    whole = path.read_bytes()
    for end in (b'{"id": "b', b'{"id": "b"}', b"\x00\x00\n", b"[]\n"):
        path.write_bytes(whole + end)
        assert len(read_records(path)) == 2
        journal = Journal(path)
        assert len(journal.records) == 2
        journal.write({"id": "c"})
        journal.close()
        assert [one["id"] for one in read_records(path)] == ["a", "a", "c"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_records(tmp_path / "none") == []


def test_a_record_is_flushed_before_write_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """16 threads at once: each record has its own flush, and is in the file when `write` returns."""
    flushes = []
    monkeypatch.setattr(os, "fsync", flushes.append)
    journal = Journal(tmp_path / "x.push")
    flushes.clear()

    def write(number: int) -> None:
        for line in range(5):
            journal.write({"id": f"{number}.{line}"})
            written = read_records(tmp_path / "x.push")
            assert any(record["id"] == f"{number}.{line}" for record in written)

    with ThreadPoolExecutor(16) as executor:
        list(executor.map(write, range(16)))
    journal.close()
    with pytest.raises(OSError, match="closed"):
        journal.write({"id": "late"})
    assert len(read_records(tmp_path / "x.push")) == len(flushes) == 80


def test_a_journal_takes_no_record_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After half a line nothing more is written: a record behind it would not be read."""
    journal = Journal(tmp_path / "x.push")
    journal.write({"id": "a"})
    with monkeypatch.context() as patch:
        real_write = os.write

        def write_half(file: int, data: bytes) -> int:
            if len(data) < 5:
                raise OSError(28, "No space left on device")
            return real_write(file, data[: len(data) // 2])

        patch.setattr(os, "write", write_half)
        with pytest.raises(OSError, match="No space left"):
            journal.write({"id": "b"})
    with pytest.raises(OSError, match="No space left"):
        journal.write({"id": "c"})
    journal.close()
    assert [record["id"] for record in read_records(tmp_path / "x.push")] == ["a"]


def test_a_full_disk_stops_a_push(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that cannot be written into the journal is not sent."""
    sandbox, _ = place

    def full(file: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("docruns.commands.push.journal.os.fsync", full)
    with pytest.raises(Exception, match="No space left"):
        push(place, checked(place))
    assert calls(sandbox) == 0


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]))
    | st.decimals(allow_nan=False, allow_infinity=False).map(Number),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab.", max_size=3), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
objects = st.dictionaries(st.text("abc", min_size=1, max_size=2), values, max_size=4)


@given(known=objects, desired=objects.filter(bool))
def test_what_is_sent_is_what_differs(known: Any, desired: Any) -> None:
    """Merged key by key, a change gives the desired metadata, changes no other key, and then nothing
    differs."""
    wish = changes.DesiredRun(1, "a", None, desired)
    decided = changes.diff(wish, changes.RemoteRun(None, known), changes.LastPush(), lambda _, text: text)
    if isinstance(decided, changes.Problem):
        return
    sent = decided.metadata if isinstance(decided, changes.Change) else {}
    merged = {**known, **sent}
    assert changes.same(merged, {**known, **desired})
    assert all(key not in known or not changes.same(known[key], sent[key]) for key in sent)
    again = changes.diff(wish, changes.RemoteRun(None, merged), changes.LastPush(), lambda _, text: text)
    assert isinstance(again, changes.Unchanged)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (1, Number("1.0"), True),
        (Number("12.50"), Number("12.5"), True),
        (Number("1e2"), 100, True),
        (True, 1, False),
        ("1", 1, False),
        ("1.5", Number("1.5"), False),
        (None, False, False),
        ([1, 2], [2, 1], False),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        (Number("1e99999999999999999999"), Number("1e99999999999999999999"), True),
    ],
)
def test_equal_as_json(one: Any, other: Any, equal: bool) -> None:
    """Numbers are equal by value, texts by characters, objects in any order of keys."""
    assert changes.same(one, other) is equal


def test_cells_become_json() -> None:
    """Values of queries and files, as JSON values."""

    class Odd(str):
        """A subclass of str."""

        __slots__ = ()

    at = datetime(2026, 5, 18, 6, 30, tzinfo=UTC)
    cells: Iterable[tuple[Any, Any]] = [
        (Odd("x"), "x"), (1.5, Number("1.5")), (Decimal("1.50"), Number("1.50")), (at, "2026-05-18T06:30:00Z"),
        (at.replace(tzinfo=None), "2026-05-18T06:30:00"), (UUID(int=7), str(UUID(int=7))), ((1, 2), [1, 2]),
    ]  # fmt: skip
    for cell, value in cells:
        found = changes.as_json(cell)
        assert (found, type(found)) == (value, type(value))
