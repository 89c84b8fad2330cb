"""What a provider says of each of its lists of runs, and how one is walked and its runs are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from ..core.parsed import ParsedRun
from ..net.messages import Outcome, Reply, Request
from .plan import ListedRun, State, floor, scan


@dataclass(frozen=True)
class RunList:
    """One list of runs, as a provider describes it.

    `pages(status)` lists all runs, or those of one status where `by_status`; one is empty where the next
    is on its way, for whoever has something else to do. `read` turns an answer into rows. A feed without
    `detail` has no more to say than its rows: `read` gets the row. `ordered()`: the pages come newest change
    first, asked once they have begun. `optional`: the server may not know the list.
    """

    name: str
    pages: Callable[[str | None], Iterator[list[ListedRun]]]
    read: Callable[[bytes, ListedRun], ParsedRun]
    detail: Callable[[str], Request] | None
    ordered: Callable[[], bool] = lambda: True
    by_status: bool = True
    optional: bool = False

    def walked(
        self,
        state: State,
        overlap: timedelta,
        since: datetime | None,
        tell: Callable[[int, None], None],
    ) -> Iterator[list[ListedRun]]:
        """The list's pages down to the floor, then those unfinished runs that they did not show."""
        missing, seen = dict(state.unfinished), 0
        for page in scan(self.pages(None), floor(state, overlap, since), self.ordered):
            for run in page:
                missing.pop(run.id, None)
            seen += len(page)
            if page:
                tell(seen, None)
            yield page
        statuses = {status for status, _ in missing.values() if status}
        for status in sorted(statuses) if self.by_status else ():
            for page in self.pages(status):
                rows = [run for run in page if missing.pop(run.id, None) is not None]
                if rows or not page:
                    yield rows
        # neither in the overlap nor in its old status: it has gone on, and only its details tell how
        if missing and self.detail is not None:
            yield [ListedRun(id_, None, None, at, False) for id_, (_, at) in missing.items()]

    def reading(self, run: ListedRun, outcome: Outcome | None) -> ParsedRun:
        """What `read` makes of a run's answer. ApiError, ValueError or RecursionError where it can make nothing."""
        return self.read(self.body(run, outcome), run)

    def body(self, run: ListedRun, outcome: Outcome | None) -> bytes:
        """What there is to read of a run: its answer, or its row where the list has no details."""
        if isinstance(outcome, Reply) and self.detail:
            return outcome.body
        return str((run.summary or {})["row"]).encode()
