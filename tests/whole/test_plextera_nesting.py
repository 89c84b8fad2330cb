"""Plextera's nested runs and linked extractions: neither the order of answers nor that of loads decides."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import duckdb
import pytest

from docruns.commands.reconcile.sweep import sweep_deleted
from docruns.commands.reconcile.verify import verify_runs
from docruns.core.parsed import NestedLink
from docruns.providers.plextera import connect_plextera
from docruns.sandbox import Sandbox
from docruns.store.target import Target
from support.loading import query
from support.plextera import load_plextera, tables

Json = dict[str, Any]
LINKS = "SELECT id, parent_run_id, root_run_id, depth FROM plextera.workflow_runs"


def run(
    id_: str, minute: int, *nested: Json, created: int = 0, names: str | None = None, **more: Any
) -> Json:
    """A workflow run that changed in a minute of one hour: one step with nested runs, one with an extraction."""
    steps: list[Json] = [
        {"id": "step_01", "type": "sub_workflow", "nestedRuns": {"count": len(nested), "data": nested}},
        {"id": "step_02", "type": "web_function", "status": more.get("status", "COMPLETED")},
    ]
    if names is not None:
        steps.append({"id": "step_03", "type": "document_insights", "output": {"extractionId": names}})
    dates = {
        "createdAt": f"2026-09-25T10:{created:02}:00Z",
        "updatedAt": f"2026-09-25T11:{minute:02}:00Z",
    }
    return {"id": id_, "status": "COMPLETED", **dates, "steps": steps, **more}


def extraction(id_: str) -> Json:
    """An extraction that one field was read from."""
    date = "2026-09-25T11:00:00Z"
    output = {"fieldCount": 1, "fields": [{"id": "f", "name": "total", "value": "1"}]}
    return {"id": id_, "status": "COMPLETED", "createdAt": date, "updatedAt": date, "output": output}


@pytest.fixture
def empty() -> Any:
    """A platform without runs of its own."""
    with Sandbox(runs=0, plextera_runs=0) as sandbox:
        yield sandbox


@pytest.mark.fault(56)
@pytest.mark.parametrize("order", ["parent first", "together"])
def test_the_newer_copy_wins(empty: Sandbox, tmp_path: Path, order: str) -> None:
    """A run that is COMPLETED in the list, and PROCESSING in an older copy inside its parent, is COMPLETED in
    the database, and hangs in its parent, also after --full."""
    old = run("c", 1, status="PROCESSING")
    parent, child = run("p", 20, old), run("c", 10)
    database = tmp_path / "n.duckdb"
    for answer in [parent] if order == "parent first" else []:
        empty.plextera.put(answer)
        load_plextera(empty, database)
    for answer in (parent, child):
        empty.plextera.put(answer)
    for options in ({}, {"full": True}):
        load_plextera(empty, database, **options)
        sql = "SELECT id, status, parent_run_id, depth FROM plextera.workflow_runs ORDER BY id"
        assert query(database, sql) == [("c", "COMPLETED", "p", 1), ("p", "COMPLETED", None, 0)]
        sql = "SELECT status FROM plextera.workflow_steps WHERE workflow_run_id = 'c' AND position = 1"
        assert query(database, sql) == [("COMPLETED",)]
    assert not verify_runs(
        connect_plextera(base_url=empty.plextera_url), Target("plextera", database), deep=9
    ).differs


def history() -> list[tuple[str, list[Json]]]:
    """The versions of each run; `e` with `f` in it and `g` are never listed.

    `c` has an older copy in p1. `d` leaves p2 for p3. `e` is in p1 and p3. `g` leaves p1 for nowhere. Three
    runs name the extraction x, at last two.
    """
    old = run("c", 1, status="PROCESSING", created=4)
    d, e, g = run("d", 4, created=5), run("e", 3, run("f", 2, created=7), created=6), run("g", 2, created=8)
    return [
        ("p1", [run("p1", 5, old, g, created=1), run("p1", 12, old, e, created=1, names="x")]),
        ("p2", [run("p2", 6, d, created=0, names="x"), run("p2", 30, created=0)]),
        ("p3", [run("p3", 31, d, e, created=3, names="x")]),
        ("c", [old, run("c", 25, created=4)]),
        ("d", [d]),
    ]


@pytest.mark.fault(56)
def test_any_order_of_loads_gives_the_same_tables(tmp_path: Path) -> None:
    """Whatever happens in which order, and whenever loads come between, the database ends as one load of the end
    leaves it. A nested run that is in no answer any more is gone for verify, and sweep marks it."""
    ended: list[Any] = []
    for seed in range(3):
        chosen = random.Random(seed)
        database = tmp_path / f"{seed}.duckdb"
        with Sandbox(runs=0, plextera_runs=0) as sandbox:
            sandbox.plextera.put(extraction("x"), resource="extractions")
            left = {id_: list(versions) for id_, versions in history()}
            while left:
                id_ = chosen.choice(sorted(left))
                sandbox.plextera.put(left[id_].pop(0))
                left = {id_: versions for id_, versions in left.items() if versions}
                # of the first one there is only the end
                if seed and left and chosen.random() < 0.35:
                    load_plextera(sandbox, database)
            load_plextera(sandbox, database)
            platform, target = connect_plextera(base_url=sandbox.plextera_url), Target("plextera", database)
            has_g = bool(query(database, "SELECT 1 FROM plextera.workflow_runs WHERE id = 'g'"))
            assert verify_runs(platform, target).gone == ["workflow_runs/g"] * has_g
            if has_g:
                assert sweep_deleted(platform, target).marked["workflow_runs"] == 1
        with duckdb.connect(str(database)) as connection:
            for table, key in (("workflow_runs", "id"), ("workflow_steps", "workflow_run_id")):
                connection.execute(f"DELETE FROM plextera.{table} WHERE {key} = 'g'")
        ended.append(tables(database))
        assert ended[-1] == ended[0], seed
    assert {id_: rest for id_, *rest in query(tmp_path / "0.duckdb", LINKS)} == {
        "p1": [None, "p1", 0], "p2": [None, "p2", 0], "p3": [None, "p3", 0],
        "c": ["p1", "p1", 1], "d": ["p3", "p3", 1], "e": ["p1", "p1", 1], "f": ["e", "p1", 2],
    }  # fmt: skip
    sql = "SELECT workflow_run_id, workflow_step_position, source_id FROM plextera.processor_runs"
    assert query(tmp_path / "0.duckdb", sql) == [("p1", 2, "p1")]
    assert query(tmp_path / "0.duckdb", "SELECT DISTINCT workflow_run_id FROM plextera.fields") == [("p1",)]


def test_runs_that_are_nested_in_each_other() -> None:
    """Of a circle, the run with the smallest id is the outermost; the place of the others follows."""
    from docruns.commands.after_load.links import LATEST, Claim, nested_links

    claims = {"b": "a", "c": "b", "a": "c", "x": "c"}
    links = nested_links({id_: Claim(LATEST, parent, 0, "s") for id_, parent in claims.items()})
    assert links == {
        "b": NestedLink("a", "s", "a", 1),
        "c": NestedLink("b", "s", "a", 2),
        "x": NestedLink("c", "s", "a", 3),
    }
