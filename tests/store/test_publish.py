"""`load --publish`: a copy for readers that always exists, is always whole, and blocks no load."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from docruns.commands.load import load_runs
from docruns.core.errors import ConfigError, DocrunsError, LockedError
from docruns.providers.extend import connect_extend
from docruns.sandbox import Sandbox
from docruns.store.duckdb.publish import publish_copy
from docruns.store.target import Target
from support.loading import FEW_LISTED, STATE, query
from support.processes import another

# all cells of all that hangs on a run, so that no two versions look the same
POLL = """
import json, sys, time
import duckdb
path, sql = sys.argv[1:]
seen, reads = [], 0
print("held", flush=True)
import threading
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
while not ended.is_set():
    with duckdb.connect(path, read_only=True) as connection:
        state = connection.execute(sql).fetchall()
    reads += 1
    if not seen or seen[-1] != state:
        seen.append(state)
    time.sleep(0.01)
print(json.dumps([reads, seen]), flush=True)
"""

WRITE_AND_DIE = """
import duckdb, os, sys
connection = duckdb.connect(sys.argv[1])
connection.execute("SET checkpoint_threshold = '1GB'")
connection.execute(sys.argv[2])
os._exit(9)
"""


def load_into(sandbox: Sandbox, database: Path, path: Path | None, **options: Any) -> None:
    """Load, and publish the database at a path."""
    options.setdefault("base_url", sandbox.extend_url)
    load_runs(
        connect_extend(**options),
        Target("extend", database),
        publish=path,
    )


@pytest.fixture
def platform() -> Any:
    """A platform of a few runs, so that five loads take little time."""
    with Sandbox(runs=12, standalone=0, seed=5, corpus=FEW_LISTED) as running:
        yield running


@pytest.mark.fault(12)
def test_readers_never_see_a_half(platform: Sandbox, tmp_path: Path) -> None:
    """A reader of the copy, every 10 ms during five loads, sees only results of whole loads."""
    database, path = tmp_path / "d.duckdb", tmp_path / "for_all.duckdb"
    load_into(platform, database, path)
    versions = [query(database, STATE)]
    with another(POLL, str(path), STATE) as reader:
        for _ in range(5):
            platform.extend.review(6)
            load_into(platform, database, path)
            versions.append(query(database, STATE))
        assert reader.stdin is not None
        assert reader.stdout is not None
        reader.stdin.close()
        reads, seen = json.loads(reader.stdout.readline())
    as_json = [json.loads(json.dumps(version)) for version in versions]
    assert len({json.dumps(version) for version in versions}) == 6
    # in order, none twice, none that is not one of them
    assert seen == [version for version in as_json if version in seen]
    assert len(seen) >= 5
    assert reads > 50


def test_the_copy_is_its_owner_s_alone(platform: Sandbox, tmp_path: Path) -> None:
    """The copy has mode 0600 until the user changes it, and no other file is left beside it."""
    database, path = tmp_path / "d.duckdb", tmp_path / "open to all.duckdb"
    load_into(platform, database, None)
    mask = os.umask(0)
    try:
        load_into(platform, database, path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.chmod(0o644)
        load_into(platform, database, path)
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert query(path, STATE) == query(database, STATE)
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "d.duckdb", "dlt", "open to all.duckdb",
    ]  # fmt: skip


def test_a_stale_log_is_not_replayed(platform: Sandbox, tmp_path: Path) -> None:
    """Changes to an older copy that are still in its log do not get into the new copy."""
    database, path = tmp_path / "d.duckdb", tmp_path / "copy.duckdb"
    load_into(platform, database, path)
    log = tmp_path / "copy.duckdb.wal"
    for text in ("DELETE FROM extend.fields", None):
        if text is None:
            log.write_bytes(b"this is no log" * 100)
        else:
            subprocess.run([sys.executable, "-c", WRITE_AND_DIE, str(path), text], check=False)
        assert log.stat().st_size > 0
        load_into(platform, database, path)
        assert not log.exists()
        assert query(path, STATE) == query(database, STATE)


def test_changes_beside_the_database_are_copied_too(platform: Sandbox, tmp_path: Path) -> None:
    """Changes that another program left in the log of the database when it crashed are in the copy."""
    database, path = tmp_path / "d.duckdb", tmp_path / "copy.duckdb"
    load_into(platform, database, None)
    sql = "CREATE TABLE mine AS SELECT 42 AS answer"
    subprocess.run([sys.executable, "-c", WRITE_AND_DIE, str(database), sql], check=False)
    assert (tmp_path / "d.duckdb.wal").stat().st_size > 0
    publish_copy(database, path, "x")
    assert query(path, "SELECT answer FROM mine") == [(42,)]


def test_places_that_cannot_be(platform: Sandbox, tmp_path: Path) -> None:
    """A path where no copy can be put is refused before the load, without a request or a new file."""
    database = tmp_path / "d.duckdb"
    text = tmp_path / "notes.txt"
    text.write_text("not to be lost, and long enough to be a header")
    (tmp_path / "folder").mkdir()
    for path, says in (
        (database, "is the database itself"),
        (tmp_path / "folder" / ".." / "no" / "x.duckdb", "does not exist"),
        (tmp_path / "folder", "is not a DuckDB database"),
        (text, "is not a DuckDB database"),
        (tmp_path / "a?b.duckdb", "question mark"),
        (tmp_path / "d.duckdb.wal", "its own working file (d.duckdb.wal)"),
        (tmp_path / "d.duckdb.tmp", "its own working file (d.duckdb.tmp)"),
    ):
        with pytest.raises(ConfigError, match="--publish") as caught:
            load_into(platform, database, path)
        assert says in str(caught.value)
    # before the copy is put there, the log beside it is deleted
    with pytest.raises(ConfigError, match=r"its own working file \(x\.duckdb\.wal\)"):
        load_into(platform, tmp_path / "x.duckdb.wal", tmp_path / "x.duckdb")
    with pytest.raises(ConfigError, match=r"--publish: needs a DuckDB database, not filesystem"):
        load_runs(
            connect_extend(base_url=platform.extend_url),
            Target("extend", database, "filesystem"),
            publish=tmp_path / "x.duckdb",
        )
    assert platform.stats.requests == 0
    assert not database.exists()
    assert text.read_text().startswith("not to be lost")
    load_into(platform, database, None)
    (tmp_path / "link.duckdb").symlink_to(database)
    with pytest.raises(ConfigError, match="is the database itself"):
        load_into(platform, database, tmp_path / "link.duckdb")


def test_a_failed_load_leaves_the_older_copy(platform: Sandbox, tmp_path: Path) -> None:
    """A load that fails does not publish."""
    database, path = tmp_path / "d.duckdb", tmp_path / "copy.duckdb"
    load_into(platform, database, path)
    before = path.read_bytes()
    platform.extend.add(3)
    platform.fault("status", "/workflow_runs/*", status=401, times=None, after=1)
    with pytest.raises(DocrunsError, match="401"):
        load_into(platform, database, path)
    assert path.read_bytes() == before
    platform.clear_faults()
    load_into(platform, database, path)
    assert query(path, "SELECT count(*) FROM extend.workflow_runs") == [(15,)]


def test_a_copy_that_somebody_writes_to(
    platform: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy that a process has open for writing is not replaced; the loaded runs are kept."""
    from docruns.store.duckdb import publish as module

    monkeypatch.setattr(module, "_WAIT_S", 0.3)
    database, path = tmp_path / "d.duckdb", tmp_path / "copy.duckdb"
    load_into(platform, database, path)
    platform.extend.add(1)
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    with (
        another(code, str(path)) as writer,
        pytest.raises(LockedError, match=f"--publish .*PID {writer.pid}"),
    ):
        load_into(platform, database, path)
    assert query(path, "SELECT count(*) FROM extend.workflow_runs") == [(12,)]
    assert query(database, "SELECT count(*) FROM extend.workflow_runs") == [(13,)]
    assert list(tmp_path.glob(".*.part")) == []


