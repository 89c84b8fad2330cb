"""Plextera: the complete path, under every combination of the behaviours that its documentation leaves
open."""

from __future__ import annotations

import itertools
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from docruns.commands.load import load_runs
from docruns.core.tables import TABLES
from docruns.providers.extend import connect_extend
from docruns.providers.plextera import connect_plextera
from docruns.sandbox import Sandbox
from docruns.store.target import Target
from docruns.sync.sync import Sync
from support.loading import query
from support.plextera import PAGE, load_plextera, tables

PAGING = {
    "runs_sort": ("accepted", "ignored", "refused"),
    "extractions_sort": ("accepted", "ignored", "refused"),
    "page_base": (0, 1),
    "page_info": ("full", "no_total_pages", "no_totals"),
    "status_filter": ("works", "ignored"),
}
CONTENT = {
    "steps_in_list": ("full", "absent", "null"),
    "nested_listed": (False, True),
    "nested_detail": ("full", "summaries"),
    "nested_readable": (True,),
    "output_in_list": (False, True),
    "detail_differs": (False, True),
}
RUNS = 13


@pytest.fixture(scope="module")
def platform() -> Iterator[Sandbox]:
    """A platform of a few pages with nested runs; tests change only its switches."""
    with Sandbox(runs=1, plextera_runs=RUNS, seed=11, document_size="light") as sandbox:
        sandbox.plextera.add(1, depth=3)
        yield sandbox


def rows_without_database(sandbox: Sandbox, **options: Any) -> dict[str, dict[Any, Any]]:
    """The rows of a load by table and key, directly from the sync: fast enough for every combination."""
    sync = Sync(connect_plextera(base_url=sandbox.plextera_url, page_size=PAGE, **options))
    found: dict[str, dict[Any, Any]] = {table.name: {} for table in TABLES}
    with sync.client:
        for run_list in sync.platform.lists:
            for batch in sync.batches(run_list, {}):
                for table, rows in batch:
                    for row in rows.to_pylist():
                        if row.pop("_cleared", None):
                            continue
                        key = tuple(row[name] for name in table.key)
                        # like the merge: of two rows with one key, the deeper one stays
                        held = found[table.name].get(key)
                        if held is None or row.get("depth", 0) >= held.get("depth", 0):
                            found[table.name][key] = row
    assert sync.is_complete
    assert sync.metrics.counts.quarantined == 0
    for row in found["processor_runs"].values():
        # whether the link is known yet depends on the order in which a run and its extraction are
        # read
        assert row["type"] == "EXTRACT"
    return found


def combinations() -> list[dict[str, Any]]:
    """Every combination of the paging switches, every one of the content switches, and some of both.

    DOCRUNS_EVERY=1 tries all combinations of both, which takes minutes.
    """
    paging = [dict(zip(PAGING, values, strict=True)) for values in itertools.product(*PAGING.values())]
    content = [dict(zip(CONTENT, values, strict=True)) for values in itertools.product(*CONTENT.values())]
    if os.environ.get("DOCRUNS_EVERY"):
        return [{**a, **b} for a in paging for b in content]
    chosen = random.Random(5)
    some = [{**chosen.choice(paging), **chosen.choice(content)} for _ in range(40)]
    return [*({**a, **content[0]} for a in paging), *({**paging[0], **b} for b in content), *some]


@pytest.mark.parametrize("shape", ["A", "B"])
def test_every_combination_gives_the_same_rows(platform: Sandbox, shape: str) -> None:
    """A load gives the same rows under every combination of the open behaviours."""
    expected = None
    for switches in combinations():
        platform.plextera.switch(field_shape=shape, **switches)
        found = rows_without_database(platform)
        if expected is None:
            expected = found
            assert len(found["workflow_runs"]) > RUNS
            assert len(found["fields"]) > 100
        assert found == expected, switches


@pytest.mark.parametrize(
    "switches",
    [
        {},
        {"runs_sort": "accepted", "nested_listed": True, "page_info": "no_totals"},
        {"runs_sort": "refused", "steps_in_list": "absent", "page_base": 1},
        {"nested_detail": "summaries", "nested_readable": True, "detail_differs": True},
        {"nested_listed": True, "nested_detail": "summaries", "extractions_sort": "refused"},
        {"output_in_list": True, "steps_in_list": "null", "status_filter": "ignored"},
    ],
    ids=str,
)
def test_combinations_end_in_the_same_database(
    platform: Sandbox, tmp_path: Path, switches: dict[str, Any]
) -> None:
    """The same holds through dlt into DuckDB, and a second load fetches no final run again."""
    defaults = {name: values[0] for name, values in {**PAGING, **CONTENT}.items()}
    platform.plextera.switch(field_shape="A", **defaults)
    load_plextera(platform, tmp_path / "expected.duckdb")
    platform.plextera.switch(**{**defaults, **switches})
    summary, _ = load_plextera(platform, tmp_path / "found.duckdb")
    assert summary.complete
    assert tables(tmp_path / "found.duckdb") == tables(tmp_path / "expected.duckdb")
    platform.stats.reset()
    again, _ = load_plextera(platform, tmp_path / "found.duckdb")
    sql = (
        "SELECT count(*) FROM (SELECT is_final FROM plextera.workflow_runs WHERE depth = 0 "
        "UNION ALL SELECT is_final FROM plextera.processor_runs) WHERE NOT is_final"
    )
    unfinished = query(tmp_path / "found.duckdb", sql)[0][0]
    assert again.fetched <= unfinished
    assert tables(tmp_path / "found.duckdb") == tables(tmp_path / "expected.duckdb")


