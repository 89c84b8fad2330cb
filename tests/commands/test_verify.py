"""Verify finds each difference between platform and database, and no other."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from docruns.commands.load import load_runs
from docruns.commands.reconcile import verify as module
from docruns.commands.reconcile.sweep import sweep_deleted
from docruns.commands.reconcile.verify import VerifyResult, verify_runs
from docruns.core.errors import ConfigError
from docruns.core.tables import TABLES
from docruns.providers.extend import connect_extend
from docruns.providers.plextera import connect_plextera
from docruns.sandbox import Sandbox
from docruns.store.target import Target
from support.loading import FEW_LISTED, query

RUNS: Any = {"runs": 25, "standalone": 8, "seed": 5, "corpus": FEW_LISTED}
ALL = 10_000
Platform = tuple[Sandbox, Path]


def verify(sandbox: Sandbox, database: Path, **options: Any) -> VerifyResult:
    """Verify Extend's runs."""
    return verify_runs(
        connect_extend(base_url=sandbox.extend_url),
        Target("extend", database),
        **options,
    )


def kinds(found: VerifyResult) -> dict[str, Any]:
    """The kinds of difference that are not empty."""
    return {name: different for name, different in found.kinds.items() if different}


def load_extend(sandbox: Sandbox, database: Path) -> None:
    """Load Extend's runs."""
    load_runs(
        connect_extend(base_url=sandbox.extend_url),
        Target("extend", database),
    )


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with all runs of such a platform. Equal seeds give equal runs."""
    folder = tmp_path_factory.mktemp("loaded")
    with Sandbox(**RUNS) as sandbox, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
        patch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
        load_extend(sandbox, folder / "d.duckdb")
    return folder / "d.duckdb"


@pytest.fixture
def platform(loaded: Path, tmp_path: Path) -> Iterator[Platform]:
    """A platform that has not changed since the load, and a copy of the database."""
    shutil.copy(loaded, tmp_path / "d.duckdb")
    with Sandbox(**RUNS) as sandbox:
        yield sandbox, tmp_path / "d.duckdb"


def test_equal_after_a_load(platform: Platform) -> None:
    """Right after a load no list and no cell differs, and verify writes nothing.

    Load ids do not come from the platform, so they are not compared.
    """
    sandbox, database = platform
    with duckdb.connect(str(database)) as connection:
        connection.execute("UPDATE extend.fields SET _dlt_load_id = 'x'")
    before = database.read_bytes()
    found = verify(sandbox, database, deep=ALL)
    assert kinds(found) == {}
    assert not found.differs
    assert found.listed["workflow_runs"] == 25
    assert found.sampled > 25
    tables = ("workflow_runs", "processor_runs", "fields", "citations", "insights", "splits")
    stored = sum(query(database, f"SELECT count(*) FROM extend.{table}")[0][0] for table in tables)
    assert found.rows_compared > 0.95 * stored
    assert sandbox.stats.verify_reads == 0
    assert database.read_bytes() == before


def test_without_a_sample_no_run_is_fetched(platform: Platform) -> None:
    """Without a sample verify sends one request a page. A sample of N costs N requests more, the lists again, and
    at most seven requests for the sources of a list's stand-alone runs."""
    sandbox, database = platform
    found = verify(sandbox, database)
    assert (sandbox.stats.details, sandbox.stats.lists) == (0, 7)
    assert found.requests == 7
    found = verify(sandbox, database, deep=3, seed=1)
    assert sandbox.stats.details == found.sampled == 3
    assert 7 + 7 + 3 <= found.requests <= 7 + 7 + 3 + 3 * 7


