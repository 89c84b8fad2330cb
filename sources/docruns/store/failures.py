"""What the machine and its settings do to a load, as errors of ours: full disks, places shut to us, damaged
files, signals, destinations that nobody has set up.

    whatever dlt, DuckDB or pyarrow raised ──► explained(database, folder) ──► DocrunsError: where, what, what to do

dlt wraps what it meets, often twice, and prints pages about pending packages that this program throws away. Here
the chain is walked to the cause that a person can do something about. What nobody knows comes out as it is.
"""

from __future__ import annotations

import binascii
import errno
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
from dlt.common.configuration.exceptions import (
    ConfigFieldMissingException,
    ConfigProviderException,
    ConfigValueCannotBeCoercedException,
    LookupTrace,
    LookupTraces,
    ValueNotSecretException,
)
from dlt.common.destination.exceptions import UnknownDestinationModule
from dlt.common.exceptions import MissingDependencyException
from dlt.common.storages.exceptions import LoadPackageNotFound

from ..core.errors import ConfigError, DocrunsError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SHUT = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_FOLDER = {errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR}

# what DuckDB says of them; it has one class of error for all
_FULL_TEXT = re.compile(
    "No space left on device|File too large|quota exceeded|not enough space", re.I
)
_SHUT_TEXT = re.compile("Permission denied|Read-only file system|Access is denied", re.I)
_DAMAGED_TEXT = re.compile(
    "not a valid DuckDB database|Corrupt database file|Could not read enough bytes|checksum|"
    "INTERNAL Error|Serialization Error|deserialize|database has been invalidated",
    re.I,
)
_ODD = "=%?'"


def check_folder(folder: Path) -> None:
    """ConfigError where nobody can work in `folder`: a file is in the way, or dlt takes its name for a pattern."""
    key, hint = "DLT_DATA_DIR", "Set this environment variable to another folder."
    if odd := sorted(set(str(folder)) & set(_ODD)):
        raise ConfigError(
            key,
            f"the working folder would be {folder}, and dlt cannot work in a path with {' '.join(odd)}",
            hint,
        )
    for place in folder.parents:
        if place.is_dir():
            return
        if place.exists():
            raise ConfigError(
                key, f"the working folder would be in {place}, which is a file.", hint
            )