def test_database_equals_platform(platform: Sandbox, tmp_path: Path) -> None:
    """Every run, nested or not, and every extraction is in the database with its status and parent."""
    platform.plextera.switch(field_shape="A")
    load_plextera(platform, tmp_path / "p.duckdb")
    sql = "SELECT id, status, parent_run_id, parent_step_id, root_run_id, depth FROM plextera.workflow_runs"
    held = {id_: cells for id_, *cells in query(tmp_path / "p.duckdb", sql)}
    sql = "SELECT id, status FROM plextera.processor_runs"
    extractions = dict(query(tmp_path / "p.duckdb", sql))
    # a failed step names no extraction
    sql = (
        "SELECT workflow_run_id, step_id, processor_run_id FROM plextera.workflow_steps "
        "WHERE output IS NOT NULL"
    )
    steps = {(run, step): extraction for run, step, extraction in query(tmp_path / "p.duckdb", sql)}
    deepest = linked = 0
    for run in platform.plextera.truth():
        if run["resource"] == "extractions":
            assert extractions.pop(run["id"]) == run["status"]
            continue
        names = ("status", "parent_id", "parent_step_id", "root_id", "depth")
        assert held.pop(run["id"]) == [run[name] for name in names]
        deepest = max(deepest, run["depth"])
        for step, extraction in run["extractions"].items():
            if (run["id"], step) in steps:
                assert steps[run["id"], step] == extraction
                linked += 1
    assert held == {}
    assert extractions == {}
    assert deepest >= 3
    assert linked > 5


def test_changes_follow(sandbox: Sandbox, tmp_path: Path) -> None:
    """New, finished, closed, failed and reprocessed runs and extractions are read again, and their rows are
    replaced."""
    database = tmp_path / "c.duckdb"
    load_plextera(sandbox, database)
    sandbox.plextera.add(3)
    sandbox.plextera.finish()
    sandbox.plextera.close(2)
    sandbox.plextera.reprocess(4)
    load_plextera(sandbox, database)
    load_plextera(sandbox, tmp_path / "fresh.duckdb")
    assert tables(database) == tables(tmp_path / "fresh.duckdb")


def test_run_nested_five_levels_deep(sandbox: Sandbox, tmp_path: Path) -> None:
    """Each level of nesting is a row with its parent, its root and its depth."""
    (outermost,) = sandbox.plextera.add(1, depth=5)
    load_plextera(sandbox, tmp_path / "d.duckdb")
    sql = (
        "SELECT depth, parent_run_id IS NULL FROM plextera.workflow_runs WHERE root_run_id = ? ORDER BY depth"
    )
    found = query(tmp_path / "d.duckdb", sql, outermost)
    assert [depth for depth, _ in found] == [0, 1, 2, 3, 4, 5]
    assert [top for _, top in found] == [True] + [False] * 5


def test_run_nested_deeper_than_the_limit(sandbox: Sandbox, tmp_path: Path) -> None:
    """Runs that are nested deeper than `max_depth` stay as JSON in their step, so no data is lost."""
    (outermost,) = sandbox.plextera.add(1, depth=5)
    load_plextera(sandbox, tmp_path / "m.duckdb", max_depth=2)
    sql = "SELECT max(depth) FROM plextera.workflow_runs WHERE root_run_id = ?"
    assert query(tmp_path / "m.duckdb", sql, outermost) == [(2,)]
    sql = (
        "SELECT count(*) FROM plextera.workflow_steps s JOIN plextera.workflow_runs r "
        "ON r.id = s.workflow_run_id WHERE r.root_run_id = ? AND (s.extra->'nestedRuns'->'data') IS NOT NULL"
    )
    assert query(tmp_path / "m.duckdb", sql, outermost)[0][0] >= 1


