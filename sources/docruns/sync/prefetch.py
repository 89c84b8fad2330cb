"""The due runs of one list, each with its answer, in their order: asked for ahead of what is taken.

    due runs ──► known to the destination? ──► requests ──► client ──► take() ──► run, answer
                          │                                                ▲
                          └──────────── run, nothing to ask ───────────────┘

A stream lasts as long as its plan, over several load packages. What is asked for ahead goes on arriving
while dlt loads what was taken, so that no turn of the budget goes to waste.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence, Set
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
    """How a stream asks: `may_ask` is called before each request, `ahead` may be in flight at most.

    Runs that have `arrived` need no request, and neither do those that are known.
    """

    client: Client
    feed: RunList
    is_known: IsKnown
    arrived: Set[str]
    may_ask: Callable[[], bool]
    ahead: Callable[[], int | None]


class Prefetcher:
    """`plan` is the plan without its due runs, which are here, and `walked_at` when its list was walked.

    That is before the walk: no watermark may pass it, whatever the clock says later.
    """

    def __init__(self, plan: Plan, walked_at: datetime) -> None:
        self.plan, self.walked_at = plan, walked_at
        # in reverse: the next one is the last, and nothing else holds them
        self.left, plan.due = plan.due[::-1], []
        self.total = len(self.left)
        self.summaries: list[ListedRun] = []
        """Nested runs that came as summaries and are to be read by their ids: they come first."""
        self._asked: deque[tuple[ListedRun, bool]] = deque()
        self._looked_up = 0
        self._known: set[str] = set()
        self._answers: Iterator[Outcome] | None = None
        self._ready: Outcome | None = None

    @property
    def is_done(self) -> bool:
        """Nothing is left to ask for, or to take."""
        return not (self.left or self.summaries or self._asked)

    @property
    def is_under_way(self) -> bool:
        """Something was asked for that is not taken yet."""
        return bool(self._asked)

    @property
    def taken(self) -> int:
        """Due runs that were taken, more or less: those that wait for their answers are none."""
        return self.total - len(self.left) - len(self._asked)

    def read(
        self, terms: FetchContext, number: int | None
    ) -> Iterator[tuple[ListedRun, Outcome | None]]:
        """Runs, each with its answer, until so many were asked for; None for all."""
        left = number
        while (left is None or left > 0) and (taken := self.take(terms)) is not None:
            if left is not None and taken[1] is not None:
                left -= 1
            yield taken

    def take(self, terms: FetchContext) -> tuple[ListedRun, Outcome | None] | None:
        """The next run and its answer, or no answer where it needs none; None where no more may be asked for."""
        if not self.begin(terms):
            return None
        run, needed = self._asked.popleft()
        outcome, self._ready = (self._ready, None) if needed else (None, self._ready)
        return run, outcome

    def begin(self, terms: FetchContext) -> bool:
        """Ask for what may be asked for, and wait until the next run can be taken; False where none can."""
        while not self.is_done:
            if self._asked and (self._ready is not None or not self._asked[0][1]):
                return True
            begun = self._answers is not None
            if self._answers is None:
                self._answers = _answers(self._requests(terms), terms)
            self._ready = next(self._answers, None)
            if self._ready is None:
                # answers that were taken meanwhile may have named more to read
                self._answers = None
                if not begun and not self._asked:
                    break
        return False

    def _requests(self, terms: FetchContext) -> Iterator[Request]:
        detail = terms.feed.detail
        while self.summaries or self.left:
            rows = self.summaries or self.left
            needed = rows is self.summaries or not self._is_known(rows[-1], terms)
            if needed and not terms.may_ask():
                return
            run = rows.pop()
            self._asked.append((run, needed))
            if needed:
                yield detail(run.id) if detail else Request("", subject=run.id)

    def _is_known(self, run: ListedRun, terms: FetchContext) -> bool:
        if self._looked_up == 0:
            some = self.left[-_LOOK_UP_AT_ONCE:]
            self._looked_up = len(some)
            self._known = terms.is_known(some)
        self._looked_up -= 1
        return run.id in self._known or run.id in terms.arrived


def _answers(requests: Iterator[Request], terms: FetchContext) -> Iterator[Outcome]:
    if terms.feed.detail is None:
        return (Reply(b"", {}) for _ in requests)
    return (outcome for _, outcome in terms.client.get_many(requests, terms.ahead))
