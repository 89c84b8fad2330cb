"""Around a load: dlt's telemetry off, files for their owner only, a word about secrets that others
can read.

Loads bring documents of other people onto this machine, whether the command runs them, a job, or a
notebook.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dlt.common.runtime.run_context import RunContext

logger = logging.getLogger("docruns")

_TELEMETRY = "RUNTIME__DLTHUB_TELEMETRY"

_lock = threading.Lock()
_inside = 0
_outer_mask = 0
_warned: set[Path] = set()


@contextmanager
def private_files() -> Iterator[None]:
    """What is created in here is its owner's alone (0600, 0700), and dlt tells nobody what it does.

    Files that are there keep their mode. A process has one mask, so what other threads create
    meanwhile is their owner's alone as well. As a decorator it guards a function.
    """
    disable_telemetry()
    _mask(1)
    try:
        yield
    finally:
        _mask(-1)


def _mask(step: int) -> None:
    """Loads may run in several threads: the first one in sets the mask, the last one out puts it
    back."""
    global _inside, _outer_mask
    with _lock:
        if step > 0 and _inside == 0:
            _outer_mask = os.umask(0o077)
        _inside += step
        if _inside == 0:
            os.umask(_outer_mask)


def disable_telemetry() -> None:
    """dlt sends no telemetry, unless the user's own configuration says that it shall.

    Must come before dlt reads its configuration, which it does for the first value that is asked
    for.
    """
    if _TELEMETRY not in os.environ and not _is_configured("dlthub_telemetry", "runtime"):
        os.environ[_TELEMETRY] = "false"


def _is_configured(key: str, section: str) -> bool:
    # the context alone reads files; one that is plugged in starts telemetry
    for provider in RunContext(None).initial_providers():
        if provider.get_value(key, str, "", section)[0] is not None:
            return True
    return False


def warn_of_readable_secrets() -> None:
    """One warning for each secrets.toml that others may read; the log is stderr where nobody says
    otherwise."""
    if os.name == "nt":  # pragma: no cover - modes say nothing there
        return
    context = RunContext(None)
    for folder in (context.settings_dir, context.global_dir):
        path = Path(folder) / "secrets.toml"
        if path.absolute() in _warned or not path.is_file():
            continue
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            _warned.add(path.absolute())
            logger.warning(
                "docruns: %s can be read by others (mode %o): chmod 600 %s", path, mode, path
            )
