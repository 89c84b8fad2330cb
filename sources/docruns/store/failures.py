"""Errors of dlt, DuckDB, drivers and the system as errors of docruns, which say where, what and what to do.

    full disks, forbidden or damaged files,  ──►  translate_errors  ──►  DocrunsError
    signals, missing configuration
    all others of dlt and destinations        ──►  a private file, and its name in a DocrunsError

dlt wraps the errors that it meets, often twice, and adds pages about pending packages, which docruns deletes
anyway. So the chain of causes is searched for the first one that the user can act on.

What a destination says about a value that it refuses quotes the value, and other cells of the row: documents.
Such text goes into a file for its owner only, never into a message or a log. Errors of docruns itself outside
of dlt are raised unchanged.
"""

from __future__ import annotations

import binascii
import codecs
import errno
import logging
import os
import re
import traceback
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain
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
from dlt.common.destination.exceptions import (
    DestinationException,
    DestinationTransientException,
    UnknownDestinationModule,
)
from dlt.common.exceptions import MissingDependencyException
from dlt.common.runtime.run_context import active
from dlt.common.storages.exceptions import LoadPackageNotFound
from dlt.destinations.impl.duckdb.exceptions import InvalidInMemoryDuckdbCredentials
from dlt.pipeline.exceptions import PipelineStepFailed

from ..core.errors import (
    ConfigError,
    DocrunsError,
    TransientError,
    causes_of,
    is_file_limit,
    is_memory_limit,
)
from .duckdb.errors import first_line, forbidden_error, from_duckdb, no_space_error

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_FOLDER = {errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR}

_FOREIGN = (PipelineStepFailed, DestinationException, duckdb.Error)
"""Errors whose text may quote cells."""

_DRIVERS = {"sqlalchemy", "pymysql", "MySQLdb", "sqlite3", "psycopg2", "adbc_driver_manager"}
"""Packages whose errors dlt does not wrap everywhere: their text may quote cells, too."""

