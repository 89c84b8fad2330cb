"""A `docruns forget` that is killed leaves a copy of the database, which the next command removes."""

from __future__ import annotations

from pathlib import Path

import pytest

from docruns.sandbox import Sandbox
from proofs.children import Children
from support.loading import query


@pytest.mark.parametrize("following", ["load", "forget"])
def test_a_forget_that_is_killed(children: Children, few_runs: Sandbox, loaded: Path, following: str) -> None:
    """No command may leave a copy of the database with the runs that were to be forgotten."""
    one, other = (id_ for (id_,) in query(loaded, "SELECT id FROM extend.workflow_runs ORDER BY id LIMIT 2"))
    point = "docruns.store.duckdb.rewrite:_copy after"
    killed = children.run(loaded.parent, "forget", "extend", "--id", one, point=point)
    assert killed.code == -9, killed.err
    parts = [path.name for path in loaded.parent.glob(".docruns.duckdb.*")]
    assert ".docruns.duckdb.forget.part" in parts
    (loaded.parent / ".docruns.duckdb.forget.part.wal").touch()
    how = ("--base-url", few_runs.extend_url) if following == "load" else ("--id", other)
    # killed too: nothing is left that only the end of a command would remove
    before = "docruns.store.pipeline:_keep_row_ids"
    assert children.run(loaded.parent, following, "extend", *how, point=before).code == -9
    assert [*loaded.parent.glob(".docruns.duckdb.*")] == []
    ended = children.run(loaded.parent, following, "extend", *how)
    assert ended.code == 0, ended.err
