"""PURE. Which items of two arrays are the same item: a deleted item is then one edit, not one for each item after it.

    initial  [A, B, C, D]
    final    [A, C*, D]          match_items gives [0, 2, 3]: B was removed, a leaf of C has changed

Items are matched in four steps:

1. as the platform's own record of the edits says;
2. equal items, in their order;
3. the items that are most alike, if at least a third of their leaves are equal. For up to 50 items on each side the
   sum of these shares is the largest that is possible; beyond, the most alike items that share a rare leaf;
4. items that stand alone between the same neighbours, as many before as after: they were written over.

All other items were removed or added. Where this gives more edits than a comparison by place, places count.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import count
from typing import Final

from ..codec import JSON, sorted_text
from .values import MISSING, is_container, is_equal

Pairs = list[int | None]
"""For each item of the final array the index of the same item in the initial array; None: it was added."""

Decision = tuple[int | None, int | None]
"""An item's index in the final and in the initial array, None where it is not there."""

_OPTIMAL: Final = 50
"""Items on each side up to which the best assignment is looked for: its time grows with their cube."""
_RARE: Final = 16
"""A leaf that more items than this have does not tell them apart."""
_LEVELS: Final = 3
"""Levels of arrays within arrays that are matched to count the edits of a match: each doubles the time."""
_MAX_DEPTH: Final = 200

Leaves = Counter[tuple[str, str]]
"""How often an item has a leaf: a field and a JSON text."""


def match_items(
    final: Sequence[JSON], initial: Sequence[JSON], decisions: Collection[Decision] = ()
) -> Pairs:
    """The initial index of each final item. Of two `decisions` about the same item the first one counts."""
    return _match(final, initial, decisions, _LEVELS)


def _match(
    final: Sequence[JSON], initial: Sequence[JSON], decisions: Collection[Decision], levels: int
) -> Pairs:
    matching = _Matching(final, initial, decisions)
    matching.match_equal()
    matching.match_alike()
    matching.match_written_over()
    pairs, by_place = matching.pairs, _by_place(final, initial)
    if decisions or pairs == by_place:
        return pairs
    edits = _edits(pairs, final, initial, levels)
    if edits == abs(_leaf_count(final) - _leaf_count(initial)):
        # no pairs can give fewer
        return pairs
    return pairs if edits <= _edits(by_place, final, initial, levels) else by_place


def _by_place(final: Sequence[JSON], initial: Sequence[JSON]) -> Pairs:
    return [i if i < len(initial) else None for i in range(len(final))]


