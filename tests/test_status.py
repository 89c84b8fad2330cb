"""What `docruns status` tells of a database, and of who is at work on it."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pytest

from docruns.errors import LockedError
from docruns.load import Target, alone, lock_file
from docruns.lock import Holder, holder
from docruns.sandbox import Sandbox
from docruns.status import reports
from loading import Loader
from test_lock import another

HOLD_FILE = (
    "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); "
    "sys.stdin.read()"
)


def nobody(_: str) -> None:
    """No load is at work."""


@pytest.mark.fault(6)
def test_report_of_a_loaded_database(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """Runs, deleted ones and half-loaded packages are counted; nobody is at work."""
    path = tmp_path / "t.duckdb"
    load_extend(path)
    (found,) = reports(path, nobody)
    assert (found["dataset"], found["workflow_runs"], found["deleted"]) == ("extend", 40, 0)
    assert found["half_loaded_packages"] == 0
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
    (found,) = reports(path, nobody)
    assert (found["deleted"], found["half_loaded_packages"]) == (1, 1)
    # a load that has not opened the database yet, or has just closed it
    with alone(Target("extend", path), "docruns load extend"):
        (found,) = reports(path, lambda name: holder(lock_file(Target(name, path))))
        assert found["workflow_runs"] == 40
        assert found["at_work"]["command"] == "docruns load extend"


def test_status_while_a_load_has_the_database(tmp_path: Path) -> None:
    """While nobody else can read the database, status tells at once who is at work; otherwise it waits."""
    path = tmp_path / "t.duckdb"
    who = Holder(4711, "2026-11-22T07:00:00Z", "docruns load plextera")
    with another(HOLD_FILE, str(path)) as process:
        found = reports(path, lambda name: who if name == "plextera" else None, wait_s=60)
        assert found == [{"dataset": "plextera", "at_work": who._asdict()}]
        with pytest.raises(LockedError, match=f"PID {process.pid}"):
            reports(path, nobody, wait_s=0.3)
