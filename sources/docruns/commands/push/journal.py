"""A file that records a push and outlives the process. A record is on the disk when `write` returns.

    {"push_id": "20261122T070000-3f9a1c", "wishes": "9d41…"}
    {"id": "workflow_run_1", "outcome": "unconfirmed", "name": "HP-1", …}                     before it is sent
    {"id": "workflow_run_1", "outcome": "confirmed", "done_at": "2026-11-22T07:00:01Z"}       when it is answered
    {"committed": {"workflow_run_1": {"outcome": "confirmed", …}}}                            when the database has it

Several threads write, one record at a time, and each record is flushed by itself. A flush takes 6 ms on a
busy disk, so 165 records a second are possible. A push writes two records a run: the fastest documented plan,
75 requests a second, needs 150.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Lock
from typing import Any

import msgspec

from ...store.duckdb.file import flush_folder

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class Journal:
    """A file of JSON lines that only its owner can read. `records` are those of earlier processes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        is_new = not path.exists()
        self.records, size = _read(path)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        # a record appended to half a line would be lost with it
        os.ftruncate(self._file, size)
        if is_new:
            flush_folder(path.parent)
        self._lock = Lock()
        self._failure: OSError | None = None

    def write(self, record: Mapping[str, Any]) -> None:
        """Append a record to the disk. OSError if that is not possible, now or before."""
        line = _encode(record) + b"\n"
        with self._lock:
            if self._failure is not None:
                raise self._failure
            try:
                _write(self._file, line)
                os.fsync(self._file)
            except BaseException as error:
                # the file may end in half a line, and what follows half a line is not read
                self._failure = error if isinstance(error, OSError) else OSError(errno.EINTR, "interrupted")
                raise

    @property
    def is_empty(self) -> bool:
        """It has no record."""
        return os.fstat(self._file).st_size == 0

    def restart(self) -> None:
        """Delete all records: the database has them."""
        os.ftruncate(self._file, 0)
        os.fsync(self._file)

    def close(self) -> None:
        """Close the file; it stays. A later `write` raises OSError."""
        with self._lock:
            self._failure = self._failure or OSError(errno.EBADF, "the journal is closed")
            os.close(self._file)

    def remove(self) -> None:
        """Delete the file."""
        self._path.unlink(missing_ok=True)


class JournalState:
    """What a journal holds: its push, the record of each run, and the runs that the database has."""

    def __init__(self, lines: Iterable[dict[str, Any]]) -> None:
        self.push_id: str | None = None
        self.fingerprint: str | None = None
        """Of the rows of that push."""
        self.records: dict[str, dict[str, Any]] = {}
        self._committed: set[str] = set()
        for line in lines:
            if "wishes" in line:
                self.push_id, self.fingerprint = line["push_id"], line["wishes"]
            elif "committed" in line:
                for id_, cells in line["committed"].items():
                    self.records[id_].update(cells)
                    self._committed.add(id_)
            else:
                self.records.setdefault(line["id"], {}).update(line)
                self._committed.discard(line["id"])

    def uncommitted(self) -> list[dict[str, Any]]:
        """Records that the database does not have yet."""
        return [record for id_, record in self.records.items() if id_ not in self._committed]


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a journal that no process has open; none if there is no file."""
    return _read(path)[0]


def _read(path: Path) -> tuple[list[dict[str, Any]], int]:
    """The records, and their size in bytes, without what a kill or a power failure cut off."""
    found: list[dict[str, Any]] = []
    size = 0
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
