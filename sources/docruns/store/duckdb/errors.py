"""DuckDB's errors about files as errors of docruns, which say where, what and what to do."""

from __future__ import annotations

import re

import duckdb

from ...core.errors import DocrunsError, TransientError

# DuckDB has one class of error for all of these
_FULL_TEXT = re.compile("No space left on device|File too large|quota exceeded|not enough space", re.I)
_FORBIDDEN_TEXT = re.compile("Permission denied|Read-only file system|Access is denied", re.I)
_NEWER_TEXT = re.compile(r"version number \d+, but we can only read", re.I)
# those with which dlt opens a destination: docruns finds them in packages
_NO_EXTENSION = re.compile(r'Failed to download extension "(ducklake|sqlite_scanner|postgres_scanner)"')
_DAMAGED_TEXT = re.compile(
    "not a valid DuckDB database|Corrupt database file|Could not read enough bytes|checksum|"
    "INTERNAL Error|Serialization Error|deserialize|database has been invalidated",
    re.I,
)


def from_duckdb(cause: duckdb.Error, database: str) -> DocrunsError | None:
    """The DocrunsError for DuckDB's error about a full disk, a forbidden or a damaged file, one of a newer DuckDB, or
    an extension that cannot be downloaded; None for others."""
    text, first = str(cause), first_line(cause) or type(cause).__name__
    named = re.search(r'file "([^"]+)"', first)
    place = named[1] if named else database
    if found := _FULL_TEXT.search(text):
        return no_space_error(place, found[0])
    if found := _FORBIDDEN_TEXT.search(text):
        return forbidden_error(place, found[0])
    if found := _NO_EXTENSION.search(text):
        package = f"duckdb-extension-{found[1].replace('_', '-')}"
        return TransientError(
            f"{database}: DuckDB could not download its extension {found[1]}. Where there is no internet but a package "
            f"index, install it as a package, which brings the DuckDB of its version: pip install '{package}<2' "
            "(docs/destinations.md says more)."
        )
    if _NEWER_TEXT.search(text):
        return DocrunsError(
            f"{database}: was made by a newer DuckDB than {duckdb.__version__}, which is installed here. "
            "Install a newer one (pip install -U 'duckdb<3'), or copy the database into an older format with "
            "it: docs/destinations.md says how."
        )
    if _DAMAGED_TEXT.search(text):
        return DocrunsError(
            f"{database}: is damaged, or is not a DuckDB database: {first.rstrip('.!')}. Put a whole "
            "copy in its place (--publish makes one), or move it away: the next load then fetches "
            "every run again."
        )
    return None


def first_line(cause: BaseException) -> str:
    """The first line of an error's message."""
    return str(cause).strip().partition("\n")[0]


def no_space_error(place: str, reason: str, hint: str = "") -> DocrunsError:
    """The error for a full disk, or a quota that is used up."""
    return DocrunsError(
        f"{place}: no space is left ({reason}). Free some space, then run this again. "
        f"Committed runs are kept, and the load continues after them.{hint}"
    )


def forbidden_error(place: str, reason: str, hint: str = "") -> DocrunsError:
    """The error for a place that the user may not write to."""
    return DocrunsError(
        f"{place}: cannot be written ({reason}). Change its permissions, or name another place.{hint}"
    )