def test_each_kind_of_difference(platform: Platform) -> None:
    """Missing, stale, gone and returned runs are reported by kind, each with its list and id."""
    sandbox, database = platform
    ids = [id_ for (id_,) in query(database, "SELECT id FROM extend.workflow_runs ORDER BY 1")]
    with duckdb.connect(str(database)) as connection:
        connection.execute("UPDATE extend.workflow_runs SET deleted_at = now() WHERE id = ?", [ids[0]])
        connection.execute("DELETE FROM extend.workflow_runs WHERE id = ?", [ids[1]])
        connection.execute(
            "INSERT INTO extend.workflow_runs BY NAME (SELECT * REPLACE ('gone' AS id) "
            "FROM extend.workflow_runs LIMIT 1)"
        )
        connection.execute(
            "UPDATE extend.workflow_runs SET updated_at = updated_at - INTERVAL 1 MILLISECOND "
            "WHERE id = ?", [ids[2]],
        )  # fmt: skip
    found = verify(sandbox, database)
    assert kinds(found) == {
        "returned": [f"workflow_runs/{ids[0]}"],
        "missing": [f"workflow_runs/{ids[1]}"],
        "gone": ["workflow_runs/gone"],
        "stale": [f"workflow_runs/{ids[2]}"],
    }
    assert found.differs


def test_doubled_rows(platform: Platform) -> None:
    """Rows that are there twice are a difference in every table, with and without a sample, until `--full` has
    replaced those of runs."""
    sandbox, database = platform
    with duckdb.connect(str(database)) as connection:
        names = {name for (name,) in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()}
        filled = [
            table.name
            for table in TABLES
            if table.name in names and connection.execute(f"FROM extend.{table.name} LIMIT 1").fetchall()
        ]
        for name in filled:
            connection.execute(f"INSERT INTO extend.{name} FROM extend.{name} LIMIT 2")
    found = verify(sandbox, database)
    assert kinds(found).keys() == {"doubled"}
    assert {one.table for one in found.doubled} == {*filled} and len(filled) > 10
    run = query(database, "SELECT id FROM extend.workflow_runs GROUP BY 1 HAVING count(*) > 1 ORDER BY 1")[0][
        0
    ]
    assert str(found.doubled[0]) == f"workflow_runs {run}: 2 rows"
    assert found.as_dict()["doubled"] == len(found.doubled) > 20
    assert found.as_dict()["equal"] is False
    assert kinds(verify(sandbox, database, deep=2)).keys() == {"doubled"}
    load_runs(connect_extend(base_url=sandbox.extend_url, full=True), Target("extend", database))
    left = {one.table for one in verify(sandbox, database).doubled}
    # a load merges what has changed in these, and only then
    assert left <= {"syncs", "workflows", "workflow_versions", "processors", "processor_versions"}


def test_reviews_and_deletions_differ_until_they_are_loaded(platform: Platform) -> None:
    """A change on the platform is a difference until a load, or a sweep, has followed it."""
    sandbox, database = platform
    reviewed = sandbox.extend.review(3)
    (new,) = sandbox.extend.add(1)
    found = kinds(verify(sandbox, database))
    stale = {name for name in found["stale"] if name.startswith("workflow_runs/")}
    assert stale == {f"workflow_runs/{id_}" for id_ in reviewed}
    assert f"workflow_runs/{new}" in found["missing"]
    load_extend(sandbox, database)
    assert kinds(verify(sandbox, database, deep=ALL)) == {}
    sandbox.extend.delete(new)
    assert f"workflow_runs/{new}" in kinds(verify(sandbox, database))["gone"]
    sweep_deleted(connect_extend(base_url=sandbox.extend_url), Target("extend", database))
    assert kinds(verify(sandbox, database)) == {}


CHANGES = (
    ("UPDATE {t} SET value = value || '.' WHERE kind = 'leaf'", "fields", "value"),
    ("UPDATE {t} SET ocr_confidence = 0.123456 WHERE position = 0", "fields", "ocr_confidence"),
    ("UPDATE {t} SET page = 99 WHERE position = 0", "citations", "page"),
    ("DELETE FROM {t} WHERE position = 0", "insights", None),
    (
        "INSERT INTO {t} BY NAME (SELECT * REPLACE (position + 50 AS position) FROM {t})",
        "run_files",
        None,
    ),
    ("UPDATE {t} SET metadata = '{{\"a\": 1}}'", "workflow_runs", "metadata"),
    ("UPDATE {t} SET ended_at = ended_at + INTERVAL 1 SECOND", "workflow_runs", "ended_at"),
    ("UPDATE {t} SET status = 'X' WHERE type = 'EXTRACT'", "processor_runs", "status"),
    ("UPDATE {t} SET name = 'x' WHERE position = 0", "workflow_steps", "name"),
)


