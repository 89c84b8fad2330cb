"""What all providers share towards dlt: the two run resources, and batches as tables with hints.

workflow_runs    workflow runs and everything nested in them
processor_runs   processor runs outside of workflow runs; waits until the workflow runs are done
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from functools import cache, partial
from typing import Any

import dlt
from dlt.extract.items_transform import YieldMapItem
from dlt.sources import DltSource

from ..core.privacy import Privacy
from ..core.tables import RUN_TABLES, TABLES, Table
from ..net.redaction import strip_signed_urls
from ..store.arrow import (
    Tables,
    add_load_id,
    replaced_runs,
    rewrite_columns,
    rewrite_matching,
    spell_out_nul,
    to_arrow,
    without_clearing_rows,
)
from ..store.destinations import active_pipeline, traits_of
from ..store.merges.hints import CONTRACT, Hints
from ..sync.sync import Sync
from .identity import check_storage_mode
from .known_runs import (
    UnlinkedRuns,
    known_processor_runs,
    known_workflow_runs,
    note_complete,
    read_half_loaded_again,
    stored_versions,
)


def make_source(name: str, resources: Callable[[], list[Any]]) -> DltSource:
    """A dlt source for one package or load of the platform `name`, as `extend()` and `plextera()` make it."""
    return dlt.source(resources, name=name, section=name, schema_contract=CONTRACT)()


def run_resources(sync: Sync) -> list[Any]:
    """`workflow_runs` and `processor_runs` of a platform, as dlt resources."""
    rows, hints = _RunRows(sync), Hints()

    @dlt.resource(name="workflow_runs")
    def workflow_runs() -> Iterator[Tables | None]:
        yield from rows.workflow_runs()

    @dlt.resource(name="processor_runs")
    def processor_runs() -> Iterator[Tables | None]:
        yield from rows.processor_runs()

    privacy = sync.settings.privacy
    return [add_tables(resource, privacy, hints) for resource in (workflow_runs, processor_runs)]


class _RunRows:
    """The rows of both resources. dlt takes one item of each in turn."""

    def __init__(self, sync: Sync) -> None:
        self._sync = sync
        self._main, *self._others = sync.platform.lists
        self._unlinked = UnlinkedRuns(sync)

    def workflow_runs(self) -> Iterator[Tables | None]:
        """Workflow runs, and everything nested in them."""
        sync, selected = self._sync, self._begin()
        is_known = partial(known_workflow_runs, sync)
        sync.versions.stored = stored_versions
        try:
            with sync.open_client():
                if "processor_runs" in selected:
                    yield from self._walk_all()
                batches = sync.batches(self._main, self._states()[self._main.name], is_known)
                yield from one_batch_at_a_time(batches)
            if "processor_runs" not in selected:
                yield from self._end_package()
        finally:
            sync.workflow_runs_are_done = True

    def processor_runs(self) -> Iterator[Tables | None]:
        """Processor runs outside of workflow runs, after these: so no run is fetched twice."""
        sync, selected, states = self._sync, self._begin(), self._states()
        while "workflow_runs" in selected and not sync.workflow_runs_are_done:
            yield None
        is_known = partial(known_processor_runs, sync)
        with sync.open_client():
            for run_list in map(self._unlinked.recording, self._others):
                yield from one_batch_at_a_time(sync.batches(run_list, states[run_list.name], is_known))
                if sync.platform.has_nested_runs:
                    unlinked = self._unlinked.as_list(run_list)
                    yield from sync.batches(unlinked, {}, may_prefetch=False)
        yield from self._end_package()

    def _begin(self) -> Any:
        """Each resource begins with this call. Gives the names of the selected resources."""
        check_storage_mode(self._sync.platform)
        load_id = dlt.current.load_package_state()["load_id"]
        self._sync.start_package(load_id)
        if self._sync.platform.archive is not None:
            self._sync.platform.archive.begin(load_id, self._states())
        read_half_loaded_again(self._sync)
        return dlt.current.source().resources.selected

    def _walk_all(self) -> Iterator[None]:
        """Walk all lists first: in some versions only lists have the dates of nested runs. No run is requested before:
        its answer could be older than a row that a list shows later."""
        states = self._states()
        lists = [(run_list, states[run_list.name]) for run_list in (*self._others, self._main)]
        yield from self._sync.plans.walk_lists(lists)
        self._sync.plans.begin_part()
        self._sync.note_listed(self._others)

    def _states(self) -> dict[str, Any]:
        """The state of each list, as dlt stores it; a replay has states of its own."""
        replay = self._sync.platform.replay
        if replay is not None:
            return {each.name: replay.states.setdefault(each.name, {}) for each in self._sync.platform.lists}
        of_others = dlt.current.resource_state("processor_runs")
        states = {run_list.name: of_others.setdefault(run_list.name, {}) for run_list in self._others}
        return {**states, self._main.name: dlt.current.resource_state("workflow_runs")}

    def _end_package(self) -> Iterator[Tables | None]:
        while self._sync.active_resources:
            yield None
        note_complete(self._sync)
        if self._sync.platform.archive is not None:
            # before dlt commits the package: what is in the destination is in the archive
            self._sync.platform.archive.finish(self._states())
        yield Tables([*self._sync.package_row(), *missing_tables()])


def missing_tables() -> Iterator[tuple[Table, Any]]:
    """Empty tables, where the dataset lacks the table or a column of it.

    So a query finds each table, also where the platform has sent no row for it or an older version of docruns
    has made it. Some of dlt's destinations, such as Postgres, take no table without a row.
    """
    if not traits_of(active_pipeline()).is_staged_once:
        return
    existing = dlt.current.source_schema().tables
    for table in RUN_TABLES:
        columns = existing[table.name]["columns"] if table.name in existing else {}
        if not columns.keys() >= set(table.names):
            yield table, to_arrow(table, [])


def one_batch_at_a_time(batches: Iterator[Tables]) -> Iterator[Tables | None]:
    """Each batch after dlt has taken all tables of the previous one.

    dlt takes one item of each generator in turn. Without this function it would hold ten batches, 130 MB,
    with tables of each still to come.
    """
    for batch in batches:
        yield batch
        yield from (None for _ in batch)


class _ToTables(YieldMapItem):
    """Splits a batch into its tables, after dlt's limit, which counts batches: so runs stay whole."""

    placement_affinity = 1.2