# the class of a SQLSTATE: the server is away, full, shutting down, or does not let the user in
_UNREACHABLE_CODES = ("08", "28", "3D", "53", "57")
# the user is unknown, the database does not exist, the disk of the server is full
_LASTING_CODES = ("28", "3D", "53100")
# of MySQL: the disk is full, no access, a wrong password, no such database, a table is full
_LASTING_NUMBERS = {1021, 1044, 1045, 1049, 1114}
# a driver gives no code where the connection is refused
_LASTING_TEXT = re.compile("authentication failed|does not exist|pg_hba|could not translate host")
# so do these errors of MySQL, the client's own (2000 to 2999), and these of SQLite
_UNREACHABLE_NUMBERS = {*_LASTING_NUMBERS, 1040, 1129, 1130, 1203, 1205, 1213, 1290, *range(2000, 3000)}
_UNREACHABLE_FILES = ("SQLITE_BUSY", "SQLITE_CANTOPEN", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_READONLY")
# all that a message about an encoding may quote: the bytes of one character
_ENCODING_TEXT = re.compile(
    r'character with byte sequence [0-9a-fx ]+ in encoding "\w+" has no equivalent in encoding "\w+"'
    r'|invalid byte sequence for encoding "\w+": [0-9a-fx ]+'
)

_PATTERN_CHARACTERS = "=%?'"


def check_folder(folder: Path) -> None:
    """Raise ConfigError where dlt cannot use `folder`: its path contains a file, or characters that dlt reads
    as a pattern."""
    key, hint = "DLT_DATA_DIR", "Set this environment variable to another folder."
    if found := " ".join(sorted(set(str(folder)) & set(_PATTERN_CHARACTERS))):
        problem = f"the working folder would be {folder}, and dlt cannot use a path with {found}"
        raise ConfigError(key, problem, hint)
    for place in folder.parents:
        if place.is_dir():
            return
        # another load may make it between two looks
        if place.exists() and not place.is_dir():
            raise ConfigError(key, f"the working folder would be in {place}, which is a file.", hint)


@contextmanager
def translate_errors(database: object, folder: Path | None = None) -> Iterator[None]:
    """Raise other libraries' errors as DocrunsError or KeyboardInterrupt where their cause is known.

    `database` is the user's name for the destination; `folder` is dlt's working folder, for errors that name
    no file, and beside which the file of other errors is. Meanwhile dlt logs no texts of exceptions.
    """
    kept, log = _error_file(folder), logging.getLogger("dlt")
    log.addFilter(_hide_exceptions)
    try:
        yield
        with suppress(OSError):
            kept.unlink()
        return
    except (DocrunsError, KeyboardInterrupt):
        raise
    except Exception as error:
        # a file may be missing because the disk is full
        causes = sorted(causes_of(error), key=lambda cause: not _is_full(cause))
        translated = (_translated(cause, str(database), folder) for cause in causes)
        first = next(filter(None, chain(map(_wrapped, causes), translated)), None)
        known = first or _unreadable_state(error, causes[-1], str(database))
        if known is not None:
            raise known from error
        is_limit = any(is_file_limit(cause) or is_memory_limit(cause) for cause in causes)
        if is_limit or not any(map(_may_quote, causes)):
            raise
        unknown = _set_aside(error, causes, str(database), kept)
    finally:
        log.removeFilter(_hide_exceptions)
    # Python would print the causes of an error that nobody catches
    raise unknown from None


def _is_full(cause: BaseException) -> bool:
    return isinstance(cause, OSError) and cause.errno in _FULL


def _may_quote(cause: BaseException) -> bool:
    return isinstance(cause, _FOREIGN) or type(cause).__module__.partition(".")[0] in _DRIVERS


def _error_file(folder: Path | None) -> Path:
    """The file for the text of an error, beside the lock of the target."""
    return (folder or Path(active().data_dir) / "docruns" / "docruns").with_suffix(".error")


_OF_FAILED_ATTEMPTS = (" exception in job ", " died in uncontrollable manner", " was not fully loaded")


def _hide_exceptions(record: logging.LogRecord) -> bool:
    """Keep the text of an error out of dlt's log: of three records of a failed attempt, the one with the name of
    the job stays, without the text."""
    if record.levelno < logging.WARNING:
        return True
    record.msg, record.args = record.getMessage().partition(" with message")[0], ()
    record.exc_info = record.exc_text = None
    return not any(text in record.msg for text in _OF_FAILED_ATTEMPTS)


def _set_aside(error: Exception, causes: list[BaseException], database: str, kept: Path) -> DocrunsError:
    """The error that names the table and the kind of an unknown error, and the file with all of its text."""
    job = next((found for cause in causes if (found := getattr(cause, "job_id", None))), None)
    table = f" in rows of {str(job).partition('.')[0]}" if job else ""
    code = next((f"SQLSTATE {found}" for cause in causes if (found := _sqlstate(cause))), None)
    code = code or next((f"error {found}" for cause in causes if (found := _number(cause))), None)
    about = next((found for cause in causes if (found := _ENCODING_TEXT.search(str(cause)))), None)
    reason = type(causes[-1]).__name__ + (f", {code}" if code else "") + (f": {about[0]}" if about else "")
    hint = "Load into a database with the encoding UTF8. " if about else ""
    try:
        kept.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        kept.unlink(missing_ok=True)
        with os.fdopen(os.open(kept, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.writelines(traceback.format_exception(error))
        where = f"The whole error, which may quote documents, is in {kept}; only you can read it."
    except OSError as problem:
        where = f"The whole error is lost: {kept} cannot be written ({problem.strerror})."
    text = (
        f"{database}: failed{table} ({reason}). {hint}{where} "
        "Committed runs stay; the next load continues after them."
    )
    is_transient = any(isinstance(cause, DestinationTransientException) for cause in causes)
    return TransientError(text) if is_transient else DocrunsError(text)


def _sqlstate(cause: BaseException) -> str | None:
    """The code of a server's error, under its names in psycopg2 and in ADBC."""
    code = getattr(cause, "pgcode", None) or getattr(cause, "sqlstate", None)
    return code if isinstance(code, str) else None


def _number(cause: BaseException) -> int | None:
    """The number of a MySQL server's or client's error."""
    number = cause.args[0] if type(cause).__module__ in ("pymysql.err", "MySQLdb") and cause.args else None
    return number if isinstance(number, int) else None


def _unreachable(cause: BaseException) -> str | None:
    """The text of an error of a database that is away, full or locked. It quotes no cell, as others may."""
    if type(cause).__name__ != "OperationalError":
        return None
    code, package = _sqlstate(cause), type(cause).__module__.partition(".")[0]
    if (number := _number(cause)) is not None:
        return str(cause.args[-1]) if number in _UNREACHABLE_NUMBERS else None
    if package == "sqlite3":
        return (
            str(cause) if str(getattr(cause, "sqlite_errorname", "")).startswith(_UNREACHABLE_FILES) else None
        )
    is_away = code.startswith(_UNREACHABLE_CODES) if code else package == "psycopg2"
    return first_line(cause) if is_away else None


def _wrapped(cause: BaseException) -> BaseException | None:
    """An error of docruns or an interrupt, which another library has wrapped."""
    if isinstance(cause, (DocrunsError, KeyboardInterrupt)):
        return cause
    if isinstance(cause, RuntimeError) and str(cause) == "Query interrupted":
        # DuckDB's error for an interrupt during a query
        return KeyboardInterrupt()
    return None


_OUT_OF_MEMORY = re.compile("Out of Memory Error|failed to (pin|allocate|offload)|could not allocate block")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether DuckDB ran out of memory; other errors may wrap its error, or only quote its text. A commit that ends
    so is an error of the transaction: "Failed to commit: failed to pin block of size 256.0 KiB (…)"."""
    return any(
        _OUT_OF_MEMORY.search(str(cause)) for cause in causes_of(error) if not isinstance(cause, DocrunsError)
    )


def _translated(cause: BaseException, database: str, folder: Path | None) -> DocrunsError | None:
    if isinstance(cause, LoadPackageNotFound):
        return _removed(str(folder), "the files that dlt wrote are missing")
    if isinstance(cause, OSError):
        return _from_system(cause, folder)
    if isinstance(cause, duckdb.Error):
        return from_duckdb(cause, database)
    if (text := _unreachable(cause)) is not None:
        is_lasting = (
            (_sqlstate(cause) or "").startswith(_LASTING_CODES)
            or _number(cause) in _LASTING_NUMBERS
            or _LASTING_TEXT.search(str(cause)) is not None
        )
        message = f"{database}: cannot be reached: {text}"
        return DocrunsError(message) if is_lasting else TransientError(message)
    return from_dlt_config(cause)


def from_dlt_config(cause: BaseException, section: str = "") -> ConfigError | None:
    """The ConfigError for an error of dlt's configuration; None for other errors. It never quotes a value. `section`
    goes before the name of a setting whose error has no section, and ends with a dot."""
    match cause:
        case ConfigFieldMissingException():
            key = _missing_key(cause)
            name = key.upper().replace(".", "__")
            return ConfigError(key, "is missing.", f"Put it into .dlt/secrets.toml, or set {name}.")
        case ConfigProviderException():
            if marked := next(filter(_has_mark, getattr(cause, "full_paths", ())), None):
                problem = "begins with a byte order mark, which TOML does not have."
                return ConfigError(str(marked), problem, "Save it as UTF-8 without BOM.")
            place = re.search(r"line \d+ col \d+", str(cause))
            where = f", {place[0]}" if place else ""
            return ConfigError(f".dlt/{cause.provider_name}", f"cannot be read{where}: is it TOML?")
        case ValueNotSecretException():
            text = f"is a secret, and {cause.provider_name} is not a place for secrets."
            return ConfigError(f"{section}{cause.key}", text, "Put it into .dlt/secrets.toml.")
        case ConfigValueCannotBeCoercedException():
            kind = getattr(cause.hint, "__name__", str(cause.hint))
            return ConfigError(
                f"{section}{cause.field_name}", f"has a value of the wrong type: it must be {kind}."
            )
        case UnknownDestinationModule():
            return ConfigError("--destination", f"{cause.ref} is not a destination of dlt.")
        case InvalidInMemoryDuckdbCredentials():
            text = "is a database in memory, which is gone when the command ends."
            return ConfigError("the destination's credentials", text, "Name a file.")
        case ValueError() if str(cause).startswith("Unknown level: "):
            # from `logging`, which dlt hands the setting
            hint = "Write WARNING, INFO or DEBUG."
            return ConfigError("runtime.log_level", "is not a level of Python's logging.", hint)
        case ValueError() if str(cause).startswith("max_workers must be greater"):
            # from the pools that dlt makes of these settings
            return ConfigError("load.workers or normalize.workers", "must be at least 1.")
        case MissingDependencyException():
            needed = " ".join(f"'{package}'" for package in cause.dependencies)
            return ConfigError(
                "--destination", "needs packages that are not installed.", f"pip install {needed}"
            )
    return None


def _has_mark(path: str) -> bool:
    try:
        with Path(path).open("rb") as file:
            return file.read(3) in (codecs.BOM_UTF8, codecs.BOM_UTF16_LE + b"[", codecs.BOM_UTF16_BE + b"\0")
    except OSError:
        return False


def _missing_key(error: ConfigFieldMissingException) -> str:
    """The key of the first missing value: `destination.postgres.credentials`, or, where only a part is missing,
    `destination.postgres.credentials.password`."""
    field, traces = next(iter(error.traces.items()))
    part = ""
    while traces and isinstance(traces[0], LookupTraces):
        resolved, (missing, traces) = traces[0].resolved_fields_set, next(iter(traces[0].traces.items()))
        part = f".{missing}" if {"host", "username", "database"} & set(resolved or ()) else ""
    tried = [trace.key for trace in traces if isinstance(trace, LookupTrace)]
    # dlt looks into the environment first, from the narrowest section outwards
    whole = next((key for key in tried if key.startswith("DESTINATION__")), field.upper())
    return f"{whole.partition(field.upper())[0]}{field}".lower().replace("__", ".") + part


def _from_system(cause: OSError, folder: Path | None) -> DocrunsError | None:
    place = str(cause.filename or folder or "a file")
    home = None if folder is None else folder.parent
    is_ours = home is not None and (Path(place).is_relative_to(home) or home.is_relative_to(place))
    reason = cause.strerror or str(cause)
    hint = " Set DLT_DATA_DIR to put the working folder elsewhere." if is_ours else ""
    if cause.errno in _FULL:
        return no_space_error(place, reason, hint)
    if cause.errno in _FORBIDDEN:
        return forbidden_error(place, reason, hint)
    if is_ours and cause.errno in _NO_FOLDER:
        return _removed(place, reason, hint)
    return None


def _removed(place: str, reason: str, hint: str = "") -> DocrunsError:
    return TransientError(
        f"{place}: {reason}. Was it removed or replaced during the load? Run this again.{hint}"
    )


def _unreadable_state(error: Exception, cause: BaseException, database: str) -> DocrunsError | None:
    """The error for a state or schema that dlt cannot unpack. dlt keeps both as packed text in two tables,
    which it reads before anything else."""
    if getattr(error, "step", None) != "sync" or not isinstance(
        cause, (zlib.error, binascii.Error, ValueError, KeyError)
    ):
        return None
    dataset = getattr(getattr(error, "pipeline", None), "dataset_name", None) or "the dataset"
    return DocrunsError(
        f"{database}: dlt's tables {dataset}._dlt_pipeline_state and {dataset}._dlt_version cannot "
        f"be read ({cause}). The runs themselves are not damaged. Delete the rows of both tables "
        "and load again: the load then reads the lists to their ends, and fetches only runs that "
        "differ."
    )
