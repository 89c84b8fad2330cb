"""One load of one platform: walk the lists, fetch what is due, yield batches of whole runs.

    ListPlans ──► due runs ──► Prefetcher ──► RunList.parse ──► Batch ──► Tables ──► dlt
        ▲                                                         │
        └──── state, which moves on when dlt has taken a batch ◄──┘

A `Sync` lives for one load. A load may have many dlt packages: `start_package` begins each, and the plans
stay. `plan` decides which runs are due, the provider which rows a run has; this module drives them.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import datetime
from functools import partial
from threading import Lock
from typing import Any, Self

from ..core.batch import Batch
from ..core.errors import ApiError, MissingError, stops_everything
from ..core.parsed import ParsedRun
from ..core.tables import ROWS_VERSION, SYNCS
from ..net.client import Client
from ..net.messages import Outcome
from ..store.arrow import UNFIT_ERRORS, Tables, to_tables
from . import quarantine
from .listed import Ids, ListedRun
from .lists import KnownRuns, Platform, RunList, Sample
from .metrics import Metrics, Progress
from .plan import Failure, State, is_older
from .prefetch import FetchContext, IsKnown, Prefetcher, Quota, Streak
from .versions import Versions
from .walk import ListPlans, SavedState

BATCH_ROWS = 50_000
"""Rows after which a batch is yielded: smaller ones cost dlt time, larger ones cost memory."""


class Sync:
    """See the module."""

    def __init__(
        self, platform: Platform, progress: Progress | None = None, *, sample: Sample | None = None
    ) -> None:
        self.platform, self.client = platform, platform.client
        self.settings, self.clock = platform.settings, platform.clock
        self._sample = sample
        self.metrics = Metrics(self.client.usage, self.clock(), platform.name)
        self.plans = ListPlans(self.settings, self.metrics, self.clock, progress)
        self.known = KnownRuns()
        self.versions = Versions()
        self.quota = self._new_quota()
        self.watermark: datetime | None = None
        self.gone: list[tuple[str, str]] = []
        """List and id of each run that answered 404 in two loads, and that its list no longer shows."""
        self.already_loaded = Ids()
        """Runs that came inside other runs in this load."""
        self.load_id = ""
        self.workflow_runs_are_done = False
        """In this package."""
        self.active_resources = 0
        """Resources that are not at their ends: their requests count in this package."""
        self.spans_packages = False
        """A load holds this sync open: its next package begins where this one ends."""
        self.partial: dict[str, Batch] = {}
        """Rows of nested runs that came as summaries and are to be fetched by their ids."""
        self.streak = Streak()
        self._is_interrupted = False
        # dlt runs parallelized resources in threads
        self._beginning = Lock()
        self._forget()

    def __enter__(self) -> Self:
        """For a whole load: the client stays open from one package to the next."""
        if self.load_id:
            self._forget()
        self.client.__enter__()
        self.spans_packages = True
        return self

    def __exit__(self, *exc: object) -> None:
        self.spans_packages = False
        self.client.__exit__(*exc)

    @contextmanager
    def open_client(self) -> Iterator[Client]:
        """The client, open for as long as a resource runs, or for the whole load that holds it."""
        with self._beginning:
            self.active_resources += 1
        try:
            with nullcontext(self.client) if self.spans_packages else self.client as client:
                yield client
        finally:
            with self._beginning:
                self.active_resources -= 1

    def start_package(self, load_id: str) -> None:
        """A dlt package begins. Each resource calls this; the first call counts."""
        with self._beginning:
            if load_id == self.load_id:
                return
            if self.load_id and not self.spans_packages:
                # dlt runs the same source again
                self._forget()
                self.quota = self._new_quota()
            self.load_id, self.workflow_runs_are_done = load_id, False
            self.quota.start_package()
            self.metrics.start_package(self.clock())

    def start_over(self) -> None:
        """Undo what was yielded since the last commit: read the state and the lists again."""
        self._forget()
        self.quota.start_over()
        self.metrics.undo()
        self._is_interrupted = False
        self.load_id = ""

    def _new_quota(self) -> Quota:
        return Quota(self.settings.chunk_runs, self.settings.max_runs)

    def _forget(self) -> None:
        for what in (self.plans, self.partial, self.known, self.already_loaded, self.versions):
            what.clear()
        if self._sample is not None:
            self.known.parents.update(self._sample.parents)

    @property
    def is_complete(self) -> bool:
        """All that was planned is done, every list was read to its end, and no listed run answered 404."""
        lacks_runs = self.plans.incomplete_lists or self.plans.failed_lists or self.metrics.counts.gone
        return self._is_done and not lacks_runs

    @property
    def _is_done(self) -> bool:
        return not self._is_interrupted and self.plans.are_done

    @property
    def may_go_on(self) -> bool:
        """There is more to load, and `max_runs` allows it."""
        return not self._is_done and not self.quota.is_exhausted

    def note_listed(self, lists: Iterable[RunList]) -> None:
        """Let parsers see processor runs as these lists show them."""
        rows: list[Any] = [self.plans.rows(run_list.name) for run_list in lists]
        # a ChainMap does not copy them; it looks into one after the other
        self.known.listed = ChainMap(*filter(None, rows))

    @property
    def is_sample(self) -> bool:
        """Only some runs are loaded."""
        return self._sample is not None

    def is_loaded(self, run_id: str) -> bool:
        """The run needs no request: it came inside another one, or is not in the sample."""
        is_left_out = self._sample is not None and run_id not in self._sample.ids
        return is_left_out or run_id in self.already_loaded

    def _context(self, run_list: RunList, is_known: IsKnown, may_prefetch: bool) -> FetchContext:
        reserve, limit = partial(self.quota.reserve, may_prefetch), self.quota.prefetch_limit
        return FetchContext(self.client, run_list, is_known, self.is_loaded, reserve, limit, self.clock)

    def batches(
        self,
        run_list: RunList,
        saved: SavedState,
        is_known: IsKnown = lambda _: set(),
        *,
        may_prefetch: bool = True,
    ) -> Iterator[Tables]:
        """Fetch what is due, oldest change first, and yield whole runs; `saved` is kept up to date.

        `is_known` names due runs that need no request after all. `may_prefetch`: what is due stays due in the
        next package, and may be requested in this one.
        """
        for _ in self.plans.walk_lists([(run_list, saved)]):
            pass
        # a failure or a limit leaves the list without a plan, so that it is planned anew
        planned = self.plans.planned.pop(run_list.name)
        self._is_interrupted = True
        load = _ListLoad(self, run_list, saved, planned)
        may_prefetch = may_prefetch and self.spans_packages
        context = self._context(run_list, is_known, may_prefetch)
        main = self.platform.workflow_runs.name
        if self.plans.may_begin(planned, main):
            # these answers come while the list is asked for sources, page after page
            planned.fill(context)
        self.known.sources |= self.plans.find_sources(run_list, planned, main, self.is_loaded)
        yield from load.batches(context)
        if may_prefetch and self.quota.is_package_full and self.plans.may_begin(planned, main):
            planned.fill(context)
        yield from load.last_batch()
        self.plans.planned[run_list.name] = planned
        self._is_interrupted = False

    def note_parsed(self, run: ListedRun, parsed: ParsedRun, planned: Prefetcher) -> None:
        """Know what a run's answer tells of other runs. Of runs that are newer elsewhere it loses the rows."""
        self.streak.length = 0
        older: set[str] = set()
        if self.platform.has_nested_runs:
            older = self.versions.admit(parsed.batch, run.id, planned.rows)
        self.already_loaded.update(id_ for id_ in parsed.nested_ids if id_ not in older)
        self.known.parents.update(parsed.parents)
        # a run that was read before its parent counted as an outermost one: read it again
        moved = {id_ for id_, link in parsed.links.items() if self.known.links.get(id_) != link}
        self.known.links.update(parsed.links)
        for run_id, batch in parsed.partial.items():
            if run_id not in self.partial and (run_id in moved or run_id not in self.already_loaded):
                self.partial[run_id] = batch
                planned.summaries.append(ListedRun(run_id, None, None, None))

    def package_row(self) -> Tables:
        """The row of `syncs` for the package that ends here, and list entries without an id."""
        batch = self.plans.take_rows_without_id()
        row = SYNCS.row(
            load_id=self.load_id,
            provider=self.platform.name,
            **self.metrics.package_row(),
            finished_at=self.clock(),
            watermark=self.watermark,
            complete=self.is_complete,
            left_out=", ".join(self.plans.left_out) or None,
            privacy=self.settings.privacy.mark,
            rows_version=ROWS_VERSION,
            incomplete_lists="; ".join(map(": ".join, self.plans.incomplete_lists.items())) or None,
        )
        batch.add(SYNCS, row)
        return to_tables(batch)


