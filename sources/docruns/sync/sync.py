"""One load of one platform: walk the lists, fetch what is due, hand out batches of whole runs.

    feed.plan ──► due runs ──► client.get_many ──► provider's reader ──► Batch ──► dlt
        ▲                                                                 │
        └───────────── state, moved on before each batch is handed out ◄──┘

A `Sync` lives for one load. A load may be many dlt packages: `start_package` begins each, and the plans
stay. What is due is decided in `feed`, what rows a run gives in the provider; here they are driven.
"""

from __future__ import annotations

from collections import ChainMap, Counter
from collections.abc import Callable, Iterable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Self

from ..core.batch import Batch
from ..core.errors import (
    UNAUTHORIZED,
    ApiError,
    BusyError,
    MissingError,
    RefusedError,
    UnreachableError,
)
from ..core.parsed import NestedLink, ParentStep, ParsedRun
from ..core.settings import Settings
from ..core.tables import SYNCS
from ..net.client import Client
from ..store.arrow import UNFIT_ERRORS, Tables, to_tables
from . import quarantine
from .lists import RunList
from .metrics import Metrics, Progress, RunCounts
from .plan import ListedRun, Plan, State, is_disjoint, plan_runs
from .prefetch import FetchContext, IsKnown, Prefetcher
from .quota import Quota

BATCH_ROWS = 50_000
"""Rows after which a batch is handed out: fewer cost dlt time, more cost memory."""

GIVE_UP_AFTER = 20
"""Details that fail one after the other before the platform, not the runs, counts as broken."""


