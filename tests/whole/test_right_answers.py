"""The plainest queries over the tables give the right answers, after reviews of every kind."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from docruns.commands.load import load_runs
from docruns.providers.extend import connect_extend
from docruns.sandbox import Sandbox
from docruns.store.target import Target
from support.loading import query

RUNS = 500
"""Workflow runs for each of four API versions."""

LEAVES = """
    SELECT processor_run_id, path, initial_path, field, edited, edit_kind
    FROM extend.fields WHERE kind = 'leaf'
"""


def leaves_of(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    found: dict[str, list[tuple[Any, ...]]] = {}
    for run, *row in query(database, LEAVES):
        found.setdefault(run, []).append(tuple(row))
    return found


def field_of(path: str) -> str:
    return re.sub(r"\[\d+\]", "[]", path)


@pytest.mark.parametrize("keyed_by", ["initial_paths", "final_paths"])
@pytest.mark.parametrize("version", ["2026-02-09", "2025-04-21", "2024-12-23", "v1"])
def test_edits_are_what_the_reviewers_did(version: str, keyed_by: str, tmp_path: Path) -> None:
    """`edited` and `edit_kind` equal the truth leaf by leaf: where items were deleted, inserted, moved, written over
    and corrected, in all API versions; and the plainest query for the accuracy is right."""
    database = tmp_path / "t.duckdb"
    with Sandbox(runs=RUNS, seed=5) as sandbox:
        sandbox.extend.switch(reviewed_metadata=keyed_by)
        load_runs(
            connect_extend(base_url=sandbox.extend_url, api_version=version), Target("extend", database)
        )
        truth = {run[key]: run for run in sandbox.extend.leaf_truth() for key in ("id", "older_id")}
    found = leaves_of(database)
    kinds: Counter[str | None] = Counter()
    for run, leaves in found.items():
        if not truth[run]["reviewed"]:
            assert {edited for _, _, _, edited, _ in leaves} == {None}, run
            continue
        real = truth[run]["leaves"]
        here = {path: kind for path, _, _, _, kind in leaves if "[~" not in path}
        assert here == {leaf["path"]: leaf["edit_kind"] for leaf in real if leaf["path"]}, run
        # of two equal items, either can count as the removed one
        removed = Counter(field for path, _, field, _, _ in leaves if "[~" in path)
        gone = Counter(field_of(leaf["initial_path"]) for leaf in real if leaf["path"] is None)
        assert removed == gone, run
        assert all(edited == (kind is not None) for _, _, _, edited, kind in leaves), run
        kinds.update(kind for *_, kind in leaves)
    assert {"changed", "added", "removed", None} <= kinds.keys()

    (accuracy,) = query(database, "SELECT avg(1 - edited::int) FROM extend.fields WHERE kind = 'leaf'")[0]
    reviewed = [truth[run] for run in found if truth[run]["reviewed"]]
    real = [leaf["edit_kind"] is None for run in reviewed for leaf in run["leaves"]]
    assert accuracy == pytest.approx(sum(real) / len(real), abs=0.002)
