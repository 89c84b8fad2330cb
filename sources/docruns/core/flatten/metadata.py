"""PURE. What the outputs and the edits of a run say of its paths: each entry belongs to one node.

The scores, insights and citations of the model belong to a node by its path in the initial output. The final output
has another path for an item that was moved. Its metadata is keyed by the one or the other: where it says the same as
the metadata of the initial output, path by path, although items have moved, it was not keyed anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from typing import Final, NamedTuple, TypeVar

from msgspec.structs import replace

from ..codec import JSON, sorted_text
from .matching import Decision
from .node import Node, Values
from .output import Edit, FieldMetadata, Output, differing
from .paths import PathBudget, child_path, steps_of, unquoted
from .values import MISSING, is_equal

_T = TypeVar("_T")

_NOTHING = FieldMetadata()

_EditOfItem = tuple[int, Sequence[str | int], Edit]
"""An edit below an array: the item's index, the path below the item, the edit."""


class Found(NamedTuple):
    """What is said of one node, by output."""

    final: FieldMetadata | None = None
    initial: FieldMetadata | None = None
    reviewed: FieldMetadata | None = None
    edit: Edit | None = None


class RunMetadata:
    """The metadata and edits of one run, and which of them found their node."""

    def __init__(self, final: Output, initial: Output, reviewed: Output, edits: Mapping[str, Edit]) -> None:
        self.final = final.metadata
        self.edits = edits
        self._of_initial = initial.metadata
        self._initial = differing(final.metadata, initial.metadata)
        self._reviewed = differing(final.metadata, reviewed.metadata, self._initial)
        # of most runs only the final output has metadata of its own
        self.disputed = {key for other in (self._initial, self._reviewed, edits) for key in other}
        """Paths of which more is said than by the final output."""
        self.used: set[str] = set()
        """Paths of the final output whose metadata found its node."""
        self._used_of_initial: set[str] = set()
        self._used_of_reviewed: set[str] = set()
        self._used_edits: set[str] = set()

    @cached_property
    def _is_keyed_anew(self) -> bool:
        return any(
            _without_type(own) != _without_type(self._of_initial.get(path))
            for path, own in self.final.items()
        )

    def find(self, node: Node, values: Values) -> Found:
        """What is said of a node. Two nodes that a platform writes alike, as a.b, do not both get it."""
        return self._of_moved(node, values) if node.is_moved else self._at(node)

    def _at(self, node: Node) -> Found:
        """Of a node that has the same path in all outputs."""
        path = node.path
        if node.plain != path and path not in self.final and path not in self.disputed:
            path = node.plain
        return Found(
            _take(self.final, path, self.used),
            _take(self._initial, path, self._used_of_initial),
            _take(self._reviewed, path, self._used_of_reviewed),
            _take(self.edits, path, self._used_edits),
        )

    def _of_moved(self, node: Node, values: Values) -> Found:
        """Of a node that has another path in the initial output, or that only one of the two has."""
        before, after = node.initial_path or None, None if node.is_removed else node.path
        if before and before not in self._of_initial and before not in self.edits:
            before = unquoted(before)
        if after and after not in self.final and after not in self.edits:
            after = unquoted(after)
        key = after if self._is_keyed_anew else before
        final = _take(self.final, key, self.used)
        initial = _take(self._of_initial, before, self._used_of_initial)
        reviewed = _take(self._reviewed, key, self._used_of_reviewed) if self._reviewed else None
        edit = self._edit_of_moved(before, after, values) if self.edits else None
        return Found(final, None if initial == final else initial, reviewed, edit)

    def _edit_of_moved(self, before: str | None, after: str | None, values: Values) -> Edit | None:
        for path in (before, after):
            known = None if path is None else self.edits.get(path)
            if known is None or not known.is_about(values.initial, values.final):
                continue
            if edit := _take(self.edits, path, self._used_edits):
                return edit
        return None

    def unplaced(self) -> dict[str, None]:
        """The paths whose metadata or edit found no node."""
        paths: dict[str, None] = {}
        for by_path, used in (
            (self.final, self.used),
            (self._initial, self._used_of_initial),
            (self._reviewed, self._used_of_reviewed),
            (self.edits, self._used_edits),
        ):
            if by_path and (by_path is self._initial or len(by_path) > len(used)):
                paths.update(
                    (path, None)
                    for path, known in by_path.items()
                    if path not in used and not _is_type_only(known)
                )
        return paths

    def decisions(self, node: Node, final: Sequence[JSON], initial: Sequence[JSON]) -> list[Decision]:
        """What the platform's record of the edits says of an array's items, where its values confirm it.

        An item whose leaves were edited is the final item that it becomes by these edits. Paths of a record may be
        those of the initial or of the final output: both are tried.
        """
        found: list[Decision] = []
        if not self._edits_of_arrays:
            return found
        finals, initials = _Places(final), _Places(initial)
        for path in dict.fromkeys((node.initial_path or node.path, node.path)):
            below: dict[int, list[tuple[Sequence[str | int], Edit]]] = {}
            for index, steps, edit in self._edits_of_arrays.get(path, ()):
                before, after = (_below(array, [index]) for array in (initial, final))
                if steps:
                    below.setdefault(index, []).append((steps, edit))
                elif edit.edited is None and edit.is_about(before, MISSING):
                    found.append((None, index))
                elif edit.original is None and edit.is_about(MISSING, after):
                    found.append((index, None))
                elif edit.is_about(before, after):
                    found.append((index, index))
            for index, edits in below.items():
                changed = _with(
                    _below(initial, [index]), [(steps, e.original, e.edited) for steps, e in edits]
                )
                if (at := finals.find(changed, index)) is not None:
                    found.append((at, index))
                    if at == index:
                        # the other way gives the same pair
                        continue
                restored = _with(
                    _below(final, [index]), [(steps, e.edited, e.original) for steps, e in edits]
                )
                if (at := initials.find(restored, index)) is not None:
                    found.append((index, at))
        return found

    @cached_property
    def _edits_of_arrays(self) -> Mapping[str, list[_EditOfItem]]:
        """The edits with values, by the path of each array that their own path leads through."""
        found: dict[str, list[_EditOfItem]] = {}
        budget = PathBudget()
        for path, edit in self.edits.items():
            if "[" not in path or (edit.original is None and edit.edited is None):
                continue
            for array, index, steps in _arrays_on(path) if len(path) <= _USUAL else _find_arrays(path):
                budget.spend(len(array))
                found.setdefault(array, []).append((index, steps, edit))
        return found


