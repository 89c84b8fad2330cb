"""The dlt side that both providers share: the two run resources, and batches into tables with hints.

workflow_runs    everything that comes with a workflow run
processor_runs   those that came in no workflow run; waits until the workflow runs are through
"""

from __future__ import annotations

import logging
from collections import ChainMap
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import dlt
from dlt.extract.items_transform import YieldMapItem

from ..core.parsed import ParentStep, ParsedRun
from ..core.privacy import Privacy
from ..core.tables import RUN_TABLES, TABLES, Table
from ..net.redaction import strip_signed_urls
from ..store import lookup
from ..store.arrow import (
    Tables,
    add_load_id,
    empty_table,
    replaced_runs,
    rewrite_columns,
    rewrite_matching,
    spell_out_nul,
)
from ..store.destinations import traits_of
from ..store.merge_hints import Hints
from ..sync.lists import RunList
from ..sync.plan import ListedRun
from ..sync.sync import Sync
from .identity import check_storage_mode


def run_resources(
    sync: Sync,
    main: RunList,
    feeds: Sequence[RunList],
    listed: ChainMap[str, ListedRun],
    nested: bool = False,
) -> list[Any]:
    """`workflow_runs` and `processor_runs`, fed by `main` and by `feeds`.

    `listed` gets the processor runs as their lists show them, before any workflow run is read;
    `sync.parents` the workflow runs that this load or the destination knows of due processor runs.
    `nested`: workflow runs may hang in others; `sync.links` gets those links that are known.
    """
    sync.feeds, sync.listed = (main, *feeds), listed
    told: set[str] = set()
    read_now: set[str] = set()

    def plan_all() -> Iterator[None]:
        saved = dlt.current.resource_state("processor_runs")
        lists = [(feed, saved.setdefault(feed.name, {})) for feed in feeds]
        yield from sync.walked((*lists, (main, dlt.current.resource_state("workflow_runs"))))
        # nested runs lack their dates in some versions: the lists, walked first, know them
        listed.maps = [sync.summaries(feed.name) for feed in feeds]

    def row_of_package() -> Iterator[Tables | None]:
        while sync.at_work:
            yield None
        yield Tables([*sync.row_of_package(), *_missing_tables()])

    @dlt.resource(name="workflow_runs")
    def workflow_runs() -> Iterator[Tables | None]:
        check_storage_mode(sync)
        selected = dlt.current.source().resources.selected
        sync.start_package(dlt.current.load_package_state()["load_id"])
        try:
            with sync.opened():
                if "processor_runs" in selected:
                    yield from plan_all()
                known = partial(_known_workflow_runs, sync, nested)
                yield from one_batch_at_a_time(
                    sync.batches(main, dlt.current.resource_state(), known)
                )
            if "processor_runs" not in selected:
                yield from row_of_package()
        finally:
            sync.workflows_done = True

    @dlt.resource(name="processor_runs")
    def processor_runs() -> Iterator[Tables | None]:
        check_storage_mode(sync)
        selected = dlt.current.source().resources.selected
        sync.start_package(dlt.current.load_package_state()["load_id"])
        saved = dlt.current.resource_state()
        # a run that arrives inside its workflow run is not fetched on its own: those come first
        while "workflow_runs" in selected and not sync.workflows_done:
            yield None
        is_known = partial(_known_processor_runs, sync, nested)
        with sync.opened():
            for feed in feeds:
                noting = _recording(feed, read_now)
                state = saved.setdefault(feed.name, {})
                yield from one_batch_at_a_time(sync.batches(noting, state, is_known))
                if nested:
                    yield from sync.batches(_unlinked(sync, feed, told, read_now), {}, ahead=False)
        yield from row_of_package()

    privacy = sync.settings.privacy
    hints = Hints()
    return [add_tables(run_list, privacy, hints) for run_list in (workflow_runs, processor_runs)]


def _missing_tables() -> Iterator[tuple[Table, Any]]:
    """Tables that the dataset has not, or not with all of their columns: what is asked of them finds them there,
    also where a platform has sent nothing for them, or an older version has made them. Not everywhere: dlt's way
    into Postgres, for one, does not take a table without a row."""
    if not traits_of(dlt.current.pipeline()).is_staged_once:
        return
    there = dlt.current.source_schema().tables
    for table in RUN_TABLES:
        columns = there[table.name]["columns"] if table.name in there else {}
        if not columns.keys() >= set(table.names):
            yield table, empty_table(table)


def one_batch_at_a_time(batches: Iterator[Tables]) -> Iterator[Tables | None]:
    """Each batch when dlt has had the tables of the one before: it takes one item of each generator in turn, and
    would hold ten batches, 130 MB of them, each with some of its tables still to come."""
    for batch in batches:
        yield batch
        yield from (None for _ in batch)


def _known_workflow_runs(sync: Sync, nested: bool, due: Sequence[ListedRun]) -> set[str]:
    """Due runs that the destination holds as they are listed: an interrupted load has brought them,
    or so many share one moment that the state does not remember them all."""
    pipeline, ids = dlt.current.pipeline(), [run.id for run in due]
    if _is_to_be_emptied():
        return set()
    if nested:
        # a run that was once seen inside another one keeps its parent when it is read on its own
        for run_id, link in lookup.nested_links(pipeline, ids).items():
            sync.links.setdefault(run_id, link)
    held = lookup.workflow_runs(pipeline, ids)
    return {run.id for run in due if run.id in held and _is_current(sync, held[run.id], run)}


