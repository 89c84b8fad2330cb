"""Who holds what: one load at a time on a target, and one writer at a time on a DuckDB file.

    held(path, "docruns load extend") ──► path: {"pid": 4711, "since": "2026-11-22T07:00:00Z", "command": …}
    open_database(path) ──► a connection, or who else has the file open

The first is ours: two loads of one target would share a working folder, and each would load the other's package.
It lives on one machine: it does not see a load that another machine runs into the same warehouse. The second is
DuckDB's own, and a notebook can hold it as well.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from dlt.common.runtime.run_context import active

from ..core.codec import rfc3339
from ..core.errors import ConfigError, LockedError
from .failures import check_folder


@dataclass(frozen=True)
class Target:
    """Where rows go: a DuckDB file, or any dlt destination by name with its own configuration."""

    dataset: str
    database: Path = Path("docruns.duckdb")
    destination: str = "duckdb"

    def __str__(self) -> str:
        return str(self.database) if self.destination == "duckdb" else self.destination


@contextmanager
def exclusive(target: Target, command: str) -> Iterator[None]:
    """Nobody else on this machine loads into the target meanwhile. LockedError where somebody does."""
    check_folder(working_folder(target))
    where = target.database.absolute() if target.destination == "duckdb" else target
    with hold_lock(lock_file(target), command, str(where), target.dataset):
        yield


def lock_holders(database: Path) -> dict[str, LockHolder]:
    """Who is at work on a DuckDB file right now, by dataset."""
    locks = working_folder(Target("", database)).parent.glob("*.lock")
    found = [who for path in locks if (who := lock_holder(path)) is not None]
    return {who.dataset: who for who in found if who.database == str(database.absolute())}


def lock_file(target: Target) -> Path:
    """Where it is written who is at work on the target."""
    return working_folder(target).with_suffix(".lock")


def require_database(target: Target) -> None:
    """ConfigError where there is no database yet, so that asking about it does not make one."""
    if target.destination == "duckdb" and not target.database.exists():
        raise ConfigError(
            "--database", f"{target.database} does not exist.", "Run `docruns load` first."
        )


def working_folder(target: Target) -> Path:
    """Where dlt spools packages of this target: one folder each, its name free of odd characters."""
    path = str(target.database.absolute()) if target.destination == "duckdb" else ""
    name = hashlib.sha256(f"{target.destination}\n{target.dataset}\n{path}".encode()).hexdigest()
    return Path(active().data_dir) / "docruns" / name[:16]


fcntl: Any = import_module("fcntl") if find_spec("fcntl") else None
"""None on Windows."""

_LOOK_S = 0.3
# how long a taken lock is tried again: `holder` takes it for an instant to see whether it is free
_EVERY_S = 0.05


class LockHolder(NamedTuple):
    """Who is at work on a target. `since` is RFC 3339; `database` is a DuckDB file, or another destination's name."""

    pid: int
    since: str
    command: str
    database: str = ""
    dataset: str = ""

    def __str__(self) -> str:
        return f"`{self.command}` (process {self.pid}) since {self.since}"


@contextmanager
def hold_lock(path: Path, command: str, database: str = "", dataset: str = "") -> Iterator[None]:
    """Hold the lock file at `path` alone. LockedError says who holds it already, and since when.

    The file stays, empty. The lock of a process that died is none: the kernel lets go of it. Where there is no
    flock, the file itself is the lock, and one whose process is gone does not count.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    take, release = (_created, _remove) if fcntl is None else (_flocked, _let_go)
    give_up = time.monotonic() + _LOOK_S
    while (file := take(path)) is None:
        if time.monotonic() >= give_up:
            who, what = _read(path), f"{database} ({dataset})" if database else str(path)
            raise LockedError(
                f"{what}: {who or 'another process'} is at work on it. "
                "Wait until it has ended, then run this again."
            )
        time.sleep(_EVERY_S)
    try:
        since = rfc3339(datetime.now(UTC).replace(microsecond=0))
        text = json.dumps(LockHolder(os.getpid(), since, command, database, dataset)._asdict())
        os.ftruncate(file, 0)
        os.write(file, text.encode())
        yield
    finally:
        release(path, file)


def lock_holder(path: Path) -> LockHolder | None:
    """Who holds the lock file at `path` right now; None where nobody does."""
    if not path.exists():
        return None
    if fcntl is None:
        who = _read(path)
        return who if who is not None and _is_alive(who.pid) else None
    file = _flocked(path)
    if file is None:
        return _read(path) or LockHolder(0, "", "unknown")
    os.close(file)
    return None


def _flocked(path: Path) -> int | None:
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        return None
    return file


def _let_go(_: Path, file: int) -> None:
    # the file is never removed: somebody may have it open and lock what nobody else can see
    os.ftruncate(file, 0)
    os.close(file)


def _created(path: Path) -> int | None:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        who = _read(path)
        if who is not None and not _is_alive(who.pid):
            path.unlink(missing_ok=True)
        return None


def _remove(path: Path, file: int) -> None:
    os.close(file)
    path.unlink(missing_ok=True)


def _read(path: Path) -> LockHolder | None:
    try:
        found = json.loads(path.read_text())
        more = (str(found.get(name, "")) for name in ("database", "dataset"))
        return LockHolder(int(found["pid"]), str(found["since"]), str(found["command"]), *more)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_alive(pid: int) -> bool:
    if sys.platform == "win32":  # pragma: no cover
        import ctypes

        # signal 0 would be Ctrl-C there
        handle = ctypes.windll.kernel32.OpenProcess(0x1000, False, pid)
        if handle:
            ctypes.windll.kernel32.CloseHandle(handle)
        return bool(handle)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
