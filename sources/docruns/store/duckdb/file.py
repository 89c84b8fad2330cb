"""Open a DuckDB file, and move what is committed into it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import duckdb

from ...core.errors import ConfigError, DocrunsError, LockedError
from ..failures import from_duckdb

WAIT_S = 30.0
"""Seconds to wait for a database that somebody else has open."""

TELL_AFTER_S = 2.0
"""Seconds of waiting after which it is told, once."""


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
                known = from_duckdb(error, str(path))
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