def _known_processor_runs(sync: Sync, nested: bool, due: Sequence[ListedRun]) -> set[str]:
    """The same for processor runs; the workflow runs that the others came in are noted."""
    wanted = [run for run in due if run.id not in sync.arrived]
    if _is_to_be_emptied():
        return set()
    if nested:
        # a load that was cut short has read the workflow run and not what it has made
        unknown = [run.id for run in wanted if run.id not in sync.parents]
        for made in lookup.produced_runs(dlt.current.pipeline(), unknown):
            sync.parents.setdefault(made.id, ParentStep(made.workflow_run_id, made.position))
    found = lookup.processor_runs(dlt.current.pipeline(), [run.id for run in wanted])
    known = set()
    for run in wanted:
        held = found.get(run.id)
        if held is None:
            continue
        if held.workflow_run_id is not None:
            parent = ParentStep(held.workflow_run_id, held.workflow_step_position)
            sync.parents.setdefault(run.id, parent)
        if _is_current(sync, held, run):
            known.add(run.id)
    return known


def _is_to_be_emptied() -> bool:
    """dlt's `refresh` has dropped the state, and drops or empties the tables once this package is loaded: what they
    hold until then is nothing that stays."""
    state = dlt.current.load_package_state()["state"]
    return bool(state.get("dropped_tables") or state.get("truncated_tables"))


def _recording(feed: RunList, read_now: set[str]) -> RunList:
    """The feed, and the ids of what it reads are noted."""

    def read(body: bytes, run: ListedRun) -> ParsedRun:
        reading = feed.read(body, run)
        read_now.add(run.id)
        return reading

    return replace(feed, read=read)


def _unlinked(sync: Sync, feed: RunList, told: set[str], read_now: set[str]) -> RunList:
    """A feed of those runs that were loaded before the workflow run that made them told of it: their rows
    must say so. Told in this load, each is asked for once; told in an earlier one, the destination knows."""
    pipeline = dlt.current.pipeline()
    found = {made.id: made for made in lookup.unlinked(pipeline)}
    news = sorted(sync.parents.keys() - told)
    told.update(news)
    for id_, held in lookup.processor_runs(pipeline, news).items():
        if held.workflow_run_id is None:
            parent = sync.parents[id_]
            found[id_] = lookup.ProducedRun(
                id_, parent.workflow_run_id, parent.position or 0, held.status, held.updated_at
            )
    rows = []
    for made in found.values():
        if made.id not in read_now:
            sync.parents.setdefault(made.id, ParentStep(made.workflow_run_id, made.position))
            rows.append(ListedRun(made.id, made.status, None, made.updated_at))
    return replace(
        _recording(feed, read_now), name=f"{feed.name} astray", pages=lambda _: iter([rows])
    )


def _is_current(sync: Sync, held: lookup.StoredRun, run: ListedRun) -> bool:
    if sync.settings.full or sync.is_failed(run.id) or not held.is_whole:
        return False
    if run.updated_at is None and run.created_at is not None:
        return False
    return held.updated_at == run.updated_at and held.status == run.status


class _ToTables(YieldMapItem):
    """Opens a batch into its tables after any limit: a limit counts batches, so runs stay whole."""

    placement_affinity = 1.2


def add_tables(resource: Any, privacy: Privacy, hints: Hints) -> Any:
    """Let a resource that yields `Tables` fill all of them. What may not be written is gone before dlt gets it.

    `hints` are those of all resources that fill the same tables.
    """
    _keep_quiet()
    rewrites = {table.name: privacy.rewrites(table) for table in TABLES}

    # by package: dlt looks its settings up each time that it is asked for its pipeline
    holds_nul: dict[str, bool] = {}

    def open_batch(batch: Tables) -> Iterator[Any]:
        batch.taken()
        load_id = dlt.current.load_package_state()["load_id"]
        if load_id not in holds_nul:
            holds_nul[load_id] = traits_of(dlt.current.pipeline()).holds_nul
        for table, cells in batch:
            rows = rewrite_matching(cells, _not_of_documents(table), "http", strip_signed_urls)
            rows = rewrite_columns(rows, rewrites[table.name])
            if not holds_nul[load_id]:
                rows = spell_out_nul(table, rows)
            told = hints.of(table, replaced_runs(table, rows), resource.name, load_id)
            rows = add_load_id(rows, load_id)
            if told is None:
                yield dlt.mark.with_table_name(rows, table.name)
            else:
                yield dlt.mark.with_hints(rows, told, create_table_variant=True)

    resource.add_step(_ToTables(open_batch))
    return resource


@cache
def _not_of_documents(table: Table) -> list[str]:
    """Columns in which a platform may put its own URLs; one that a document says is a value like any other."""
    return [
        column.name
        for column in table.columns
        if column.type == "json" or column.name.endswith(("url", "message"))
    ]


def _keep_quiet() -> None:
    """JSON travels as Arrow strings, which is meant; dlt would warn of it for every batch. And of merge
    keys that a dataset has from before there were scopes."""
    logger = logging.getLogger("dlt")
    if not any(isinstance(f, _Meant) for f in logger.filters):
        logger.addFilter(_Meant())


class _Meant(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        said = record.getMessage()
        return (
            "several column hints were different" not in said
            and "has `merge_key` and `destination_scope`" not in said
        )
