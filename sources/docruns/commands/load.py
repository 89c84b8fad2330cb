"""Load a platform into a target until nothing is due: for the command `docruns load` and scheduled jobs.

    lock ──► open the database ──► clear what a crash left ──► package, package, … ──► publish ──► Summary
               (bounded wait)        (uncommitted = undone)      chunk_runs runs each

The destination is the only memory. A package commits its rows together with the state that says which runs
they are. Whatever a killed load left in the working folder is therefore deleted, and its runs (a chunk, and
those fetched ahead) are fetched again. So dlt never finds two packages at different stages in two folders,
and one working folder serves a database that was moved, copied or deleted.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import dlt
from dlt.sources import DltSource

from ..core.codec import rfc3339
from ..core.errors import LACKS_RUNS, ConfigError, DocrunsError, TransientError
from ..core.tables import QUARANTINE, WORKFLOW_RUNS
from ..net.messages import Usage
from ..providers.known_runs import FULL_LOAD_BEGUN
from ..providers.resources import make_source
from ..store import lookup
from ..store.destinations import sql_client, traits_of
from ..store.duckdb.publish import check_place, publish_copy
from ..store.failures import is_out_of_memory, translate_errors
from ..store.merges import updates
from ..store.merges.suitable import prepare
from ..store.pipeline import (
    MEMORY,
    checkpoint_aside,
    commit_state,
    limit_memory,
    load_package,
    open_pipeline,
)
from ..store.process.environment import private_files
from ..store.process.memory import gc_frozen, system_memory_pool
from ..store.process.threads import quick_thread_switches
from ..store.target import Target, exclusive, refuse_views, working_folder
from ..sync.lists import Platform, Sample
from ..sync.metrics import Progress
from ..sync.sync import Sync
from .after_load.descriptions import describe_tables
from .after_load.links import mend_links
from .answers.settings import answer_settings
from .answers.views import Client, make_views, refill_tables

logger = logging.getLogger("docruns")

RUN_RESOURCES = ("workflow_runs", "processor_runs")
"""The resources that load runs. The others load the catalogue, once a load."""


@dataclass
class Summary:
    """What one load did. `watermark` is RFC 3339; seconds are wall-clock seconds.

    `per_second` is the rate of requests over the last ten seconds in which requests were sent, or over the
    whole load. `refusals` are answers 429. `allowed_per_second` is the limit at the end of the load; None is no limit.

    `complete`: every run that the lists show is in the tables, but for those in quarantine. `gone`: listed runs
    whose details answered 404; the next load tries them again. `left_out`: lists that could not be read;
    `failed_lists` are those of them that the platform has and the key may read. `incomplete_lists`: lists that may have
    runs that they did not show, with the reason.
    """

    provider: str
    complete: bool = False
    listed: int = 0
    fetched: int = 0
    unchanged: int = 0
    quarantined: int = 0
    gone: int = 0
    left_out: list[str] = field(default_factory=list)
    failed_lists: list[str] = field(default_factory=list)
    requests: int = 0
    retries: int = 0
    refusals: int = 0
    throttled_s: float = 0.0
    per_second: float = 0.0
    allowed_per_second: float | None = None
    seconds: float = 0.0
    watermark: str | None = None
    rows: dict[str, int] = field(default_factory=dict)
    incomplete_lists: dict[str, str] = field(default_factory=dict)

    @property
    def lacks_runs(self) -> bool:
        """Runs are missing in the tables although the load has ended: the command exits with 3."""
        return bool(self.quarantined or self.gone or self.failed_lists or self.incomplete_lists)

    @property
    def exit_code(self) -> int:
        """What the command ends with: 0, or 3 where runs are missing."""
        return LACKS_RUNS if self.lacks_runs else 0

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


@dataclass(frozen=True)
class Package:
    """What one package has committed. `rows` are those of this package, by table; `watermark` is RFC 3339.

    `summary` is what the load has done so far. `part` is the part of a backfill, for example 2026-05. Of the whole
    dataset: `quarantine` counts runs in quarantine, `unfinished` workflow runs that are not final; both are None where
    the destination takes no SQL.
    """

    provider: str
    dataset: str
    load_id: str
    rows: dict[str, int]
    watermark: str | None
    summary: Summary
    quarantine: int | None
    unfinished: int | None
    part: str | None = None


OnPackage = Callable[[Package], None]

Committed = Callable[[dlt.Pipeline], None]
"""Called after a package is committed."""


@private_files()
def load_runs(
    platform: Platform,
    target: Target,
    progress: Progress | None = None,
    *,
    publish: Path | None = None,
    sample: Sample | None = None,
    on_wait: Callable[[str], None] | None = None,
    on_package: OnPackage | None = None,
) -> Summary:
    """Load all runs that are due, or those of a `sample`.

    `on_package` is called after each package is committed. An error that it raises ends the load.

    `publish` is the file that gets a copy of the finished database, replaced in one step; see
    `store/duckdb/publish`. `on_wait` gets a line when another process has the database open and the load
    waits for it.

    Raises DocrunsError. What was committed by then stays, and the next load continues there. Raises
    LockedError before it does anything if another process loads into the target.
    """
    if publish is not None:
        _check_publish(target, publish)
    # a wrong setting is an error before anything is loaded
    answer_settings()
    started, used_before = time.monotonic(), replace(platform.client.usage)

    def summarize() -> Summary:
        return _summarize(sync, used_before, time.monotonic() - started)

    def committed(running: dlt.Pipeline) -> None:
        # the package costs two queries
        if sample is None and (on_package is not None or logger.isEnabledFor(logging.INFO)):
            _tell(_package(running, sync, target, summarize()), on_package)

    folder = working_folder(target)
    with translate_errors(target, folder), exclusive(target, f"docruns load {platform.name}"):
        sync = Sync(platform, progress, sample=sample)
        source = make_source(platform.name, partial(platform.resources, sync))
        if sample is not None:
            source = source.with_resources(*RUN_RESOURCES)
        half_loaded = _load_with_limited_memory(source, sync, target, on_wait, committed)
        if publish is not None:
            if half_loaded:
                raise TransientError(
                    f"--publish: no copy was made: a killed load left {half_loaded} runs at two versions in {target}. "
                    "Load again until the summary no longer says that runs are due."
                )
            publish_copy(target.database, publish, folder.name, on_wait)
    return summarize()


def _check_publish(target: Target, publish: Path) -> None:
    if not target.traits.has_file:
        raise ConfigError("--publish", f"needs a DuckDB database, not {target.destination}.")
    check_place(target.database, publish)


def _package(running: dlt.Pipeline, sync: Sync, target: Target, summary: Summary) -> Package:
    """The package that was committed last."""
    return Package(
        provider=sync.platform.name,
        dataset=target.dataset,
        load_id=sync.load_id,
        rows=sync.metrics.package_rows(),
        watermark=summary.watermark,
        summary=summary,
        quarantine=lookup.count_rows(running, QUARANTINE, "resolved_at IS NULL"),
        unfinished=lookup.count_rows(running, WORKFLOW_RUNS, "is_final = %s AND deleted_at IS NULL", False),
        part=sync.plans.part,
    )


def _tell(package: Package, on_package: OnPackage | None) -> None:
    about = {name: getattr(package, name) for name in _LOGGED}
    logger.info(
        "%s: a package with %s rows is committed, watermark %s",
        package.provider, f"{sum(package.rows.values()):,}", package.watermark or "-", extra=about,
    )  # fmt: skip
    if on_package is not None:
        on_package(package)


_LOGGED = ("provider", "dataset", "load_id", "part", "rows", "watermark", "quarantine", "unfinished")
"""The figures of a package that its log record has as attributes."""


def _load_with_limited_memory(
    source: DltSource, sync: Sync, target: Target, on_wait: Callable[[str], None] | None, committed: Committed
) -> int:
    """Load with a limit on DuckDB's memory. If that is not enough, load once more without it."""
    try:
        return _load_until_done(source, sync, target, on_wait, committed, MEMORY)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    # the package is undone as after a crash
    sync.start_over()
    return _load_until_done(source, sync, target, on_wait, committed, None)


