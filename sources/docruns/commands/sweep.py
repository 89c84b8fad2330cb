"""Which loaded runs are gone from the platform? It tells nobody: they are missing from the lists.

    all lists ──► who should be listed and is not ──► one GET each: 404? ──► deleted_at, in one transaction

A list can be cut short, and rows move between pages while it is walked, so missing from a list is a suspicion.
Only a 404 or 410 for the run itself proves it. What a run's place says saves most of these requests:

    outermost workflow run      its list lacks it, and its own GET answers 404
    nested workflow run         gone when its outermost run is; lists do not show nested runs
    processor run, alone        its list lacks it, and its own GET answers 404
    processor run in a          its list lacks it, and its workflow run is gone (which a 404 proved, and which takes all
    workflow run                data along): no request. Its list lacks it, its workflow run is there: its own GET.
                                There is no such list in this version: gone when its workflow run is
    verify run                  never: a GET could use up the customer's only copy, and a list alone proves nothing

Nothing is marked unless every list was read to its end. No row is deleted; a run that is listed again, and what came
with it, loses its mark.

The marks are a plain SQL UPDATE, not a dlt load: a merge replaces whole rows, which would have to be read back from
the destination first, and it is committed table by table; this changes one cell, in one transaction, everywhere that
has SQL. It moves no state, so the next load neither knows nor minds.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..core.errors import (
    ApiError,
    BusyError,
    ConfigError,
    DocrunsError,
    MissingError,
    RefusedError,
    UnreachableError,
)
from ..net.messages import Request
from ..store import lookup
from ..store.destinations import traits_of
from ..store.environment import private_files
from ..store.failures import translate_errors
from ..store.pipeline import open_pipeline
from ..store.target import Target, exclusive, require_database, working_folder
from ..sync.inventory import InventoryRun, ListInventory, stored_runs
from ..sync.lists import Platform
from ..sync.metrics import Progress

CONFIRM = 1000
"""Runs that are asked for one by one when nothing else is said."""

FEW = 10
"""A list may lose all of so few runs; more than these gone at once are taken for the wrong workspace."""


@dataclass
class Swept:
    """What a sweep found. All counts are of runs; `still_there`: lists lack them, and they answer."""

    provider: str
    listed: dict[str, int] = field(default_factory=dict)
    marked: dict[str, int] = field(default_factory=dict)
    restored: dict[str, int] = field(default_factory=dict)
    confirmed: int = 0
    still_there: int = 0
    unconfirmed: int = 0
    requests: int = 0
    seconds: float = 0.0

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
) -> Swept:
    """Mark the runs that are gone. At most `confirm` are asked for one by one, and more only with `yes`.

    Raises DocrunsError, and then nothing is marked.
    """
    started = time.monotonic()
    require_database(target)
    swept = Swept(platform.name)
    with (
        translate_errors(target, working_folder(target)),
        exclusive(target, f"docruns sweep {platform.name}"),
        open_pipeline(platform.name, target, on_wait) as running,
        platform.client,
    ):
        if not traits_of(running).takes_updates:
            raise ConfigError(
                "--destination", f"{target.destination} keeps files, whose rows cannot be changed."
            )
        workflows, processors = stored_runs(running)
        _one_workspace([*workflows, *processors])
        lists = ListInventory(platform, progress)
        swept.listed = {name: len(rows) for name, rows in lists.rows.items()}
        if not yes:
            _same_platform(lists, [*workflows, *processors], target)
        finding = _Finding(platform, lists, swept, progress, None if yes else confirm)
        gone, back = finding.judge(workflows, processors)
        lookup.mark_deleted(running, gone, back, platform.clock())
    swept.marked = {table: len(ids) for table, ids in gone.items()}
    swept.restored = {table: len(ids) for table, ids in back.items()}
    swept.requests = platform.client.usage.requests
    swept.seconds = round(time.monotonic() - started, 3)
    return swept


class _Finding:
    """One sweep's judgement, and the requests it takes."""

    def __init__(
        self,
        platform: Platform,
        lists: ListInventory,
        swept: Swept,
        progress: Progress | None,
        most: int | None,
    ) -> None:
        self._client, self._progress = platform.client, progress
        self.lists, self.swept = lists, swept
        self._most = most

    def judge(
        self, workflows: Sequence[InventoryRun], processors: Sequence[InventoryRun]
    ) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """Runs to mark and runs that lose their mark, by table."""
        known_gone = {run.id for run in workflows if run.deleted_at and not self.lists.shows(run)}
        suspects = [r for r in workflows if r.inside is None and self._is_suspect(r)]
        # a processor run in a suspect is asked for only if that turns out to be there
        certain = {r.id for r in suspects} | known_gone
        certain |= {r.id for r in workflows if r.inside in certain}
        alone_ = [r for r in processors if self._is_suspect(r) and r.inside not in certain]
        self._refuse_many(len(suspects) + len(alone_))
        gone_workflows = self._ask(suspects)
        outermost = known_gone | gone_workflows
        nested = {r.id for r in workflows if r.inside in outermost and not self.lists.shows(r)}
        all_gone = outermost | nested
        with_theirs, asked = set(), []
        for run in processors:
            if self.lists.shows(run):
                continue
            if run.inside in all_gone:
                with_theirs.add(run.id)
            elif self._is_suspect(run):
                asked.append(run)
        self._refuse_many(self.swept.confirmed + self.swept.still_there + len(asked))
        gone_processors = self._ask(asked) | with_theirs
        gone = {
            "workflow_runs": [r.id for r in workflows if r.id in all_gone and not r.deleted_at],
            "processor_runs": [
                r.id for r in processors if r.id in gone_processors and not r.deleted_at
            ],
        }
        back_workflows = self._back(workflows, {r.id for r in workflows if self.lists.shows(r)})
        back_processors = self._back(processors, {*back_workflows})
        return gone, {"workflow_runs": back_workflows, "processor_runs": back_processors}

    def _is_suspect(self, run: InventoryRun) -> bool:
        name = self.lists.of(run)
        return run.deleted_at is None and name is not None and run.id not in self.lists.rows[name]

    def _back(self, runs: Iterable[InventoryRun], there: set[str]) -> list[str]:
        """Marked runs that are listed again, or that no list would show and whose outer run is back."""
        return [
            run.id
            for run in runs
            if run.deleted_at
            and (self.lists.shows(run) or (self.lists.of(run) is None and run.inside in there))
        ]

    def _refuse_many(self, number: int) -> None:
        if self._most is not None and number > self._most:
            raise ConfigError(
                "--confirm",
                f"{number:,} runs are in no list, and each costs a request to be sure of.",
                f"Nothing was marked. Say --yes to ask for all of them, or --confirm {number}.",
            )

    def _ask(self, suspects: Sequence[InventoryRun]) -> set[str]:
        """Those that answer 404 or 410."""
        requests: list[Request] = []
        for run in suspects:
            run_list = self.lists.lists[self.lists.of(run) or ""]
            if run_list.detail is None:
                self.swept.unconfirmed += 1
            else:
                requests.append(run_list.detail(run.id))
        gone: set[str] = set()
        for done, (request, outcome) in enumerate(self._client.get_many(requests), start=1):
            if isinstance(outcome, MissingError):
                gone.add(request.subject)
                self.swept.confirmed += 1
            elif isinstance(outcome, (RefusedError, BusyError, UnreachableError)):
                raise outcome
            elif isinstance(outcome, ApiError):
                # not known is not gone
                self.swept.unconfirmed += 1
            else:
                self.swept.still_there += 1
            if self._progress is not None:
                self._progress("confirming", "missing runs", done, len(requests))
        return gone


def _one_workspace(runs: Iterable[InventoryRun]) -> None:
    """A key sees one workspace: the runs of another would all seem gone."""
    spaces = sorted({run.workspace for run in runs if run.workspace is not None})
    if len(spaces) > 1:
        raise ConfigError(
            "--dataset",
            f"holds runs of several workspaces ({', '.join(spaces[:3])}), of which one key sees one.",
            "Give each workspace a dataset of its own.",
        )


def _same_platform(lists: ListInventory, runs: Iterable[InventoryRun], target: Target) -> None:
    """A list that shows not one of many loaded runs was cut off, or is somebody else's."""
    held, shown = Counter[str](), Counter[str]()
    for run in runs:
        name = lists.of(run)
        if name is not None and run.deleted_at is None:
            held[name] += 1
            shown[name] += run.id in lists.rows[name]
    for name, number in held.items():
        if number > FEW and not shown[name]:
            raise DocrunsError(
                f"{name}: the list shows {len(lists.rows[name]):,} runs, and none of the {number:,} that are in "
                f"{target}. Nothing was marked. Is this the right key, workspace and address? "
                "If these runs are really gone, say --yes."
            )
