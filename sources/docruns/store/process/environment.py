"""Private files, no telemetry, and a warning about readable secrets, for everything that loads documents.

A load stores other people's documents on this machine, whether the command runs it, a scheduled job, or a
notebook.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dlt.common.runtime.run_context import RunContext

from .sharing import share

logger = logging.getLogger("docruns")

_TELEMETRY = "RUNTIME__DLTHUB_TELEMETRY"

_warned: set[Path] = set()


@contextmanager
@share
def private_files() -> Iterator[None]:
    """Create files and folders for their owner only (0600, 0700), and switch dlt's telemetry off.

    Existing files keep their mode. A process has one mask, so files that other threads create at the same
    time are private as well. It can decorate a function.
    """
    disable_telemetry()
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def disable_telemetry() -> None:
    """Switch dlt's telemetry off, unless the user's own configuration says otherwise.

    Call this before dlt reads its configuration, which it does with the first value that it looks up.
    """
    if _TELEMETRY not in os.environ and not _is_configured("dlthub_telemetry", "runtime"):
        os.environ[_TELEMETRY] = "false"


def _is_configured(key: str, section: str) -> bool:
    # a new context only reads files; an active one starts telemetry
    providers = RunContext(None).initial_providers()
    return any(provider.get_value(key, str, "", section)[0] is not None for provider in providers)


def warn_of_readable_secrets() -> None:
    """Log one warning for each secrets.toml that others may read. The log goes to stderr unless it is
    configured."""
    if os.name == "nt":  # pragma: no cover - Windows has no such modes
        return
    context = RunContext(None)
    for folder in (context.settings_dir, context.global_dir):
        path = Path(folder) / "secrets.toml"
        if path.absolute() in _warned or not path.is_file():
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            _warned.add(path.absolute())
            logger.warning("%s can be read by others (mode %o): chmod 600 %s", path, mode, path)
