"""A sweep marks the runs that the platform has deleted, and no others."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

import docruns
from docruns.commands.load import load_runs
from docruns.commands.reconcile.sweep import SweepResult, sweep_deleted
from docruns.core.errors import ApiError, ConfigError, DocrunsError
from docruns.sandbox import Sandbox
from docruns.store.target import Target
from docruns.sync import inventory
from support.loading import FEW_LISTED, connect, query

Platform = tuple[Sandbox, Path]


def sweep(sandbox: Sandbox, database: Path, provider: str = "extend", **options: Any) -> SweepResult:
    """Sweep; `confirm` and `yes` go to `sweep_deleted`, other options to the platform."""
    limits = {name: options.pop(name) for name in ("confirm", "yes") if name in options}
    platform = connect(sandbox, provider, **options)
    return sweep_deleted(platform, Target(provider, database), **limits)


def deleted(database: Path, provider: str = "extend") -> dict[str, set[str]]:
    """The ids of marked runs, by table."""
    return {
        table: {
            id_
            for (id_,) in query(database, f"SELECT id FROM {provider}.{table} WHERE deleted_at IS NOT NULL")
        }
        for table in ("workflow_runs", "processor_runs")
    }


RUNS: Any = {"runs": 25, "standalone": 8, "seed": 5, "corpus": FEW_LISTED}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with all Extend runs of such a platform. Equal seeds give equal runs."""
    folder = tmp_path_factory.mktemp("loaded")
    with Sandbox(**RUNS) as sandbox, pytest.MonkeyPatch.context() as patch:
        patch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
        patch.setenv("RUNTIME__DLTHUB_TELEMETRY", "false")
        load_runs(connect(sandbox, "extend"), Target("extend", folder / "d.duckdb"))
    return folder / "d.duckdb"


@pytest.fixture
def platform(loaded: Path, tmp_path: Path) -> Iterator[Platform]:
    """A platform that has not changed since the load, and a copy of the database."""
    shutil.copy(loaded, tmp_path / "d.duckdb")
    with Sandbox(**RUNS) as sandbox:
        yield sandbox, tmp_path / "d.duckdb"


def inside(database: Path, run_id: str) -> set[str]:
    """The ids of the processor runs of a workflow run."""
    sql = "SELECT id FROM extend.processor_runs WHERE workflow_run_id = ?"
    return {id_ for (id_,) in query(database, sql, run_id)}


def test_deleted_runs_are_marked_and_keep_their_rows(platform: Platform) -> None:
    """A deleted workflow run is marked with all runs inside it, for one request. No row is deleted."""
    sandbox, database = platform
    count = "SELECT (SELECT count(*) FROM extend.fields), (SELECT count(*) FROM extend.processor_runs)"
    before = query(database, count)
    run_id = query(
        database, "SELECT workflow_run_id FROM extend.processor_runs WHERE type = 'EXTRACT' "
        "AND workflow_run_id IS NOT NULL ORDER BY 1 LIMIT 1",
    )[0][0]  # fmt: skip
    came_along = inside(database, run_id)
    assert len(came_along) > 1
    sandbox.extend.delete(run_id)
    found = sweep(sandbox, database)
    assert deleted(database) == {"workflow_runs": {run_id}, "processor_runs": came_along}
    assert found.marked == {"workflow_runs": 1, "processor_runs": len(came_along)}
    assert (found.confirmed, found.still_there, found.unconfirmed) == (1, 0, 0)
    assert sandbox.stats.details == 1
    assert query(database, count) == before
    ((at,),) = query(database, "SELECT DISTINCT deleted_at FROM extend.workflow_runs "
                     "WHERE deleted_at IS NOT NULL")  # fmt: skip
    assert abs((datetime.now(UTC) - at).total_seconds()) < 60
    # a second sweep finds nothing new, sends no request for a run, and keeps the first time
    sandbox.stats.reset()
    again = sweep(sandbox, database)
    assert again.marked == {"workflow_runs": 0, "processor_runs": 0}
    assert sandbox.stats.details == 0
    assert query(database, "SELECT max(deleted_at) FROM extend.workflow_runs") == [(at,)]


