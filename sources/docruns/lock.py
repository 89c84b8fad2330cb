"""Who holds what: one load at a time on a target, and one writer at a time on a DuckDB file.

    held(path, "docruns load extend") ──► path: {"pid": 4711, "since": "2026-11-22T07:00:00Z", "command": …}
    open_database(path) ──► a connection, or who else has the file open

The first is ours: two loads of one target would share a working folder, and each would load the other's package.
It lives on one machine: it does not see a load that another machine runs into the same warehouse. The second is
DuckDB's own, and a notebook can hold it as well.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from .errors import ConfigError, DocrunsError, LockedError
from .mishaps import of_database

fcntl: Any = import_module("fcntl") if find_spec("fcntl") else None
"""None on Windows."""

WAIT_S = 30.0
"""Seconds to wait for a database that somebody else has open."""

TELL_AFTER_S = 2.0
"""Seconds of waiting after which it is told, once."""

_LOOK_S = 0.3
# how long a taken lock is tried again: `holder` takes it for an instant to see whether it is free
_EVERY_S = 0.05


class Holder(NamedTuple):
    """Who is at work on a target. `since` is RFC 3339; `database` is a DuckDB file, or another destination's name."""

    pid: int
    since: str
    command: str
    database: str = ""
    dataset: str = ""

    def __str__(self) -> str:
        return f"`{self.command}` (process {self.pid}) since {self.since}"


@contextmanager
def held(path: Path, command: str, database: str = "", dataset: str = "") -> Iterator[None]:
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
        since = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        text = json.dumps(Holder(os.getpid(), since, command, database, dataset)._asdict())
        os.ftruncate(file, 0)
        os.write(file, text.encode())
        yield
    finally:
        release(path, file)


def holder(path: Path) -> Holder | None:
    """Who holds the lock file at `path` right now; None where nobody does."""
    if not path.exists():
        return None
    if fcntl is None:
        who = _read(path)
        return who if who is not None and _is_alive(who.pid) else None
    file = _flocked(path)
    if file is None:
        return _read(path) or Holder(0, "", "unknown")
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


def _read(path: Path) -> Holder | None:
    try:
        found = json.loads(path.read_text())
        more = (str(found.get(name, "")) for name in ("database", "dataset"))
        return Holder(int(found["pid"]), str(found["since"]), str(found["command"]), *more)
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


def open_database(
    path: Path,
    *,
    read_only: bool = False,
    wait_s: float = WAIT_S,
    on_wait: Callable[[str], None] | None = None,
) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB file, waiting while another process holds it. LockedError after `wait_s`.

    `on_wait` is told once, after two seconds, that it waits and for whom.
    """
    if "?" in str(path):
        # duckdb takes what follows for options, and looks for its log elsewhere
        raise ConfigError("--database", f"{path} holds a question mark, which DuckDB cannot open.")
    if os.name != "nt" and "\\" in str(path):
        raise ConfigError(
            "--database", f"{path} holds a backslash, which DuckDB takes for a slash."
        )
    if path.is_dir():
        raise ConfigError("--database", f"{path} is a folder.", "Name a file.")
    if not path.parent.is_dir():
        raise ConfigError("--database", f"the folder {path.parent} does not exist.")
    started = time.monotonic()
    while True:
        try:
            return duckdb.connect(str(path), read_only=read_only)
        except duckdb.Error as error:
            if not _is_locked(error):
                known = of_database(error, str(path))
                text = f"{path}: cannot be opened: {_first_line(error)}"
                raise known or DocrunsError(text) from error
            waited = time.monotonic() - started
            if waited >= wait_s:
                raise LockedError(
                    f"{path}: another process has it open: {_database_holder(error)}. "
                    "Close the notebook or program that holds it, then run this again."
                ) from error
            if on_wait is not None and waited >= TELL_AFTER_S:
                on_wait(
                    f"{path} is open in {_database_holder(error)}: waiting up to {wait_s:g} s for it"
                )
                on_wait = None
        time.sleep(0.2)


def checkpoint(connection: duckdb.DuckDBPyConnection) -> None:
    """Move what is committed from the log into the file. Not while another connection of this process is in the middle
    of a change: nothing is lost with that, the next one moves it, or who closes the file."""
    with suppress(duckdb.TransactionException):
        connection.execute("CHECKPOINT")


def _is_locked(error: duckdb.Error) -> bool:
    text = str(error).lower()
    return isinstance(error, duckdb.IOException) and ("lock" in text or "used by another" in text)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]


def _database_holder(error: Exception) -> str:
    text = _first_line(error)
    at = text.find("held in ")
    return text[at + len("held in ") :].split(". ")[0] if at >= 0 else text