def test_every_cell_counts(platform: Platform) -> None:
    """A changed cell, a missing row and an extra row are named with table, key, column and both values."""
    sandbox, database = platform
    with duckdb.connect(str(database)) as connection:
        for change, table, _ in CHANGES:
            connection.execute(change.format(t=f"extend.{table}"))
    assert not verify(sandbox, database).differs
    found = verify(sandbox, database, deep=20, seed=4)
    assert {(d.table, d.column) for d in found.cells} == {(table, name) for _, table, name in CHANGES}
    for one in found.cells:
        text = str(one)
        assert text.startswith(f"{one.table} {one.key[0]}")
        assert ("only in the " if one.column is None else f"{one.column}: database ") in text
    missing = {d.table: (d.database, d.platform) for d in found.cells if d.column is None}
    assert missing == {"insights": (None, "a row"), "run_files": ("a row", None)}
    assert found.as_dict()["equal"] is False
    assert found.as_dict()["cells"] == len(found.cells) > 20
    assert len(found.as_dict()["first"]["cells"]) == 20


def test_same_seed_same_runs(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same seed picks the same sample, another seed another one."""
    sandbox, database = platform
    samples: list[set[str]] = []

    def note(platform: Any, fresh: Any, sample: set[str], running: Any) -> None:
        samples.append(sample)
        raise InterruptedError

    monkeypatch.setattr(module, "_load_sample", note)
    for seed in (1, 1, 2):
        with pytest.raises(InterruptedError):
            verify(sandbox, database, deep=5, seed=seed)
    one, same, other = samples
    assert len(one) == 5
    assert one == same != other


def test_quarantined_runs_are_no_difference(platform: Platform) -> None:
    """A run that is missing because it is quarantined is reported as quarantined, and is no difference."""
    sandbox, database = platform
    row = {"id": "exr_bad", "status": "PROCESSED"}
    sandbox.extend.put('{"id": "another"}', row, resource="extract_runs")
    assert kinds(verify(sandbox, database)) == {"missing": ["extract_runs/exr_bad"]}
    load_extend(sandbox, database)
    found = verify(sandbox, database)
    assert kinds(found) == {}
    assert found.quarantined == ["extract_runs/exr_bad"]


def test_plextera_with_nested_runs(tmp_path: Path) -> None:
    """Nested runs and linked extractions are equal after loads and reprocessing, whichever of them are
    sampled."""
    database = tmp_path / "d.duckdb"
    with Sandbox(runs=1, plextera_runs=6, seed=11) as sandbox:
        sandbox.plextera.add(2, depth=2)
        platform = connect_plextera(base_url=sandbox.plextera_url, page_size=5)
        target = Target("plextera", database)
        load_runs(platform, target)
        assert kinds(verify_runs(platform, target, deep=6, seed=2)) == {}
        changed = sandbox.plextera.reprocess(2)
        found = verify_runs(platform, target)
        assert {f"extractions/{id_}" for id_ in changed} <= {*found.stale}
        load_runs(platform, target)
        assert kinds(verify_runs(platform, target, deep=ALL)) == {}


def test_no_database(tmp_path: Path, sandbox: Sandbox) -> None:
    """Verify without a database is wrong use, and creates no file."""
    with pytest.raises(ConfigError, match="does not exist"):
        verify(sandbox, tmp_path / "none.duckdb")
    assert not (tmp_path / "none.duckdb").exists()
    assert sandbox.stats.requests == 0


def test_a_table_without_a_column_of_this_version(tmp_path: Path) -> None:
    """A dataset of an earlier version lacks columns: they are not compared, and all others are."""
    database = tmp_path / "v.duckdb"
    with Sandbox(**RUNS) as sandbox:
        load_runs(connect_extend(base_url=sandbox.extend_url), Target("extend", database))
        with duckdb.connect(str(database)) as connection:
            connection.execute("ALTER TABLE extend.processor_runs DROP COLUMN risk_level")
            connection.execute("UPDATE extend.processor_runs SET source_id = 'other' WHERE type = 'SPLIT'")
        found = verify(sandbox, database, deep=ALL)
    assert {(each.table, each.column) for each in found.cells} == {("processor_runs", "source_id")}
