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
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import dlt
from dlt.sources import DltSource

from ..core.codec import rfc3339
from ..core.errors import ConfigError, DocrunsError
from ..store import destinations, lookup
from ..store.duckdb.publish import check_place
from ..store.duckdb.publish import publish_copy as put_in_place
from ..store.environment import private_files
from ..store.failures import is_out_of_memory, translate_errors
from ..store.memory import gc_frozen, system_memory_pool
from ..store.pipeline import MEMORY, checkpoint_aside, limit_memory, load_package, open_pipeline
from ..store.target import Target, exclusive, working_folder
from ..sync.metrics import Progress
from ..sync.sync import Sync

CHUNK_RUNS = 1000
"""Runs per load package when the configuration says nothing: what a kill can cost."""

MakeSource = Callable[[Callable[[Sync], None]], DltSource]
"""Builds a provider's source; what it is given is called with the load's `Sync`."""

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
    make_source: MakeSource,
    target: Target,
    progress: Progress | None = None,
    *,
    publish: Path | None = None,
    on_wait: Callable[[str], None] | None = None,
) -> Summary:
    """Load all that is due. `make_source(on_sync)` builds the provider's source.

    `publish` is where a copy of the finished database is put in one step, for readers; see that module.
    `on_wait` is told when the database is open elsewhere and this waits for it.

    Raises DocrunsError; what was committed until then stays, and the next load goes on from there.
    LockedError before anything else where another process loads into the target.
    """
    if publish is not None:
        if target.destination != "duckdb":
            raise ConfigError("--publish", f"needs a DuckDB database, not {target.destination}.")
        check_place(target.database, publish)
    started = time.monotonic()
    syncs: list[Sync] = []

    def on_sync(sync: Sync) -> None:
        sync.progress = progress
        syncs.append(sync)

    with translate_errors(target, working_folder(target)):
        source = make_source(on_sync)
        sync = syncs[0]
        with exclusive(target, f"docruns load {sync.provider}"):
            try:
                torn = _load_all(source, sync, target, on_wait, MEMORY)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                # undone as after a crash, and once more with all the memory there is
                sync.start_over()
                torn = _load_all(source, sync, target, on_wait, None)
            if publish is not None and torn:
                raise DocrunsError(
                    f"--publish: a killed load left {torn} runs at two versions in {target}; "
                    "load until all is done, then the copy is made."
                )
            if publish is not None:
                put_in_place(target.database, publish, working_folder(target).name, on_wait)
    return _summary(sync, time.monotonic() - started)


def _load_all(
    source: DltSource,
    sync: Sync,
    target: Target,
    on_wait: Callable[[str], None] | None,
    memory: str | None,
) -> int:
    """Package by package; how many runs a killed load before has left at two versions."""
    # open from one package to the next: what comes next is fetched while dlt loads
    with (
        open_pipeline(sync.provider, target, on_wait) as running,
        ThreadPoolExecutor(1, "docruns-checkpoint") as aside,
        sync,
        gc_frozen(),
        system_memory_pool(),
    ):
        for other in lookup.providers(running) - {sync.provider}:
            raise ConfigError(
                "--dataset",
                f"{target.dataset} holds runs of {other}.",
                "Each platform needs a dataset of its own.",
            )
        written = None
        if memory is not None and target.destination == "duckdb":
            limit_memory(running, memory)
        runs: Any = source
        while True:
            load_package(running, runs, target)
            if written is not None:
                written.result()
            written = checkpoint_aside(running, target, aside)
            if not sync.may_go_on:
                break
            # the catalogue is read once a load
            runs = source.with_resources(*_RUN_LISTS)
        written.result()
        _mark_gone(running, sync)
        # what a killed load left at two versions may lie outside of a window
        is_window = sync.settings.since is not None or sync.settings.until is not None
        return 0 if sync.complete and not is_window else lookup.count_half_loaded(running)


def _summary(sync: Sync, seconds: float) -> Summary:
    used = sync.client.usage
    mark: datetime | None = sync.watermark
    return Summary(
        provider=sync.provider,
        complete=sync.complete,
        listed=sync.counts.listed,
        fetched=sync.counts.fetched,
        unchanged=sync.counts.unchanged,
        quarantined=sync.counts.quarantined,
        requests=used.requests,
        retries=used.retries,
        throttled_s=round(used.throttled_s, 3),
        per_second=round(used.per_second or used.requests / max(seconds, 0.001), 2),
        allowed_per_second=used.allowed_per_second and round(used.allowed_per_second, 2),
        seconds=round(seconds, 3),
        watermark=rfc3339(mark) if mark else None,
        rows=dict(sync.rows),
    )


def _mark_gone(running: dlt.Pipeline, sync: Sync) -> None:
    """Runs that were listed and answered 404 a moment later: sweep would find the same."""
    gone: dict[str, list[str]] = {name: [] for name in _RUN_LISTS}
    for feed, run_id in sync.gone:
        gone["workflow_runs" if feed == "workflow_runs" else "processor_runs"].append(run_id)
    if sync.gone and destinations.takes_updates(running):
        lookup.mark_deleted(running, gone, {}, sync.clock())