def test_run_with_a_cycle(sandbox: Sandbox, tmp_path: Path) -> None:
    """A run that is nested in itself is not followed again, and its row keeps its own place."""
    (outermost,) = sandbox.plextera.add(1, depth=2, cycle=True)
    summary, _ = load_plextera(sandbox, tmp_path / "y.duckdb")
    assert summary.complete
    sql = "SELECT depth, parent_run_id FROM plextera.workflow_runs WHERE id = ?"
    assert query(tmp_path / "y.duckdb", sql, outermost) == [(0, None)]


def test_run_with_ten_thousand_steps(sandbox: Sandbox, tmp_path: Path) -> None:
    """A run with ten thousand steps has ten thousand rows of steps."""
    (run,) = sandbox.plextera.add(1, steps=10_000)
    load_plextera(sandbox, tmp_path / "s.duckdb")
    sql = "SELECT count(*), max(position) FROM plextera.workflow_steps WHERE workflow_run_id = ?"
    assert query(tmp_path / "s.duckdb", sql, run) == [(10_000, 9_999)]


def test_parent_once_seen_is_not_forgotten(sandbox: Sandbox, tmp_path: Path) -> None:
    """A nested run that changes and is then listed at top level keeps its parent, also in a later load."""
    sandbox.plextera.switch(nested_listed=True, runs_sort="accepted")
    (outermost,) = sandbox.plextera.add(1, depth=2)
    database = tmp_path / "k.duckdb"
    load_plextera(sandbox, database)
    sql = (
        "SELECT id, parent_run_id, root_run_id, depth FROM plextera.workflow_runs "
        "WHERE root_run_id = ? ORDER BY depth"
    )
    before = query(database, sql, outermost)
    assert [row[3] for row in before] == [0, 1, 2]
    nested: list[Any] = []
    for run_id, *_ in before[:0:-1]:
        body = {
            "id": run_id,
            "status": "COMPLETED",
            "updatedAt": "2027-01-01T00:00:00Z",
            "steps": [{"id": "step_01", "nestedRuns": {"count": len(nested), "data": nested}}],
        }
        nested = [body]
        sandbox.plextera.put(json.dumps(body))
    load_plextera(sandbox, database)
    assert query(database, sql, outermost) == before


def test_feedback_is_never_sent(sandbox: Sandbox, tmp_path: Path) -> None:
    """A load sends GET requests only."""
    load_plextera(sandbox, tmp_path / "f.duckdb")
    assert {route.split()[0] for route in sandbox.stats.routes} == {"GET"}


def test_extra_parameters_are_passed_through(sandbox: Sandbox, tmp_path: Path) -> None:
    """A filter with an undocumented name can be set and is sent unchanged."""
    options = {"extra_params": {"status": "FAILED"}}
    load_plextera(sandbox, tmp_path / "x.duckdb", **options)
    found = query(tmp_path / "x.duckdb", "SELECT DISTINCT status FROM plextera.workflow_runs WHERE depth = 0")
    assert found == [("FAILED",)]


@pytest.mark.parametrize("key", ["api-key sk_1", "sk_1", "API-KEY  sk_1 "])
def test_key_with_and_without_its_prefix(key: str, tmp_path: Path) -> None:
    """The key is sent with its prefix exactly once, whether or not the setting has the prefix."""
    with Sandbox(runs=1, plextera_runs=2, api_keys={"sk_1"}) as strict:
        summary, _ = load_plextera(strict, tmp_path / "k.duckdb", api_key=key)
    assert summary.complete


def test_both_platforms_in_one_query(sandbox: Sandbox, tmp_path: Path) -> None:
    """Both datasets have the same tables and columns, so one query compares the platforms."""
    database = tmp_path / "both.duckdb"
    load_plextera(sandbox, database)
    load_runs(
        connect_extend(base_url=sandbox.extend_url),
        Target("extend", database),
    )
    sql = (
        "SELECT column_name, data_type FROM information_schema.columns "
        "WHERE table_schema = ? AND table_name = ? ORDER BY 1"
    )
    for name in ("workflow_runs", "workflow_steps", "processor_runs", "fields", "citations"):
        assert query(database, sql, "extend", name) == query(database, sql, "plextera", name)


def test_one_bad_run_goes_to_quarantine(sandbox: Sandbox, tmp_path: Path) -> None:
    """A run with an invalid answer goes to quarantine; the other runs load."""
    row = {"id": "bad", "status": "COMPLETED", "updatedAt": "2026-09-25T12:00:00Z"}
    sandbox.plextera.put('{"id": "other"}', row)
    summary, _ = load_plextera(sandbox, tmp_path / "q.duckdb")
    assert summary.quarantined == 1
    sql = "SELECT resource, id, message FROM plextera.quarantine"
    message = "run bad: the answer is about another run, other"
    assert query(tmp_path / "q.duckdb", sql) == [("workflow_runs", "bad", message)]
