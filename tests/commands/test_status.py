"""`docruns status`: the report on a database, and the process at work on it."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from docruns.commands.cli.console import as_report
from docruns.commands.health.status import reports
from docruns.core.errors import LockedError
from docruns.sandbox import Sandbox
from docruns.store.target import LockHolder, Target, exclusive, lock_holders
from proofs.children import Children
from support.loading import Loader
from support.processes import HOLD_FILE, another


def no_process() -> dict[str, LockHolder]:
    """No process is at work."""
    return {}


@pytest.mark.fault(6)
def test_report_of_a_loaded_database(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """Runs, deleted runs and half-loaded packages are counted, and no process is at work."""
    path = tmp_path / "t.duckdb"
    load_extend(path)
    (found,) = reports(path, no_process)
    assert (found["dataset"], found["workflow_runs"], found["deleted"]) == ("extend", 40, 0)
    assert (found["half_loaded_packages"], found["older_rows"]) == (0, 0)
    assert found["at_work"] is None
    with duckdb.connect(str(path)) as connection:
        connection.execute(
            "UPDATE extend.workflow_runs SET deleted_at = now(), _dlt_load_id = 'gone since' "
            "WHERE id = (SELECT min(id) FROM extend.workflow_runs)"
        )
        connection.execute(
            "UPDATE extend.workflow_runs SET _dlt_load_id = 'cut' "
            "WHERE id = (SELECT max(id) FROM extend.workflow_runs)"
        )
    (found,) = reports(path, no_process)
    assert (found["deleted"], found["half_loaded_packages"]) == (1, 1)
    # as while a load has not opened the database yet, or has just closed it
    with exclusive(Target("extend", path), "docruns load extend"):
        (found,) = reports(path, lambda: lock_holders(path))
        assert found["workflow_runs"] == 40
        assert found["at_work"]["command"] == "docruns load extend"


def test_plain_files_are_not_counted(tmp_path: Path, children: Children, few_runs: Sandbox) -> None:
    """Right after a load, `status` said that nothing was loaded."""
    where = ("--destination", "filesystem", "--table-format", "none")
    environment = {"DESTINATION__FILESYSTEM__BUCKET_URL": str(tmp_path / "log")}
    loaded = children.run(
        tmp_path, "load", "extend", "--base-url", few_runs.extend_url, *where, environment=environment
    )
    assert loaded.code == 0, loaded.err
    ended = children.run(tmp_path, "status", *where, environment=environment)
    assert (ended.code, ended.out) == (2, "")
    assert "filesystem keeps plain files, which status cannot query" in ended.err


def test_views_of_a_lake(loaded: Path, few_runs: Sandbox, children: Children, tmp_path: Path) -> None:
    """The file that `models --over` makes holds no rows: status and doctor say which destination to ask, and what would
    change rows is refused before any request. All of them failed."""
    path = tmp_path / "views.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"ATTACH '{loaded}' AS loaded; CREATE SCHEMA extend")
        for name in ("syncs", "workflow_runs", "processor_runs", "fields"):
            file = tmp_path / f"{name}.parquet"
            connection.execute(f"COPY loaded.extend.{name} TO '{file}'")
            connection.execute(f"CREATE VIEW extend.{name} AS SELECT * FROM read_parquet('{file}')")
    where = ("--database", str(path))
    ended = children.run(tmp_path, "status", *where)
    command = "docruns status --destination filesystem --table-format delta --dataset extend"
    advice = f"`{command}` (or iceberg) asks the lake."
    assert (ended.code, ended.out.splitlines()[:2]) == (
        0, ["extend", f"  views_of_a_lake        no rows are in this file. {advice}"],
    ), ended.err  # fmt: skip
    ended = children.run(tmp_path, "doctor", *where)
    assert ended.code == 0, ended.err
    assert f"extend\n  rows        it holds views of a lake, and no rows\n              {advice}" in ended.out
    before = few_runs.stats.requests
    for command in (("load", "extend"), ("sweep", "extend")):
        ended = children.run(tmp_path, *command, *where, "--base-url", few_runs.extend_url)
        assert ended.code == 2, ended.err
        assert "holds views of a lake, which take no rows" in ended.err
    assert few_runs.stats.requests == before
    ended = children.run(tmp_path, "forget", "extend", "--id", "run_1", *where)
    assert (ended.code, "holds views of a lake" in ended.err) == (2, True), ended.err


def test_status_while_a_load_has_the_database(tmp_path: Path) -> None:
    """While a load has the database open, status reports its process at once, in words or as JSON values. For
    another program it waits."""
    path = tmp_path / "t.duckdb"
    who = LockHolder(4711, "2026-11-22T07:00:00Z", "docruns load plextera")
    with another(HOLD_FILE, str(path)) as process:
        found = reports(path, lambda: {"claims": who}, wait_s=60)
        holder = {"pid": 4711, "since": "2026-11-22T07:00:00Z", "command": "docruns load plextera"}
        assert found == [{"dataset": "claims", "at_work": holder}]
        said = "claims\n  at_work                `docruns load plextera` (process 4711) since 2026-11-22T07:00:00Z"
        assert as_report(found, str(path)) == said
        with pytest.raises(LockedError, match=f"PID {process.pid}"):
            reports(path, no_process, wait_s=0.3)


def test_lock_holders_of_a_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks are found by the database file, for any dataset name and relative path, and for no other file."""
    (tmp_path / "below").mkdir()
    path = tmp_path / "below" / "t.duckdb"
    with (
        exclusive(Target("claims", path), "docruns load extend"),
        exclusive(Target("claims", tmp_path / "other.duckdb"), "docruns load extend"),
        exclusive(Target("claims", destination="postgres"), "docruns load extend"),
    ):
        monkeypatch.chdir(tmp_path / "below")
        assert list(lock_holders(Path("t.duckdb"))) == ["claims"]
        assert lock_holders(Path("t.duckdb"))["claims"].command == "docruns load extend"
        assert lock_holders(tmp_path / "third.duckdb") == {}
    assert lock_holders(path) == {}