def add_tables(resource: Any, privacy: Privacy, hints: Hints) -> Any:
    """Make a resource that yields `Tables` fill all of them.

    Private values that the settings hash or drop are replaced before dlt gets the rows. Resources that fill
    the same tables share `hints`.
    """
    logging.getLogger("dlt").addFilter(_is_unexpected)
    rewrites = {table.name: privacy.rewrites(table) for table in TABLES}

    def open_batch(batch: Tables) -> Iterator[Any]:
        batch.taken()
        load_id = dlt.current.load_package_state()["load_id"]
        traits = traits_of(active_pipeline())
        for table, cells in batch:
            rows = rewrite_matching(cells, _platform_texts(table), _SIGNS_OF_QUERY, strip_signed_urls)
            if not batch.is_stored:
                rows = rewrite_columns(rows, rewrites[table.name])
            if not traits.holds_nul:
                rows = spell_out_nul(table, rows)
            new_hints = hints.of(table, replaced_runs(table, rows), resource.name, load_id)
            if traits.is_log:
                rows = without_clearing_rows(table, rows)
            rows = add_load_id(rows, load_id)
            if new_hints is None:
                yield dlt.mark.with_table_name(rows, table.name)
            else:
                yield dlt.mark.with_hints(rows, new_hints, create_table_variant=True)

    resource.add_step(_ToTables(open_batch))
    return resource


_SIGNS_OF_QUERY = ("=", "%3")
"""A text with a signed URL has one of these, also where the URL is percent-encoded."""


@cache
def _platform_texts(table: Table) -> list[str]:
    """Columns in which a platform may put its own URLs. A URL that a document contains is a value."""
    return [
        column.name
        for column in table.columns
        if column.type == "json" or column.name.endswith(("url", "message"))
    ]


def _is_unexpected(record: logging.LogRecord) -> bool:
    """Not one of dlt's expected warnings: for every batch that JSON comes as Arrow strings, and about merge keys
    in datasets from before docruns used destination scopes.
    """
    message = record.getMessage()
    expected = ("several column hints were different", "has `merge_key` and `destination_scope`")
    return not any(text in message for text in expected)
