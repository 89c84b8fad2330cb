"""Replace parts of an archive: one part a day, no part of an earlier day, no answer about some runs.

A new part is written before the old ones are removed. What a kill leaves behind is read as before, because of
several answers about a run the newest one counts.

Each of these removes what a killed load or rewrite did not finish: no reader sees it, and it holds answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import groupby

import pyarrow as pa
import pyarrow.compute as pc

from ..process.environment import private_files
from .folder import SCHEMA, STATE, Folder
from .reading import Index, PartReader, Place, Row, open_index
from .writing import LIST_ROWS, ROWS, PartFile

Change = Callable[[Row], bool | bytes | None]
"""What becomes of a row: True keeps it and False removes it; bytes are its new body, and None leaves it without."""


@dataclass
class Rewritten:
    """What a rewrite has done. `rows` were removed; `size` is how many bytes the archive has less."""

    parts: int = 0
    rows: int = 0
    size: int = 0


def compact(folder: Folder) -> Rewritten:
    """Make one part of each day, with the newest answers only."""
    folder.remove(folder.leftovers())
    done = Rewritten()
    for workspace in sorted({part.workspace for part in folder.parts()}, key=str):
        index = open_index(folder, workspace)
        kept = _kept(index)

        def change(row: Row, kept: frozenset[Place] = kept) -> bool | None:
            if row.entry.feed == STATE:
                # the chain of states stays, without the states that are past
                return True if row.place in kept or not row.has_body else None
            return row.place in kept

        numbered = enumerate(index.reader.parts)
        for day, group in groupby(numbered, key=lambda pair: pair[1].day):
            numbers = [number for number, _ in group]
            name = f"day={day}/compact-{datetime.now(UTC):%Y%m%dT%H%M%S%f}.parquet"
            if len(numbers) > 1 or _loses(index.reader, numbers[0], change):
                _rewrite(index.reader, numbers, f"{folder.of_workspace(workspace)}/{name}", change, done)
    return done


def expire(folder: Folder, before: date) -> Rewritten:
    """Remove the parts whose answers were fetched before a day."""
    folder.remove(folder.leftovers())
    old = [part for part in folder.parts() if part.day < before]
    reader, done = PartReader(folder, old), Rewritten()
    for number, part in enumerate(old):
        done.rows += reader.file(number).metadata.num_rows
        done.parts += 1
        done.size += part.size
    folder.remove([part.path for part in old])
    return done


def remove_runs(folder: Folder, ids: set[str]) -> Rewritten:
    """Remove all that the archive holds about some runs. Each part is replaced under its own name."""
    folder.remove(folder.leftovers())
    done, parts = Rewritten(), folder.parts()
    reader = PartReader(folder, parts)
    for number, part in enumerate(parts):
        failed = {
            row.place: _without_failures(reader.body(row.place), ids)
            for row in reader.rows(number)
            if row.entry.feed == STATE and row.has_body
        }

        def change(row: Row, failed: Mapping[Place, bool | bytes] = failed) -> bool | bytes:
            return failed.get(row.place, True) if row.entry.feed == STATE else row.entry.id not in ids

        if _loses(reader, number, change):
            _rewrite(reader, [number], part.path, change, done)
    return done


def _without_failures(body: bytes, ids: set[str]) -> bool | bytes:
    """The state of a list without what it says of runs that failed; True where it says nothing of them."""
    state = json.loads(body)
    if not ids & state.get("failed", {}).keys():
        return True
    state["failed"] = {id_: why for id_, why in state["failed"].items() if id_ not in ids}
    return json.dumps(state).encode()


def _kept(index: Index) -> frozenset[Place]:
    kept = {*index.state_places, *index.mark_places}
    for feed in index.feeds.values():
        for known in feed.values():
            kept |= {known.listed_at} if known.place is None else {known.listed_at, known.place}
    return frozenset(kept)


def _loses(reader: PartReader, number: int, change: Change) -> bool:
    return any(change(row) is not True for row in reader.rows(number))


def _rewrite(reader: PartReader, numbers: list[int], path: str, change: Change, done: Rewritten) -> None:
    """Write the rows of some parts into one, and remove the parts."""
    folder, old = reader.folder, [reader.parts[number] for number in numbers]
    kept = 0
    with folder.errors("written"), private_files():
        part = PartFile(folder, path)
        try:
            pending = _Pending(part)
            for number in numbers:
                for rows in reader.groups(number):
                    changes = [change(row) for row in rows]
                    done.rows += changes.count(False)
                    kept += pending.add(reader, rows, changes)
            pending.flush()
            if kept:
                part.finish()
        finally:
            part.discard()
    reader.close()
    folder.remove([each.path for each in old if each.path != path or not kept])
    done.parts += len(old)
    done.size += sum(each.size for each in old) - (int(folder.files.size(path) or 0) if kept else 0)


class _Pending:
    """Rows for a part. A row group has answers, or rows without one."""

    def __init__(self, part: PartFile) -> None:
        self._part = part
        self._tables: dict[bool, list[pa.Table]] = {True: [], False: []}

    def add(self, reader: PartReader, rows: list[Row], changes: list[bool | bytes | None]) -> int:
        """Add the rows of a row group that stay. Gives their number."""
        place = rows[0].place
        has_new = any(type(change) is not bool for change in changes)
        table = reader.table(place.part, place.group)
        with reader.folder.part_errors(reader.parts[place.part].path):
            bodies = table.column("body").to_pylist() if has_new else []
        for at, new in enumerate(changes if bodies else ()):
            bodies[at] = bodies[at] if isinstance(new, bool) else new and new.decode()
        if bodies:
            at = SCHEMA.get_field_index("body")
            table = table.set_column(at, SCHEMA.field(at), pa.array(bodies, pa.string()))
        table = table.filter(pa.array([new is not False for new in changes]))
        has_body = table.column("body").is_valid()
        for is_answer, mask in ((True, has_body), (False, pc.invert(has_body))):
            some = table.filter(mask)
            if some.num_rows:
                self._tables[is_answer].append(some)
            if sum(each.num_rows for each in self._tables[is_answer]) >= (ROWS if is_answer else LIST_ROWS):
                self._write(is_answer)
        return int(table.num_rows)

    def flush(self) -> None:
        """Write what is left."""
        self._write(True)
        self._write(False)

    def _write(self, is_answer: bool) -> None:
        tables, self._tables[is_answer] = self._tables[is_answer], []
        if tables:
            self._part.write(pa.concat_tables(tables).combine_chunks())