def _load_until_done(
    source: DltSource,
    sync: Sync,
    target: Target,
    on_wait: Callable[[str], None] | None,
    committed: Committed,
    memory: str | None,
) -> int:
    """Load all packages. Returns how many runs a killed load has left at two versions."""
    # the sync stays open from one package to the next: the next runs are fetched while dlt loads
    with (
        open_pipeline(sync.platform.name, target, on_wait) as running,
        sync,
        gc_frozen(),
        system_memory_pool(),
        quick_thread_switches(),
    ):
        check_provider(running, sync.platform.name, target)
        # before the first request; the sources do so too, for pipelines that run without the command
        prepare(running)
        if memory is not None and target.traits.has_file:
            limit_memory(running, memory)
        _load_packages(running, source, sync, target, committed)
        _mark_gone(running, sync)
        if sync.platform.replay is not None:
            sync.platform.replay.finish(running)
        if sync.platform.has_nested_runs and not sync.is_sample and traits_of(running).takes_updates:
            mend_links(running)
        if traits_of(running).takes_updates:
            updates.link_failed_runs(running)
            updates.drop_old_states(running)
        describe_dataset(running)
        # half-loaded runs may lie outside of a window, where no load fetches them again
        is_window = sync.settings.since is not None or sync.settings.until is not None
        return 0 if sync.is_complete and not is_window else lookup.count_half_loaded(running)


