"""Finds loaded runs that the platform has deleted: the API reports no deletion, but its lists lack them.

    all lists ──► loaded runs that they lack ──► one GET each: 404? ──► deleted_at, in one transaction

A list can be cut short, and rows move between pages while it is read, so a run that a list lacks is only a
suspect. Only a 404 or 410 for the run itself proves that it is deleted. The place of a run saves most of
these requests:

    outermost workflow run      deleted if its list lacks it and its own GET answers 404
    nested workflow run         deleted if its outermost run is; lists do not show nested runs
    processor run, alone        deleted if its list lacks it and its own GET answers 404
    processor run in a          if its list lacks it and its workflow run is deleted: deleted, without a request (a 404
    workflow run                proved it for the workflow run, and its data go with it). If its list lacks it and its
                                workflow run is there: its own GET decides. If the API version has no such list:
                                deleted if its workflow run is
    verify run                  never marked on its own: a GET could use up the customer's only copy, and a list alone
                                proves nothing

Nothing is marked unless every list was read to its end. No row is deleted. A run that is listed again loses
its mark, together with the runs inside it.

The marks are a plain SQL UPDATE, not a dlt load. A merge replaces whole rows, which would have to be read
back from the destination first, and commits table by table; the UPDATE changes one cell, in one transaction,
on every destination that has SQL. It changes no state, so it does not affect the next load.
"""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Any

from ...core.errors import (
    ApiError,
    BusyError,
    ConfigError,
    DocrunsError,
    MissingError,
    RefusedError,
    TransientError,
    UnreachableError,
)
from ...core.settings import CONFIRM
from ...net.messages import Request
from ...providers.identity import check_stored_identity, require_runs
from ...store.destinations import sql_client, traits_of
from ...store.failures import translate_errors
from ...store.lookup import Pipeline, values_of
from ...store.merges.updates import mark_deleted
from ...store.pipeline import open_pipeline
from ...store.process.environment import private_files
from ...store.target import Target, exclusive, refuse_views, require_database, working_folder
from ...sync.inventory import InventoryRun, ListInventory, stored_processor_runs, stored_workflow_runs
from ...sync.lists import Platform
from ...sync.metrics import Progress
from ..answers.settings import answer_settings
from ..answers.views import refill_tables

logger = logging.getLogger("docruns")

FEW = 10
"""A list may lose all of up to this many runs. More are probably those of another workspace."""


@dataclass
class SweepResult:
    """What a sweep found. All counts are of runs. `still_there`: missing from the lists, but they answer."""

    provider: str
    listed: dict[str, int] = field(default_factory=dict)
    marked: dict[str, int] = field(default_factory=dict)
    restored: dict[str, int] = field(default_factory=dict)
    confirmed: int = 0
    still_there: int = 0
    unconfirmed: int = 0
    requests: int = 0
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """What the command ends with: a sweep that does not raise has done its work."""
        return 0

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


@private_files()
def sweep_deleted(
    platform: Platform,
    target: Target,
    progress: Progress | None = None,
    *,
    confirm: int = CONFIRM,
    yes: bool = False,
    on_wait: Callable[[str], None] | None = None,
) -> SweepResult:
    """Mark deleted runs. Sends at most `confirm` requests for single runs, or any number with `yes`.

    Raises DocrunsError, and then nothing is marked; a wrong setting is refused before the first request.
    """
    started = time.monotonic()
    answer_settings()
    require_database(target)
    result = SweepResult(platform.name)
    with (
        translate_errors(target, working_folder(target)),
        exclusive(target, f"docruns sweep {platform.name}"),
        open_pipeline(platform.name, target, on_wait) as running,
        platform.client,
    ):
        if not traits_of(running).takes_updates:
            reason = f"{target.destination} keeps files, whose rows cannot be changed."
            raise ConfigError("--destination", reason)
        refuse_views(running, target)
        require_runs(platform.name, running, str(target))
        check_stored_identity(platform, running)
        _check_one_workspace(running)
        lists = ListInventory(platform, progress)
        result.listed = {name: len(rows) for name, rows in lists.rows.items()}
        stored = _Stored(running, lists)
        if not yes:
            _check_whole(lists)
            _check_same_platform(lists, stored, target)
        search = _Search(platform, lists, result, progress, None if yes else confirm)
        gone = search.find_deleted(stored.workflows, stored.processors)
        back = search.find_restored(stored.workflows, stored.processors)
        at = platform.clock()
        if platform.archive is not None:
            platform.archive.mark_deleted(chain(*gone.values()), chain(*back.values()), at)
        mark_deleted(running, gone, back, at)
        if any((*gone.values(), *back.values())):
            _fill_models(running, target)
    result.marked = {table: len(ids) for table, ids in gone.items()}
    result.restored = {table: len(ids) for table, ids in back.items()}
    result.requests = platform.client.usage.requests
    result.seconds = round(time.monotonic() - started, 3)
    return result