@contextmanager
def translate_errors(database: object, folder: Path | None = None) -> Iterator[None]:
    """Raise the error of ours, or the interrupt, that others have wrapped, or one for what has gone wrong.

    `database` is what the user calls it; `folder` is where dlt spools, for errors that name no file.
    """
    try:
        yield
    except (DocrunsError, KeyboardInterrupt):
        raise
    except Exception as error:
        causes = list(_chain(error))
        for cause in causes:
            if isinstance(cause, (DocrunsError, KeyboardInterrupt)):
                raise cause from error
            if isinstance(cause, RuntimeError) and str(cause) == "Query interrupted":
                # so DuckDB tells of an interrupt in the middle of a query
                raise KeyboardInterrupt from error
        for cause in causes:
            if (known := _known(cause, str(database), folder)) is not None:
                raise known from error
        if (known := _unreadable_state(error, causes[-1], str(database))) is not None:
            raise known from error
        raise


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, what it came from, and so on down to the first one."""
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or getattr(cause, "exception", None) or cause.__context__


def is_out_of_memory(error: BaseException) -> bool:
    """DuckDB did not get the memory it needed, whoever has wrapped its error, or only its text."""
    return any("Out of Memory Error" in str(cause) for cause in _chain(error))


def _known(cause: BaseException, database: str, folder: Path | None) -> DocrunsError | None:
    if isinstance(cause, LoadPackageNotFound):
        return _removed(str(folder), "what dlt had written is not there")
    if isinstance(cause, OSError):
        return _of_system(cause, folder)
    if isinstance(cause, duckdb.Error):
        return from_duckdb(cause, database)
    if type(cause).__name__ == "OperationalError":
        # every driver of a database server calls it so
        return DocrunsError(f"{database}: cannot be reached: {str(cause).partition(chr(10))[0]}")
    return from_dlt_config(cause)


def from_dlt_config(cause: BaseException) -> ConfigError | None:
    """The error of ours for what dlt says of its settings; it quotes no value."""
    if isinstance(cause, ConfigFieldMissingException):
        key = _missing_key(cause)
        name = key.upper().replace(".", "__")
        return ConfigError(key, "is missing.", f"Put it into .dlt/secrets.toml, or set {name}.")
    if isinstance(cause, ConfigProviderException):
        place = re.search(r"line \d+ col \d+", str(cause))
        where = f", {place[0]}" if place else ""
        return ConfigError(f".dlt/{cause.provider_name}", f"cannot be read{where}: is it TOML?")
    if isinstance(cause, ValueNotSecretException):
        return ConfigError(
            cause.key,
            f"is a secret, and {cause.provider_name} is no place for one.",
            "Put it into .dlt/secrets.toml.",
        )
    if isinstance(cause, ConfigValueCannotBeCoercedException):
        kind = getattr(cause.hint, "__name__", str(cause.hint))
        return ConfigError(cause.field_name, f"is not of its type, {kind}.")
    if isinstance(cause, UnknownDestinationModule):
        return ConfigError("--destination", f"{cause.ref} is no destination of dlt's.")
    if isinstance(cause, MissingDependencyException):
        return ConfigError("--destination", str(cause).strip().partition("\n")[0])
    return None


def _missing_key(error: ConfigFieldMissingException) -> str:
    """Where the first missing value may stand: `destination.postgres.credentials`, whatever part of them is missing."""
    field, traces = next(iter(error.traces.items()))
    while traces and isinstance(traces[0], LookupTraces):
        traces = next(iter(traces[0].traces.values()))
    tried = [trace.key for trace in traces if isinstance(trace, LookupTrace)]
    # the environment is asked first, from the narrowest section outwards
    whole = next((key for key in tried if key.startswith("DESTINATION__")), field.upper())
    return f"{whole.partition(field.upper())[0]}{field}".lower().replace("__", ".")


def _of_system(cause: OSError, folder: Path | None) -> DocrunsError | None:
    place = str(cause.filename or folder or "a file")
    is_ours = folder is not None and _are_kin(Path(place), folder.parent)
    reason = cause.strerror or str(cause)
    hint = " The working folder is elsewhere where DLT_DATA_DIR says so." if is_ours else ""
    if cause.errno in _FULL:
        return _full(place, reason, hint)
    if cause.errno in _SHUT:
        return _shut(place, reason, hint)
    if is_ours and cause.errno in _NO_FOLDER:
        return _removed(place, reason, hint)
    return None


def _removed(place: str, reason: str, hint: str = "") -> DocrunsError:
    return DocrunsError(
        f"{place}: {reason}. Did somebody remove or replace it? Run this again.{hint}"
    )


def _are_kin(place: Path, home: Path) -> bool:
    """One lies in the other."""
    return place.is_relative_to(home) or home.is_relative_to(place)


def from_duckdb(cause: duckdb.Error, database: str) -> DocrunsError | None:
    """The error of ours for one of DuckDB's; None where it is about something else."""
    text = str(cause)
    first = text.splitlines()[0] if text else type(cause).__name__
    named = re.search(r'file "([^"]+)"', first)
    place = named[1] if named else database
    if found := _FULL_TEXT.search(text):
        return _full(place, found[0])
    if found := _SHUT_TEXT.search(text):
        return _shut(place, found[0])
    if _DAMAGED_TEXT.search(text):
        return DocrunsError(
            f"{database}: is damaged, or no DuckDB database: {first.rstrip('.!')}. Put a whole copy in its "
            "place (--publish makes one), or move it away: the next load then reads every run anew."
        )
    return None


def _full(place: str, reason: str, hint: str = "") -> DocrunsError:
    return DocrunsError(
        f"{place}: no space is left for it ({reason}). Free some, then run this again: what was "
        f"committed stays, and a load goes on from there.{hint}"
    )


def _shut(place: str, reason: str, hint: str = "") -> DocrunsError:
    return DocrunsError(
        f"{place}: cannot be written ({reason}). Allow it, or name another place.{hint}"
    )


def _unreadable_state(error: Exception, cause: BaseException, database: str) -> DocrunsError | None:
    """dlt keeps its state and schemas as packed text in two tables, which it reads first of all."""
    if getattr(error, "step", None) != "sync" or not isinstance(
        cause, (zlib.error, binascii.Error, ValueError, KeyError)
    ):
        return None
    dataset = getattr(getattr(error, "pipeline", None), "dataset_name", None) or "the dataset"
    return DocrunsError(
        f"{database}: what dlt keeps in {dataset}._dlt_pipeline_state and {dataset}._dlt_version cannot be "
        f"read ({cause}). The runs themselves are not concerned. Delete the rows of both tables and load "
        "again: the lists are then read to their ends, and only what differs is fetched."
    )
