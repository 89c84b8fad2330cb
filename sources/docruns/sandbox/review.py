"""A person's review of a reading: corrects wrong values, adds a missed row, removes a ghost row."""

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

    Paths of changed and removed values refer to the machine result, the path of an added row to the reviewed
    value.
    """

    value: Value
    entries: dict[str, Entry]
    edits: dict[str, Edit | None]


def review(kind: Kind, reading: Reading, rng: Random, *, round: int) -> Reviewed:
    """Review a reading.

    In round 1 a person may overlook a wrong value and may find nothing to change. Every later round changes
    something that earlier rounds did not change, and even rounds drop the last row.
    """
    value = copy.deepcopy(reading.value)
    entries = dict(reading.entries)
    edits: dict[str, Edit | None] = {}
    for path, field, holder, key in leaves(kind, value):
        if path in reading.wrong and (round > 1 or rng.random() < 0.93):
            true = copy.deepcopy(reading.wrong[path])
            edits[path] = Edit(holder[key], true, rng.choice(NOTES), reading.entries[path].page, field.type)
            holder[key] = true
    rows: list[Value] = value[kind.rows]
    if reading.ghost is not None:
        _remove(kind.rows, rows, reading.ghost, entries, edits, rng)
    for row in reading.missed:
        edits[f"{kind.rows}[{len(rows)}]"] = Edit(None, row, rng.choice(NOTES), reading.pages, "object")
        rows.append(copy.deepcopy(row))
    if round > 1:
        _second_thoughts(kind, reading, value, edits, round)
        if round % 2 == 0 and len(rows) > 1:
            _remove(kind.rows, rows, len(rows) - 1, entries, edits, rng)
    if edits and rng.random() < 0.1:
        # a field that a person opened and closed without a change has a null entry
        edits.setdefault(kind.key, None)
    return Reviewed(value, entries, edits)


def _remove(
    name: str,
    rows: list[Value],
    index: int,
    entries: dict[str, Entry],
    edits: dict[str, Edit | None],
    rng: Random,
) -> None:
    path = f"{name}[{index}]"
    removed = rows.pop(index)
    added = edits.pop(path, None)
    for stale in [known for known in entries if known.startswith(path)]:
        del entries[stale]
    for stale in [known for known in edits if known.startswith(path)]:
        del edits[stale]
    if added is None:
        edits[path] = Edit(removed, None, rng.choice(NOTES), 1, "object")


def _second_thoughts(
    kind: Kind, reading: Reading, value: Value, edits: dict[str, Edit | None], round: int
) -> None:
    name = kind.key
    edited = f"{reading.value[name] or 'unreadable'}-R{round}"
    edits[name] = Edit(reading.value[name], edited, f"Changed in review {round}", 1, "string")
    value[name] = edited
