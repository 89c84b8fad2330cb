"""Open a DuckDB file, write committed changes into it, and quote the names in it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import duckdb

from ...core.errors import ConfigError, DocrunsError, LockedError
from .errors import first_line, from_duckdb

WAIT_S = 30.0
"""Seconds to wait for a database that another process has open."""

# DuckDB also takes a name behind it
_IN_MEMORY = ":memory:"

_LOST = "a database in memory is gone when the command ends."

# as DuckDB does; one letter is a drive of Windows
_EXTENSION = re.compile(r"[A-Za-z0-9_]{2,}:")

REPORT_AFTER_S = 2.0
"""Seconds of waiting after which the wait is reported, once."""


_LOCKED_TEXT = re.compile(r"\block\b|used by another", re.I)

STORAGE_VERSION = "v1.2.0"
"""The storage format of new files. DuckDB 1.2 and newer open it, whatever version has written it; DuckDB 2.0 by
itself makes files that no DuckDB 1.x opens. 4,000 heavy runs take 97 MB, and 78 in the format 1.4, which only DuckDB 1.4
and newer open."""

_MISREAD = re.compile(r"v1\.3\.\d+")
"""Formats in which DuckDB 1.4 and newer write texts that DuckDB 1.3 reads as NULL, without an error."""

STORAGE_KEY = "destination.duckdb.storage_version"
"""The setting for another format."""


def open_database(
    path: Path,
    *,
    read_only: bool = False,
    wait_s: float = WAIT_S,
    on_wait: Callable[[str], None] | None = None,
    storage_version: str = STORAGE_VERSION,
) -> duckdb.DuckDBPyConnection:
    """Open a DuckDB file, and wait while another process has it open. LockedError after `wait_s` seconds.

    `on_wait` is called once, after two seconds, with a message that names the other process.
    `storage_version` is the format of a file that does not exist yet; an existing file keeps its own.
    """
    check_path(path, "--database")
    if os.name != "nt" and "\\" in str(path):
        raise ConfigError("--database", f"{path} contains a backslash, which DuckDB reads as a slash.")
    if path.is_dir():
        raise ConfigError("--database", f"{path} is a folder.", "Name a file.")

    def connect() -> duckdb.DuckDBPyConnection:
        if not (read_only or path.exists()):
            _create(path, storage_version)
        return duckdb.connect(str(path), read_only=read_only)

    return _wait_for(path, connect, wait_s, on_wait)


def attach_database(
    path: Path, *, wait_s: float = WAIT_S, on_wait: Callable[[str], None] | None = None
) -> duckdb.DuckDBPyConnection:
    """A database in memory, with the DuckDB file attached to it read-only as `loaded`. It waits as `open_database` does.

    Views over the file's tables can be made in it: a connection that only reads takes none.
    """
    check_path(path, "--database")

    def connect() -> duckdb.DuckDBPyConnection:
        connection = duckdb.connect()
        try:
            connection.execute("ATTACH '{}' AS loaded (READ_ONLY)".format(str(path).replace("'", "''")))
        except duckdb.Error:
            connection.close()
            raise
        return connection

    return _wait_for(path, connect, wait_s, on_wait)


def _wait_for(
    path: Path,
    connect: Callable[[], duckdb.DuckDBPyConnection],
    wait_s: float,
    on_wait: Callable[[str], None] | None,
) -> duckdb.DuckDBPyConnection:
    started = time.monotonic()
    while True:
        try:
            return connect()
        except duckdb.Error as error:
            if not _is_locked(error):
                known = from_duckdb(error, str(path))
                text = f"{path}: cannot be opened: {first_line(error)}"
                raise known or DocrunsError(text) from error
            waited = time.monotonic() - started
            if waited >= wait_s:
                raise LockedError(
                    f"{path}: another process has it open: {_database_holder(error)}. "
                    "Close the notebook or program that holds it, then run this again."
                ) from error
            if on_wait is not None and waited >= REPORT_AFTER_S:
                holder = _database_holder(error)
                on_wait(f"{path} is open in {holder}: waiting up to {wait_s:g} s for it")
                on_wait = None
        time.sleep(0.2)


def _create(path: Path, storage_version: str) -> None:
    """Make an empty database in a storage format, which it then keeps.

    The setting `storage_compatibility_version` of a connection would do as well, but DuckDB refuses a second
    connection to a file with other settings, for example that of a notebook in the same process.
    """
    if _MISREAD.fullmatch(storage_version):
        raise ConfigError(
            STORAGE_KEY,
            f"{storage_version!r}: DuckDB 1.3 would read NULL instead of many values of such a file.",
            f"Use {STORAGE_VERSION}, which it reads, or v1.4.0, which it refuses.",
        )
    literals = ("'" + text.replace("'", "''") + "'" for text in (str(path), storage_version))
    try:
        with duckdb.connect() as connection:
            connection.execute("ATTACH {} AS created (STORAGE_VERSION {})".format(*literals))
    except duckdb.InvalidInputException as error:
        raise ConfigError(
            STORAGE_KEY,
            f"{storage_version!r} is not a storage version that DuckDB {duckdb.__version__} can write.",
            f"Use {STORAGE_VERSION} or a newer version, or latest.",
        ) from error


def check_name(path: Path, option: str) -> None:
    """Raise ConfigError where DuckDB reads `path` as something else than a file: `:memory:`, `md:…`, `sqlite:…`."""
    if str(path).startswith(_IN_MEMORY):
        raise ConfigError(option, f"{path} is no file: {_LOST}", "Name a file, for example docruns.duckdb.")
    if found := _EXTENSION.match(str(path)):
        raise ConfigError(
            option,
            f"{path} is no file: DuckDB reads {found[0]} as the name of an extension.",
            f"Name a file, or write its whole path: {Path(path).absolute()}.",
        )


def check_path(path: Path, option: str) -> None:
    """Raise ConfigError where no DuckDB file can be at `path`."""
    check_name(path, option)
    if "?" in str(path):
        # duckdb reads the text after it as options, and looks for the log at another path
        raise ConfigError(option, f"{path} contains a question mark, and DuckDB cannot open such a file.")
    if not path.parent.is_dir():
        raise ConfigError(option, f"the folder {path.parent} does not exist.")


def checkpoint(connection: duckdb.DuckDBPyConnection) -> None:
    """Write committed changes from the log into the file. Does nothing while another connection of this
    process is inside a transaction: no change is lost, as the next checkpoint writes them, or the end of the
    last connection."""
    with suppress(duckdb.TransactionException):
        connection.execute("CHECKPOINT")


def _is_locked(error: duckdb.Error) -> bool:
    # other errors name a "block"
    return isinstance(error, duckdb.IOException) and bool(_LOCKED_TEXT.search(str(error)))


def _database_holder(error: Exception) -> str:
    text = first_line(error)
    _, found, holder = text.partition("held in ")
    return holder.split(". ")[0] if found else text


def quote(name: str) -> str:
    """A name of a schema, table or column as SQL."""
    return '"' + name.replace('"', '""') + '"'


def flush_folder(folder: Path) -> None:
    """Write a folder's entries to the disk, so that a new or renamed file survives a loss of power."""
    if os.name == "nt":  # pragma: no cover - Windows cannot open a folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
