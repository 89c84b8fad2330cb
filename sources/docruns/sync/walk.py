"""Walk the lists of one load side by side, and plan what is due from each.

    pages ──► rows ──► Planner ──► Prefetcher, one for each list

The plans last as long as the load, over several dlt packages.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Any

from ..core.batch import Batch
from ..core.errors import ApiError
from ..core.settings import Settings
from . import quarantine
from .listed import OLDEST, Dates, ListedRun, Selection
from .lists import RunList, is_about_list, left_out_stage
from .metrics import Metrics, Progress
from .plan import Order, Plan, Planner, State, is_disjoint
from .prefetch import Prefetcher

logger = logging.getLogger("docruns")

SavedState = MutableMapping[str, Any]
"""What dlt stores of a list between loads."""


class ListPlans:
    """The plan of each list that this load has walked."""

    def __init__(
        self, settings: Settings, metrics: Metrics, clock: Callable[[], datetime], progress: Progress | None
    ) -> None:
        self._settings, self._metrics, self._clock = settings, metrics, clock
        self._progress = progress
        self.planned: dict[str, Prefetcher] = {}
        """Without the plan of a list that is loaded now."""
        self._states: dict[str, dict[str, Any]] = {}
        self._rows: dict[str, Mapping[str, ListedRun]] = {}
        self._rows_without_id = Batch()
        self.must_fetch: set[str] = set()
        """Runs that must be fetched even if the destination holds them: in quarantine, or to be read again."""
        self.left_out: dict[str, ApiError] = {}
        """Lists that could not be read, each with its error."""
        self.incomplete_lists: dict[str, str] = {}
        """Lists that may have runs that their walk has not seen, with the reason."""
        self._searched: set[tuple[str, str | None]] = set()
        """Lists that were asked for the sources of their runs, each with the part of the load."""
        self._searches: dict[str, tuple[dict[str, str], Iterator[None]]] = {}
        """Of each list that is asked for the sources of its runs: the sources, as far as they are found."""
        self._begin_parts()

    def _begin_parts(self) -> None:
        self._parts = deque(self._settings.parts)
        self._until = OLDEST if self._parts else None
        self.part: str | None = None
        """The part of the load that is at work; None for a load that has none."""

    def clear(self) -> None:
        """Forget all plans: the lists are walked again."""
        self.planned.clear()
        self._states.clear()
        self.left_out.clear()
        self.incomplete_lists.clear()
        self._searched.clear()
        self._searches.clear()
        self._begin_parts()

    @property
    def are_done(self) -> bool:
        """Everything that was planned is done."""
        return all(planned.is_finished for planned in self.planned.values())

    def remember(self, name: str, saved: SavedState) -> None:
        """Note the state as this load leaves it: the list is walked again only where another one has changed it."""
        self._states[name] = dict(saved)

    def may_begin(self, planned: Prefetcher, main: str) -> bool:
        """Requests for a list may go out ahead of its turn: no other list has any in flight, and no workflow
        run is due that could contain what would be requested."""
        runs = self.planned.get(main)
        others = (*self.planned.values(), planned)
        return (runs is None or runs.is_done) and not any(each.has_requests for each in others)

    def rows(self, name: str) -> Mapping[str, ListedRun]:
        """The rows of a list that this load has walked, by id."""
        if (planned := self.planned.get(name)) is not None:
            self._rows[name] = planned.left.runs
        return self._rows.get(name, {})

    def take_rows_without_id(self) -> Batch:
        """Rows of quarantine for list entries that have no id."""
        batch, self._rows_without_id = self._rows_without_id, Batch()
        return batch

    def tell(self, stage: str, name: str, done: int, total: int | None) -> None:
        """Report progress to whoever has asked for it."""
        if self._progress is not None:
            self._progress(stage, name, done, total)

    def leave_out(self, name: str, error: ApiError) -> None:
        """Go on without a list that cannot be read; raises where no other list could be read either."""
        if not is_about_list(error):
            raise error
        self.left_out[name] = error
        stage = left_out_stage(error)
        self.tell(stage, name, 0, None)
        if stage == "failed":
            why = quarantine.redacted_message(error, self._settings.privacy)
            about = {"list": name, "stage": stage}
            logger.warning("the list %s could not be read, its runs are missing: %s", name, why, extra=about)

    @property
    def failed_lists(self) -> list[str]:
        """Lists that were left out although the platform has them and the key may read them."""
        return [name for name, error in self.left_out.items() if left_out_stage(error) == "failed"]

    def walk_lists(self, lists: Iterable[tuple[RunList, SavedState]]) -> Iterator[None]:
        """Walk lists side by side; yield while all of them wait for their next pages.

        Lists that this load has walked already, and whose states are as it left them, are left out. The first
        page of the first list comes alone, so that a key that is refused is refused once.
        """
        walks = iter([self._walk_list(run_list, saved) for run_list, saved in lists])
        first = next((walk for walk in walks if next(walk, False)), None)
        running = [first, *walks] if first is not None else []
        while running := [walk for walk in running if next(walk, False)]:
            yield

    def find_sources(
        self, run_list: RunList, planned: Prefetcher, main: str, is_loaded: Callable[[str], bool]
    ) -> dict[str, str]:
        """What made the runs that are due, where a list and no answer says it. Asked once for each list and part of the
        load, after the runs of the list `main`, which contain some of these. Each filter of a list is read once.

        Runs that an earlier load has seen already are left out: they may be far down in the list.
        """
        runs, asked = self.planned.get(main), (run_list.name, self.part)
        is_too_early = runs is not None and not runs.is_done
        if not run_list.sources or is_too_early or asked in self._searched:
            return {}
        self._searched.add(asked)

        def unknown(*parts: Iterable[ListedRun]) -> Dates:
            return Dates(
                (run.id, run.changed)
                for run in chain(*parts)
                if run.id not in self.must_fetch and not is_loaded(run.id)
            )

        due = unknown(planned.due)
        if run_list.name not in self._searches:
            found: dict[str, str] = {}
            search = run_list.find_sources(unknown(planned.due, planned.later), found)
            self._searches[run_list.name] = found, search
        found, search = self._searches[run_list.name]
        try:
            while not due.keys() <= found.keys() and next(search, self) is not self:
                pass
        except ApiError as error:
            if not is_about_list(error):
                raise
            found.clear()
            why = quarantine.redacted_message(error, self._settings.privacy)
            logger.warning("what made the runs of %s is not known: %s", run_list.name, why)
        return found

    def begin_part(self) -> None:
        """Go on to the next part of the load that has runs, where nothing is left of this one."""
        before = self.part
        while self._parts and all(planned.is_done for planned in self.planned.values()):
            self.part, until = self._parts.popleft()
            # the last part has what is due beside the window too: runs that failed, or were unfinished
            self._until = until if self._parts else None
            for planned in self.planned.values():
                planned.admit(self._until)
        if self.part is not None and self.part != before:
            number = len(self._settings.parts) - len(self._parts)
            self.tell("part", self.part, number, len(self._settings.parts))

    def _walk_list(self, run_list: RunList, saved: SavedState) -> Iterator[bool]:
        """Yields True where the other lists may go on: the next page is in flight or has no rows."""
        name = run_list.name
        if name in self.planned and self._states.get(name) == saved:
            return
        settings, walked_at = self._settings, self._clock()
        state, order = self._state(name, saved, walked_at), Order(walked_at)
        planner = Planner(state, settings.overlap, settings.since, settings.until)
        tell = partial(self.tell, "listing", name)
        try:
            for page in run_list.pages_since(state, settings.overlap, settings.since, order, tell):
                planner.see([row for row in page if self._has_id(name, row)])
                if not page:
                    yield True
            plan = planner.plan()
            # a full load ignores what is loaded, but the watermark must not pass what it leaves out
            plan.is_disjoint = is_disjoint(State.load(saved), settings.since, settings.until)
            if (doubt := run_list.doubt()) is not None:
                # a watermark would hide what the walk has not seen, and what it lacks may be there
                self.incomplete_lists[name] = doubt
                plan.is_disjoint, plan.unlisted = True, frozenset()
        except ApiError as error:
            if not run_list.optional:
                raise
            self.leave_out(name, error)
            plan = Plan(Selection(), Selection(), None, 0, state.lower, is_unordered=state.is_unordered)
            self.planned[name] = Prefetcher(plan, walked_at)
            self.remember(name, saved)
            return
        plan.is_unordered = run_list.is_ordered() and not order.is_kept
        if plan.is_unordered:
            self.tell("unordered", name, plan.listed, plan.listed)
        # stored runs of any date: what was read in this part names them
        until = None if run_list.is_stored else self._until
        self.planned[name] = Prefetcher(plan, walked_at, until)
        self.remember(name, saved)
        self._metrics.counts.listed += plan.listed
        self._metrics.counts.unchanged += len(plan.unchanged)
        self.tell("listed", name, plan.listed, plan.listed)

    def _state(self, name: str, saved: SavedState, walked_at: datetime) -> State:
        """What to compare the list with: a full load remembers only which runs failed."""
        before = State.load(saved)
        state = State() if self._settings.full and name not in self.planned else before
        state.failed = state.failed or before.failed
        state.begin(walked_at, self._settings.recheck_for)
        self.must_fetch.update(state.failed, state.reread)
        return state

    def _has_id(self, name: str, row: ListedRun) -> bool:
        if not row.id:
            self._metrics.counts.quarantined += 1
            self._rows_without_id.update(quarantine.row_without_id(name, row, self._clock()))
        return bool(row.id)