def _fill_models(running: Pipeline, target: Target) -> None:
    """Models that are tables lose the runs that are gone. The runs are marked: what cannot be filled is a warning."""
    with sql_client(running) as client:
        try:
            refill_tables(client, target.traits)
        except DocrunsError as error:
            logger.warning("%s", error)


class _Stored:
    """The loaded runs that a sweep may mark or unmark. Of all others it keeps no more than their number.

    `workflows`, `processors`: runs that are marked, runs that their list lacks, and what hangs in these. `counts`: runs
    without a mark by list, all of them and those that the list shows.
    """

    def __init__(self, running: Pipeline, lists: ListInventory) -> None:
        self._lists = lists
        self.counts: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
        self.workflows = [run for run in stored_workflow_runs(running) if self._is_of_interest(run)]
        found = {run.id for run in self.workflows}
        if found:
            # a nested run hangs in an outermost one, which may come later
            around = {run.inside for run in self.workflows}
            self.workflows += [
                run
                for run in stored_workflow_runs(running)
                if run.id not in found and (run.inside in found or run.id in around)
            ]
            found.update(run.id for run in self.workflows)
        self.processors = [
            run
            for run in stored_processor_runs(running)
            if self._is_of_interest(run) or (run.inside in found and not lists.shows(run))
        ]

    def _is_of_interest(self, run: InventoryRun) -> bool:
        """Whether the run is marked, or its list lacks it. Counts it."""
        if run.deleted_at is not None:
            return True
        if (name := self._lists.of(run)) is None:
            return False
        is_listed = run.id in self._lists.rows[name]
        count = self.counts[name]
        count[0] += 1
        count[1] += is_listed
        return not is_listed


def _check_one_workspace(running: Pipeline) -> None:
    """A key sees one workspace: all runs of another one would seem to be deleted."""
    found = {
        name
        for table in ("workflow_runs", "processor_runs")
        for name in values_of(running, table, "workspace")
    }
    workspaces = sorted(name for name in found if name is not None)
    if len(workspaces) > 1:
        raise ConfigError(
            "--dataset",
            f"holds runs of several workspaces ({', '.join(workspaces[:3])}), and one key sees only one.",
            "Load each workspace into a dataset of its own.",
        )


def _check_whole(lists: ListInventory) -> None:
    for name, doubt in lists.incomplete_lists.items():
        raise TransientError(
            f"{name}: the list may lack runs: {doubt}. Nothing was marked. Sweep again later. If it says the same, add "
            "--yes: a run that the list does not show is then marked if it answers 404."
        )


def _check_same_platform(lists: ListInventory, stored: _Stored, target: Target) -> None:
    """A list that shows none of many loaded runs was cut off, or belongs to another workspace."""
    for name, (number, listed) in stored.counts.items():
        if number > FEW and not listed:
            raise DocrunsError(
                f"{name}: the list shows {len(lists.rows[name]):,} runs, and none of the {number:,} that are in "
                f"{target}. Nothing was marked. Check the key, the workspace and the address. "
                "If the platform has really deleted these runs, add --yes."
            )