def _find_arrays(path: str) -> list[tuple[str, int, list[str | int]]]:
    """The arrays that a path leads through: the path of each, the index in it, and the path below that item."""
    found: list[tuple[str, int, list[str | int]]] = []
    array, steps = "", steps_of(path) or []
    for at, step in enumerate(steps):
        if type(step) is int:
            found.append((array, step, steps[at + 1 :]))
        array = child_path(array, step)
    return found


_USUAL: Final = 200
"""Characters of a path up to which its arrays are remembered: the runs of a processor have the same paths."""

_arrays_on = lru_cache(10_000)(_find_arrays)


def _without_type(known: FieldMetadata | None) -> FieldMetadata:
    """What is said of a path, without the type, which a provider may have taken from the value."""
    return replace(known, type=None) if known is not None and known.type else known or _NOTHING


def _is_type_only(known: FieldMetadata | Edit) -> bool:
    """It says a type and nothing else: a provider has taken the type from the schema, for a value."""
    return isinstance(known, FieldMetadata) and known.type is not None and _without_type(known) == _NOTHING


def _take(by_path: Mapping[str, _T], path: str | None, used: set[str]) -> _T | None:
    if path is None or path in used or (found := by_path.get(path)) is None:
        return None
    used.add(path)
    return found


def _below(value: JSON, steps: Sequence[str | int]) -> JSON:
    """The value below another one; MISSING where it is not there."""
    for step in steps:
        if isinstance(step, str):
            is_there = type(value) is dict and step in value
        else:
            is_there = type(value) is list and 0 <= step < len(value)
        if not is_there:
            return MISSING
        value = value[step]
    return value


def _with(item: JSON, changes: Sequence[tuple[Sequence[str | int], JSON, JSON]]) -> JSON:
    """A copy of an item with other values at some paths; MISSING where one of these has not the value expected."""
    for steps, expected, value in changes:
        known = _below(item, steps)
        if known is MISSING or not is_equal(known, expected):
            return MISSING
        item = _replaced(item, steps, value)
    return item


def _replaced(item: JSON, steps: Sequence[str | int], value: JSON) -> JSON:
    """The item with another value at a path that it has. What is beside the path is shared with the item."""
    if not steps:
        return value
    changed = item.copy()
    changed[steps[0]] = _replaced(item[steps[0]], steps[1:], value)
    return changed


class _Places:
    """The places of equal items in an array."""

    def __init__(self, items: Sequence[JSON]) -> None:
        self._items = items

    @cached_property
    def _by_text(self) -> dict[str, list[int]]:
        places: dict[str, list[int]] = {}
        for at, item in enumerate(self._items):
            places.setdefault(sorted_text(item), []).append(at)
        return places

    def find(self, item: JSON, near: int) -> int | None:
        """The index of the equal item: `near` if it is, else the only one."""
        if item is MISSING:
            return None
        if near < len(self._items) and is_equal(self._items[near], item):
            return near
        places = self._by_text.get(sorted_text(item), [])
        return places[0] if len(places) == 1 else None
