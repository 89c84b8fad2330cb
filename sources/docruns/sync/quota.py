"""How many details a load takes: per dlt package, in all, and how many it has on their way meanwhile."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Quota:
    """`chunk` details are taken per package, `limit` in all; None is no bound.

    What is asked for in one package may be taken in the next one.
    """

    chunk: int | None = None
    limit: int | None = None
    taken: int = 0
    """In this package."""
    taken_in_all: int = 0
    asked: int = 0
    """In all, those included that are on their way."""

    def next_package(self) -> None:
        """As many again."""
        self.taken = 0

    def start_over(self) -> None:
        """What this package took is undone, and nothing is on its way."""
        self.taken_in_all -= self.taken
        self.taken, self.asked = 0, self.taken_in_all

    def take(self) -> None:
        """One more is taken."""
        self.taken += 1
        self.taken_in_all += 1

    @property
    def left(self) -> int | None:
        """How many this package may still take."""
        return None if self.chunk is None else self.chunk - self.taken

    @property
    def are_all_taken(self) -> bool:
        """No more in this load."""
        return self.limit is not None and self.taken_in_all >= self.limit

    @property
    def is_full(self) -> bool:
        """No more in this package, or in this load."""
        return self.are_all_taken or (self.chunk is not None and self.taken >= self.chunk)

    def ask(self, ahead_too: bool) -> bool:
        """Count one more as asked for, where it may be: of this package, or of the next one `ahead_too`."""
        ahead = self.asked - self.taken_in_all
        if (self.limit is not None and self.asked >= self.limit) or (
            self.chunk is not None and not ahead_too and self.taken + ahead >= self.chunk
        ):
            return False
        self.asked += 1
        return True

    def ahead(self) -> int | None:
        """How many requests may be in flight; None is no bound.

        A kill costs what is in flight, so within a package it is a sixth of one or 64: 2 s at 75 requests a
        second, which keeps the budget busy while the catalogue is read. At the end of a package it is a third
        of the next one: 4 s, for the time in which dlt loads.
        """
        if self.chunk is None:
            return None
        third = max(16, self.chunk // 3)
        is_ending = self.taken + third >= self.chunk
        return third if is_ending else max(min(third, 64), self.chunk // 6)