def describe_dataset(running: dlt.Pipeline) -> None:
    """Store the descriptions of tables and columns, and make the views of the models, where the destination has them."""
    if traits_of(running).comments_query:
        with sql_client(running) as client:
            describe_tables(running, client)
            _make_views(running, client)


def _make_views(running: dlt.Pipeline, client: Client) -> None:
    """The rows are loaded: a view that cannot be made is a warning. Models that are tables are filled in any case."""
    columns = {name: set(table["columns"]) for name, table in running.default_schema.tables.items()}
    try:
        if answer_settings().views:
            make_views(client, traits_of(running), columns)
        else:
            refill_tables(client, traits_of(running))
    except DocrunsError as error:
        logger.warning("%s", error)


def check_provider(running: dlt.Pipeline, provider: str, target: Target) -> None:
    """ConfigError where the target's dataset holds runs of another platform, or views of a lake."""
    refuse_views(running, target)
    for other in lookup.providers(running) - {provider}:
        raise ConfigError(
            "--dataset",
            f"{target.dataset} holds runs of {other}.",
            "Each platform needs a dataset of its own: name another one.",
        )


def _load_packages(
    running: dlt.Pipeline, source: DltSource, sync: Sync, target: Target, committed: Committed
) -> None:
    """Load packages, at least one. While one is extracted, the one before is checkpointed."""
    with ThreadPoolExecutor(1, "docruns-checkpoint") as executor:
        if sync.settings.full and not sync.is_sample and traits_of(running).takes_updates:
            commit_state(running, sync.platform.name, FULL_LOAD_BEGUN)
        load_package(running, source, target)
        committed(running)
        checkpoint = checkpoint_aside(running, target, executor)
        # the first package has loaded the catalogue
        runs = source.with_resources(*RUN_RESOURCES)
        while sync.may_go_on:
            load_package(running, runs, target)
            committed(running)
            checkpoint.result()
            checkpoint = checkpoint_aside(running, target, executor)
        checkpoint.result()


def _mark_gone(running: dlt.Pipeline, sync: Sync) -> None:
    """Mark runs that are deleted, as a sweep would: two loads got 404, and the list shows them no more."""
    gone: dict[str, list[str]] = {name: [] for name in RUN_RESOURCES}
    for name, run_id in sync.gone:
        gone["workflow_runs" if name == "workflow_runs" else "processor_runs"].append(run_id)
    if sync.gone and traits_of(running).takes_updates:
        at = sync.clock()
        if sync.platform.archive is not None:
            sync.platform.archive.mark_deleted([id_ for _, id_ in sync.gone], (), at)
        updates.mark_deleted(running, gone, {}, at)


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
        gone=counts.gone,
        left_out=list(sync.plans.left_out),
        failed_lists=sync.plans.failed_lists,
        requests=requests,
        retries=used.retries - before.retries,
        refusals=used.refusals - before.refusals,
        throttled_s=round(used.throttled_s - before.throttled_s, 3),
        per_second=round(used.per_second or requests / max(seconds, 0.001), 2),
        allowed_per_second=used.allowed_per_second and round(used.allowed_per_second, 2),
        seconds=round(seconds, 3),
        watermark=rfc3339(mark) if mark else None,
        rows=dict(sync.metrics.rows),
        incomplete_lists=dict(sync.plans.incomplete_lists),
    )