def test_a_run_that_is_listed_again_loses_its_mark(platform: Platform) -> None:
    """A run that is listed again loses its mark, together with the runs inside it that no list shows."""
    sandbox, database = platform
    run_id, other = (
        id_ for (id_,) in query(database, "SELECT id FROM extend.workflow_runs ORDER BY 1 LIMIT 2")
    )
    with duckdb.connect(str(database)) as connection:
        connection.execute(
            "UPDATE extend.workflow_runs SET deleted_at = now() WHERE id IN (?, ?)", [run_id, other]
        )
        connection.execute(
            "UPDATE extend.processor_runs SET deleted_at = now() WHERE workflow_run_id = ?",
            [run_id],
        )
    sandbox.extend.delete(other)
    found = sweep(sandbox, database)
    assert found.restored["workflow_runs"] == 1
    assert found.restored["processor_runs"] == len(inside(database, run_id)) > 0
    assert deleted(database) == {
        "workflow_runs": {other},
        "processor_runs": inside(database, other),
    }


def test_only_a_404_counts(platform: Platform) -> None:
    """A run that is missing from the list but answers is not deleted. An error other than 404 proves
    nothing."""
    sandbox, database = platform
    with duckdb.connect(str(database)) as connection:
        connection.execute(
            "INSERT INTO extend.workflow_runs BY NAME (SELECT * REPLACE ('hidden' AS id) "
            "FROM extend.workflow_runs LIMIT 1)"
        )
    sandbox.extend.put('{"object": "workflow_run", "id": "hidden", "status": "PROCESSED"}')
    # as if the row had moved between pages while the list was read
    pages = inventory.ListInventory.__init__

    def without_hidden(self: Any, *about: Any) -> None:
        pages(self, *about)
        self.rows["workflow_runs"].pop("hidden")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inventory.ListInventory, "__init__", without_hidden)
        found = sweep(sandbox, database)
        assert (found.confirmed, found.still_there) == (0, 1)
        sandbox.fault("status", "/workflow_runs/hidden", status=400, times=None)
        found = sweep(sandbox, database)
        assert (found.confirmed, found.unconfirmed) == (0, 1)
        sandbox.clear_faults()
        sandbox.fault("status", "/workflow_runs/hidden", status=403, times=None)
        with pytest.raises(ApiError):
            sweep(sandbox, database)
    assert deleted(database) == {"workflow_runs": set(), "processor_runs": set()}


@pytest.mark.parametrize("fault", ["status", "empty_list"])
def test_a_list_that_is_cut_short_marks_nothing(platform: Platform, fault: str) -> None:
    """If one list fails or comes empty, no run is marked, whatever the other lists show."""
    sandbox, database = platform
    run_id = query(database, "SELECT id FROM extend.workflow_runs ORDER BY 1 LIMIT 1")[0][0]
    sandbox.extend.delete(run_id)
    if fault == "status":
        sandbox.fault("status", "/classify_runs", status=400, times=None)
        with pytest.raises(ApiError, match="400"):
            sweep(sandbox, database)
    else:
        for run in list(sandbox.extend.truth()):
            if run["resource"] == "workflow_runs" and run["id"] != run_id:
                sandbox.extend.delete(run["id"])
        with pytest.raises(DocrunsError, match=r"workflow_runs: the list shows 0 runs, and none of the 25"):
            sweep(sandbox, database)
        assert sandbox.stats.details == 0
    assert deleted(database) == {"workflow_runs": set(), "processor_runs": set()}
    if fault == "empty_list":
        found = sweep(sandbox, database, yes=True)
        assert found.marked["workflow_runs"] == 25


