"""What a provider says of each of its lists of runs, and how one is walked and its runs are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from .feed import Listed, State, floor, scan
from .http import Outcome, Reply, Request
from .reading import Reading
from .worker import Task


@dataclass(frozen=True)
class Feed:
    """One list of runs, as a provider describes it.

    `pages(status)` lists all runs, or those of one status where `by_status`. `read` turns an answer
    into rows. A feed without `detail` has no more to say than its rows: `read` gets the row.
    `ordered()`: the pages come newest change first, asked once they have begun. `optional`: the
    server may not know the list. `task`: how another process reads as `read` does, if it can.
    `first`: the request that its pages begin with, where that is known before.
    """

    name: str
    pages: Callable[[str | None], Iterator[list[Listed]]]
    read: Callable[[bytes, Listed], Reading]
    detail: Callable[[str], Request] | None
    ordered: Callable[[], bool] = lambda: True
    by_status: bool = True
    optional: bool = False
    task: Task | None = None
    first: Request | None = None

    def walked(
        self,
        state: State,
        overlap: timedelta,
        since: datetime | None,
        tell: Callable[[int, None], None],
    ) -> Iterator[Listed]:
        """The list down to the floor, then those unfinished runs that it did not show."""
        missing = dict(state.unfinished)
        rows = scan(self.pages(None), floor(state, overlap, since), self.ordered)
        for seen, run in enumerate(rows, start=1):
            missing.pop(run.id, None)
            if seen % 1000 == 0:
                tell(seen, None)
            yield run
        statuses = {status for status, _ in missing.values() if status}
        for status in sorted(statuses) if self.by_status else ():
            for page in self.pages(status):
                for run in page:
                    if missing.pop(run.id, None) is not None:
                        yield run
        # neither in the overlap nor in its old status: it has gone on, and only its details tell how
        for run_id, (_, changed) in missing.items():
            yield Listed(run_id, None, None, changed, False)

    def reading(self, run: Listed, outcome: Outcome | None) -> Reading:
        """What `read` makes of a run's answer. ApiError, ValueError or RecursionError where it can make nothing."""
        return self.read(self.body(run, outcome), run)

    def body(self, run: Listed, outcome: Outcome | None) -> bytes:
        """What there is to read of a run: its answer, or its row where the list has no details."""
        if isinstance(outcome, Reply) and self.detail:
            return outcome.body
        return str((run.summary or {})["row"]).encode()