class _Matching:
    """The pairs so far, and the items of both arrays that have none."""

    def __init__(
        self, final: Sequence[JSON], initial: Sequence[JSON], decisions: Collection[Decision]
    ) -> None:
        self.final, self.initial = final, initial
        self.pairs: Pairs = [None] * len(final)
        # dicts keep the order, and lose an item in no time
        self.open_final = dict.fromkeys(range(len(final)))
        self.open_initial = dict.fromkeys(range(len(initial)))
        for f, i in decisions:
            if (f is None or f in self.open_final) and (i is None or i in self.open_initial):
                self._pair(f, i)

    def _pair(self, f: int | None, i: int | None) -> None:
        if f is not None:
            self.pairs[f] = i
            del self.open_final[f]
        if i is not None:
            del self.open_initial[i]

    def match_equal(self) -> None:
        """Pair equal items: the same object at the same index, those that come once, then the neighbours of a pair and
        both ends, then the rest in order."""
        for f in [f for f in self.open_final if f in self.open_initial]:
            # nearly all items: what a reviewer left alone is decoded once
            if self.final[f] is self.initial[f]:
                self._pair(f, f)
        if not self.open_final or not self.open_initial:
            return
        finals = {f: sorted_text(self.final[f]) for f in self.open_final}
        initials = {i: sorted_text(self.initial[i]) for i in self.open_initial}
        once = _places_of_single(finals)
        for text, i in _places_of_single(initials).items():
            if text in once:
                self._pair(once[text], i)
        paired = [(f, i) for f, i in enumerate(self.pairs) if i is not None]
        for f, i in [(-1, -1), *paired, (len(self.final), len(self.initial))]:
            for step in (1, -1):
                for near_f, near_i in zip(count(f + step, step), count(i + step, step), strict=False):
                    if near_f not in self.open_final or near_i not in self.open_initial:
                        break
                    if finals[near_f] != initials[near_i]:
                        break
                    self._pair(near_f, near_i)
        waiting: dict[str, deque[int]] = defaultdict(deque)
        for i in self.open_initial:
            waiting[initials[i]].append(i)
        for f in list(self.open_final):
            if same := waiting.get(finals[f]):
                self._pair(f, same.popleft())

    def match_alike(self) -> None:
        """Pair the items that are most alike."""
        if not self.open_final or not self.open_initial:
            return
        finals = {f: leaves_of(self.final[f]) for f in self.open_final}
        initials = {i: leaves_of(self.initial[i]) for i in self.open_initial}
        if max(len(finals), len(initials)) <= _OPTIMAL:
            found = best_pairs(finals, initials)
        else:
            found = good_pairs(finals, initials)
        for f, i in found:
            self._pair(f, i)

    def match_written_over(self) -> None:
        """Pair the open items between two neighbours of which both arrays have the same number."""
        if not self.open_final or not self.open_initial:
            return
        start, before = 0, -1
        open_initial = list(self.open_initial)
        ends = [(f, i) for f, i in enumerate(self.pairs) if i is not None]
        for f, i in [*ends, (len(self.final), len(self.initial))]:
            own = [k for k in range(start, f) if k in self.open_final]
            first, last = bisect_right(open_initial, before), bisect_left(open_initial, i)
            if len(own) == last - first:
                for pair in zip(own, open_initial[first:last], strict=True):
                    if pair[1] in self.open_initial:
                        self._pair(*pair)
            start, before = f + 1, i


def _places_of_single(texts: Mapping[int, str]) -> dict[str, int]:
    """The places of texts that come once."""
    counts = Counter(texts.values())
    return {text: place for place, text in texts.items() if counts[text] == 1}


def leaves_of(item: JSON) -> Leaves:
    """The leaves of an item, whatever their place in its own arrays."""
    return Counter(_each_leaf(item, "", 0))


def _each_leaf(value: JSON, field: str, depth: int) -> Iterator[tuple[str, str]]:
    if depth >= _MAX_DEPTH or not is_container(value, None):
        yield field, sorted_text(value)
    elif type(value) is list:
        for inner in value:
            yield from _each_leaf(inner, f"{field}[]", depth + 1)
    else:
        for key, inner in value.items():
            yield from _each_leaf(inner, f"{field}.{key}", depth + 1)


def likeness(one: Leaves, other: Leaves) -> float:
    """The share of equal leaves; 0 where it is less than a third."""
    small, large = (one, other) if len(one) <= len(other) else (other, one)
    equal = sum(min(times, large[leaf]) for leaf, times in small.items() if leaf in large)
    longest = max(one.total(), other.total())
    return equal / longest if equal * 3 >= longest > 0 else 0.0


def best_pairs(finals: dict[int, Leaves], initials: dict[int, Leaves]) -> list[tuple[int, int]]:
    """The pairs whose likeness adds up to the most. Of two equally good ones, the pair nearer in order."""
    shares = [[likeness(own, theirs) for theirs in initials.values()] for own in finals.values()]
    rows, columns = len(finals), len(initials)
    costs = [
        [-share - (1 - abs(f / rows - i / columns)) / 1e6 if share else 0.0 for i, share in enumerate(row)]
        for f, row in enumerate(shares)
    ]
    keys_f, keys_i = list(finals), list(initials)
    return [(keys_f[f], keys_i[i]) for f, i in _assign(costs) if shares[f][i]]