def test_many_requests_need_confirmation(platform: Platform) -> None:
    """If more runs than `confirm` are missing, the sweep stops before the first request for a run."""
    sandbox, database = platform
    ids = [id_ for (id_,) in query(database, "SELECT id FROM extend.workflow_runs ORDER BY 1 LIMIT 5")]
    for id_ in ids:
        sandbox.extend.delete(id_)
    with pytest.raises(ConfigError, match=r"--confirm: (\d+) runs are in no list") as caught:
        sweep(sandbox, database, confirm=4)
    assert "--yes" in str(caught.value)
    # processor runs without a known workflow run count as well
    number = int(str(caught.value).split()[1])
    assert number >= 5
    with pytest.raises(ConfigError, match="--confirm"):
        sweep(sandbox, database, confirm=number - 1)
    assert sandbox.stats.details == 0
    assert deleted(database)["workflow_runs"] == set()
    found = sweep(sandbox, database, confirm=number)
    assert found.marked["workflow_runs"] == 5
    assert found.confirmed == sandbox.stats.details == number


def test_processor_runs_have_lists_of_their_own(platform: Platform) -> None:
    """A processor run is deleted if its list lacks it and it answers 404, alone or inside a run that is still
    there."""
    sandbox, database = platform
    with duckdb.connect(str(database)) as connection:
        # as if the platform had had them once
        for id_, parent in (("exr_was_here", None), ("exr_was_inside", "workflow_run_id")):
            connection.execute(
                f"INSERT INTO extend.processor_runs BY NAME (SELECT * REPLACE ('{id_}' AS id, "
                f"{parent or 'NULL'} AS workflow_run_id) FROM extend.processor_runs "
                "WHERE type = 'EXTRACT' AND workflow_run_id IS NOT NULL LIMIT 1)"
            )
        # this version's lists use other ids, and its workflow run is there
        connection.execute(
            "INSERT INTO extend.processor_runs BY NAME (SELECT * REPLACE ('dpr_older' AS id, "
            "'2025-04-21' AS api_version) FROM extend.processor_runs "
            "WHERE type = 'EXTRACT' AND workflow_run_id IS NOT NULL LIMIT 1)"
        )
        # a verify run must not be fetched, so it stays unconfirmed
        connection.execute(
            "INSERT INTO extend.processor_runs BY NAME (SELECT * REPLACE ('vr_used_up' AS id) "
            "FROM extend.processor_runs WHERE type = 'VERIFY' LIMIT 1)"
        )
    found = sweep(sandbox, database)
    assert deleted(database)["processor_runs"] == {"exr_was_here", "exr_was_inside"}
    assert (found.confirmed, found.unconfirmed) == (2, 1)
    assert sandbox.stats.verify_reads == 0
    assert sandbox.stats.details == 2


def test_a_version_without_lists_of_processor_runs(tmp_path: Path) -> None:
    """In a version without lists of processor runs, these are marked and restored with their workflow run."""
    database = tmp_path / "d.duckdb"
    with Sandbox(runs=6, seed=5, corpus=FEW_LISTED) as sandbox:
        load_runs(connect(sandbox, "extend", api_version="v1"), Target("extend", database))
        run_id = query(database, "SELECT min(workflow_run_id) FROM extend.processor_runs")[0][0]
        came_along = inside(database, run_id)
        sandbox.extend.delete(run_id)
        sandbox.stats.reset()
        sweep(sandbox, database, api_version="v1")
        assert deleted(database) == {"workflow_runs": {run_id}, "processor_runs": came_along}
        assert sandbox.stats.details == 1
        sandbox.extend.put(f'{{"workflowRun": {{"id": "{run_id}", "status": "PROCESSED"}}}}')
        sweep(sandbox, database, api_version="v1")
        assert deleted(database) == {"workflow_runs": set(), "processor_runs": set()}