class _ListLoad:
    """The due runs of one list in one package, with the state that follows them."""

    def __init__(self, sync: Sync, run_list: RunList, saved: SavedState, planned: Prefetcher) -> None:
        self._sync, self._list, self._saved, self._planned = sync, run_list, saved, planned
        self._overlap = sync.settings.overlap
        self._privacy = sync.settings.privacy
        self._pending: list[tuple[ListedRun, Batch]] = []
        self._state = State.load(saved)
        self._state.begin(planned.walked_at, sync.settings.recheck_for)
        if self._state.watermark is None:
            self._state.lower = planned.plan.lower

    def batches(self, context: FetchContext) -> Iterator[Tables]:
        """All batches but the last one."""
        rows = 0
        for run, outcome, requested_at in self._planned.take(context, self._sync.quota.remaining):
            self._sync.platform.keep(self._list, run, outcome, self._sync.known)
            if outcome is None or requested_at is None:
                self._sync.metrics.counts.unchanged += 1
                self._note_loaded(run, run.is_final)
                if self._sync.platform.has_nested_runs:
                    self._sync.versions.note_passed(run)
                continue
            batch = self._load_run(run, outcome, requested_at, context)
            self._pending.append((run, batch))
            rows += len(batch)
            if rows >= BATCH_ROWS:
                rows = 0
                yield from self._yield_pending()

    def last_batch(self) -> Iterator[Tables]:
        """What is pending at the end, with the state that ends the package."""
        plan = self._planned.plan
        if self._planned.is_finished and not plan.is_disjoint:
            self._state.finished(plan, self._overlap, self._planned.walked_at)
        if self._pending:
            yield from self._yield_pending()
        else:
            self._save(self._moved_state())

    def _load_run(
        self, run: ListedRun, outcome: Outcome, requested_at: datetime, context: FetchContext
    ) -> Batch:
        """The rows of a run, or those that say why it has none. Raises what is not this run's fault."""
        sync = self._sync
        sync.quota.consume()
        summary = sync.partial.pop(run.id, None)
        if isinstance(outcome, ApiError):
            if stops_everything(outcome):
                # everything that is not yielded yet stays due
                raise quarantine.redact_error(outcome, self._privacy)
            if summary is not None:
                # a nested run that cannot be fetched by its id: the summary is all there is
                sync.versions.admit(summary, "", self._planned.rows)
                return summary
            if isinstance(outcome, MissingError) and self._list.is_stored:
                # its rows stay as they are; a sweep finds out whether it is deleted
                return Batch()
            if isinstance(outcome, MissingError) and run.id in self._planned.plan.unlisted:
                return self._note_gone(run)
        try:
            parsed = self._list.parse_outcome(run, outcome, sync.known)
        except (ApiError, ValueError, RecursionError) as error:
            is_new = run.id not in self._state.failed
            fatal = sync.streak.fatal_error(error, is_new, partial(self._planned.probe, context))
            if fatal is not None:
                raise quarantine.redact_error(fatal, self._privacy) from None
            return self._quarantine(run, error, self._list.body(run, outcome))
        sync.metrics.counts.fetched += self._list.detail is not None
        sync.note_parsed(run, parsed, self._planned)
        self._planned.good.append(run)
        if summary is not None:
            # not a row of the list: the list's state does not know it
            sync.already_loaded.add(run.id)
        else:
            self._note_parsed(run, parsed, requested_at)
        sync.plans.tell("fetching", self._list.name, self._planned.taken, self._planned.total)
        return parsed.batch

    def _note_parsed(self, run: ListedRun, parsed: ParsedRun, requested_at: datetime) -> None:
        """Advance the state over a run that is loaded. An answer that is older than the list is a failure too."""
        if parsed.has_older or is_older(parsed.updated_at, run.updated_at):
            text = f"the answer is older than the list, which shows a change at {run.updated_at}"
            parsed.batch.update(self._quarantine(run, ApiError(text), b""))
            return
        read = run._replace(status=parsed.status or run.status)
        resolved = self._note_loaded(read, parsed.is_final, self._read_again(run, parsed, requested_at))
        parsed.batch.update(quarantine.resolved_row(self._list.name, resolved, self._sync.clock()))

    def _read_again(self, run: ListedRun, parsed: ParsedRun, requested_at: datetime) -> datetime | None:
        """When to read the run again: its answer has no date, and may have been older than the list."""
        lag = self._sync.settings.replica_lag
        if not lag or self._list.detail is None or parsed.updated_at is not None:
            return None
        # the platform's clock may be ahead of this one
        if -lag < requested_at - run.changed < lag:
            return run.changed + lag
        # a list that shows another final state is newer; one that shows an open state is older
        is_other = run.is_final and run.status is not None and parsed.status != run.status
        return requested_at if is_other and run.id not in self._state.reread else None

    def _note_gone(self, run: ListedRun) -> Batch:
        """A run that answers 404 again, and that its list no longer shows."""
        self._sync.gone.append((self._list.name, run.id))
        resolved = self._note_loaded(run, is_final=True)
        self._state.recent.pop(run.id, None)
        return quarantine.resolved_row(self._list.name, resolved, self._sync.clock())

    def _note_loaded(
        self, run: ListedRun, is_final: bool, read_again: datetime | None = None
    ) -> Failure | None:
        return self._state.loaded(run, is_final, self._overlap, self._planned.walked_at, read_again)

    def _quarantine(self, run: ListedRun, error: Exception, body: bytes) -> Batch:
        name = type(error).__name__
        message = quarantine.redacted_message(error, self._privacy)
        self._sync.metrics.note_failed(self._list.name, run.id, error, message)
        run = run._replace(source=run.source or self._sync.known.sources.get(run.id))
        failure = self._state.not_loaded(run, name, message, self._overlap, self._planned.walked_at)
        return quarantine.failed_row(self._list.name, failure, body, self._sync.clock())

    def _yield_pending(self) -> Iterator[Tables]:
        """The pending runs as Arrow tables. The state moves on when dlt has taken them."""
        self._sync.versions.drop_stored()
        pending, self._pending = self._pending, []
        tables = self._to_tables(pending)
        tables.on_taken = partial(self._save, self._moved_state())
        del pending  # or its rows are held while the next ones are made
        yield tables
        tables.taken()

    def _to_tables(self, pending: list[tuple[ListedRun, Batch]]) -> Tables:
        """One of the runs whose rows no table takes goes to quarantine."""
        whole = Batch.merge(batch for _, batch in pending)
        try:
            tables = to_tables(whole)
        except UNFIT_ERRORS:
            whole = Batch.merge(self._fitting(run, batch) for run, batch in pending)
            tables = to_tables(whole)
        self._sync.metrics.rows.update(whole.counts())
        return tables

    def _fitting(self, run: ListedRun, batch: Batch) -> Batch:
        try:
            to_tables(batch)
        except UNFIT_ERRORS as error:
            return self._quarantine(run, error, b"")
        return batch

    def _moved_state(self) -> dict[str, Any]:
        """The state to save with what is yielded; of a disjoint window only the failures are new."""
        self._state.failed = quarantine.redact_failures(self._state.failed, self._privacy)
        moved = self._state.save()
        if self._planned.plan.is_disjoint:
            return {**self._saved, "failed": moved["failed"]}
        return moved

    def _save(self, moved: dict[str, Any]) -> None:
        # dlt commits the state together with the rows that were yielded up to here, or neither
        self._saved.clear()
        self._saved.update(moved)
        self._sync.plans.remember(self._list.name, self._saved)
        if self._list.name == self._sync.platform.workflow_runs.name:
            self._sync.watermark = State.load(self._saved).watermark
