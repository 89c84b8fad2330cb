"""What was done, line by line, in a file that outlives the process: nothing `write` returned from is ever lost.

    {"push_id": "20261122T070000-3f9a1c", "wishes": "9d41…"}
    {"id": "workflow_run_1", "outcome": "unconfirmed", "name": "HP-1", …}                     before it is sent
    {"id": "workflow_run_1", "outcome": "confirmed", "done_at": "2026-11-22T07:00:01Z"}       as it is answered

Several threads write. Each waits until its lines are on the disk, and those that come meanwhile go together: on a
disk that takes 3 ms to flush, 16 writers share one flush.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from threading import Condition
from typing import Any

import msgspec

from ...store.environment import flush_folder

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Journal:
    """A file of JSON objects, one a line, its owner's alone. `records` are those it held when it was opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        is_new = not path.exists()
        self.records, size = _read(path)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        # a line that was cut off would take the next one with it
        os.ftruncate(self._file, size)
        if is_new:
            flush_folder(path.parent)
        self._waiting: list[bytes] = []
        self._written = self._flushed = 0
        self._is_flushing = False
        self._changed = Condition()
        self._broken: OSError | None = None

    def write(self, record: Mapping[str, Any]) -> None:
        """Append a record; it is on the disk when this returns. OSError where there is no space."""
        with self._changed:
            self._waiting.append(_encode(record) + b"\n")
            self._written += 1
            mine = self._written
            self._changed.wait_for(lambda: self._flushed >= mine or not self._is_flushing)
            if self._flushed >= mine:
                return
            if self._broken is not None:
                raise self._broken
            lines, self._waiting = self._waiting, []
            last = self._written
            self._is_flushing = True
        try:
            _write(self._file, b"".join(lines))
            os.fsync(self._file)
        except BaseException as error:
            # others' lines were among these: nobody may take them for written
            broken = error if isinstance(error, OSError) else OSError(errno.EINTR, "interrupted")
            self._done(self._flushed, broken)
            raise
        self._done(last, None)

    def _done(self, flushed: int, broken: OSError | None) -> None:
        with self._changed:
            self._flushed, self._broken, self._is_flushing = flushed, broken, False
            self._changed.notify_all()

    @property
    def is_empty(self) -> bool:
        """It says nothing."""
        return os.fstat(self._file).st_size == 0

    def restart(self) -> None:
        """Forget what it says: it is known elsewhere by now."""
        os.ftruncate(self._file, 0)
        os.fsync(self._file)

    def close(self) -> None:
        """Close the file; it stays. Whoever writes after this gets an OSError."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_flushing)
            self._broken = self._broken or OSError(errno.EBADF, "the journal is closed")
            os.close(self._file)

    def remove(self) -> None:
        """Delete the file."""
        self._path.unlink(missing_ok=True)


def records(path: Path) -> list[dict[str, Any]]:
    """The records of a journal that nobody writes; none where there is none."""
    return _read(path)[0]


def _read(path: Path) -> tuple[list[dict[str, Any]], int]:
    """All whole records, and how many bytes they take: what follows was cut off by a kill or a lack of power."""
    found, size = [], 0
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return [], 0
    for line in lines:
        try:
            record = _decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            break
        if not line.endswith(b"\n"):
            break
        found.append(record)
        size += len(line)
    return found, size


def _write(file: int, data: bytes) -> None:
    while data:
        data = data[os.write(file, data) :]
