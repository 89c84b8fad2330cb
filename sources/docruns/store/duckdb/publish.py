"""A finished copy of a database for readers: they never wait for a load, and no load for them.

    database (closed) ──► checkpointed? ──► copy beside PATH ──► fsync ──► PATH, in one step

Loads merge table by table, so a reader of the database itself can see a run's tables at two versions, and while
it has the file open no load can begin. A reader of the copy sees what one whole load left, or what the one
before left. Who has an older copy open keeps reading it.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from ...core.errors import ConfigError, DocrunsError, LockedError
from .file import open_database

_MAGIC_AT, _MAGIC = 8, b"DUCK"
_HELD_S = 2.0


def check_place(database: Path, path: Path) -> None:
    """ConfigError where `path` cannot be the copy's place; asked before a load, so that none is in vain."""
    if path.absolute() == database.absolute() or (path.exists() and _is_same(path, database)):
        raise ConfigError("--publish", f"{path} is the database itself.", "Name another file.")
    if "?" in str(path):
        raise ConfigError("--publish", f"{path} holds a question mark, which DuckDB cannot open.")
    if not path.parent.is_dir():
        raise ConfigError("--publish", f"the folder {path.parent} does not exist.")
    if path.exists() and not _is_database(path):
        raise ConfigError(
            "--publish", f"{path} is no DuckDB database and is not replaced.", "Name another file."
        )


def publish_copy(
    database: Path, path: Path, name: str, on_wait: Callable[[str], None] | None = None
) -> None:
    """Put a copy of `database` in place of `path`. Nobody may write to `database` meanwhile.

    It is its owner's alone (0600), until somebody gives it another mode, which later copies keep. `name` tells the
    unfinished copy from those of other databases. LockedError where somebody has `path` open for writing: a copy
    is for reading.
    """
    part = path.with_name(f".{path.name}.{name}.part")
    try:
        _copy(database, part, on_wait)
        _drop_log(path)
        _share_alike(path, part)
        part.replace(path)
    except OSError as error:
        # writing tells of no name
        error.filename = error.filename or str(part)
        raise
    finally:
        part.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _copy(database: Path, part: Path, on_wait: Callable[[str], None] | None) -> None:
    if _log(database).exists():
        # somebody else's crash left changes beside the file: opening it for writing takes them in
        with closing(open_database(database, on_wait=on_wait)) as connection:
            connection.execute("CHECKPOINT")
    with (
        # opened first and closed last: closing any handle of a file ends all locks that this process has on it
        database.open("rb") as source,
        # a reader's lock: others may read, nobody can write
        closing(open_database(database, read_only=True, on_wait=on_wait)),
    ):
        if _log(database).exists():
            raise LockedError(f"{database}: another process wrote to it before it was copied.")
        part.unlink(missing_ok=True)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
            copy.flush()
            os.fsync(copy.fileno())


def _share_alike(path: Path, part: Path) -> None:
    """Who may read the older copy may read the new one."""
    if not path.exists() or os.name == "nt":
        return
    there = path.stat()
    mode = stat.S_IMODE(there.st_mode)
    if there.st_gid != part.stat().st_gid:
        try:
            os.chown(part, -1, there.st_gid)
        except OSError:
            # the new one's group is another one
            mode &= ~0o070
    part.chmod(mode)


def _drop_log(path: Path) -> None:
    """No log of an earlier file may lie beside the new one: DuckDB would replay it."""
    if path.exists():
        try:
            open_database(path, read_only=True, wait_s=_HELD_S).close()
        except LockedError as error:
            raise LockedError(
                f"--publish {path}: {error} Open a published copy read-only."
            ) from error
        except DocrunsError:
            # its log is not its own, or it is damaged: it goes either way
            pass
    _log(path).unlink(missing_ok=True)


def _log(database: Path) -> Path:
    return database.with_name(database.name + ".wal")


def _is_same(path: Path, database: Path) -> bool:
    return database.exists() and path.samefile(database)


def _is_database(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(_MAGIC_AT + len(_MAGIC))[_MAGIC_AT:] == _MAGIC


def _sync_folder(folder: Path) -> None:
    if os.name == "nt":  # pragma: no cover - folders cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
