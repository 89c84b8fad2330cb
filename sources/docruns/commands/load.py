"""Run a source until nothing is due: pipeline, database and packages. What the command and jobs call.

    lock ──► open the database ──► clear what a crash left ──► package, package, … ──► publish ──► Summary
               (bounded wait)        (uncommitted = undone)      chunk_runs runs each

The destination is the only memory. A package's rows and the state that says so are committed together,
so whatever a killed load left in the working folder is thrown away and its runs, a chunk and what was ahead, are
fetched again. That also leaves no place for dlt's wedges between two folders, and lets one working
folder serve a database that was moved, copied or deleted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import dlt
from dlt.sources import DltSource

from ..core.errors import ConfigError, DocrunsError
from ..net.messages import Usage
from ..providers.resources import make_source
from ..store import lookup
from ..store.destinations import traits_of
from ..store.duckdb.publish import check_place, publish_copy
from ..store.environment import private_files
from ..store.failures import is_out_of_memory, translate_errors
from ..store.memory import gc_frozen, system_memory_pool
from ..store.pipeline import MEMORY, checkpoint_aside, limit_memory, load_package, open_pipeline
from ..store.target import Target, exclusive, working_folder
from ..sync.lists import Platform
from ..sync.metrics import Progress
from ..sync.sync import Sample, Sync

CHUNK_RUNS = 1000
"""Runs per load package when the configuration says nothing: what a kill can cost."""

_RUN_LISTS = ("workflow_runs", "processor_runs")


@dataclass
class Summary:
    """What one load did. `watermark` is RFC 3339; seconds are wall-clock seconds.

    `per_second` is requests over the last ten seconds in which some were sent, or over all of it, and
    `allowed_per_second` what the budget allowed by then; None is no limit.
    """

    provider: str
    complete: bool = False
    listed: int = 0
    fetched: int = 0
    unchanged: int = 0
    quarantined: int = 0
    requests: int = 0
    retries: int = 0
    throttled_s: float = 0.0
    per_second: float = 0.0
    allowed_per_second: float | None = None
    seconds: float = 0.0
    watermark: str | None = None
    rows: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


@private_files()
def load_runs(
    platform: Platform,
    target: Target,
    progress: Progress | None = None,
    *,
    publish: Path | None = None,
    sample: Sample | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> Summary:
    """Load all runs that are due, or those of a `sample`.

    `publish` is where readers get a finished copy of the database, put in place in one step; see that module.
    `on_wait` gets a line when another process has the database open and the load waits for it.

    Raises DocrunsError; what was committed until then stays, and the next load goes on from there.
    LockedError before anything else where another process loads into the target.
    """
    if publish is not None:
        if not target.traits.has_file:
            raise ConfigError("--publish", f"needs a DuckDB database, not {target.destination}.")
        check_place(target.database, publish)
    started, used_before = time.monotonic(), replace(platform.client.usage)
    folder = working_folder(target)
    with (
        translate_errors(target, folder),
        exclusive(target, f"docruns load {platform.name}"),
    ):
        sync = Sync(platform, progress, sample=sample)
        source = make_source(sync)
        if sample is not None:
            source = source.with_resources(*_RUN_LISTS)
        half_loaded = _load_with_little_memory(source, sync, target, on_wait)
        if publish is not None:
            if half_loaded:
                raise DocrunsError(
                    f"--publish: a killed load left {half_loaded} runs at two versions in {target}; "
                    "load until all is done, then the copy is made."
                )
            publish_copy(target.database, publish, folder.name, on_wait)
    return _summarize(sync, used_before, time.monotonic() - started)


def _load_with_little_memory(
    source: DltSource, sync: Sync, target: Target, on_wait: Callable[[str], None] | None
) -> int:
    """Load with DuckDB's memory limited, and once more without a limit where that does not do."""
    try:
        return _load_packages(source, sync, target, on_wait, MEMORY)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    # the package is undone as after a crash
    sync.start_over()
    return _load_packages(source, sync, target, on_wait, None)


def _load_packages(
    source: DltSource,
    sync: Sync,
    target: Target,
    on_wait: Callable[[str], None] | None,
    memory: str | None,
) -> int:
    """Load package by package. Gives how many runs a killed load has left at two versions."""
    # the sync stays open from one package to the next: the next runs are fetched while dlt loads
    with (
        open_pipeline(sync.platform.name, target, on_wait) as running,
        ThreadPoolExecutor(1, "docruns-checkpoint") as executor,
        sync,
        gc_frozen(),
        system_memory_pool(),
    ):
        for other in lookup.providers(running) - {sync.platform.name}:
            raise ConfigError(
                "--dataset",
                f"{target.dataset} holds runs of {other}.",
                "Each platform needs a dataset of its own.",
            )
        if memory is not None and target.traits.has_file:
            limit_memory(running, memory)
        checkpoint: Future[None] | None = None
        runs: Any = source
        while True:
            load_package(running, runs, target)
            if checkpoint is not None:
                checkpoint.result()
            checkpoint = checkpoint_aside(running, target, executor)
            if not sync.may_go_on:
                break
            # the catalogue is read once a load
            runs = source.with_resources(*_RUN_LISTS)
        checkpoint.result()
        _mark_gone(running, sync)
        # what a killed load has left at two versions may lie outside of a window
        is_window = sync.settings.since is not None or sync.settings.until is not None
        return 0 if sync.is_complete and not is_window else lookup.count_half_loaded(running)


def _summarize(sync: Sync, before: Usage, seconds: float) -> Summary:
    used, counts = sync.client.usage, sync.metrics.counts
    requests = used.requests - before.requests
    mark: datetime | None = sync.watermark
    return Summary(
        provider=sync.platform.name,
        complete=sync.is_complete,
        listed=counts.listed,
        fetched=counts.fetched,
        unchanged=counts.unchanged,
        quarantined=counts.quarantined,
        requests=requests,
        retries=used.retries - before.retries,
        throttled_s=round(used.throttled_s - before.throttled_s, 3),
        per_second=round(used.per_second or requests / max(seconds, 0.001), 2),
        allowed_per_second=used.allowed_per_second and round(used.allowed_per_second, 2),
        seconds=round(seconds, 3),
        watermark=mark.isoformat().replace("+00:00", "Z") if mark else None,
        rows=dict(sync.metrics.rows),
    )


def _mark_gone(running: dlt.Pipeline, sync: Sync) -> None:
    """Mark runs that were listed and answered 404 a moment later, as a sweep would."""
    gone: dict[str, list[str]] = {name: [] for name in _RUN_LISTS}
    for name, run_id in sync.gone:
        gone["workflow_runs" if name == "workflow_runs" else "processor_runs"].append(run_id)
    if sync.gone and traits_of(running).takes_updates:
        lookup.mark_deleted(running, gone, {}, sync.clock())
