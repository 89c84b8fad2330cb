"""Read an archive: of several answers about a run, the newest one.

parts ──► all columns but the bodies ──► Index: the newest row and the newest answer of each (feed, id)
                                           └──► body(feed, id), from the row group that holds it
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ...core.errors import ConfigError
from .folder import DELETED, SCHEMA, STATE, Folder, Part
from .writing import Entry, digest

_OPEN_FILES, OPEN_GROUPS = 4, 4
"""How many files are open, and how many row groups are in memory, each with 16 MiB of answers at most."""

_LIGHT = [name for name in SCHEMA.names if name not in ("provider", "workspace", "body")]


class Place(NamedTuple):
    """Where a row is: the number of its part, the row group in the part, and the row in the group."""

    part: int
    group: int
    row: int


class Known(NamedTuple):
    """What an archive holds of a run. `entry`: as it was listed last, in the row `listed_at`. `place`: its newest
    answer; None where it holds none. `answered_at`: when that was read."""

    entry: Entry
    listed_at: Place
    seen_at: datetime
    api_version: str
    place: Place | None = None
    answered_at: datetime | None = None


class Row(NamedTuple):
    """A row of a part without its body."""

    place: Place
    has_body: bool
    entry: Entry
    fetched_at: datetime
    api_version: str


class PartReader:
    """Reads parts; a few files and row groups stay in memory."""

    def __init__(self, folder: Folder, parts: Sequence[Part], open_groups: int = OPEN_GROUPS) -> None:
        self.folder, self.parts = folder, parts
        self._open_groups = open_groups
        self._files: OrderedDict[int, pq.ParquetFile] = OrderedDict()
        self._groups: OrderedDict[tuple[int, int], pa.Array] = OrderedDict()

    def rows(self, number: int) -> Iterator[Row]:
        """The rows of a part, without their bodies."""
        for rows in self.groups(number):
            yield from rows

    def groups(self, number: int) -> Iterator[list[Row]]:
        """The rows of each row group of a part, without their bodies."""
        file = self.file(number)
        body = SCHEMA.get_field_index("body")
        for group in range(file.num_row_groups):
            with self.folder.part_errors(self.parts[number].path):
                # the statistics tell, because no row group mixes rows with and without an answer
                has_body = file.metadata.row_group(group).column(body).statistics.null_count == 0
                columns = self.table(number, group, _LIGHT).to_pydict()
                cells = zip(*(columns[name] for name in _LIGHT), strict=True)
                rows = [_row(Place(number, group, at), has_body, each) for at, each in enumerate(cells)]
            yield rows

    def body(self, place: Place) -> bytes:
        """The answer at a place."""
        key = place.part, place.group
        bodies = self._groups.get(key)
        if bodies is None:
            column = self.table(place.part, place.group, ["body"]).column(0)
            bodies = self._groups[key] = column.combine_chunks()
            if len(self._groups) > self._open_groups:
                self._groups.popitem(last=False)
        else:
            self._groups.move_to_end(key)
        # without a detour over a Python text, which takes a third of the time to read a run
        found: bytes = bodies[place.row].as_buffer().to_pybytes()
        return found

    def table(self, number: int, group: int, columns: list[str] | None = None) -> pa.Table:
        """A row group of a part, or some columns of it. DocrunsError where it is damaged."""
        file = self.file(number)
        with self.folder.part_errors(self.parts[number].path):
            table = file.read_row_group(group, columns=columns)
            # a checksum does not cover the header of its page, and a page of unknown type is left out
            table.validate()
            if table.num_rows != (rows := file.metadata.row_group(group).num_rows):
                raise ValueError(f"{table.num_rows} rows in place of {rows}")
        return table

    def file(self, number: int) -> pq.ParquetFile:
        """A part, open; the checksum of each page that is read is compared. DocrunsError where it is no such file."""
        file = self._files.get(number)
        if file is None:
            path = self.parts[number].path
            with self.folder.part_errors(path):
                source = self.folder.files.open(path, "rb")
                try:
                    # pages that an earlier version of docruns wrote have no checksums
                    file = pq.ParquetFile(source, page_checksum_verification=True)
                except Exception:
                    source.close()
                    raise
            self._files[number] = file
            if len(self._files) > _OPEN_FILES:
                self._files.popitem(last=False)[1].close(force=True)
        else:
            self._files.move_to_end(number)
        return file

    def close(self) -> None:
        """Close all files; they are opened again when they are read again."""
        self._groups.clear()
        while self._files:
            self._files.popitem()[1].close(force=True)


def _row(place: Place, has_body: bool, cells: Sequence[Any]) -> Row:
    feed, id_, status, created, updated, is_final, summary, fetched, version = cells
    told = None if summary is None else json.loads(summary)
    return Row(place, has_body, Entry(feed, id_, status, created, updated, is_final, told), fetched, version)


class Index:
    """What the parts of one workspace hold, by feed and id: about 500 bytes of memory a run."""

    def __init__(self, reader: PartReader) -> None:
        self.reader = reader
        self.feeds: dict[str, dict[str, Known]] = {}
        self.deleted: dict[str, datetime] = {}
        """When runs were marked as deleted that have not come back since."""
        self.states: dict[str, dict[str, Any]] = {}
        """The state that each list was left with, as far as the archive holds all that came before it."""
        self.versions: dict[str, datetime] = {}
        """API versions, and when each was read last."""
        self.state_places: set[Place] = set()
        self.mark_places: set[Place] = set()
        """Where the states are, and the newest marks of deleted runs."""
        states: list[Row] = []
        marks: dict[str, Row] = {}
        for number in range(len(reader.parts)):
            for row in reader.rows(number):
                if row.entry.feed == STATE:
                    states.append(row)
                elif row.entry.feed == DELETED:
                    before = marks.get(row.entry.id)
                    if before is None or row.fetched_at >= before.fetched_at:
                        marks[row.entry.id] = row
                else:
                    self._see(row)
        self._follow(states)
        self._mark(marks)

    def _see(self, row: Row) -> None:
        entry, version = row.entry, row.api_version
        self.versions[version] = max(row.fetched_at, self.versions.get(version, row.fetched_at))
        known = self.feeds.setdefault(entry.feed, {})
        before = known.get(entry.id)
        if before is None:
            answer = (row.place, row.fetched_at) if row.has_body else (None, None)
            known[entry.id] = Known(entry, row.place, row.fetched_at, version, *answer)
            return
        # a run that is asked for without a list, such as a nested one, has no dates
        has_dates = entry.updated_at is not None or entry.created_at is not None
        had_dates = before.entry.updated_at is not None or before.entry.created_at is not None
        is_newer = (has_dates, row.fetched_at) >= (had_dates, before.seen_at)
        if is_newer:
            before = before._replace(entry=entry, listed_at=row.place, seen_at=row.fetched_at)
        if row.has_body and (before.answered_at is None or row.fetched_at >= before.answered_at):
            before = before._replace(place=row.place, answered_at=row.fetched_at, api_version=version)
        known[entry.id] = before

    def _follow(self, rows: list[Row]) -> None:
        """Follow the states of each list from the first one, which is empty, from package to package. Where a load
        kept no answers, or parts are gone, the chain is broken: what comes after it says nothing about the archive."""
        reached: dict[str, set[str]] = {}
        found: dict[str, Row] = {}
        for row in sorted(rows, key=lambda row: row.fetched_at):
            change, name = row.entry.summary or {}, row.entry.id
            valid = reached.setdefault(name, {digest({})})
            if change.get("before") in valid:
                valid.add(change["after"])
                if row.has_body:
                    found[name] = row
        self.state_places = {row.place for row in found.values()}
        self.states = {name: json.loads(self.reader.body(row.place)) for name, row in found.items()}

    def _mark(self, marks: dict[str, Row]) -> None:
        self.mark_places = {row.place for row in marks.values()}
        answered = [
            known for feed in self.feeds.values() for known in feed.values() if known.entry.id in marks
        ]
        back = {
            known.entry.id
            for known in answered
            if known.answered_at is not None and known.answered_at > marks[known.entry.id].fetched_at
        }
        for id_, row in marks.items():
            if row.entry.updated_at is not None and id_ not in back:
                self.deleted[id_] = row.entry.updated_at

    def body(self, feed: str, id_: str) -> bytes | None:
        """The newest answer about a run; None where the archive holds none."""
        known = self.feeds.get(feed, {}).get(id_)
        return None if known is None or known.place is None else self.reader.body(known.place)


def choose_workspace(folder: Folder, wanted: str | None, setting: str) -> str | None:
    """The workspace of an archive to read: the wanted one, or the only one. ConfigError names the setting."""
    found = {part.workspace for part in folder.parts()}
    if not found:
        raise ConfigError("--archive", f"{folder.url} holds no answers of {folder.provider}.")
    if wanted is None and len(found) == 1:
        return found.pop()
    if wanted not in found:
        names = ", ".join(sorted(name or "(none)" for name in found))
        raise ConfigError(
            setting, f"is {wanted or 'not set'}, and {folder.url} holds the workspaces {names}."
        )
    return wanted


def open_index(folder: Folder, workspace: str | None, open_groups: int = OPEN_GROUPS) -> Index:
    """The index of a workspace's parts, which are read with so many row groups in memory."""
    parts = [part for part in folder.parts() if part.workspace == workspace]
    return Index(PartReader(folder, parts, open_groups))
