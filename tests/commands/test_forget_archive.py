"""Runs are forgotten in an archive whose answers alone say what ran inside them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from docruns.sandbox import Sandbox
from proofs.children import Children
from support.loading import FEW_LISTED, query

ARCHIVE = "answers"
"""The folder of the archive, in the working directory of the commands."""

WITH_INNER_RUNS = """
    WITH made AS (
        SELECT root_run_id AS run, id FROM {0}.workflow_runs WHERE id <> root_run_id
        UNION
        SELECT w.root_run_id, p.id FROM {0}.processor_runs p JOIN {0}.workflow_runs w ON w.id = p.workflow_run_id
    )
    SELECT run, list(id) FROM made GROUP BY run ORDER BY count(*) DESC, run LIMIT 1
"""
"""The outermost run with the most runs inside, and their ids."""


def archived(folder: Path) -> set[str]:
    """The ids in the parts of an archive."""
    parts = (folder / ARCHIVE).rglob("*.parquet")
    return {id_ for part in parts for id_ in pq.read_table(part, partitioning=None)["id"].to_pylist()}


@pytest.mark.parametrize("provider", ["extend", "plextera"])
@pytest.mark.parametrize("before", ["forgotten in the tables", "no database", "killed"])
def test_inner_runs_are_found_in_the_archive(
    provider: str, before: str, children: Children, tmp_path: Path
) -> None:
    """Where no table knows a run, the archive's answers say what ran inside it: no row of those runs stays."""
    database = tmp_path / "docruns.duckdb"
    with Sandbox(runs=12, seed=3, standalone=3, plextera_runs=25, corpus=FEW_LISTED) as sandbox:
        url = sandbox.extend_url if provider == "extend" else sandbox.plextera_url
        options = (provider, "--base-url", url, "--archive", ARCHIVE)
        assert children.run(tmp_path, "load", *options).code == 0
        ((outer, inner),) = query(database, WITH_INNER_RUNS.format(provider))
        there = archived(tmp_path)
        assert len(there & set(inner)) >= 2
        named = ("forget", provider, "--id", outer)
        if before == "forgotten in the tables":
            assert children.run(tmp_path, *named).code == 0
        else:
            database.unlink()
        if before == "killed":
            shutil.rmtree(tmp_path / ARCHIVE)
            assert children.run(tmp_path, "load", *options[:3], "--max-runs", "1").code == 0
            assert (
                children.run(
                    tmp_path, "load", *options, point="dlt.pipeline.pipeline:Pipeline.normalize"
                ).code
                == -9
            )
            there = archived(tmp_path)
            known = f"SELECT count(*) FROM {provider}.workflow_runs WHERE id = '{outer}'"
            assert query(database, known) == [(0,)]
    done = children.run(tmp_path, *named, "--archive", ARCHIVE, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out.splitlines()[-1])["answers"] >= 1 + len(there & set(inner))
    assert archived(tmp_path) & {outer, *inner} == set()
    assert archived(tmp_path) == there - {outer, *inner}


def test_answers_of_an_earlier_version(children: Children, tmp_path: Path) -> None:
    """They are read with the readers of their own version."""
    with Sandbox(runs=8, seed=3, standalone=0, plextera_runs=0, corpus=FEW_LISTED) as sandbox:
        options = (
            "extend",
            "--base-url",
            sandbox.extend_url,
            "--api-version",
            "2025-04-21",
            "--archive",
            ARCHIVE,
        )
        assert children.run(tmp_path, "load", *options).code == 0
    ((outer, inner),) = query(tmp_path / "docruns.duckdb", WITH_INNER_RUNS.format("extend"))
    assert archived(tmp_path) & {*inner}
    (tmp_path / "docruns.duckdb").unlink()
    done = children.run(tmp_path, "forget", "extend", "--id", outer, "--archive", ARCHIVE)
    assert (done.code, "cannot be read" in done.err) == (0, False)
    assert archived(tmp_path) & {outer, *inner} == set()


def test_an_answer_that_cannot_be_read(children: Children, tmp_path: Path) -> None:
    """It is removed, and a warning says that runs inside it may stay."""
    with Sandbox(runs=3, seed=3, standalone=0, plextera_runs=0, corpus=FEW_LISTED) as sandbox:
        options = ("extend", "--base-url", sandbox.extend_url, "--archive", ARCHIVE)
        assert children.run(tmp_path, "load", *options).code == 0
    ((outer, _),) = query(tmp_path / "docruns.duckdb", WITH_INNER_RUNS.format("extend"))
    (tmp_path / "docruns.duckdb").unlink()
    for part in (tmp_path / ARCHIVE).rglob("*.parquet"):
        rows = pq.read_table(part, partitioning=None)
        bodies = [
            "[]" if id_ == outer and body else body
            for id_, body in zip(rows["id"].to_pylist(), rows["body"].to_pylist(), strict=True)
        ]
        changed = rows.set_column(rows.column_names.index("body"), rows.schema.field("body"), [bodies])
        # a row group has rows with an answer, or rows without one
        with pq.ParquetWriter(part, rows.schema) as writer:
            for has_body in (True, False):
                chosen = [place for place, body in enumerate(bodies) if (body is not None) == has_body]
                writer.write_table(changed.take(chosen))
    done = children.run(tmp_path, "forget", "extend", "--id", outer, "--archive", ARCHIVE)
    assert done.code == 0
    assert f"{outer}: its answer in the archive cannot be read" in done.err
    assert outer not in archived(tmp_path)