@pytest.mark.fault(6)
def test_what_a_kill_has_torn_is_not_published(platform: Sandbox, tmp_path: Path) -> None:
    """A load with `max_runs` does not publish while runs of a killed load are at two versions."""
    database, path = tmp_path / "d.duckdb", tmp_path / "copy.duckdb"
    load_into(platform, database, None)
    with duckdb.connect(str(database)) as connection:
        connection.execute("UPDATE extend.workflow_runs SET _dlt_load_id = 'killed'")
    platform.extend.review(4)
    with pytest.raises(DocrunsError, match=r"a killed load left \d+ runs at two versions"):
        load_into(platform, database, path, max_runs=1)
    assert not path.exists()
    load_into(platform, database, path)
    assert query(path, STATE) == query(database, STATE)


@pytest.mark.fault(6)
@pytest.mark.parametrize("window", [{"since": "2027-01-01"}, {"until": "2020-01-01"}])
def test_what_is_torn_outside_of_a_window_is_not_published(
    platform: Sandbox, tmp_path: Path, window: dict[str, Any]
) -> None:
    """A load with `since` or `until` does not publish while runs outside of them are at two versions."""
    database, path = tmp_path / "d.duckdb", tmp_path / "copy.duckdb"
    load_into(platform, database, None)
    with duckdb.connect(str(database)) as connection:
        connection.execute("UPDATE extend.workflow_runs SET _dlt_load_id = 'killed'")
    with pytest.raises(DocrunsError, match=r"a killed load left \d+ runs at two versions"):
        load_into(platform, database, path, **window)
    assert not path.exists()


@pytest.mark.fault(6)
def test_what_nobody_can_read_again_is_published(platform: Sandbox, tmp_path: Path) -> None:
    """A half-loaded run that was deleted on the platform cannot be repaired, so it does not prevent a
    copy."""
    database, path = tmp_path / "g.duckdb", tmp_path / "copy.duckdb"
    load_into(platform, database, None)
    with duckdb.connect(str(database)) as connection:
        connection.execute(
            "UPDATE extend.workflow_runs SET _dlt_load_id = 'killed', deleted_at = now() "
            "WHERE id = (SELECT min(id) FROM extend.workflow_runs)"
        )
    platform.extend.review(4)
    load_into(platform, database, path, max_runs=1)
    assert query(path, STATE) == query(database, STATE)
