"""Publish a finished copy of a database, so that readers and loads never wait for each other.

    database (closed) ──► checkpointed? ──► copy beside PATH ──► fsync ──► PATH, in one step

A load merges table by table, so a reader of the database itself can see a run's tables at two versions, and
no load can begin while a reader has the file open. A reader of the copy sees the result of one whole load:
the last one or the one before. A reader that has an older copy open keeps reading it.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from ...core.errors import ConfigError, DocrunsError, LockedError
from .file import check_path, flush_folder, open_database

_MAGIC_AT, _MAGIC = 8, b"DUCK"
_WAIT_S = 2.0


def check_place(database: Path, path: Path) -> None:
    """Raise ConfigError where the copy cannot be put at `path`. Call it before a load, which would be in
    vain."""
    is_same_file = path.exists() and database.exists() and path.samefile(database)
    if is_same_file or path.absolute() == database.absolute():
        raise ConfigError("--publish", f"{path} is the database itself.", "Name another file.")
    for own, other in ((database, path), (path, database)):
        # the log of one would be the other, and is deleted or replayed
        if other.absolute().name.startswith((f"{own.name}.wal", f"{own.name}.tmp")) and (
            own.absolute().parent.resolve() == other.absolute().parent.resolve()
        ):
            problem = f"{path} and {database} would be a database and its own working file ({other.name})."
            raise ConfigError("--publish", problem, "Name another file.")
    check_path(path, "--publish")
    if path.exists() and not _is_database(path):
        raise ConfigError(
            "--publish", f"{path} is not a DuckDB database, so it is not replaced.", "Name another file."
        )


def publish_copy(database: Path, path: Path, name: str, on_wait: Callable[[str], None] | None = None) -> None:
    """Replace `path` by a copy of `database`. The caller ensures that no process writes to `database`
    meanwhile.

    The first copy is private (0600); later copies keep the mode that the user has given to an earlier one.
    `name` distinguishes the unfinished copy from those of other databases. LockedError where a process has
    `path` open for writing: copies are for reading.
    """
    part = path.with_name(f".{path.name}.{name}.part")
    try:
        _copy(database, part, on_wait)
        _drop_log(path)
        _copy_access(path, part)
        part.replace(path)
    except OSError as error:
        # errors of write() name no file
        error.filename = error.filename or str(part)
        raise
    finally:
        part.unlink(missing_ok=True)
    flush_folder(path.parent)


def _copy(database: Path, part: Path, on_wait: Callable[[str], None] | None) -> None:
    if _log(database).exists():
        # another program has crashed and left changes in the log: opening the file for writing
        # applies them
        with closing(open_database(database, on_wait=on_wait)) as connection:
            connection.execute("CHECKPOINT")
    with (
        # opened first and closed last: closing any handle of a file releases all locks of this
        # process on it
        database.open("rb") as source,
        # a read lock: other processes may read and cannot write
        closing(open_database(database, read_only=True, on_wait=on_wait)),
    ):
        if _log(database).exists():
            raise LockedError(f"{database}: another process wrote to it before it was copied.")
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
            copy.flush()
            os.fsync(copy.fileno())


def _copy_access(path: Path, part: Path) -> None:
    """Give the new copy the mode and the group of the older one."""
    if not path.exists() or os.name == "nt":
        return
    there = path.stat()
    mode = stat.S_IMODE(there.st_mode)
    if there.st_gid != part.stat().st_gid:
        try:
            os.chown(part, -1, there.st_gid)
        except OSError:
            # the group cannot be kept, so it gets no access
            mode &= ~0o070
    part.chmod(mode)


def _drop_log(path: Path) -> None:
    """Delete the log of the older copy: DuckDB would replay it into the new one."""
    if path.exists():
        try:
            open_database(path, read_only=True, wait_s=_WAIT_S).close()
        except LockedError as error:
            raise LockedError(f"--publish {path}: {error} Open a published copy read-only.") from error
        except DocrunsError:
            # the log belongs to another file, or the older copy is damaged: both are replaced
            pass
    _log(path).unlink(missing_ok=True)


def _log(database: Path) -> Path:
    return database.with_name(database.name + ".wal")


def _is_database(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(_MAGIC_AT + len(_MAGIC))[_MAGIC_AT:] == _MAGIC
