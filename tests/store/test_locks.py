"""Locks: one load at a time on a target, one writer at a time on a database, and the messages to others."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from filelock import FileLock

from docruns.commands.reconcile.sweep import sweep_deleted
from docruns.commands.reconcile.verify import verify_runs
from docruns.core.errors import ConfigError, LockedError
from docruns.providers.extend import connect_extend
from docruns.sandbox import Sandbox
from docruns.store.duckdb import file
from docruns.store.duckdb.file import open_database
from docruns.store.target import (
    LockHolder,
    Target,
    exclusive,
    hold_lock,
    lock_file,
    lock_holder,
    require_database,
)
from support.loading import Loader
from support.processes import HOLD, another


@pytest.mark.fault(13)
def test_a_second_load_is_refused(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """A second load is refused with the process at work and its start; it sends no request and creates no
    file."""
    path = tmp_path / "t.duckdb"
    with another(HOLD, str(lock_file(Target("extend", path)))) as process:
        with pytest.raises(LockedError) as caught:
            load_extend(path)
        text = str(caught.value)
        assert f"`docruns load extend` (process {process.pid}) since 2026-11-22T07:00:00Z is at work" in text
        assert "t.duckdb (extend)" in text
        assert caught.value.exit_code == 1
        assert sandbox.stats.requests == 0
        assert not path.exists()
        # another target is nobody's business
        with exclusive(Target("plextera", path), "docruns load plextera"):
            pass


def test_sweep_is_a_load_to_others(load_extend: Loader, sandbox: Sandbox, tmp_path: Path) -> None:
    """A sweep does not begin either while a load is at work; a verify, which changes nothing, does."""

    path = tmp_path / "t.duckdb"
    load_extend(path)
    platform = connect_extend(base_url=sandbox.extend_url)
    sandbox.stats.reset()
    with another(HOLD, str(lock_file(Target("extend", path)))):
        with pytest.raises(LockedError, match="at work on it"):
            sweep_deleted(platform, Target("extend", path))
        assert sandbox.stats.requests == 0
        assert not verify_runs(platform, Target("extend", path)).differs


@pytest.mark.fault(13)
def test_a_dead_process_holds_nothing(tmp_path: Path) -> None:
    """After `kill -9` of a load the next one begins at once: the system has released the lock."""
    target = Target("extend", tmp_path / "t.duckdb")
    with another(HOLD, str(lock_file(target))) as process:
        who = lock_holder(lock_file(target))
        assert who == LockHolder(process.pid, "2026-11-22T07:00:00Z", "docruns load extend")
        process.kill()
        process.wait()
        assert lock_holder(lock_file(target)) is None
        with exclusive(target, "docruns load extend"):
            mine = lock_holder(lock_file(target))
            assert mine is not None
            assert (mine.pid, mine.command) == (os.getpid(), "docruns load extend")
            age = datetime.now(UTC) - datetime.fromisoformat(mine.since)
            assert timedelta(0) <= age < timedelta(minutes=1)
    assert lock_holder(lock_file(target)) is None


def test_threads_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    """The lock also excludes threads of one process, as a scheduler may run two jobs in one process."""
    path = tmp_path / "x.lock"
    with (
        hold_lock(path, "one"),
        pytest.raises(LockedError, match=f"`one` .process {os.getpid()}"),
        hold_lock(path, "two"),
    ):
        pass


def test_asking_who_holds_it_disturbs_nobody(tmp_path: Path) -> None:
    """`status` takes the lock for an instant to see whether it is free; a load that begins just then is not
    refused."""
    path = tmp_path / "x.lock"
    with hold_lock(path, "first"):
        pass
    probe = FileLock(path, thread_local=False)
    probe.acquire()
    threading.Timer(0.1, probe.release).start()
    with hold_lock(path, "second"):
        holder = lock_holder(path)
        assert holder is not None
        assert holder.command == "second"


def test_many_readers_agree(tmp_path: Path) -> None:
    """Concurrent readers of the lock's state get the right answer, while a load holds it and after the load
    has died."""
    path = tmp_path / "x.lock"
    with another(HOLD, str(path)) as process:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lock_holder, [path] * 16))
        assert {who.pid for who in found if who is not None} == {process.pid}
        assert None not in found
        process.kill()
        process.wait()
        # what the dead process wrote about itself is still there
        assert Path(f"{path}.json").exists()
        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(lock_holder, [path] * 16)) == {None}


def test_lock_files_are_private(tmp_path: Path) -> None:
    """The lock and the note beside it have mode 0600, in a folder of mode 0700."""
    path = tmp_path / "new" / "x.lock"
    mask = os.umask(0)
    try:
        with hold_lock(path, "one"):
            found = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    finally:
        os.umask(mask)
    assert found == {"x.lock": 0o600, "x.lock.json": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.fault(47)
@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """The message names the folder and the variable that moves it. There is no such file system on every machine, so
    the system's call is replaced."""

    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    path = tmp_path / "x.lock"
    message = rf"DLT_DATA_DIR: {tmp_path} is on a file system without locks \({os.strerror(number)}\)"
    with pytest.raises(ConfigError, match=message), hold_lock(path, "one"):
        pytest.fail("the lock is not held")
    assert lock_holder(path) is None


def test_a_failed_load_releases_its_lock(tmp_path: Path) -> None:
    """After an error no process holds the lock, and the note about the holder is gone."""
    path = tmp_path / "x.lock"
    with pytest.raises(ZeroDivisionError), hold_lock(path, "one"):
        raise ZeroDivisionError
    assert lock_holder(path) is None
    assert not Path(f"{path}.json").exists()


@pytest.mark.fault(10)
def test_waiting_for_a_database_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A load that waits for a database reports it once, with the process that has it open, and continues when
    it is closed."""
    assert file.REPORT_AFTER_S == 2.0
    monkeypatch.setattr(file, "REPORT_AFTER_S", 0.2)
    path = tmp_path / "t.duckdb"
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    told: list[str] = []
    with another(code, str(path)) as process:
        started = time.monotonic()
        with pytest.raises(LockedError, match=f"PID {process.pid}"):
            open_database(path, wait_s=1.0, on_wait=told.append)
        assert time.monotonic() - started >= 1.0
        assert len(told) == 1
        assert f"PID {process.pid}" in told[0]
        assert "waiting up to 1 s" in told[0]
        assert process.stdin is not None
        # told of the next wait as well, and opened as soon as the other has ended
        open_after = lambda _: process.stdin.close()  # type: ignore[union-attr]  # noqa: E731
        open_database(path, wait_s=20, on_wait=open_after).close()
    told.clear()
    open_database(path, on_wait=told.append).close()
    assert told == []


@pytest.mark.parametrize("name", ["extend.duckdb", "Extend", "extend.v2.db"])
def test_database_with_the_name_of_its_dataset(
    load_extend: Loader, sandbox: Sandbox, tmp_path: Path, name: str
) -> None:
    """DuckDB cannot distinguish a file from a schema of the same name, so docruns refuses such a file."""
    with pytest.raises(ConfigError, match=r"--database: .* has the name of its dataset, extend"):
        load_extend(tmp_path / name)
    assert sandbox.stats.requests == 0
    assert list(tmp_path.glob("*xtend*")) == []


def test_nothing_is_made_by_asking(tmp_path: Path) -> None:
    """Sweep and verify of a missing database raise an error and create no database."""
    with pytest.raises(ConfigError, match="does not exist"):
        require_database(Target("extend", tmp_path / "none.duckdb"))
    require_database(Target("extend", tmp_path / "none.duckdb", "postgres"))