@dataclass
class Sync:
    """See the module. `clock` gives the time in UTC; `progress` may be None."""

    provider: str
    client: Client
    settings: Settings = field(default_factory=Settings)
    feeds: Sequence[RunList] = ()
    progress: Progress | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    def __post_init__(self) -> None:
        self._tally = Metrics(self.client.usage, self.clock())
        self.watermark: datetime | None = None
        self._nameless = Batch()
        self.gone: list[tuple[str, str]] = []
        self.arrived: set[str] = set()
        self.parents: dict[str, ParentStep] = {}
        self.links: dict[str, NestedLink] = {}
        self.listed: ChainMap[str, ListedRun] = ChainMap()
        self._thin: dict[str, Batch] = {}
        self._planned: dict[str, Prefetcher] = {}
        self._shown: dict[str, tuple[Plan, dict[str, ListedRun]]] = {}
        self._saved: dict[str, Any] = {}
        self.portions = Quota(self.settings.chunk_runs, self.settings.max_runs)
        self._failures = 0
        self._failed: set[str] = set()
        self._interrupted = False
        self.load_id = ""
        self.workflows_done = False
        self.at_work = 0
        """Resources that have not come to their ends: what they ask for counts in this package."""
        self.fetches_ahead = False
        """A load holds this open, and its next package begins where this one ends."""

    def __enter__(self) -> Self:
        """For a whole load: the client stays open from one package to the next. A source may be loaded again."""
        if self.load_id:
            self._forget()
        self.client.__enter__()
        self.fetches_ahead = True
        return self

    def __exit__(self, *exc: object) -> None:
        self.fetches_ahead = False
        self.client.__exit__(*exc)

    def start_package(self, load_id: str) -> None:
        """A dlt package begins: as many details again. Called by each resource, the first one counts."""
        if load_id == self.load_id:
            return
        if self.load_id and not self.fetches_ahead:
            # a source that is run again
            self._forget()
            self.portions = Quota(self.settings.chunk_runs, self.settings.max_runs)
        self.load_id, self.workflows_done = load_id, False
        self.portions.next_package()
        self._tally.begin(self.clock())

    def _forget(self) -> None:
        """Ask the state and the lists anew."""
        for known in (self._planned, self._saved, self._thin, self.links, self.parents):
            known.clear()
        self.arrived.clear()

    def start_over(self) -> None:
        """Nothing that was handed out since the last commit counts: ask the state and the lists anew."""
        self._forget()
        self.portions.start_over()
        self._tally.undo()
        self._interrupted = False
        self.load_id = ""

    @contextmanager
    def opened(self) -> Iterator[Client]:
        """The client, for as long as a resource is at work, or for the whole load that holds it."""
        self.at_work += 1
        try:
            with nullcontext(self.client) if self.fetches_ahead else self.client as client:
                yield client
        finally:
            self.at_work -= 1

    @property
    def counts(self) -> RunCounts:
        """Runs of this load."""
        return self._tally.counts

    @property
    def rows(self) -> Counter[str]:
        """Rows of this load, by table."""
        return self._tally.rows

    @property
    def complete(self) -> bool:
        """Everything that was planned is done."""
        return not self._interrupted and all(p.is_done for p in self._planned.values())

    @property
    def may_go_on(self) -> bool:
        """There is more to load, and `max_runs` allows it."""
        return not self.complete and not self.portions.are_all_taken

    def is_failed(self, run_id: str) -> bool:
        """The run is in quarantine, as far as this load knows."""
        return run_id in self._failed

    def summaries(self, name: str) -> dict[str, ListedRun]:
        """The rows of a list that was walked in this load, by id, as long as none of them is taken."""
        planned = self._planned.get(name)
        of, rows = self._shown.get(name, (None, {}))
        if planned is not None and of is not planned.plan:
            rows = {run.id: run for run in (*planned.left, *planned.plan.unchanged)}
            self._shown[name] = planned.plan, rows
        return rows

    def walked(self, lists: Iterable[tuple[RunList, MutableMapping[str, Any]]]) -> Iterator[None]:
        """Walk lists side by side, those left out that this load has walked and whose states are as it left
        them; `yield` while all wait for their next pages. The first page of all is waited for alone: a key that is
        refused is refused once."""
        waiting = iter([self._walk(feed_, saved) for feed_, saved in lists])
        first = next((walk for walk in waiting if next(walk, False)), None)
        walks = [first, *waiting] if first is not None else []
        while walks := [walk for walk in walks if next(walk, False)]:
            yield

    def _walk(self, feed_: RunList, saved: MutableMapping[str, Any]) -> Iterator[bool]:
        """True where the others may have their turns: its next page is on its way, or has nothing to say."""
        name = feed_.name
        if name in self._planned and self._saved.get(name) == saved:
            return
        state = State() if self.settings.full and name not in self._planned else State.load(saved)
        state.failed = state.failed or State.load(saved).failed
        self._failed.update(state.failed)
        walked_at = self.clock()
        state.forget_unfinished(walked_at - self.settings.recheck_for)
        what, rows = self.settings, list[ListedRun]()
        try:
            tell = partial(self._tell, "listing", name)
            for page in feed_.walked(state, what.overlap, what.since, tell):
                rows += [row for row in page if self._has_id(feed_, row)]
                if not page:
                    yield True
        except (MissingError, RefusedError) as error:
            if not feed_.optional:
                raise
            self.left_out(name, error)
            self._planned[name] = Prefetcher(Plan([], [], None, 0, state.lower), walked_at)
            self._saved[name] = dict(saved)
            return
        plan = plan_runs(state, rows, what.overlap, since=what.since, until=what.until)
        # what a full load takes for unknown is loaded: the watermark must not pass what it leaves out
        plan.apart = is_disjoint(State.load(saved), what.since)
        self._planned[name] = Prefetcher(plan, walked_at)
        self._saved[name] = dict(saved)
        self.counts.listed += plan.listed
        self.counts.unchanged += len(plan.unchanged)
        self._tell("listed", name, plan.listed, plan.listed)

    def left_out(self, name: str, error: ApiError) -> None:
        """Tell of a list beside the runs that cannot be read; raises where the key itself is refused."""
        if error.status == UNAUTHORIZED:
            raise error
        self._tell("refused" if isinstance(error, RefusedError) else "unavailable", name, 0, None)

    def _has_id(self, feed_: RunList, row: ListedRun) -> bool:
        if not row.id:
            self.counts.quarantined += 1
            self._nameless.update(quarantine.row_without_id(feed_.name, row, self.clock()))
        return bool(row.id)

    def batches(
        self,
        feed_: RunList,
        saved: MutableMapping[str, Any],
        is_known: IsKnown = lambda _: set(),
        *,
        ahead: bool = True,
    ) -> Iterator[Tables]:
        """Fetch what is due, oldest change first, and give whole runs; `saved` is kept up to date.

        `is_known` says which of some due runs need no request after all. `ahead`: what is due stays so
        in the next package, and may be asked for in this one.
        """
        for _ in self.walked([(feed_, saved)]):
            pass
        # until the end nobody knows what is left: a failure or a limit plans anew
        planned = self._planned.pop(feed_.name)
        self._interrupted = True
        state = State.load(saved)
        state.forget_unfinished(planned.walked_at - self.settings.recheck_for)
        if state.watermark is None:
            state.lower = planned.plan.lower
        pending: list[tuple[ListedRun, Batch]] = []
        rows = 0
        may_ask = partial(self.portions.ask, ahead and self.fetches_ahead)
        terms = FetchContext(
            self.client, feed_, is_known, self.arrived, may_ask, self.portions.ahead
        )
        for run, batch in self._readings(terms, planned, state):
            pending.append((run, batch))
            rows += len(batch)
            if rows >= BATCH_ROWS:
                tables = self._hand_out(feed_, pending, state, saved, planned.plan.apart)
                pending, rows = [], 0
                yield tables
                tables.taken()
                del tables  # or they are held while the next ones are made
        if ahead and self._is_next(planned):
            planned.begin(terms)
        if planned.is_done and not planned.plan.apart:
            state.finished(planned.plan, self.settings.overlap, planned.walked_at)
        if pending:
            tables = self._hand_out(feed_, pending, state, saved, planned.plan.apart)
            yield tables
            tables.taken()
        else:
            self._save(feed_, self._moved(state, saved, planned.plan.apart), saved)
        self._planned[feed_.name] = planned
        self._interrupted = False

    def _is_next(self, stream: Prefetcher) -> bool:
        """The next package begins with it: nothing is asked for ahead of another one, and no workflow run
        that is due can bring what it asks for."""
        others = self._planned.values()
        main = self._planned.get(self.feeds[0].name) if self.feeds else None
        return (
            self.fetches_ahead
            and self.portions.is_full
            and (main is None or main.is_done)
            and not any(other.is_under_way for other in (*others, stream))
        )

    def _readings(
        self, terms: FetchContext, planned: Prefetcher, state: State
    ) -> Iterator[tuple[ListedRun, Batch]]:
        feed_ = terms.feed
        for run, outcome in planned.read(terms, self.portions.left):
            if outcome is None:
                self.counts.unchanged += 1
                state.loaded(run, run.is_final, self.settings.overlap, planned.walked_at)
                continue
            self.portions.take()
            if isinstance(outcome, (RefusedError, BusyError, UnreachableError)):
                # not this run's fault: everything that is not handed out yet stays due
                raise quarantine.redact_error(outcome, self.settings.privacy)
            summary = self._thin.pop(run.id, None)
            if summary is not None and isinstance(outcome, ApiError):
                # a nested run that cannot be read by its id: the summary is all there is
                yield run, summary
                continue
            if isinstance(outcome, MissingError):
                self.gone.append((feed_.name, run.id))
                resolved = state.loaded(run, True, self.settings.overlap, planned.walked_at)
                state.recent.pop(run.id, None)  # a list that shows it again makes it due again
                yield run, quarantine.resolved_row(feed_.name, resolved, self.clock())
                continue
            try:
                if isinstance(outcome, ApiError):
                    raise outcome
                reading = feed_.reading(run, outcome)
            except (ApiError, ValueError, RecursionError) as error:
                body = b"" if isinstance(outcome, ApiError) else feed_.body(run, outcome)
                yield run, self._quarantine(feed_, run, error, body, state, planned.walked_at)
                continue
            self._failures = 0
            self.counts.fetched += feed_.detail is not None
            self.arrived.update(map(self._listed_id, reading.inside))
            self.parents.update(reading.parents)
            self._read_summaries(reading, planned)
            if summary is not None:
                # not a row of the list: the feed's state knows nothing of it
                self.arrived.add(run.id)
                self._tell("fetching", feed_.name, planned.taken, planned.total)
                yield run, reading.batch
                continue
            loaded = run._replace(status=reading.status or run.status)
            resolved = state.loaded(
                loaded, reading.is_final, self.settings.overlap, planned.walked_at
            )
            reading.batch.update(quarantine.resolved_row(feed_.name, resolved, self.clock()))
            self._tell("fetching", feed_.name, planned.taken, planned.total)
            yield run, reading.batch

    def _listed_id(self, run_id: str) -> str:
        """The very text that a list has brought, so that a hundred thousand ids are there once."""
        return next((rows[run_id].id for _, rows in self._shown.values() if run_id in rows), run_id)

    def _read_summaries(self, reading: ParsedRun, planned: Prefetcher) -> None:
        """Read nested runs that came as summaries by their ids, and again where they hang elsewhere
        than it looked before: a run that was read before its parent counted as an outermost one."""
        moved = {id_ for id_, link in reading.links.items() if self.links.get(id_) != link}
        self.links.update(reading.links)
        for run_id, batch in reading.thin.items():
            if run_id not in self._thin and (run_id in moved or run_id not in self.arrived):
                self._thin[run_id] = batch
                planned.summaries.append(ListedRun(run_id, None, None, None))

    def _quarantine(
        self,
        feed_: RunList,
        run: ListedRun,
        error: Exception,
        body: bytes,
        state: State,
        walked_at: datetime,
    ) -> Batch:
        # one that failed before says nothing new about the platform
        self._failures += run.id not in state.failed
        if self._failures >= GIVE_UP_AFTER:
            raise quarantine.redact_error(error, self.settings.privacy)
        name, message = (
            type(error).__name__,
            quarantine.redacted_message(error, self.settings.privacy),
        )
        self._tally.quarantined(feed_.name, run.id, message)
        failure = state.not_loaded(run, name, message, self.settings.overlap, walked_at)
        return quarantine.failed_row(feed_.name, failure, body, self.clock())

    def _hand_out(
        self,
        feed_: RunList,
        pending: list[tuple[ListedRun, Batch]],
        state: State,
        saved: MutableMapping[str, Any],
        apart: bool,
    ) -> Tables:
        """The pending runs as Arrow tables; a run whose rows no table takes goes to quarantine."""

        def move() -> None:
            self._save(feed_, moved, saved)

        whole = Batch()
        for _, batch in pending:
            whole.update(batch)
        try:
            tables = to_tables(whole, move)
        except UNFIT_ERRORS:
            whole = Batch()
            for run, batch in pending:
                try:
                    to_tables(batch)
                except UNFIT_ERRORS as error:
                    batch = self._quarantine(feed_, run, error, b"", state, self._tally.started)
                whole.update(batch)
            tables = to_tables(whole, move)
        self.rows.update(whole.counts())
        moved = self._moved(state, saved, apart)
        return tables

    def _moved(self, state: State, saved: MutableMapping[str, Any], apart: bool) -> dict[str, Any]:
        """The state as it is to be saved with the rows that are handed out: apart, only what failed is new."""
        state.failed = quarantine.redact_failures(state.failed, self.settings.privacy)
        moved = state.save()
        return {**saved, "failed": moved["failed"]} if apart else moved

    def _save(self, feed_: RunList, moved: dict[str, Any], saved: MutableMapping[str, Any]) -> None:
        # dlt commits the state with the rows that were handed out up to here, or not at all
        saved.clear()
        saved.update(moved)
        self._saved[feed_.name] = dict(saved)
        if not self.feeds or feed_ is self.feeds[0]:
            self.watermark = State.load(saved).watermark

    def row_of_package(self) -> Tables:
        """The row of `syncs` for the package that ends here."""
        batch, self._nameless = self._nameless, Batch()
        batch.add(
            SYNCS,
            SYNCS.row(
                load_id=self.load_id,
                provider=self.provider,
                **self._tally.since(),
                finished_at=self.clock(),
                watermark=self.watermark,
                complete=self.complete,
                privacy=self.settings.privacy.mark,
            ),
        )
        return to_tables(batch)

    def _tell(self, stage: str, name: str, done: int, total: int | None) -> None:
        if self.progress is not None:
            self.progress(stage, name, done, total)
