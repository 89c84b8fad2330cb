"""The due runs of one list, each with its answer, in their order. Requests go out ahead of the runs that are taken.

    due runs ──► is it in the destination? ──► requests ──► client ──► take() ──► run, answer
                          │                                              ▲
                          └────────── run, no request needed ────────────┘

A prefetcher lasts as long as its plan, over several load packages.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from ..net.client import Client
from ..net.messages import Outcome, Reply, Request
from .lists import RunList
from .plan import ListedRun, Plan

IsKnown = Callable[[Sequence[ListedRun]], set[str]]
"""Which of some due runs need no request: the destination holds them as they are listed."""

_LOOK_UP_AT_ONCE = 5000


class FetchContext(NamedTuple):
    """How a prefetcher sends requests.

    `reserve` is called before each request and may refuse it; at most `prefetch_limit()` requests are in
    flight. A run needs no request where `is_loaded(id)` or where `is_known` names it.
    """

    client: Client
    run_list: RunList
    is_known: IsKnown
    is_loaded: Callable[[str], bool]
    reserve: Callable[[], bool]
    prefetch_limit: Callable[[], int | None]


class Prefetcher:
    """Gives the due runs of `plan`, which it takes out of the plan.

    `walked_at` is when the walk of the list began: no watermark may pass it, whatever the clock says later.
    """

    def __init__(self, plan: Plan, walked_at: datetime) -> None:
        self.plan, self.walked_at = plan, walked_at
        # in reverse: the next run is the last one, and nothing else holds the runs
        self.left, plan.due = plan.due[::-1], []
        self.total = len(self.left)
        self.summaries: list[ListedRun] = []
        """Nested runs that came as summaries and must be fetched by their ids: they come first."""
        self._requested: deque[tuple[ListedRun, bool]] = deque()
        self._looked_up = 0
        self._known: set[str] = set()
        self._outcomes: Iterator[Outcome] | None = None
        self._ready: Outcome | None = None

    @property
    def is_done(self) -> bool:
        """No run is left."""
        return not (self.left or self.summaries or self._requested)

    def rows(self) -> Iterator[ListedRun]:
        """The rows of the list, without runs that are taken."""
        yield from self.left
        yield from (run for run, _ in self._requested)
        yield from self.plan.unchanged

    @property
    def has_requests(self) -> bool:
        """A request was sent whose run is not taken yet."""
        return bool(self._requested)

    @property
    def taken(self) -> int:
        """Due runs that were taken."""
        return self.total - len(self.left) - len(self._requested)

    def take(self, context: FetchContext, number: int | None) -> Iterator[tuple[ListedRun, Outcome | None]]:
        """Runs, each with its answer or None where it needed no request, until `number` answers; None is all."""
        while (number is None or number > 0) and self.fill(context):
            run, is_needed = self._requested.popleft()
            outcome = None
            if is_needed:
                outcome, self._ready = self._ready, None
                number = None if number is None else number - 1
            yield run, outcome

    def fill(self, context: FetchContext) -> bool:
        """Send the requests that are allowed, and wait until the next run can be taken; False where none can."""
        while not self.is_done:
            if self._requested and (self._ready is not None or not self._requested[0][1]):
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
            is_needed = rows is self.summaries or not self._is_known(rows[-1], context)
            if is_needed and not context.reserve():
                return
            run = rows.pop()
            self._requested.append((run, is_needed))
            if is_needed:
                yield detail(run.id) if detail else Request("", subject=run.id)

    def _is_known(self, run: ListedRun, context: FetchContext) -> bool:
        if self._looked_up == 0:
            some = self.left[-_LOOK_UP_AT_ONCE:]
            self._looked_up = len(some)
            self._known = context.is_known(some)
        self._looked_up -= 1
        return run.id in self._known or context.is_loaded(run.id)


def _outcomes(requests: Iterator[Request], context: FetchContext) -> Iterator[Outcome]:
    if context.run_list.detail is None:
        return (Reply(b"", {}) for _ in requests)
    return (outcome for _, outcome in context.client.get_many(requests, context.prefetch_limit))
