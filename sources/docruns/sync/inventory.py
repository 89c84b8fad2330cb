"""All runs that the lists show, and all runs that the destination stores, for `sweep` and `verify`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from itertools import chain, starmap
from typing import NamedTuple

from ..core.errors import ApiError
from ..core.privacy import storage_mode_error
from ..store import lookup
from ..store.lookup import Pipeline
from .listed import Dates
from .lists import Platform, RunList, is_about_list, left_out_stage
from .metrics import Progress
from .quarantine import redacted_message

CONFIRMABLE_TYPES = frozenset({"EXTRACT", "CLASSIFY", "SPLIT"})


class InventoryRun(NamedTuple):
    """A stored run. `inside` is the workflow run that contains it, if any."""

    id: str
    updated_at: datetime | None
    deleted_at: datetime | None
    api_version: str | None
    workspace: str | None
    inside: str | None
    type: str | None = None
    """Of a processor run; None for workflow runs."""


class ListInventory:
    """All lists of a platform, read to their ends, without those that the platform lacks or the key may not read.

    `is_check`: read them in another way than a load does, where the platform has one, and go on where one fails.
    `incomplete_lists`: lists that failed, or that may have runs that they did not show, with the reason.
    """

    def __init__(
        self, platform: Platform, progress: Progress | None = None, *, is_check: bool = False
    ) -> None:
        self.lists: dict[str, RunList] = {}
        self.incomplete_lists: dict[str, str] = {}
        self.main = platform.workflow_runs.name
        self.rows: dict[str, Dates] = {}
        report = progress or (lambda *_: None)
        for run_list in platform.lists:
            rows = Dates()
            read = (is_check and run_list.other_pages) or partial(run_list.pages, None)
            try:
                for page in read():
                    for run in page:
                        if run.id:
                            rows.keep_latest(run.id, run.updated_at)
                    report("listing", run_list.name, len(rows), None)
            except ApiError as error:
                if not run_list.optional or not is_about_list(error):
                    raise
                stage = left_out_stage(error)
                if stage == "failed" and not is_check:
                    raise
                report(stage, run_list.name, 0, None)
                if stage == "failed":
                    self.incomplete_lists[run_list.name] = redacted_message(error, platform.settings.privacy)
                continue
            if (doubt := run_list.doubt()) is not None:
                self.incomplete_lists[run_list.name] = doubt
            self.lists[run_list.name] = run_list
            self.rows[run_list.name] = rows
            report("listed", run_list.name, len(rows), len(rows))

    def of(self, run: InventoryRun) -> str | None:
        """The list that would show a run: None where none would. Ids differ between Extend's versions, so a
        processor run is looked for in the lists of the version it was read with."""
        if run.type is None:
            return None if run.inside is not None else self.main
        if "extractions" in self.rows:
            return "extractions"
        if run.api_version == "2026-02-09":
            name = f"{run.type.lower()}_runs"
        else:
            name = "processor_runs" if run.type in CONFIRMABLE_TYPES else ""
        return name if name in self.rows else None

    def shows(self, run: InventoryRun) -> bool:
        """A list shows the run, whether it must or not."""
        name = self.main if run.type is None else self.of(run)
        return name is not None and run.id in self.rows[name]


def stored_workflow_runs(running: Pipeline) -> Iterator[InventoryRun]:
    """The workflow runs of the database, one after the other."""
    columns = (*InventoryRun._fields[:5], "parent_run_id", "root_run_id")
    for *cells, parent, root in lookup.columns_of(running, "workflow_runs", columns):
        yield InventoryRun._make((*cells, root if parent is not None else None, None))


def stored_processor_runs(running: Pipeline) -> Iterator[InventoryRun]:
    """The processor runs of the database, one after the other."""
    columns = (*InventoryRun._fields[:5], "workflow_run_id", "type")
    return starmap(InventoryRun, lookup.columns_of(running, "processor_runs", columns))


def stored_runs(running: Pipeline) -> Iterator[InventoryRun]:
    """All runs of the database, one after the other."""
    return chain(stored_workflow_runs(running), stored_processor_runs(running))


def quarantined_runs(running: Pipeline) -> set[tuple[str, str]]:
    """Resource and id of each run that is in quarantine now."""
    rows = lookup.columns_of(running, "quarantine", ("resource", "id", "resolved_at"))
    return {(resource, id_) for resource, id_, resolved_at in rows if resolved_at is None}


def check_stored_privacy(platform: Platform, running: Pipeline) -> None:
    """ConfigError if the destination stores private columns in another way than the settings say."""
    now = platform.settings.privacy.mark
    if (then := lookup.stored_privacy(running) or now) != now:
        raise storage_mode_error(then, now, f"sources.{platform.name}")
