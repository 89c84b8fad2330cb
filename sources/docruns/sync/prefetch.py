"""The due runs of one list, each with its answer, in their order. Requests go out ahead of the runs that are taken,
as many as a quota allows.

    due runs ──► is it in the destination? ──► requests ──► client ──► take() ──► run, answer
                          │                                              ▲
                          └────────── run, no request needed ────────────┘

A prefetcher lasts as long as its plan, over several load packages.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from typing import NamedTuple, TypeVar

from ..core.errors import ApiError, RefusedError, ShapeError, UnreachableError, stops_everything
from ..net.client import Client
from ..net.messages import Outcome, Reply, Request
from .listed import ListedRun, Selection
from .lists import RunList
from .plan import Plan

IsKnown = Callable[[Sequence[ListedRun]], set[str]]
"""Which of some due runs need no request: the destination holds them as they are listed."""

_LOOK_UP_AT_ONCE = 5000

_Item = TypeVar("_Item")

SUSPICIOUS = 20
"""Runs that fail one after the other before a load tests whether the platform works."""


class FetchContext(NamedTuple):
    """How a prefetcher sends requests.

    `reserve` is called before each request and may refuse it; at most `prefetch_limit()` requests are in
    flight. A run needs no request where `is_loaded(id)` or where `is_known` names it. `clock` gives the time in UTC.
    """

    client: Client
    run_list: RunList
    is_known: IsKnown
    is_loaded: Callable[[str], bool]
    reserve: Callable[[], bool]
    prefetch_limit: Callable[[], int | None]
    clock: Callable[[], datetime]


class RunAnswer(NamedTuple):
    """A due run with its answer, which is no older than `requested_at`; both are None where no request was needed."""

    run: ListedRun
    outcome: Outcome | None
    requested_at: datetime | None


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


class Streak:
    """Runs that failed one after the other: is each of them at fault, or the platform?"""

    def __init__(self) -> None:
        self.length = 0
        self._suspicious = SUSPICIOUS
        self._is_excused = False

    def fatal_error(
        self, error: Exception, is_new: bool, probe: Callable[[], Iterable[Outcome]]
    ) -> Exception | None:
        """Count a failure. Gives the error that ends the load, where the platform or the key is at fault.

        A run that failed in an earlier load (not `is_new`) says nothing new about the platform. A 403 or no answer
        at all is suspicious at once, other failures are after some in a row. `probe` then asks for other runs: if
        one of them is answered, the failures are the runs' own.
        """
        if not is_new:
            return None
        self.length += 1
        is_refusal = isinstance(error, (RefusedError, UnreachableError))
        if not (is_refusal and not self._is_excused) and self.length < self._suspicious:
            return None
        outcomes = list(probe())
        if any(isinstance(outcome, Reply) for outcome in outcomes):
            # the next test comes later
            self._suspicious = max(SUSPICIOUS, 2 * self.length)
            self._is_excused = True
            return None
        for outcome in outcomes:
            if isinstance(outcome, ApiError) and stops_everything(outcome):
                return outcome
        return error if outcomes or is_refusal else None


class Prefetcher:
    """Gives the due runs of `plan`, which it takes out of the plan; those that changed at or after `until` wait for
    a later part of the load.

    `walked_at` is when the walk of the list began: no watermark may pass it, whatever the clock says later.
    """

    def __init__(self, plan: Plan, walked_at: datetime, until: datetime | None = None) -> None:
        self.plan, self.walked_at = plan, walked_at
        # in reverse: the next run is the last one
        self.later, plan.due = plan.due[::-1], Selection()
        self.left = self.later[:0]
        self.total = len(self.later)
        self.summaries: list[ListedRun] = []
        """Nested runs that came as summaries and must be fetched by their ids: they come first."""
        self.good: deque[ListedRun] = deque(maxlen=1)
        """The last run that could be loaded."""
        self._requested: deque[tuple[ListedRun, datetime | None]] = deque()
        self._looked_up = 0
        self._known: set[str] = set()
        self._outcomes: Iterator[Outcome] | None = None
        self._ready: Outcome | None = None
        self.admit(until)

    def admit(self, until: datetime | None) -> None:
        """Begin the part of the load whose runs changed before `until`; None: all runs that wait."""
        first = 0 if until is None else bisect_left(self.later, True, key=lambda run: run.changed < until)
        self.left = self.later[first:] + self.left
        del self.later[first:]

    def probe(self, context: FetchContext) -> Iterator[Outcome]:
        """Answers about a few other runs of the list, some due and some loaded: does the platform work at all?"""
        if (detail := context.run_list.detail) is None:
            return
        requested = [run for run, requested_at in self._requested if requested_at is not None]
        waiting = self.later + self.left
        first = len(waiting)
        due = _spread(range(first + len(requested)), 4)
        runs = [waiting[at] if at < first else requested[at - first] for at in due]
        runs += [*_spread(self.plan.unchanged, 3), *self.good]
        for request, outcome in context.client.get_many([detail(run.id) for run in runs]):
            # a good answer is about the run
            is_about = isinstance(outcome, ApiError) or request.subject.encode() in outcome.body
            yield outcome if is_about else ShapeError("the answer names another run", request=str(request))

    @property
    def is_done(self) -> bool:
        """No run of this part of the load is left."""
        return not (self.left or self.summaries or self._requested)

    @property
    def is_finished(self) -> bool:
        """No run is left, and none waits for a later part."""
        return self.is_done and not self.later

    def rows(self) -> Iterator[ListedRun]:
        """The rows of the list, without runs that are taken."""
        yield from self.later
        yield from self.left
        yield from (run for run, _ in self._requested)
        yield from self.plan.unchanged

    @property
    def has_requests(self) -> bool:
        """A request was sent whose run is not taken yet."""
        return bool(self._requested)

    @property
    def due(self) -> Iterator[ListedRun]:
        """Runs of this part that are not taken yet."""
        return chain(self.left, (run for run, _ in self._requested))

    @property
    def taken(self) -> int:
        """Due runs that were taken."""
        return self.total - len(self.later) - len(self.left) - len(self._requested)

    def take(self, context: FetchContext, number: int | None) -> Iterator[RunAnswer]:
        """Runs in their order, until `number` answers; None is all."""
        while (number is None or number > 0) and self.fill(context):
            run, requested_at = self._requested.popleft()
            outcome = None
            if requested_at is not None:
                outcome, self._ready = self._ready, None
                number = None if number is None else number - 1
            yield RunAnswer(run, outcome, requested_at)

    def fill(self, context: FetchContext) -> bool:
        """Send the requests that are allowed, and wait until the next run can be taken; False where none can."""
        while not self.is_done:
            if self._requested and (self._ready is not None or self._requested[0][1] is None):
                return True
            is_new = self._outcomes is None
            if self._outcomes is None:
                self._outcomes = _outcomes(self._requests(context), context)
            self._ready = next(self._outcomes, None)
            if self._ready is None:
                # answers that were taken meanwhile may have named more runs to fetch
                self._outcomes = None
                if is_new and not self._requested:
                    break
        return False

    def _requests(self, context: FetchContext) -> Iterator[Request]:
        detail = context.run_list.detail
        while self.summaries or self.left:
            rows = self.summaries or self.left
            run = rows[-1]
            is_needed = rows is self.summaries or not self._is_known(run, context)
            if is_needed and not context.reserve():
                return
            del rows[-1]
            self._requested.append((run, context.clock() if is_needed else None))
            if is_needed:
                yield detail(run.id) if detail else Request("", subject=run.id)

    def _is_known(self, run: ListedRun, context: FetchContext) -> bool:
        if self._looked_up == 0:
            some = list(self.left[-_LOOK_UP_AT_ONCE:])
            self._looked_up = len(some)
            self._known = context.is_known(some)
        self._looked_up -= 1
        return run.id in self._known or context.is_loaded(run.id)


def _spread(runs: Sequence[_Item], number: int) -> Sequence[_Item]:
    """Some of the runs, at equal distances."""
    return runs[:: max(1, len(runs) // number)][:number]


def _outcomes(requests: Iterator[Request], context: FetchContext) -> Iterator[Outcome]:
    if context.run_list.detail is None:
        return (Reply(b"", {}) for _ in requests)
    return (outcome for _, outcome in context.client.get_many(requests, context.prefetch_limit))