class _Search:
    """Finds the runs to mark and the runs to unmark, and sends the requests that this takes."""

    def __init__(
        self,
        platform: Platform,
        lists: ListInventory,
        result: SweepResult,
        progress: Progress | None,
        max_requests: int | None,
    ) -> None:
        self._client, self._progress = platform.client, progress
        self._lists, self._result = lists, result
        self._max_requests = max_requests

    def find_deleted(
        self, workflows: Sequence[InventoryRun], processors: Sequence[InventoryRun]
    ) -> dict[str, list[str]]:
        """Runs to mark, by table."""
        marked = {run.id for run in workflows if run.deleted_at and not self._lists.shows(run)}
        suspects = [r for r in workflows if r.inside is None and self._is_suspect(r)]
        # a processor run in a suspect costs a request only if the suspect turns out to be there
        certain = {r.id for r in suspects} | marked
        certain |= {r.id for r in workflows if r.inside in certain}
        others = [r for r in processors if self._is_suspect(r) and r.inside not in certain]
        self._refuse_many(len(suspects) + len(others))

        outermost = marked | self._confirm(suspects)
        nested = {r.id for r in workflows if r.inside in outermost and not self._lists.shows(r)}
        gone_workflows = outermost | nested
        gone_processors = self._find_deleted_processors(processors, gone_workflows)
        return {
            "workflow_runs": _unmarked(workflows, gone_workflows),
            "processor_runs": _unmarked(processors, gone_processors),
        }

    def _find_deleted_processors(
        self, processors: Sequence[InventoryRun], gone_workflows: set[str]
    ) -> set[str]:
        """Processor runs whose workflow run is deleted, and those that answer 404 themselves."""
        unlisted = [run for run in processors if not self._lists.shows(run)]
        with_workflow = {run.id for run in unlisted if run.inside in gone_workflows}
        suspects = [r for r in unlisted if r.inside not in gone_workflows and self._is_suspect(r)]
        self._refuse_many(self._result.confirmed + self._result.still_there + len(suspects))
        return with_workflow | self._confirm(suspects)

    def find_restored(
        self, workflows: Sequence[InventoryRun], processors: Sequence[InventoryRun]
    ) -> dict[str, list[str]]:
        """Runs that lose their mark, by table."""
        listed = {run.id for run in workflows if self._lists.shows(run)}
        back = self._back(workflows, listed)
        return {"workflow_runs": back, "processor_runs": self._back(processors, set(back))}

    def _back(self, runs: Iterable[InventoryRun], outer: set[str]) -> list[str]:
        """Marked runs that are listed again, or that no list shows and whose run is in `outer`."""
        return [
            run.id
            for run in runs
            if run.deleted_at
            and (self._lists.shows(run) or (self._lists.of(run) is None and run.inside in outer))
        ]

    def _is_suspect(self, run: InventoryRun) -> bool:
        name = self._lists.of(run)
        return run.deleted_at is None and name is not None and run.id not in self._lists.rows[name]

    def _refuse_many(self, number: int) -> None:
        if self._max_requests is not None and number > self._max_requests:
            raise ConfigError(
                "--confirm",
                f"{number:,} runs are in no list, and each costs one request to confirm that it is deleted.",
                f"Nothing was marked. Add --confirm {number} to allow these requests, or --yes to allow any number.",
            )

    def _confirm(self, suspects: Sequence[InventoryRun]) -> set[str]:
        """Those that answer 404 or 410."""
        requests: list[Request] = []
        for run in suspects:
            run_list = self._lists.lists[self._lists.of(run) or ""]
            if run_list.detail is None:
                self._result.unconfirmed += 1
            else:
                requests.append(run_list.detail(run.id))
        gone: set[str] = set()
        for done, (request, outcome) in enumerate(self._client.get_many(requests), start=1):
            if isinstance(outcome, MissingError):
                gone.add(request.subject)
                self._result.confirmed += 1
            elif isinstance(outcome, (RefusedError, BusyError, UnreachableError)):
                raise outcome
            elif isinstance(outcome, ApiError):
                # any other error proves nothing
                self._result.unconfirmed += 1
            else:
                self._result.still_there += 1
            if self._progress is not None:
                self._progress("confirming", "missing runs", done, len(requests))
        return gone


def _unmarked(runs: Iterable[InventoryRun], ids: set[str]) -> list[str]:
    return [run.id for run in runs if run.id in ids and not run.deleted_at]
