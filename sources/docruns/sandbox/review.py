"""A person's review of a reading: corrects wrong values, and adds, removes and moves rows."""

from __future__ import annotations

import copy
from random import Random
from typing import Any, Final, NamedTuple

from .kinds import Kind, Value, leaves
from .reading import Entry, Reading

NOTES: Final = (
    "From covering e-mail",
    "Checked against the scan",
    "Supplier confirmed by phone",
    None,
)


class Edit(NamedTuple):
    original: Any
    edited: Any
    notes: str | None
    page: int
    type: str


class Reviewed(NamedTuple):
    """The value after review, the entries that still apply, and one edit per touched path.

    Paths of changed and removed values refer to the machine result, the path of an added row and those of the entries
    to the reviewed value. `places` has for each row its index in the machine result, None for an added one.
    """

    value: Value
    entries: dict[str, Entry]
    edits: dict[str, Edit | None]
    places: tuple[int | None, ...]

    def entries_by_machine_path(self, kind: Kind, reading: Reading) -> dict[str, Entry]:
        """The entries that still apply, keyed as in the machine result."""
        kept = set(self.places)
        return {
            path: entry for path, entry in reading.entries.items() if _row_of(kind, path) in {None, *kept}
        }


def review(kind: Kind, reading: Reading, rng: Random, *, round: int, seen: float) -> Reviewed:
    """Review a reading: correct values, delete the row that does not exist, insert the missed one, put the one that
    was read in the wrong place where it belongs.

    In round 1 a person finds the share `seen` of the wrong values, and may find nothing to change. Every later
    round changes something that earlier rounds did not change, and even rounds drop a row.
    """
    value = copy.deepcopy(reading.value)
    edits: dict[str, Edit | None] = {}
    for path, field, holder, key in leaves(kind, value):
        if path in reading.wrong and (round > 1 or rng.random() < seen):
            true = copy.deepcopy(reading.wrong[path])
            edits[path] = Edit(holder[key], true, rng.choice(NOTES), reading.entries[path].page, field.type)
            holder[key] = true
    rows = _Rows(kind, reading, value[kind.rows])
    if reading.moved is not None:
        rows.move(*reading.moved)
    if reading.ghost is not None:
        rows.remove(rows.places.index(reading.ghost), edits, rng)
    for at, row in reading.missed:
        rows.insert(at, copy.deepcopy(row))
    if round > 1:
        _second_thoughts(kind, reading, value, edits, round)
        if round % 2 == 0 and (removable := rows.removable()):
            rows.remove(rng.choice(removable), edits, rng)
    for index, place in enumerate(rows.places):
        if place is None:
            added = Edit(None, copy.deepcopy(rows.rows[index]), rng.choice(NOTES), reading.pages, "object")
            edits[f"{kind.rows}[{index}]"] = added
    if edits and rng.random() < 0.1:
        # a field that a person opened and closed without a change has a null entry
        edits.setdefault(kind.key, None)
    return Reviewed(value, rows.entries(), edits, tuple(rows.places))


class _Rows:
    """The rows of a document under review, each with its index in the machine result."""

    def __init__(self, kind: Kind, reading: Reading, rows: list[Value]) -> None:
        self.kind, self.reading, self.rows = kind, reading, rows
        self.places: list[int | None] = list(range(len(rows)))

    def move(self, index: int, to: int) -> None:
        self.rows.insert(to, self.rows.pop(index))
        self.places.insert(to, self.places.pop(index))

    def insert(self, index: int, row: Value) -> None:
        self.rows.insert(index, row)
        self.places.insert(index, None)

    def removable(self) -> list[int]:
        """The rows that can be removed so that no added row is then at the index that names the removed one."""
        if len(self.rows) < 2:
            return []
        added = {index for index, place in enumerate(self.places) if place is None}
        places = enumerate(self.places)
        return [index for index, place in places if place is not None and not {place, place + 1} & added]

    def remove(self, index: int, edits: dict[str, Edit | None], rng: Random) -> None:
        del self.rows[index]
        place = self.places.pop(index)
        if place is None:
            return
        path = f"{self.kind.rows}[{place}]"
        for stale in [known for known in edits if known.startswith(path)]:
            del edits[stale]
        removed = copy.deepcopy(self.reading.value[self.kind.rows][place])
        edits[path] = Edit(removed, None, rng.choice(NOTES), 1, "object")

    def entries(self) -> dict[str, Entry]:
        """The entries of all rows that are left, keyed by their present index."""
        index_of = {place: index for index, place in enumerate(self.places)}
        found: dict[str, Entry] = {}
        for path, entry in self.reading.entries.items():
            place = _row_of(self.kind, path)
            if place is None:
                found[path] = entry
            elif place in index_of:
                found[path.replace(f"[{place}]", f"[{index_of[place]}]", 1)] = entry
        return found


def _row_of(kind: Kind, path: str) -> int | None:
    """The row's index in a path; None outside of the rows."""
    name, _, rest = path.partition("[")
    return int(rest.partition("]")[0]) if rest and name == kind.rows else None


class Leaf(NamedTuple):
    """What became of one leaf: its path in the final and in the machine result (None: not there), what a reviewer did
    to it (changed, added, removed or nothing), and whether the model was right."""

    path: str | None
    initial_path: str | None
    edit_kind: str | None
    right: bool


def leaves_of_review(kind: Kind, reading: Reading, done: Reviewed | None) -> list[Leaf]:
    """All leaves of a machine result and of its review."""
    before = {path: holder[key] for path, _, holder, key in leaves(kind, reading.value)}
    if done is None:
        return [Leaf(path, path, None, _is_right(kind, reading, path)) for path in before]
    found: list[Leaf] = []
    for path, _, holder, key in leaves(kind, done.value):
        index = _row_of(kind, path)
        was: str | None = path
        if index is not None:
            place = done.places[index]
            was = None if place is None else path.replace(f"[{index}]", f"[{place}]", 1)
        if was is None:
            found.append(Leaf(path, None, "added", False))
            continue
        kept = before.pop(was) == holder[key]
        found.append(Leaf(path, was, None if kept else "changed", _is_right(kind, reading, was)))
    return found + [Leaf(None, path, "removed", _is_right(kind, reading, path)) for path in before]


def _is_right(kind: Kind, reading: Reading, path: str) -> bool:
    return path not in reading.wrong and (reading.ghost is None or _row_of(kind, path) != reading.ghost)


def _second_thoughts(
    kind: Kind, reading: Reading, value: Value, edits: dict[str, Edit | None], round: int
) -> None:
    name = kind.key
    edited = f"{reading.value[name] or 'unreadable'}-R{round}"
    edits[name] = Edit(reading.value[name], edited, f"Changed in review {round}", 1, "string")
    value[name] = edited
