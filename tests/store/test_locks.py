"""One load at a time: who holds a target, who holds a database, and what the others are told."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from docruns.commands.sweep import sweep_deleted
from docruns.commands.verify import verify_runs
from docruns.core.errors import ConfigError, LockedError
from docruns.providers.extend import connect_extend
from docruns.sandbox import Sandbox
from docruns.store import target
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
    """Who comes second is told who is at work and since when; it sends no request and makes no file."""
    path = tmp_path / "t.duckdb"
    with another(HOLD, str(lock_file(Target("extend", path)))) as process:
        with pytest.raises(LockedError) as caught:
            load_extend(path)
        text = str(caught.value)
        assert (
            f"`docruns load extend` (process {process.pid}) since 2026-11-22T07:00:00Z is at work"
            in text
        )
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
    """After `kill -9` of a load the next one begins at once: the kernel has let go of the lock."""
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
    """The lock is not one per process: a scheduler that runs two jobs in one is told as well."""
    path = tmp_path / "x.lock"
    with (
        hold_lock(path, "one"),
        pytest.raises(LockedError, match=f"`one` .process {os.getpid()}"),
        hold_lock(path, "two"),
    ):
        pass


def test_asking_who_holds_it_disturbs_nobody(tmp_path: Path) -> None:
    """`status` looks by taking the lock for an instant; a load that begins just then is not refused."""
    path = tmp_path / "x.lock"
    with hold_lock(path, "first"):
        pass
    file = target._flocked(path)
    assert file is not None
    import threading

    threading.Timer(0.1, os.close, [file]).start()
    with hold_lock(path, "second"):
        assert json.loads(path.read_text())["command"] == "second"


def test_without_flock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no flock the file is the lock: exclusive, gone at the end, void when its process is."""
    monkeypatch.setattr(target, "fcntl", None)
    path = tmp_path / "x.lock"
    with hold_lock(path, "one"):
        assert lock_holder(path) is not None
        with (
            pytest.raises(LockedError, match=f"`one` .process {os.getpid()}"),
            hold_lock(path, "two"),
        ):
            pass
    assert not path.exists()
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    path.write_text(json.dumps({"pid": ended.pid, "since": "2026-01-01T00:00:00Z", "command": "x"}))
    assert lock_holder(path) is None
    with hold_lock(path, "three"):
        assert json.loads(path.read_text())["command"] == "three"
    with pytest.raises(ZeroDivisionError), hold_lock(path, "four"):
        raise ZeroDivisionError
    assert not path.exists()


@pytest.mark.fault(10)
def test_waiting_for_a_database_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waits for a notebook to close says so once, and for whom; then it goes on by itself."""
    assert file.TELL_AFTER_S == 2.0
    monkeypatch.setattr(file, "TELL_AFTER_S", 0.2)
    path = tmp_path / "t.duckdb"
    code = (
        "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); "
        "sys.stdin.read()"
    )
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
    """DuckDB cannot tell a file from a schema of the same name, so such a file is refused by name."""
    with pytest.raises(ConfigError, match=r"--database: .* has the name of its dataset, extend"):
        load_extend(tmp_path / name)
    assert sandbox.stats.requests == 0
    assert list(tmp_path.glob("*xtend*")) == []


def test_nothing_is_made_by_asking(tmp_path: Path) -> None:
    """Sweep and verify of a database that is not there say so, and leave none behind."""
    with pytest.raises(ConfigError, match="does not exist"):
        require_database(Target("extend", tmp_path / "none.duckdb"))
    require_database(Target("extend", tmp_path / "none.duckdb", "postgres"))
