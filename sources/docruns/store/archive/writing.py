"""Keep raw answers: a part of the archive for each package, written before the package is committed.

    begin(load_id, states) ──► add(…), add_answer(…) ──► finish(states) ──► dlt commits the package

A killed load may leave a part whose package was not committed. It does no harm: what it holds is true, and of
several answers about a run the newest one counts.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from threading import Lock
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ..process.environment import private_files
from .folder import DELETED, SCHEMA, STATE, Folder, unfinished

ROWS, BODY_BYTES, LIST_ROWS = 64, 16 * 2**20, 10_000
"""A row group has at most 64 answers or 16 MiB of them, or 10,000 rows without an answer: this bounds the memory of
writers and readers. No row group mixes both, so its statistics tell which it is."""

States = Mapping[str, Mapping[str, Any]]
"""What dlt stores of each list."""


class Entry(NamedTuple):
    """A row of the archive without what all rows of a part share."""

    feed: str
    id: str
    status: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    is_final: bool | None = None
    summary: Mapping[str, Any] | None = None


def digest(state: Mapping[str, Any]) -> str:
    """What tells two states of a list apart."""
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()[:16]


class PartFile:
    """A Parquet file that grows row by row. It gets its name when it is finished."""

    def __init__(self, folder: Folder, path: str) -> None:
        self._folder, self._path = folder, path
        self._place = unfinished(path) if folder.is_local else path
        self._is_finished = False
        folder.files.makedirs(path.rpartition("/")[0], exist_ok=True)
        self._file = folder.files.open(self._place, "wb")
        folder.lock(self._file)
        # no two bodies are equal
        words = [name for name in SCHEMA.names if name != "body"]
        self._writer = pq.ParquetWriter(
            self._file,
            SCHEMA,
            compression="zstd",
            compression_level=3,
            use_dictionary=words,
            write_page_checksum=True,
        )

    def write(self, rows: pa.Table) -> None:
        """Append a row group."""
        self._writer.write_table(rows, row_group_size=len(rows))

    def finish(self) -> None:
        """All rows are written."""
        self._writer.close()
        self._folder.flush(self._file)
        self._file.close()
        self._folder.finish(self._place, self._path)
        self._is_finished = True

    def discard(self) -> None:
        """Remove what was written, unless it is finished."""
        if self._is_finished:
            return
        with suppress(Exception):
            self._writer.close()
        with suppress(Exception):
            # an object store shows an object when it is closed
            (self._file.close if self._folder.is_local else self._file.discard)()
        if self._place != self._path:
            with suppress(Exception):
                self._folder.files.rm(self._place)


class ArchiveWriter:
    """Writes the answers of one load into an archive.

    `clean` removes from a body what must not be kept: signed URLs. Errors are DocrunsError, and then the package
    is not committed.
    """

    def __init__(
        self,
        url: str,
        provider: str,
        workspace: str | None,
        api_version: str,
        origin: Mapping[str, Any],
        clean: Callable[[bytes], bytes],
    ) -> None:
        self.url, self.provider, self.workspace = url, provider, workspace
        self._api_version, self._origin, self._clean = api_version, dict(origin), clean
        self._folder: Folder | None = None
        self._part: PartFile | None = None
        self._load_id = ""
        self._before: dict[str, str] = {}
        self._bodies: list[tuple[Any, ...]] = []
        self._listed: list[tuple[Any, ...]] = []
        self._bytes = 0
        # resources of a load may run in threads
        self._lock = Lock()

    def begin(self, load_id: str, states: States) -> None:
        """A package begins; `states` is where its lists begin. Each resource calls this; the first call counts."""
        with self._lock:
            if load_id == self._load_id:
                return
            self._discard()
            self._opened()
            self._load_id = load_id
            self._before = {name: digest(state) for name, state in states.items()}

    def add(self, entry: Entry, body: bytes | None) -> None:
        """Keep what a list has shown of a run, and the answer about it where one was read. Outside of a package that
        loads runs nothing is kept."""
        if not self._load_id:
            return
        text = None
        with suppress(UnicodeDecodeError):
            # text that is no UTF-8 cannot be read: the run is asked for again
            text = None if body is None else self._clean(body).decode()
        summary = None
        if entry.summary is not None:
            summary = self._clean(_json(entry.summary).encode(errors="replace")).decode()
        with self._lock:
            self._add(entry, summary, text)

    def add_answer(self, feed: str, key: str, body: bytes) -> None:
        """Keep an answer that is not about a run; `key` names the request."""
        self.add(Entry(feed, key), body)

    def finish(self, states: States) -> None:
        """The package is extracted: write its part. `states` is where its lists end."""
        with self._lock:
            for name, state in states.items():
                change = {"before": self._before.get(name, digest({})), "after": digest(state)}
                self._add(Entry(STATE, name, summary=change), _json(change), _json(state))
            self._flush()
            part, self._part = self._part, None
            if part is not None:
                with self._opened().errors("written"):
                    part.finish()

    def mark_deleted(self, gone: Iterable[str], back: Iterable[str], at: datetime) -> None:
        """Keep which runs were marked as deleted `at` a time, and which have lost the mark."""
        rows = [(run_id, at) for run_id in gone] + [(run_id, None) for run_id in back]
        if rows:
            with self._lock:
                self._load_id = f"deleted-{at:%Y%m%dT%H%M%S%f}"
                for run_id, moment in rows:
                    self._add(Entry(DELETED, run_id, updated_at=moment), None, None)
            self.finish({})

    def _opened(self) -> Folder:
        if self._folder is None:
            folder = Folder(self.url, self.provider)
            folder.note_origin(self.workspace, self._origin)
            self._folder = folder
        return self._folder

    def _add(self, entry: Entry, summary: str | None, body: str | None) -> None:
        now = datetime.now(UTC)
        row = (self.provider, *entry[:-1], summary, now, self._api_version, self.workspace, body)
        if body is None:
            self._listed.append(row)
        else:
            self._bodies.append(row)
            self._bytes += len(body)
        is_full = len(self._bodies) >= ROWS or self._bytes >= BODY_BYTES
        if is_full or len(self._listed) >= LIST_ROWS:
            self._flush()

    def _flush(self) -> None:
        folder = self._opened()
        with folder.errors("written"):
            if self._part is None and (self._bodies or self._listed):
                day = f"day={datetime.now(UTC).date()}"
                path = f"{folder.of_workspace(self.workspace)}/{day}/{self._load_id}.parquet"
                with private_files():
                    self._part = PartFile(folder, path)
            for rows in (self._bodies, self._listed):
                if rows and self._part is not None:
                    columns = zip(*rows, strict=True)
                    arrays = [
                        pa.array(cells, kind) for cells, kind in zip(columns, SCHEMA.types, strict=True)
                    ]
                    self._part.write(pa.Table.from_arrays(arrays, schema=SCHEMA))
                rows.clear()
        self._bytes = 0

    def _discard(self) -> None:
        """Forget what was kept of a package that was not extracted to its end."""
        self._bodies.clear()
        self._listed.clear()
        self._bytes = 0
        if self._part is not None:
            self._part.discard()
            self._part = None


def _json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
