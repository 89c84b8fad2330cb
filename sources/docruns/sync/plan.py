"""Which listed runs are due, in which order, and what the state stores. No I/O, no clock.

    state + listed rows ──► Plan: due runs, oldest change first ──► (fetched, committed) ──► state

Lists have no date filter, so a load walks them from the newest change down to the watermark minus an overlap,
and fetches due runs from the oldest change up. So the state can advance run by run.

    watermark   every listed run whose last change is at or before it is loaded
    lower       ... and at or after this one: `since` left out earlier changes; none: all is loaded
    recent      runs within the overlap up to the watermark, with their last change when loaded
    unfinished  loaded runs that are not final, with their status and last change when loaded
    unsettled   runs whose answers may have been older than the list, with their last change and the time from
                which a load reads them again
    failed      runs that are not in the tables as they were listed: each load tries them again
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from heapq import nlargest
from itertools import compress, count
from operator import itemgetter
from typing import Any, NamedTuple

from ..core.errors import MissingError
from .listed import OLDEST, ListedRun, ListedRuns, Selection, micros, moment

_LATEST = datetime.max.replace(tzinfo=UTC)
_CLOCK_SKEW = timedelta(minutes=5)

MAX_RECENT = 5000
"""The most runs in `recent`: thousands may share one timestamp, and each load reads and writes the state."""


class Failure(NamedTuple):
    """A run that could not be loaded as it was listed: since when, in how many loads, and the last error."""

    run: ListedRun
    first_seen: datetime
    attempts: int
    error: str
    message: str

    @property
    def is_missing(self) -> bool:
        """The platform has answered that there is no such run."""
        return self.error == MissingError.__name__


@dataclass
class State:
    """The state of one list between loads; see the module's docstring.

    `is_unordered`: a walk has found rows in another order than the newest change first. `reread`: unsettled runs
    that this load reads again; it is not saved.
    """

    watermark: datetime | None = None
    lower: datetime | None = None
    recent: dict[str, datetime] = field(default_factory=dict)
    unfinished: dict[str, tuple[str | None, datetime]] = field(default_factory=dict)
    unsettled: dict[str, tuple[datetime, datetime]] = field(default_factory=dict)
    failed: dict[str, Failure] = field(default_factory=dict)
    is_unordered: bool = False
    reread: set[str] = field(default_factory=set)
    _kept: int = field(default=256, repr=False, compare=False)

    @classmethod
    def load(cls, saved: Mapping[str, Any]) -> State:
        """The state from JSON. Timestamps are microseconds since 1970."""
        return cls(
            watermark=_time(saved.get("watermark")),
            lower=_time(saved.get("lower")),
            recent={k: moment(v) for k, v in saved.get("recent", {}).items()},
            unfinished={k: (s, moment(v)) for k, (s, v) in saved.get("unfinished", {}).items()},
            unsettled={k: (moment(c), moment(a)) for k, (c, a) in saved.get("unsettled", {}).items()},
            is_unordered=bool(saved.get("unordered")),
            failed={
                k: Failure(_failed_run(k, s, _time(c), _time(u), f, more), moment(since), *why)
                for k, (s, c, u, f, more, since, *why) in saved.get("failed", {}).items()
            },
        )

    def save(self) -> dict[str, Any]:
        """The state as JSON."""
        return {
            "watermark": _micros(self.watermark),
            "lower": _micros(self.lower),
            "recent": {k: _micros(v) for k, v in self.recent.items()},
            "unfinished": {k: [s, _micros(v)] for k, (s, v) in self.unfinished.items()},
            "unsettled": {k: [_micros(c), _micros(a)] for k, (c, a) in self.unsettled.items()},
            "unordered": self.is_unordered,
            "failed": {
                k: [
                    run.status,
                    _micros(run.created_at),
                    _micros(run.updated_at),
                    run.is_final,
                    run.summary if run.source is None else {**(run.summary or {}), "source": run.source},
                    _micros(since),
                    *why,
                ]
                for k, (run, since, *why) in self.failed.items()
            },
        }

    def loaded(
        self,
        run: ListedRun,
        is_final: bool,
        overlap: timedelta,
        now: datetime,
        read_again: datetime | None = None,
    ) -> Failure | None:
        """Advance over a run of the plan that is loaded; all that changed before it is loaded too.

        `now` is when the list was walked: later changes were not listed and are not covered. `read_again`: the
        answer may have been older than the list, so a load from then on reads the run again. Gives the failure
        that is thereby resolved, if there was one.
        """
        self._note(run, is_final)
        self.unsettled.pop(run.id, None)
        if read_again is not None and len(self.unsettled) < MAX_RECENT:
            self.unsettled[run.id] = run.changed, read_again
        self._advance(run.changed, overlap, now)
        return self.failed.pop(run.id, None)

    def not_loaded(
        self, run: ListedRun, error: str, message: str, overlap: timedelta, now: datetime
    ) -> Failure:
        """Advance over a run of the plan that could not be loaded. The next load tries it again."""
        before = self.failed.get(run.id, Failure(run, now, 0, "", ""))
        failure = Failure(run, before.first_seen, before.attempts + 1, error, message[:500])
        self.failed[run.id] = failure
        for known in (self.unfinished, self.recent, self.unsettled):
            known.pop(run.id, None)
        self._advance(run.changed, overlap, now)
        return failure

    def finished(self, plan: Plan, overlap: timedelta, now: datetime) -> None:
        """All of the plan is done: the watermark advances to the newest change of the scan."""
        top = plan.top or OLDEST
        mark = max(self.watermark or OLDEST, min(top, now))
        # what changed before is not in the overlap, and would be forgotten at once
        down_to = _minus(mark, overlap)
        for run in plan.unchanged:
            if run.id not in self.unfinished and (run.changed >= down_to or not run.is_final):
                self._note(run, run.is_final)
        self.lower = plan.lower
        self.is_unordered = plan.is_unordered
        # a run that no list shows any more is not read again
        self.unsettled = {k: v for k, v in self.unsettled.items() if k not in self.reread}
        self._kept = 0
        self._advance(top, overlap, now)

    def begin(self, now: datetime, recheck_for: timedelta) -> None:
        """A load begins: forget unfinished runs that changed too long ago, and choose what to read again."""
        before = _minus(now, recheck_for)
        self.unfinished = {k: v for k, v in self.unfinished.items() if v[1] >= before}
        self.reread = {k for k, (_, after) in self.unsettled.items() if after <= now}

    def _note(self, run: ListedRun, is_final: bool) -> None:
        self.recent[run.id] = run.changed
        if is_final:
            self.unfinished.pop(run.id, None)
        else:
            self.unfinished[run.id] = (run.status, run.changed)

    def _advance(self, changed: datetime, overlap: timedelta, now: datetime) -> None:
        # a change in the future counts as one of now, so that a wrong clock hides no later runs
        mark = min(changed, now)
        if mark > (self.watermark or OLDEST):
            self.watermark = mark
        if self.watermark is not None and len(self.recent) > self._kept:
            down_to = _minus(self.watermark, overlap)
            within = (item for item in self.recent.items() if item[1] >= down_to)
            # for the others a load queries the destination
            self.recent = dict(nlargest(MAX_RECENT, within, key=itemgetter(1)))
            # the next clean-up comes when the size has doubled, which keeps the cost per run low
            self._kept = max(256, 2 * len(self.recent))


@dataclass
class Plan:
    """The result of one scan of a list. `due` is oldest change first; `top` is the newest change.

    `lower` is the state's new `lower` when the plan is done. `is_disjoint`: the plan covers a window with a
    gap to what is loaded. It moves no watermark, because a watermark would cover the gap. `unlisted`: runs that
    answered 404 before, and that this scan has not shown although it reached their last change.
    """

    due: Selection
    unchanged: Selection
    top: datetime | None
    listed: int
    lower: datetime | None = None
    is_disjoint: bool = False
    is_unordered: bool = False
    unlisted: frozenset[str] = frozenset()


def floor(state: State, overlap: timedelta, since: datetime | None = None) -> datetime | None:
    """The oldest change that a scan must reach; None is the whole list."""
    if state.watermark is None or is_disjoint(state, since):
        return since
    if state.lower is not None and (since is None or since < state.lower):
        return since
    # whether a list still shows a run that answered 404 decides whether it is deleted
    missing = [failure.run.changed for failure in state.failed.values() if failure.is_missing]
    again = [state.unsettled[id_][0] for id_ in state.reread]
    down_to = min([_minus(state.watermark, overlap), *missing, *again])
    return down_to if since is None else max(down_to, since)


def is_disjoint(state: State, since: datetime | None, until: datetime | None = None) -> bool:
    """Whether there is a gap between what is loaded and the window from `since` to `until`, above or below it."""
    if state.watermark is None:
        return False
    is_above = since is not None and since > state.watermark
    return is_above or (state.lower is not None and until is not None and until < state.lower)


class Order:
    """Whether the rows of a walk come newest change first, as they were asked for.

    A row that repeats one of the page before, or that has changed since `walked_at`, is no evidence: rows move
    while a list is walked.
    """

    def __init__(self, walked_at: datetime) -> None:
        self.is_kept = True
        self._walked_at = _minus(walked_at, _CLOCK_SKEW)
        self._last = _LATEST
        self._ids: set[str] = set()

    def see(self, page: Sequence[ListedRun]) -> None:
        """The next page of the walk."""
        if not page:
            return
        for run in page:
            if run.changed == OLDEST or run.id in self._ids or run.changed >= self._walked_at:
                continue
            if run.changed > self._last:
                self.is_kept = False
            self._last = run.changed
        self._ids = {run.id for run in page}


def scan(
    pages: Iterable[list[ListedRun]], down_to: datetime | None, ordered: Callable[[], bool] = lambda: True
) -> Iterator[list[ListedRun]]:
    """Pages, newest change first, until a whole page is older than `down_to`.

    A page that is only nearly in order does not end the scan early, and neither does an empty one. Where
    `ordered()` is false, all pages are read.
    """
    for page in pages:
        yield page
        old = down_to is not None and all(run.changed < down_to for run in page)
        if old and page and ordered():
            return


class Planner:
    """Sorts listed rows into due and unchanged, page by page.

    `since` (inclusive) and `until` (exclusive) bound the last change. A run that is listed twice counts once,
    with its newest change. Runs that failed before are due whether listed or not.
    """

    def __init__(
        self, state: State, overlap: timedelta, since: datetime | None, until: datetime | None
    ) -> None:
        self._state, self._since, self._until = state, since, until
        self._down_to = None if state.watermark is None else _minus(state.watermark, overlap)
        self._newest = ListedRuns(failure.run for failure in state.failed.values())
        self._due = bytearray([True]) * len(self._newest)
        self._missing = {
            id_
            for id_, failure in state.failed.items()
            if failure.is_missing and (since is None or failure.run.changed >= since)
        }
        self._top: datetime | None = None
        self._listed = 0

    def see(self, rows: Iterable[ListedRun]) -> None:
        """The next rows of the list."""
        newest, since, until = self._newest, self._since, self._until
        for run in rows:
            self._listed += 1
            self._missing.discard(run.id)
            changed = run.changed
            if (since and changed < since) or (until and changed >= until):
                continue
            if self._top is None or changed > self._top:
                self._top = changed
            number = newest.add(run)
            if number == len(self._due):
                self._due.append(_is_due(self._state, run, self._down_to))
            elif changed >= (known := newest.at(number)).changed:
                newest.replace(number, run._replace(source=run.source or known.source))
                self._due[number] = _is_due(self._state, run, self._down_to)

    def plan(self) -> Plan:
        """The plan of the rows up to here."""
        state, since = self._state, self._since
        lower, has_gap = state.lower, is_disjoint(state, since, self._until)
        if state.watermark is None or (lower is not None and (since is None or since < lower)):
            lower = since
        return Plan(
            self._newest.oldest_first(compress(count(), self._due)),
            Selection(self._newest, (number for number, is_due in enumerate(self._due) if not is_due)),
            self._top,
            self._listed,
            lower,
            has_gap,
            state.is_unordered,
            frozenset(self._missing),
        )


def is_older(answered: datetime | None, listed: datetime | None) -> bool:
    """The answer about a run has an older change than its list; an answer may have whole seconds only."""
    if answered is None or listed is None:
        return False
    return answered < (listed if answered.microsecond else listed.replace(microsecond=0))


def _is_due(state: State, run: ListedRun, down_to: datetime | None) -> bool:
    if run.id in state.failed or run.id in state.reread:
        return True
    if run.id in state.unfinished:
        return state.unfinished[run.id] != (run.status, run.changed)
    if run.id in state.recent:
        return run.changed != state.recent[run.id]
    if run.changed == OLDEST:
        # it has no timestamp: the destination may hold it already
        return True
    if state.lower is not None and run.changed < state.lower:
        return True
    return down_to is None or run.changed >= down_to


def _minus(at: datetime, overlap: timedelta) -> datetime:
    try:
        return at - overlap
    except OverflowError:
        return OLDEST


def _micros(at: datetime | None) -> int | None:
    return None if at is None else micros(at)


def _failed_run(
    id_: str,
    status: str | None,
    created_at: datetime | None,
    updated_at: datetime | None,
    is_final: bool,
    saved: dict[str, Any] | None,
) -> ListedRun:
    """A run as the state holds it: `saved` is its summary, with its source."""
    summary = dict(saved or {})
    source = summary.pop("source", None)
    return ListedRun(id_, status, created_at, updated_at, is_final, summary or None, source)


def _time(number: int | None) -> datetime | None:
    return None if number is None else moment(number)
