"""A list that stays ordered while its rows change; its pages start at a position, not at an offset."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable
from typing import NamedTuple

Position = tuple[int, int]
"""(time in milliseconds, key): a total order, because keys are unique, and stable while the row does not
change."""


class Page(NamedTuple):
    """The keys of one page and the position of the last row, None when no row follows."""

    keys: list[int]
    after: Position | None


class Shelf:
    """Keys ordered by time, then by key."""

    __slots__ = ("rows",)

    def __init__(self, rows: Iterable[Position] = ()) -> None:
        self.rows = sorted(rows)

    def add(self, time: int, key: int) -> None:
        insort(self.rows, (time, key))

    def remove(self, time: int, key: int) -> None:
        place = bisect_left(self.rows, (time, key))
        if place < len(self.rows) and self.rows[place] == (time, key):
            del self.rows[place]

    def page(
        self,
        *,
        descending: bool,
        after: Position | None,
        limit: int,
        keep: Callable[[int], bool] | None,
    ) -> Page:
        """At most `limit` keys strictly after a position, in the given direction.

        A row that moves while a client reads the pages appears once, twice or not at all, as in any list that
        is read by position.
        """
        rows = self.rows
        if descending:
            place = len(rows) if after is None else bisect_left(rows, after)
            walk = range(place - 1, -1, -1)
        else:
            place = 0 if after is None else bisect_left(rows, (after[0], after[1] + 1))
            walk = range(place, len(rows))
        found: list[int] = []
        last: Position | None = None
        for index in walk:
            if keep is not None and not keep(rows[index][1]):
                continue
            if len(found) == limit:
                return Page(found, last)
            last = rows[index]
            found.append(last[1])
        return Page(found, None)