def _assign(costs: list[list[float]]) -> list[tuple[int, int]]:
    """The assignment of rows to columns with the lowest sum of costs, each used once: the Hungarian method, row by
    row, with potentials (Kuhn 1955, Munkres 1957)."""
    rows, columns = len(costs), len(costs[0])
    if rows > columns:
        turned = _assign([list(column) for column in zip(*costs, strict=True)])
        return sorted((row, column) for column, row in turned)
    by_row, by_column = [0.0] * (rows + 1), [0.0] * (columns + 1)
    # column 0 stands for "no column yet", row 0 for "no row"
    row_of = [0] * (columns + 1)
    for row in range(1, rows + 1):
        row_of[0], column = row, 0
        slack, came_from = [float("inf")] * (columns + 1), [0] * (columns + 1)
        visited = [False] * (columns + 1)
        while row_of[column]:
            visited[column] = True
            current, nearest, step = row_of[column], 0, float("inf")
            for other in range(1, columns + 1):
                if visited[other]:
                    continue
                reduced = costs[current - 1][other - 1] - by_row[current] - by_column[other]
                if reduced < slack[other]:
                    slack[other], came_from[other] = reduced, column
                if slack[other] < step:
                    step, nearest = slack[other], other
            for other in range(columns + 1):
                if visited[other]:
                    by_row[row_of[other]] += step
                    by_column[other] -= step
                else:
                    slack[other] -= step
            column = nearest
        while column:
            row_of[column] = row_of[came_from[column]]
            column = came_from[column]
    return sorted((row - 1, column - 1) for column, row in enumerate(row_of) if column and row)


def good_pairs(finals: dict[int, Leaves], initials: dict[int, Leaves]) -> list[tuple[int, int]]:
    """The most alike first, among the items that share a rare leaf: in time that grows with the number of leaves."""
    having: dict[tuple[str, str], list[int]] = defaultdict(list)
    for i, leaves in initials.items():
        for leaf in leaves:
            having[leaf].append(i)
    found: list[tuple[float, int, int, int]] = []
    for f, leaves in finals.items():
        for i in {i for leaf in leaves if len(having.get(leaf, ())) <= _RARE for i in having.get(leaf, ())}:
            if share := likeness(leaves, initials[i]):
                found.append((-share, abs(f - i), f, i))  # noqa: PERF401
    free_f, free_i = set(finals), set(initials)
    pairs = []
    for _, _, f, i in sorted(found):
        if f in free_f and i in free_i:
            free_f.remove(f)
            free_i.remove(i)
            pairs.append((f, i))
    return pairs


def _edits(pairs: Pairs, final: Sequence[JSON], initial: Sequence[JSON], levels: int) -> int:
    """The leaves that differ if the items of two arrays are paired like this."""
    partners = set(pairs)
    removed = sum(_leaf_count(item) for i, item in enumerate(initial) if i not in partners)
    return removed + sum(
        _leaf_count(item) if i is None else _differing(item, initial[i], levels)
        for item, i in zip(final, pairs, strict=True)
    )


def _differing(final: JSON, initial: JSON, levels: int, depth: int = 0) -> int:
    """The leaves that differ between two values."""
    if final is initial:
        return 0
    if final is MISSING or initial is MISSING:
        return _leaf_count(initial if final is MISSING else final)
    containers = [depth < _MAX_DEPTH and is_container(value, None) for value in (final, initial)]
    if not any(containers):
        return 0 if is_equal(final, initial) else 1
    if not all(containers) or type(final) is not type(initial):
        # the row of the value itself, and all rows below
        inner = zip((final, initial), containers, strict=True)
        return 1 + sum(_leaf_count(value) for value, has_rows in inner if has_rows)
    if type(final) is dict:
        keys = final.keys() | initial.keys()
        return sum(
            _differing(final.get(key, MISSING), initial.get(key, MISSING), levels, depth + 1) for key in keys
        )
    pairs = _match(final, initial, (), levels - 1) if levels else _by_place(final, initial)
    return _edits(pairs, final, initial, max(levels - 1, 0))


def _leaf_count(value: JSON, depth: int = 0) -> int:
    """The leaves of a value: 1 for a leaf, 0 for an empty array or object."""
    if depth >= _MAX_DEPTH or not is_container(value, None):
        return 1
    inner = value if type(value) is list else value.values()
    return sum(_leaf_count(part, depth + 1) for part in inner)