def test_nested_runs_are_marked_with_their_outermost_run(tmp_path: Path) -> None:
    """Nested runs are in no list. They are marked only if their outermost run is deleted."""
    database = tmp_path / "d.duckdb"
    with Sandbox(runs=1, plextera_runs=12, seed=11) as sandbox:
        sandbox.plextera.add(2, depth=3)
        load_runs(connect(sandbox, "plextera", page_size=5), Target("plextera", database))
        nested = (
            "SELECT root_run_id, list(id) FROM plextera.workflow_runs WHERE depth > 0 GROUP BY 1 ORDER BY 1"
        )
        found = query(database, nested)
        assert len(found) >= 2
        assert sweep(sandbox, database, "plextera").marked == {
            "workflow_runs": 0, "processor_runs": 0,
        }  # fmt: skip
        (root, below), (other, _), *_ = found
        sandbox.plextera.delete(root)
        sandbox.stats.reset()
        sweep(sandbox, database, "plextera")
        assert deleted(database, "plextera")["workflow_runs"] == {root, *below}
        assert other not in deleted(database, "plextera")["workflow_runs"]
        # extractions have a list, and it still shows them
        assert deleted(database, "plextera")["processor_runs"] == set()
        assert sandbox.stats.details == 1


def test_runs_of_several_workspaces(platform: Platform) -> None:
    """A dataset with runs of two workspaces cannot be swept: one key sees only one of them."""
    sandbox, database = platform
    with duckdb.connect(str(database)) as connection:
        for label, first in (("ws_a", True), ("ws_b", False)):
            connection.execute(
                f"UPDATE extend.workflow_runs SET workspace = '{label}' WHERE (id < 'workflow_run_a') = {first}"
            )
    with pytest.raises(ConfigError, match=r"several workspaces \(ws_a, ws_b\)"):
        sweep(sandbox, database)
    assert sandbox.stats.requests == 0


def test_files_cannot_be_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: Platform) -> None:
    """A destination of files has no rows to change: the sweep refuses it before any request."""
    sandbox, _ = platform
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", (tmp_path / "lake").as_uri())
    with pytest.raises(ConfigError, match="--destination: filesystem keeps files"):
        sweep_deleted(connect(sandbox, "extend"), Target("extend", destination="filesystem"))
    assert sandbox.stats.requests == 0


def test_a_run_that_is_deleted_between_list_and_details(platform: Platform) -> None:
    """A run that was listed and answers 404 is marked by the load that no longer finds it in a list."""
    sandbox, database = platform
    (run_id,) = sandbox.extend.review(1)
    sandbox.fault("status", f"/workflow_runs/{run_id}", status=404, times=None)
    summary = load_runs(connect(sandbox, "extend"), Target("extend", database))
    assert (summary.quarantined, summary.gone) == (0, 1)
    assert deleted(database)["workflow_runs"] == set()
    sandbox.extend.delete(run_id)
    assert load_runs(connect(sandbox, "extend"), Target("extend", database)).complete
    assert deleted(database)["workflow_runs"] == {run_id}


def test_an_archive_that_an_option_names(platform: Platform, tmp_path: Path) -> None:
    """A sweep with --archive notes there what it marks, so that a replay marks it too."""
    sandbox, database = platform
    archive, target = str(tmp_path / "answers"), Target("extend", database)
    load_runs(connect(sandbox, "extend", archive=archive, full=True), target)
    ((gone,),) = query(database, "SELECT min(id) FROM extend.workflow_runs")
    sandbox.extend.delete(gone)
    command = [sys.executable, "-m", "docruns", "sweep", "extend", "--base-url", sandbox.extend_url]
    options = ["--database", str(database), "--archive", archive]
    subprocess.run([*command, *options], check=True, timeout=300)
    marked = deleted(database)
    assert gone in marked["workflow_runs"]
    replayed = tmp_path / "replayed.duckdb"
    docruns.replay("extend", archive=archive, database=replayed)
    assert deleted(replayed) == marked
