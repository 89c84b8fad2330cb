"""Which due runs the destination holds already, and which processor runs lack the link to their workflow run.

Each call queries the destination of dlt's current pipeline. Nothing is kept between loads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import dlt

from ..core.parsed import ParentStep, ParsedRun
from ..store import lookup
from ..store.destinations import active_pipeline, traits_of
from ..sync.listed import OLDEST, Ids, ListedRun
from ..sync.lists import ASTRAY, KnownRuns, RunList
from ..sync.plan import State
from ..sync.sync import Sync


def known_workflow_runs(sync: Sync, due: Sequence[ListedRun]) -> set[str]:
    """Due workflow runs that the destination holds as they are listed.

    An interrupted load has loaded them, or so many runs share one timestamp that the state does not list all.
    """
    pipeline, ids = active_pipeline(), [run.id for run in due]
    if _is_refreshing():
        return set()
    if sync.platform.has_nested_runs:
        # a nested run keeps its parent when it is fetched separately
        for run_id, link in lookup.nested_links(pipeline, ids).items():
            sync.known.links.setdefault(run_id, link)
    stored = lookup.runs_by_id(pipeline, "workflow_runs", ids)
    return {run.id for run in due if run.id in stored and _is_current(sync, stored[run.id], run)}


def known_processor_runs(sync: Sync, due: Sequence[ListedRun]) -> set[str]:
    """Due processor runs that the destination holds as listed. Adds the others' parents to `sync.known`."""
    pipeline, parents = active_pipeline(), sync.known.parents
    if _is_refreshing():
        return set()
    runs = [run for run in due if not sync.is_loaded(run.id)]
    if sync.platform.has_nested_runs:
        # an interrupted load may have loaded the workflow run without the runs that its steps made
        unknown = [run.id for run in runs if run.id not in parents]
        for made in lookup.produced_runs(pipeline, unknown):
            parents.setdefault(made.id, ParentStep(made.workflow_run_id, made.position))
    # a run that is read again is not searched in the lists, and the platform may purge what a verify run has found
    for id_, (source, level) in lookup.list_cells(pipeline, [run.id for run in runs]).items():
        if source is not None:
            sync.known.sources.setdefault(id_, source)
        if level is not None:
            sync.known.risk_levels[id_] = level
    found = lookup.runs_by_id(pipeline, "processor_runs", [run.id for run in runs])
    known = set()
    for run in runs:
        stored = found.get(run.id)
        if stored is None:
            continue
        if stored.workflow_run_id is not None:
            parent = ParentStep(stored.workflow_run_id, stored.workflow_step_position)
            parents.setdefault(run.id, parent)
        if _is_current(sync, stored, run):
            known.add(run.id)
    return known


def stored_versions(ids: Sequence[str]) -> dict[str, datetime]:
    """The last change of those workflow runs of `ids` that the destination holds."""
    if _is_refreshing():
        return {}
    stored = lookup.runs_by_id(active_pipeline(), "workflow_runs", ids)
    return {id_: run.updated_at for id_, run in stored.items() if run.is_whole and run.updated_at}


FULL_LOAD_BEGUN = {"full_load_begun": True}
"""In a provider's state from before the first package of a full load until a load is complete. Where the full load
was killed, rows of its last package may be stored in a part of the tables. The state does not say of which runs:
they are older than its watermark."""


def read_half_loaded_again(sync: Sync) -> None:
    """After a full load that did not end, make the runs due whose rows it has stored in a part of the tables."""
    is_open = dlt.current.source_state().keys() >= FULL_LOAD_BEGUN.keys()
    if sync.settings.full or not is_open or not traits_of(active_pipeline()).takes_updates:
        return
    _, *others = sync.platform.lists
    of_others = dlt.current.resource_state("processor_runs")
    states = [of_others.setdefault(run_list.name, {}) for run_list in others]
    states.append(dlt.current.resource_state("workflow_runs"))
    for id_, changed in lookup.half_loaded_runs(active_pipeline()).items():
        for saved in states:
            state = State.load(saved)
            state.unsettled[id_] = changed or OLDEST, OLDEST
            saved.update(state.save())


def note_complete(sync: Sync) -> None:
    """The load has read all runs that were due, in no window: none is half-loaded."""
    is_window = sync.settings.since is not None or sync.settings.until is not None
    if sync.is_complete and not is_window and not sync.is_sample:
        for name in FULL_LOAD_BEGUN:
            dlt.current.source_state().pop(name, None)


def _is_refreshing() -> bool:
    """Whether dlt's `refresh` has dropped the state. It empties the tables when it loads this package."""
    state = dlt.current.load_package_state()["state"]
    return bool(state.get("dropped_tables") or state.get("truncated_tables"))


def _is_current(sync: Sync, stored: lookup.StoredRun, run: ListedRun) -> bool:
    if sync.platform.replay is not None:
        # it was loaded since from the platform itself
        return stored.is_whole and (stored.updated_at or OLDEST) > run.changed
    if sync.settings.full or run.id in sync.plans.must_fetch or not stored.is_whole:
        return False
    if run.updated_at is None and run.created_at is not None:
        return False
    return stored.updated_at == run.updated_at and stored.status == run.status


class UnlinkedRuns:
    """Processor runs that were loaded before the workflow run that made them, so they lack the link to it.

    They are loaded again, with the link. Their workflow run may be of this load, or of an earlier one that
    the destination holds.
    """

    def __init__(self, sync: Sync) -> None:
        self._sync = sync
        self._looked_up: set[str] = set()
        self._parsed = Ids()

    def recording(self, run_list: RunList) -> RunList:
        """The list; runs that it parses are recorded, because they get their links."""

        def parse(body: bytes, run: ListedRun, known: KnownRuns) -> ParsedRun:
            parsed = run_list.parse(body, run, known)
            self._parsed.add(run.id)
            return parsed

        return replace(run_list, parse=parse)

    def as_list(self, run_list: RunList) -> RunList:
        """A list of the unlinked runs. Each run that this load names is looked up once."""
        pipeline, parents = active_pipeline(), self._sync.known.parents
        found = {made.id: made for made in lookup.unlinked(pipeline)}
        new = sorted(parents.keys() - self._looked_up)
        self._looked_up.update(new)
        for id_, stored in lookup.runs_by_id(pipeline, "processor_runs", new).items():
            if stored.workflow_run_id is None:
                parent = parents[id_]
                found[id_] = lookup.ProducedRun(
                    id_, parent.workflow_run_id, parent.position or 0, stored.status, stored.updated_at
                )
        rows = []
        for made in found.values():
            if made.id not in self._parsed:
                parents.setdefault(made.id, ParentStep(made.workflow_run_id, made.position))
                rows.append(ListedRun(made.id, made.status, None, made.updated_at))
        return replace(
            self.recording(run_list),
            name=f"{run_list.name}{ASTRAY}",
            pages=lambda _: iter([rows]),
            is_stored=True,
            doubt=lambda: None,
        )
