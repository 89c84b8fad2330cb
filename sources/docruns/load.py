"""Run a source until nothing is due: pipeline, database and packages. What the command and jobs call.

    lock ──► open the database ──► clear what a crash left ──► package, package, … ──► publish ──► Summary
               (bounded wait)        (uncommitted = undone)      chunk_runs runs each

The destination is the only memory. A package's rows and the state that says so are committed together,
so whatever a killed load left in the working folder is thrown away and its runs, a chunk and what was ahead, are
fetched again. That also leaves no place for dlt's wedges between two folders, and lets one working
folder serve a database that was moved, copied or deleted.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import dlt
from dlt.common.configuration.utils import get_resolved_traces
from dlt.common.runtime.run_context import active
from dlt.sources import DltSource

from . import loaded
from .arrow import giving_back
from .errors import ConfigError, DocrunsError, LockedError
from .guard import guarded
from .lock import Holder, checkpoint, held, holder, open_database
from .merging import MergingDuckDb
from .mishaps import check_folder, explained, is_out_of_memory
from .pause import frozen
from .publish import check as check_place
from .publish import publish as put_in_place
from .sync import Sync
from .tally import Progress

CHUNK_RUNS = 1000
"""Runs per load package when the configuration says nothing: what a kill can cost."""

MEMORY = "80MB"
"""What DuckDB may take: it spills beyond. Without, it keeps what it has read or written of the database: a
first load of 100,000 runs peaked at 990 MB instead of 520, and took as long. With 150 MB heavy runs would take
3 % less time, and 60 MB more."""

_THRIFT = {
    "allocator_flush_threshold": "1MB",
    "allocator_bulk_deallocation_flush_threshold": "1MB",
    "allocator_background_threads": "true",
    "preserve_insertion_order": "false",
    "threads": "2",
}
"""Give freed memory back at once, 80 MB less at the peak, keep no order that nobody asks for, and let
no more threads share the memory than it does for."""

_LOADING_DUCKDB = {"LOAD__RAISE_ON_MAX_RETRIES": "1"}
"""How dlt loads into DuckDB: what fails is not tried again in the same memory, where the transaction that
failed may still be in its way."""

MakeSource = Callable[[Callable[[Sync], None]], DltSource]
"""Builds a provider's source; what it is given is called with the load's `Sync`."""

_RUN_LISTS = ("workflow_runs", "processor_runs")
_REMOVE_S = 5.0


@dataclass(frozen=True)
class Target:
    """Where rows go: a DuckDB file, or any dlt destination by name with its own configuration."""

    dataset: str
    database: Path = Path("docruns.duckdb")
    destination: str = "duckdb"

    def __str__(self) -> str:
        return str(self.database) if self.destination == "duckdb" else self.destination


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


@guarded()
def load(
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

    with explained(target, working_folder(target)):
        source = make_source(on_sync)
        sync = syncs[0]
        with alone(target, f"docruns load {sync.provider}"):
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
        pipeline(sync.provider, target, on_wait) as running,
        ThreadPoolExecutor(1, "docruns-checkpoint") as aside,
        sync,
        frozen(),
        giving_back(),
    ):
        for other in loaded.providers(running) - {sync.provider}:
            raise ConfigError(
                "--dataset",
                f"{target.dataset} holds runs of {other}.",
                "Each platform needs a dataset of its own.",
            )
        written = None
        if memory is not None and target.destination == "duckdb":
            _set(running, memory_limit=memory, **_THRIFT)
        runs: Any = source
        while True:
            commit(running, runs, target)
            if written is not None:
                written.result()
            written = _checkpoint(running, target, aside)
            if not sync.may_go_on:
                break
            # the catalogue is read once a load
            runs = source.with_resources(*_RUN_LISTS)
        written.result()
        _mark_gone(running, sync)
        # what a killed load left at two versions may lie outside of a window
        is_window = sync.settings.since is not None or sync.settings.until is not None
        return 0 if sync.complete and not is_window else loaded.half_loaded(running)


def _set(running: dlt.Pipeline, **settings: str) -> None:
    with running.sql_client() as client:
        for name, value in settings.items():
            client.execute_sql(f"SET GLOBAL {name} = '{value}'")


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
        watermark=mark.isoformat().replace("+00:00", "Z") if mark else None,
        rows=dict(sync.rows),
    )


def commit(running: dlt.Pipeline, source: Any, target: Target) -> None:
    """Load one package of a source, to its end."""
    running.run(source, loader_file_format=_file_format(target))


def _file_format(target: Target) -> Any:
    # dlt's default for duckdb is 20 times slower and takes 13 times the memory; for postgres it is CSV,
    # where every empty string becomes NULL
    return "parquet" if target.destination in ("duckdb", "postgres") else None


def _checkpoint(running: dlt.Pipeline, target: Target, aside: Executor) -> Future[None]:
    """Move what is committed from memory and log into the file, while the next package is extracted: an eighth of
    a heavy load. dlt lets DuckDB keep a gigabyte of it, and at 100,000 runs that was half of 2.0 GB."""
    connection = None
    if target.destination == "duckdb":
        # one of its own: what dlt lends is closed when dlt gets it back
        connection = running.destination.config_params["credentials"].cursor()

    def write() -> None:
        if connection is not None:
            with connection:
                checkpoint(connection)

    return aside.submit(write)


def _mark_gone(running: dlt.Pipeline, sync: Sync) -> None:
    """Runs that were listed and answered 404 a moment later: sweep would find the same."""
    gone: dict[str, list[str]] = {name: [] for name in _RUN_LISTS}
    for feed, run_id in sync.gone:
        gone["workflow_runs" if feed == "workflow_runs" else "processor_runs"].append(run_id)
    if sync.gone and loaded.takes_updates(running):
        loaded.mark(running, gone, {}, sync.clock())


@contextmanager
def alone(target: Target, command: str) -> Iterator[None]:
    """Nobody else on this machine loads into the target meanwhile. LockedError where somebody does."""
    check_folder(working_folder(target))
    where = target.database.absolute() if target.destination == "duckdb" else target
    with held(lock_file(target), command, str(where), target.dataset):
        yield


def at_work(database: Path) -> dict[str, Holder]:
    """Who is at work on a DuckDB file right now, by dataset."""
    locks = working_folder(Target("", database)).parent.glob("*.lock")
    found = [who for path in locks if (who := holder(path)) is not None]
    return {who.dataset: who for who in found if who.database == str(database.absolute())}


def lock_file(target: Target) -> Path:
    """Where it is written who is at work on the target."""
    return working_folder(target).with_suffix(".lock")


def must_exist(target: Target) -> None:
    """ConfigError where there is no database yet, so that asking about it does not make one."""
    if target.destination == "duckdb" and not target.database.exists():
        raise ConfigError(
            "--database", f"{target.database} does not exist.", "Run `docruns load` first."
        )


@contextmanager
def pipeline(
    provider: str, target: Target, on_wait: Callable[[str], None] | None = None
) -> Iterator[dlt.Pipeline]:
    """The pipeline of a provider on a target, its database open, in a working folder that lasts as long.

    The caller holds the target `alone`: whatever another process has in the folder is lost.
    """
    # a package that was loaded is of no use on disk, and it is a copy of somebody's documents
    os.environ.setdefault("LOAD__DELETE_COMPLETED_JOBS", "true")
    os.environ.setdefault("LOAD__TRUNCATE_STAGING_DATASET", "true")
    # dlt would hold a signal back, and forget it when the package gets done meanwhile
    os.environ.setdefault("RUNTIME__INTERCEPT_SIGNALS", "false")
    folder = working_folder(target)
    told = _LOADING_DUCKDB if target.destination == "duckdb" else {}
    with _told(told), _destination(target, on_wait) as destination:
        shutil.rmtree(folder, ignore_errors=True)
        try:
            folder.mkdir(parents=True, mode=0o700)
            with _activated(provider, target, destination, folder) as running:
                yield running
        finally:
            # what is not committed by now never will be: it only fills the disk
            _remove(folder)


@contextmanager
def _told(settings: Mapping[str, str]) -> Iterator[None]:
    """The settings as the environment gives them to dlt, where it says nothing of its own."""
    new = settings.keys() - os.environ.keys()
    os.environ.update({name: settings[name] for name in new})
    try:
        yield
    finally:
        for name in new:
            os.environ.pop(name, None)


def _remove(folder: Path) -> None:
    """Remove a folder to which a merge that nobody waits for any more may still write, for a few seconds."""
    give_up = time.monotonic() + _REMOVE_S
    while folder.exists() and time.monotonic() < give_up:
        try:
            shutil.rmtree(folder, ignore_errors=True)
        except KeyboardInterrupt:
            # documents are not left lying about because somebody is in a hurry
            shutil.rmtree(folder, ignore_errors=True)
            raise
        time.sleep(0.05 if folder.exists() else 0)


@contextmanager
def reading(
    provider: str, target: Target, on_wait: Callable[[str], None] | None = None
) -> Iterator[dlt.Pipeline]:
    """A pipeline to ask the target with and nothing else: it holds no lock and shares no folder."""
    with (
        tempfile.TemporaryDirectory(prefix="docruns-") as folder,
        _destination(target, on_wait, read_only=True) as destination,
        _activated(provider, target, destination, Path(folder)) as running,
    ):
        if target.destination == "filesystem":
            # its tables are known by their schema alone
            running.sync_destination()
        yield running


@contextmanager
def _activated(
    provider: str, target: Target, destination: Any, folder: Path
) -> Iterator[dlt.Pipeline]:
    running = dlt.pipeline(
        f"docruns_{provider}",
        pipelines_dir=str(folder),
        destination=destination,
        dataset_name=target.dataset,
    )
    try:
        yield running
    finally:
        # another one may have been opened inside it
        if running.is_active:
            running.deactivate()
        # dlt logs each value that it looked up, with all that hangs on it: keys, and connections past their end
        get_resolved_traces().clear()


def working_folder(target: Target) -> Path:
    """Where dlt spools packages of this target: one folder each, its name free of odd characters."""
    path = str(target.database.absolute()) if target.destination == "duckdb" else ""
    name = hashlib.sha256(f"{target.destination}\n{target.dataset}\n{path}".encode()).hexdigest()
    return Path(active().data_dir) / "docruns" / name[:16]


@contextmanager
def _destination(
    target: Target, on_wait: Callable[[str], None] | None, read_only: bool = False
) -> Iterator[Any]:
    if target.destination != "duckdb":
        yield target.destination
        return
    # duckdb calls the file's tables by its name up to the first dot, and cannot tell it from a schema
    if target.database.name.lstrip(".").partition(".")[0].lower() == target.dataset.lower():
        raise ConfigError(
            "--database",
            f"{target.database} has the name of its dataset, {target.dataset}, and DuckDB would mix them up.",
            "Name one of them otherwise.",
        )
    # opened here, first: who holds the file is known before a single request is sent
    try:
        connection = open_database(target.database, read_only=read_only, on_wait=on_wait)
    except LockedError as error:
        who = at_work(target.database)
        who.pop(target.dataset, None)
        if not who:
            raise
        # DuckDB lets one process write, whatever dataset it is about
        [dataset, other], *_ = who.items()
        raise LockedError(
            f"{target.database}: {other} is at work on it, on the dataset {dataset}. "
            "Wait until it has ended, or give each platform a file of its own (--database)."
        ) from error
    try:
        # without transactions a table's DELETE and INSERT are committed apart
        yield MergingDuckDb(connection, supports_transactions=True)
    finally:
        connection.close()
