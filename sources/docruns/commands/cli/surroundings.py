"""What the command finds in its environment and would fail on: empty variables, a log of TLS keys, limits."""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...core.errors import DocrunsError, causes_of, is_file_limit, is_memory_limit
from .logs import say

_resource: Any = import_module("resource") if find_spec("resource") else None
"""None on Windows, which has no such limits."""

_PREFIXES = ("EXTEND_", "PLEXTERA_", "DLT_", "SSL")
_KEY_LOG = "SSLKEYLOGFILE"

LEAST_MB, ENOUGH_MB = 800, 2000
"""MiB of address space: with 500 DuckDB ends the process with SIGSEGV, with 900 a small load succeeds."""

_OPEN_FILES = 256
"""A load of 12 runs needs 40 open files: DuckDB's, dlt's, and 32 connections."""


def prepare_environment() -> None:
    """Remove variables that say nothing or would end every command, and let the process open enough files."""
    for name, value in list(os.environ.items()):
        # an unset variable of a shell script or of a compose file; dlt's own variables have two underscores
        if not value.strip() and ("__" in name or name.startswith(_PREFIXES)):
            del os.environ[name]
    if place := os.environ.get(_KEY_LOG):
        try:
            with Path(place).open("a"):
                pass
        except OSError as error:
            # Python opens it for every TLS context, the first of which is made by an import
            say(
                f"docruns: {_KEY_LOG}: {place} cannot be written ({error.strerror}): no TLS keys are logged there."
            )
            del os.environ[_KEY_LOG]

    if _resource is not None:
        soft, hard = _resource.getrlimit(_resource.RLIMIT_NOFILE)
        if soft < _OPEN_FILES and soft != hard:
            wanted = _OPEN_FILES if hard == _resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
            _resource.setrlimit(_resource.RLIMIT_NOFILE, (wanted, hard))


def require_address_space() -> None:
    """Raise DocrunsError where the process may not use enough address space to import DuckDB and pyarrow."""
    if _resource is None:  # pragma: no cover - Windows
        return
    soft = _resource.getrlimit(_resource.RLIMIT_AS)[0]
    if soft != _resource.RLIM_INFINITY and soft < LEAST_MB * 2**20:
        raise DocrunsError(
            f"this process may use {_limit('RLIMIT_AS', 2**20)} MB of address space (`ulimit -v`), which is too little. "
            f"Allow {ENOUGH_MB:,} MB or more, then run this again."
        )


def limit_error(error: BaseException) -> DocrunsError | None:
    """The error for a limit of the process that was too low; None for other errors."""
    for cause in causes_of(error):
        if is_file_limit(cause):
            return DocrunsError(
                f"too many open files: this process may open {_limit('RLIMIT_NOFILE')}. Raise the limit, for "
                "example with `ulimit -n 1024`, then run this again."
            )
        if is_memory_limit(cause):
            size = _limit("RLIMIT_AS", 2**20)
            return DocrunsError(
                f"out of memory or threads: this process may use {size} MB of address space (`ulimit -v`) and "
                f"{_limit('RLIMIT_NPROC')} threads (`ulimit -u`). Raise the limit that was reached (a load needs "
                f"{ENOUGH_MB:,} MB of address space), then run this again."
            )
    return None


def _limit(name: str, unit: int = 1) -> str:
    if _resource is None:  # pragma: no cover - Windows
        return "any number of"
    soft = _resource.getrlimit(getattr(_resource, name))[0]
    return "unlimited" if soft == _resource.RLIM_INFINITY else f"{soft // unit:,}"
