"""How many details a load fetches: per dlt package, in all, and how many it requests ahead."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Quota:
    """At most `chunk` details are consumed per package and `limit` in all; None is no bound.

    A request that is reserved in one package may be consumed in the next one.
    """

    chunk: int | None = None
    limit: int | None = None
    consumed: int = 0
    """In this package."""
    consumed_in_all: int = 0
    reserved: int = 0
    """In all, those included that are in flight."""

    def start_package(self) -> None:
        """Allow a whole chunk again."""
        self.consumed = 0

    def start_over(self) -> None:
        """Undo what this package consumed; nothing is in flight."""
        self.consumed_in_all -= self.consumed
        self.consumed, self.reserved = 0, self.consumed_in_all

    def consume(self) -> None:
        """Count one more detail."""
        self.consumed += 1
        self.consumed_in_all += 1

    @property
    def remaining(self) -> int | None:
        """How many details this package may still consume."""
        return None if self.chunk is None else self.chunk - self.consumed

    @property
    def is_exhausted(self) -> bool:
        """This load may consume no more."""
        return self.limit is not None and self.consumed_in_all >= self.limit

    @property
    def is_package_full(self) -> bool:
        """This package may consume no more, or this load may not."""
        return self.is_exhausted or (self.chunk is not None and self.consumed >= self.chunk)

    def reserve(self, for_next_package: bool) -> bool:
        """Count one more request and return True, where this package or `for_next_package` has room for it."""
        in_flight = self.reserved - self.consumed_in_all
        is_over_limit = self.limit is not None and self.reserved >= self.limit
        is_over_chunk = self.chunk is not None and self.consumed + in_flight >= self.chunk
        if is_over_limit or (is_over_chunk and not for_next_package):
            return False
        self.reserved += 1
        return True

    def prefetch_limit(self) -> int | None:
        """How many requests may be in flight; None is no bound.

        A kill costs what is in flight, so within a package it is a sixth of one or 64: 2 s at 75 requests a
        second, which keeps the budget busy while the catalogue is read. At the end of a package it is a third
        of the next one: 4 s, for the time in which dlt loads.
        """
        if self.chunk is None:
            return None
        third = max(16, self.chunk // 3)
        is_ending = self.consumed + third >= self.chunk
        return third if is_ending else max(min(third, 64), self.chunk // 6)
