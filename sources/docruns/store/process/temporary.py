"""Temporary folders for copies of documents. A process that is killed leaves its folder, and the next one removes it.

    place/lock          is locked for an instant by a process that makes or removes folders
    place/docruns-x7    the folder of one process
    place/docruns-x7.lock    is locked as long as the process uses the folder

The system releases the lock of a process that dies, so a folder whose lock is free belongs to no process.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

_PREFIX = "docruns-"

_PATIENCE_S = 30.0
"""Seconds to wait for another process that removes folders."""


@contextmanager
def own_folder(place: Path) -> Iterator[Path]:
    """A new folder in `place`, for its owner only, which is removed after. Raises OSError.

    A file `*.error` in it stays for the next process to remove: the message of an error names it.
    """
    place.mkdir(parents=True, exist_ok=True, mode=0o700)
    with FileLock(place / "lock", timeout=_PATIENCE_S, mode=0o600):
        _remove_free(place)
        folder = Path(tempfile.mkdtemp(dir=place, prefix=_PREFIX))
        lock = _lock_of(folder)
        lock.acquire()
    try:
        yield folder
    finally:
        _clear(folder)
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


def remove_leftovers(place: Path) -> None:
    """Remove the folders of processes that were killed. A folder that cannot be removed is left."""
    if place.is_dir():
        with suppress(OSError), FileLock(place / "lock", timeout=_PATIENCE_S, mode=0o600):
            _remove_free(place)


def _lock_of(folder: Path) -> FileLock:
    # a new one for each call, so that threads of one process exclude each other
    return FileLock(folder.with_suffix(".lock"), timeout=0, mode=0o600)


def _remove_free(place: Path) -> None:
    for folder in {path.with_suffix("") for path in place.glob(f"{_PREFIX}*")}:
        lock = _lock_of(folder)
        with suppress(Timeout), lock:
            shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            # also where a process ended between two steps
            Path(lock.lock_file).unlink(missing_ok=True)


def _clear(folder: Path) -> None:
    is_kept = False
    for path in [*folder.iterdir()] if folder.is_dir() else []:
        if path.suffix == ".error":
            is_kept = True
        elif path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    if not is_kept:
        shutil.rmtree(folder, ignore_errors=True)
