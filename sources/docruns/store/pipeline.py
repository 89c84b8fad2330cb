"""The dlt pipeline of a load: its working folder, its destination, its packages."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dlt
from dlt.common.configuration.utils import get_resolved_traces

from ..core.errors import ConfigError, LockedError
from .duckdb.destination import MergingDuckDb
from .duckdb.file import checkpoint, open_database
from .target import Target, lock_holders, working_folder

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
_REMOVE_S = 5.0


def limit_memory(running: dlt.Pipeline, memory: str) -> None:
    """Give DuckDB so much memory, for all of its connections, and let it return what it frees at once."""
    settings = {"memory_limit": memory, **_THRIFT}
    with running.sql_client() as client:
        for name, value in settings.items():
            client.execute_sql(f"SET GLOBAL {name} = '{value}'")


def load_package(running: dlt.Pipeline, source: Any, target: Target) -> None:
    """Load one package of a source, to its end."""
    running.run(source, loader_file_format=_file_format(target))


def _file_format(target: Target) -> Any:
    # dlt's default for duckdb is 20 times slower and takes 13 times the memory; for postgres it is CSV,
    # where every empty string becomes NULL
    return "parquet" if target.destination in ("duckdb", "postgres") else None


def checkpoint_aside(running: dlt.Pipeline, target: Target, aside: Executor) -> Future[None]:
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


@contextmanager
def open_pipeline(
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
    with _dlt_environment(told), _destination(target, on_wait) as destination:
        shutil.rmtree(folder, ignore_errors=True)
        try:
            folder.mkdir(parents=True, mode=0o700)
            with _activated(provider, target, destination, folder) as running:
                yield running
        finally:
            # what is not committed by now never will be: it only fills the disk
            _remove(folder)


@contextmanager
def _dlt_environment(settings: Mapping[str, str]) -> Iterator[None]:
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
def open_for_reading(
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
        who = lock_holders(target.database)
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
