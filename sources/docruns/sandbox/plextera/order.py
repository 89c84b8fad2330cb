"""A list that stays ordered while its rows change; its pages start at an offset.

A row that is added or removed before the offset shifts every later page.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable


class Order:
    """Record numbers ordered by time (milliseconds), then by number."""

    __slots__ = ("rows",)

    def __init__(self, rows: Iterable[tuple[int, int]] = ()) -> None:
        self.rows = sorted(rows)

    def add(self, time: int, number: int) -> None:
        insort(self.rows, (time, number))

    def remove(self, time: int, number: int) -> None:
        place = bisect_left(self.rows, (time, number))
        assert self.rows[place] == (time, number)
        del self.rows[place]

    def slice(self, offset: int, size: int, *, descending: bool) -> list[int]:
        """At most `size` numbers after the first `offset` ones, in the given direction."""
        if not descending:
            return [number for _, number in self.rows[offset : offset + size]]
        stop = len(self.rows) - offset
        if stop <= 0:
            return []
        return [number for _, number in reversed(self.rows[max(stop - size, 0) : stop])]
